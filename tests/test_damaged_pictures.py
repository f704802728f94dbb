"""A folder of damaged and odd pictures: each is coded or kept byte for byte, none stops it."""

from __future__ import annotations

import io
import json
import os
import random
import struct
import subprocess
import sys
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import ROOT, counted
from PIL import Image

import edgecomp
from edgecomp.archive import ArchiveReader
from edgecomp.cli import main
from edgecomp.compress import compress_folder
from edgecomp.constants import MAX_SECTION_BYTES, OUTPUT_FORMATS
from edgecomp.decompress import decompress_folder
from edgecomp.errors import ExitCode, UnsupportedPictureError
from edgecomp.pictures import read_picture

BOMB = 60_000
# Damage is done to pictures of these kinds: suffix, Pillow's format, how it is saved.
BASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "png": (".png", "PNG", {}),
    "jpeg": (".jpg", "JPEG", {"quality": 90}),
    "progressive": (".jpeg", "JPEG", {"quality": 90, "progressive": True}),
    "tiff": (".tif", "TIFF", {}),
    "tiff-lzw": (".tiff", "TIFF", {"compression": "tiff_lzw"}),
    "tiff-jpeg": (".tif", "TIFF", {"compression": "jpeg"}),
    "webp": (".webp", "WEBP", {"quality": 90}),
    "webp-lossless": (".webp", "WEBP", {"lossless": True}),
    "gif": (".gif", "GIF", {}),
    "bmp": (".bmp", "BMP", {}),
}
NO_ENCODER_FOR = [".png", ".jpg", ".tif", ".webp", ".gif", ".bmp"]


@dataclass(frozen=True)
class Odd:
    """A file and what must become of it.

    Attributes:
        suffix: of its name.
        data: its bytes.
        kept: words of the reason for which it must be kept as it is; None where it may be coded.
        size: of the picture, where it must be coded.
    """

    suffix: str
    data: bytes
    kept: str | None = None
    size: tuple[int, int] | None = None


