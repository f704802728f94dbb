"""Disks that cannot be read: every read of an archive, of a codestream, of a source, in turn."""

from __future__ import annotations

import builtins
import errno
import functools
import io
import itertools
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from faults import NEEDS_PROC, World, own_threads, small_pieces
from processes import tree

from edgecomp import prepare
from edgecomp.cli import main
from edgecomp.compress import compress_folder, compress_picture
from edgecomp.decompress import decompress_folder, decompress_picture
from edgecomp.errors import EdgecompError, ExitCode
from edgecomp.inspect import info, list_archive, verify

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

pytestmark = NEEDS_PROC


class Reads:
    """A context manager: within it, some reads of one file fail as those of a bad sector do.

    Args:
        start: of the path of the file.
        first: the number of the first read that fails, from 1.
        lasting: whether all after it fail too.

    Attributes:
        failed: how many have failed.
    """

    def __init__(self, start: Path, first: int, *, lasting: bool) -> None:
        self._start = str(start)
        self._first = first
        self._lasting = lasting
        self._count = 0
        self._lock = threading.Lock()
        self._patches = pytest.MonkeyPatch()
        self.failed = 0

    def __enter__(self) -> Reads:
        real_open: Any = io.open
        real_pread = os.pread

        def watched_open(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            opened = real_open(file, mode, *arguments, **options)
            if mode != "rb" or not _name_of(opened.fileno()).startswith(self._start):
                return opened
            return io.BufferedReader(_Watched(opened.detach(), self))

        def watched_pread(descriptor: int, *arguments: int) -> bytes:
            if _name_of(descriptor).startswith(self._start):
                self.read()
            return real_pread(descriptor, *arguments)

        self._patches.setattr(io, "open", watched_open)
        self._patches.setattr(builtins, "open", watched_open)
        self._patches.setattr(os, "pread", watched_pread)
        return self

    def __exit__(self, *_: object) -> None:
        self._patches.undo()

    def read(self) -> None:
        """The file is about to be read."""
        with self._lock:
            self._count += 1
            late = self._count > self._first and self._lasting
            if late or self._count == self._first:
                self.failed += 1
                raise OSError(errno.EIO, os.strerror(errno.EIO))


class _Watched(io.RawIOBase):
    """A file whose reads are counted, and may fail."""

    def __init__(self, file: io.FileIO, reads: Reads) -> None:
        self._file = file
        self._reads = reads
        self.name = file.name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        self._reads.read()
        return cast("int | None", self._file.readinto(buffer))

    def close(self) -> None:
        self._file.close()
        super().close()


def attempt(
    path: Path, first: int, function: Callable[[], Any], *, lasting: bool = True
) -> tuple[Any, EdgecompError | None, bool]:
    """What a function gave while reads of a file failed, what it raised, and whether any did."""
    with Reads(path, first, lasting=lasting) as reads:
        try:
            return function(), None, bool(reads.failed)
        except EdgecompError as error:
            return None, error, bool(reads.failed)


def _name_of(descriptor: int) -> str:
    return os.readlink(f"/proc/self/fd/{descriptor}")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> World:
    return World(tmp_path_factory.mktemp("world"), tiny, small_pieces)


Look = Callable[[World, Path], Any]

# What reads the archive, and what it gives of an archive that is whole.
ARCHIVE_LOOKS: dict[str, Look] = {
    "decompress": lambda world, out: decompress_folder(
        world.archive, out / "back", model=world.model, threads=1
    ),
    "verify": lambda world, _: verify(world.archive, model=world.model, threads=1),
    "verify-quick": lambda world, _: verify(world.archive, level="checksums", threads=1),
    "list": lambda world, _: list_archive(world.archive),
    "info": lambda world, _: info(world.archive),
}
CODESTREAM_LOOKS: dict[str, Look] = {
    "decompress-picture": lambda world, out: decompress_picture(
        world.codestream, out / "x.png", model=world.model
    ),
    "verify-picture": lambda world, _: verify(world.codestream, model=world.model),
    "info-picture": lambda world, _: info(world.codestream),
}
LOOKS = ARCHIVE_LOOKS | CODESTREAM_LOOKS


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from-then-on"])
@pytest.mark.parametrize(
    "look",
    LOOKS,
)
def test_each_read_fails_in_turn(world: World, look: str, lasting: bool) -> None:
    """It is told, by an error that names the file; never are members missing in silence."""
    path = world.archive if look in ARCHIVE_LOOKS else world.codestream
    whole = world.new_out()
    expected = _without_time(LOOKS[look](world, whole))
    for n in itertools.count(1):
        out = world.new_out()
        job = functools.partial(LOOKS[look], world, out)
        found, error, failed = attempt(path, n, job, lasting=lasting)
        if error is not None:
            assert str(path) in str(error), error
            assert failed
            assert tree(out).items() <= tree(whole).items()
        else:
            assert tells_of_damage(found) or _without_time(found) == expected
            if not failed:
                break
    assert n > 1
    assert _without_time(found) == expected
    assert tree(out) == tree(whole)
    assert not own_threads()
    world.check_sources()


def tells_of_damage(found: Any) -> bool:
    """Whether a report or a list says that something is wrong."""
    if isinstance(found, list):
        return any(entry.problem for entry in found)
    return bool(found.damaged) and found.exit_code == ExitCode.DAMAGED


def _without_time(found: Any) -> Any:
    """What a report says but of how long it took and where it was written."""
    if not hasattr(found, "to_json"):
        return found
    document = found.to_json()
    for key in ("seconds", "output"):
        document.pop(key, None)
    return document


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from-then-on"])
@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("compress-update", "o.ecz"),
        ("compress-verify", "o.ecz.partial"),
    ],
)
def test_reads_while_writing(world: World, name: str, read: str, lasting: bool) -> None:
    """Of the archive that is brought up to date, and of what was written, to verify it."""
    job = world.jobs[name]
    for n in itertools.count(1):
        out = job.begin(world.out())
        run = functools.partial(job.run, out)
        _, error, failed = attempt(out / read, n, run, lasting=lasting)
        if error is not None:
            assert str(out / "o.ecz") in str(error), error
            job.check(out, set())
        else:
            assert tree(out) == job.new
            if not failed:
                break
    assert n > 5


