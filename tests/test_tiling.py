"""Rectangles: tiles and parts cover everything once, and fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecomp.constants import MAX_TILE_SIDE
from edgecomp.tiling import Rect, parts, tile_rects, tile_size

LIMIT = 9_500


def covered(rects: tuple[Rect, ...], whole: Rect) -> np.ndarray:
    """How often each position of ``whole`` is in one of the rectangles."""
    count = np.zeros((whole.height, whole.width), int)
    for rect in rects:
        inside = rect.seen_from(whole)
        count[inside.rows, inside.columns] += 1
    return count


@given(
    width=st.integers(1, 700),
    height=st.integers(1, 700),
    tile_width=st.none() | st.integers(1, 20).map(lambda n: 8 * n),
    tile_height=st.none() | st.integers(1, 20).map(lambda n: 8 * n),
)
def test_tiles_cover_every_position_once(
    width: int, height: int, tile_width: int | None, tile_height: int | None
) -> None:
    rects = tile_rects(width, height, tile_width, tile_height, 8)
    whole = Rect(0, 0, width, height).positions(8)
    assert (covered(rects, whole) == 1).all()
    assert sorted(rects, key=lambda rect: (rect.top, rect.left)) == list(rects)


@given(
    left=st.integers(0, 9),
    top=st.integers(0, 9),
    width=st.integers(1, 600),
    height=st.integers(1, 600),
    halo=st.integers(0, 12),
)
def test_parts_cover_every_position_once_and_fit(
    left: int, top: int, width: int, height: int, halo: int
) -> None:
    rect = Rect(left, top, left + width, top + height)
    pieces = parts(rect, halo)
    assert (covered(pieces, rect) == 1).all()
    assert sorted(pieces, key=lambda piece: (piece.top, piece.left)) == list(pieces)
    for piece in pieces:
        seen = piece.grown(halo).within(rect)
        assert seen.width * seen.height <= LIMIT


def test_parts_of_a_network_that_sees_far_are_not_mostly_halo() -> None:
    computed = sum(p.grown(20).width * p.grown(20).height for p in parts(Rect(0, 0, 500, 500), 20))
    assert computed < 2.2 * 500 * 500


def test_what_a_network_must_see_whole_is_one_part() -> None:
    whole = Rect(0, 0, 4000, 4000)
    assert parts(whole, None) == (whole,)


def test_a_picture_of_kodak_is_one_part_and_one_tile() -> None:
    kodak = Rect(0, 0, 96, 64)
    assert parts(kodak, 6) == (kodak,)
    assert tile_size(768, 512, 8) is None
    assert tile_size(MAX_TILE_SIDE, MAX_TILE_SIDE, 8) is None


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(4000, 3000, (2000, 1504)), (2049, 10, (1032, 16)), (10_000, 10_000, (2000, 2000))],
)
def test_tiles_of_large_pictures_are_nearly_equal(
    width: int, height: int, expected: tuple[int, int]
) -> None:
    assert tile_size(width, height, 8) == expected


@given(
    width=st.integers(1, 1 << 20), height=st.integers(1, 300), stride=st.sampled_from([1, 8, 256])
)
def test_tiles_fit_the_stride_and_the_limit(width: int, height: int, stride: int) -> None:
    size = tile_size(width, height, stride)
    assert (size is None) == (width <= MAX_TILE_SIDE)
    if size is not None:
        assert max(size) <= MAX_TILE_SIDE
        assert size[0] % stride == size[1] % stride == 0
        assert size[0] >= MAX_TILE_SIDE // 2 - stride


def test_rectangles_of_pixels_and_positions() -> None:
    box = Rect(7, 8, 17, 33)
    assert (box.width, box.height) == (10, 25)
    assert box.positions(8) == Rect(0, 1, 3, 5)
    assert Rect(0, 1, 3, 5).scaled(8) == Rect(0, 8, 24, 40)
    assert box.grown(2) == Rect(5, 6, 19, 35)
    assert box.within(Rect(0, 0, 10, 10)) == Rect(7, 8, 10, 10)
    assert box.within(Rect(20, 0, 30, 10)).is_empty
    assert not box.is_empty
    assert box.seen_from(Rect(5, 5, 100, 100)) == Rect(2, 3, 12, 28)
