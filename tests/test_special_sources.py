"""Sources that are no ordinary files, or may not be read.

The folder is compressed all the same, in bounded time; what is left out is named.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from PIL import Image

from edgecomp.archive import ArchiveReader
from edgecomp.cli import main
from edgecomp.compress import compress_folder
from edgecomp.decompress import decompress_folder
from edgecomp.errors import ExitCode, SourceError
from edgecomp.verbatim import SMALL_BYTES

if sys.platform == "win32":
    pytest.skip("links, pipes and rights as POSIX has them", allow_module_level=True)

Result = TypeVar("Result")
# Ten seconds are the promise; a busy machine is given more.
LIMIT = 150
DEPTH = 10_000
SECRET = b"what stands outside of the folder"


def within_limit(call: Callable[[], Result]) -> Result:
    """What a call returns; a failure if it waits for something that never comes."""
    found: list[Result] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            found.append(call())
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(LIMIT)
    if raised:
        raise raised[0]
    assert found, f"it hangs: still at work after {LIMIT} s"
    return found[0]


def contents(archive: Path) -> dict[str, bytes]:
    """Everything in an archive, checked; pictures as their codestreams."""
    with ArchiveReader(archive) as reader:
        assert reader.damage == ()
        return {
            str(m.source): b"" if m.kind == "folder" else reader.read(m) for m in reader.members
        }


Command = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def command(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run ``edgecomp compress`` in the test's folder: exit code and JSON document."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, dict[str, Any]]:
        line = ["compress", *words, "--json", "--force", "--model", str(tiny)]
        code = within_limit(lambda: main(line))
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert document["exit_code"] == code
        return code, document

    return run


def skipped(document: dict[str, Any]) -> dict[str, str]:
    return {os.path.basename(note["path"]): note["reason"] for note in document["skipped"]}


def test_what_is_no_file_is_skipped(
    command: Command, tmp_path: Path, photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "in"
    (root / "sub").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(SECRET)
    photo.save(root / "good.png")
    (root / "sub" / "good.txt").write_bytes(b"good")
    links = {
        "self": "self", "there": "back", "back": "there", "here": ".", "above": "..",
        "sub/root": str(root), "dangling.jpg": "nowhere", "out.png": "../secret",
        "proc": "/proc/self/root", "endless": "/dev/zero",
    }  # fmt: skip
    for name, target in links.items():
        (root / name).symlink_to(target)
    os.mkfifo(root / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as unix:
        with monkeypatch.context() as at:  # the names of sockets are short
            at.chdir(root)
            unix.bind("socket.png")
        code, document = command("in", "-o", "o.ecz")
    assert code == ExitCode.SKIPPED
    expected = {os.path.basename(name): "a symbolic link" for name in links}
    assert skipped(document) == expected | {"pipe.jpg": "a named pipe", "socket.png": "a socket"}
    found = contents(tmp_path / "o.ecz")
    assert set(found) == {"good.png", "sub/good.txt"}
    assert (document["images"], document["files"]) == (1, 2)
    assert SECRET not in (tmp_path / "o.ecz").read_bytes()


def test_devices_are_skipped(command: Command, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "good").write_bytes(b"good")
    try:
        os.mknod(tmp_path / "in" / "zero.png", 0o644 | stat.S_IFCHR, os.makedev(1, 5))
        os.mknod(tmp_path / "in" / "disk", 0o644 | stat.S_IFBLK, os.makedev(7, 200))
    except OSError:
        pytest.skip("making device nodes is not allowed here")
    code, document = command("in", "-o", "o.ecz")
    assert code == ExitCode.SKIPPED
    assert skipped(document) == {"zero.png": "a device", "disk": "a device"}
    assert contents(tmp_path / "o.ecz") == {"good": b"good"}


def test_a_device_or_a_pipe_that_the_user_names(command: Command, tmp_path: Path) -> None:
    """Also through a link: it leads somewhere else, but to no file."""
    (tmp_path / "good").write_bytes(b"good")
    (tmp_path / "null").symlink_to("/dev/null")
    os.mkfifo(tmp_path / "pipe")
    code, document = command("good", "/dev/zero", "null", "pipe", "-o", "o.ecz")
    assert code == ExitCode.SKIPPED
    assert skipped(document) == {"zero": "a device", "null": "a device", "pipe": "a named pipe"}
    assert contents(tmp_path / "o.ecz") == {"good": b"good"}
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(SourceError, match="loop: cannot be read: Too many levels"):
        compress_folder([tmp_path / "good", tmp_path / "loop"], tmp_path / "p.ecz")
    assert not (tmp_path / "p.ecz").exists()


def test_both_names_of_a_hard_link_are_kept(
    command: Command, tmp_path: Path, tiny: Path, photo: Image.Image
) -> None:
    root = tmp_path / "in"
    (root / "sub").mkdir(parents=True)
    (root / "a.txt").write_bytes(b"one file")
    os.link(root / "a.txt", root / "sub" / "b.txt")
    photo.save(root / "a.png")
    os.link(root / "a.png", root / "sub" / "c.png")
    code, document = command("in", "-o", "o.ecz")
    assert (code, document["skipped"]) == (ExitCode.DONE, [])
    found = contents(tmp_path / "o.ecz")
    assert found["a.txt"] == found["sub/b.txt"] == b"one file"
    decompress_folder(tmp_path / "o.ecz", tmp_path / "back", model=tiny)
    one, other = (np.asarray(Image.open(tmp_path / "back" / n)) for n in ("a.png", "sub/c.png"))
    assert np.array_equal(one, other)
    assert (tmp_path / "back" / "sub" / "b.txt").read_bytes() == b"one file"


@contextmanager
def deep_tree(root: Path, files: dict[int, bytes]) -> Iterator[None]:
    """Folders within folders, ``DEPTH`` of them, deeper than a path can say; ``f`` at some
    depths. They are removed step by step too: programs that recurse cannot."""
    root.mkdir()
    here, depth = os.open(root, os.O_RDONLY), 0
    try:
        while depth < DEPTH:
            os.mkdir("d", dir_fd=here)
            here, depth = _step("d", here), depth + 1
            if depth in files:
                file = os.open("f", os.O_WRONLY | os.O_CREAT, dir_fd=here)
                os.write(file, files[depth])
                os.close(file)
        yield
    finally:
        while depth:
            if depth in files:
                os.unlink("f", dir_fd=here)
            here, depth = _step("..", here), depth - 1
            os.rmdir("d", dir_fd=here)
        os.close(here)


def _step(name: str, here: int) -> int:
    below = os.open(name, os.O_RDONLY, dir_fd=here)
    os.close(here)
    return below


def test_a_tree_of_ten_thousand_folders(command: Command, tmp_path: Path) -> None:
    files = {1: b"near the top", 900: b"far down", DEPTH: b"at the bottom"}
    with deep_tree(tmp_path / "in", files):
        (tmp_path / "in" / "top").write_bytes(b"top")
        code, document = command("in", "-o", "o.ecz")
    assert code == ExitCode.SKIPPED
    (note,) = document["skipped"]
    assert note["path"].startswith("in/d/d/d/")
    assert "too long" in note["reason"] or "longer than" in note["reason"]
    found = contents(tmp_path / "o.ecz")
    assert found == {"top": b"top", "d/f": files[1], "d/" * 900 + "f": files[900]}
    # What is there comes back, with all of its folders.
    within_limit(lambda: decompress_folder("o.ecz", "back"))
    assert Path("back", *["d"] * 900, "f").read_bytes() == files[900]


class Afterwards:
    """A Progress that does something when the folder was looked through, and nothing was read."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act

    def start(self, total_items: int, total_bytes: int, /) -> None:
        self._act()

    def advance(self, name: str, size: int, /) -> None:
        pass

    def finish(self) -> None:
        pass


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("size", [100, SMALL_BYTES + 1], ids=["small", "large"])
def test_what_a_file_has_become_since_it_was_found(
    tmp_path: Path, tiny: Path, photo: Image.Image, threads: int, size: int
) -> None:
    """Neither is waited for what will never come, nor is a link followed."""
    root = tmp_path / "in"
    root.mkdir()
    (tmp_path / "secret").write_bytes(SECRET)
    photo.save(tmp_path / "secret.png")
    names = ("removed", "pipe", "link", "loop", "folder", "pipe.png", "link.png", "removed.png")
    for name in (*names, "still"):
        (root / name).write_bytes(b"a file".ljust(size, b"."))

    def act() -> None:
        for name in names:
            (root / name).unlink()
        (root / "link").symlink_to("../secret")
        (root / "link.png").symlink_to("../secret.png")
        (root / "loop").symlink_to("loop")
        (root / "folder").mkdir()
        os.mkfifo(root / "pipe")
        os.mkfifo(root / "pipe.png")

    archive = tmp_path / "o.ecz"
    summary = within_limit(
        lambda: compress_folder(
            root, archive, model=tiny, threads=threads, progress=Afterwards(act)
        )
    )
    found = {os.path.basename(note.path): note.reason for note in summary.skipped}
    assert set(found) == set(names)
    assert all(found.values())
    assert summary.exit_code == ExitCode.SKIPPED
    assert set(contents(archive)) == {"still"}


