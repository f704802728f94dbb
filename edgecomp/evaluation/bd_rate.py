"""How many more or fewer bits one method needs than another for the same quality, on average.

Bjontegaard's delta rate (G. Bjontegaard, "Calculation of average PSNR differences between
RD-curves", VCEG-M33, 2001, and "Improvements of the BD-PSNR model", VCEG-AI11, 2008): the mean
over a range of quality of the difference of two curves, log rate as a function of quality. As in
the practice of JCT-VC since (ITU-T HSTP-VID-WPOM, 2020), the curves are piecewise cubics that keep
the shape of their points (PCHIP: F. Fritsch and R. Carlson, "Monotone piecewise cubic
interpolation", SIAM J. Numer. Anal. 17, 1980; slopes by F. Fritsch and J. Butland, "A method for
constructing local monotone piecewise cubic interpolants", SIAM J. Sci. Stat. Comput. 5, 1984), not
one polynomial through all points, which can swing between them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Point: TypeAlias = tuple[float, float]  # bits per pixel, quality in dB


class BdRateError(ValueError):
    """Two curves that cannot be compared; the message says why, for the user."""


@dataclass(frozen=True, slots=True)
class BdRate:
    """The mean difference of rate at equal quality.

    Attributes:
        percent: that the test needs more than the reference; negative where it needs fewer bits.
        lowest, highest: the interval of quality that it was taken over, in dB; where both curves
            have figures.
        share: the part of the test's own range of quality that this interval is, over 0 to 1. A
            small one makes a figure of little worth.
        dropped: points that were left out since another of the same curve has no more bits and no
            less quality; of both curves.
    """

    percent: float
    lowest: float
    highest: float
    share: float
    dropped: int


def ms_ssim_db(value: float) -> float:
    """MS-SSIM as a logarithm that tells good pictures apart: -10 log10(1 - value); inf for 1.

    Raises:
        ValueError: ``value`` is over 1 or not a number.
    """
    if math.isnan(value) or value > 1:
        raise ValueError(f"an MS-SSIM is at most 1, not {value}")
    return math.inf if value == 1 else -10 * math.log10(1 - value)


def bd_rate(reference: Sequence[Point], test: Sequence[Point]) -> BdRate:
    """The delta rate of ``test`` against ``reference``.

    Points may come in any order. Those that nobody would choose (another point of the same curve
    has no more bits and no less quality) are dropped, so that log rate is a function of quality and
    rises with it. With two points left a curve is a straight line.

    Args:
        reference, test: points (bits per pixel, quality in dB) of the two curves.

    Raises:
        BdRateError: a rate is not positive, a figure is not finite, a curve has fewer than two
            points that count, or no interval of quality is common to both.
    """
    curves = [_Curve(_front(points, name)) for points, name in _named(reference, test)]
    lowest = max(curve.lowest for curve in curves)
    highest = min(curve.highest for curve in curves)
    if not lowest < highest:
        raise BdRateError(
            "no quality is common to both: "
            + ", ".join(
                f"the {name} is from {curve.lowest:.2f} to {curve.highest:.2f} dB"
                for (_, name), curve in zip(_named(reference, test), curves, strict=True)
            )
        )
    areas = [curve.integral(lowest, highest) for curve in curves]
    mean = (areas[1] - areas[0]) / (highest - lowest)
    return BdRate(
        percent=100 * math.expm1(mean),
        lowest=lowest,
        highest=highest,
        share=(highest - lowest) / (curves[1].highest - curves[1].lowest),
        dropped=len(reference) + len(test) - sum(curve.points for curve in curves),
    )


def rate_at(points: Sequence[Point], quality: float) -> float | None:
    """The bits per pixel that a curve takes for a quality in dB; None outside of it.

    Raises:
        BdRateError: the points make no curve, see `bd_rate`.
    """
    return _Curve(_front(points, "curve")).rate_at(quality)


def _named(
    reference: Sequence[Point], test: Sequence[Point]
) -> tuple[tuple[Sequence[Point], str], tuple[Sequence[Point], str]]:
    return (reference, "reference"), (test, "test")


def _front(points: Sequence[Point], name: str) -> list[Point]:
    """The points that no other beats, by rising rate and quality."""
    for rate, quality in points:
        if not (math.isfinite(rate) and math.isfinite(quality) and rate > 0):
            raise BdRateError(f"the {name} has a point of {rate} bits per pixel at {quality} dB")
    front: list[Point] = []
    for rate, quality in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or quality > front[-1][1]:
            front.append((rate, quality))
    if len(front) < 2:
        raise BdRateError(
            f"the {name} has {len(front)} {'point' if len(front) == 1 else 'points'} that count, "
            "a curve takes two"
        )
    return front


class _Curve:
    """Natural logarithm of rate as a function of quality, cubic between neighbouring points."""

    def __init__(self, points: Sequence[Point]) -> None:
        self.points = len(points)
        self._quality = np.array([quality for _, quality in points], np.float64)
        self._log_rate = np.log(np.array([rate for rate, _ in points], np.float64))
        self._slopes = _slopes(self._quality, self._log_rate)

    @property
    def lowest(self) -> float:
        return float(self._quality[0])

    @property
    def highest(self) -> float:
        return float(self._quality[-1])

    def rate_at(self, quality: float) -> float | None:
        """Bits per pixel; None outside of the curve."""
        if not self.lowest <= quality <= self.highest:
            return None
        piece = min(int(np.searchsorted(self._quality, quality, "right")), self.points - 1) - 1
        width = float(self._quality[piece + 1] - self._quality[piece])
        t = (quality - float(self._quality[piece])) / width
        low, high = (float(value) for value in self._log_rate[piece : piece + 2])
        low_slope, high_slope = (width * float(s) for s in self._slopes[piece : piece + 2])
        square, cube = 3 * (high - low) - 2 * low_slope - high_slope, low_slope + high_slope
        cube -= 2 * (high - low)
        return math.exp(low + t * (low_slope + t * (square + t * cube)))

    def integral(self, start: float, end: float) -> float:
        """Over quality from ``start`` to ``end``, both within the curve; exact."""
        left, right = self._quality[:-1], self._quality[1:]
        width = right - left
        # Where the interval begins and ends in each piece, as a part of it from 0 to 1.
        begins = (np.clip(start, left, right) - left) / width
        ends = (np.clip(end, left, right) - left) / width
        return float((width * (self._primitive(ends) - self._primitive(begins))).sum())

    def _primitive(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """Integral of each piece's Hermite cubic from 0 to ``t``, as a part of its width."""
        width = np.diff(self._quality)
        low, high = self._log_rate[:-1], self._log_rate[1:]
        low_slope, high_slope = width * self._slopes[:-1], width * self._slopes[1:]
        square = 3 * (high - low) - 2 * low_slope - high_slope
        cube = low_slope + high_slope - 2 * (high - low)
        area: NDArray[np.float64] = t * (
            low + t * (low_slope / 2 + t * (square / 3 + t * cube / 4))
        )
        return area


def _slopes(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slopes at the points, such that the cubics rise wherever the points do.

    Within: the harmonic mean of the two neighbouring secants, weighted by the widths (Fritsch and
    Butland, 1984). At the ends: of the parabola through three points, kept to the sign of the
    secant. ``x`` and ``y`` both rise strictly.
    """
    width = np.diff(x)
    secant = np.diff(y) / width
    if len(secant) == 1:
        return np.repeat(secant, 2)
    weight_left = 2 * width[1:] + width[:-1]
    weight_right = width[1:] + 2 * width[:-1]
    inner = (weight_left + weight_right) / (weight_left / secant[:-1] + weight_right / secant[1:])
    first = _end_slope(width[0], width[1], secant[0], secant[1])
    last = _end_slope(width[-1], width[-2], secant[-1], secant[-2])
    return np.concatenate(([first], inner, [last]))


def _end_slope(width: float, next_width: float, secant: float, next_secant: float) -> float:
    # Both secants are positive, so this stays under twice the secant: the cubic cannot turn.
    slope = ((2 * width + next_width) * secant - width * next_secant) / (width + next_width)
    return max(slope, 0.0)
