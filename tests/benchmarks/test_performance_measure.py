"""What benchmarks/performance.py measures, each part once and small."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgecomp.evaluation.pillow_codecs import family

MEBI = 1 << 20


def test_avif_is_the_evaluation_s(bench: Any) -> None:
    codec = family("avif")
    assert codec.fixed["speed"] == bench.avif.SPEED
    assert bench.avif.QUALITY in codec.measured


@pytest.mark.skipif(family("avif").unavailable() is not None, reason="Pillow has no AVIF")
@pytest.mark.parametrize("options", [(), ("--within",)])
def test_avif_both_ways(
    bench: Any, photo: Image.Image, tmp_path: Path, options: tuple[str, ...]
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


def test_avif_of_nothing(bench: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert bench.avif.main(["compress", str(tmp_path / "empty"), str(tmp_path / "out")]) == 1
    assert "no *.png" in capsys.readouterr().err


@pytest.mark.parametrize("options", [("--threads", "1"), ("--threads", "2", "--beside")])
def test_threads_are_timed(
    bench: Any,
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


def test_parts_are_timed(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.parts.main(["--positions", "100", "--rounds", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["positions"] == pytest.approx(100, rel=0.1)
    assert 0 < min(found["encoder"], found["decoder"])


@pytest.fixture
def place(bench: Any, tmp_path: Path) -> Any:
    return bench.measure.Workplace(tmp_path, "A", 1, lambda text: None)


def test_a_size_is_measured(bench: Any, place: Any, tmp_path: Path) -> None:
    (size,) = bench.measure.measure_size(place, 0.05, [1])
    assert size.megapixels == pytest.approx(0.05, rel=0.01)
    for timed in (size.compress_png, size.compress_jpeg, size.restore, size.pillow):
        assert 0 < timed.seconds
        assert MEBI < timed.peak_bytes
    assert size.pillow.peak_bytes < size.restore.peak_bytes
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_measured(bench: Any, place: Any, tmp_path: Path) -> None:
    compressed, restored = bench.measure.measure_many(place, 2, [1])
    assert (compressed.compressing, restored.compressing) == (True, False)
    assert (compressed.pictures, compressed.first, compressed.last) == (2, None, None)
    assert list(tmp_path.iterdir()) == []


def test_another_number_of_pictures_is_an_error(
    bench: Any, photo: Image.Image, tmp_path: Path
) -> None:
    photo.save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    words = ["compress", str(tmp_path), "-o", str(tmp_path / "out.ecz")]
    with pytest.raises(bench.measure.MeasureError, match="1 of 2 pictures"):
        bench.measure._edgecomp(words, 1, 2)


def test_memory_of_the_first_and_the_last_hundred(bench: Any) -> None:
    samples = tuple((moved, 1000 + moved) for moved in range(0, 4001, 10))
    usage = bench.child.Usage(1.0, 1.0, 9999, "", samples)
    many = bench.measure._many(usage, 400, 2, compressing=True)
    assert (many.first, many.last) == (2000, 5000)
    assert many.curve[0] == (0.0, 1000)
    assert len(many.curve) <= 400
    few = bench.measure._many(usage, 199, 2, compressing=True)
    assert (few.first, few.last) == (None, None)
    blind = bench.measure._many(replace(usage, samples=()), 400, 2, compressing=False)
    assert (blind.curve, blind.first, blind.last) == ([], None, None)


def test_the_best_of_the_rounds(bench: Any) -> None:
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
def test_numbers_of_cores(bench: Any, most: int, counts: list[int]) -> None:
    assert bench.main.core_counts(most) == counts
