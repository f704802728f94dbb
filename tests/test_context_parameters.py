"""Section 2.3 of docs/format-context.md: which parameter files both readers take and refuse."""

from __future__ import annotations

import context_reference as reference
import numpy as np
import pytest
from context_parameters import changed, random_parameters, to_bytes

from edgecomp import native
from edgecomp.errors import CorruptDataError


def small(**more: int) -> reference.Parameters:
    form = {"channels": 9, "levels": 7, "zero": 3} | more
    return random_parameters(np.random.default_rng(0), **form)


def is_refused(data: bytes) -> bool:
    """By both readers, or by none."""
    try:
        reference.read_parameters(data)
        by_page = False
    except reference.InvalidError:
        by_page = True
    try:
        native.context_parameters(data)
        by_library = False
    except CorruptDataError:
        by_library = True
    assert by_page == by_library
    return by_library


@pytest.mark.parametrize(
    ("at", "values"),
    [
        (0, [0, 0x65]), (3, [0x51]), (4, [0, 2, 255]), (5, [0, 4, 255]), (6, [31, 255]),
        (7, [31, 255]), (8, [31, 255]), (9, [7, 255]), (12, [1, 3]), (13, [1, 2]),
        (14, [0, 31, 33]), (15, [1, 2, 3]), (16, [0, 16, 64]), (17, [2, 255]),
        (18, [1]), (19, [128]),
    ],
)  # fmt: skip
def test_header_fields_out_of_range_are_refused(at: int, values: list[int]) -> None:
    data = bytearray(to_bytes(small()))
    assert not is_refused(bytes(data))
    for value in values:
        other = data.copy()
        other[at] = value
        assert is_refused(bytes(other)), (at, value)


@pytest.mark.parametrize(
    "form",
    [
        {"channels": 0}, {"channels": 257}, {"levels": 1, "zero": 0}, {"levels": 257},
        {"width": 544}, {"hidden": 544}, {"width": 48}, {"hidden": 40}, {"reach": 4},
    ],
)  # fmt: skip
def test_whole_files_of_sizes_out_of_range_are_refused(form: dict[str, int]) -> None:
    """Not for their length, which is right."""
    assert is_refused(to_bytes(small(**form)))


@pytest.mark.parametrize(
    "form",
    [
        {"channels": 1}, {"channels": 256}, {"levels": 2, "zero": 1}, {"levels": 256, "zero": 255},
        {"width": 512}, {"hidden": 512, "channels": 2}, {"reach": 3},
    ],
)  # fmt: skip
def test_the_largest_and_smallest_sizes_are_read(form: dict[str, int]) -> None:
    p = small(**form)
    rows = p.arrays["rows"] // len(p.arrays["rows"]) // max(p.channels // 8, 1)
    dense = p.arrays["dense"] // (p.width // 32)
    assert not is_refused(to_bytes(changed(p, rows=rows, dense=dense)))


def test_other_lengths_are_refused() -> None:
    data = to_bytes(small())
    for other in (data[:-1], data + b"\0", data[:20], data[:19], data[:4], b"", data * 2):
        assert is_refused(other)


def test_orders_that_are_none_are_refused() -> None:
    for order in ([0, 1, 2, 3, 4, 5, 6, 7, 7], [1, 2, 3, 4, 5, 6, 7, 8, 9], [0] * 9):
        assert is_refused(to_bytes(changed(small(), order=np.array(order))))
    assert not is_refused(to_bytes(changed(small(), order=np.arange(9)[::-1])))


def one(name: str, at: tuple[int, ...], value: int, p: reference.Parameters | None = None) -> bytes:
    """A file in which one number of an array is another."""
    p = p or small()
    array = p.arrays[name].copy()
    array[at] = value
    return to_bytes(changed(p, **{name: array}))


@pytest.mark.parametrize(
    ("name", "at", "good", "bad"),
    [
        ("mean_shift", (0,), 30, 31),
        ("mean_shift", (15,), 30, 31),  # of a place without a channel
        ("feature", (8, 0), 0, 1),
        ("feature", (8, 0), 0, -1),
        ("feature", (0, 255), 0, -1),
        ("inverse", (0,), 1, 0),
        ("inverse", (127,), 1 << 24, (1 << 24) + 1),
        ("inverse", (127,), 1 << 24, (1 << 32) - 1),
        ("table", (2048,), (1 << 24) - 7, (1 << 24) - 6),
        ("table", (1024,), 8388604, 1 << 23),
        ("table", (0,), 0, 1 << 23),
    ],
)
def test_numbers_out_of_range_are_refused(
    name: str, at: tuple[int, ...], good: int, bad: int
) -> None:
    p = small()
    flat = changed(p, table=np.where(np.arange(2049) < 2048, 8388604, (1 << 24) - 7))
    flat.arrays["table"][:1024] = 0
    assert not is_refused(one(name, at, good, flat))
    assert is_refused(one(name, at, bad, flat))


def filled(**values: int) -> reference.Parameters:
    """All weights and biases 0 but these arrays, filled with one number; features all 1000."""
    p = small(channels=9)
    names = ("bias0", "rows", "linear", "bias1", "dense", "within", "out_bias", "out")
    arrays = {name: np.zeros_like(p.arrays[name]) + values.get(name, 0) for name in names}
    feature = np.full((9, 256), 1000)
    feature[:, 0] = 0
    return changed(p, feature=feature, **arrays)


# What is left of 2^30 for one bias, when the weights of a sum take the rest of it.
ROOM = {
    "bias0": (filled(rows=-10_000), 4 * 9 * 1000 * 10_000),
    "bias1": (filled(dense=-2000, within=20_000), 32 * 8191 * 2000 + 9 * 1000 * 20_000),
    "out_bias": (filled(out=2000, linear=-100_000), 32 * 8191 * 2000 + 4 * 255 * 100_000),
}


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("name", ROOM)
def test_sums_up_to_the_bound_and_none_above(name: str, sign: int) -> None:
    p, taken = ROOM[name]
    at = (0, 7) if name == "out_bias" else (31,)
    room = (1 << 30) - taken
    assert room > 0
    assert not is_refused(one(name, at, sign * room, p))
    assert is_refused(one(name, at, sign * (room + 1), p))


def test_places_without_a_channel_count_in_the_bounds() -> None:
    """Of nine channels, place 15 has none; scales have no linear weights."""
    p = filled(out=2000, linear=100_000)
    room = (1 << 30) - 32 * 8191 * 2000
    for at in ((1, 7), (0, 8)):
        assert not is_refused(one("out_bias", at, room, p))
        assert is_refused(one("out_bias", at, room + 1, p))


def test_one_of_both_signs_counts_in_the_bounds() -> None:
    p = filled(rows=10_000, bias0=(1 << 30) - 4 * 9 * 1000 * 10_000)
    assert not is_refused(one("rows", (3, 8, 0, 0), -9999, p))
    assert is_refused(one("rows", (3, 8, 0, 0), -10_001, p))
    assert is_refused(one("rows", (3, 8, 1, 0), 10_001, p))


def test_the_second_coder_notices_what_would_overflow() -> None:
    """Its assertion is worth something: beyond the bounds, it fails."""
    p = filled(bias0=(1 << 30) + 1)
    with pytest.raises(AssertionError, match="promises"):
        reference.encode(np.full((9, 1, 1), 3, np.uint8), p, None)
