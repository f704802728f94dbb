"""Killed in the middle: at random moments, and after every write, whatever the command."""

from __future__ import annotations

import functools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from common import HANG_SECONDS, counted
from faults import NEEDS_PROC, make_sources, small_pieces
from processes import COMMAND, ENVIRONMENT, Ground, Mode, finished, make_mixture

pytestmark = NEEDS_PROC

MODES = ["new", "force", "update", "decompress", "resume", "resume update", "resume back"]
RESUMED = [name for name in MODES if name.startswith("resume")]


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Ground:
    root = tmp_path_factory.mktemp("ground")
    make_mixture(root / "in")
    return Ground(root, tiny)


def _measured(mode: Mode, out: Path) -> float:
    """Seconds that an unbroken run takes here and now."""
    mode.begin(out)
    begun = time.monotonic()
    assert finished([*COMMAND, *mode.command(out)]).returncode == 0
    taken = time.monotonic() - begun
    mode.check(out, complete=True)
    return taken


def _killed(command: list[str], seconds: float) -> int:
    """Start a command and kill it so much later; its exit code."""
    process = subprocess.Popen(
        command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    return process.wait(HANG_SECONDS)


@pytest.mark.parametrize("name", MODES)
@counted(21, 301)
def test_kill_at_random_moments(ground: Ground, name: str, count: int) -> None:
    """The count is that of all modes. Moments are drawn from equal parts of the whole run, so that
    they are everywhere in it."""
    mode = ground.modes[name]
    draws = count // len(MODES)
    whole = 1.2 * _measured(mode, ground.out())
    rng = np.random.default_rng(MODES.index(name))
    codes: list[int] = []
    broken = []
    for draw in range(draws):
        out = mode.begin(ground.out())
        codes.append(_killed([*COMMAND, *mode.command(out)], (draw + rng.random()) / draws * whole))
        assert codes[-1] in (0, -signal.SIGKILL)
        left = mode.check(out, complete=codes[-1] == 0)
        if left or draw == 0:
            broken.append(out)
    assert -signal.SIGKILL in codes
    # Going on from what is left is tried every time, and that it is not in the way some times.
    for out in broken if name in RESUMED else broken[::3]:
        ground.complete(mode, out)
    ground.check_sources()


# A copy of a process that has loaded everything runs a command until its n-th write is done, for
# n = 1, 2, 3 ..., each in a folder of its own. The system takes some bytes at a time, so that there
# are many writes.
CHILD = """
import json, os, signal, sys
from pathlib import Path
import edgecomp.compress, edgecomp.decompress, edgecomp.cli.compress, edgecomp.cli.decompress
from edgecomp.backends.engine import load_onnxruntime
from edgecomp.cli import main
from faults import Calls, small_pieces

def until(write, words, out, most):
    def act(call):
        if call.name != "write":
            return call.go()
        descriptor, data = call.arguments
        result = call.go(descriptor, data[:most])
        if call.number == write:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    with small_pieces(), Calls(Path(out), act):
        os._exit(main([word.format(out) for word in words]))

load_onnxruntime()
for words, folders, most in json.loads(sys.argv[1]):
    for number, out in enumerate(folders):
        pid = os.fork()
        if not pid:
            until(number + 1, words, out, most)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def small_ground(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Ground:
    """Sources of some kilobytes, for commands that write in small pieces."""
    root = tmp_path_factory.mktemp("small")
    make_sources(root / "in")
    return Ground(root, tiny, small_pieces)


@pytest.fixture(scope="module")
def killed(small_ground: Ground) -> Callable[[int], dict[str, list[Path]]]:
    """By mode, the folders of commands that were killed after their first, second ... write."""

    @functools.cache
    def run(writes: int) -> dict[str, list[Path]]:
        folders, jobs = {}, []
        for name, mode in small_ground.modes.items():
            folders[name] = [mode.begin(small_ground.out()) for _ in range(writes)]
            size = sum(map(len, (mode.new or {}).values()))
            jobs.append((mode.words, list(map(str, folders[name])), size // writes))
        done = finished([sys.executable, "-c", CHILD, json.dumps(jobs)])
        assert done.returncode == 0, done.stderr
        codes = list(map(int, done.stdout.split()))
        assert codes == [-signal.SIGKILL] * (writes * len(jobs))
        return folders

    return run


@pytest.mark.parametrize("name", MODES)
@counted(15, 200)
def test_kill_after_each_write(
    small_ground: Ground, killed: Callable[[int], dict[str, list[Path]]], name: str, count: int
) -> None:
    mode = small_ground.modes[name]
    for number, out in enumerate(killed(count)[name]):
        # Everything that has no name yet is in a temporary file.
        assert mode.check(out)
        if number % 5 == 0 or name in RESUMED:
            small_ground.complete(mode, out)
    small_ground.check_sources()
