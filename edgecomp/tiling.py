"""Rectangles: the tiles of a codestream, and the parts of a picture that networks see.

Tiles divide a picture's symbols; each is coded by itself. Parts divide the work of the networks:
each is given with a halo of neighbouring positions, as wide as the network sees, so that what comes
out is what the whole picture would have given. Neither knows of the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from edgecomp.constants import MAX_TILE_SIDE

# Latent positions, halo included, that a network is given at once: one and a half times a Kodak
# picture. Larger parts take more memory and are no quicker, since what they save of halo the caches
# lose; smaller ones compute more halo (docs/performance.md).
_PART_POSITIONS: Final = 9_500
# But a part is this many times as long as its halo: of a network that sees far, most would be halo.
_HALOS_PER_SIDE: Final = 8


@dataclass(frozen=True, slots=True)
class Rect:
    """Rows ``top`` to ``bottom`` and columns ``left`` to ``right``, the last two not included."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.bottom - self.top

    @property
    def rows(self) -> slice:
        """The rows as a slice."""
        return slice(self.top, self.bottom)

    @property
    def columns(self) -> slice:
        """The columns as a slice."""
        return slice(self.left, self.right)

    def scaled(self, factor: int) -> Rect:
        """Positions as pixels: every side times ``factor``."""
        return Rect(*(factor * side for side in (self.left, self.top, self.right, self.bottom)))

    def positions(self, stride: int) -> Rect:
        """Pixels as positions: the smallest rectangle of positions that covers this."""
        return Rect(
            self.left // stride,
            self.top // stride,
            -(-self.right // stride),
            -(-self.bottom // stride),
        )

    def grown(self, by: int) -> Rect:
        """Larger by ``by`` on every side."""
        return Rect(self.left - by, self.top - by, self.right + by, self.bottom + by)

    def within(self, other: Rect) -> Rect:
        """What both have; not ``is_empty`` where they meet."""
        return Rect(
            max(self.left, other.left),
            max(self.top, other.top),
            min(self.right, other.right),
            min(self.bottom, other.bottom),
        )

    @property
    def is_empty(self) -> bool:
        """Whether nothing is in it."""
        return self.width <= 0 or self.height <= 0

    def seen_from(self, other: Rect) -> Rect:
        """The same place, counted from the top left corner of ``other``."""
        return Rect(
            self.left - other.left,
            self.top - other.top,
            self.right - other.left,
            self.bottom - other.top,
        )


def tile_size(width: int, height: int, stride: int) -> tuple[int, int] | None:
    """Width and height of the tiles that a picture is coded in, all in pixels; None for one tile.

    No tile is longer than ``MAX_TILE_SIDE``, and those of a picture are as equal as the stride
    allows, so that none is a sliver.
    """
    if width <= MAX_TILE_SIDE and height <= MAX_TILE_SIDE:
        return None
    return _tile_side(width, stride), _tile_side(height, stride)


def _tile_side(side: int, stride: int) -> int:
    longest = max(1, MAX_TILE_SIDE // stride)
    positions = -(-side // stride)
    count = -(-positions // longest)
    return stride * -(-positions // count)


def tile_rects(
    width: int, height: int, tile_width: int | None, tile_height: int | None, stride: int
) -> tuple[Rect, ...]:
    """The latent positions of each tile, row by row; arguments in pixels, None for one tile."""
    whole = Rect(0, 0, width, height)
    step_x, step_y = tile_width or width, tile_height or height
    return tuple(
        Rect(x, y, x + step_x, y + step_y).within(whole).positions(stride)
        for y in range(0, height, step_y)
        for x in range(0, width, step_x)
    )


def parts(rect: Rect, halo: int | None) -> tuple[Rect, ...]:
    """Parts of a rectangle of positions for a network to see one at a time, row by row.

    Args:
        rect: what is wanted.
        halo: positions that a part needs around it; None where a network must see all at once.
    """
    if halo is None:
        return (rect,)
    limit = max(_PART_POSITIONS, (_HALOS_PER_SIDE * halo) ** 2)
    if rect.width * rect.height <= limit:
        return (rect,)
    columns, rows = _cheapest_grid(rect, halo, limit)
    xs = [rect.left + rect.width * i // columns for i in range(columns + 1)]
    ys = [rect.top + rect.height * i // rows for i in range(rows + 1)]
    return tuple(
        Rect(left, top, right, bottom)
        for top, bottom in pairwise(ys)
        for left, right in pairwise(xs)
    )


def _cheapest_grid(rect: Rect, halo: int, limit: int) -> tuple[int, int]:
    """Columns and rows of equal parts of at most ``limit`` positions, halo included, such that the
    fewest are computed in all."""
    best: tuple[int, int, int] | None = None
    for columns in range(1, rect.width + 1):
        width = -(-rect.width // columns) + 2 * halo
        if best is not None and columns * width >= best[0] // rect.height:
            break  # more columns compute more, however few rows there are
        height = max(1, limit // width - 2 * halo)
        rows = -(-rect.height // height)
        cost = columns * width * (rect.height + 2 * halo * rows)
        if best is None or cost < best[0]:
            best = cost, columns, rows
    assert best is not None
    return best[1], best[2]
