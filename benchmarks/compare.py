"""What moved between two runs of the benchmarks.

    pytest benchmarks --benchmark-only --benchmark-json=old.json
    pytest benchmarks --benchmark-only --benchmark-json=new.json
    python benchmarks/compare.py old.json new.json

Times are compared by their minimums, which other work on the machine disturbs least. A benchmark
has moved if minimum and median have both moved the same way, by more than --least percent and by
more than the benchmark's own noise: the larger, in both runs, of the interquartile range and of the
distance from minimum to median, each against the median. A ratio above 1 is slower.

The exit code is 1 if --fail-above is given and a benchmark that moved has a larger ratio, 2 if a
file cannot be read, else 0.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LEAST_PERCENT = 5.0
# What a machine is known by; the clock's speed at the moment of asking is not of it.
_MACHINE = ("node", "machine", "system", "python_version")
_PROCESSOR = ("brand_raw", "count")


class CompareError(Exception):
    """Why two files cannot be compared, for the user."""


@dataclass(frozen=True)
class Times:
    """One benchmark of a run: seconds, and how far its rounds are apart, against the median."""

    minimum: float
    median: float
    noise: float


@dataclass(frozen=True)
class Run:
    """The benchmarks of a file by name, and words about the machine by subject."""

    benchmarks: Mapping[str, Times]
    machine: Mapping[str, str]


@dataclass(frozen=True)
class Change:
    """One benchmark in both runs."""

    name: str
    old: Times
    new: Times

    @property
    def ratio(self) -> float:
        """Of the minimums, new to old."""
        return self.new.minimum / self.old.minimum

    @property
    def median_ratio(self) -> float:
        """Of the medians, new to old."""
        return self.new.median / self.old.median

    @property
    def noise(self) -> float:
        """The larger of the two runs."""
        return max(self.old.noise, self.new.noise)

    def moved(self, least: float) -> bool:
        """Whether both ratios are further from 1, the same way, than noise and ``least``."""
        beyond = math.log1p(max(self.noise, least))
        first, second = math.log(self.ratio), math.log(self.median_ratio)
        return min(first, second) > beyond or max(first, second) < -beyond


def read(path: Path) -> Run:
    """A file that ``--benchmark-json`` has written.

    Raises:
        CompareError: it is none.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CompareError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise CompareError(f"{path} is not JSON: {error}") from error
    try:
        benchmarks = {one["fullname"]: _times(one["stats"]) for one in record["benchmarks"]}
        machine = _machine(record.get("machine_info", {}))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise CompareError(f"{path} is not what --benchmark-json writes ({error!r})") from error
    return Run(benchmarks, machine)


def _times(stats: Mapping[str, Any]) -> Times:
    minimum, median = float(stats["min"]), float(stats["median"])
    if not 0 < minimum <= median:
        raise ValueError(f"minimum {minimum}, median {median}")
    return Times(minimum, median, max(float(stats["iqr"]), median - minimum) / median)


def _machine(info: Mapping[str, Any]) -> dict[str, str]:
    processor = info.get("cpu", {})
    words = {key: str(info.get(key, "unknown")) for key in _MACHINE}
    return words | {f"processor {key}": str(processor.get(key, "unknown")) for key in _PROCESSOR}


def changes(old: Run, new: Run) -> list[Change]:
    """The benchmarks that are in both runs, in the order of the new one."""
    return [
        Change(name, old.benchmarks[name], times)
        for name, times in new.benchmarks.items()
        if name in old.benchmarks
    ]


def report(old: Run, new: Run, *, least: float, everything: bool = False) -> Iterator[str]:
    """The lines to print.

    Args:
        old, new: two runs.
        least: changes up to this share of the old time are not worth a line.
        everything: print the benchmarks that did not move too.
    """
    yield from _machines(old.machine, new.machine)
    both = changes(old, new)
    moved = [change for change in both if change.moved(least)]
    shown = both if everything else moved
    slower = sum(change.ratio > 1 for change in moved)
    yield (
        f"{len(both)} benchmarks in both: {slower} slower, {len(moved) - slower} faster,"
        f" {len(both) - len(moved)} the same"
    )
    if shown:
        yield ""
        yield from _table(sorted(shown, key=lambda change: -change.ratio), moved)
    for title, here, there in (("new", new, old), ("gone", old, new)):
        names = [name for name in here.benchmarks if name not in there.benchmarks]
        if names:
            yield ""
            yield f"{title}:"
            yield from (f"  {name}  {_shown(here.benchmarks[name].minimum)}" for name in names)


def _machines(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    differ = [key for key in new if old.get(key) != new[key]]
    if differ:
        yield "warning: the runs are of different machines; ratios mean little"
        for key in differ:
            yield f"  {key}: {old.get(key, 'unknown')} -> {new[key]}"
        yield ""


def _table(found: Iterable[Change], moved: Sequence[Change]) -> Iterator[str]:
    head = ("", "ratio", "of medians", "old", "new", "noise", "benchmark")
    rows = [
        (
            ("slower" if change.ratio > 1 else "faster") if change in moved else "",
            f"{change.ratio:.2f}",
            f"{change.median_ratio:.2f}",
            _shown(change.old.minimum),
            _shown(change.new.minimum),
            f"{100 * change.noise:.0f} %",
            change.name,
        )
        for change in found
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        first, *numbers, name = row
        middle = [text.rjust(width) for text, width in zip(numbers, widths[1:-1], strict=True)]
        yield "  ".join([first.ljust(widths[0]), *middle, name])


def _shown(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    first, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=first, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", type=Path, metavar="OLD.json")
    parser.add_argument("new", type=Path, metavar="NEW.json")
    parser.add_argument(
        "--least",
        type=_positive,
        default=LEAST_PERCENT,
        metavar="PERCENT",
        help="smaller changes are none (default: %(default)g)",
    )
    parser.add_argument(
        "--fail-above",
        type=_positive,
        metavar="RATIO",
        help="exit with 1 if a benchmark that moved takes more than so many times the old time",
    )
    parser.add_argument("--all", action="store_true", help="print what did not move too")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Compare two files; the exit code."""
    arguments = _parse(argv)
    least = arguments.least / 100
    try:
        old, new = read(arguments.old), read(arguments.new)
    except CompareError as error:
        print(f"compare: {error}", file=sys.stderr)
        return 2
    for line in report(old, new, least=least, everything=arguments.all):
        print(line)
    limit = arguments.fail_above
    if limit is not None and any(
        change.moved(least) and change.ratio > limit for change in changes(old, new)
    ):
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
