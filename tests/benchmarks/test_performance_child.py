"""benchmarks/performance_child.py and _load.py: what a command takes, and what others do."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

MEBI = 1 << 20


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_child_is_timed_and_heard(bench: Any) -> None:
    usage = bench.child.run(python("print('said')"), cores=1)
    assert usage.output == "said\n"
    assert 0 < usage.cpu_seconds
    assert 0 < usage.seconds
    assert usage.samples == ()


def test_peak_memory_is_the_child_s_own(bench: Any) -> None:
    """Not that of this process, which has more, nor that of the one in between."""
    ballast = np.ones(200 * MEBI, np.uint8)
    small = bench.child.run(python("pass"), cores=1).peak_bytes
    large = bench.child.run(python(f"b = b'x' * {100 * MEBI}"), cores=1).peak_bytes
    assert ballast[-1] == 1
    assert small < 60 * MEBI
    assert 95 * MEBI < large - small < 110 * MEBI


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="this system tells no samples")
def test_samples_tell_memory_and_progress(bench: Any) -> None:
    code = f"""
import time
kept = b'x' * {50 * MEBI}
with open('/dev/null', 'wb') as file:
    file.write(kept)
time.sleep(0.3)
"""
    usage = bench.child.run(python(code), cores=1, interval=0.01)
    moved, resident = zip(*usage.samples, strict=True)
    assert list(moved) == sorted(moved)
    assert moved[-1] >= 50 * MEBI
    assert 50 * MEBI < max(resident) <= usage.peak_bytes + MEBI


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system confines nothing")
def test_a_child_is_confined(bench: Any) -> None:
    code = "import os; print(len(os.sched_getaffinity(0)))"
    assert bench.child.run(python(code), cores=1).output == "1\n"
    here = len(os.sched_getaffinity(0))
    assert bench.child.run(python(code), cores=here).output == f"{here}\n"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise SystemExit('because')", "because"),
        ("print('only this'); raise SystemExit(3)", "only this"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "python"),
    ],
)
def test_a_failing_child_is_told(bench: Any, code: str, said: str) -> None:
    with pytest.raises(bench.child.ChildError, match=said):
        bench.child.run(python(code), cores=1)


def test_an_absent_program_is_told(bench: Any, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(bench.child.ChildError, match="no-such-program"):
        bench.child.run(["no-such-program"], cores=1)


STAT = """cpu  9 9 9 9 9 9 9 9 0 0
cpu0 {user} 100 100 5000 50 100 100 {steal} 7 7
cpu1 0 0 0 5000 0 0 0 0 0 0
intr 5 5
"""


def test_the_load_of_others(bench: Any, tmp_path: Path) -> None:
    """Of two processors: ticks of others, and none of what this process has used itself."""
    path, tick = tmp_path / "stat", os.sysconf("SC_CLK_TCK")
    path.write_text(STAT.format(user=0, steal=0))
    start = bench.load.load_now(path)
    path.write_text(STAT.format(user=4 * tick, steal=tick))
    end = bench.load.load_now(path)
    assert end.busy - start.busy == 5
    end = replace(end, clock=start.clock + 10, own=start.own + 2)
    assert end.of_others(start) == pytest.approx(3 / 20)
    assert replace(end, own=start.own + 6).of_others(start) == 0
    assert start.of_others(start) == 0


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="this system tells no load")
def test_own_work_is_not_that_of_others(bench: Any) -> None:
    start = bench.load.load_now()
    usage = bench.child.run(python("sum(range(5_000_000))"), cores=1)
    end = bench.load.load_now()
    assert end.own - start.own >= usage.cpu_seconds * 0.9
    assert 0 <= end.of_others(start) <= 1


@pytest.mark.parametrize("text", ["", "intr 5\n", "cpu0 1 2\n", "cpu0 a b c d e f g h i\n"])
def test_no_load_is_told(bench: Any, tmp_path: Path, text: str) -> None:
    (tmp_path / "stat").write_text(text)
    assert bench.load.load_now(tmp_path / "stat") is None
    assert bench.load.load_now(tmp_path / "none") is None
