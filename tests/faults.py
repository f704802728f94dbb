"""What the tests of failing machines share: system calls under control, and jobs to break."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from processes import PARTIAL, files, times, tree

from edgecomp import archive_writer, output, prepare
from edgecomp.cli import main
from edgecomp.compress import compress_folder, compress_picture
from edgecomp.decompress import decompress_folder, decompress_picture

# Every system call that a job makes on what it writes; `test_every_system_call_is_tested` tells
# when there is another.
SYSTEM_CALLS = (
    "close dup fstat fsync ftruncate link lseek mkdir open replace stat unlink utime write".split()
)
NEEDS_PROC = pytest.mark.skipif(
    not os.path.isdir("/proc/self/fd"), reason="open files cannot be told here"
)
Act = Callable[["Call"], Any]


@dataclass(frozen=True)
class Call:
    """A system call that is about to be made.

    Attributes:
        name: of the function in ``os``.
        number: how many of that name there have been, this one counted.
        total: how many there have been of all names.
        path: of the file that it is about; of the first one where there are two.
        arguments, options: of the call.
    """

    name: str
    number: int
    total: int
    path: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    function: Callable[..., Any]

    def go(self, *arguments: Any) -> Any:
        """Make it, with other arguments if there are any."""
        return self.function(*(arguments or self.arguments), **self.options)

    def fail(self, number: int) -> OSError:
        """The error of that number. What is closed stays closed, whatever close(2) says of it."""
        if self.name == "close":
            self.go()
        return OSError(number, os.strerror(number))

    @property
    def target(self) -> str:
        """The final name of a temporary file."""
        return PARTIAL.sub("", self.path)


class Calls:
    """A context manager: within it, ``act`` is asked for every system call in a folder.

    It sees the calls of this process that are made through ``os``, by whatever module, on files
    below the folder, on the folder itself, or on descriptors of these.

    Attributes:
        seen: names of the functions called.
        named: the paths that a temporary file was linked or renamed to.
    """

    def __init__(self, folder: Path, act: Act = Call.go) -> None:
        self._folder = str(folder.resolve())
        self._act = act
        self._lock = threading.Lock()
        self._patches = pytest.MonkeyPatch()
        self._counts: dict[str, int] = {}
        self.seen: set[str] = set()
        self.named: set[str] = set()

    def __enter__(self) -> Calls:
        for name in SYSTEM_CALLS:
            self._patches.setattr(os, name, self._watched(name, getattr(os, name)))
        return self

    def __exit__(self, *_: object) -> None:
        self._patches.undo()

    def count(self, name: str) -> int:
        """How many calls of that name there were."""
        return self._counts.get(name, 0)

    @property
    def total(self) -> int:
        """How many calls there were."""
        return sum(self._counts.values())

    def _watched(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **options: Any) -> Any:
            path = _path_of(arguments[0], options.get("dir_fd", options.get("src_dir_fd")))
            if not f"{path}/".startswith(f"{self._folder}/"):
                return function(*arguments, **options)
            with self._lock:
                self._counts[name] = self._counts.get(name, 0) + 1
                self.seen.add(name)
                call = Call(name, self.count(name), self.total, path, arguments, options, made)
            return self._act(call)

        def made(*arguments: Any, **options: Any) -> Any:
            result = function(*arguments, **options)
            if name in ("link", "replace"):
                self.named.add(_path_of(arguments[1], options.get("dst_dir_fd")))
            return result

        return watched


def _path_of(file: Any, folder: int | None = None) -> str:
    if isinstance(file, int):
        try:
            return os.readlink(f"/proc/self/fd/{file}")
        except OSError:
            return ""
    above = os.getcwd() if folder is None else _path_of(folder)
    return os.path.join(above, os.fsdecode(file))


def open_descriptors() -> int:
    """How many there are; those of what is only waiting for the garbage collector are."""
    return len(os.listdir("/proc/self/fd"))


def own_threads() -> list[threading.Thread]:
    """Threads that edgecomp has started and not ended."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("edgecomp")]


@dataclass(frozen=True)
class Job:
    """Something that writes, and may be made to fail.

    Attributes:
        name: for test ids.
        run: does it, writing into the folder that is given.
        old: what is there before, by path; without it, nothing is.
        new: what is there after an unbroken run, by path.
        calls: the system calls it makes on what it writes.
    """

    name: str
    run: Callable[[Path], object]
    old: dict[str, bytes]
    new: dict[str, bytes | None] = field(default_factory=dict)
    calls: frozenset[str] = frozenset()

    def begin(self, folder: Path) -> Path:
        """A new folder for a run, with what is there before."""
        folder.mkdir()
        for name, data in self.old.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return folder

    def check(self, out: Path, named: set[str], *, leftovers: bool = False) -> None:
        """After a run that failed: files that got their name are complete, the others are as
        before, and there are no temporary files unless they are allowed.
        """
        found, partial = files(out)
        assert leftovers or not partial, set(partial)
        done = {os.path.relpath(path, out.resolve()) for path in named}
        expected = self.old | {name: data for name, data in self.new.items() if name in done}
        assert found.keys() == expected.keys()
        assert found == expected


