"""Two at once: processes and threads that want the same output at the same time."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from common import counted
from faults import NEEDS_PROC, Call, Calls, World, own_threads
from processes import ENVIRONMENT, files

from edgecomp.compress import compress_folder
from edgecomp.decompress import decompress_folder
from edgecomp.earlier_runs import unfinished_beside
from edgecomp.errors import EdgecompError, OutputExistsError
from edgecomp.inspect import verify
from edgecomp.output import OutputFile

pytestmark = NEEDS_PROC

# Waits for command lines, one after another, and says how each ended.
CHILD = """
import contextlib, io, json, sys
from edgecomp.backends.engine import load_onnxruntime
from edgecomp.cli import main

load_onnxruntime()
print("ready", flush=True)
for line in sys.stdin:
    with contextlib.redirect_stderr(io.StringIO()) as said:
        code = main(json.loads(line))
    print(json.dumps([code, said.getvalue()]), flush=True)
"""
# Said of what the other process has just made, or is about to remove:
# `test_what_another_run_is_about_to_finish_is_no_leftover` is about it.


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> World:
    return World(tmp_path_factory.mktemp("world"), tiny)


class Pair:
    """Two processes that do what they are told at the same moment."""

    def __init__(self) -> None:
        self._both = [
            subprocess.Popen(
                [sys.executable, "-c", CHILD],
                env=ENVIRONMENT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        for process in self._both:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"

    def run(self, first: list[str], second: list[str]) -> list[tuple[int, str]]:
        """Exit codes, and what was said."""
        for process, words in zip(self._both, (first, second), strict=True):
            assert process.stdin is not None
            process.stdin.write(json.dumps(words) + "\n")
        for process in self._both:
            assert process.stdin is not None
            process.stdin.flush()
        ended = []
        for process in self._both:
            assert process.stdout is not None
            code, said = json.loads(process.stdout.readline())
            ended.append((code, said))
        return ended

    def close(self) -> None:
        for process in self._both:
            process.communicate()


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    pair.close()


def winners(ended: list[tuple[int, str]], target: Path) -> int:
    """How many have done it; the others say that it is there already, and nothing else."""
    for code, said in ended:
        assert (code, said) in (
            (0, ""),
            (1, f"edgecomp: error: {target} is already there (--force overwrites it)\n"),
        )
    return [code for code, _ in ended].count(0)


@counted(10, 200)
def test_two_processes_one_archive(pair: Pair, world: World, count: int) -> None:
    """Of two that want to make it one wins, and the other refuses. They make different ones."""
    won = set()
    for _ in range(count):
        out = world.new_out()
        words = world.words("compress", out)
        ended = pair.run(words, [*words, "--exclude", "a.png"])
        assert winners(ended, out / "o.ecz") == 1
        winner = [code for code, _ in ended].index(0)
        whole, left = files(out)
        assert (set(whole), left) == ({"o.ecz"}, {})
        assert (whole["o.ecz"] == world.jobs["compress"].new["o.ecz"]) == (winner == 0)
        assert verify(out / "o.ecz", model=world.model).exit_code == 0
        won.add(winner)
    if count > 100:
        assert won == {0, 1}
    world.check_sources()


@pytest.mark.parametrize("option", ["--force", "--update"])
@counted(5, 100)
def test_one_archive_that_is_replaced(pair: Pair, world: World, option: str, count: int) -> None:
    """Both do it; what is there in the end is one of the two, complete."""
    job = world.jobs["compress-force"]
    for _ in range(count):
        out = job.begin(world.out())
        words = [*world.words("compress", out), option]
        assert pair.run(words, words) == [(0, "")] * 2
        assert files(out) == (job.new, {})
    world.check_sources()


def _files_of(world: World, job: str) -> dict[str, bytes]:
    """What a job makes, without its folders."""
    return {name: data for name, data in world.jobs[job].new.items() if data is not None}


@counted(10, 200)
def test_one_folder(pair: Pair, world: World, count: int) -> None:
    """Every file is written by one of the two; the other says so, or that files are there."""
    for _ in range(count):
        out = world.new_out()
        words = world.words("decompress", out)
        ended = pair.run(words, words)
        whole, left = files(out)
        expected = _files_of(world, "decompress")
        assert (whole, left) == (expected, {})
        skipped = 0
        for code, said in ended:
            lines = said.splitlines()
            if code == 1:
                assert len(lines) == 1
                assert "already there; nothing was written (--force overwrites)" in said
                skipped += len(expected)
            else:
                assert code == (3 if lines else 0)
                assert all("a file of its name has appeared in the output" in x for x in lines)
                skipped += len(lines)
        assert skipped == len(expected)
    world.check_sources()


@counted(5, 100)
def test_one_folder_that_is_replaced(pair: Pair, world: World, count: int) -> None:
    job = world.jobs["decompress-force"]
    expected = _files_of(world, job.name)
    for _ in range(count):
        out = job.begin(world.out())
        words = world.words("decompress-force", out)
        assert pair.run(words, words) == [(0, "")] * 2
        assert files(out) == (expected, {})
    world.check_sources()


@counted(5, 100)
def test_one_picture(pair: Pair, world: World, count: int) -> None:
    for _ in range(count):
        for name, target in (("picture", "o.edge"), ("picture-back", "o.png")):
            out = world.new_out()
            words = world.words(name, out)
            assert winners(pair.run(words, words), out / target) == 1
            assert files(out) == (world.jobs[name].new, {})


def _at_once(*works: Callable[[], object]) -> list[BaseException | None]:
    """Do them in threads that begin together; what each raised."""
    begin = threading.Barrier(len(works))

    def work(function: Callable[[], object]) -> BaseException | None:
        begin.wait()
        try:
            function()
        except EdgecompError as error:
            return error
        return None

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(work, works))


@counted(5, 100)
def test_threads(world: World, count: int) -> None:
    """As two processes, in one that has the package once."""
    for _ in range(count):
        out = world.new_out()
        compress = partial(compress_folder, world.sources, out / "o.ecz", model=world.model)
        decompress = partial(decompress_folder, world.archive, out / "back", model=world.model)
        raised = _at_once(compress, decompress, compress, decompress)
        assert sorted(type(error).__name__ for error in raised[::2]) == [
            "NoneType",
            "OutputExistsError",
        ]
        assert {type(error) for error in raised[1::2]} <= {type(None), OutputExistsError}
        found, left = files(out)
        assert left == {}
        assert found == _files_of(world, "compress") | _files_of(world, "decompress")
    assert not own_threads()
    world.check_sources()


Interrupt = Callable[[int, int], None]


def _when_locked(patches: pytest.MonkeyPatch, work: Callable[[], object]) -> None:
    """Do some work when a file is about to be locked for the first time from now on."""
    real: Interrupt = fcntl.flock

    def flock(descriptor: int, operation: int) -> None:
        patches.setattr(fcntl, "flock", real)
        work()
        real(descriptor, operation)

    patches.setattr(fcntl, "flock", flock)


@pytest.mark.parametrize("moment", ["beginning", "ending well", "ending badly"])
def test_what_another_run_is_about_to_finish_is_no_leftover(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file is there before it is locked, and may be renamed or removed when it is not any more:
    who looks for leftovers at that moment must not take it for one."""
    target = tmp_path / "o.ecz"
    found: list[str] = []

    def look() -> None:
        found.extend(unfinished_beside(target))

    def look_after_closing(call: Call) -> object:
        result = call.go()
        if call.name == "close" and ".partial-" in call.path and not looked:
            looked.append(call)
            look()
        return result

    looked: list[Call] = []
    with ExitStack() as run:
        if moment == "beginning":
            _when_locked(monkeypatch, look)
        run.enter_context(OutputFile(target))
        if moment == "ending well":
            _when_locked(monkeypatch, run.close)
            look()
        if moment == "ending badly":
            with Calls(tmp_path, look_after_closing), pytest.raises(KeyError), run.pop_all():
                raise KeyError
            assert looked
    assert found == []
