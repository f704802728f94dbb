"""Canonical Huffman codes of small integers: int8 weights, in numpy.

Codes are canonical (Schwartz and Kallick, 1964): the lengths alone tell them. Lengths are limited
by package-merge (Larmore and Hirschberg, "A fast algorithm for optimal length-limited Huffman
codes", 1990), which gives Huffman's own lengths wherever those are within the limit.

Coded symbols, with nothing after them; the number of symbols is told to the decoder:

====================== ==========================================================
2 bytes                smallest symbol, little-endian, two's complement
1 byte                 largest less smallest symbol, at most 255
5 bits a symbol        code length of each from smallest to largest, 0 if absent;
                       zero bits up to the next byte; no table for a single value
codes                  one a symbol, from the highest bit of each byte on;
                       zero bits up to the next byte
====================== ==========================================================
"""

from __future__ import annotations

import numpy as np

MAX_LENGTH = 24  # bits of a code; 5 bits hold it
MAX_SPAN = 256  # values from the smallest symbol to the largest
_HEADER = 3
_LENGTH_BITS = 5


class HuffmanError(ValueError):
    """Bytes that are no coded symbols of the count asked for."""


def code_lengths(counts: np.ndarray, limit: int = MAX_LENGTH) -> np.ndarray:
    """Lengths of an optimal prefix code.

    Args:
        counts: how often each symbol occurs, integers [n]; at least two are above 0.
        limit: the greatest length allowed.

    Returns:
        int64 [n], bits of each symbol's code; 0 for symbols that do not occur.

    Raises:
        ValueError: fewer than two symbols, or more than codes of ``limit`` bits can tell apart.
    """
    used = np.flatnonzero(counts)
    if not 2 <= len(used) <= 2**limit:
        raise ValueError(f"{len(used)} symbols cannot have codes of at most {limit} bits")
    # A coin of each symbol at every length; a package is two of the next longer length, and its
    # second part says how often each symbol is in it.
    unit = np.eye(len(used), dtype=np.int64)
    coins = [(int(counts[symbol]), row) for symbol, row in zip(used, unit, strict=True)]
    row: list[tuple[int, np.ndarray]] = []
    for _ in range(limit):
        packages = [(a[0] + b[0], a[1] + b[1]) for a, b in zip(row[::2], row[1::2], strict=False)]
        row = sorted(coins + packages, key=lambda coin: coin[0])
    lengths = np.zeros(len(counts), np.int64)
    lengths[used] = np.sum([contents for _, contents in row[: 2 * len(used) - 2]], axis=0)
    return lengths


def encode(symbols: np.ndarray, limit: int = MAX_LENGTH) -> bytes:
    """Code integers of any shape, in C order.

    Args:
        symbols: integers within int16, less than ``MAX_SPAN`` apart; at least one.
        limit: the greatest code length, at most ``MAX_LENGTH``.

    Raises:
        ValueError: no symbols, or ones too far apart.
    """
    values = np.asarray(symbols).reshape(-1).astype(np.int64)
    if not values.size:
        raise ValueError("no symbols to code")
    low, high = int(values.min()), int(values.max())
    if high - low >= MAX_SPAN or low < -(2**15) or high >= 2**15:
        raise ValueError(f"symbols from {low} to {high} are too large or too far apart")
    header = low.to_bytes(2, "little", signed=True) + bytes([high - low])
    if low == high:
        return header
    counts = np.bincount(values - low)
    lengths = code_lengths(counts, min(limit, MAX_LENGTH))
    order, starts = _canonical(lengths)
    codes = np.zeros(len(lengths), np.int64)
    codes[order] = starts >> (MAX_LENGTH - lengths[order])
    return header + _pack_table(lengths) + _pack_codes(values - low, codes, lengths)