def test_a_folder_that_has_become_a_link_is_not_followed(tmp_path: Path, tiny: Path) -> None:
    root, outside = tmp_path / "in", tmp_path / "outside"
    for folder in (root / "sub", outside):
        folder.mkdir(parents=True)
        (folder / "same name").write_bytes(SECRET if folder == outside else b"inside")

    def act() -> None:
        (root / "sub").rename(tmp_path / "moved")
        (root / "sub").symlink_to(outside)

    archive = tmp_path / "o.ecz"
    (root / "still").write_bytes(b"still")
    compress_folder(root, archive, model=tiny, progress=Afterwards(act))
    assert SECRET not in contents(archive).values()


# Rights.

NOBODY = 65534


@contextmanager
def an_ordinary_user() -> Iterator[None]:
    """Root may read everything: within the block the process is nobody."""
    if os.geteuid() != 0:
        yield
        return
    try:
        os.seteuid(NOBODY)
    except OSError:
        pytest.skip("this process may not become an ordinary user's")
    try:
        yield
    finally:
        os.seteuid(0)


def test_what_may_not_be_read_is_skipped(
    command: Command, tmp_path: Path, tiny: Path, photo: Image.Image
) -> None:
    """The model and all paths lie in the folder that the process is in, so that it matters not
    who may pass through those above."""
    tmp_path.chmod(0o777)
    root = tmp_path / "in"
    for name in ("closed", "unlisted", "unentered", "open"):
        (root / name).mkdir(parents=True)
        (root / name / "inside.txt").write_bytes(name.encode())
    photo.save(root / "open" / "good.png")
    photo.save(root / "shut.png")
    (root / "shut.txt").write_bytes(b"shut")
    (root / "model").mkdir()
    for file in tiny.iterdir():
        (root / "model" / file.name).write_bytes(file.read_bytes())
    closed = {"shut.png": 0, "shut.txt": 0, "closed": 0, "unlisted": 0o711, "unentered": 0o744}
    if os.geteuid() != 0:  # an owner looks at his own bits
        closed |= {"unlisted": 0o311, "unentered": 0o644}
    command("in", "-o", "all.ecz")  # whatever is loaded when it is needed: now it is
    options = ["--model", "in/model", "--exclude", "model"]
    try:
        for name, mode in closed.items():
            (root / name).chmod(mode)
        with an_ordinary_user():
            if os.access(root / "shut.txt", os.R_OK, effective_ids=True):
                pytest.skip("this user may read everything")
            code, document = command("in", "-o", "o.ecz", *options)
            with pytest.raises(SourceError, match="closed: cannot be read: Permission denied"):
                compress_folder("in/closed", "p.ecz")
    finally:
        for name in closed:
            (root / name).chmod(0o755)
    denied = "cannot be read: Permission denied"
    assert code == ExitCode.SKIPPED, document
    assert {note["path"]: note["reason"] for note in document["skipped"]} == {
        f"in/{name}": denied
        for name in ("shut.png", "shut.txt", "closed", "unlisted", "unentered/inside.txt")
    }
    found = contents(tmp_path / "o.ecz")
    assert set(found) == {"open/good.png", "open/inside.txt"}
    assert not Path("p.ecz").exists()
