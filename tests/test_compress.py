"""Compressing: folders to archives, one picture to a codestream."""

from __future__ import annotations

import errno
import io
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecomp import compress as compress_module
from edgecomp.archive import ArchiveReader
from edgecomp.codec import Codec
from edgecomp.codestream import parse
from edgecomp.compress import CompressSummary, compress_folder, compress_picture
from edgecomp.errors import (
    CorruptDataError,
    ExitCode,
    LimitError,
    ModelNotFoundError,
    NotEdgecompError,
    OutputError,
    OutputExistsError,
    SourceError,
    UnsupportedPictureError,
    UsageError,
)
from edgecomp.verbatim import SMALL_BYTES

Compress = Callable[..., CompressSummary]


@pytest.fixture
def folder(tmp_path: Path, photo: Image.Image) -> Path:
    """Pictures, other files, an empty folder; names with spaces and other letters."""
    root = tmp_path / "in"
    (root / "sub dir" / "더 깊이").mkdir(parents=True)
    (root / "empty").mkdir()
    photo.save(root / "a.png")
    photo.save(root / "a.jpg", quality=95)
    photo.save(root / "sub dir" / "ü b.tiff")
    photo.convert("L").save(root / "sub dir" / "더 깊이" / "사진.png")
    (root / "notes.txt").write_text("to do\n" * 100)
    (root / "noise.bin").write_bytes(random.Random(1).randbytes(500))
    return root


@pytest.fixture
def compress(tiny: Path) -> Compress:
    """`compress_folder` with a model that is always there."""

    def run(*args: object, **options: object) -> CompressSummary:
        return compress_folder(*args, **{"model": tiny, "threads": 2} | options)  # type: ignore[arg-type]

    return run


def kinds(archive: Path) -> dict[str, str]:
    with ArchiveReader(archive) as reader:
        assert reader.damage == ()
        assert all(member.problem is None for member in reader.members)
        return {str(member.source): member.kind for member in reader.members}


def partials(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if ".partial-" in name]


def test_a_folder(folder: Path, tmp_path: Path, compress: Compress) -> None:
    archive = tmp_path / "out.ecz"
    summary = compress(folder, archive, verify=True)
    assert kinds(archive) == {
        "a.jpg": "picture",
        "a.png": "picture",
        "empty": "folder",
        "noise.bin": "file",
        "notes.txt": "file",
        "sub dir/ü b.tiff": "picture",
        "sub dir/더 깊이/사진.png": "picture",
    }
    sources = [path for path in folder.rglob("*") if path.is_file()]
    assert (summary.archive, summary.images, summary.files) == (str(archive), 4, 6)
    assert summary.bytes_in == sum(path.stat().st_size for path in sources)
    assert summary.bytes_out == archive.stat().st_size
    assert summary.pixels == 4 * 152 * 96
    assert 0 < summary.bpp < 8 * summary.bytes_out / summary.pixels
    assert (summary.verbatim, summary.skipped, summary.exit_code) == ((), (), ExitCode.DONE)
    with ArchiveReader(archive) as reader:
        for member in reader.members:
            if member.source == "empty":
                continue
            assert member.mtime_ns == (folder / str(member.source)).stat().st_mtime_ns
            if member.heading is None:
                assert reader.read(member) == (folder / str(member.source)).read_bytes()


def test_bits_per_pixel_of_pictures_alone(folder: Path, tmp_path: Path, compress: Compress) -> None:
    summary = compress(folder, tmp_path / "o.ecz", include=["*.png", "*.jpg"])
    assert summary.files == summary.images == 3
    assert summary.bpp == 8 * summary.bytes_out / summary.pixels


def test_the_same_folder_gives_the_same_bytes(
    folder: Path, tmp_path: Path, compress: Compress
) -> None:
    compress(folder, tmp_path / "one.ecz", threads=1)
    compress(folder, tmp_path / "two.ecz", threads=5)
    assert (tmp_path / "one.ecz").read_bytes() == (tmp_path / "two.ecz").read_bytes()


