"""Numbers of variable length and the bounded cursor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecomp.errors import CorruptDataError
from edgecomp.varint import Cursor, pack_varint


@given(st.integers(0, (1 << 63) - 1))
def test_round_trip(value: int) -> None:
    packed = pack_varint(value)
    cursor = Cursor(packed, "test")
    assert cursor.varint() == value
    assert cursor.remaining == 0
    assert len(packed) == max(1, -(-value.bit_length() // 7))


@pytest.mark.parametrize("value", [-1, 1 << 63])
def test_out_of_range(value: int) -> None:
    with pytest.raises(ValueError, match="out of range"):
        pack_varint(value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cut short"),
        (b"\x80", "cut short"),
        (b"\x80\x00", "not minimal"),
        (b"\xff" * 9 + b"\x01", "too long"),
    ],
)
def test_bad_numbers(data: bytes, message: str) -> None:
    with pytest.raises(CorruptDataError, match=message):
        Cursor(data, "test").varint()


@given(st.binary(max_size=12))
def test_any_bytes_give_a_minimal_number_or_a_clean_error(data: bytes) -> None:
    cursor = Cursor(data, "test")
    try:
        value = cursor.varint()
    except CorruptDataError:
        return
    assert data.startswith(pack_varint(value))
    assert cursor.offset == len(pack_varint(value))


def test_fixed_fields_and_the_end() -> None:
    cursor = Cursor(b"\x01\x02\xff\xff\xff\xff\xff\xff\xff\xff\x07", "test")
    assert cursor.uint(2) == 0x0201
    assert cursor.int64() == -1
    assert cursor.take(1) == b"\x07"
    with pytest.raises(CorruptDataError, match="the test is cut short"):
        cursor.take(1)
