"""export.huffman: round trips, optimality, the limit on lengths, damage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from export import huffman

SHAPES = nps.array_shapes(max_dims=4, max_side=9)


def skewed(values: int, count: int, share: float, seed: int = 3) -> np.ndarray:
    """int8 [count]: symbol k of ``values`` around 0 at about ``share`` ** k, each at least once."""
    weights = share ** np.arange(values)
    drawn = np.random.default_rng(seed).choice(values, count, p=weights / weights.sum())
    drawn[:values] = np.arange(values)
    return (drawn - values // 2).astype(np.int8)


def check_round_trip(symbols: np.ndarray, **options: int) -> bytes:
    coded = huffman.encode(symbols, **options)
    restored = huffman.decode(coded, symbols.size)
    assert restored.dtype == np.int16
    assert np.array_equal(restored, symbols.reshape(-1))
    return coded


@given(nps.arrays(np.int8, SHAPES))
def test_round_trip(symbols: np.ndarray) -> None:
    check_round_trip(symbols)


@given(nps.arrays(np.int8, SHAPES, elements=st.sampled_from([-64, 0, 1, 63])))
def test_round_trip_of_few_values(symbols: np.ndarray) -> None:
    check_round_trip(symbols)


@given(st.integers(-(2**15), 2**15 - 1), st.integers(1, 1000))
def test_one_value_takes_only_a_header(value: int, count: int) -> None:
    assert len(check_round_trip(np.full(count, value))) == 3


def test_two_values_take_a_bit_each() -> None:
    coded = check_round_trip(np.arange(800) % 2 * 5 - 2)
    assert huffman.table_bytes(coded) == 3 + 4  # six lengths of five bits
    assert len(coded) == huffman.table_bytes(coded) + 100


def test_all_values() -> None:
    even = np.tile(np.arange(-64, 65), 50)
    coded = check_round_trip(even)
    bits = 50 * (127 * 7 + 2 * 8)
    assert len(coded) - huffman.table_bytes(coded) == -(-bits // 8)
    check_round_trip(np.arange(-128, 128))
    check_round_trip(np.arange(256))


@pytest.mark.parametrize("share", [0.3, 0.7, 0.95, 1.0])
def test_close_to_entropy(share: float) -> None:
    symbols = skewed(129, 60000, share)
    coded = check_round_trip(symbols)
    bits = 8 * (len(coded) - huffman.table_bytes(coded)) / symbols.size
    assert huffman.entropy(symbols) <= bits < huffman.entropy(symbols) + 1


@given(nps.arrays(np.int64, st.integers(2, 40), elements=st.integers(0, 10**6)))
def test_lengths_are_those_of_huffman(counts: np.ndarray) -> None:
    """The same total as Huffman's own construction, of which merged weights are the cost."""
    weights = sorted(int(c) for c in counts if c)
    if len(weights) < 2:
        with pytest.raises(ValueError, match="symbols cannot have codes"):
            huffman.code_lengths(counts)
        return
    cost = 0
    while len(weights) > 1:
        both, weights = sum(weights[:2]), weights[2:]
        cost += both
        weights = sorted([*weights, both])
    lengths = huffman.code_lengths(counts, limit=48)
    assert (lengths * counts).sum() == cost
    assert np.array_equal(lengths > 0, counts > 0)


@pytest.mark.parametrize("limit", [5, 8, 24])
def test_limit_holds(limit: int) -> None:
    """Fibonacci numbers as counts give the longest codes there are."""
    counts = [1, 1]
    while len(counts) < 27:
        counts.append(counts[-1] + counts[-2])
    unlimited = huffman.code_lengths(np.array(counts), limit=40)
    assert unlimited.max() == 26
    lengths = huffman.code_lengths(np.array(counts), limit=limit)
    assert lengths.max() == limit
    assert sum(2.0**-lengths) == 1
    check_round_trip(np.repeat(np.arange(27), counts), limit=limit)


def test_refuses_what_it_cannot_code() -> None:
    with pytest.raises(ValueError, match="no symbols"):
        huffman.encode(np.zeros(0, np.int8))
    with pytest.raises(ValueError, match="too far apart"):
        huffman.encode(np.array([0, 256]))
    with pytest.raises(ValueError, match="5 symbols cannot have codes of at most 2 bits"):
        huffman.encode(np.arange(5), limit=2)


def changed(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + bytes([value]) + data[at + 1 :]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:2], "cut short"),
        (lambda data: data[:40], "table is cut short"),
        (lambda data: changed(data, 3, data[3] & 0x07), "table is damaged"),  # no first length
        (lambda data: changed(data, 3, data[3] | 0xF8), "table is damaged"),  # a length of 31
        (lambda data: changed(data, 20, data[20] ^ 0x40), "not a complete prefix code"),
        (lambda data: changed(data, 2, data[2] - 1), "table is damaged"),
        (lambda data: changed(data, 1, 0x7F), "outside 16 bits"),
        (lambda data: data[:-9], "cut short"),
        (lambda data: data + b"\0", "too long"),
        (lambda data: changed(data, len(data) - 1, data[-1] ^ 1), "damaged|cut short"),
    ],
)
def test_damage_is_rejected(change, message: str) -> None:  # type: ignore[no-untyped-def]
    symbols = skewed(129, 5003, 0.9)
    coded = huffman.encode(symbols)
    with pytest.raises(huffman.HuffmanError, match=message):
        huffman.decode(change(coded), symbols.size)


@given(st.binary(max_size=60), st.integers(0, 50))
def test_any_bytes_decode_or_are_rejected(data: bytes, count: int) -> None:
    try:
        symbols = huffman.decode(data, count)
    except huffman.HuffmanError:
        return
    assert symbols.shape == (count,)
