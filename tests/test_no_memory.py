"""Processes that really run out of memory: what they say, and what they leave."""

from __future__ import annotations

import functools
import itertools
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from common import counted
from processes import ENVIRONMENT, finished, make_pictures, tree

from edgecomp.compress import compress_folder
from edgecomp.errors import ExitCode

# Does a small job, so that libraries are loaded, and then some that need much memory: each in a
# copy of the process that may have only so much more, and whose threads need so much each.
CHILD = """
import json, os, resource, sys, threading
from edgecomp.cli import main

small, *jobs = json.loads(sys.argv[1])
assert main(small) == 0
for number, (words, extra, stack) in enumerate(jobs):
    pid = os.fork()
    if not pid:
        os.dup2(os.open(f"{number}.err", os.O_WRONLY | os.O_CREAT), 2)
        with open("/proc/self/statm") as numbers:
            now = int(numbers.read().split()[0]) * os.sysconf("SC_PAGESIZE")
        resource.setrlimit(resource.RLIMIT_AS, (now + extra, now + extra))
        threading.stack_size(stack)
        os._exit(main(words))
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@dataclass(frozen=True)
class Ending:
    """How a job ended that had only so much memory.

    Attributes:
        command: compress or decompress.
        extra: bytes that it might have.
        code: exit code; negative where a signal killed it.
        said: on standard error.
        left: what is in its folder.
    """

    command: str
    extra: int
    code: int
    said: str
    left: set[str]


# The C library is to hand memory back, and to ask for no more than is needed.
NOTHING_SPARE = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
STACK = 1 << 20
STEPS = counted(3, 19)
needs_limits = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="limits of Linux, and what they count"
)


def _ended(root: Path, model: Path, limits: Iterable[tuple[str, int, int]]) -> list[Ending]:
    """How jobs ended.

    Args:
        root: an empty folder.
        model: folder of a model.
        limits: commands, and the bytes that each may have in all and for a thread.
    """
    make_pictures(root / "small", 1)
    make_pictures(root / "large", 1, (1200, 900))
    compress_folder(root / "large", root / "large.ecz", model=model)
    options = ["--model", str(model), "--threads", "1", "--quiet"]
    places = {"compress": ("large", "o.ecz"), "decompress": ("large.ecz", "back")}
    jobs = []
    for number, (command, extra, stack) in enumerate(limits):
        (root / str(number)).mkdir()
        source, output = places[command]
        words = [command, source, "-o", f"{number}/{output}", *options]
        jobs.append((words, extra, stack))
    small = ["compress", "small", "-o", "small.ecz", *options]
    child = [sys.executable, "-c", CHILD, json.dumps([small, *jobs])]
    done = finished(child, cwd=root, env=ENVIRONMENT | NOTHING_SPARE)
    assert done.returncode == 0, done.stderr
    return [
        Ending(
            words[0],
            extra,
            int(code),
            (root / f"{number}.err").read_text(),
            set(tree(root / str(number))),
        )
        for number, ((words, extra, _), code) in enumerate(
            zip(jobs, done.stdout.split(), strict=True)
        )
    ]


@pytest.fixture(scope="module")
def endings(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Callable[[int], list[Ending]]:
    """Of jobs with a picture, from next to no memory to plenty, in so many steps."""

    @functools.cache
    def run(steps: int) -> list[Ending]:
        sizes = np.geomspace(1 << 20, 1 << 29, steps).astype(int).tolist()
        limits = itertools.product(["compress", "decompress"], sizes, [STACK])
        return _ended(tmp_path_factory.mktemp("endings"), tiny, limits)

    return run


@needs_limits
@STEPS
def test_no_memory_is_no_crash(endings: Callable[[int], list[Ending]], count: int) -> None:
    """One line, no traceback, nothing left; with enough memory it is done."""
    for ending in endings(count):
        complete = {"compress": {"o.ecz"}, "decompress": {"back", "back/00.png"}}[ending.command]
        if ending.code == ExitCode.DONE:
            assert (ending.said, ending.left) == ("", complete)
            continue
        assert ending.code > 0, ending
        assert ending.said.startswith("edgecomp: "), ending
        assert ending.said.count("\n") == 1
        assert ending.left <= {"back"}
        assert ending.extra < 1 << 29
    # As long as there is too little, it fails.
    codes = [ending.code for ending in endings(count)]
    assert codes[0]
    assert codes[count]


@needs_limits
@STEPS
def test_no_memory_is_said_to_be_just_that(
    endings: Callable[[int], list[Ending]], count: int
) -> None:
    for ending in endings(count):
        if ending.code != ExitCode.DONE:
            assert "not enough memory" in ending.said, ending
            # Of an archive, what needs too much memory is skipped.
            skipped = ending.command == "decompress" and ending.code == ExitCode.SKIPPED
            assert ending.code == ExitCode.FATAL or skipped, ending


@needs_limits
def test_no_memory_for_a_thread(tmp_path: Path, tiny: Path) -> None:
    (ending,) = _ended(tmp_path, tiny, [("compress", 1 << 28, 1 << 29)])
    assert "not enough memory" in ending.said
    assert ending.code == ExitCode.FATAL
    assert ending.left == set()
