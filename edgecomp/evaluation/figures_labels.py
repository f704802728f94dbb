"""Where labels go so that they cover neither each other nor what they name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places as near as can be to the wanted ones, in their order, at least ``gap`` apart.

    Those that would come closer form a block about their mean, and blocks that touch are joined, as
    in isotonic regression by pooling neighbours; then all are kept between ``low`` and ``high``,
    and where there is no room for that the gap is made smaller.

    Args:
        wanted: places along a line, in any order.
        gap: smallest distance of two.
        low, high: where the places must be.

    Returns:
        A place for each of ``wanted``, in the same order.
    """
    count = len(wanted)
    if count > 1:
        gap = min(gap, (high - low) / (count - 1))
    order = sorted(range(count), key=lambda index: (wanted[index], index))
    # Without their gaps, places must only not fall: pooling neighbours does that.
    blocks: list[tuple[float, int]] = []  # mean, members
    for rank, index in enumerate(order):
        mean, members = wanted[index] - rank * gap, 1
        while blocks and blocks[-1][0] > mean:
            other, more = blocks.pop()
            mean = (mean * members + other * more) / (members + more)
            members += more
        blocks.append((mean, members))
    means = [mean for mean, members in blocks for _ in range(members)]
    places = [0.0] * count
    for rank, index in enumerate(order):
        shifted = min(max(means[rank], low), high - (count - 1) * gap)
        places[index] = shifted + rank * gap
    return places


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, in points or pixels."""

    left: float
    bottom: float
    right: float
    top: float

    def overlap(self, other: Box) -> float:
        """Area that both cover."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(width, 0.0) * max(height, 0.0)

    def area(self) -> float:
        return (self.right - self.left) * (self.top - self.bottom)


@dataclass(frozen=True, slots=True)
class Labelled:
    """A disc and the size of the text that names it, all in the same unit."""

    x: float
    y: float
    radius: float
    width: float
    height: float


# Directions in which a label may leave its disc, best first, and at which distances from it.
_WAYS: Final = (
    (1, 0), (0, 1), (0, -1), (-1, 0), (0.7, 0.7), (0.7, -0.7), (-0.7, 0.7), (-0.7, -0.7),
    (0.4, 0.9), (-0.4, 0.9), (0.4, -0.9), (-0.4, -0.9),
)  # fmt: skip
_DISTANCES: Final = (2.5, 8.0, 16.0, 26.0, 38.0, 52.0)

_CLOSE: Final = 6.0  # distance of a text from its disc that needs no leader
_DOT: Final = 2.0


def place(discs: Sequence[Labelled], frame: Box) -> list[Box]:
    """A box for the text of each disc, beside it, within the frame, covering as little as possible.

    Greedy, largest discs last, since small ones have less room to give: each text takes the first
    place where it covers no disc, text or leader and its own leader crosses no text, or else the
    one where it covers least.
    """
    taken = [
        Box(disc.x - disc.radius, disc.y - disc.radius, disc.x + disc.radius, disc.y + disc.radius)
        for disc in discs
    ]
    boxes: dict[int, Box] = {}
    for index in sorted(range(len(discs)), key=lambda index: (discs[index].radius, index)):
        disc = discs[index]
        placed = list(boxes.values())
        costs = [
            _covered(box, taken, frame) + _crossed(_dots(disc, box), placed)
            for box in _candidates(disc)
        ]
        best = _candidates(disc)[costs.index(min(costs))]
        boxes[index] = best
        taken += [best, *_dots(disc, best)]
    return [boxes[index] for index in range(len(discs))]


def leader(disc: Labelled, box: Box) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Ends of a line from the rim of a disc to its text; None where the text is close."""
    near = (min(max(disc.x, box.left), box.right), min(max(disc.y, box.bottom), box.top))
    distance = math.dist((disc.x, disc.y), near)
    if distance <= disc.radius + _CLOSE:
        return None
    part = disc.radius / distance
    return (disc.x + part * (near[0] - disc.x), disc.y + part * (near[1] - disc.y)), near


def _dots(disc: Labelled, box: Box) -> list[Box]:
    """The leader as a row of small squares."""
    ends = leader(disc, box)
    if ends is None:
        return []
    (x, y), (to_x, to_y) = ends
    count = max(math.ceil(math.dist(*ends) / _DOT), 1)
    centres = [
        (x + part * (to_x - x), y + part * (to_y - y))
        for part in ((index + 0.5) / count for index in range(count))
    ]
    half = _DOT / 2
    return [Box(cx - half, cy - half, cx + half, cy + half) for cx, cy in centres]


def _crossed(dots: Sequence[Box], texts: Sequence[Box]) -> float:
    return sum(dot.overlap(text) for dot in dots for text in texts)


def _candidates(disc: Labelled) -> list[Box]:
    boxes = []
    for distance in _DISTANCES:
        reach = disc.radius + distance
        for across, up in _WAYS:
            # The text's nearest edge, or corner, is what is at that distance.
            x = disc.x + across * reach + (across if abs(across) > 0.5 else 0) * disc.width / 2
            y = disc.y + up * reach + (up if abs(up) > 0.5 else 0) * disc.height / 2
            if abs(across) == 0.7:
                x += 0.15 * disc.width * (1 if across > 0 else -1)
            boxes.append(
                Box(
                    x - disc.width / 2,
                    y - disc.height / 2,
                    x + disc.width / 2,
                    y + disc.height / 2,
                )
            )
    return boxes


def _covered(box: Box, taken: Sequence[Box], frame: Box) -> float:
    outside = box.area() - box.overlap(frame)
    return 4 * outside + sum(box.overlap(other) for other in taken)
