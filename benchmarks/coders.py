"""The coders of the symbol volumes, measured side by side on the latents of the shipped models.

    python benchmarks/coders.py FOLDER... [--qualities A B C] [--limit N] [--rounds N] [--json FILE]

Each folder's PNG pictures go through the int8 encoder of each quality; the symbols stay in memory.
Every coder's bytes are decoded and compared, in every round. Times are wall clock on one thread,
from symbols to bytes and back, packing included: of each picture the median over the rounds, then
the mean of the pictures. A round measures every coder on a picture before it goes to the next, so
that a machine's slow drifts hit all alike. A megabyte is 10^6 symbols, of one byte each; bytes are
those of the symbols alone, without the heading of a file.

Rows with no times are no coders of files:

- Order-0 Huffman: one code a channel and picture, bytes that were decoded, tables included.
- Order-0 entropy: what an ideal arithmetic coder makes of the same histograms, which it is given
  for nothing.
- Float context model: the cross entropy of the int8 symbols under the network's own context model,
  as an arithmetic coder would come to (Mentzer et al. 2018). Its time is one picture's, the model
  alone, position by position as a decoder must; finding the symbols would come on top. It needs
  the extra `export` and the checkpoints of the shipped models.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

# Before numpy loads its linear algebra, which would otherwise take every core.
os.environ |= {f"{name}_NUM_THREADS": "1" for name in ("OPENBLAS", "OMP", "MKL")}

import numpy as np
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).parent.parent))  # for export, which is never installed

from coders_ideal import FloatContext, entropy_bytes, huffman_bytes
from coders_peers import CONTEXT, PACKED_LZMA, Peer, peers_of

from edgecomp.codec import Codec
from edgecomp.codestream import parse
from edgecomp.constants import QUALITIES
from edgecomp.errors import EdgecompError
from edgecomp.metrics import bits_per_pixel
from edgecomp.pictures import read_picture
from export.checkpoint import CheckpointError

Symbols = NDArray[np.uint8]
FLOAT_CONTEXT = "float context model"
# What the coder `context` is to reach, in percent.
ABOVE_FLOAT, BELOW_LZMA = 1.0, 12.0
# Packed LZMA at its fastest: of the presets whose size is within this percentage of the smallest.
NEAR_SMALLEST = 2.0


class BenchmarkError(Exception):
    """Why nothing can be measured, for the user."""


@dataclass(frozen=True)
class Volume:
    """One picture's symbols, (channels, rows, columns), and how many pixels they stand for."""

    name: str
    symbols: Symbols
    pixels: int


@dataclass(frozen=True)
class Row:
    """One coder on one folder: bytes in all, milliseconds a picture; None where not measured."""

    name: str
    bytes: float
    encode_ms: float | None = None
    decode_ms: float | None = None

    @property
    def both_ms(self) -> float:
        """Milliseconds of encoding and decoding a picture; infinite where not measured."""
        if self.encode_ms is None or self.decode_ms is None:
            return float("inf")
        return self.encode_ms + self.decode_ms


@dataclass(frozen=True)
class Goal:
    """One figure that the coder `context` is measured by."""

    text: str
    met: bool