def test_json(folder: Path, tmp_path: Path, compress: Compress) -> None:
    (folder / "bad.jpg").write_text("no picture")
    os.mkfifo(folder / "pipe")
    document = compress(folder, tmp_path / "o.ecz").to_json()
    expected = {"archive", "images", "files", "bytes_in", "bytes_out", "pixels", "bpp", "seconds"}
    expected |= {"verbatim", "skipped", "unchanged", "resumed", "unfinished", "coded_here"}
    assert expected == set(document)
    (kept,) = document["verbatim"]
    assert kept["path"] == str(folder / "bad.jpg")
    assert document["skipped"] == [{"path": str(folder / "pipe"), "reason": "a named pipe"}]


def test_pictures_that_cannot_be_coded_are_kept(
    folder: Path, tmp_path: Path, compress: Compress, photo: Image.Image
) -> None:
    (folder / "text.jpg").write_text("I am no picture")
    photo.save(folder / "cut.jpg")
    cut = (folder / "cut.jpg").read_bytes()[:900]
    (folder / "cut.jpg").write_bytes(cut)
    Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30)).save(folder / "deep.png")
    photo.save(folder / "moving.gif", save_all=True, append_images=[photo.rotate(90)])
    (folder / "dot.ppm").write_bytes(b"P6 1 1 255\n\0\0\0")
    (folder / "none.png").write_bytes(b"")
    archive = tmp_path / "o.ecz"
    summary = compress(folder, archive, verify=True)
    reasons = {os.path.basename(note.path): note.reason for note in summary.verbatim}
    assert set(reasons) == {
        "text.jpg", "cut.jpg", "deep.png", "moving.gif", "dot.ppm", "none.png"
    }  # fmt: skip
    assert "more than 8 bits" in reasons["deep.png"]
    assert "frames" in reasons["moving.gif"]
    assert "grow" in reasons["dot.ppm"]
    assert summary.exit_code == ExitCode.DONE
    assert summary.images == 4
    assert kinds(archive)["cut.jpg"] == "verbatim-picture"
    with ArchiveReader(archive) as reader:
        by_source = {member.source: member for member in reader.members}
        assert reader.read(by_source["cut.jpg"]) == cut


def test_pictures_over_the_limit_are_kept(folder: Path, tmp_path: Path, compress: Compress) -> None:
    summary = compress(folder, tmp_path / "o.ecz", max_pixels=152 * 96 - 1)
    assert summary.images == 0
    assert summary.bpp == 0.0
    assert len(summary.verbatim) == 4