class World:
    """Sources, archives made of them, and the jobs that can be done with these.

    Args:
        folder: an empty one.
        model: folder of a model.
        within: what all jobs are done within, such as `small_pieces`.
    """

    def __init__(
        self,
        folder: Path,
        model: Path,
        within: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        self.within = within
        self.sources = folder / "in"
        self.model = str(model)
        make_sources(self.sources)
        self.archive, self.old_archive = folder / "whole.ecz", folder / "old.ecz"
        self.codestream = folder / "one.edge"
        with within():
            compress_folder(self.sources, self.archive, model=model)
            older = ["a.png", "text.txt"]
            compress_folder(self.sources, self.old_archive, exclude=older, model=model)
            compress_picture(self.picture, self.codestream, model=model)
        self.before = tree(folder), times(folder)
        self._folder = folder
        self._scratch = folder.with_name(f"{folder.name}-runs")
        self._scratch.mkdir()
        self._runs = 0
        self.jobs = {job.name: self._completed(job) for job in self._jobs()}

    @property
    def picture(self) -> Path:
        """One of the sources."""
        return self.sources / "a.png"

    def main(self, job: str, out: Path) -> int:
        """Do a job through the command line, in this process; the exit code."""
        with self.within():
            return main(self.words(job, out))

    def words(self, job: str, out: Path) -> list[str]:
        """The command line of a job, by its name."""
        command, *options = job.split("-")
        places = {
            "compress": ["compress", self.sources, "-o", out / "o.ecz"],
            "decompress": ["decompress", self.archive, "-o", out / "back"],
            "picture": ["compress", self.picture, "-o", out / "o.edge"],
            "back": ["decompress", self.codestream, "-o", out / "o.png"],
        }
        if options[:1] == ["back"]:
            command, *options = options
        words = [*map(str, places[command]), "--model", self.model, "--threads", "1", "--quiet"]
        return words + [f"--{option}" for option in options]

    def check_sources(self) -> None:
        """Sources and archives are as they were."""
        assert (tree(self._folder), times(self._folder)) == self.before

    def out(self) -> Path:
        """A folder that does not exist."""
        self._runs += 1
        return self._scratch / str(self._runs)

    def new_out(self) -> Path:
        """An empty folder."""
        out = self.out()
        out.mkdir()
        return out

    def _completed(self, job: Job) -> Job:
        def run(out: Path) -> object:
            with self.within():
                return job.run(out)

        out = job.begin(self.out())
        with Calls(out) as calls:
            run(out)
        return replace(job, run=run, new=tree(out), calls=frozenset(calls.seen))

    def _jobs(self) -> Iterator[Job]:
        old = self.old_archive.read_bytes()

        def compress(**options: Any) -> Callable[[Path], object]:
            return lambda out: compress_folder(
                self.sources, out / "o.ecz", model=self.model, threads=1, **options
            )

        def decompress(**options: Any) -> Callable[[Path], object]:
            return lambda out: decompress_folder(
                self.archive, out / "back", model=self.model, threads=1, **options
            )

        def one(**options: Any) -> Callable[[Path], object]:
            return lambda out: compress_picture(
                self.picture, out / "o.edge", model=self.model, threads=1, **options
            )

        def one_back(**options: Any) -> Callable[[Path], object]:
            return lambda out: decompress_picture(
                self.codestream, out / "o.png", model=self.model, threads=1, **options
            )

        yield Job("compress", compress(), {})
        yield Job("compress-verify", compress(verify=True), {})
        yield Job("compress-force", compress(force=True), {"o.ecz": old})
        yield Job("compress-update", compress(update=True), {"o.ecz": old})
        yield Job("decompress", decompress(), {})
        yield Job(
            "decompress-force",
            decompress(force=True),
            {"back/a.png": b"old", "back/sub/deep/noise.bin": b"old"},
        )
        yield Job("picture", one(), {})
        yield Job("picture-force", one(force=True), {"o.edge": b"old"})
        yield Job("picture-back", one_back(), {})
        yield Job("picture-back-force", one_back(force=True), {"o.png": b"old"})


JOBS = (
    "compress compress-verify compress-force compress-update decompress decompress-force picture"
    " picture-force picture-back picture-back-force"
).split()


@contextlib.contextmanager
def small_pieces(buffer: int = 512) -> Iterator[None]:
    """Files of some kilobytes are written in as many steps as large ones."""
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(output, "_BUFFER_BYTES", buffer)
        for module in (prepare, archive_writer):
            patches.setattr(module, "SMALL_BYTES", 2000)
        patches.setattr(archive_writer, "PIECE_BYTES", 700)
        yield


def make_sources(root: Path) -> None:
    """A small folder of everything: pictures of all kinds, texts, noise, folders."""
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "empty").mkdir()
    rng = np.random.default_rng(2)
    pixels = rng.integers(0, 60, (24, 32, 4), np.uint8)
    pixels += np.linspace(0, 190, 32).astype(np.uint8)[:, np.newaxis]
    image = Image.fromarray(pixels)
    image.convert("RGB").save(root / "a.png")
    image.resize((19, 11)).save(root / "sub" / "ü alpha.png")
    image.convert("L").save(root / "sub" / "grey.png")
    (root / "text.txt").write_text("where we were on that day\n" * 120)
    (root / "sub" / "deep" / "noise.bin").write_bytes(rng.bytes(3000))
    (root / "sub" / "note.txt").write_text("x")
