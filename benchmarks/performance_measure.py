"""The measurements of performance.py: edgecomp's own command, run as child processes."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from performance_child import Usage, run
from performance_record import (
    LARGE_NAME,
    BothWays,
    Comparison,
    Likeness,
    Many,
    Part,
    Size,
    ThreadUse,
    Timed,
    Way,
)
from PIL import features

HERE = Path(__file__).parent
EDGECOMP = "edgecomp"
AVIF_BESIDE, AVIF_WITHIN = "AVIF, pictures side by side", "AVIF, threads within a picture"
# So many 768x512 pictures have about the pixels of one of 12 megapixels.
LARGE_MEGAPIXELS, SMALL_PICTURES = 12.0, 31
SMALL_PIXELS = 768 * 512
HUNDRED = 100
_SAMPLE_SECONDS = 0.01
_LONG_MEGAPIXELS = 30.0
_CURVE_POINTS = 400
_PILLOW_ALONE = (
    "import sys; from PIL import Image; Image.MAX_IMAGE_PIXELS = None;"
    " Image.open(sys.argv[1]).save(sys.argv[2], compress_level=1)"
)


class MeasureError(Exception):
    """A command did not do what was to be timed."""


@dataclass(frozen=True)
class Workplace:
    """Where and how is measured.

    Attributes:
        scratch: a folder for everything that is made.
        quality: of edgecomp.
        rounds: how often each command runs; the shortest time counts.
        say: told what is being done.
    """

    scratch: Path
    quality: str
    rounds: int
    say: Callable[[str], None]

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """A folder that is removed again."""
        with tempfile.TemporaryDirectory(dir=self.scratch) as name:
            yield Path(name)


def compare_folder(
    place: Workplace, folder: Path, source: str, pixels: int, cores: Sequence[int]
) -> Comparison:
    """edgecomp on each number of cores, and AVIF on the last, on the same PNG files in turn.

    Args:
        place: where.
        folder: of the files.
        source: what they are, for people.
        pixels: of all of them.
        cores: numbers of cores, ascending.
    """
    pictures = len(list(folder.rglob("*.png")))
    ways: dict[tuple[str, int], Callable[[Path], BothWays]] = {}
    for count in cores:
        ways[EDGECOMP, count] = _edgecomp_way(place, folder, pictures, count)
    if features.check("avif"):
        ways[AVIF_BESIDE, cores[-1]] = _avif_way(folder, pictures, cores[-1], ())
        if cores[-1] > 1:
            ways[AVIF_WITHIN, cores[-1]] = _avif_way(folder, pictures, cores[-1], ("--within",))
    else:
        place.say("Pillow has no AVIF here: it is left out")
    found: dict[tuple[str, int], list[BothWays]] = {key: [] for key in ways}
    for turn in range(place.rounds):
        for key, both_ways in ways.items():
            place.say(f"{pictures} pictures, {key[0]}, cores: {key[1]}, round {turn + 1}")
            with place.folder() as work:
                found[key].append(both_ways(work))
    return Comparison(
        pictures,
        pixels,
        source,
        place.rounds,
        [Way(name, count, _best(found[name, count])) for name, count in ways],
    )


def compare_sizes(place: Workplace, cores: Sequence[int]) -> list[Likeness]:
    """One picture of 12 megapixels against 31 small ones of the same photographs, in turn."""
    with place.folder() as work:
        small, large = work / "small", work / "large"
        large.mkdir()
        _make(small, pictures=SMALL_PICTURES)
        width, height = _make(large / "large.png", megapixels=LARGE_MEGAPIXELS)
        found: dict[tuple[Path, int], list[BothWays]] = {}
        for turn in range(place.rounds):
            for count in cores:
                for folder, pictures in ((small, SMALL_PICTURES), (large, 1)):
                    place.say(f"{pictures} pictures, cores: {count}, round {turn + 1}")
                    with place.folder() as out:
                        times = _edgecomp_way(place, folder, pictures, count)(out)
                    found.setdefault((folder, count), []).append(times)
        return [
            Likeness(
                count,
                SMALL_PICTURES,
                SMALL_PICTURES * SMALL_PIXELS,
                _best(found[small, count]),
                width * height,
                _best(found[large, count]),
            )
            for count in cores
        ]


def measure_size(place: Workplace, megapixels: float, cores: Sequence[int]) -> list[Size]:
    """A picture of so many megapixels from PNG and from JPEG, and back to PNG."""
    found = []
    with place.folder() as work:
        png, jpeg = work / "picture.png", work / "picture.jpg"
        place.say(f"{megapixels:g} megapixels: making the files")
        width, height = _make(png, jpeg, megapixels=megapixels)
        coded, restored = work / "picture.edge", work / "restored.png"
        pillow = [sys.executable, "-c", _PILLOW_ALONE, str(png), str(restored)]
        # What takes many seconds varies less, and the more rounds would take minutes.
        turns = min(place.rounds, 2) if megapixels > _LONG_MEGAPIXELS else place.rounds
        alone = _fastest(turns, lambda: run(pillow, cores=1), restored)
        for count in cores:
            place.say(f"{megapixels:g} megapixels, cores: {count}")
            options = ["--threads", str(count), "--max-pixels", "10000"]
            jobs = {
                name: ["compress", str(source), "-o", str(coded), "-q", place.quality, *options]
                for name, source in (("jpeg", jpeg), ("png", png))
            }
            jobs["restore"] = ["decompress", str(coded), "-o", str(restored), *options]
            rounds: dict[str, list[Usage]] = {name: [] for name in jobs}
            for _ in range(turns):
                coded.unlink(missing_ok=True)
                for name, words in jobs.items():
                    if name == "png":
                        coded.unlink()
                    rounds[name].append(_edgecomp(words, count))
                restored.unlink()
            best = {name: _shortest(usages) for name, usages in rounds.items()}
            found.append(
                Size(width, height, count, best["png"], best["jpeg"], best["restore"], alone)
            )
    return found


def measure_many(place: Workplace, pictures: int, cores: Sequence[int]) -> list[Many]:
    """A folder of so many pictures, memory sampled all along, both ways."""
    with place.folder() as work:
        folder, archive, restored = work / "pictures", work / "pictures.ecz", work / "restored"
        place.say(f"{pictures} pictures: making the files")
        _make(folder, pictures=pictures)
        found = []
        for count in cores:
            place.say(f"{pictures} pictures, cores: {count}")
            threads = ["--force", "--threads", str(count)]
            jobs = {
                True: ["compress", str(folder), "-o", str(archive), "-q", place.quality, *threads],
                False: ["decompress", str(archive), "-o", str(restored), *threads],
            }
            for compressing, words in jobs.items():
                usage = _edgecomp(words, count, pictures, interval=_SAMPLE_SECONDS)
                found.append(_many(usage, pictures, count, compressing=compressing))
        return found


def measure_threads(place: Workplace, cores: Sequence[int]) -> list[ThreadUse]:
    """Threads within a picture against a picture for each, small and large, in memory."""
    with place.folder() as work:
        small = work / "small"
        _make(small, pictures=8)
        large = [work / "large0.png", work / "large1.png"]
        width, height = _make(*large, megapixels=LARGE_MEGAPIXELS)
        sets = {
            "768x512": (sorted(small.iterdir()), 8 * SMALL_PIXELS),
            LARGE_NAME: (large, 2 * width * height),
        }
        found = []
        for what, (paths, pixels) in sets.items():
            for count in cores:
                for beside in (False, True) if count > 1 else (False,):
                    place.say(f"{what} in memory, threads: {count}, beside: {beside}")
                    words = [sys.executable, str(HERE / "performance_threads.py")]
                    words += [*map(str, paths), "--quality", place.quality]
                    words += ["--threads", str(count), "--rounds", str(place.rounds)]
                    words += ["--beside"] if beside else []
                    times = json.loads(run(words, cores=count).output)
                    found.append(
                        ThreadUse(what, pixels, count, beside, times["encode"], times["decode"])
                    )
        return found


def measure_parts(place: Workplace, positions: Iterable[int]) -> list[Part]:
    """The networks on parts of several sizes."""
    found = []
    for count in positions:
        place.say(f"the networks on {count} positions")
        words = [sys.executable, str(HERE / "performance_parts.py"), "--positions", str(count)]
        words += ["--quality", place.quality, "--rounds", str(place.rounds)]
        usage = run(words, cores=1)
        times = json.loads(usage.output)
        found.append(Part(times["positions"], times["encoder"], times["decoder"], usage.peak_bytes))
    return found


def make_folder(folder: Path, pictures: int) -> None:
    """Make a folder of so many pictures of 768x512."""
    _make(folder, pictures=pictures)


def _edgecomp_way(
    place: Workplace, folder: Path, pictures: int, cores: int
) -> Callable[[Path], BothWays]:
    def both(work: Path) -> BothWays:
        archive, options = work / "pictures.ecz", ["--threads", str(cores)]
        compress = ["compress", str(folder), "-o", str(archive), "-q", place.quality, *options]
        restore = ["decompress", str(archive), "-o", str(work / "restored"), *options]
        return BothWays(
            _shortest([_edgecomp(compress, cores, pictures)]),
            _shortest([_edgecomp(restore, cores, pictures)]),
        )

    return both


def _avif_way(
    folder: Path, pictures: int, cores: int, options: Sequence[str]
) -> Callable[[Path], BothWays]:
    program = [sys.executable, str(HERE / "performance_avif.py")]

    def both(work: Path) -> BothWays:
        coded, restored = work / "avif", work / "restored"
        ends = ["--threads", str(cores), *options]
        compress = run([*program, "compress", str(folder), str(coded), *ends], cores=cores)
        restore = run([*program, "restore", str(coded), str(restored), *ends], cores=cores)
        if len(list(restored.iterdir())) != pictures:
            raise MeasureError("AVIF did not restore every picture")
        return BothWays(_shortest([compress]), _shortest([restore]))

    return both


def _edgecomp(
    words: Sequence[str], cores: int, pictures: int = 1, *, interval: float | None = None
) -> Usage:
    """Run the command.

    Raises:
        ChildError: it failed.
        MeasureError: it coded or restored another number of pictures.
    """
    usage = run(
        [sys.executable, "-m", "edgecomp", *words, "--json"], cores=cores, interval=interval
    )
    images = json.loads(usage.output)["images"]
    if images != pictures:
        raise MeasureError(f"edgecomp {words[0]}: {images} of {pictures} pictures")
    return usage


def _make(
    *outputs: Path, megapixels: float | None = None, pictures: int | None = None
) -> tuple[int, int]:
    """Make pictures, in a process of its own: a large one takes memory. Width and height."""
    what = ["--megapixels", str(megapixels)] if pictures is None else ["--pictures", str(pictures)]
    program = [sys.executable, str(HERE / "example_pictures.py")]
    usage = run([*program, *map(str, outputs), *what], cores=2)
    width, height = usage.output.split()
    return int(width), int(height)


def _fastest(rounds: int, function: Callable[[], Usage], made: Path) -> Timed:
    usages = []
    for _ in range(rounds):
        usages.append(function())
        made.unlink()
    return _shortest(usages)


def _shortest(usages: Sequence[Usage]) -> Timed:
    quickest = min(usages, key=lambda usage: usage.seconds)
    peak = max(usage.peak_bytes for usage in usages)
    return Timed(quickest.seconds, quickest.cpu_seconds, peak)


def _best(rounds: Iterable[BothWays]) -> BothWays:
    """Each direction in its quickest round."""
    found = list(rounds)
    return BothWays(
        _least([both.compress for both in found]), _least([both.restore for both in found])
    )


def _least(times: Sequence[Timed]) -> Timed:
    quickest = min(times, key=lambda timed: timed.seconds)
    return Timed(quickest.seconds, quickest.cpu_seconds, max(timed.peak_bytes for timed in times))


def _many(usage: Usage, pictures: int, cores: int, *, compressing: bool) -> Many:
    """How far the work was is told by the bytes that the process had read and written, those of its
    start among them: all pictures have about the same."""
    timed = _shortest([usage])
    if not usage.samples or usage.samples[-1][0] == 0:
        return Many(pictures, cores, compressing, timed, [])
    end = usage.samples[-1][0]
    curve = [(moved / end, resident) for moved, resident in usage.samples]
    share = HUNDRED / pictures
    first = [resident for done, resident in curve if done <= share]
    last = [resident for done, resident in curve if done >= 1 - share]
    enough = pictures >= 2 * HUNDRED and first and last
    step = -(-len(curve) // _CURVE_POINTS)
    return Many(
        pictures,
        cores,
        compressing,
        timed,
        curve[::step],
        max(first) if enough else None,
        max(last) if enough else None,
    )
