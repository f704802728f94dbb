"""What performance.py finds out, and the JSON file that it is kept in."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEGA = 1e6
LARGE_NAME = "12 MP"


class RecordError(Exception):
    """A file is no record; says why."""


@dataclass(frozen=True)
class Timed:
    """One command: the shortest time of the rounds, the most memory of any.

    Attributes:
        seconds: whole process, start-up included.
        cpu_seconds: of all processors, in the quickest round.
        peak_bytes: the most that was resident.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class BothWays:
    """Compressing and restoring the same pictures, one command each."""

    compress: Timed
    restore: Timed

    @property
    def seconds(self) -> float:
        """Of both commands."""
        return self.compress.seconds + self.restore.seconds


@dataclass(frozen=True)
class Way:
    """One way to do the same work, on so many cores."""

    name: str
    cores: int
    times: BothWays


@dataclass(frozen=True)
class Comparison:
    """Ways to compress and restore a folder, measured in turn in each of so many rounds."""

    pictures: int
    pixels: int
    source: str
    rounds: int
    ways: list[Way]

    def way(self, name: str, cores: int) -> Way | None:
        """The way of that name, if it was measured."""
        return next((w for w in self.ways if (w.name, w.cores) == (name, cores)), None)


@dataclass(frozen=True)
class Likeness:
    """One large picture against about as many pixels in small ones, on so many cores."""

    cores: int
    small_pictures: int
    small_pixels: int
    small: BothWays
    large_pixels: int
    large: BothWays

    @property
    def ratio(self) -> float:
        """Time a pixel of the large picture to that of the small ones, both ways together."""
        return (self.large.seconds / self.large_pixels) / (self.small.seconds / self.small_pixels)


@dataclass(frozen=True)
class Size:
    """A picture of a size, by the command, on so many cores.

    Attributes:
        width, height: in pixels.
        cores: and threads.
        compress_png, compress_jpeg: from a file of that format.
        restore: to PNG.
        pillow: Pillow alone, from the PNG file to a PNG file, on one core.
    """

    width: int
    height: int
    cores: int
    compress_png: Timed
    compress_jpeg: Timed
    restore: Timed
    pillow: Timed

    @property
    def megapixels(self) -> float:
        """Millions of pixels."""
        return self.width * self.height / MEGA


@dataclass(frozen=True)
class Many:
    """A folder of so many pictures, by one command.

    Attributes:
        pictures: how many, 768x512 each.
        cores: used, with as many threads.
        compressing: the direction.
        timed: time and peak memory.
        curve: (share of the work done, bytes resident), thinned out.
        first, last: the most that was resident during the first and the last hundred pictures;
            None where there are fewer than two hundred, or where the system does not tell.
    """

    pictures: int
    cores: int
    compressing: bool
    timed: Timed
    curve: list[tuple[float, int]]
    first: int | None = None
    last: int | None = None


@dataclass(frozen=True)
class ThreadUse:
    """Pictures in memory, all of them both ways, with threads used in one way.

    Attributes:
        what: the pictures, for people.
        pixels: of all of them.
        threads: how many, on as many cores.
        beside: whether each has a picture of its own.
        encode, decode: seconds of all pictures.
    """

    what: str
    pixels: int
    threads: int
    beside: bool
    encode: float
    decode: float

    @property
    def seconds(self) -> float:
        """Both ways."""
        return self.encode + self.decode


@dataclass(frozen=True)
class Part:
    """The networks on a part of a picture, by themselves, on one thread.

    Attributes:
        positions: of the latent; each is 8x8 pixels.
        encoder, decoder: seconds.
        peak_bytes: the most that was resident in a process that does nothing else.
    """

    positions: int
    encoder: float
    decoder: float
    peak_bytes: int

    @property
    def pixels(self) -> int:
        """That it stands for."""
        return 64 * self.positions


@dataclass(frozen=True)
class Benchmark:
    """One of pytest-benchmark's: its test's name, its parameters, the shortest seconds."""

    test: str
    case: str
    seconds: float
    pixels: int | None = None


@dataclass(frozen=True)
class Record:
    """Everything that was measured; None or nothing where it was not yet.

    Attributes:
        machine: words by subject.
        command: as others would type it.
        quality: of edgecomp.
        cores: at most.
        others: the share of the processors' time that other work took meanwhile.
        comparison, likeness, sizes, many, threads, parts, benchmarks: what was found.
    """

    machine: dict[str, str]
    command: str
    quality: str
    cores: int
    others: float | None = None
    comparison: Comparison | None = None
    likeness: list[Likeness] = dataclasses.field(default_factory=list)
    sizes: list[Size] = dataclasses.field(default_factory=list)
    many: list[Many] = dataclasses.field(default_factory=list)
    threads: list[ThreadUse] = dataclasses.field(default_factory=list)
    parts: list[Part] = dataclasses.field(default_factory=list)
    benchmarks: list[Benchmark] = dataclasses.field(default_factory=list)


def save(record: Record, path: Path) -> None:
    """Write a record."""
    path.write_text(json.dumps(dataclasses.asdict(record), indent=1) + "\n", encoding="utf-8")


def load(path: Path) -> Record:
    """Read what `save` has written.

    Raises:
        RecordError: it cannot be read, or is something else.
    """
    try:
        found = _typed(Record, json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RecordError(f"{path} is no record of performance.py: {error}") from error
    assert isinstance(found, Record)
    return found


def _typed(kind: Any, value: Any) -> Any:
    """JSON as a value of an annotated type: the types above need no more than these."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        unknown = set(value) - set(hints)
        if unknown:
            raise ValueError(f"unknown fields {sorted(unknown)}")
        return kind(**{name: _typed(hints[name], part) for name, part in value.items()})
    if origin is list:
        return [_typed(arguments[0], part) for part in value]
    if origin is tuple:
        return tuple(_typed(part, one) for part, one in zip(arguments, value, strict=True))
    if origin is dict:
        return {str(name): _typed(arguments[1], part) for name, part in value.items()}
    if origin is types.UnionType:
        (inner,) = (part for part in arguments if part is not types.NoneType)
        return None if value is None else _typed(inner, value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind):
        raise ValueError(f"{value!r} is no {kind.__name__}")
    return value
