"""Sources that change while they are read: never a mixture in an archive."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from edgecomp import archive_writer as writer_module
from edgecomp import prepare as prepare_module
from edgecomp import single as single_module
from edgecomp.archive import ArchiveReader
from edgecomp.codec import Codec
from edgecomp.compress import CompressSummary, compress_folder, compress_picture
from edgecomp.errors import ExitCode, SourceError
from edgecomp.scan import Entry
from edgecomp.source_file import SourceChangedError, SourceFile

pytestmark = pytest.mark.usefixtures("folder_kind")


def entry_of(path: Path, *, named: bool = False) -> Entry:
    below = "" if named else path.name
    return Entry(str(path), path.name, "file", path.stat().st_size, 0, below)


def test_what_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"hello")
    with SourceFile(entry_of(path)) as source:
        assert (source.size, source.is_file) == (5, True)
        assert source.mtime_ns == path.stat().st_mtime_ns
        source.check()
        assert source.hold() == b"hello"
        path.write_bytes(b"changed later")
        source.check()
        assert source.file.read() == b"hello"


def grow(path: Path) -> None:
    with open(path, "ab") as file:
        file.write(b"more")


def shorten(path: Path) -> None:
    os.truncate(path, 2)


def rewrite(path: Path) -> None:
    """Other bytes of the same number; the time is set, since the clock of files ticks slowly."""
    with open(path, "r+b") as file:
        file.write(b"j")
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


CHANGES = [grow, shorten, rewrite]


@pytest.mark.parametrize("change", CHANGES)
def test_changes_are_noticed(tmp_path: Path, change: Callable[[Path], None]) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"hello")
    with SourceFile(entry_of(path)) as source:
        change(path)
        with pytest.raises(SourceChangedError, match="changed while it was read"):
            source.hold()
        with pytest.raises(SourceChangedError):
            source.check()


def test_links_and_pipes_are_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"hello")
    (tmp_path / "link").symlink_to("a")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="symbolic links"):
        SourceFile(entry_of(tmp_path / "link"))
    with SourceFile(entry_of(tmp_path / "link", named=True)) as source:
        assert source.hold() == b"hello"
    with SourceFile(entry_of(tmp_path / "pipe")) as source:
        assert not source.is_file


# In a folder job.

Compress = Callable[..., CompressSummary]


@pytest.fixture
def folder(tmp_path: Path, photo: Image.Image, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A picture, a picture that is kept, a small file and a large one, which passes in pieces."""
    root = tmp_path / "in"
    root.mkdir()
    photo.save(root / "a.png")
    (root / "bad.png").write_text("no picture, but long enough to be cut and changed")
    (root / "large.txt").write_bytes(b"to do " * 1000)
    (root / "small.txt").write_bytes(b"to do " * 10)
    monkeypatch.setattr(prepare_module, "SMALL_BYTES", 1000)
    monkeypatch.setattr(writer_module, "SMALL_BYTES", 1000)
    monkeypatch.setattr(prepare_module, "_HELD_BYTES", 2000)
    return root


NAMES = ["a.png", "bad.png", "large.txt", "small.txt"]


def change_at_checks(
    monkeypatch: pytest.MonkeyPatch, path: Path, change: Callable[[Path], None], times: int
) -> None:
    """Change a source just before it is looked at whether it has changed, so many times."""
    real = SourceFile.check
    left = times

    def check(self: SourceFile) -> None:
        nonlocal left
        if (
            left
            and not self._is_held
            and os.path.samestat(os.fstat(self.file.fileno()), path.stat())
        ):
            left -= 1
            change(path)
        real(self)

    monkeypatch.setattr(SourceFile, "check", check)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_read_again(
    folder: Path,
    tmp_path: Path,
    tiny: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    change: Callable[[Path], None],
) -> None:
    if name == "a.png" and change is not grow:
        change = grow  # a picture that is cut is no picture any more
    change_at_checks(monkeypatch, folder / name, change, 1)
    summary = compress_folder(folder, tmp_path / "o.ecz", model=tiny)
    assert (summary.skipped, summary.exit_code) == ((), ExitCode.DONE)
    with ArchiveReader(tmp_path / "o.ecz") as reader:
        member = {m.source: m for m in reader.members}[name]
        if member.kind != "picture":
            assert reader.read(member) == (folder / name).read_bytes()
        assert member.mtime_ns == (folder / name).stat().st_mtime_ns


@pytest.mark.parametrize("name", NAMES)
def test_what_never_rests_is_left_out(
    folder: Path, tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    change_at_checks(monkeypatch, folder / name, grow, 1000)
    summary = compress_folder(folder, tmp_path / "o.ecz", model=tiny)
    assert [(note.path, note.reason) for note in summary.skipped] == [
        (str(folder / name), "changed while it was read")
    ]
    assert summary.exit_code == ExitCode.SKIPPED
    with ArchiveReader(tmp_path / "o.ecz") as reader:
        assert [m.source for m in reader.members] == [n for n in NAMES if n != name]
        for member in reader.members:
            reader.read(member)


def test_an_update_keeps_the_old_version_of_what_never_rests(
    folder: Path, tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compress_folder(folder, tmp_path / "o.ecz", model=tiny)
    old = (folder / "large.txt").read_bytes()
    grow(folder / "large.txt")
    change_at_checks(monkeypatch, folder / "large.txt", grow, 1000)
    summary = compress_folder(folder, tmp_path / "o.ecz", model=tiny, update=True)
    assert [note.reason for note in summary.skipped] == ["changed while it was read"]
    with ArchiveReader(tmp_path / "o.ecz") as reader:
        assert reader.read({m.source: m for m in reader.members}["large.txt"]) == old


def test_one_picture_that_changes(
    folder: Path, tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = single_module.load_picture

    def load(*arguments: object, **options: object) -> object:
        picture = real(*arguments, **options)  # type: ignore[arg-type]
        grow(folder / "a.png")
        return picture

    monkeypatch.setattr(single_module, "load_picture", load)
    with pytest.raises(SourceError, match=r"a\.png: changed while it was read"):
        compress_picture(folder / "a.png", model=tiny)
    assert not (folder / "a.edge").exists()


def test_a_source_that_cannot_be_read_to_its_end_is_left_out(
    folder: Path, tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Codec, *_: object, **__: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Codec, "encode", fail)
    summary = compress_folder(folder, tmp_path / "o.ecz", model=tiny)
    assert [note.reason for note in summary.skipped] == ["cannot be read: Input/output error"]