def scene(rng: random.Random, width: int = 60, height: int = 44, mode: str = "RGB") -> Image.Image:
    """Waves and noise, other ones each time."""
    noise = np.random.default_rng(rng.randrange(2**32))
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / noise.uniform(3, 20) + y / noise.uniform(3, 20)) for _ in range(3)]
    pixels = 128 + 90 * np.dstack(waves) + noise.normal(0, 9, (height, width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).convert(mode)


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *more: bytes, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG file with a row of pixels for each row up to 40, whatever its header says."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    row = b"\0" + random.Random(width).randbytes(min(width, 40) * {2: 3, 6: 4}[colour] * depth // 8)
    pixels = chunk(b"IDAT", zlib.compress(row * min(height, 40)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", head), *more, pixels, chunk(b"IEND", b"")]
    )


def with_size(data: bytes, format: str, side: int) -> bytes:
    """A file whose header says another size."""
    if format == "JPEG":
        at = data.index(b"\xff\xc0") + 5
        return data[:at] + struct.pack(">HH", side, side) + data[at + 4 :]
    if format == "GIF":
        sides = struct.pack("<HH", side, side)
        at = data.index(b"\x2c") + 5
        return data[:6] + sides + data[10:at] + sides + data[at + 4 :]
    if format == "BMP":
        return data[:18] + struct.pack("<ii", side, side) + data[26:]
    assert format == "TIFF"
    for tag in (256, 257):  # ImageWidth and ImageLength, as Pillow writes them
        at = data.index(struct.pack("<HHI", tag, 4, 1)) + 8
        data = data[:at] + struct.pack("<I", side) + data[at + 4 :]
    return data


def looping_tiff(image: Image.Image) -> bytes:
    """A TIFF file whose last page is followed by its first."""
    data = bytearray(saved(image, "TIFF"))
    (first,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, first)
    struct.pack_into("<I", data, first + 2 + 12 * entries, first)
    return bytes(data)


def frames(rng: random.Random, format: str, **options: Any) -> bytes:
    first, *more = (scene(rng) for _ in range(3))
    return saved(first, format, save_all=True, append_images=more, **options)


def exif_of(rng: random.Random, bits: int = 6) -> bytes:
    """EXIF data with flipped bits, from "Exif" on."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0112], exif[0x011A] = "A maker", 6, 72.0
    exif.get_ifd(0x8769)[0x9003] = "2024:02:29 12:00:00"
    data = bytearray(exif.tobytes())
    for _ in range(bits):
        data[rng.randrange(6, len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def odd(rng: random.Random) -> list[Odd]:
    """One of each kind of odd picture."""
    image, wide = scene(rng), (60, 44)
    grey16 = Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100)
    palette = image.quantize(64)
    icc, garbage = rng.randbytes(700), rng.randbytes(300)
    noisy = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + garbage  # Pillow warns of it
    text_bomb = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(4 << 20)))
    return [
        Odd(".png", b"", "not a picture"),
        Odd(".jpg", b"\xff\xd8", "not a picture"),
        Odd(".webp", garbage, "not a picture"),
        Odd(".jpg", saved(image.convert("CMYK"), "JPEG", quality=95), "CMYK"),
        Odd(".tif", saved(image.convert("CMYK"), "TIFF"), "CMYK"),
        Odd(".tif", saved(image.convert("LAB"), "TIFF"), "LAB"),
        Odd(".png", saved(grey16, "PNG"), "8 bits"),
        Odd(".tif", saved(grey16, "TIFF"), "8 bits"),
        Odd(".png", png(40, 40, depth=16), "8 bits"),
        Odd(".tif", saved(image.convert("F"), "TIFF"), "8 bits"),
        Odd(".png", saved(image.convert("1"), "PNG"), "bilevel"),
        Odd(".gif", frames(rng, "GIF"), "3 frames"),
        Odd(".webp", frames(rng, "WEBP"), "3 frames"),
        Odd(".png", frames(rng, "PNG"), "3 frames"),
        Odd(".tif", frames(rng, "TIFF"), "3 frames"),
        Odd(".jpg", frames(rng, "MPO"), "3 frames"),
        Odd(".png", png(BOMB, BOMB), "pixels"),
        Odd(".png", png(2_000_000, 1), "pixels"),
        *(
            Odd(suffix, with_size(saved(image, format), format, BOMB), "pixels")
            for suffix, format in ((".jpg", "JPEG"), (".gif", "GIF"), (".bmp", "BMP"))
        ),
        Odd(".tif", with_size(saved(image, "TIFF"), "TIFF", BOMB), "pixels"),
        Odd(".png", png(40, 40, text_bomb)),
        Odd(".png", saved(Image.new("RGB", (1, 1)), "PNG")),  # which is smaller is no promise
        Odd(".bmp", saved(scene(rng, 1, 30_000), "BMP"), size=(1, 30_000)),
        Odd(".png", saved(scene(rng, 30_000, 1, "L"), "PNG"), size=(30_000, 1)),
        Odd(".png", png(40, 40, colour=6), size=(40, 40)),
        Odd(".png", saved(palette, "PNG", transparency=3), size=wide),
        Odd(".gif", saved(palette, "GIF", transparency=3), size=wide),
        Odd(".jpg", saved(image, "JPEG", quality=95, progressive=True), size=wide),
        Odd(".tif", looping_tiff(image), size=wide),
        Odd(".jpg", saved(image, "JPEG", quality=99, exif=b"Exif\0\0" + garbage), size=wide),
        Odd(".jpg", saved(image, "JPEG", quality=99, exif=noisy), size=wide),
        Odd(".png", saved(image, "PNG", exif=exif_of(rng)), size=wide),
        Odd(".webp", saved(image, "WEBP", lossless=True, exif=garbage), size=wide),
        Odd(".png", saved(image, "PNG", icc_profile=icc), size=wide),
        Odd(".tif", saved(image, "TIFF", icc_profile=icc), size=wide),
        Odd(".jpg", saved(image, "JPEG", quality=99, icc_profile=icc), size=wide),
        *(Odd(s, saved(image, f), size=wide) for s, f in ((".tif", "PNG"), (".jpg", "BMP"))),
    ]


def damaged(rng: random.Random, number: int) -> Odd:
    """An ordinary picture, cut, with wrong bits, bytes or suffix."""
    suffix, format, options = BASES[list(BASES)[number % len(BASES)]]
    data = bytearray(saved(scene(rng), format, **options))
    size = len(data)
    harm = rng.choice(["cut", "flip", "flip", "many", "zeros", "head", "more", "suffix"])
    if harm == "cut":
        # Far enough from the end for pixels to be missing: then it must not be coded.
        return Odd(suffix, bytes(data[: rng.randrange(size * 9 // 10)]), "")
    if harm in ("flip", "many"):
        for _ in range(1 if harm == "flip" else rng.randrange(2, 60)):
            data[rng.randrange(size)] ^= 1 << rng.randrange(8)
    elif harm == "zeros":
        at, length = rng.randrange(size), rng.randrange(1, size // 4)
        data[at : at + length] = bytes(len(data[at : at + length]))
    elif harm == "head":
        at = rng.randrange(60)
        data[at : at + 8] = rng.randbytes(8)
    elif harm == "more":
        data += rng.randbytes(rng.randrange(1, 500))
    else:
        suffix = rng.choice(NO_ENCODER_FOR)
    return Odd(suffix, bytes(data))


def pictures(count: int) -> dict[str, Odd]:
    """So many files, the same in every run; the odd ones first."""
    rng = random.Random(16)
    found = odd(rng)
    assert count > len(found)
    found += [damaged(rng, number) for number in range(count - len(found))]
    return {f"{number:03}{case.suffix}": case for number, case in enumerate(found)}


def state(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode)
        for path in folder.iterdir()
    }


@counted(60, 300)
def test_a_folder_of_damaged_pictures(
    count: int, tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = pictures(count)
    source, archive, back = tmp_path / "in", tmp_path / "o.ecz", tmp_path / "back"
    source.mkdir()
    for number, (name, case) in enumerate(cases.items()):
        (source / name).write_bytes(case.data)
        os.utime(source / name, ns=(0, 10**18 + number))
    before = state(source)
    common = ["--model", str(tiny), "--json"]

    def run(*words: str) -> dict[str, Any]:
        with warnings.catch_warnings(record=True, action="always") as leaked:
            code = main([*words, *common])
        out, err = capsys.readouterr()
        assert leaked == []
        assert all(line.startswith("edgecomp: warning: ") for line in err.splitlines()), err
        document: dict[str, Any] = json.loads(out)
        assert code == document["exit_code"] == ExitCode.DONE, document
        return document

    packed = run("compress", str(source), "-o", str(archive))
    assert state(source) == before
    assert packed["skipped"] == []
    assert packed["files"] == count
    reasons = {os.path.basename(note["path"]): note["reason"] for note in packed["verbatim"]}
    assert all(reasons.values())
    with ArchiveReader(archive) as reader:
        assert reader.damage == ()
        kinds = {str(member.source): member.kind for member in reader.members}
    assert kinds == {
        name: "verbatim-picture" if name in reasons else "picture" for name in cases
    }, "each is in the archive, as what was reported"
    assert len(reasons) + packed["images"] == count
    for name, case in cases.items():
        if case.kept is not None:
            assert name in reasons, f"{name} was coded"
            assert case.kept in reasons[name]
        if case.size is not None:
            assert name not in reasons, f"{name}: {reasons[name]}"

    run("verify", str(archive))
    restored = run("decompress", str(archive), "-o", str(back))
    assert (restored["files"], restored["damaged"], restored["skipped"]) == (count, [], [])
    for name, case in cases.items():
        if name in reasons:
            assert (back / name).read_bytes() == case.data
            assert (back / name).stat().st_mtime_ns == before[name][1]
        else:
            check_coded(source / name, (back / name).with_suffix(".png"), case, tiny)


def check_coded(source: Path, restored: Path, case: Odd, model: Path) -> None:
    """What came back has the picture's size, and the pixels that it has when it goes alone."""
    quietly = warnings.catch_warnings(action="ignore")  # what Pillow thinks of the source
    with quietly, Image.open(source) as image, Image.open(restored) as found:
        assert found.size == image.size == (case.size or image.size)
        image.load()
        alone = edgecomp.decode(edgecomp.encode(image, model=model), model=model)
        assert alone.mode == found.mode
        assert np.array_equal(np.asarray(alone), np.asarray(found))
        if found.mode in ("LA", "RGBA"):
            alpha = np.asarray(image.convert("RGBA"))[..., 3]
            assert np.array_equal(np.asarray(found)[..., -1], alpha)
        for key in ("icc_profile", "exif"):
            assert found.info.get(key) == alone.info.get(key)
    assert restored.stat().st_mtime_ns == source.stat().st_mtime_ns


@counted(300, 6000)
def test_a_picture_that_is_cut_is_never_coded(count: int) -> None:
    """Pillow can make grey of what is missing; edgecomp must not take that for the picture."""
    rng = random.Random(7)
    whole = {
        kind: saved(scene(rng), format, **options) for kind, (_, format, options) in BASES.items()
    }
    for kind, data in whole.items():
        assert read_picture(data, name=f"a{BASES[kind][0]}").width == 60
    for number in range(count):
        kind = list(whole)[number % len(whole)]
        data = whole[kind][: rng.randrange(len(whole[kind]) * 9 // 10)]
        with warnings.catch_warnings(action="ignore"), pytest.raises(UnsupportedPictureError):
            read_picture(data, name=f"a{BASES[kind][0]}")


@counted(250, 5000)
def test_any_damage_is_a_picture_or_a_reason(count: int) -> None:
    """Without coders and archives it is quick: no other exception leaves the reader."""
    rng = random.Random(8)
    kept = 0
    with warnings.catch_warnings(action="ignore"):
        for number in range(count):
            case = damaged(rng, number)
            try:
                picture = read_picture(case.data, name=f"a{case.suffix}")
            except UnsupportedPictureError:
                kept += 1
            else:
                assert picture.rgb.shape == (picture.height, picture.width, 3)
    assert count // 8 < kept < count


@pytest.fixture(scope="module")
def with_bad_exif(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """An archive of pictures with damaged EXIF data, and how many they are."""
    folder, rng = tmp_path_factory.mktemp("exif"), random.Random(9)
    (folder / "in").mkdir()
    image, cases = scene(rng), [b"", b"II", b"II*\0", b"II*\0\xff\xff\xff\xff", rng.randbytes(200)]
    blocks = [b"Exif\0\0" + case for case in cases[1:]] + [exif_of(rng) for _ in range(60)]
    for number, exif in enumerate(blocks):
        image.save(folder / "in" / f"{number:02}.png", exif=exif)
    with warnings.catch_warnings(action="ignore"):
        summary = compress_folder(folder / "in", folder / "o.ecz", model=tiny)
    assert summary.images == len(blocks)
    return folder / "o.ecz", len(blocks)


@pytest.mark.parametrize("format", OUTPUT_FORMATS)
def test_bad_metadata_never_stops_restoring(
    with_bad_exif: tuple[Path, int], format: str, tmp_path: Path, tiny: Path
) -> None:
    archive, count = with_bad_exif
    with warnings.catch_warnings(action="ignore"):
        summary = decompress_folder(archive, tmp_path / "out", format=format, model=tiny)
        for path in (tmp_path / "out").iterdir():
            with Image.open(path) as image:
                assert sorted(image.size) == [44, 60]
    assert summary.images + len(summary.skipped) == count
    assert summary.damaged == ()


def test_metadata_that_no_reader_takes_is_kept(tmp_path: Path, tiny: Path) -> None:
    (tmp_path / "in").mkdir()
    image = scene(random.Random(3), 200, 150)
    image.save(tmp_path / "in" / "a.tif", icc_profile=bytes(MAX_SECTION_BYTES + 1))
    data = (tmp_path / "in" / "a.tif").read_bytes()
    summary = compress_folder(tmp_path / "in", tmp_path / "o.ecz", model=tiny)
    assert decompress_folder(tmp_path / "o.ecz", tmp_path / "back", model=tiny).damaged == ()
    assert len(summary.verbatim) == 1
    assert (tmp_path / "back" / "a.tif").read_bytes() == data


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 72 72\n%%EndComments\nshowpage\n"
_OPEN = "from PIL import Image; Image.open({path!r}).load()"
_COMPRESS = (
    "from edgecomp.compress import compress_folder as c; c({path!r}, {out!r}, model={model!r})"
)


def starts_a_program(code: str, folder: Path) -> bool:
    """Whether Ghostscript is started, which here is a program that writes down that it was."""
    (folder / "bin").mkdir(exist_ok=True)
    program, trace = folder / "bin" / "gs", folder / "was started"
    program.write_text(f"#!/bin/sh\necho >> '{trace}'\n")
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PATH": path},
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    return trace.exists()


@pytest.mark.skipif(os.name != "posix", reason="the program is a shell script")
def test_the_trap_for_programs_goes_off(tmp_path: Path) -> None:
    """The control: Pillow itself hands PostScript to Ghostscript."""
    (tmp_path / "a.eps").write_bytes(EPS)
    assert starts_a_program(_OPEN.format(path=str(tmp_path / "a.eps")), tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="the program is a shell script")
def test_no_program_is_started_for_what_calls_itself_a_picture(tmp_path: Path, tiny: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(EPS)
    out = tmp_path / "o.ecz"
    code = _COMPRESS.format(path=str(tmp_path / "in"), out=str(out), model=str(tiny))
    started = starts_a_program(code, tmp_path)
    assert out.exists()
    assert not started
