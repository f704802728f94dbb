"""Restoring: archives to folders, one codestream to a picture."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from common import DATA
from PIL import Image

from edgecomp.archive import ArchiveReader
from edgecomp.compress import compress_folder, compress_picture
from edgecomp.decompress import (
    DecompressSummary,
    decompress_folder,
    decompress_picture,
    open_archive,
)
from edgecomp.errors import (
    CorruptDataError,
    ExitCode,
    LimitError,
    ModelNotFoundError,
    NotEdgecompError,
    OutputError,
    OutputExistsError,
    SourceError,
    UsageError,
)

pytestmark = pytest.mark.usefixtures("folder_kind")

Decompress = Callable[..., DecompressSummary]


@pytest.fixture
def folder(tmp_path: Path, photo: Image.Image) -> Path:
    root = tmp_path / "in"
    (root / "sub dir" / "写真").mkdir(parents=True)
    (root / "empty").mkdir()
    photo.save(root / "a.png")
    photo.save(root / "a.jpg", quality=95)
    photo.convert("L").save(root / "sub dir" / "写真" / "b c.tif")
    (root / "sub dir" / "notes.txt").write_text("to do\n" * 100)
    (root / "text.jpg").write_text("no picture")
    (root / "empty.dat").touch()
    for number, path in enumerate(sorted(root.rglob("*"))):
        os.utime(path, ns=(0, 1_600_000_000_123_456_789 + number))
    return root


@pytest.fixture
def archive(folder: Path, tmp_path: Path, tiny: Path) -> Path:
    path = tmp_path / "a.ecz"
    compress_folder(folder, path, model=tiny, threads=2)
    return path


@pytest.fixture
def decompress(tiny: Path) -> Decompress:
    def run(*args: object, **options: object) -> DecompressSummary:
        return decompress_folder(*args, **{"model": tiny, "threads": 2} | options)  # type: ignore[arg-type]

    return run


def tree(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


FILES = ["a.jpg.png", "a.png", "empty.dat", "sub dir/notes.txt", "sub dir/写真/b c.png", "text.jpg"]
TREE = sorted([*FILES, "empty", "sub dir", "sub dir/写真"])


def test_a_folder_comes_back(
    folder: Path, archive: Path, decompress: Decompress, photo: Image.Image
) -> None:
    summary = decompress(archive)
    out = archive.with_suffix("")
    assert tree(out) == TREE
    assert (summary.archive, summary.output) == (str(archive), str(out))
    assert (summary.images, summary.files) == (3, 6)
    assert summary.bytes_in == archive.stat().st_size
    assert summary.bytes_out == sum((out / name).stat().st_size for name in FILES)
    assert summary.pixels == 3 * 152 * 96
    assert (summary.damaged, summary.skipped, summary.exit_code) == ((), (), ExitCode.DONE)
    with Image.open(out / "a.png") as image:
        assert image.size == photo.size
        difference = np.abs(np.asarray(image).astype(int) - np.asarray(photo))
        assert difference.mean() < 30
    with Image.open(out / "sub dir/写真/b c.png") as image:
        assert image.mode == "L"
    for name in ("empty.dat", "sub dir/notes.txt", "text.jpg"):
        assert (out / name).read_bytes() == (folder / name).read_bytes()
    for name, source in {
        "a.jpg.png": "a.jpg",
        "sub dir/写真/b c.png": "sub dir/写真/b c.tif",
    }.items():
        assert (out / name).stat().st_mtime_ns == (folder / source).stat().st_mtime_ns
    for name in ("text.jpg", "empty.dat", "empty"):
        assert (out / name).stat().st_mtime_ns == (folder / name).stat().st_mtime_ns


@pytest.mark.parametrize(
    ("format", "suffix"), [("jpeg", ".jpg"), ("webp", ".webp"), ("tiff", ".tif"), ("bmp", ".bmp")]
)
def test_other_formats(
    archive: Path, tmp_path: Path, decompress: Decompress, format: str, suffix: str
) -> None:
    decompress(archive, tmp_path / "out", format=format, only=["a.*"])
    # "a.jpg" keeps its name where it can: then it is the other one that gives way.
    assert len(tree(tmp_path / "out")) == 2
    for name in tree(tmp_path / "out"):
        assert name.endswith(suffix)
        with Image.open(tmp_path / "out" / name) as image:
            assert image.size == (152, 96)
            image.load()


def test_names_do_not_depend_on_the_choice(
    archive: Path, tmp_path: Path, decompress: Decompress
) -> None:
    decompress(archive, tmp_path / "out", only=["a.jpg"])
    assert tree(tmp_path / "out") == ["a.jpg.png"]


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (["*.jpg"], ["a.jpg.png", "text.jpg"]),
        (["b c.tif"], ["sub dir/写真/b c.png"]),
        (["b c.png"], ["sub dir/写真/b c.png"]),
        (["sub dir"], ["sub dir/notes.txt", "sub dir/写真/b c.png"]),
        (["sub dir/写真/", "*.dat"], ["empty.dat", "sub dir/写真/b c.png"]),
    ],
)
def test_choosing(
    archive: Path, tmp_path: Path, decompress: Decompress, only: list[str], expected: list[str]
) -> None:
    out = tmp_path / "out"
    decompress(archive, out, only=only)
    assert [name for name in tree(out) if (out / name).is_file()] == expected


def test_choosing_nothing(archive: Path, tmp_path: Path, decompress: Decompress) -> None:
    with pytest.raises(SourceError, match=r"matches \*\.xyz"):
        decompress(archive, tmp_path / "out", only=["*.xyz"])
    assert not (tmp_path / "out").exists()


def test_existing_files_stay(archive: Path, tmp_path: Path, decompress: Decompress) -> None:
    out = tmp_path / "out"
    (out / "sub dir").mkdir(parents=True)
    (out / "sub dir" / "notes.txt").write_text("precious")
    (out / "other").write_text("stays")
    with pytest.raises(OutputExistsError, match=r"notes\.txt is already there"):
        decompress(archive, out)
    assert tree(out) == ["other", "sub dir", "sub dir/notes.txt"]
    decompress(archive, out, force=True)
    assert (out / "sub dir" / "notes.txt").read_text().startswith("to do")
    assert sorted([*TREE, "other"]) == tree(out)


def test_existing_empty_folders_are_no_conflict(
    archive: Path, tmp_path: Path, decompress: Decompress
) -> None:
    (tmp_path / "out" / "empty").mkdir(parents=True)
    decompress(archive, tmp_path / "out")
    assert tree(tmp_path / "out") == TREE


def test_going_on_from_an_interrupted_run(
    archive: Path, tmp_path: Path, decompress: Decompress, monkeypatch: pytest.MonkeyPatch
) -> None:
    decompress(archive, tmp_path / "whole")
    expected = {name: (tmp_path / "whole" / name).read_bytes() for name in FILES}
    decompress(archive, tmp_path / "out")
    written = {name: (tmp_path / "out" / name).stat().st_ino for name in FILES}
    # As if it had been killed: one file is missing, one is unfinished, one is another file.
    (tmp_path / "out" / "a.png").unlink()
    (tmp_path / "out" / "a.png.partial-1-0a1b2c3d").write_bytes(b"half")
    os.link(tmp_path / "out" / "a.jpg.png", tmp_path / "out" / "a.jpg.png.partial-1-0a1b2c3d")
    (tmp_path / "out" / "empty.dat").write_bytes(b"mine")
    with pytest.raises(OutputExistsError, match=r"empty\.dat is already there"):
        decompress(archive, tmp_path / "out", resume=True)
    (tmp_path / "out" / "empty.dat").unlink()
    summary = decompress(archive, tmp_path / "out", resume=True)
    assert (summary.unchanged, summary.files, summary.exit_code) == (4, 6, ExitCode.DONE)
    assert summary.bytes_out == sum(len(data) for data in expected.values())
    assert tree(tmp_path / "out") == TREE
    for name, data in expected.items():
        assert (tmp_path / "out" / name).read_bytes() == data
        same = (tmp_path / "out" / name).stat().st_ino == written[name]
        assert same or name in ("a.png", "empty.dat")
    assert decompress(archive, tmp_path / "out", resume=True).unchanged == 6


def test_going_on_saves_damaged_pictures_again(
    archive: Path, tmp_path: Path, decompress: Decompress, photo: Image.Image
) -> None:
    image = photo.convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save(tmp_path / "in" / "z.png")
    compress_again(tmp_path)
    path = tmp_path / "z.ecz"
    data = bytearray(path.read_bytes())
    with ArchiveReader(path) as reader:
        data[reader._slots[-1].views[0].end - 1] ^= 1
    path.write_bytes(data)
    for _ in range(2):
        summary = decompress(path, tmp_path / "out", salvage=True, resume=True)
        assert [note.path for note in summary.damaged] == ["z.png"]
        assert (summary.exit_code, summary.skipped) == (ExitCode.DAMAGED, ())
        assert "z.partial.png" in tree(tmp_path / "out")
    assert "z.partial.2.png" not in tree(tmp_path / "out")


def compress_again(folder: Path) -> None:
    compress_folder(folder / "in", folder / "z.ecz", model=DATA / "models" / "tiny")


def test_what_expands_too_far_is_skipped(
    tmp_path: Path, decompress: Decompress, tiny: Path
) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "in" / name).write_bytes(bytes(3 << 20))
    (tmp_path / "in" / "d").write_bytes(b"text")
    compress_folder(tmp_path / "in", tmp_path / "a.ecz", model=tiny)
    summary = decompress(tmp_path / "a.ecz", tmp_path / "out", max_expansion=6 << 20)
    assert [note.path for note in summary.skipped] == ["c"]
    assert "--max-expansion" in summary.skipped[0].reason
    assert summary.exit_code == ExitCode.SKIPPED
    assert tree(tmp_path / "out") == ["a", "b", "d"]
    assert decompress(tmp_path / "a.ecz", tmp_path / "o", max_expansion=None).files == 4
    with pytest.raises(LimitError, match="--max-members"):
        decompress(tmp_path / "a.ecz", tmp_path / "p", max_members=3)


def test_a_file_that_appears_meanwhile_stays(
    archive: Path, tmp_path: Path, decompress: Decompress, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr("edgecomp.decompress._check_free", lambda *_: None)
    out.mkdir()
    (out / "text.jpg").write_text("precious")
    summary = decompress(archive, out)
    assert summary.exit_code == ExitCode.SKIPPED
    assert [note.path for note in summary.skipped] == ["text.jpg"]
    assert (out / "text.jpg").read_text() == "precious"


def test_links_in_the_output_are_not_followed(
    archive: Path, tmp_path: Path, decompress: Decompress
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub dir").symlink_to(tmp_path / "outside")
    for force in (False, True):
        with pytest.raises(OutputError, match="symbolic link"):
            decompress(archive, tmp_path / "out", force=force)
    assert tree(tmp_path / "outside") == []


def test_outputs_that_cannot_be(archive: Path, tmp_path: Path, decompress: Decompress) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="not a folder"):
        decompress(archive, tmp_path / "file")
    with pytest.raises(OutputError, match="file"):
        decompress(archive, tmp_path / "file" / "out")
    with pytest.raises(UsageError, match="format"):
        decompress(archive, tmp_path / "out", format="exe")
    plain = archive.rename(tmp_path / "plain")
    with pytest.raises(UsageError, match="plain"):
        decompress(plain)


@pytest.mark.parametrize("source", ["missing.ecz", "in/a.png", "in/empty.dat", "in"])
def test_what_is_no_archive(
    folder: Path, tmp_path: Path, decompress: Decompress, source: str
) -> None:
    with pytest.raises((SourceError, NotEdgecompError), match=source):
        decompress(tmp_path / source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def flip(archive: Path, source: str, offset: int = -1) -> None:
    with ArchiveReader(archive) as reader:
        (member,) = [m for m in reader.members if m.source == source]
        data = reader.read(member)
    content = bytearray(archive.read_bytes())
    start = content.index(data)
    content[start + (offset % len(data))] ^= 0x10
    archive.write_bytes(content)


@pytest.mark.parametrize("offset", [-1, 20, 4])
def test_a_damaged_picture_loses_only_itself(
    archive: Path, tmp_path: Path, decompress: Decompress, offset: int
) -> None:
    flip(archive, "a.png", offset)
    summary = decompress(archive, tmp_path / "out")
    assert summary.exit_code == ExitCode.DAMAGED
    assert [os.path.basename(note.path) for note in summary.damaged][-1] in ("a.png", "a.png.edge")
    assert summary.images == 2
    lost = set(TREE) - set(tree(tmp_path / "out"))
    assert len(lost) == 1
    assert not [name for name in tree(tmp_path / "out") if "partial" in name]


def test_a_damaged_file_loses_only_itself(
    archive: Path, tmp_path: Path, decompress: Decompress
) -> None:
    flip(archive, "text.jpg")
    summary = decompress(archive, tmp_path / "out")
    assert [(note.path, note.reason) for note in summary.damaged] == [
        ("text.jpg", "is damaged: its checksum is wrong")
    ]
    assert set(TREE) - set(tree(tmp_path / "out")) == {"text.jpg"}


def test_a_missing_model(archive: Path, tmp_path: Path, tiny_map: Path) -> None:
    out = tmp_path / "out"
    summary = decompress_folder(archive, out, model=tiny_map, threads=1)
    assert summary.exit_code == ExitCode.MODEL
    assert len(summary.skipped) == 3
    assert summary.files == 3
    with pytest.raises(ModelNotFoundError, match="made with model"):
        decompress_folder(archive, tmp_path / "none", model=tiny_map, only=["a.*"])
    assert not (tmp_path / "none").exists()


def test_a_limit(archive: Path, tmp_path: Path, decompress: Decompress) -> None:
    summary = decompress(archive, tmp_path / "out", max_pixels=100)
    assert summary.exit_code == ExitCode.SKIPPED
    assert "pixels" in summary.skipped[0].reason
    assert summary.files == 3


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_full_disk(
    archive: Path,
    tmp_path: Path,
    decompress: Decompress,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    out = tmp_path / "out"
    with pytest.raises(OutputError, match=f"cannot write {out}.*No space left on device"):
        decompress(archive, out)
    monkeypatch.undo()
    # Where only writing fails, the file without content comes back.
    assert {path.name for path in out.rglob("*") if path.is_file()} <= {"empty.dat"}


def test_an_interrupt(
    archive: Path, tmp_path: Path, decompress: Decompress, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Impatient:
        def start(self, total_items: int, total_bytes: int) -> None:
            assert total_items == 7

        def advance(self, name: str, size: int) -> None:
            raise KeyboardInterrupt

        def finish(self) -> None:
            pass

    with pytest.raises(KeyboardInterrupt):
        decompress(archive, tmp_path / "out", progress=Impatient())
    assert not [name for name in tree(tmp_path / "out") if "partial" in name]


def test_a_format_that_cannot_hold_the_picture(
    tmp_path: Path, tiny: Path, decompress: Decompress
) -> None:
    (tmp_path / "in").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (1, 16_500, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "in" / "wide.png")
    (tmp_path / "in" / "b.txt").write_text("b")
    compress_folder(tmp_path / "in", tmp_path / "a.ecz", model=tiny)
    summary = decompress(tmp_path / "a.ecz", tmp_path / "out", format="webp")
    assert summary.exit_code == ExitCode.SKIPPED
    assert "webp" in summary.skipped[0].reason
    assert tree(tmp_path / "out") == ["b.txt"]


def test_json(archive: Path, tmp_path: Path, decompress: Decompress) -> None:
    document = decompress(archive, tmp_path / "out").to_json()
    assert document["files"] == 6
    assert document["damaged"] == []


def test_open_archive(archive: Path) -> None:
    with open_archive(archive) as reader:
        assert len(reader.members) == 7


# One codestream.


@pytest.fixture
def edge(folder: Path, tmp_path: Path, tiny: Path) -> Path:
    compress_picture(folder / "a.png", tmp_path / "a.edge", model=tiny)
    return tmp_path / "a.edge"


def test_one_picture(folder: Path, edge: Path, tmp_path: Path, tiny: Path) -> None:
    summary = decompress_picture(edge, model=tiny)
    assert summary.output == str(tmp_path / "a.png")
    assert summary.bytes_out == (tmp_path / "a.png").stat().st_size
    assert (summary.images, summary.pixels, summary.exit_code) == (1, 152 * 96, ExitCode.DONE)
    assert (tmp_path / "a.png").stat().st_mtime_ns == (folder / "a.png").stat().st_mtime_ns
    with pytest.raises(OutputExistsError, match=r"a\.png"):
        decompress_picture(edge, model=tiny)
    decompress_picture(edge, model=tiny, force=True)


def test_one_picture_in_other_formats(edge: Path, tmp_path: Path, tiny: Path) -> None:
    decompress_picture(edge, tmp_path / "x.jpg", model=tiny)
    decompress_picture(edge, tmp_path / "x", model=tiny, format="webp")
    with Image.open(tmp_path / "x.jpg") as jpeg, Image.open(tmp_path / "x") as webp:
        assert (jpeg.format, webp.format) == ("JPEG", "WEBP")
    with pytest.raises(UsageError, match="format"):
        decompress_picture(edge, model=tiny, format="exe")


def test_one_picture_through_streams(edge: Path, tiny: Path) -> None:
    output = io.BytesIO()
    summary = decompress_picture(io.BytesIO(edge.read_bytes()), output, model=tiny)
    assert summary.output == "standard output"
    assert Image.open(output).format == "PNG"
    with pytest.raises(UsageError, match="no name"):
        decompress_picture(edge.read_bytes(), model=tiny)


def test_one_damaged_picture(edge: Path, tmp_path: Path, tiny: Path, tiny_map: Path) -> None:
    data = edge.read_bytes()
    with pytest.raises(LimitError, match=r"a\.edge"):
        decompress_picture(edge, model=tiny, max_pixels=10)
    with pytest.raises(ModelNotFoundError, match=r"a\.edge"):
        decompress_picture(edge, model=tiny_map)
    for damaged, error in (
        (data[:-1], CorruptDataError),
        (data[:-1] + b"?", CorruptDataError),
        (b"hello", NotEdgecompError),
        (b"", NotEdgecompError),
    ):
        edge.write_bytes(damaged)
        with pytest.raises(error, match=r"a\.edge"):
            decompress_picture(edge, model=tiny)
    assert sorted(os.listdir(tmp_path)) == ["a.edge", "in"]


def test_damaged_metadata_cost_only_themselves(
    tmp_path: Path, tiny: Path, photo: Image.Image, decompress: Decompress
) -> None:
    marker = b"a rare word that no compressor shortens: zqxjkv"
    (tmp_path / "in").mkdir()
    exif = Image.Exif()
    exif[0x010E] = marker.decode()
    photo.save(tmp_path / "in" / "a.png", exif=exif)
    archive = tmp_path / "a.ecz"
    compress_folder(tmp_path / "in", archive, model=tiny)
    data = bytearray(archive.read_bytes())
    data[data.index(b"zqxjkv")] ^= 1
    archive.write_bytes(data)
    summary = decompress(archive, tmp_path / "out")
    assert [note.path for note in summary.damaged] == ["a.png"]
    assert "without its EXIF" in summary.damaged[0].reason
    assert (summary.exit_code, summary.images, summary.files) == (ExitCode.DAMAGED, 1, 1)
    with Image.open(tmp_path / "out" / "a.png") as image:
        assert image.size == photo.size
        assert not image.getexif()
