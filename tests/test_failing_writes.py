"""Disks that fail: every system call on what is written, one after another; and full disks.

As SQLite's tests do it: the first call of a kind fails, then the second, and so on until a run
meets none that fails. `test_failing_reads` has what cannot be read, `test_full_streams` what goes
to standard output.
"""

from __future__ import annotations

import errno
import functools
import itertools
import resource
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import counted
from faults import (
    JOBS,
    NEEDS_PROC,
    SYSTEM_CALLS,
    Call,
    Calls,
    Job,
    World,
    open_descriptors,
    own_threads,
    small_pieces,
)
from processes import COMMAND, finished, make_pictures, tree

from edgecomp.compress import compress_folder, compress_picture
from edgecomp.decompress import decompress_folder
from edgecomp.errors import OutputError

pytestmark = NEEDS_PROC

# Whether only that call fails or all after it too, and with what.
VARIANTS = [
    (number, lasting)
    for lasting in (False, True)
    for number in (errno.ENOSPC, errno.EIO, errno.EDQUOT)
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> World:
    return World(tmp_path_factory.mktemp("world"), tiny, small_pieces)


def _calls(job: str) -> set[str]:
    """The system calls that a job makes on what it writes."""
    calls = {"close", "fsync", "lseek", "open", "stat", "write"}
    calls |= {"replace"} if job.endswith(("force", "update")) else {"link", "unlink"}
    if job.startswith("compress"):
        calls |= {"ftruncate"}
    if job.startswith("decompress"):
        calls |= {"dup", "mkdir"}
    if job.startswith("decompress") or "back" in job:
        calls |= {"fstat", "utime"}
    return calls


PAIRS = [(job, call) for job in JOBS for call in sorted(_calls(job))]


# These make no calls that others do not make.
FULL_ONLY = ("compress-verify", "decompress-force", "picture-back-force")


def _marked(job: str, call: str) -> Any:
    marks = [pytest.mark.exhaustive] if job in FULL_ONLY else []
    return pytest.param(job, call, marks=marks)


def test_every_system_call_is_tested(world: World) -> None:
    made = {(name, call) for name, job in world.jobs.items() for call in job.calls}
    assert made == set(PAIRS)
    assert {call for _, call in made} == set(SYSTEM_CALLS)


@pytest.mark.parametrize(("name", "kind"), [_marked(*pair) for pair in PAIRS])
@counted(1, len(VARIANTS))
def test_every_failing_call(world: World, name: str, kind: str, count: int) -> None:
    job = world.jobs[name]
    before = open_descriptors()
    start = PAIRS.index((name, kind))
    for n in itertools.count(1):
        variants = [VARIANTS[(start + n + i) % len(VARIANTS)] for i in range(count)]
        if not any([_fail(world, job, kind, n, *variant) for variant in variants]):
            break
    assert n > 1
    world.check_sources()
    assert open_descriptors() == before


def _fail(world: World, job: Job, kind: str, n: int, number: int, lasting: bool) -> bool:
    """Do a job whose n-th call of a kind fails; whether there was one."""
    failed: list[Call] = []

    def act(call: Call) -> object:
        if call.name == kind and (call.number >= n if lasting else call.number == n):
            failed.append(call)
            raise call.fail(number)
        return call.go()

    out = job.begin(world.out())
    problem: Exception | None = None
    with Calls(out, act) as calls:
        try:
            job.run(out)
        except Exception as error:
            problem = error
    assert not own_threads()
    if problem is None:
        # Some calls are not needed: then nothing is missing.
        assert tree(out) == job.new, (kind, n)
        return bool(failed)
    assert type(problem) is OutputError, repr(problem)
    assert _names(str(problem), failed[0], out), str(problem)
    job.check(out, calls.named, leftovers=kind == "unlink" and lasting)
    return True


def _names(message: str, call: Call, out: Path) -> bool:
    """Whether it says what could not be written: the file, or a folder on the way to it."""
    return call.target in message if ".partial-" in call.path else str(out) in message


def test_sources_that_were_opened_ahead_are_closed(tmp_path: Path) -> None:
    """A large file is passed on open from the thread that looks at it to the one that writes."""
    sources, out = tmp_path / "in", tmp_path / "out"
    sources.mkdir()
    out.mkdir()
    (sources / "a.txt").write_text("x" * 1999)
    (sources / "b.txt").write_text("x" * 2001)
    before = open_descriptors()

    def act(call: Call) -> object:
        if call.name != "write":
            return call.go()
        deadline = time.monotonic() + 10
        while open_descriptors() < before + 3:  # the output, its folder, and the second source
            assert time.monotonic() < deadline
            time.sleep(0.001)
        raise call.fail(errno.ENOSPC)

    with small_pieces(buffer=16), Calls(out, act), pytest.raises(OutputError):
        compress_folder(sources, out / "o.ecz", threads=1)
    assert open_descriptors() == before


@pytest.mark.parametrize("name", JOBS)
@pytest.mark.parametrize("taken", ["one", "all-but-one"])
def test_short_writes(world: World, name: str, taken: str) -> None:
    """A write may take less than it was given; the rest follows."""

    def act(call: Call) -> object:
        if call.name != "write":
            return call.go()
        descriptor, data = call.arguments
        return call.go(descriptor, data[:1] if taken == "one" else data[:-1] or data)

    job = world.jobs[name]
    out = job.begin(world.out())
    with Calls(out, act) as calls:
        job.run(out)
    assert calls.count("write") > 1
    assert tree(out) == job.new


# Disks that are full.

DISK_BYTES = 2 << 20
# What is free of it in the end.
FREE_BYTES = 1 << 16
# In a file system of its own: fill it with what is there before, run the command, copy out what is
# there then. The file system goes away with the process.
ON_A_DISK = """
mount -t tmpfs -o "$1" tmpfs "$2" || exit 77
cp -a "$3/." "$2" || exit 78
disk=$2 after=$4
shift 4
"$@"
code=$?
cp -a "$disk/." "$after"
exit $code
"""


@functools.cache
def _own_mounts() -> tuple[str, ...] | None:
    """The command that gives a process mounts of its own, as a user or as root; None if none."""
    for options in ("-Urm", "-m"):
        command = ("unshare", options)
        probe = [*command, "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
        try:
            if finished(list(probe)).returncode == 0:
                return command
        except FileNotFoundError:
            break
    return None


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """Sources that need more than the disk has, and archives that restore to more."""
    root = tmp_path_factory.mktemp("material")
    sources = root / "in"
    make_pictures(sources, 3)
    make_pictures(root / "large", 1, (600, 400))
    (sources / "z.bin").write_bytes(np.random.default_rng(5).bytes(3 * FREE_BYTES))
    compress_folder(sources, root / "whole.ecz", model=tiny)
    compress_folder(sources, root / "old.ecz", model=tiny, exclude=["z.bin"])
    compress_picture(root / "large" / "00.png", root / "large.edge", model=tiny)
    return root


class Disk:
    """A small file system that one command sees.

    Attributes:
        path: where it is mounted.
        before: what is put on it first.
        after: a copy of what was on it when the command ended.
    """

    def __init__(self, folder: Path) -> None:
        self.path, self.before, self.after = (folder / name for name in ("disk", "before", "after"))
        for path in (self.path, self.before, self.after):
            path.mkdir()
        (self.before / "filler").write_bytes(bytes(DISK_BYTES - FREE_BYTES))

    def left(self) -> dict[str, bytes | None]:
        """What was on it when the command ended."""
        left = tree(self.after)
        assert left.pop("filler") is not None
        return left

    def run(self, *words: object, options: str) -> subprocess.CompletedProcess[bytes]:
        mounts = _own_mounts()
        if mounts is None:
            pytest.skip("no mounts of one's own here")
        places = [options, self.path, self.before, self.after]
        script = [*mounts, "sh", "-c", ON_A_DISK, "sh"]
        done = finished([str(word) for word in (*script, *places, *COMMAND, *words)])
        assert done.returncode not in (77, 78), done.stderr
        return done


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def refused(done: subprocess.CompletedProcess[bytes], target: Path, reason: str) -> None:
    """It ended with one line that says what could not be written, and why."""
    assert done.returncode == 1, done
    assert done.stdout == b""
    assert done.stderr.decode() == f"edgecomp: error: cannot write {target}: {reason}\n"


NO_SPACE = "No space left on device"
SIZE = f"size={DISK_BYTES}"


def test_a_full_disk(disk: Disk, material: Path, tiny: Path) -> None:
    target = disk.path / "x.ecz"
    done = disk.run("compress", material / "in", "-o", target, "--model", tiny, options=SIZE)
    refused(done, target, NO_SPACE)
    assert disk.left() == {}


@pytest.mark.parametrize("option", ["--force", "--update"])
def test_the_old_archive_stays(disk: Disk, material: Path, tiny: Path, option: str) -> None:
    target, old = disk.path / "x.ecz", (material / "old.ecz").read_bytes()
    (disk.before / "x.ecz").write_bytes(old)
    words = ("compress", material / "in", "-o", target, "--model", tiny, option)
    refused(disk.run(*words, options=SIZE), target, NO_SPACE)
    assert disk.left() == {"x.ecz": old}


def test_a_folder(disk: Disk, material: Path, tiny: Path) -> None:
    """What came before it stays, and is complete."""
    out = disk.path / "out"
    done = disk.run("decompress", material / "whole.ecz", "-o", out, "--model", tiny, options=SIZE)
    # Files are written side by side: which of them is the first without room is not known.
    said = done.stderr.decode()
    assert said.startswith(f"edgecomp: error: cannot write {out}/")
    assert said.endswith(f": {NO_SPACE}\n")
    assert done.returncode == 1
    left = disk.left()
    assert set(left) <= {"out", *(f"out/{number:02}.png" for number in range(3))}
    whole = material / "back"
    decompress_folder(material / "old.ecz", whole, model=tiny)
    complete = {f"out/{name}": data for name, data in tree(whole).items()} | {"out": None}
    assert left.items() <= complete.items()


def test_one_picture(disk: Disk, material: Path, tiny: Path) -> None:
    target = disk.path / "x.edge"
    (disk.before / "filler").write_bytes(bytes(DISK_BYTES - (1 << 13)))
    words = ("compress", material / "large" / "00.png", "-o", target, "--model", tiny)
    refused(disk.run(*words, options=SIZE), target, NO_SPACE)
    assert disk.left() == {}


@pytest.mark.parametrize("format", ["png", "webp"])
def test_one_picture_back(disk: Disk, material: Path, tiny: Path, format: str) -> None:
    target = disk.path / f"x.{format}"
    words = ("decompress", material / "large.edge", "-o", target, "--model", tiny)
    refused(disk.run(*words, options=SIZE), target, NO_SPACE)
    assert disk.left() == {}


def test_no_room_for_a_name(disk: Disk, material: Path, tiny: Path) -> None:
    """A disk may have space and no room for another file."""
    target = disk.path / "x.ecz"
    words = ("compress", material / "in", "-o", target, "--model", tiny)
    refused(disk.run(*words, options=f"{SIZE},nr_inodes=2"), target, NO_SPACE)
    assert disk.left() == {}


def _limited() -> None:
    """For a new process: no file may become larger."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (FREE_BYTES, FREE_BYTES))


def test_a_limit_of_the_system(tmp_path: Path, material: Path, tiny: Path) -> None:
    """The signal that comes with it (SIGXFSZ) kills nobody."""
    target = tmp_path / "x.ecz"
    target.write_bytes(b"old")
    words = ["compress", str(material / "in"), "-o", str(target), "--model", str(tiny)]
    done = finished([*COMMAND, *words, "--force"], preexec_fn=_limited)
    refused(done, target, "File too large")
    assert tree(tmp_path) == {"x.ecz": b"old"}


def test_a_limit_of_the_system_for_restored_files(
    tmp_path: Path, material: Path, tiny: Path
) -> None:
    out = tmp_path / "out"
    words = ["decompress", str(material / "whole.ecz"), "-o", str(out), "--model", str(tiny)]
    done = finished([*COMMAND, *words], preexec_fn=_limited)
    refused(done, out / "z.bin", "File too large")
    assert set(tree(out)) == {f"{number:02}.png" for number in range(3)}