def decode(data: bytes, count: int) -> np.ndarray:
    """Restore coded symbols.

    Args:
        data: what `encode` gave.
        count: number of symbols.

    Returns:
        int16 [count].

    Raises:
        HuffmanError: ``data`` is damaged, too short or too long.
    """
    if len(data) < _HEADER or count < 1:
        raise HuffmanError("coded symbols are cut short")
    low, span = int.from_bytes(data[:2], "little", signed=True), data[2] + 1
    if low + span > 2**15:
        raise HuffmanError("a symbol outside 16 bits")
    if span == 1:
        if len(data) != _HEADER:
            raise HuffmanError("bytes after the coded symbols")
        return np.full(count, low, np.int16)
    body = _HEADER + _table_bytes(span)
    if len(data) < body:
        raise HuffmanError("the code table is cut short")
    lengths = _unpack_table(data[_HEADER:body], span)
    return (_unpack_codes(data[body:], lengths, count) + low).astype(np.int16)


def table_bytes(data: bytes) -> int:
    """How many of the bytes that `encode` gave are header and code table, not codes."""
    return _HEADER if len(data) == _HEADER else _HEADER + _table_bytes(data[2] + 1)


def entropy(symbols: np.ndarray) -> float:
    """Bits a symbol of the best code that knows the frequencies alone."""
    _, counts = np.unique(symbols, return_counts=True)
    shares = counts / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def _canonical(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Symbols in the order of their codes, and the codes in that order with zero bits up to
    ``MAX_LENGTH``. They are then ascending; each begins where the one before it ends."""
    used = np.flatnonzero(lengths)
    order = used[np.argsort(lengths[used], kind="stable")]
    widths = 1 << (MAX_LENGTH - lengths[order])
    return order, np.cumsum(widths) - widths


def _table_bytes(span: int) -> int:
    return -(-span * _LENGTH_BITS // 8)


def _pack_table(lengths: np.ndarray) -> bytes:
    shifts = np.arange(_LENGTH_BITS)[::-1]
    bits = lengths[:, None] >> shifts & 1
    return np.packbits(bits.astype(np.uint8)).tobytes()


def _unpack_table(data: bytes, span: int) -> np.ndarray:
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    table, rest = bits[: span * _LENGTH_BITS], bits[span * _LENGTH_BITS :]
    lengths = table.reshape(span, _LENGTH_BITS) @ (1 << np.arange(_LENGTH_BITS)[::-1])
    used = lengths[lengths > 0]
    if rest.any() or not lengths[0] or not lengths[-1] or lengths.max() > MAX_LENGTH:
        raise HuffmanError("the code table is damaged")
    if (1 << (MAX_LENGTH - used)).sum() != 1 << MAX_LENGTH:
        raise HuffmanError("the code table is damaged: not a complete prefix code")
    return lengths


def _pack_codes(values: np.ndarray, codes: np.ndarray, lengths: np.ndarray) -> bytes:
    code, length = codes[values], lengths[values]
    ends = np.cumsum(length)
    bits = np.zeros(ends[-1], np.uint8)
    for back in range(int(length.max())):  # the last bit of every code, the one before it ...
        reached = length > back
        bits[ends[reached] - 1 - back] = code[reached] >> back & 1
    return np.packbits(bits).tobytes()


def _unpack_codes(data: bytes, lengths: np.ndarray, count: int) -> np.ndarray:
    """Symbols, counted from the smallest. What code would begin at each bit is found for all bits
    at once; only the walk from code to code is a loop."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    windows = np.zeros(len(bits), np.int64)
    padded = np.concatenate([bits, np.zeros(MAX_LENGTH, np.uint8)])
    for i in range(int(lengths.max())):
        windows += padded[i : i + len(bits)].astype(np.int64) << (MAX_LENGTH - 1 - i)
    order, starts = _canonical(lengths)
    found = order[np.searchsorted(starts, windows, side="right") - 1]
    steps = lengths[found].tolist()
    places, place = [], 0
    for _ in range(count):
        if place >= len(bits):
            raise HuffmanError("coded symbols are cut short")
        places.append(place)
        place += steps[place]
    if place > len(bits) or len(bits) - place >= 8 or bits[place:].any():
        raise HuffmanError("coded symbols are cut short, damaged or too long")
    return found[places]
