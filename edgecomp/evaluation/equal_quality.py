"""What other methods need for edgecomp's quality: at its own points, and on average (BD-rate)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgecomp.evaluation.bd_rate import BdRateError, Point, bd_rate, ms_ssim_db, rate_at
from edgecomp.evaluation.published import systems
from edgecomp.evaluation.results import CODEC_NAMES, OWN_NAMES, PICKLE_LZMA, Evaluation, Row

_PUBLISHED = " (published)"
# A mean over less than this part of edgecomp's range says little.
LEAST_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Comparison:
    """One method against edgecomp.

    Attributes:
        name: the method; of a published system, with the word.
        bpp: bits per pixel that it needs for the MS-SSIM of each of edgecomp's rows, between its
            own points; None outside of them.
        bd_rate_ms_ssim: percent of bits that edgecomp needs more (or, below 0, fewer) than the
            method at the same MS-SSIM, over the range that both have; None if that is less than
            `LEAST_SHARE` of edgecomp's.
        bd_rate_psnr: the same at the same PSNR.
    """

    name: str
    bpp: tuple[float | None, ...]
    bd_rate_ms_ssim: float | None
    bd_rate_psnr: float | None


def own_rows(evaluation: Evaluation) -> list[Row]:
    """edgecomp's rows that others are compared with: of its first coder that was measured."""
    for name in OWN_NAMES:
        rows = [row for row in evaluation.measured(name) if row.ms_ssim is not None]
        if rows:
            return rows
    return []


def comparisons(evaluation: Evaluation, own: Sequence[Row]) -> list[Comparison]:
    """Every other method that has points of rate and quality; with Kodak, published ones too."""
    names = (*OWN_NAMES, PICKLE_LZMA, *CODEC_NAMES)
    curves = [
        (name, _ms_ssim_points(evaluation.measured(name)), _psnr_points(evaluation.measured(name)))
        for name in names
        if not own or name != own[0].name
    ]
    if evaluation.kodak:
        curves += [
            (
                system.name + _PUBLISHED,
                [(point.bpp, point.ms_ssim_db) for point in system.points],
                [(point.bpp, point.psnr) for point in system.points if point.psnr is not None],
            )
            for system in systems()
        ]
    return [
        Comparison(
            name=name,
            bpp=tuple(_rate(similar, row) for row in own),
            bd_rate_ms_ssim=_bd_rate(similar, _ms_ssim_points(own)),
            bd_rate_psnr=_bd_rate(noisy, _psnr_points(own)),
        )
        for name, similar, noisy in curves
        if similar
    ]


def _ms_ssim_points(rows: Sequence[Row]) -> list[Point]:
    return [
        (row.bpp, ms_ssim_db(row.ms_ssim))
        for row in rows
        if row.bpp is not None and row.ms_ssim is not None and row.ms_ssim < 1
    ]


def _psnr_points(rows: Sequence[Row]) -> list[Point]:
    return [(row.bpp, row.psnr) for row in rows if row.bpp is not None and row.psnr is not None]


def _rate(points: Sequence[Point], row: Row) -> float | None:
    if row.ms_ssim is None or row.ms_ssim >= 1:
        return None
    try:
        return rate_at(points, ms_ssim_db(row.ms_ssim))
    except BdRateError:
        return None


def _bd_rate(reference: Sequence[Point], test: Sequence[Point]) -> float | None:
    try:
        found = bd_rate(reference, test)
    except BdRateError:
        return None
    return found.percent if found.share >= LEAST_SHARE else None