@dataclass(frozen=True)
class Table:
    """What was measured at one quality on one folder."""

    quality: str
    folder: str
    pictures: int
    pixels: int
    symbols: int
    rounds: int
    rows: list[Row]
    notes: list[str]

    def smallest_lzma(self) -> Row:
        """The packed LZMA row of the fewest bytes."""
        return min(self._packed_lzma(), key=lambda row: row.bytes)

    def fastest_lzma(self) -> Row:
        """The fastest packed LZMA row that is hardly larger than the smallest."""
        limit = self.smallest_lzma().bytes * (1 + NEAR_SMALLEST / 100)
        return min((r for r in self._packed_lzma() if r.bytes <= limit), key=lambda r: r.both_ms)

    def row(self, name: str) -> Row | None:
        """The row of that name, if it was measured."""
        return next((row for row in self.rows if row.name == name), None)

    def goals(self) -> list[Goal]:
        """How the coder `context` does; none where it was not measured."""
        context, ideal = self.row(CONTEXT), self.row(FLOAT_CONTEXT)
        if context is None:
            return []
        smallest, fastest = self.smallest_lzma(), self.fastest_lzma()
        goals = []
        if ideal is not None:
            above = _percent(context.bytes, ideal.bytes)
            text = f"{above:+.2f} % against the {FLOAT_CONTEXT} (at most +{ABOVE_FLOAT:g} %)"
            goals.append(Goal(text, above <= ABOVE_FLOAT))
        below = _percent(context.bytes, smallest.bytes)
        text = f"{below:+.2f} % against {smallest.name} (at most -{BELOW_LZMA:g} %)"
        goals.append(Goal(text, below <= -BELOW_LZMA))
        text = (
            f"encodes and decodes in {context.both_ms:.1f} ms a picture against"
            f" {fastest.both_ms:.1f} ms of {fastest.name}"
        )
        goals.append(Goal(text, context.both_ms <= fastest.both_ms))
        return goals

    def _packed_lzma(self) -> Iterable[Row]:
        return (row for row in self.rows if row.name.startswith(PACKED_LZMA))


def volumes_of(codec: Codec, paths: Iterable[Path]) -> list[Volume]:
    """The symbols that a codec stores for pictures.

    Raises:
        BenchmarkError: its model leaves symbols out, which half of the coders know nothing of.
    """
    if codec.model.importance_map:
        raise BenchmarkError(f"model {codec.model_name} has an importance map")
    volumes = []
    for path in paths:
        picture = read_picture(path.read_bytes(), name=path.name)
        symbols = codec.decode_symbols(parse(codec.encode(picture))).symbols
        volumes.append(Volume(path.name, symbols, picture.width * picture.height))
    return volumes


def measure(peers: list[Peer], volumes: list[Volume], rounds: int) -> list[Row]:
    """Bytes and times of coders that make bytes, each on every volume in every round.

    Raises:
        BenchmarkError: a coder did not restore the symbols.
    """
    sizes = np.zeros((len(peers), len(volumes)), np.int64)
    seconds = np.zeros((rounds, 2, len(peers), len(volumes)))
    for turn in range(rounds):
        for v, volume in enumerate(volumes):
            for p, peer in enumerate(peers):
                start = time.perf_counter()
                data = peer.encode(volume.symbols)
                middle = time.perf_counter()
                restored = peer.decode(data, volume.symbols.shape)
                end = time.perf_counter()
                if not np.array_equal(restored, volume.symbols):
                    raise BenchmarkError(f"{peer.name} did not restore {volume.name}")
                sizes[p, v] = len(data)
                seconds[turn, :, p, v] = middle - start, end - middle
    ms = np.median(seconds, axis=0).mean(axis=-1) * 1e3
    return [
        Row(peer.name, int(sizes[p].sum()), float(ms[0, p]), float(ms[1, p]))
        for p, peer in enumerate(peers)
    ]


def ideal_rows(quality: str, zero: int, volumes: list[Volume]) -> tuple[list[Row], list[str]]:
    """Rows of the probability models, and notes on them."""
    symbols = [volume.symbols for volume in volumes]
    rows = [
        Row("order-0 Huffman, tables sent", sum(map(huffman_bytes, symbols))),
        Row("order-0 entropy, no tables", sum(map(entropy_bytes, symbols))),
    ]
    try:
        model = FloatContext(quality, zero)
    except ImportError as error:
        return rows, [f"{FLOAT_CONTEXT}: needs the extra `export` ({error})"]
    except CheckpointError:  # its message has a path, which a record of figures should not have
        return rows, [f"{FLOAT_CONTEXT}: no usable checkpoint of {quality} in export/checkpoints"]
    first = volumes[0]
    seconds = model.seconds_by_position(first.symbols)
    # To the mean picture, like the times above it.
    scaled = seconds * 1e3 * sum(s.size for s in symbols) / len(symbols) / first.symbols.size
    rows.append(Row(FLOAT_CONTEXT, sum(map(model.ideal_bytes, symbols)), None, scaled))
    note = (
        f"{FLOAT_CONTEXT}: {seconds:.3f} s on {first.name}, position by position, the arithmetic"
        " decoder not counted; in the table, scaled to the mean picture"
    )
    return rows, [note]


