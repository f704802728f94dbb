"""benchmarks/compare.py: what counts as moved, what is printed, exit codes."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from common import ROOT


@pytest.fixture(scope="module")
def compare() -> Iterator[ModuleType]:
    """The script, imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
        yield importlib.import_module("compare")
    sys.modules.pop("compare", None)


def stats(minimum: float, median: float | None = None, iqr: float = 0.0) -> dict[str, float]:
    return {"min": minimum, "median": minimum if median is None else median, "iqr": iqr}


def write(path: Path, benchmarks: dict[str, Any], **machine: Any) -> Path:
    info = {"node": "board", "machine": "aarch64", "cpu": {"brand_raw": "A72", "count": 4}}
    made = [{"fullname": name, "stats": times} for name, times in benchmarks.items()]
    path.write_text(json.dumps({"machine_info": info | machine, "benchmarks": made}))
    return path


@pytest.fixture
def files(tmp_path: Path) -> Any:
    """Writes a file of each run and returns their names."""

    def of(old: dict[str, Any], new: dict[str, Any], **machine: Any) -> list[str]:
        first = write(tmp_path / "old.json", old)
        return [str(first), str(write(tmp_path / "new.json", new, **machine))]

    return of


@pytest.mark.parametrize(
    ("old", "new", "moved"),
    [
        (stats(1.0), stats(1.2), True),
        (stats(1.0), stats(0.8), True),
        (stats(1.0), stats(1.04), False),
        (stats(1.0), stats(0.97), False),
        # As noisy as it has moved, by either measure of noise, in either run.
        (stats(1.0, 1.0, 0.3), stats(1.2), False),
        (stats(1.0), stats(1.2, 1.2, 0.3), False),
        (stats(1.0, 1.3), stats(1.2, 1.56), False),
        # Minimum and median do not agree.
        (stats(1.0, 1.02), stats(1.2, 1.2), True),
        (stats(1.0, 1.19), stats(1.2, 1.2), False),
        (stats(1.0, 1.0), stats(1.0, 1.5), False),
    ],
)
def test_what_has_moved(
    compare: ModuleType, old: dict[str, float], new: dict[str, float], moved: bool
) -> None:
    change = compare.Change("one", compare._times(old), compare._times(new))
    assert change.moved(0.05) is moved


def test_twice_as_long_and_half_as_long_are_as_far(compare: ModuleType) -> None:
    one, two = compare.Times(1.0, 1.0, 0.6), compare.Times(2.0, 2.0, 0.0)
    assert compare.Change("slower", one, two).moved(0.05)
    assert compare.Change("faster", two, one).moved(0.05)
    assert compare.Change("slower", one, two).ratio == 2
    assert compare.Change("faster", two, one).ratio == 0.5


def test_report(compare: ModuleType, files: Any, capsys: pytest.CaptureFixture[str]) -> None:
    old = {"slow": stats(0.002), "same": stats(1.0), "fast": stats(4.0), "gone": stats(3e-6)}
    new = {"new": stats(5e-8), "fast": stats(2.0), "same": stats(1.01), "slow": stats(0.003)}
    assert compare.main(files(old, new)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "3 benchmarks in both: 1 slower, 1 faster, 1 the same"
    _, head, first, second, *rest = lines[1:]
    assert head.split()[-1] == "benchmark"
    assert first.split() == ["slower", "1.50", "1.50", "2", "ms", "3", "ms", "0", "%", "slow"]
    assert second.split() == ["faster", "0.50", "0.50", "4", "s", "2", "s", "0", "%", "fast"]
    assert first.index("slow", 8) == second.index("fast", 8) == head.index("benchmark")
    assert rest == ["", "new:", "  new  50 ns", "", "gone:", "  gone  3 us"]


def test_all_prints_what_did_not_move(
    compare: ModuleType, files: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = files({"same": stats(1.0)}, {"same": stats(1.01)})
    compare.main(arguments)
    assert "same\n" not in capsys.readouterr().out.split("the same\n")[1]
    compare.main([*arguments, "--all"])
    assert capsys.readouterr().out.endswith("  same\n")


def test_the_least_change_can_be_said(
    compare: ModuleType, files: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = files({"one": stats(1.0)}, {"one": stats(1.04)})
    compare.main([*arguments, "--least", "3"])
    assert "1 slower" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("minimum", "limit", "code"),
    [(1.3, "1.2", 1), (1.1, "1.2", 0), (0.5, "1.2", 0), (1.04, "1.01", 0)],
)
def test_fail_above(compare: ModuleType, files: Any, minimum: float, limit: str, code: int) -> None:
    arguments = files({"one": stats(1.0)}, {"one": stats(minimum)})
    assert compare.main(arguments) == 0
    assert compare.main([*arguments, "--fail-above", limit]) == code


def test_noise_does_not_fail(compare: ModuleType, files: Any) -> None:
    arguments = files({"one": stats(1.0, 1.0, 0.9)}, {"one": stats(1.5)})
    assert compare.main([*arguments, "--fail-above", "1.2"]) == 0


def test_other_machines_are_told(
    compare: ModuleType, files: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = {"one": stats(1.0)}
    compare.main(files(runs, runs))
    assert "warning" not in capsys.readouterr().out
    compare.main(files(runs, runs, cpu={"brand_raw": "A76", "count": 4}))
    out = capsys.readouterr().out
    assert out.startswith("warning: the runs are of different machines")
    assert "  processor brand_raw: A72 -> A76\n" in out
    assert "node" not in out


def test_files_of_real_benchmarks(compare: ModuleType, tmp_path: Path) -> None:
    """That the fields have these names is pytest-benchmark's matter, so it is asked."""
    from pytest_benchmark.stats import Stats

    times = Stats()
    for seconds in (0.5, 0.25, 1.0):
        times.update(seconds)
    run = compare.read(write(tmp_path / "run.json", {"one": times.as_dict()}))
    assert (run.benchmarks["one"].minimum, run.benchmarks["one"].median) == (0.25, 0.5)
    assert run.benchmarks["one"].noise >= 0.5


@pytest.mark.parametrize(
    "text",
    [
        "no JSON",
        "[]",
        "{}",
        '{"benchmarks": [{}]}',
        '{"benchmarks": [{"fullname": "a", "stats": {"min": 1, "median": 2}}]}',
        '{"benchmarks": [{"fullname": "a", "stats": {"min": 0, "median": 0, "iqr": 0}}]}',
        '{"benchmarks": [{"fullname": "a", "stats": {"min": null, "median": 1, "iqr": 0}}]}',
        '{"benchmarks": 1}',
        '{"benchmarks": [], "machine_info": {"cpu": 5}}',
    ],
)
def test_other_files_are_refused(
    compare: ModuleType, tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write(tmp_path / "good.json", {})
    bad = tmp_path / "bad.json"
    bad.write_text(text)
    assert compare.main([str(good), str(bad)]) == 2
    said = capsys.readouterr()
    assert "bad.json" in said.err
    assert said.out == ""


def test_absent_files_are_refused(
    compare: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare.main([str(tmp_path / "none.json"), str(tmp_path / "none.json")]) == 2
    assert "none.json" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--least", "--fail-above"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "much"])
def test_numbers_are_checked(compare: ModuleType, files: Any, option: str, value: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        compare.main([*files({}, {}), option, value])
    assert stopped.value.code == 2
