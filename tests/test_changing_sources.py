"""Sources that change while they are read: in the archive is what a file was at one moment, or it
is named as skipped; never half of one state and half of another.

The command runs as a process of its own and is stopped in the middle of a file, which then
changes, so nothing depends on luck; after that, many small changes with luck.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import HANG_SECONDS, ROOT, counted
from PIL import Image

from edgecomp.archive import ArchiveReader
from edgecomp.compress import CompressSummary, compress_folder
from edgecomp.decompress import decompress_folder
from edgecomp.errors import ExitCode
from edgecomp.verbatim import SMALL_BYTES

PROCESSES = Path("/proc")
if not (PROCESSES / "self" / "fdinfo").is_dir():
    pytest.skip("how far another process has read is not told here", allow_module_level=True)

Change = Callable[[Path], None]
SIZE = SMALL_BYTES * 3 // 2  # read in pieces, not at once
PICTURE_BYTES = (1 << 24) + (1 << 20)  # so are pictures of more than 16 MiB
SECRET = b"what stands outside of the folder " * 1000
TRIES = 5


def text(state: int, size: int = SIZE) -> bytes:
    """A file's bytes in one of its states: nothing of it is in another state. LZMA has to think
    about it, so that there is time to stop in its middle."""
    rng = np.random.default_rng(state)
    return b"".join(rng.bytes(256) * 16 for _ in range(-(-size // 4096)))[:size]


def picture(value: int) -> bytes:
    """A picture of one grey whose file takes long to read: numbers as text, spaces between."""
    width, height = 512, PICTURE_BYTES // 512 // (3 * 64)
    sample = str(value).ljust(63).encode() + b"\n"
    return b"P3\n%d %d\n255\n" % (width, height) + sample * (3 * width * height)


# What happens to a file. In place: its descriptor sees it, and may have read a part before.


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(text(2, 5000))


def cut(path: Path) -> None:
    os.truncate(path, SIZE // 2)


def rewrite(path: Path) -> None:
    new = picture(50) if path.suffix == ".ppm" else text(2)
    with path.open("r+b") as file:
        file.write(new)


def rewrite_and_set_the_time_back(path: Path) -> None:
    before = path.stat()
    rewrite(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def touch(path: Path) -> None:
    os.utime(path, ns=(0, 10**18))


def replace(path: Path) -> None:
    new = path.with_name("new")
    new.write_bytes(picture(50) if path.suffix == ".ppm" else text(2))
    new.replace(path)


def remove(path: Path) -> None:
    path.unlink()


def link(path: Path) -> None:
    path.unlink()
    path.symlink_to("../secret")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def half_read(process: int, sizes: dict[Path, int]) -> set[Path]:
    """Of files that a process has open, those that it has read more than three quarters of, and
    not all: it looks at a piece from the middle before it begins."""
    found = set()
    about = PROCESSES / str(process)
    with suppress(OSError):
        for number in os.listdir(about / "fd"):
            with suppress(OSError):
                path = Path(os.readlink(about / "fd" / number))
                if path in sizes:
                    place = int((about / "fdinfo" / number).read_text().split()[1])
                    if 3 * sizes[path] <= 4 * place < 4 * sizes[path]:
                        found.add(path)
    return found


@contextmanager
def stopped(process: subprocess.Popen[str]) -> Iterator[None]:
    process.send_signal(signal.SIGSTOP)
    try:
        while process.poll() is None:
            status = (PROCESSES / str(process.pid) / "stat").read_text()
            if status.rpartition(")")[2].split()[0] in "TZ":
                break
            time.sleep(0.001)
        yield
    finally:
        process.send_signal(signal.SIGCONT)


@dataclass
class Run:
    """How a run went: its exit code, its JSON, how often each file was changed under way."""

    code: int
    document: dict[str, Any]
    changed: dict[str, int] = field(default_factory=dict)

    @property
    def skipped(self) -> dict[str, str]:
        return {os.path.basename(n["path"]): n["reason"] for n in self.document["skipped"]}


def compress_while(root: Path, changes: dict[str, Change], model: Path, *, times: int = 1) -> Run:
    """Compress a folder beside which ``o.ecz`` appears; change each file when it is half read."""
    words = ["compress", str(root), "-o", str(root.parent / "o.ecz"), "--model", str(model)]
    process = subprocess.Popen(
        [sys.executable, "-m", "edgecomp", *words, "--json", "--force", "--threads", "1"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    sizes = {root / name: (root / name).stat().st_size for name in changes}
    changed = dict.fromkeys(changes, 0)
    deadline = time.monotonic() + HANG_SECONDS
    earlier: set[Path] = set()  # changed, and not read from the start since
    try:
        while process.poll() is None:
            assert time.monotonic() < deadline, "it hangs"
            now = half_read(process.pid, sizes)
            earlier &= now
            for path in now - earlier:
                if changed[path.name] == times:
                    continue
                with stopped(process):
                    if path in half_read(process.pid, sizes):
                        changes[path.name](path)
                        changed[path.name] += 1
                        earlier.add(path)
            time.sleep(0.001)
        out, err = process.communicate()
    finally:
        process.kill()
        process.__exit__(None, None, None)
    assert "unexpected" not in err
    return Run(process.returncode, json.loads(out), changed)


def until_all_were_changed(attempt: Callable[[Path], Run], folder: Path) -> Run:
    """A busy machine may let the command run past the moment: try again."""
    for number in range(TRIES):
        place = folder / f"try {number}"
        (place / "in").mkdir(parents=True)
        (place / "secret").write_bytes(SECRET)
        run = attempt(place / "in")
        if all(run.changed.values()):
            return run
    pytest.skip("this machine is too busy to stop a process in the middle of a file")


def archived(run: Run) -> dict[str, bytes]:
    with ArchiveReader(Path(run.document["archive"])) as reader:
        assert reader.damage == ()
        return {str(member.source): reader.read(member) for member in reader.members}


def test_files_that_change_while_they_are_read(tmp_path: Path, tiny: Path) -> None:
    changes: dict[str, Change] = {
        "cut": cut, "grow": grow, "rewrite": rewrite, "touch": touch, "replace": replace,
        "remove": remove, "link": link, "pipe": pipe,
    }  # fmt: skip
    one, two = text(1), text(2)

    def attempt(root: Path) -> Run:
        for name in changes:
            (root / name).write_bytes(one)
        (root / "a first").write_bytes(b"first")
        (root / "z last").write_bytes(b"last")
        return compress_while(root, changes, tiny)

    run = until_all_were_changed(attempt, tmp_path)
    found = archived(run)
    # After its one change each of these stays as it is, and so there is something to be kept.
    states = {
        "cut": [one, one[: SIZE // 2]], "grow": [one, one + text(2, 5000)], "rewrite": [one, two],
        "touch": [one], "replace": [one, two],
    }  # fmt: skip
    for name, allowed in states.items():
        assert name in found, f"{name} is not kept"
        was_so = found[name] in allowed  # too long to be shown where it fails
        assert was_so, f"{name} was never what is in the archive"
    for name in ("remove", "link", "pipe"):
        was_so = found[name] == one if name in found else bool(run.skipped[name])
        assert was_so, name
    assert (found["a first"], found["z last"]) == (b"first", b"last")
    assert SECRET[:100] not in Path(run.document["archive"]).read_bytes()
    assert set(found) | set(run.skipped) == {*changes, "a first", "z last"}
    assert run.code == (ExitCode.SKIPPED if run.skipped else ExitCode.DONE)


def test_a_file_that_is_rewritten_and_keeps_its_time(tmp_path: Path, tiny: Path) -> None:
    """As ``cp -p`` and ``rsync --inplace --times`` do it: size and modification time tell
    nothing."""

    def attempt(root: Path) -> Run:
        (root / "reset").write_bytes(text(1))
        return compress_while(root, {"reset": rewrite_and_set_the_time_back}, tiny)

    run = until_all_were_changed(attempt, tmp_path)
    was_so = archived(run)["reset"] in (text(1), text(2))
    assert was_so


def test_a_file_that_does_not_come_to_rest_is_skipped(tmp_path: Path, tiny: Path) -> None:
    state = 1

    def change(path: Path) -> None:
        nonlocal state
        state += 1
        path.write_bytes(text(state))

    def attempt(root: Path) -> Run:
        (root / "restless").write_bytes(text(state))
        (root / "z last").write_bytes(b"last")
        return compress_while(root, {"restless": change}, tiny, times=9)

    run = until_all_were_changed(attempt, tmp_path)
    if run.changed["restless"] < 2:
        pytest.skip("the moment was missed the second time")
    assert run.skipped == {"restless": "changed while it was read"}
    assert run.code == run.document["exit_code"] == ExitCode.SKIPPED
    assert archived(run) == {"z last": b"last"}


def test_pictures_that_change_while_they_are_read(tmp_path: Path, tiny: Path) -> None:
    """A picture without checksums would come back half grey, half black, and look like one."""
    changes: dict[str, Change] = {
        "cut.ppm": cut, "remove.ppm": remove, "replace.ppm": replace, "rewrite.ppm": rewrite
    }  # fmt: skip
    states = {"bright": picture(200), "dark": picture(50)}

    def attempt(root: Path) -> Run:
        for name in changes:
            (root / name).write_bytes(states["bright"])
        return compress_while(root, changes, tiny)

    run = until_all_were_changed(attempt, tmp_path)
    archive = Path(run.document["archive"])
    back = archive.parent / "back"
    assert decompress_folder(archive, back, model=tiny).exit_code == ExitCode.DONE
    there = {Path(name).stem: path for path in back.iterdir() for name in [path.name]}
    for name in ("replace", "rewrite"):
        assert name in there, "it came to rest, and is kept"
    assert there.keys() | {Path(name).stem for name in run.skipped} == {
        Path(name).stem for name in changes
    }
    for path in there.values():
        if path.suffix == ".ppm":
            was_so = path.read_bytes() in (*states.values(), states["bright"][: SIZE // 2])
            assert was_so, path
        else:
            with Image.open(path) as image:
                spread = int(np.ptp(np.asarray(image)))
            assert spread < 20, f"{path.name} is half of one and half of the other"


# Many changes at any moment, each of which is done at once: the folder is never in between.

PAGE = 4096
MAX_PAGES = 1000


def page(number: int) -> bytes:
    """A block that says which it is and that it is whole."""
    body = f"{number:09}".encode() * 454
    return (zlib.crc32(body).to_bytes(4, "big") + body).ljust(PAGE, b"\n")


def is_a_log(data: bytes) -> bool:
    return data == b"".join(page(number) for number in range(len(data) // PAGE))


class Unrest:
    """A thread that changes the files of a folder until it is told to stop."""

    def __init__(self, root: Path, photos: list[bytes]) -> None:
        self.root = root
        self.photos = photos
        self.rounds = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Unrest:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _swap(self, name: str, make: Callable[[Path], object]) -> None:
        new = self.root.parent / "new"
        make(new)
        os.replace(new, self.root / name)

    def _work(self) -> None:
        log = os.open(self.root / "log", os.O_WRONLY | os.O_APPEND)
        while not self._stop.is_set():
            self._turn(self.rounds, log)
            self.rounds += 1
        os.close(log)

    def _turn(self, turn: int, log: int) -> None:
        if turn % 20 == 0 and turn < 20 * MAX_PAGES:
            os.write(log, page(turn // 20))
        self._swap("whole", lambda new: new.write_bytes(page(turn) * (turn % 7 + 1)))
        self._swap("a.png", lambda new: new.write_bytes(self.photos[turn % 2]))
        makers: list[Callable[[Path], object]] = [
            lambda new: new.write_bytes(b"mine"),
            lambda new: new.symlink_to("../secret"),
            os.mkfifo,
        ]
        self._swap("many", makers[turn % 3])
        with suppress(FileNotFoundError):
            (self.root / "comes and goes").unlink()
        self._swap("comes and goes", lambda new: new.write_bytes(b"here"))


@counted(15, 300)
def test_a_folder_that_is_never_at_rest(
    count: int, tmp_path: Path, tiny: Path, photo: Image.Image
) -> None:
    root, archive = tmp_path / "in", tmp_path / "o.ecz"
    root.mkdir()
    (tmp_path / "secret").write_bytes(SECRET)
    still = {f"still {number}": page(number) for number in range(8)}
    for name, data in still.items():
        (root / name).write_bytes(data)
    photos = []
    for shown in (photo, photo.rotate(180)):
        shown.save(tmp_path / "photo.png")
        photos.append((tmp_path / "photo.png").read_bytes())
    (root / "log").touch()
    summaries: list[CompressSummary] = []

    def run() -> None:
        summaries.append(compress_folder(root, archive, model=tiny, threads=2, force=True))

    left_out: set[str] = set()
    with Unrest(root, photos) as unrest:
        for number in range(count):
            thread = threading.Thread(target=run, daemon=True)
            thread.start()
            thread.join(HANG_SECONDS)
            assert len(summaries) == number + 1, "it hangs, or has failed"
            reasons = {os.path.basename(n.path): n.reason for n in summaries[-1].skipped}
            left_out |= reasons.keys()
            with ArchiveReader(archive) as reader:
                kinds = {str(member.source): member.kind for member in reader.members}
                found = {str(m.source): reader.read(m) for m in reader.members}
            assert kinds.get("a.png", "picture") == "picture"
            assert still.items() <= found.items()
            assert "log" in reasons or is_a_log(found["log"])
            # A folder may leave out of its listing what gets its name just then.
            if "whole" in found:
                assert len(set(pages(found["whole"]))) == 1
            assert found.get("many", b"mine") == b"mine"
            assert found.get("comes and goes", b"here") == b"here"
            assert SECRET[:100] not in archive.read_bytes()
            assert found.keys() <= {*still, "a.png", "log", "whole", "many", "comes and goes"}
    assert unrest.rounds > count
    assert "many" in left_out, "what is now and then a link or a pipe was always a file"


def pages(data: bytes) -> Iterator[bytes]:
    assert data
    assert len(data) % PAGE == 0
    for at in range(0, len(data), PAGE):
        part = data[at : at + PAGE]
        assert part == page(int(part[4:13]))
        yield part
