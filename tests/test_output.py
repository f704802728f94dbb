"""Writing outputs: absent, as before, or complete."""

from __future__ import annotations

import errno
import os
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgecomp import output as output_module
from edgecomp.errors import OutputError, OutputExistsError
from edgecomp.output import OutputFile, check_output
from edgecomp.output_folder import OutputFolder, twins_of
from edgecomp.partial_files import is_partial_name

pytestmark = pytest.mark.usefixtures("folder_kind")


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """A full disk, as far as one process can have it for itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write(
    target: Path, then: Callable[[OutputFile], object] = lambda out: None, **options: bool
) -> None:
    """Write "new" to a target, and do something before it is finished."""
    with OutputFile(target, **options) as out:
        out.file.write(b"new")
        then(out)


def raiser(error: type[BaseException]) -> Callable[[OutputFile], object]:
    def fail(_: OutputFile) -> None:
        raise error

    return fail


def test_the_name_appears_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "a.ecz"
    with OutputFile(target) as out:
        out.file.write(b"hello")
        (partial,) = names(tmp_path)
        assert is_partial_name(partial)
        assert partial.startswith(f"a.ecz.partial-{os.getpid()}-")
        assert out.size() == 5
        with out.reopen() as again:
            assert again.read() == b"hello"
        out.set_mtime(1_234_567_890_123_456_789)
    assert names(tmp_path) == ["a.ecz"]
    assert target.read_bytes() == b"hello"
    assert target.stat().st_mtime_ns == 1_234_567_890_123_456_789
    assert target.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, MemoryError])
def test_an_exception_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error):
        write(tmp_path / "a", raiser(error))
    assert names(tmp_path) == []


def test_what_is_there_stays(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_text("old")
    with pytest.raises(OutputExistsError, match=str(target)):
        write(target)
    with pytest.raises(RuntimeError):
        write(target, raiser(RuntimeError), force=True)
    assert target.read_text() == "old"
    write(target, force=True)
    assert target.read_text() == "new"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("links", [True, False])
def test_what_appears_meanwhile_stays(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:
        monkeypatch.setattr(output_module.os, "link", _no_links)
    target = tmp_path / "a"
    with pytest.raises(OutputExistsError):
        write(target, lambda _: target.write_text("theirs"))
    assert target.read_text() == "theirs"
    assert names(tmp_path) == ["a"]


def _no_links(*_: object, **__: object) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_module.os, "link", _no_links)
    with OutputFile(tmp_path / "a") as out:
        out.file.write(b"x")
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("force", [False, True])
def test_bytes_are_on_disk_before_the_name_and_the_name_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: bool, folder_kind: str
) -> None:
    calls: list[str] = []

    def fsync(descriptor: int) -> None:
        is_folder = os.path.samestat(os.fstat(descriptor), tmp_path.stat())
        size = os.fstat(descriptor).st_size
        calls.append("sync folder" if is_folder else f"sync {size} bytes")

    def named(call: Callable[..., None]) -> Callable[..., None]:
        def run(*arguments: object, **options: object) -> None:
            calls.append("name")
            call(*arguments, **options)

        return run

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", named(os.link))
    monkeypatch.setattr(os, "replace", named(os.replace))
    write(tmp_path / "a", force=force)
    # Only a descriptor can be synced.
    folder = ["sync folder"] if folder_kind == "descriptors" else []
    assert calls == ["sync 3 bytes", "name", *folder]


def test_a_full_disk(tmp_path: Path) -> None:
    target = tmp_path / "a.ecz"
    with file_size_limit(1 << 20), pytest.raises(OutputError, match="File too large") as caught:
        write(target, lambda out: [out.file.write(bytes(1000)) for _ in range(3000)])
    assert f"cannot write {target}" in str(caught.value)
    assert names(tmp_path) == []


@pytest.mark.parametrize("call", ["write", "fsync", "link", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_any_failing_call_names_the_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    target = tmp_path / "a"

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with pytest.raises(OutputError) as caught:
        write(
            target,
            lambda _: monkeypatch.setattr(output_module.os, call, fail),
            force=call == "replace",
        )
    monkeypatch.undo()
    assert str(target) in str(caught.value)
    assert os.strerror(number) in str(caught.value)
    assert names(tmp_path) == []


def test_targets_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    for target in (tmp_path / "no" / "a", tmp_path / "file" / "a", tmp_path / "folder"):
        with pytest.raises(OutputError, match=str(target)), OutputFile(target, force=True):
            pass
    with pytest.raises(OutputError, match="no name"), OutputFile(Path("/")):
        pass
    assert names(tmp_path) == ["file", "folder"]


def test_early_checks(tmp_path: Path) -> None:
    (tmp_path / "file").symlink_to("nowhere")
    with pytest.raises(OutputExistsError):
        check_output(tmp_path / "file", replace=False)
    check_output(tmp_path / "file", replace=True)
    check_output(tmp_path / "new", replace=False)
    with pytest.raises(OutputError, match="is a folder"):
        check_output(tmp_path, replace=True)


def test_the_longest_names(tmp_path: Path) -> None:
    name = "ü" * 127
    with OutputFile(tmp_path / name) as out:
        out.file.write(b"x")
    assert names(tmp_path) == [name]


def test_two_at_once(tmp_path: Path) -> None:
    target = tmp_path / "a"
    barrier = threading.Barrier(8)
    wins: list[int] = []

    def write(number: int) -> None:
        try:
            with OutputFile(target) as out:
                barrier.wait()
                out.file.write(bytes([number]) * 1000)
            wins.append(number)
        except OutputExistsError:
            pass

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wins) == 1
    assert target.read_bytes() == bytes(wins) * 1000
    assert names(tmp_path) == ["a"]


def test_a_link_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("old")
    (tmp_path / "a").symlink_to("precious")
    with OutputFile(tmp_path / "a", force=True) as out:
        out.file.write(b"new")
    assert (tmp_path / "precious").read_text() == "old"
    assert not (tmp_path / "a").is_symlink()


# Folders.


def test_restoring_into_a_folder(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path / "x" / "out")
    folder.sync()
    with folder.file("a/b/c.txt") as out:
        out.file.write(b"c")
    folder.folder("a/empty", 5_000_000_000)
    folder.sync()
    assert (tmp_path / "x/out/a/b/c.txt").read_bytes() == b"c"
    assert (tmp_path / "x/out/a/empty").stat().st_mtime_ns == 5_000_000_000
    assert folder.find_conflict("a/b/c.txt") == str(tmp_path / "x/out/a/b/c.txt")
    assert folder.find_conflict("a/b/d.txt") is None
    assert folder.find_conflict("z/b/d.txt") is None
    with pytest.raises(OutputExistsError), folder.file("a/b/c.txt"):
        pass


def test_twins_never_replace_each_other(tmp_path: Path) -> None:
    """On a file system where ``A`` and ``a`` are one file; a hard link is the same to a reader."""
    (tmp_path / "a").write_text("before")
    folder = OutputFolder(tmp_path, force=True, twins=twins_of(["a", "A", "b"]))
    with folder.file("a") as out:
        out.file.write(b"first")
    os.link(tmp_path / "a", tmp_path / "A")
    with pytest.raises(OutputExistsError), folder.file("A"):
        pass
    (tmp_path / "A").unlink()

    def appear() -> None:
        os.link(tmp_path / "a", tmp_path / "A")

    with pytest.raises(OutputExistsError):
        _write_into(folder, "A", appear)
    assert (tmp_path / "a").read_text() == "first"
    (tmp_path / "A").unlink()
    with folder.file("A") as out:
        out.file.write(b"second")
    with folder.file("b") as out:
        out.file.write(b"b")
    assert {name: (tmp_path / name).read_text() for name in names(tmp_path)} == {
        "A": "second",
        "a": "first",
        "b": "b",
    }


def _write_into(folder: OutputFolder, name: str, then: Callable[[], None]) -> None:
    with folder.file(name) as out:
        out.file.write(b"second")
        then()


def test_which_names_are_twins() -> None:
    assert twins_of(["a", "b", "A/x", "a/X", "e\u0301", "\u00e9", "stra\u00dfe", "STRASSE"]) == {
        "A/x",
        "a/X",
        "e\u0301",
        "\u00e9",
        "stra\u00dfe",
        "STRASSE",
    }


def test_what_an_earlier_run_has_restored(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path)
    time_ns = 1_600_000_000_123_456_789
    with folder.file("d/a") as out:
        out.file.write(b"12345")
        out.set_mtime(time_ns)
    assert folder.has("d/a", time_ns)
    assert folder.has("d/a", time_ns, 5)
    assert folder.has("d/a", time_ns // 1_000_000_000 * 1_000_000_000)
    assert not folder.has("d/a", time_ns, 4)
    assert not folder.has("d/a", time_ns + 5_000_000_000)
    assert not folder.has("d/b", time_ns)
    assert not folder.has("d", tmp_path.joinpath("d").stat().st_mtime_ns)
    (tmp_path / "link").symlink_to("d/a")
    assert not folder.has("link", os.lstat(tmp_path / "link").st_mtime_ns)
    (tmp_path / "e").symlink_to("d")
    with pytest.raises(OutputError, match="symbolic link"):
        folder.has("e/a", time_ns)


def test_what_killed_runs_left_is_removed(tmp_path: Path) -> None:
    ours = ["d/a.png.partial-1-00000000", "b.png.partial-22-0a1b2c3d"]
    others = ["d/c.png.partial-1-00000000", "d/a.png", "a.png.partial-1-00000000", "x/y"]
    for name in ours + others:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    long = "n" * 255
    cut = long[: 255 - len(".partial-1-00000000")] + ".partial-1-00000000"
    (tmp_path / cut).write_text("x")
    folder = OutputFolder(tmp_path)
    with folder.file("b.png") as out:
        out.file.write(b"in use")
        folder.remove_unfinished(["d/a.png", "b.png", "nowhere/e.png", long])
        assert len([name for name in names(tmp_path) if name.startswith("b.png.partial-")]) == 1
    found = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert found == {*others, "b.png"}


def test_what_is_kept_when_a_block_ends_badly(tmp_path: Path) -> None:
    target = tmp_path / "a"

    def discard_and_fail(out: OutputFile) -> None:
        out.discard()
        raise ValueError("x")

    with pytest.raises(KeyboardInterrupt) as caught:
        write(target, raiser(KeyboardInterrupt), keep=True)
    assert "goes on" in caught.value.__notes__[0]
    (left,) = names(tmp_path)
    assert is_partial_name(left)
    assert (tmp_path / left).read_bytes() == b"new"
    (tmp_path / left).unlink()
    with pytest.raises(ValueError, match="x"), OutputFile(target, keep=True):
        raise ValueError("x")
    with pytest.raises(ValueError, match="x"):
        write(target, discard_and_fail, keep=True)
    with OutputFile(target, keep=True, settings="01234567") as out:
        out.file.write(b"done so far")
        assert names(tmp_path)[0].endswith("-01234567")
        out.discard()
    assert names(tmp_path) == []


def test_links_in_the_folder_are_not_followed(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "out"
    outside.mkdir()
    root.mkdir()
    (root / "d").symlink_to(outside)
    (root / "f").symlink_to(outside / "f")
    folder = OutputFolder(root, force=True)
    with pytest.raises(OutputError, match="symbolic link"), folder.file("d/x"):
        pass
    with pytest.raises(OutputError, match="symbolic link"):
        folder.find_conflict("d/x")
    with pytest.raises(OutputError, match="symbolic link"):
        folder.folder("d/x", 0)
    with folder.file("f") as out:
        out.file.write(b"x")
    assert names(outside) == []
    assert not (root / "f").is_symlink()


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "d").write_text("x")
    folder = OutputFolder(tmp_path, force=True)
    with pytest.raises(OutputError, match="not a folder"), folder.file("d/x"):
        pass
    with pytest.raises(OutputError, match="not a folder"):
        folder.find_conflict("d/x")


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to("real")
    with OutputFolder(tmp_path / "out").file("a") as out:
        out.file.write(b"x")
    assert names(tmp_path / "real") == ["a"]


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    folder = OutputFolder(tmp_path)
    for number in range(5):
        with folder.file(f"a/{number}") as out:
            out.file.write(b"x")
        with pytest.raises(OutputExistsError), folder.file(f"a/{number}"):
            pass
        with pytest.raises(ValueError, match="stop"), folder.file("a/x"):
            raise ValueError("stop")
    assert len(os.listdir("/proc/self/fd")) == before
