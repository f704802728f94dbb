"""Bjontegaard's delta rate against closed forms and against SciPy's PCHIP."""

from __future__ import annotations

import math

import pytest

from edgecomp.evaluation.bd_rate import BdRateError, bd_rate, ms_ssim_db, rate_at

JPEG = [(0.35, 29.8), (0.62, 31.9), (0.91, 33.6), (1.344, 34.52), (2.2, 37.9)]
OWN = [(0.487, 29.4), (0.810, 31.6), (1.229, 34.0)]
TWO = [(0.3, 28.1), (0.9, 34.0)]
STEEP = [(0.1, 30.0), (0.105, 31.0), (1.0, 31.2), (1.5, 35.0)]  # its first end slope is held at 0
WIDE = [(0.2, 28.0), (0.5, 30.5), (0.7, 34.0), (2.0, 40.0)]


def scaled(points: list[tuple[float, float]], factor: float) -> list[tuple[float, float]]:
    return [(factor * rate, quality) for rate, quality in points]


@pytest.mark.parametrize("points", [JPEG, OWN, TWO, STEEP])
def test_a_curve_against_itself_is_nothing(points: list[tuple[float, float]]) -> None:
    result = bd_rate(points, points)
    assert result.percent == 0
    assert (result.lowest, result.highest) == (points[0][1], points[-1][1])
    assert (result.share, result.dropped) == (1, 0)


@pytest.mark.parametrize("points", [JPEG, OWN, TWO, STEEP])
@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_a_scaled_rate_is_its_factor(points: list[tuple[float, float]], factor: float) -> None:
    percent = bd_rate(points, scaled(points, factor)).percent
    assert percent == pytest.approx(100 * (factor - 1), abs=1e-10)


def test_straight_lines_over_their_common_part() -> None:
    # ln rate is q/10 against q/10 + (q - 30)/20: the mean difference over 30..34 is 0.1.
    reference = [(math.exp(q / 10), q) for q in (28.0, 29.0, 34.0)]
    test = [(math.exp(q / 10 + (q - 30) / 20), q) for q in (30.0, 33.0, 38.0)]
    result = bd_rate(reference, test)
    assert result.percent == pytest.approx(100 * (math.exp(0.1) - 1), rel=1e-12)
    assert (result.lowest, result.highest, result.share) == (30, 34, 0.5)


def test_a_known_cubic() -> None:
    """Three even points whose log rates are 0, 1, 4: the slopes are 0, 3/2 and 4 by hand.

    Secants 1 and 3: the middle slope is their harmonic mean 3/2, the ends (3 - 3)/2 = 0 and
    (9 - 1)/2 = 4. The Hermite cubics' areas are the trapezoids' plus (first - last slope)/12:
    1/2 - 1.5/12 and 5/2 - 2.5/12. Against a line at 0 on the same interval the mean is 4/3.
    """
    test = [(1.0, 10.0), (math.exp(1), 11.0), (math.exp(4), 12.0)]
    flat = [(1.0, 10.0), (1.0 + 1e-12, 12.0)]
    mean = (0.5 - 1.5 / 12 + 2.5 - 2.5 / 12) / 2
    assert bd_rate(flat, test).percent == pytest.approx(100 * math.expm1(mean), rel=1e-9)


@pytest.mark.parametrize(
    ("reference", "test", "percent"),
    [  # by scipy.interpolate.PchipInterpolator.integrate of SciPy 1.17.1
        (JPEG, OWN, 38.92229308246905),
        (OWN, JPEG, -28.017312570102366),
        (JPEG, TWO, 0.15669921813396692),
        (OWN, TWO, -27.459204775613866),
        (STEEP, WIDE, -19.43349440425552),
        (WIDE, STEEP, 24.121059068598843),
    ],
)
def test_as_scipy_interpolates(
    reference: list[tuple[float, float]], test: list[tuple[float, float]], percent: float
) -> None:
    assert bd_rate(reference, test).percent == pytest.approx(percent, abs=1e-9)


def test_order_and_dominated_points_do_not_matter() -> None:
    expected = bd_rate(JPEG, OWN)
    worse = [(0.9, 31.0), (1.3, 34.0)]  # more bits than a point of OWN, no better
    result = bd_rate(JPEG[::-1], [OWN[2], worse[0], OWN[0], worse[1], OWN[1]])
    assert result.percent == pytest.approx(expected.percent, abs=1e-12)
    assert (expected.dropped, result.dropped) == (0, 2)


def test_a_repeated_point_counts_once() -> None:
    assert bd_rate(JPEG, [*OWN, OWN[1]]).dropped == 1


@pytest.mark.parametrize(
    ("reference", "test", "message"),
    [
        (JPEG, OWN[:1], "the test has 1 point that count"),
        ([], OWN, "the reference has 0 points that count"),
        (JPEG, [(1.0, 33.0), (2.0, 33.0)], "the test has 1 point that count"),
        (JPEG, [(0.1, 20.0), (0.2, 25.0)], "no quality is common to both: the reference is from"),
        (JPEG, [(0.1, 20.0), (0.2, 29.8)], "the test is from 20.00 to 29.80 dB"),
        ([(0.0, 30.0), (1.0, 33.0)], OWN, "the reference has a point of 0.0 bits per pixel"),
        (JPEG, [(1.0, 30.0), (2.0, math.inf)], "2.0 bits per pixel at inf dB"),
        (JPEG, [(math.nan, 30.0), (2.0, 33.0)], "nan bits per pixel"),
    ],
)
def test_what_cannot_be_compared_says_why(
    reference: list[tuple[float, float]], test: list[tuple[float, float]], message: str
) -> None:
    with pytest.raises(BdRateError, match=message):
        bd_rate(reference, test)


@pytest.mark.parametrize(
    ("points", "quality", "rate"),
    [  # between points by SciPy's PchipInterpolator, at points the points
        (JPEG, 30.5, 0.42864055785826466),
        (JPEG, 34.1, 1.1365686576250744),
        (JPEG, 37.0, 2.1049879010638812),
        (STEEP, 30.2, 0.10010871643915968),
        (STEEP, 31.1, 0.32262262933598135),
        (STEEP[::-1], 34.9, 1.4999100839778632),
        (JPEG, 29.8, 0.35),
        (JPEG, 33.6, 0.91),
        (JPEG, 37.9, 2.2),
    ],
)
def test_rate_at_a_quality(points: list[tuple[float, float]], quality: float, rate: float) -> None:
    assert rate_at(points, quality) == pytest.approx(rate, rel=1e-12)


@pytest.mark.parametrize("quality", [29.79, 37.91])
def test_no_rate_outside_of_a_curve(quality: float) -> None:
    assert rate_at(JPEG, quality) is None


def test_no_rate_without_a_curve() -> None:
    with pytest.raises(BdRateError, match="the curve has 1 point that count"):
        rate_at(OWN[:1], 29.4)


@pytest.mark.parametrize(("value", "db"), [(0.0, 0.0), (0.9, 10.0), (0.99, 20.0), (1.0, math.inf)])
def test_ms_ssim_in_db(value: float, db: float) -> None:
    assert ms_ssim_db(value) == pytest.approx(db, abs=1e-9)


@pytest.mark.parametrize("value", [1.0001, math.nan])
def test_ms_ssim_in_db_of_no_ms_ssim(value: float) -> None:
    with pytest.raises(ValueError, match="at most 1"):
        ms_ssim_db(value)
