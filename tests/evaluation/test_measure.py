"""evaluation.measure: every method on every picture, failures, and the cache."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edgecomp.evaluation.cache import FolderCache, NoCache
from edgecomp.evaluation.measure import Measurer, label_of, try_out
from edgecomp.evaluation.methods import UnavailableError
from edgecomp.evaluation.sources import Source, find_sources
from edgecomp.pipeline import Silent

Pixels = NDArray[np.uint8]


class Coarse:
    """A real codec in a few lines: samples in steps, deflated."""

    name = "coarse"

    def __init__(self, step: int) -> None:
        self.step = step
        self.quality = str(step)
        self.settings = f"step={step}"
        self.coded = 0

    def encode(self, rgb: Pixels, /) -> bytes:
        self.coded += 1
        head = np.array(rgb.shape, "<u4").tobytes()
        return head + zlib.compress((rgb // self.step).tobytes())

    def decode(self, data: bytes, /) -> Pixels:
        shape = np.frombuffer(data[:12], "<u4")
        found = np.frombuffer(zlib.decompress(data[12:]), np.uint8).reshape(shape)
        return found * np.uint8(self.step)


class Fussy(Coarse):
    """One that cannot do pictures of some width."""

    name = "fussy"

    def __init__(self, width: int, where: str) -> None:
        super().__init__(1)
        self.width, self.where = width, where

    def encode(self, rgb: Pixels, /) -> bytes:
        if self.where == "encode" and rgb.shape[1] == self.width:
            raise ValueError("too fussy for this")
        return super().encode(rgb)

    def decode(self, data: bytes, /) -> Pixels:
        found = super().decode(data)
        if self.where == "decode" and found.shape[1] == self.width:
            raise ValueError("too fussy for this")
        if self.where == "shape" and found.shape[1] == self.width:
            return found[1:]
        return found


class Counter(Silent):
    """How many steps there are and were."""

    def __init__(self) -> None:
        self.total = self.done = 0

    def start(self, total_items: int, total_bytes: int, /) -> None:
        self.total = total_items

    def advance(self, name: str, size: int, /) -> None:
        self.done += 1


@pytest.fixture
def sources(tmp_path: Path) -> list[Source]:
    """Three pictures: 170x165, 200x165 and a small one of 60x40."""
    folder = tmp_path / "in"
    folder.mkdir()
    random = np.random.default_rng(5)
    for name, width, height in (("a", 170, 165), ("b", 200, 165), ("c", 60, 40)):
        y, x = np.mgrid[0:height, 0:width]
        planes = [x % 256, (x + 2 * y) % 256, random.integers(0, 256, x.shape)]
        Image.fromarray(np.stack(planes, -1).astype(np.uint8)).save(folder / f"{name}.png")
    return find_sources(str(folder), tmp_path)[0]


@pytest.mark.parametrize("cores", [1, 2])
def test_scores_and_bytes(cores: int, sources: list[Source]) -> None:
    methods = [Coarse(1), Coarse(16)]
    counter = Counter()
    kept, failed, measured = Measurer(cores, NoCache(), counter).measure(sources, methods)
    assert kept == sources
    assert not failed
    assert counter.total == counter.done == 12
    exact, coarse = measured["coarse 1"], measured["coarse 16"]
    for source in sources:
        rgb = source.load()
        assert exact.scores[source.name].bytes == len(Coarse(1).encode(rgb))
        assert exact.scores[source.name].psnr == float("inf")
        assert exact.scores[source.name].ms_ssim == pytest.approx(1, abs=1e-6)
        error = np.mean((rgb.astype(float) - rgb // 16 * 16) ** 2)
        assert coarse.scores[source.name].psnr == pytest.approx(10 * np.log10(255**2 / error))
        similarity = coarse.scores[source.name].ms_ssim
        assert similarity is not None
        assert similarity < 0.9999
    assert exact.seconds_compress > 0
    assert exact.seconds_decompress > 0


@pytest.mark.parametrize(
    ("where", "reason"),
    [("encode", "too fussy"), ("decode", "too fussy"), ("shape", "restores")],
)
@pytest.mark.parametrize("cores", [1, 2])
def test_a_picture_that_fails_is_in_no_row(
    where: str, reason: str, cores: int, sources: list[Source]
) -> None:
    methods = [Coarse(1), Fussy(200, where), Coarse(4)]
    kept, failed, measured = Measurer(cores, NoCache(), Silent()).measure(sources, methods)
    assert [source.name for source in kept] == ["a.png", "c.png"]
    assert [note.path for note in failed] == ["b.png"]
    assert "fussy 1" in failed[0].reason
    assert reason in failed[0].reason
    for method in methods:
        assert set(measured[label_of(method)].scores) == {"a.png", "c.png"}


def test_the_cache_saves_the_work(sources: list[Source], tmp_path: Path) -> None:
    def measure(method: Coarse, cores: int = 1) -> object:
        counter = Counter()
        measurer = Measurer(cores, FolderCache(tmp_path / "cache"), counter)
        found = measurer.measure(sources, [method])
        assert counter.total == counter.done
        return found

    first, again, other = Coarse(8), Coarse(8), Coarse(9)
    assert measure(first) == measure(again)
    assert (first.coded, again.coded) == (3, 0)
    measure(other)
    assert other.coded == 3
    more_cores = Coarse(8)
    measure(more_cores, cores=2)
    assert more_cores.coded == 3


def test_infinite_psnr_survives_the_cache(sources: list[Source], tmp_path: Path) -> None:
    cache = FolderCache(tmp_path / "cache")
    first = Measurer(1, cache, Silent()).measure(sources, [Coarse(1)])[2]
    again = Measurer(1, cache, Silent()).measure(sources, [Coarse(1)])[2]
    assert again["coarse 1"].scores["a.png"].psnr == float("inf")
    assert again == first


def test_a_broken_method_is_no_picture_s_fault() -> None:
    try_out(Coarse(2))
    with pytest.raises(UnavailableError, match="too fussy"):
        try_out(Fussy(192, "encode"))
    with pytest.raises(UnavailableError, match="restored"):
        try_out(Fussy(192, "shape"))


def test_memory_running_out_is_not_a_bad_picture(sources: list[Source]) -> None:
    class Hungry(Coarse):
        def encode(self, rgb: Pixels, /) -> bytes:
            raise MemoryError

    with pytest.raises(MemoryError):
        Measurer(1, NoCache(), Silent()).measure(sources, [Hungry(1)])