def test_files_that_cannot_be_read_are_skipped(
    folder: Path, tmp_path: Path, compress: Compress, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def closed(path: str, *args: object, **options: object) -> int:
        if str(path).endswith(("a.jpg", "notes.txt")):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", closed)
    summary = compress(folder, tmp_path / "o.ecz")
    assert summary.exit_code == ExitCode.SKIPPED
    assert [(note.path, note.reason) for note in summary.skipped] == [
        (str(folder / "a.jpg"), "cannot be read: Permission denied"),
        (str(folder / "notes.txt"), "cannot be read: Permission denied"),
    ]
    assert summary.files == 4


def test_files_that_change_during_the_run(
    folder: Path, tmp_path: Path, compress: Compress, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = compress_module.scan

    def scan_and_change(*args: object, **options: object) -> object:
        result = real(*args, **options)  # type: ignore[arg-type]
        (folder / "a.jpg").unlink()
        (folder / "notes.txt").unlink()
        (folder / "notes.txt").mkdir()
        (folder / "noise.bin").unlink()
        (folder / "noise.bin").symlink_to("a.png")
        (folder / "a.png").write_bytes((folder / "a.png").read_bytes() + b"more")
        return result

    monkeypatch.setattr(compress_module, "scan", scan_and_change)
    archive = tmp_path / "o.ecz"
    summary = compress(folder, archive)
    assert {os.path.basename(note.path) for note in summary.skipped} == {
        "a.jpg", "notes.txt", "noise.bin"
    }  # fmt: skip
    assert kinds(archive)["a.png"] == "picture"


def test_large_files_are_streamed(tmp_path: Path, compress: Compress) -> None:
    (tmp_path / "in").mkdir()
    data = b"a line of text\n" * (SMALL_BYTES // 10)
    (tmp_path / "in" / "big.log").write_bytes(data)
    summary = compress(tmp_path / "in", tmp_path / "o.ecz", verify=True)
    assert summary.bytes_in == len(data)
    assert summary.bytes_out < len(data) // 50
    with ArchiveReader(tmp_path / "o.ecz") as reader:
        assert reader.read(reader.members[0]) == data


def test_no_model_is_needed_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("x")
    assert compress_folder(tmp_path / "in", model=tmp_path / "no-model").files == 1


# Names of outputs.


def test_default_names(
    folder: Path, tmp_path: Path, compress: Compress, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "v1.5").mkdir()
    (tmp_path / "v1.5" / "a").write_text("a")
    assert compress(f"{folder}/").archive == str(tmp_path / "in.ecz")
    assert compress(tmp_path / "v1.5").archive == str(tmp_path / "v1.5.ecz")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.ecz").unlink()
    assert compress("in").archive == "in.ecz"
    (tmp_path / "in.ecz").unlink()
    monkeypatch.chdir(folder)
    compress(".")
    assert (tmp_path / "in.ecz").is_file()
    (tmp_path / "in.ecz").unlink()
    compress("sub dir/..")
    assert (tmp_path / "in.ecz").is_file()
    with pytest.raises(UsageError, match="several"):
        compress(["a.png", "a.jpg"])
    with pytest.raises(UsageError, match="no name"):
        compress("/")


def test_existing_output(folder: Path, tmp_path: Path, compress: Compress) -> None:
    archive = tmp_path / "o.ecz"
    archive.write_text("precious")
    for dry_run in (False, True):
        with pytest.raises(OutputExistsError, match=str(archive)):
            compress(folder, archive, dry_run=dry_run)
    assert archive.read_text() == "precious"
    compress(folder, archive, force=True)
    assert len(kinds(archive)) == 7
    with pytest.raises(OutputError, match="is a folder"):
        compress(folder, tmp_path, force=True)
    with pytest.raises(OutputError, match="no-folder"):
        compress(folder, tmp_path / "no-folder" / "o.ecz")


def test_the_archive_in_its_own_folder(folder: Path, compress: Compress) -> None:
    archive = folder / "all.ecz"
    first = compress(folder, archive)
    second = compress(folder, archive, force=True)
    assert first.files == second.files == 6
    assert first.bytes_out == second.bytes_out


def test_nothing_to_compress(tmp_path: Path, compress: Compress) -> None:
    root = tmp_path / "in"
    root.mkdir()
    with pytest.raises(SourceError, match=f"{root}: nothing to compress"):
        compress(root)
    (root / "a.txt").write_text("x")
    with pytest.raises(SourceError, match="chosen"):
        compress(root, include=["*.png"])
    (root / "a.txt").unlink()
    os.mkfifo(root / "pipe")
    with pytest.raises(SourceError, match="a named pipe"):
        compress(root)
    with pytest.raises(SourceError, match="no such file"):
        compress(tmp_path / "missing")
    assert os.listdir(tmp_path) == ["in"]


def test_a_missing_model(folder: Path, tmp_path: Path, compress: Compress) -> None:
    with pytest.raises(ModelNotFoundError, match="nowhere"):
        compress(folder, tmp_path / "o.ecz", model=tmp_path / "nowhere")
    assert os.listdir(tmp_path) == ["in"]


def test_dry_run(folder: Path, tmp_path: Path, compress: Compress) -> None:
    summary = compress(folder, dry_run=True, model=tmp_path / "not even a model")
    assert (summary.images, summary.files, summary.bytes_out) == (4, 6, 0)
    assert summary.archive == str(tmp_path / "in.ecz")
    assert os.listdir(tmp_path) == ["in"]


# Endings.


@pytest.mark.parametrize("ending", [KeyboardInterrupt, SystemExit, RuntimeError, MemoryError])
@pytest.mark.parametrize("where", ["worker", "writer"])
def test_endings_leave_nothing_behind(
    folder: Path,
    tmp_path: Path,
    compress: Compress,
    monkeypatch: pytest.MonkeyPatch,
    ending: type[BaseException],
    where: str,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ending

    if where == "worker":
        monkeypatch.setattr(Codec, "encode", fail)
    else:
        monkeypatch.setattr(compress_module.ArchiveWriter, "add_picture", fail)
    with pytest.raises(ending):
        compress(folder, tmp_path / "o.ecz")
    assert os.listdir(tmp_path) == ["in"]
    assert not [t for t in threading.enumerate() if t.name.startswith("edgecomp")]


def test_a_full_disk(
    folder: Path, tmp_path: Path, compress: Compress, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "o.ecz"
    written = 0

    def write(descriptor: int, data: bytes) -> int:
        nonlocal written
        written += len(data)
        if written > 2000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data)

    real = os.write
    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OutputError, match=f"cannot write {archive}: No space left on device"):
        compress(folder, archive)
    assert os.listdir(tmp_path) == ["in"]


def test_verifying_finds_what_was_written_wrong(
    folder: Path, tmp_path: Path, compress: Compress, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Codec.encode

    def encode(self: Codec, *args: object, **options: object) -> bytes:
        data = bytearray(real(self, *args, **options))  # type: ignore[arg-type]
        data[-1] ^= 1
        return bytes(data)

    monkeypatch.setattr(Codec, "encode", encode)
    with pytest.raises(CorruptDataError, match="verifying failed") as caught:
        compress(folder, tmp_path / "o.ecz", verify=True)
    assert caught.value.path == "a.jpg"
    assert os.listdir(tmp_path) == ["in"]


def test_what_cannot_be_verified_gets_no_name(
    folder: Path, tmp_path: Path, compress: Compress, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(self: Codec, stream: object) -> None:
        raise LimitError("not enough memory")

    monkeypatch.setattr(Codec, "check_symbols", check)
    with pytest.raises(CorruptDataError, match=r"verifying failed.*not enough memory"):
        compress(folder, tmp_path / "o.ecz", verify=True)
    assert os.listdir(tmp_path) == ["in"]


def test_members_of_a_model_that_is_gone_are_verified_as_far_as_it_goes(
    folder: Path, tmp_path: Path, compress: Compress, tiny_map: Path
) -> None:
    compress(folder, tmp_path / "o.ecz", model=tiny_map)
    (folder / "a.png").unlink()
    assert compress(folder, tmp_path / "o.ecz", update=True, verify=True).unchanged == 4


def test_verifying_one_picture_reads_what_was_written(
    folder: Path, tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write

    def write(descriptor: int, data: bytes) -> int:
        return real(descriptor, bytes(data)[:-1] + bytes([data[-1] ^ 1]))

    monkeypatch.setattr(os, "write", write)
    target = tmp_path / "a.edge"
    with pytest.raises(CorruptDataError, match="verifying failed"):
        compress_picture(folder / "a.png", target, model=tiny, verify=True)
    assert os.listdir(tmp_path) == ["in"]
    compress_picture(folder / "a.png", target, model=tiny)
    assert target.exists(), "the control: without it the damage goes unnoticed"


def test_more_files_than_are_allowed(folder: Path, tmp_path: Path, compress: Compress) -> None:
    with pytest.raises(LimitError, match="more than 6 files"):
        compress(folder, tmp_path / "o.ecz", max_members=6)
    assert compress(folder, tmp_path / "o.ecz", max_members=7).files == 6


def test_an_archive_with_anything_missing_is_not_updated(
    folder: Path, tmp_path: Path, compress: Compress
) -> None:
    archive = tmp_path / "o.ecz"
    compress(folder, archive)
    data = archive.read_bytes()
    for damaged in (data[: len(data) // 2], data[:5] + data[300:], data[:-60] + data[-50:]):
        archive.write_bytes(damaged)
        with pytest.raises(CorruptDataError, match="cannot be updated; repair it"):
            compress(folder, archive, update=True)
        assert archive.read_bytes() == damaged


class Listener:
    """A Progress that writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def start(self, total_items: int, total_bytes: int) -> None:
        self.heard.append(("start", total_items, total_bytes))

    def advance(self, name: str, size: int) -> None:
        self.heard.append((name, size))

    def finish(self) -> None:
        self.heard.append("finish")


def test_progress(folder: Path, tmp_path: Path, compress: Compress) -> None:
    listener = Listener()
    summary = compress(folder, tmp_path / "o.ecz", progress=listener)
    assert listener.heard[0] == ("start", 7, summary.bytes_in)
    assert listener.heard[-1] == "finish"
    assert len(listener.heard) == 9
    assert listener.heard[1] == ("a.jpg", (folder / "a.jpg").stat().st_size)


# Update.


def test_update_takes_over_what_has_not_changed(
    folder: Path, tmp_path: Path, compress: Compress, photo: Image.Image
) -> None:
    archive = tmp_path / "o.ecz"
    first = compress(folder, archive, update=True)
    assert first.unchanged == 0
    before = archive.read_bytes()
    again = compress(folder, archive, update=True, verify=True)
    assert again.unchanged == 7
    assert archive.read_bytes() == before
    assert (again.images, again.pixels, again.bytes_in) == (4, first.pixels, first.bytes_in)

    photo.rotate(180).save(folder / "a.png")
    photo.save(folder / "new.png")
    (folder / "notes.txt").write_text("done")
    (folder / "noise.bin").unlink()
    (folder / "a.jpg").unlink()
    (folder / "empty" / "now.txt").write_text("not")
    last = compress(folder, archive, update=True, verify=True)
    assert last.unchanged == 4
    # What was deleted is kept.
    assert kinds(archive) == {
        "a.jpg": "picture",
        "a.png": "picture",
        "empty/now.txt": "file",
        "new.png": "picture",
        "noise.bin": "file",
        "notes.txt": "file",
        "sub dir/ü b.tiff": "picture",
        "sub dir/더 깊이/사진.png": "picture",
    }
    with ArchiveReader(archive) as reader:
        by_source = {member.source: member for member in reader.members}
        assert reader.read(by_source["notes.txt"]) == b"done"
        assert by_source["a.png"].mtime_ns == (folder / "a.png").stat().st_mtime_ns


def test_update_with_another_model_codes_anew(
    folder: Path, tmp_path: Path, compress: Compress, tiny_map: Path
) -> None:
    archive = tmp_path / "o.ecz"
    compress(folder, archive)
    assert compress(folder, archive, update=True, model=tiny_map).unchanged == 3
    with ArchiveReader(archive) as reader:
        assert len({m.heading.model_id for m in reader.members if m.heading}) == 1


def test_update_keeps_what_can_no_longer_be_read(
    folder: Path, tmp_path: Path, compress: Compress, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "o.ecz"
    compress(folder, archive)
    os.utime(folder / "a.jpg", ns=(0, 0))
    real = os.open

    def closed(path: str, *args: object, **options: object) -> int:
        if str(path).endswith("a.jpg"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", closed)
    summary = compress(folder, archive, update=True)
    assert summary.exit_code == ExitCode.SKIPPED
    assert "a.jpg" in kinds(archive)


def test_update_when_folders_become_files(folder: Path, tmp_path: Path, compress: Compress) -> None:
    archive = tmp_path / "o.ecz"
    (folder / "d").mkdir()
    (folder / "d" / "x").write_text("x")
    compress(folder, archive)
    (folder / "d" / "x").unlink()
    (folder / "d").rmdir()
    (folder / "d").write_text("file")
    (folder / "notes.txt").unlink()
    (folder / "notes.txt").mkdir()
    (folder / "notes.txt" / "y").write_text("y")
    compress(folder, archive, update=True)
    found = kinds(archive)
    assert found["d"] == "file"
    assert found["notes.txt/y"] == "file"
    assert "d/x" not in found
    assert "notes.txt" not in found


def test_update_when_a_file_has_a_members_name(
    folder: Path, tmp_path: Path, compress: Compress
) -> None:
    archive = tmp_path / "o.ecz"
    compress(folder, archive)
    (folder / "a.edge").write_text("a file of that name")
    assert compress(folder, archive, update=True).unchanged == 6
    assert kinds(archive)["a.edge"] == "file"
    compress(folder, archive, force=True, exclude=["a.edge"])
    (folder / "a.jpg").unlink()
    with pytest.raises(UsageError, match=r"a\.jpg is in the archive as a\.edge"):
        compress(folder, archive, update=True)


def test_update_repairs_damage_where_the_source_is_there(
    folder: Path, tmp_path: Path, compress: Compress
) -> None:
    archive = tmp_path / "o.ecz"
    compress(folder, archive)
    good = archive.read_bytes()
    with ArchiveReader(archive) as reader:
        member = reader.members[0]
        data = reader.read(member)
    damaged = bytearray(good)
    damaged[good.index(data) + len(data) - 1] ^= 1
    archive.write_bytes(damaged)
    assert compress(folder, archive, update=True).unchanged == 6
    assert archive.read_bytes() == good

    archive.write_bytes(damaged)
    (folder / "a.jpg").unlink()
    with pytest.raises(CorruptDataError, match="cannot be updated"):
        compress(folder, archive, update=True)
    assert archive.read_bytes() == damaged


def test_update_refuses_what_is_no_archive(
    folder: Path, tmp_path: Path, compress: Compress
) -> None:
    (tmp_path / "o.ecz").write_text("precious")
    with pytest.raises(NotEdgecompError):
        compress(folder, tmp_path / "o.ecz", update=True)
    assert (tmp_path / "o.ecz").read_text() == "precious"


# One picture.


def test_one_picture(folder: Path, tiny: Path) -> None:
    summary = compress_picture(folder / "a.png", model=tiny, verify=True)
    assert summary.archive == str(folder / "a.edge")
    data = (folder / "a.edge").read_bytes()
    assert (summary.images, summary.bytes_out, summary.pixels) == (1, len(data), 152 * 96)
    assert summary.bpp == 8 * len(data) / summary.pixels
    stream = parse(data)
    assert stream.origin is not None
    assert stream.origin.suffix == ".png"
    assert stream.origin.mtime_ns == (folder / "a.png").stat().st_mtime_ns
    with pytest.raises(OutputExistsError):
        compress_picture(folder / "a.jpg", model=tiny)
    compress_picture(folder / "a.jpg", model=tiny, force=True)


def test_one_picture_through_streams(folder: Path, tiny: Path, tmp_path: Path) -> None:
    data = (folder / "a.png").read_bytes()
    output = io.BytesIO()
    compress_picture(io.BytesIO(data), output, model=tiny)
    assert parse(output.getvalue()).origin is None
    compress_picture(data, tmp_path / "x.edge", model=tiny)
    assert (tmp_path / "x.edge").read_bytes() == output.getvalue()
    with pytest.raises(UsageError, match="no name"):
        compress_picture(data, model=tiny)


def test_one_picture_dry_run(folder: Path, tiny: Path) -> None:
    assert compress_picture(folder / "a.png", model=tiny, dry_run=True).images == 1
    assert not (folder / "a.edge").exists()


def test_one_picture_that_cannot_be_coded(folder: Path, tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedPictureError, match=r"notes\.txt"):
        compress_picture(folder / "notes.txt", tmp_path / "x.edge", model=tiny)
    with pytest.raises(SourceError, match=r"none\.png: no such file"):
        compress_picture(folder / "none.png", model=tiny)
    with pytest.raises(UsageError, match="folder"):
        compress_picture(folder, model=tiny)
    with pytest.raises(UsageError, match="for archives"):
        compress_picture(folder / "a.png", model=tiny, update=True)
    assert os.listdir(tmp_path) == ["in"]