def table_of(quality: str, folder: Path, limit: int | None, rounds: int) -> Table:
    """Measure everything at one quality on one folder.

    Raises:
        BenchmarkError: there are no pictures, or a coder failed.
        EdgecompError: a picture or the model cannot be read.
    """
    paths = sorted(folder.rglob("*.png"))[:limit]
    if not paths:
        raise BenchmarkError(f"no PNG pictures in {folder}")
    codec = Codec.load(quality, precision="int8")
    volumes = volumes_of(codec, paths)
    peers, notes = peers_of(codec.model)
    rows = measure(peers, volumes, rounds)
    ideal, more_notes = ideal_rows(quality, codec.model.zero, volumes)
    return Table(
        quality=quality,
        folder=folder.resolve().name,
        pictures=len(volumes),
        pixels=sum(volume.pixels for volume in volumes),
        symbols=sum(volume.symbols.size for volume in volumes),
        rounds=rounds,
        rows=rows + ideal,
        notes=notes + more_notes,
    )


def text_of(table: Table) -> str:
    """A table for people."""
    smallest = table.smallest_lzma().bytes
    head = (
        f"Quality {table.quality}, {table.folder}: {table.pictures} pictures,"
        f" {table.pixels / 1e6:.2f} megapixels, {table.symbols / 1e6:.2f} MB of symbols,"
        f" {table.rounds} rounds"
    )
    columns = (
        f"{'':30}{'bytes':>11}{'bpp':>8}{'to LZMA':>10}"
        f"{'encode MB/s':>13}{'ms':>9}{'decode MB/s':>13}{'ms':>9}"
    )
    lines = [head, columns]
    each = table.symbols / table.pictures
    for row in table.rows:
        lines.append(
            f"{row.name:30}{row.bytes:11,.0f}{row.bytes * 8 / table.pixels:8.4f}"
            f"{_percent(row.bytes, smallest):+8.2f} %"
            f"{_speed(row.encode_ms, each)}{_speed(row.decode_ms, each)}"
        )
    lines += [f"({note})" for note in table.notes]
    lines += [f"{CONTEXT}: {goal.text}: {_verdict(goal)}" for goal in table.goals()]
    return "\n".join(lines)


def record_of(table: Table) -> dict[str, object]:
    """A table for JSON: as measured, and the goals."""
    record = asdict(table)
    for row in record["rows"]:
        row["bpp"] = bits_per_pixel(row["bytes"], table.pixels)
    record["goals"] = [asdict(goal) for goal in table.goals()]
    return record


def _percent(value: float, reference: float) -> float:
    """By how much a value is above another."""
    return (value / reference - 1) * 100


def _speed(ms: float | None, symbols: float) -> str:
    if ms is None:
        return f"{'-':>13}{'-':>9}"
    return f"{symbols / 1e3 / ms:13.2f}{ms:9.2f}"


def _verdict(goal: Goal) -> str:
    return "reached" if goal.met else "missed"


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--qualities", nargs="+", choices=QUALITIES, default=list(QUALITIES))
    parser.add_argument("--limit", type=_positive, help="only the first pictures of each folder")
    parser.add_argument("--rounds", type=_positive, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    args = parser.parse_args(argv)
    records = []
    try:
        for quality in args.qualities:
            for folder in args.folders:
                table = table_of(quality, folder, args.limit, args.rounds)
                print(text_of(table), end="\n\n", flush=True)
                records.append(record_of(table))
                if args.json is not None:
                    args.json.write_text(json.dumps(records, indent=1) + "\n")
    except (BenchmarkError, EdgecompError) as error:
        print(f"coders: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
