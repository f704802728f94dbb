"""docs/format-symbols.md against the code: its vectors, and a second reader written from its text.

The reader here is plain, slow Python that follows the specification step by step and shares nothing
with the C library, so a change of either that the other does not follow is found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest
from common import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecomp import entropy, native
from edgecomp.varint import Cursor

DOCUMENT = (ROOT / "docs" / "format-symbols.md").read_text(encoding="utf-8")
EIGHTHS = (256, 279, 304, 332, 362, 395, 431, 470)


def vectors() -> list[dict[str, str]]:
    blocks = re.findall(r"```vector\n(.*?)```", DOCUMENT, re.S)
    lines = [re.sub(r"\n +", "", block).splitlines() for block in blocks]
    return [dict(line.split(" ", 1) for line in block) for block in lines]


def parsed(vector: dict[str, str]):
    """Shape, levels, zero, symbols, counts."""
    channels, height, width = (int(size) for size in vector["shape"].split())
    shape = (channels, height, width)
    symbols = np.frombuffer(bytes.fromhex(vector["symbols"]), np.uint8).reshape(shape)
    counts = None
    if "counts" in vector:
        counts = np.frombuffer(bytes.fromhex(vector["counts"]), np.uint8).reshape(shape[1:])
    return shape, int(vector["levels"]), int(vector["zero"]), symbols, counts


def bits(data: bytes) -> Iterator[int]:
    for byte in data:
        yield from (byte >> i & 1 for i in range(8))


def runs(data: bytes) -> Iterator[int]:
    for byte in data:
        yield from [0] * byte
        if byte < 255:
            yield 1


def read_sorted(body: bytes, shape, levels: int, zero: int, counts) -> list[list[list[int]]]:
    """Section 3, for valid input."""
    channels, height, width = shape
    cursor = Cursor(body, "body")
    scales = cursor.take(channels)
    lengths = [cursor.varint() for _ in range(82)]
    streams = [cursor.take(length) for length in lengths]
    assert cursor.remaining == 0
    readers = [runs(s) if i < 12 else bits(s) for i, s in enumerate(streams[:81])]
    rest = iter(streams[81])
    volume = [[[zero] * width for _ in range(height)] for _ in range(channels)]
    activity = [[4096] * width for _ in range(height)]
    for c, h in enumerate(scales):
        if h == 0:
            continue
        plane = volume[c]
        mean = EIGHTHS[h % 8] * 2 ** (h // 8) // 64
        factor = 4096 * 4096 // (mean + 205)

        def at(y: int, x: int, plane: list[list[int]] = plane) -> int:
            return plane[y][x] if y >= 0 and 0 <= x < width else zero

        for y in range(height):
            for x in range(width):
                if counts is not None and c >= counts[y][x]:
                    continue
                near = abs(at(y, x - 1) - zero) + abs(at(y - 1, x) - zero)
                far = sum(
                    abs(at(*p) - zero)
                    for p in ((y, x - 2), (y - 2, x), (y - 1, x - 1), (y - 1, x + 1))
                )
                t = (3 * near + far) * 4096 + 11 * (activity[y][x] * mean // 4096) + 2048
                e = t.bit_length() - 1
                q = min(4 * (e - 11) + t // 2 ** (e - 2) % 4, 47)
                g = sum(
                    weight * (1 + (s > zero) - (s < zero))
                    for weight, s in ((3, at(y, x - 1)), (1, at(y - 1, x)))
                )
                m = next(readers[q])
                if m:
                    below = zero == levels - 1
                    if 0 < zero < levels - 1:
                        below = next(readers[48 + g]) == 1
                    most = zero if below else levels - 1 - zero
                    while m < min(most, 15) and next(readers[57 + q // 2]):
                        m += 1
                    if m == 15 and most > 15:
                        m += next(rest)
                    plane[y][x] = zero - m if below else zero + m
                a = activity[y][x]
                activity[y][x] = a - a // 8 + m * factor // 8
    return volume


@pytest.mark.parametrize("vector", [v for v in vectors() if "packed" in v])
def test_packed_vectors(vector: dict[str, str]) -> None:
    shape, levels, zero, symbols, counts = parsed(vector)
    packed = bytes.fromhex(vector["packed"])
    restored = native.unpack(packed, shape=shape, levels=levels, zero=zero, counts=counts)
    assert np.array_equal(restored, symbols)
    # The specification lets a writer choose; this pins what this writer does.
    assert native.pack(symbols, levels=levels, zero=zero, counts=counts) == packed


@pytest.mark.parametrize("vector", [v for v in vectors() if "tile" in v])
def test_tile_vectors(vector: dict[str, str]) -> None:
    shape, levels, zero, symbols, counts = parsed(vector)
    restored, restored_counts = entropy.decode_tile(
        entropy.coder_by_name("lzma"),
        bytes.fromhex(vector["tile"]),
        shape=shape,
        levels=levels,
        zero=zero,
        importance_map=counts is not None,
    )
    assert np.array_equal(restored, symbols)
    assert (restored_counts is None) == (counts is None)
    assert counts is None or np.array_equal(restored_counts, counts)


def test_vectors_cover_the_layouts() -> None:
    found = {v["packed"][:2] for v in vectors() if "packed" in v}
    assert found == {"00", "01"}
    assert {"counts" in v for v in vectors() if "tile" in v} == {True, False}
    methods = {v["tile"][:2] for v in vectors() if "tile" in v and "counts" not in v}
    assert methods == {"01"}


@settings(max_examples=25)
@given(
    levels=st.sampled_from([2, 3, 6, 17, 40, 256]),
    side=st.sampled_from([0, 1, 2]),
    spread=st.sampled_from([0.2, 1, 12]),
    masked=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_second_reader(levels: int, side: int, spread: float, masked: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    zero = (0, levels // 2, levels - 1)[side]
    shape = (8, 11, 13)
    scales = spread * 0.7 ** np.arange(8)[:, None, None]
    symbols = np.clip(zero + np.rint(rng.laplace(0, 1, shape) * scales), 0, levels - 1)
    counts = None
    if masked:
        counts = rng.integers(0, 9, shape[1:]).astype(np.uint8)
        symbols = np.where(np.arange(8)[:, None, None] < counts, symbols, zero)
    symbols = symbols.astype(np.uint8)
    try:
        packed = native.pack(
            symbols, levels=levels, zero=zero, counts=counts, layout=native.Layout.SORTED
        )
    except ValueError:  # larger than dense
        return
    assert packed[0] == native.Layout.SORTED
    assert read_sorted(packed[1:], shape, levels, zero, counts) == symbols.tolist()