@pytest.mark.parametrize("held", [1 << 24, 100], ids=["read-at-once", "read-when-decoded"])
@pytest.mark.parametrize("name", ["a.png", "text.txt", "sub/deep/noise.bin", "sub/note.txt"])
def test_sources_with_bad_sectors_are_skipped(
    world: World, name: str, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures, packed files, and those that pass through in pieces: the rest is complete."""
    monkeypatch.setattr(prepare, "_HELD_BYTES", held)
    path = world.sources / name
    files = {str(p.relative_to(world.sources)) for p in world.sources.rglob("*") if p.is_file()}
    for n in itertools.count(1):
        out = world.new_out()
        archive = out / "o.ecz"
        with world.within(), Reads(path, n, lasting=True) as reads:
            summary = compress_folder(world.sources, archive, model=world.model, threads=1)
        if not reads.failed:
            break
        assert summary.exit_code == ExitCode.SKIPPED
        assert [(note.path, note.reason) for note in summary.skipped] == [
            (str(path), "cannot be read: Input/output error")
        ]
        report = verify(archive, model=world.model)
        assert (report.exit_code, report.damaged) == (ExitCode.DONE, ())
        decompress_folder(archive, out / "back", model=world.model)
        assert {file for file, data in tree(out / "back").items() if data is not None} == (
            files - {name}
        )
    assert n > 1
    assert summary.exit_code == ExitCode.DONE


def test_one_picture_that_cannot_be_read(world: World) -> None:
    for n in itertools.count(1):
        out = world.new_out()
        job = functools.partial(compress_picture, world.picture, out / "o.edge", model=world.model)
        _, error, failed = attempt(world.picture, n, job)
        if not failed:
            break
        assert str(world.picture) in str(error)
        assert "Input/output error" in str(error)
        assert tree(out) == {}
    assert n > 1
    assert error is None


MEMORY = Path("/proc/self/mem")  # opens, and fails to be read and to tell its size


@pytest.mark.skipif(not MEMORY.exists(), reason="no file here that cannot be read")
@pytest.mark.parametrize(
    "words",
    [
        "decompress FILE -o OUT",
        "verify FILE",
        "list FILE",
        "info FILE",
        "compress DIR -o FILE --update",
        "compress FILE -o OUT",
    ],
)
def test_files_that_the_system_cannot_read(
    words: str, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    out = world.out()
    names = {"FILE": str(MEMORY), "OUT": str(out), "DIR": str(world.sources)}
    assert main([names.get(word, word) for word in words.split()]) == ExitCode.FATAL
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"edgecomp: error: {MEMORY}: cannot be read: "), said.err
    assert said.err.count("\n") == 1
    assert not out.exists()
