"""A second reader and writer of the context code, written from docs/format-context.md alone.

Plain, slow Python that follows the page step by step and shares nothing with the C library. Sums
are numpy's int64 and their bounds are asserted, so what would overflow 32 bits is found.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Symbols = NDArray[np.uint8]
Shape = tuple[int, int, int]

ACTIVATION = 8191
SUM_LIMIT = 1 << 30
HEADER = struct.Struct("<4sBBBBBBHHHHH")


class InvalidError(ValueError):
    """The page calls the parameters or the code invalid; the message says which rule."""


def require(holds: object, rule: str) -> None:
    if not holds:
        raise InvalidError(rule)


@dataclass(frozen=True)
class Parameters:
    """Section 2: the header's fields and the arrays in their shapes, all int64."""

    reach: int
    shift0: int
    shift1: int
    scale_shift: int
    zero: int
    channels: int
    levels: int
    width: int
    hidden: int
    arrays: dict[str, Integers]

    @property
    def groups(self) -> int:
        return -(-self.channels // 8)

    def taps(self) -> list[tuple[int, int]]:
        """Section 3.2."""
        r = self.reach
        rows = [(dy, dx) for dy in range(-r, 0) for dx in range(-r, r + 1)]
        return rows + [(0, dx) for dx in range(-r, 0)]


def forms(
    reach: int, channels: int, width: int, hidden: int
) -> list[tuple[str, str, tuple[int, ...]]]:
    """Section 2.2: name, type and shape of each array."""
    taps, groups = 2 * reach * (reach + 1), -(-channels // 8)
    return [
        ("order", "<u1", (channels,)),
        ("mean_shift", "<u1", (8 * groups,)),
        ("feature", "<i2", (channels, 256)),
        ("bias0", "<i4", (width,)),
        ("rows", "<i2", (taps, channels, 2, width)),
        ("linear", "<i4", (taps, channels)),
        ("bias1", "<i4", (hidden,)),
        ("dense", "<i2", (width // 2, hidden, 2)),
        ("within", "<i2", (channels, 2, hidden)),
        ("out_bias", "<i4", (groups, 16)),
        ("out", "<i2", (groups, hidden // 2, 16, 2)),
        ("inverse", "<u4", (128,)),
        ("table", "<u4", (2049,)),
    ]


def read_parameters(data: bytes) -> Parameters:
    """Sections 2.1 and 2.2, then the rules of 2.3. Raises InvalidError."""
    require(len(data) >= HEADER.size, "header")
    fields = HEADER.unpack_from(data)
    magic, version, reach, shift0, shift1, scale_shift, zero, channels = fields[:8]
    levels, width, hidden, reserved = fields[8:]
    require(magic == b"ECCP" and version == 1 and reserved == 0, "header")
    require(1 <= reach <= 3 and max(shift0, shift1, scale_shift) <= 30, "header")
    require(1 <= channels <= 256 and 2 <= levels <= 256 and zero < levels, "header")
    for size in (width, hidden):
        require(32 <= size <= 512 and size % 32 == 0, "header")
    at, arrays = HEADER.size, {}
    for name, kind, shape in forms(reach, channels, width, hidden):
        count = int(np.prod(shape))
        end = at + count * int(kind[2])
        require(end <= len(data), "length")
        arrays[name] = np.frombuffer(data[at:end], kind).astype(np.int64).reshape(shape)
        at = end
    require(at == len(data), "length")
    found = Parameters(
        reach, shift0, shift1, scale_shift, zero, channels, levels, width, hidden, arrays
    )
    check(found)
    return found


def check(p: Parameters) -> None:
    """Section 2.3."""
    a = p.arrays
    require(sorted(a["order"].tolist()) == list(range(p.channels)), "order")
    require(a["mean_shift"].max() <= 30, "mean_shift")
    require((a["feature"][:, 0] == 0).all() and a["feature"].min() >= 0, "feature")
    require(a["inverse"].min() >= 1 and a["inverse"].max() <= 1 << 24, "inverse")
    require((np.diff(a["table"]) >= 0).all(), "table")
    require(a["table"].max() <= (1 << 24) - p.levels, "table")
    f = a["feature"].max(1)
    first = np.abs(a["bias0"]) + np.einsum("p,tpj->j", f, np.abs(a["rows"]).max(2))
    require(first.max() <= SUM_LIMIT, "first sum")
    second = np.abs(a["bias1"]) + ACTIVATION * np.abs(a["dense"]).sum((0, 2))
    second = second + np.einsum("p,pj->j", f, np.abs(a["within"]).max(1))
    require(second.max() <= SUM_LIMIT, "second sum")
    third = np.abs(a["out_bias"]) + ACTIVATION * np.abs(a["out"]).sum((1, 3))
    for place, most in enumerate(255 * np.abs(a["linear"]).sum(0)):
        third[place // 8, place % 8] += most
    require(third.max() <= SUM_LIMIT, "third sum")


class RangeDecoder:
    """Sections 1.1 and 1.2."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.words = 0
        self.r = (1 << 64) - 1
        self.q = self.word() << 32
        self.q |= self.word()

    def word(self) -> int:
        part = self.body[4 * self.words : 4 * self.words + 4]
        self.words += 1
        return int.from_bytes(part.ljust(4, b"\0"), "big")

    def symbol(self, f: list[int]) -> int:
        """One symbol by its cumulative function F(0) .. F(L)."""
        require(self.q < self.r, "no writer's code")
        u = self.r >> 24
        s = max(s for s in range(len(f) - 1) if u * f[s] <= self.q)
        self.q -= u * f[s]
        self.r = u * (f[s + 1] - f[s])
        if self.r < 1 << 32:
            self.r <<= 32
            self.q = (self.q << 32 | self.word()) % (1 << 64)
        return s

    def end(self) -> None:
        least, most = 4 * self.words - 8, 4 * self.words
        require(least <= len(self.body) <= most, "number of bytes")
        require(self.q < self.r, "no writer's code")
        require(len(self.body) == least or self.body[-1] != 0, "zero byte at the end")


class RangeEncoder:
    """Section 1.3, with the choice of the end that a writer should make.

    Args:
        symbols: the coded symbols in the order of section 3.1.
    """

    def __init__(self, symbols: Iterable[int]) -> None:
        self.symbols = iter(symbols)
        self.lower = 0  # of the interval: the written words and 64 bits more
        self.words = 0  # written
        self.r = (1 << 64) - 1
        self.spare = 0  # what the last symbol's division cut off, above the interval

    def symbol(self, f: list[int]) -> int:
        s = next(self.symbols)
        u = self.r >> 24
        self.spare = self.r - (u << 24)
        self.lower += u * f[s]
        self.r = u * (f[s + 1] - f[s])
        if self.r < 1 << 32:
            self.lower <<= 32
            self.spare <<= 32
            self.r <<= 32
            self.words += 1
        return s

    def end(self) -> bytes:
        for e in range(63, -1, -1):
            chosen = -(-self.lower >> e) << e
            if chosen <= self.lower + self.r - 1:
                break
        code = chosen.to_bytes(4 * self.words + 8, "big")
        return code[: 4 * self.words] + code[4 * self.words :].rstrip(b"\0")


def bounded(sums: Integers) -> Integers:
    assert np.abs(sums).max(initial=0) <= SUM_LIMIT, "section 3.7 promises that this cannot be"
    return sums


def activation(sums: Integers, shift: int) -> Integers:
    return np.minimum(np.maximum(bounded(sums), 0) >> shift, ACTIVATION)


def pairs(weights: Integers) -> Integers:
    """(inputs / 2, outputs, 2) -> (inputs, outputs)."""
    return weights.transpose(0, 2, 1).reshape(-1, weights.shape[1])


def cumulative(p: Parameters, mean: int, inverse: int) -> list[int]:
    """Section 3.6: F(0) .. F(L)."""
    table = p.arrays["table"]
    f = [0]
    for s in range(1, p.levels):
        e = 32 * (2 * (s - p.zero) - 1) - mean
        f.append(int(table[min(max((e * inverse >> 16) + 1024, 0), 2048)]) + s)
    return [*f, 1 << 24]


def decode(body: bytes, p: Parameters, shape: Shape, counts: Symbols | None) -> Symbols:
    """Raises InvalidError for what section 1.2 refuses."""
    if 0 in shape:
        require(not body, "bytes of an empty volume")
        return np.zeros(shape, np.uint8)
    code = RangeDecoder(body)
    symbols = walk(code, p, shape, counts)
    code.end()
    return symbols


def encode(symbols: Symbols, p: Parameters, counts: Symbols | None) -> bytes:
    channels, height, width = shape = symbols.shape
    if 0 in shape:
        return b""
    order = p.arrays["order"].tolist()
    code = RangeEncoder(
        int(symbols[c, y, x])
        for y in range(height)
        for x in range(width)
        for c in order
        if counts is None or c < counts[y, x]
    )
    assert np.array_equal(walk(code, p, (channels, height, width), counts), symbols)
    return code.end()


def walk(
    code: RangeDecoder | RangeEncoder,
    p: Parameters,
    shape: Shape,
    counts: Symbols | None,
    trace: list[tuple[int, int]] | None = None,
) -> Symbols:
    """Section 3: the volume that a code's symbols make.

    Args:
        trace: receives mean and scale of each coded symbol.
    """
    channels, height, width = shape
    assert channels == p.channels
    a = p.arrays
    dense, out = pairs(a["dense"]), [pairs(group) for group in a["out"]]
    values = np.zeros((height, width, channels), np.int64)  # by place

    def known(y: int, x: int) -> list[tuple[int, int, int]]:
        """Place, feature and sign of the symbols that are not Z."""
        here = values[y, x]
        return [
            (place, int(a["feature"][place, abs(here[place])]), int(here[place] < 0))
            for place in np.flatnonzero(here)
        ]

    for y in range(height):
        for x in range(width):
            s0, linear = a["bias0"].copy(), np.zeros(8 * p.groups, np.int64)
            for t, (dy, dx) in enumerate(p.taps()):
                if y + dy < 0 or not 0 <= x + dx < width:
                    continue
                for place, feature, sign in known(y + dy, x + dx):
                    s0 += feature * a["rows"][t, place, sign]
                linear[:channels] += a["linear"][t] * values[y + dy, x + dx]
            a0 = activation(s0, p.shift0)
            s1 = a["bias1"] + a0 @ dense
            for g in range(p.groups):
                a1 = activation(s1, p.shift1)
                o = bounded(a["out_bias"][g] + a1 @ out[g])
                places = range(8 * g, min(8 * g + 8, channels))
                for k, place in enumerate(places):
                    if counts is not None and a["order"][place] >= counts[y, x]:
                        continue
                    total = int(bounded(o[k] + linear[place]))
                    mean = min(max(total >> int(a["mean_shift"][place]), -32767), 32767)
                    scale = min(max(int(o[8 + k]) >> p.scale_shift, 0), 127)
                    if trace is not None:
                        trace.append((mean, scale))
                    f = cumulative(p, mean, int(a["inverse"][scale]))
                    values[y, x, place] = code.symbol(f) - p.zero
                for place, feature, sign in known(y, x):
                    if place in places:
                        s1 += feature * a["within"][place, sign]
    symbols = np.empty(shape, np.uint8)
    for place in range(channels):
        symbols[a["order"][place]] = values[:, :, place] + p.zero
    return symbols
