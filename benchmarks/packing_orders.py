"""Measure in which order symbols should be packed for LZMA.

    python benchmarks/packing_orders.py --latents latents.npz

The file holds integer latents of pictures, each an array (channels, rows, columns); one position
stands for 64 pixels. Every row of the tables is exact bytes, of an order that a decoder could undo,
through the raw LZMA2 of the coder. The native layouts are checked to restore the symbols. The other
rows called "sorted" are a numpy model of the layout of native/sorted_model.h, which show what each
of its parts is worth.
"""

from __future__ import annotations

import argparse
import lzma
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgecomp import native

PIXELS = 64
Array = NDArray[np.int64]
Order = Callable[[Array], bytes]
SORTED_FILTER = {"preset": 0 | lzma.PRESET_EXTREME, "lc": 0, "lp": 0, "pb": 0}


def squeeze(data: bytes, **options: int) -> int:
    """Bytes of a raw LZMA2 stream."""
    chain = [{"id": lzma.FILTER_LZMA2, **options}]
    return len(lzma.compress(data, format=lzma.FORMAT_RAW, filters=chain))


def bits(flags: Array) -> bytes:
    return np.packbits(flags.astype(bool).ravel(), bitorder="little").tobytes()


def fold(v: Array) -> Array:
    """0, -1, 1, -2, 2 ... as 0, 1, 2, 3, 4 ..."""
    return np.where(v < 0, -2 * v - 1, 2 * v)


def whole_bytes(v: Array) -> bytes:
    return (v & 255).astype(np.uint8).tobytes()


def by_energy(v: Array) -> Array:
    return v[np.argsort(-np.abs(v).sum((1, 2)), kind="stable")]


def snake(v: Array) -> Array:
    v = v.copy()
    v[:, 1::2] = v[:, 1::2, ::-1]
    return v


def bit_planes(v: Array) -> bytes:
    return b"".join(bits(fold(v) >> plane & 1) for plane in range(8))


def channel_alphabets(v: Array) -> bytes:
    """Each channel in base-b digits of its own, b the size of its range."""
    head, body = bytearray(), b""
    for channel in v:
        low, base = int(channel.min()), int(np.ptp(channel)) + 1
        head += bytes([low & 255, base & 255])
        body += b"" if base == 1 else digits(channel.ravel() - low, base)
    return bytes(head) + body


def digits(values: Array, base: int) -> bytes:
    """Little-endian base-b digits, as many as fit into each byte."""
    count = max(k for k in range(1, 9) if base**k <= 256)
    padded = np.concatenate([values, np.zeros(-len(values) % count, int)]).reshape(-1, count)
    return (padded * base ** np.arange(count)).sum(1).astype(np.uint8).tobytes()


def layered(v: Array) -> bytes:
    """A plane of zero flags, the signs of the others, then a plane of flags for each magnitude."""
    values = v.ravel()
    rest = np.abs(values)[values != 0]
    out = [bits(values != 0), bits(values[values != 0] < 0)]
    for k in range(1, 15):
        out.append(bits(rest > k))
        rest = rest[rest > k]
    return b"".join(out) + rest.astype(np.uint8).tobytes()


def shifted(a: Array, down: int, right: int) -> Array:
    """The neighbour `down` rows above and `right` columns to the left; 0 outside."""
    _, height, width = a.shape
    out = np.zeros_like(a)
    if down < height and abs(right) < width:
        to = slice(max(right, 0), width + min(right, 0))
        source = slice(max(-right, 0), width - max(right, 0))
        out[:, down:, to] = a[:, : height - down, source]
    return out


