"""Stopped: Ctrl-C and requests to end at random moments, and readers that go away."""

from __future__ import annotations

import io
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from pathlib import Path

import numpy as np
import pytest
from common import HANG_SECONDS, counted
from faults import NEEDS_PROC, Call, Calls, World, own_threads, small_pieces
from processes import COMMAND, Ground, Mode, make_mixture, make_pictures, started, tree

from edgecomp.compress import compress_folder, compress_picture
from edgecomp.inspect import verify

pytestmark = [
    NEEDS_PROC,
    pytest.mark.skipif(os.name != "posix", reason="signals and pipes of POSIX"),
]

SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 143}
MODES = ["new", "force", "decompress"]


def _listens(process: subprocess.Popen[bytes]) -> bool:
    """Whether edgecomp has set its handlers: Python itself has none for SIGTERM."""
    with open(f"/proc/{process.pid}/status") as lines:
        caught = next(line for line in lines if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


# At random moments.


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Ground:
    root = tmp_path_factory.mktemp("ground")
    make_mixture(root / "in")
    return Ground(root, tiny)


@pytest.mark.parametrize("name", MODES)
@counted(9, 99)
def test_signals_at_random_moments(ground: Ground, name: str, count: int) -> None:
    """The count is that of all modes; moments are drawn from equal parts of the whole run."""
    mode = ground.modes[name]
    draws = count // len(MODES)
    whole = 1.2 * _measured(mode, ground.out())
    rng = np.random.default_rng(MODES.index(name))
    stopped = 0
    for draw, number in zip(range(draws), itertools.cycle(SIGNALS)):
        out = mode.begin(ground.out())
        with started([*COMMAND, *mode.command(out)]) as process:
            time.sleep((draw + rng.random()) / draws * whole)
            listens = _listens(process)
            process.send_signal(number)
            _, said = process.communicate(timeout=HANG_SECONDS)
        code = process.returncode
        if code == SIGNALS[number]:
            word = "interrupted" if number == signal.SIGINT else "terminated"
            assert said.decode() == f"edgecomp: {word}\n"
            stopped += 1
        elif code:
            # Before edgecomp listens, and in its last moments, Python and the system end it.
            assert not listens or (code == -number and _is_complete(mode, out)), (code, said)
        else:
            assert said == b""
        assert mode.check(out, complete=code == 0) == {}
    assert stopped >= draws // 5
    ground.check_sources()


def _measured(mode: Mode, out: Path) -> float:
    """Seconds that an unbroken run takes here and now."""
    mode.begin(out)
    begun = time.monotonic()
    with started([*COMMAND, *mode.command(out)]) as process:
        assert process.wait(HANG_SECONDS) == 0
    return time.monotonic() - begun


def _is_complete(mode: Mode, out: Path) -> bool:
    return tree(out).items() >= (mode.new or {}).items()


# A process that is interrupted when the command is done and the process is not.
LATE = """
import os, signal, sys
import edgecomp.cli
from edgecomp.cli.process import program

real = edgecomp.cli.main

def main():
    code = real()
    os.kill(os.getpid(), signal.SIGINT)
    return code

edgecomp.cli.main = main
program()
"""


def test_interrupted_when_all_is_done() -> None:
    with started([sys.executable, "-c", LATE, "--version"], stdout=subprocess.DEVNULL) as process:
        _, said = process.communicate(timeout=HANG_SECONDS)
        assert (process.returncode, said) in ((0, b""), (130, b"edgecomp: interrupted\n"))


# After every system call on what is written.


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> World:
    return World(tmp_path_factory.mktemp("world"), tiny, small_pieces)


def _creates(call: Call) -> bool:
    return call.name == "open" and bool(call.arguments[1] & os.O_CREAT)


def _stop_after(
    world: World, name: str, number: signal.Signals, wanted: Callable[[Call], bool]
) -> bool:
    """Do a job that is sent a signal after some call, and see how it ends; whether it was."""
    job = world.jobs[name]
    sent: list[Call] = []

    def act(call: Call) -> object:
        try:
            return call.go()
        finally:
            if not sent and wanted(call):
                sent.append(call)
                os.kill(os.getpid(), number)

    out = job.begin(world.out())
    with redirect_stderr(io.StringIO()) as said, Calls(out, act) as calls:
        code = world.main(name, out)
        # A signal that comes while Python starts a thread leaves it on its own; it ends all the
        # same, and a process waits for it.
        for thread in own_threads():
            thread.join(HANG_SECONDS)
    if code == 0:
        # Python loses an interrupt that comes when it asks a file for its position.
        assert not sent or sent[0].name == "lseek", sent
        assert (said.getvalue(), tree(out)) == ("", job.new)
    else:
        word = "interrupted" if number == signal.SIGINT else "terminated"
        assert (code, said.getvalue()) == (SIGNALS[number], f"edgecomp: {word}\n"), sent
        job.check(out, calls.named)
    return bool(sent)


@pytest.mark.parametrize(
    "name", ["compress-verify", "compress-update", "decompress", "picture", "picture-back"]
)
@counted(1, 3)
def test_stopped_after_each_call(world: World, name: str, count: int) -> None:
    """By one signal or by each. The call that creates the temporary file has the next test."""
    numbers = list(SIGNALS)
    for n in itertools.count(1):
        chosen = [numbers[(n + i) % len(numbers)] for i in range(count)]
        seen = itertools.count(1)

        def wanted(call: Call, n: int = n, seen: Iterator[int] = seen) -> bool:
            return not _creates(call) and next(seen) == n

        if not any([_stop_after(world, name, number, wanted) for number in chosen]):
            break
    assert n > 10
    world.check_sources()


@pytest.mark.parametrize("name", ["compress", "picture", "picture-back"])
def test_stopped_when_the_temporary_file_is_there(world: World, name: str) -> None:
    assert _stop_after(world, name, signal.SIGINT, _creates)


# Readers that go away.


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """A picture, its codestream, and an archive of many members: all longer than a pipe holds."""
    root = tmp_path_factory.mktemp("noise")
    make_pictures(root / "in", 1, (900, 700))
    compress_picture(root / "in" / "00.png", root / "one.edge", model=tiny)
    (root / "many").mkdir()
    for number in range(400):
        (root / "many" / f"{'a file with a very long name ' * 7}{number:03}.txt").write_text("x")
    compress_folder(root / "many", root / "many.ecz")
    archive = bytearray((root / "many.ecz").read_bytes())
    archive[50::200] = bytes(len(archive[50::200]))
    (root / "damaged.ecz").write_bytes(archive)
    return root


@pytest.mark.parametrize(
    ("words", "source"),
    [
        ("compress -", "in/00.png"),
        ("decompress -", "one.edge"),
        ("verify damaged.ecz --json", None),
    ],
)
@counted(2, 20)
def test_the_reader_of_standard_output_goes_away(
    noise: Path, tiny: Path, words: str, source: str | None, count: int
) -> None:
    """After some bytes, or at some time: no message, no traceback, nothing goes on for long."""
    rng = np.random.default_rng(len(words))
    command = [*COMMAND, *words.split()]
    if source is not None:
        command += ["--quiet", "--model", str(tiny)]
    for draw in range(count):
        with (
            open(noise / source if source else os.devnull, "rb") as given,
            started(command, cwd=noise, stdin=given, stdout=subprocess.PIPE) as process,
        ):
            assert process.stdout is not None
            if draw % 2:
                process.stdout.read(int(rng.integers(1, 1 << 15)))
            else:
                time.sleep(rng.random() * 0.5)
            process.stdout.close()
            process.stdout = None
            _, said = process.communicate(timeout=HANG_SECONDS)
            assert (process.returncode in (0, 1, 4), said) == (True, b""), process.returncode


@counted(2, 20)
def test_the_reader_of_standard_error_goes_away(noise: Path, tiny: Path, count: int) -> None:
    """Nobody hears the warnings, and what was asked for is done."""
    sources, rng = noise / "broken", np.random.default_rng(1)
    sources.mkdir(exist_ok=True)
    for number in range(30):
        (sources / f"{number}.png").write_text("no picture: this will be told")
    make_pictures(sources / "good", 2)
    for draw in range(count):
        out = noise / f"told-nobody-{count}-{draw}.ecz"
        command = [*COMMAND, "compress", str(sources), "-v", "--model", str(tiny), "-o", str(out)]
        with started(command, stdout=subprocess.PIPE) as process:
            assert process.stderr is not None
            time.sleep(rng.random() * 0.5)
            process.stderr.close()
            process.stderr = None
            process.communicate(timeout=HANG_SECONDS)
            assert process.returncode == 0
        report = verify(out, model=tiny)
        assert (report.members, report.decoded, report.damaged) == (32, 2, ())
