"""benchmarks/performance.py and what it is made of: child processes, records, tables, the page."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import ROOT
from PIL import Image

from edgecomp.evaluation.pillow_codecs import family

MODULES = (
    "",
    "_avif",
    "_child",
    "_load",
    "_measure",
    "_page",
    "_parts",
    "_record",
    "_stages",
    "_threads",
)
MEBI = 1 << 20


class Modules:
    """The scripts, imported, as attributes without ``performance_``."""

    def __init__(self) -> None:
        for name in MODULES:
            setattr(self, name[1:] or "main", importlib.import_module("performance" + name))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


@pytest.fixture(scope="module")
def bench() -> Iterator[Modules]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
        yield Modules()


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


# Child processes.


def test_a_child_is_timed_and_heard(bench: Modules) -> None:
    usage = bench.child.run(python("print('said')"), cores=1)
    assert usage.output == "said\n"
    assert 0 < usage.cpu_seconds
    assert 0 < usage.seconds
    assert usage.samples == ()


def test_peak_memory_is_the_child_s_own(bench: Modules) -> None:
    """Not that of this process, which has more, nor that of the one in between."""
    ballast = np.ones(200 * MEBI, np.uint8)
    small = bench.child.run(python("pass"), cores=1).peak_bytes
    large = bench.child.run(python(f"b = b'x' * {100 * MEBI}"), cores=1).peak_bytes
    assert ballast[-1] == 1
    assert small < 60 * MEBI
    assert 95 * MEBI < large - small < 110 * MEBI


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="this system tells no samples")
def test_samples_tell_memory_and_progress(bench: Modules) -> None:
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
def test_a_child_is_confined(bench: Modules) -> None:
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
def test_a_failing_child_is_told(bench: Modules, code: str, said: str) -> None:
    with pytest.raises(bench.child.ChildError, match=said):
        bench.child.run(python(code), cores=1)


def test_an_absent_program_is_told(bench: Modules, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(bench.child.ChildError, match="no-such-program"):
        bench.child.run(["no-such-program"], cores=1)


STAT = """cpu  9 9 9 9 9 9 9 9 0 0
cpu0 {user} 100 100 5000 50 100 100 {steal} 7 7
cpu1 0 0 0 5000 0 0 0 0 0 0
intr 5 5
"""


def test_the_load_of_others(bench: Modules, tmp_path: Path) -> None:
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
def test_own_work_is_not_that_of_others(bench: Modules) -> None:
    start = bench.load.load_now()
    usage = bench.child.run(python("sum(range(5_000_000))"), cores=1)
    end = bench.load.load_now()
    assert end.own - start.own >= usage.cpu_seconds * 0.9
    assert 0 <= end.of_others(start) <= 1


@pytest.mark.parametrize("text", ["", "intr 5\n", "cpu0 1 2\n", "cpu0 a b c d e f g h i\n"])
def test_no_load_is_told(bench: Modules, tmp_path: Path, text: str) -> None:
    (tmp_path / "stat").write_text(text)
    assert bench.load.load_now(tmp_path / "stat") is None
    assert bench.load.load_now(tmp_path / "none") is None


# What is measured.


def test_avif_is_the_evaluation_s(bench: Modules) -> None:
    codec = family("avif")
    assert codec.fixed["speed"] == bench.avif.SPEED
    assert bench.avif.QUALITY in codec.measured


@pytest.mark.skipif(family("avif").unavailable() is not None, reason="Pillow has no AVIF")
@pytest.mark.parametrize("options", [(), ("--within",)])
def test_avif_both_ways(
    bench: Modules, photo: Image.Image, tmp_path: Path, options: tuple[str, ...]
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in "ab":
        photo.save(source / f"{name}.png")
    coded, restored = tmp_path / "coded", tmp_path / "restored"
    assert bench.avif.main(["compress", str(source), str(coded), "--threads", "2", *options]) == 0
    assert bench.avif.main(["restore", str(coded), str(restored), "--threads", "2", *options]) == 0
    expected = len(family("avif").encode(np.asarray(photo), bench.avif.QUALITY))
    for path in (coded / "a.avif", coded / "b.avif"):
        # Threads within a picture are told to the encoder, which then codes a little differently.
        assert path.stat().st_size == pytest.approx(expected, rel=0.2 if options else 0)
    with Image.open(restored / "b.png") as image:
        again = np.asarray(image).astype(int)
    assert np.abs(again - np.asarray(photo)).mean() < 8


def test_avif_of_nothing(
    bench: Modules, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert bench.avif.main(["compress", str(tmp_path / "empty"), str(tmp_path / "out")]) == 1
    assert "no *.png" in capsys.readouterr().err


@pytest.mark.parametrize("options", [("--threads", "1"), ("--threads", "2", "--beside")])
def test_threads_are_timed(
    bench: Modules,
    photo: Image.Image,
    tmp_path: Path,
    options: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    photo.save(tmp_path / "a.png")
    assert bench.threads.main([str(tmp_path / "a.png"), "--rounds", "2", *options]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"encode", "decode"}
    assert 0 < min(found.values()) <= max(found.values()) < float("inf")


def test_parts_are_timed(bench: Modules, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.parts.main(["--positions", "100", "--rounds", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["positions"] == pytest.approx(100, rel=0.1)
    assert 0 < min(found["encoder"], found["decoder"])


@pytest.fixture
def place(bench: Modules, tmp_path: Path) -> Any:
    return bench.measure.Workplace(tmp_path, "A", 1, lambda text: None)


def test_a_size_is_measured(bench: Modules, place: Any, tmp_path: Path) -> None:
    (size,) = bench.measure.measure_size(place, 0.05, [1])
    assert size.megapixels == pytest.approx(0.05, rel=0.01)
    for timed in (size.compress_png, size.compress_jpeg, size.restore, size.pillow):
        assert 0 < timed.seconds
        assert MEBI < timed.peak_bytes
    assert size.pillow.peak_bytes < size.restore.peak_bytes
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_measured(bench: Modules, place: Any, tmp_path: Path) -> None:
    compressed, restored = bench.measure.measure_many(place, 2, 1)
    assert (compressed.compressing, restored.compressing) == (True, False)
    assert (compressed.pictures, compressed.first, compressed.last) == (2, None, None)
    assert list(tmp_path.iterdir()) == []


def test_another_number_of_pictures_is_an_error(
    bench: Modules, photo: Image.Image, tmp_path: Path
) -> None:
    photo.save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    words = ["compress", str(tmp_path), "-o", str(tmp_path / "out.ecz")]
    with pytest.raises(bench.measure.MeasureError, match="1 of 2 pictures"):
        bench.measure._edgecomp(words, 1, 2)


def test_memory_of_the_first_and_the_last_hundred(bench: Modules) -> None:
    samples = tuple((moved, 1000 + moved) for moved in range(0, 4001, 10))
    usage = bench.child.Usage(1.0, 1.0, 9999, "", samples)
    many = bench.measure._many(usage, 400, compressing=True)
    assert (many.first, many.last) == (2000, 5000)
    assert many.curve[0] == (0.0, 1000)
    assert len(many.curve) <= 400
    few = bench.measure._many(usage, 199, compressing=True)
    assert (few.first, few.last) == (None, None)
    blind = bench.measure._many(replace(usage, samples=()), 400, compressing=False)
    assert (blind.curve, blind.first, blind.last) == ([], None, None)


def test_the_best_of_the_rounds(bench: Modules) -> None:
    timed, both = bench.record.Timed, bench.record.BothWays
    rounds = [
        both(timed(2.0, 3.0, 10), timed(1.0, 1.0, 40)),
        both(timed(1.0, 2.0, 20), timed(3.0, 3.0, 30)),
    ]
    best = bench.measure._best(rounds)
    assert best == both(timed(1.0, 2.0, 20), timed(1.0, 1.0, 40))
    assert best.seconds == 2.0


@pytest.mark.parametrize(
    ("most", "counts"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (4, [1, 2, 4]), (6, [1, 2, 4, 6])]
)
def test_numbers_of_cores(bench: Modules, most: int, counts: list[int]) -> None:
    assert bench.main.core_counts(most) == counts


# Records and the page.


def record(bench: Modules) -> Any:
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
            r.Many(1000, True, timed, [(0.1, 50_000_000), (1.0, 51_000_000)], 100_000, 104_000),
            r.Many(1000, False, timed, [], 100_000, 105_000),
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


def goals(bench: Modules, found: Any) -> list[str]:
    text = bench.page.page(found, "# Head")
    section = text.split("## In short")[1].split("##")[0]
    return [line for line in section.splitlines() if line.startswith("|")][2:]


def test_goals_that_are_reached(bench: Modules) -> None:
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


def test_goals_that_are_missed(bench: Modules) -> None:
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


def test_goals_are_not_stated_for_less(bench: Modules) -> None:
    found = record(bench)
    small = replace(found.sizes[0], width=3000, height=2000)
    few = [replace(one, pictures=300) for one in found.many]
    lines = goals(bench, replace(found, sizes=[small], many=few))
    for line in lines[6:]:
        assert line.endswith("|  |  |")


def test_goals_go_with_the_number_of_pictures(bench: Modules) -> None:
    found = record(bench)
    lines = goals(bench, replace(found, comparison=replace(found.comparison, pictures=48)))
    assert "at most 6 s" in lines[0]


@pytest.mark.parametrize(("others", "said"), [(0.3, True), (0.01, False), (None, False)])
def test_other_work_is_told(bench: Modules, others: float | None, said: bool) -> None:
    text = bench.page.page(replace(record(bench), others=others), "# Head")
    assert ("The times below are too long" in text) is said
    assert ("% of all processors' time" in text) is (others is not None)


def test_shares_are_of_the_stages_of_one_quality(bench: Modules) -> None:
    text = bench.page.page(record(bench), "# Head")
    assert "| read PNG | 30 | 75 % | 60.0 |" in text
    assert "| encoder network | 10 | 25 % | 20.0 |" in text
    assert "| **sum** | 40 |  | 80.0 |" in text
    assert "| pack | 7.2 |" in text
    assert "| numpy imported | 123 |" in text


def test_a_page_of_nothing(bench: Modules) -> None:
    empty = bench.record.Record({"processor": "abacus"}, "python x", "A", 2)
    text = bench.page.page(empty, "# Head\n")
    assert text.startswith("# Head\n\n## How it was measured")
    assert "- processor: abacus\n" in text


def test_tables_are_whole(bench: Modules) -> None:
    text = bench.page.page(record(bench), "# Head")
    blocks = [block for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) >= 9
    for block in blocks:
        assert len({line.replace("\\|", "").count("|") for line in block.splitlines()}) == 1, block


def test_page_and_figures_are_written(bench: Modules, tmp_path: Path) -> None:
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


def test_a_record_comes_back(bench: Modules, tmp_path: Path) -> None:
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
    bench: Modules, tmp_path: Path, change: Any, capsys: pytest.CaptureFixture[str]
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
    bench: Modules, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main.main(["--from", str(tmp_path / "none.json")]) == 1
    assert "none.json" in capsys.readouterr().err


def test_benchmarks_are_read(bench: Modules, tmp_path: Path) -> None:
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


def test_every_stage_has_its_benchmark(bench: Modules) -> None:
    """The tables know benchmarks by name: one that is renamed would vanish from the page."""
    text = "".join(path.read_text() for path in (ROOT / "benchmarks").glob("test_*.py"))
    stages = bench.stages
    named = [*stages.COMPRESS, *stages.RESTORE, *stages.OTHERS]
    tests = {test for _, test in named} | {test for _, test, _ in stages.START_UP}
    for test in tests:
        assert f"def {test}(" in text
    for _, test, case in stages.START_UP:
        assert not case or f'"{case}"' in text, (test, case)


# The command line.


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ([], ""),
        (["--kodak", "/home/me/kodak"], " --kodak '$KODAK'"),
        (["--kodak=/home/me/kodak", "--rounds", "3"], " --kodak '$KODAK' --rounds 3"),
        (["--scratch", "/x", "--record=/y", "--quick", "--docs", "/z"], " --quick"),
        (["--megapixels", "1", "2", "--benchmarks", "a.json"], " --megapixels 1 2"),
    ],
)
def test_the_command_is_shown_without_this_machine_s_paths(
    bench: Modules, words: list[str], shown: str
) -> None:
    expected = "python benchmarks/performance.py" + shown.replace("'", "")
    assert bench.main._shown(words) == expected


@pytest.mark.parametrize(
    "words",
    [
        ["--rounds", "0"],
        ["--megapixels", "-1"],
        ["--megapixels", "nan"],
        ["--pictures", "x"],
        ["--quality", "D"],
        ["--cores", "1.5"],
    ],
)
def test_wrong_options(bench: Modules, words: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        bench.main.main(words)
    assert stopped.value.code == 2


def test_a_folder_without_pictures(
    bench: Modules, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--kodak", str(tmp_path), "--docs", str(tmp_path / "docs")]
    assert bench.main.main(words) == 1
    assert "no PNG pictures" in capsys.readouterr().err
    assert not (tmp_path / "docs").exists()


@pytest.mark.slow
def test_everything_once(bench: Modules, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if "slow" not in request.config.getoption("markexpr"):
        pytest.skip("takes minutes; run with -m slow")
    words = ["--quick", "--megapixels", "0.05", "--pictures", "2"]
    paths = ["--docs", str(tmp_path / "docs"), "--record", str(tmp_path / "record.json")]
    assert bench.main.main([*words, *paths]) == 0
    found = bench.record.load(tmp_path / "record.json")
    assert found.comparison is not None
    parts = (found.likeness, found.sizes, found.many, found.threads, found.parts, found.benchmarks)
    assert all(parts)
    text = (tmp_path / "docs" / "performance.md").read_text()
    assert text == bench.page.page(found, bench.main.HEAD.read_text())
    assert str(tmp_path) not in text