def expected(m: Array, neighbours: bool, activity: bool) -> NDArray[np.float64]:
    """The magnitude that native/sorted_model.h expects of each symbol, in floating point."""
    means = m.mean((1, 2))[:, None, None]
    usual = np.broadcast_to(means, m.shape).copy()
    if activity:
        level = np.ones(m.shape[1:])
        for c in range(len(m)):
            usual[c] *= level
            level += (m[c] / (means[c] + 0.05) - level) / 8
    if not neighbours:
        return usual
    near = shifted(m, 0, 1) + shifted(m, 1, 0)
    far = shifted(m, 0, 2) + shifted(m, 2, 0) + shifted(m, 1, 1) + shifted(m, 1, -1)
    return (3 * near + far + 11 * usual) / 16


def run_lengths(flags: Array) -> bytes:
    out = bytearray()
    for run in np.diff(np.concatenate([[-1], np.flatnonzero(flags)])) - 1:
        out += bytes([255]) * (int(run) // 255) + bytes([int(run) % 255])
    return bytes(out)


def sorted_model(
    walk: tuple[int, int, int] = (0, 1, 2),
    neighbours: bool = True,
    activity: bool = True,
    sign_classes: bool = True,
    runs: int = 12,
) -> Order:
    """A numpy model of the layout of native/sorted_model.h, with parts of it left out."""

    def order(v: Array) -> bytes:
        m, sign = np.abs(v), np.sign(v)
        octaves = np.log2(expected(m, neighbours, activity) + 1 / 32) + 5
        q = np.clip(octaves * 4, 0, 47).astype(np.int64)
        beside = 3 * shifted(sign, 0, 1) + shifted(sign, 1, 0) + 4
        if not sign_classes:
            beside[:] = 0
        m, q, beside, sign = (a.transpose(walk).ravel() for a in (m, q, beside, sign))
        flags = [m[q == c] > 0 for c in range(48)]
        streams = [run_lengths(f) if c < runs else bits(f) for c, f in enumerate(flags)]
        streams += [bits(sign[(m > 0) & (beside == c)] < 0) for c in range(9)]
        for c in range(24):
            rest = m[(m > 0) & (q // 2 == c)]
            # Unary: m - 1 ones and, below 15, a zero; the order of the symbols is kept.
            ends = np.cumsum(np.minimum(rest, 15) - (rest >= 15))
            more = np.ones(ends[-1] if len(ends) else 0, bool)
            more[ends[rest < 15] - 1] = False
            streams.append(bits(more))
        streams.append((m[m >= 15] - 15).astype(np.uint8).tobytes())
        lengths = b"".join(len(s).to_bytes(3, "little") for s in streams)
        scales = (8 * np.log2(np.abs(v).mean((1, 2)) + 1e-3) + 80).astype(np.uint8).tobytes()
        return scales + lengths + b"".join(streams)

    return order


def native_order(levels: int, zero: int, layout: native.Layout) -> Order:
    def order(v: Array) -> bytes:
        symbols = (v + zero).astype(np.uint8)
        packed = native.pack(symbols, levels=levels, zero=zero, layout=layout)
        restored = native.unpack(packed, shape=symbols.shape, levels=levels, zero=zero)
        assert np.array_equal(restored, symbols)
        return packed

    return order


def orders(levels: int, zero: int) -> Iterable[tuple[str, Order]]:
    yield "bytes, position by position", lambda v: whole_bytes(v.transpose(1, 2, 0))
    yield "bytes, rows of all channels", lambda v: whole_bytes(v.transpose(1, 0, 2))
    yield "bytes, channel by channel", whole_bytes
    yield "bytes, channels by energy", lambda v: whole_bytes(by_energy(v))
    yield "bytes, channels, snake rows", lambda v: whole_bytes(snake(v))
    yield "bytes, folded around zero", lambda v: whole_bytes(fold(v))
    if levels < 256:
        yield (
            "digits, position by position",
            lambda v: digits(v.transpose(1, 2, 0).ravel() + zero, levels),
        )
    yield (
        "digits, channel by channel (native, dense)",
        native_order(levels, zero, native.Layout.DENSE),
    )
    yield "digits in an alphabet per channel", channel_alphabets
    yield "bit planes", bit_planes
    yield "zero flags, signs, magnitude flags", layered
    yield "the same, channels by energy", lambda v: layered(by_energy(v))
    yield "sorted by channel mean only", sorted_model(neighbours=False, activity=False)
    yield "sorted by neighbours and mean", sorted_model(activity=False)
    yield "sorted by activity and mean", sorted_model(neighbours=False)
    yield "sorted, position by position", sorted_model(walk=(1, 2, 0))
    yield "sorted, rows of all channels", sorted_model(walk=(1, 0, 2))
    yield "sorted, signs not sorted", sorted_model(sign_classes=False)
    yield "sorted, no run lengths", sorted_model(runs=0)
    yield "sorted", sorted_model()
    yield "sorted (native)", native_order(levels, zero, native.Layout.AUTO)


def table_of_orders(volumes: list[Array], levels: int, zero: int) -> None:
    pixels = sum(v[0].size for v in volumes) * PIXELS
    print(f"{levels} levels{'':34s} packed   lc=0   lc=3   lc=4  bits per pixel; ms to squeeze")
    for name, order in orders(levels, zero):
        packed = [order(v) for v in volumes]
        start = time.process_time()
        sizes = [sum(squeeze(p, **SORTED_FILTER) for p in packed)]
        spent = (time.process_time() - start) * 1e3 / len(volumes)
        for lc in (3, 4):
            sizes.append(sum(squeeze(p, **{**SORTED_FILTER, "lc": lc}) for p in packed))
        columns = "  ".join(f"{size * 8 / pixels:.3f}" for size in sizes)
        raw = sum(map(len, packed)) * 8 / pixels
        print(f"{name:44s} {raw:6.3f}  {columns}  {spent:6.1f}")


def table_of_presets(volumes: list[Array], zero: int) -> None:
    pixels = sum(v[0].size for v in volumes) * PIXELS
    pack = native_order(256, zero, native.Layout.AUTO)
    packed = [pack(v) for v in volumes]
    print("\nsorted (native), 256 levels, by LZMA preset: bits per pixel, ms")
    for preset in range(10):
        for extreme in (0, lzma.PRESET_EXTREME):
            start = time.process_time()
            size = sum(squeeze(p, preset=preset | extreme, lc=0, lp=0, pb=0) for p in packed)
            spent = (time.process_time() - start) * 1e3 / len(volumes)
            print(f"{preset}{'e' if extreme else ' '}  {size * 8 / pixels:.4f}  {spent:6.1f}")


def table_of_maps(volumes: list[Array]) -> None:
    """Importance maps made of the latents: how many of 32 channels a position would need."""
    pixels = sum(v[0].size for v in volumes) * PIXELS
    plain = predicted = 0
    for v in volumes:
        energy = np.log2(1 + np.abs(v).sum(0)) * 4
        counts = np.clip(energy, 0, 32).astype(np.uint8)
        residual = native.map_residual(counts, 33)
        plain += squeeze(native.pack(counts[None], levels=33, zero=0), **SORTED_FILTER)
        predicted += squeeze(native.pack(residual[None], levels=33, zero=16), **SORTED_FILTER)
    print("\nimportance maps (33 values), bits per pixel")
    print(f"as they are {plain * 8 / pixels:.4f}, predicted {predicted * 8 / pixels:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure packing orders for LZMA.")
    parser.add_argument("--latents", type=Path, required=True, help="an .npz of integer latents")
    parser.add_argument("--every", type=int, default=1, help="use every n-th picture")
    args = parser.parse_args()
    with np.load(args.latents) as stored:
        volumes = [stored[name].astype(np.int64) for name in list(stored)[:: args.every]]
    table_of_orders(volumes, 256, 128)
    print()
    table_of_orders([np.clip(v[:32], -2, 3) for v in volumes], 6, 2)
    table_of_presets(volumes, 128)
    table_of_maps(volumes)


if __name__ == "__main__":
    main()
