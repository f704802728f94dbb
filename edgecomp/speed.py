"""How long the networks take on this machine, by precision and number of threads."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edgecomp.backends import Backend, load_backend
from edgecomp.choices import safe_precision
from edgecomp.golden import picture

if TYPE_CHECKING:
    from edgecomp.models import Model

# Pictures to measure on, (width, height): the first that is quick enough.
SIZES: Final = ((768, 512), (384, 256), (192, 128))
_SMALL: Final = (96, 64)
# Something else than the default has to take less than so much of its time: what is measured
# varies, and the default is right everywhere. Reading files, coding symbols and writing files gain
# from threads too, and are not measured: fewer have to be worth it by far.
PRECISION_MARGIN: Final = 0.9
THREADS_MARGIN: Final = 0.75
_FEWEST_ROUNDS: Final = 4
_MOST_ROUNDS: Final = 7


@dataclass(frozen=True, slots=True)
class Timing:
    """What was measured of one setting.

    Attributes:
        precision: "int8" or "fp32".
        threads: pictures that were worked on side by side.
        milliseconds: of wall time a picture, encoder and decoder networks.
    """

    precision: str
    threads: int
    milliseconds: float


@dataclass(frozen=True, slots=True)
class Speed:
    """What was measured.

    Attributes:
        size: width and height of the picture.
        timings: of every precision and number of threads.
    """

    size: tuple[int, int]
    timings: tuple[Timing, ...]

    def of(self, precision: str, threads: int) -> float | None:
        """Milliseconds a picture; None where that was not measured."""
        for timing in self.timings:
            if (timing.precision, timing.threads) == (precision, threads):
                return timing.milliseconds
        return None


def measure_speed(model: Model, *, cores: int, seconds: float) -> Speed:
    """Time the model's networks as folder jobs run them: pictures side by side, a thread each.

    Settings take turns, so that what else the machine does meets all of them.

    Args:
        model: whose networks, in every precision that it has.
        cores: the most threads; half of them and one are measured too.
        seconds: about how long it may take.

    Raises:
        ModelError, BackendUnavailableError: the model cannot be run.
    """
    backends = {p: load_backend("onnx", model, precision=p, threads=1) for p in model.precisions}
    counts = sorted({1, max(1, cores // 2), cores})
    settings = list(itertools.product(backends, counts))
    size = _affordable(backends, model.stride, len(counts), seconds)
    found: dict[tuple[str, int], list[float]] = {setting: [] for setting in settings}
    end = time.monotonic() + seconds
    with ThreadPoolExecutor(cores, thread_name_prefix="edgecomp") as pool:
        for rounds in range(_MOST_ROUNDS):
            if rounds >= _FEWEST_ROUNDS and time.monotonic() > end:
                break
            for precision, threads in settings:
                work = _pass_of(backends[precision], model.stride, size)
                found[precision, threads].append(_side_by_side(pool, work, threads))
    # The first round warms up: memory, clock.
    timings = [Timing(*setting, 1000 * statistics.median(s[1:])) for setting, s in found.items()]
    return Speed(size, tuple(timings))


def quickest(speed: Speed, precisions: Collection[str], cores: int) -> tuple[str, int]:
    """The precision and the number of threads to work with.

    int8 and all cores, unless something else is clearly quicker.

    Args:
        speed: what was measured.
        precisions: that there are.
        cores: the most threads that were measured.
    """
    precision = safe_precision(precisions)
    for other in sorted(precisions):
        if _is_less(speed.of(other, cores), PRECISION_MARGIN, speed.of(precision, cores)):
            precision = other
    limit = speed.of(precision, cores)
    for timing in sorted(speed.timings, key=lambda timing: timing.milliseconds):
        if timing.precision == precision and _is_less(timing.milliseconds, THREADS_MARGIN, limit):
            return precision, timing.threads
    return precision, cores


def _is_less(time: float | None, margin: float, than: float | None) -> bool:
    return time is not None and than is not None and time < margin * than


def _affordable(
    backends: Mapping[str, Backend], stride: int, counts: int, seconds: float
) -> tuple[int, int]:
    """The largest picture of which all settings can be measured often enough in the time."""
    cost = 0.0
    for backend in backends.values():
        small = _pass_of(backend, stride, _SMALL)
        small()  # loads the graphs
        cost += min(_seconds(small) for _ in range(3))
    # With fewer threads fewer pictures are worked on, so a round takes about as long for each.
    at_least = cost * counts * _FEWEST_ROUNDS
    for size in SIZES[:-1]:
        if at_least * size[0] * size[1] / (_SMALL[0] * _SMALL[1]) < seconds:
            return size
    return SIZES[-1]


def _pass_of(backend: Backend, stride: int, size: tuple[int, int]) -> Callable[[], object]:
    width, height = (side // stride * stride for side in size)
    rgb = picture(height, width)

    def run() -> object:
        return backend.synthesise(backend.analyse(rgb, 0, threads=1).symbols, 0, threads=1)

    return run


def _side_by_side(pool: ThreadPoolExecutor, work: Callable[[], object], threads: int) -> float:
    """Seconds a picture, when so many are worked on at a time."""

    def all_of_them() -> None:
        for running in [pool.submit(work) for _ in range(threads)]:
            running.result()

    return _seconds(all_of_them) / threads


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
