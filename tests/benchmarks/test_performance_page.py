"""The page of benchmarks/performance.py: goals, tables, figures, the record that it is made of."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from common import ROOT
from PIL import Image


def record(bench: Any) -> Any:
    """Made-up numbers for every part of the page; every goal is reached, some by a hair."""
    r = bench.record

    def both(compress: float, restore: float) -> Any:
        return r.BothWays(
            r.Timed(compress, compress, 90_000_000), r.Timed(restore, restore, 80_000_000)
        )

    measure = bench.measure
    ways = [
        r.Way(measure.EDGECOMP, 1, both(0.75, 0.95)),
        r.Way(measure.EDGECOMP, 2, both(0.4, 0.6)),
        r.Way(measure.AVIF_BESIDE, 2, both(1.5, 0.5)),
        r.Way(measure.AVIF_WITHIN, 2, both(1.0, 0.25)),
    ]
    timed = r.Timed(5.0, 9.0, 699_000_000)
    return r.Record(
        machine={"processor": "abacus"},
        command="python benchmarks/performance.py",
        quality="A",
        cores=2,
        comparison=r.Comparison(24, 9_437_184, "Kodak", 3, ways),
        likeness=[
            r.Likeness(1, 31, 12_000_000, both(1.0, 1.0), 6_000_000, both(0.57, 0.57)),
            r.Likeness(2, 31, 12_000_000, both(0.6, 0.6), 6_000_000, both(0.33, 0.33)),
        ],
        sizes=[r.Size(12_250, 8_165, 2, timed, timed, timed, timed)],
        many=[
            r.Many(1000, 2, True, timed, [(0.1, 50_000_000), (1.0, 51_000_000)], 100_000, 104_000),
            r.Many(1000, 2, False, timed, [], 100_000, 105_000),
        ],
        threads=[
            r.ThreadUse("768x512", 1_000_000, 1, False, 0.1, 0.1),
            r.ThreadUse("768x512", 1_000_000, 2, True, 0.05, 0.05),
        ],
        parts=[r.Part(6144, 0.006, 0.008, 70_000_000), r.Part(12288, 0.02, 0.03, 90_000_000)],
        benchmarks=[
            r.Benchmark("test_read_png", "kodak", 0.03, 500_000),
            r.Benchmark("test_encoder_network", "kodak-A", 0.01, 500_000),
            r.Benchmark("test_encoder_network", "kodak-B", 9.0, 500_000),
            r.Benchmark("test_fresh_process", "numpy", 0.123),
            r.Benchmark("test_pack", "kodak-A", 0.0072),
        ],
    )


def goals(bench: Any, found: Any) -> list[str]:
    text = bench.page.page(found, "# Head")
    section = text.split("## In short")[1].split("##")[0]
    return [line for line in section.splitlines() if line.startswith("|")][2:]


def test_goals_that_are_reached(bench: Any) -> None:
    lines = goals(bench, record(bench))
    assert "| 1.00 s | at most 3 s | reached |" in lines[0]
    assert "| 0.80 times the time of AVIF (1.25 s) | below 1 | reached |" in lines[1]
    assert "| 1.70 times as fast | at least 1.7 | reached |" in lines[2]
    assert "| 1.14 times | at most 1.15 | reached |" in lines[3]
    assert "| 1.10 times | at most 1.15 | reached |" in lines[4]
    assert "| 1.73 times as fast | at least 1.7 | reached |" in lines[5]
    assert "| 699 MB | below 700 MB | reached |" in lines[6]
    assert "| 1.050 times | at most 1.05 | reached |" in lines[9]
    assert len(lines) == 10
    assert all(line.endswith("| reached |") for line in lines)


def test_goals_that_are_missed(bench: Any) -> None:
    found = record(bench)
    r = bench.record
    slow = r.BothWays(r.Timed(2.0, 2.0, 1), r.Timed(2.0, 2.0, 1))
    comparison = replace(
        found.comparison,
        ways=[
            replace(way, times=slow) if way.name == "edgecomp" else way
            for way in found.comparison.ways
        ],
    )
    heavy = r.Timed(1.0, 1.0, 700_000_000)
    found = replace(
        found,
        comparison=comparison,
        likeness=[replace(one, large=slow) for one in found.likeness],
        sizes=[replace(found.sizes[0], compress_jpeg=heavy)],
        many=[replace(one, last=106_000) for one in found.many],
    )
    lines = goals(bench, found)
    missed = ["**missed**" in line for line in lines]
    assert missed == [True, True, True, True, True, True, True, False, True, True]


def test_goals_are_not_stated_for_less(bench: Any) -> None:
    found = record(bench)
    small = replace(found.sizes[0], width=3000, height=2000)
    few = [replace(one, pictures=300) for one in found.many]
    lines = goals(bench, replace(found, sizes=[small], many=few))
    for line in lines[6:]:
        assert line.endswith("|  |  |")


def test_goals_go_with_the_number_of_pictures(bench: Any) -> None:
    found = record(bench)
    lines = goals(bench, replace(found, comparison=replace(found.comparison, pictures=48)))
    assert "at most 6 s" in lines[0]


def test_more_cores_are_compared_where_both_were_measured(bench: Any) -> None:
    found = record(bench)
    assert not any("1000 pictures of 768x512" in line for line in goals(bench, found))
    timed = replace(found.many[0].timed, seconds=8.0)
    alone = [replace(one, cores=1, timed=timed) for one in found.many]
    (line,) = (
        line
        for line in goals(bench, replace(found, many=[*alone, *found.many]))
        if "1000 pictures of 768x512" in line
    )
    assert "2 cores against one" in line
    assert "1.60 times as fast" in line
    assert line.endswith("**missed** |")


@pytest.mark.parametrize(("others", "said"), [(0.3, True), (0.01, False), (None, False)])
def test_other_work_is_told(bench: Any, others: float | None, said: bool) -> None:
    text = bench.page.page(replace(record(bench), others=others), "# Head")
    assert ("The times below are too long" in text) is said
    assert ("% of all processors' time" in text) is (others is not None)


def test_shares_are_of_the_stages_of_one_quality(bench: Any) -> None:
    text = bench.page.page(record(bench), "# Head")
    assert "| read PNG | 30 | 75 % | 60.0 |" in text
    assert "| encoder network | 10 | 25 % | 20.0 |" in text
    assert "| **sum** | 40 |  | 80.0 |" in text
    assert "| pack | 7.2 |" in text
    assert "| numpy imported | 123 |" in text


def test_a_page_of_nothing(bench: Any) -> None:
    empty = bench.record.Record({"processor": "abacus"}, "python x", "A", 2)
    text = bench.page.page(empty, "# Head\n")
    assert text.startswith("# Head\n\n## How it was measured")
    assert "- processor: abacus\n" in text


def test_tables_are_whole(bench: Any) -> None:
    text = bench.page.page(record(bench), "# Head")
    blocks = [block for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) >= 9
    for block in blocks:
        assert len({line.replace("\\|", "").count("|") for line in block.splitlines()}) == 1, block


def test_page_and_figures_are_written(bench: Any, tmp_path: Path) -> None:
    given = tmp_path / "record.json"
    bench.record.save(record(bench), given)
    assert bench.main.main(["--from", str(given), "--docs", str(tmp_path / "docs")]) == 0
    text = (tmp_path / "docs" / "performance.md").read_text()
    names = {path.name for path in (tmp_path / "docs" / "images").iterdir()}
    assert names == {
        f"performance-{name}.png" for name in ("stages", "pixels", "pictures", "threads", "parts")
    }
    assert all(f"(images/{name})" in text for name in names)
    for name in names:
        with Image.open(tmp_path / "docs" / "images" / name) as image:
            image.load()
            assert image.width > 800


def test_a_record_comes_back(bench: Any, tmp_path: Path) -> None:
    found = record(bench)
    bench.record.save(found, tmp_path / "record.json")
    assert bench.record.load(tmp_path / "record.json") == found


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.pop("machine"),
        lambda data: data.update(cores="two"),
        lambda data: data.update(more=1),
        lambda data: data["sizes"].append({}),
        lambda data: data["many"][0].update(first=0.5),
        lambda data: data["many"][0]["curve"].append([1.0]),
        lambda data: data.update(sizes=3),
    ],
)
def test_other_records_are_refused(
    bench: Any, tmp_path: Path, change: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "record.json"
    bench.record.save(record(bench), path)
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    assert bench.main.main(["--from", str(path), "--docs", str(tmp_path / "docs")]) == 1
    assert "record.json is no record" in capsys.readouterr().err
    assert not (tmp_path / "docs").exists()


def test_an_absent_record_is_refused(
    bench: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main.main(["--from", str(tmp_path / "none.json")]) == 1
    assert "none.json" in capsys.readouterr().err


def test_benchmarks_are_read(bench: Any, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    benchmarks = [
        {"name": "test_a[kodak-A]", "extra_info": {"pixels": 5}, "stats": {"min": 2}},
        {"name": "test_b", "extra_info": {}, "stats": {"min": 0.5}},
    ]
    path.write_text(json.dumps({"benchmarks": benchmarks}))
    first, second = bench.stages.read_benchmarks(path)
    assert first == bench.record.Benchmark("test_a", "kodak-A", 2.0, 5)
    assert second == bench.record.Benchmark("test_b", "", 0.5, None)
    path.write_text('{"benchmarks": [{}]}')
    with pytest.raises(bench.record.RecordError, match=r"run\.json"):
        bench.stages.read_benchmarks(path)
    with pytest.raises(bench.record.RecordError, match=r"none\.json"):
        bench.stages.read_benchmarks(tmp_path / "none.json")


def test_every_stage_has_its_benchmark(bench: Any) -> None:
    """The tables know benchmarks by name: one that is renamed would vanish from the page."""
    text = "".join(path.read_text() for path in (ROOT / "benchmarks").glob("test_*.py"))
    stages = bench.stages
    named = [*stages.COMPRESS, *stages.RESTORE, *stages.OTHERS]
    tests = {test for _, test in named} | {test for _, test, _ in stages.START_UP}
    for test in tests:
        assert f"def {test}(" in text
    for _, test, case in stages.START_UP:
        assert not case or f'"{case}"' in text, (test, case)
