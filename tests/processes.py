"""edgecomp as a process of its own, for tests of what happens to processes."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from common import HANG_SECONDS, listening
from PIL import Image

import edgecomp
from edgecomp.cli import main
from edgecomp.verbatim import SMALL_BYTES

ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(
        [str(Path(edgecomp.__file__).parents[1]), str(Path(__file__).parent)]
    ),
    "PYTHONUTF8": "1",
    "COLUMNS": "100",
}
ENVIRONMENT.pop("PYTHONWARNINGS", None)
COMMAND = [sys.executable, "-m", "edgecomp"]
PARTIAL = re.compile(r"\.partial-[0-9]+-[0-9a-f]{8}(-[0-9a-f]{8})?$")


def finished(command: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
    """What a command did; both its outputs are kept unless they are given."""
    options = {
        "env": ENVIRONMENT,
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "timeout": HANG_SECONDS,
        **options,
    }
    return subprocess.run(command, check=False, **options)


@contextlib.contextmanager
def started(command: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process in the foreground, so to say."""
    process = subprocess.Popen(
        command,
        env=ENVIRONMENT,
        start_new_session=True,
        preexec_fn=listening,
        **{"stdin": subprocess.DEVNULL, "stderr": subprocess.PIPE, **options},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def make_pictures(folder: Path, count: int, size: tuple[int, int] = (72, 56)) -> None:
    """Pictures with texture, so that none is kept as it is; the same in every run."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(3)
    slope = np.linspace(0, 150, size[0])[np.newaxis, :, np.newaxis]
    for number in range(count):
        pixels = slope + rng.integers(0, 90, (size[1], size[0], 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number:02}.png")


def make_mixture(folder: Path) -> None:
    """A dozen pictures and some other files; one is large and passes through in pieces."""
    make_pictures(folder, 12)
    (folder / "00.png").rename(folder / "a.png")
    (folder / "text.txt").write_text("where we were on that day\n" * 4000)
    rng = np.random.default_rng(6)
    (folder / "noise.bin").write_bytes(rng.bytes(100_000))
    large = np.zeros((SMALL_BYTES // 1000 + 500, 1000), np.uint8)
    large[::50] = rng.integers(0, 256, large[::50].shape)
    large.tofile(folder / "large.bin")


def tree(folder: Path) -> dict[str, bytes | None]:
    """All that is below a folder: bytes of files by their paths, None for folders."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def files(folder: Path) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The files below a folder that have their final names, and the temporary ones."""
    found = {name: data for name, data in tree(folder).items() if data is not None}
    partial = {name: found.pop(name) for name in list(found) if PARTIAL.search(name)}
    return found, partial


def times(folder: Path) -> dict[str, int]:
    """Modification times of the files below a folder."""
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@dataclass(frozen=True)
class Mode:
    """A command that writes into a folder, and what belongs there before and afterwards.

    Attributes:
        words: of the command line; "{}" stands for the folder.
        again: options with which a later run completes what one left that was killed.
        tidies: whether that run removes the temporary files that it finds.
        old: files that are there before.
        new: files that are there after an unbroken run.
    """

    words: tuple[str, ...]
    again: tuple[str, ...] = ()
    tidies: bool = False
    old: dict[str, bytes] | None = None
    new: dict[str, bytes] | None = None

    def command(self, out: Path) -> list[str]:
        """The words for a folder."""
        return [word.format(out) for word in self.words]

    def begin(self, out: Path) -> Path:
        """Make a folder for a run, with what is there before."""
        out.mkdir()
        for name, data in (self.old or {}).items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_bytes(data)
        return out

    def check(self, out: Path, *, complete: bool = False) -> dict[str, bytes]:
        """Each file is absent, as before, or complete; all are if it must be so.

        Returns:
            The temporary files that are left.
        """
        found, partial = files(out)
        old, new = self.old or {}, self.new or {}
        assert set(old) <= set(found) <= set(old) | set(new)
        for name, data in found.items():
            assert data in (old.get(name), new.get(name)), name
        if complete:
            assert found == new
        return partial


class Ground:
    """Sources, archives made of them, and what can be done with these.

    Args:
        root: a folder with the sources in ``in``; ``a.png`` and ``text.txt`` are among them.
        model: folder of a model.
        within: what the commands are run within that this process runs, such as
            `faults.small_pieces`.

    Attributes:
        modes: by name.
    """

    def __init__(
        self,
        root: Path,
        model: Path,
        within: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        self._within = within
        self._root = root
        self._runs = 0
        self.model = str(model)
        options = ("--model", self.model, "--quiet")
        sources, archive, old = (str(root / name) for name in ("in", "whole.ecz", "old.ecz"))
        older = ("--exclude", "a.png", "--exclude", "text.txt")
        self._run(["compress", sources, "-o", archive, "--verify", *options])
        self._run(["compress", sources, "-o", old, *older, *options])
        before = {"o.ecz": Path(old).read_bytes()}
        compress = ("compress", sources, "-o", "{}/o.ecz", *options)
        decompress = ("decompress", archive, "-o", "{}/back", *options)
        modes = {
            "new": Mode(compress),
            "force": Mode((*compress, "--force"), old=before),
            "update": Mode((*compress, "--update"), old=before),
            "decompress": Mode(decompress, again=("--force",)),
            "resume": Mode(compress, again=("--resume",), tidies=True),
            "resume update": Mode(
                (*compress, "--update"), again=("--resume",), tidies=True, old=before
            ),
            "resume back": Mode(decompress, again=("--resume",), tidies=True),
        }
        self.before = tree(root), times(root)
        self._scratch = root.with_name(f"{root.name}-runs")
        self._scratch.mkdir()
        self.modes = {name: self._completed(mode) for name, mode in modes.items()}
        # What the other runs are compared with has been read back once.
        assert self.modes["new"].new == {"o.ecz": Path(archive).read_bytes()}

    def out(self) -> Path:
        """A folder that does not exist."""
        self._runs += 1
        return self._scratch / str(self._runs)

    def check_sources(self) -> None:
        """Sources and archives are as they were, bytes and times."""
        assert (tree(self._root), times(self._root)) == self.before

    def complete(self, mode: Mode, out: Path) -> None:
        """A later run is not disturbed by what is left of one that was killed."""
        left = mode.check(out)
        self._run([*mode.command(out), *mode.again])
        assert mode.check(out, complete=True) == ({} if mode.tidies else left)

    def _completed(self, mode: Mode) -> Mode:
        out = mode.begin(self.out())
        self._run(mode.command(out))
        return replace(mode, new=files(out)[0])

    def _run(self, words: list[str]) -> None:
        """Run a command in this process."""
        with self._within():
            assert main(words) == 0
