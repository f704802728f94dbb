"""Quality against rate: MS-SSIM and PSNR over bits per pixel, as the literature draws them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Protocol

from edgecomp.evaluation.bd_rate import ms_ssim_db
from edgecomp.evaluation.figures_labels import spread
from edgecomp.evaluation.figures_style import (
    BLACK,
    FAINT,
    GREY,
    SMALL,
    STYLES,
    Style,
    add_axes,
    drawing,
    empty,
    log_ticks,
    new_figure,
    plain,
)
from edgecomp.evaluation.published import paper_rows, systems
from edgecomp.evaluation.results import ARCHIVER_NAMES, OWN_NAMES, ROW_NAMES, Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

# Inches.
_WIDTH: Final = 10.0
_AXIS, _PLOT, _TOP = 0.5, 4.7, 0.5
_LEFT, _BETWEEN, _RIGHT = 1.05, 0.42, 0.05
_NAMES_COLUMN, _NO_COLUMN = 1.48, 0.15
_LEGEND_ROW, _LEGEND_COLUMNS = 0.21, 5

_PAPER: Final = "LZMA-Mentzer (the paper)"
_PAPER_STYLE: Final = Style(BLACK, "*", ":", 1.0, hollow=True)
_CITED: Final = "Mentzer 2018"  # too short a curve to be named at its end
_CITED_STYLE: Final = Style(GREY, "o", "--", 1.0, hollow=True)
_PUBLISHED_STYLE: Final = Style(GREY, "", "--", 0.9)
_MS_SSIM_TICKS: Final = (0.8, 0.9, 0.95, 0.975, 0.987, 0.992, 0.995, 0.997, 0.998, 0.999)


class _Quality(Protocol):
    """What a measured row, a published point and a row of the paper have in common."""

    @property
    def bpp(self) -> float | None: ...
    @property
    def ms_ssim(self) -> float | None: ...
    @property
    def psnr(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class _Curve:
    """Points (bits per pixel, quality in dB) by rising rate.

    ``own``: of edgecomp. ``named``: at its right end; otherwise it is in the legend.
    """

    name: str
    style: Style
    points: tuple[tuple[float, float], ...]
    own: bool = False
    named: bool = False

    def at(self, bpp: float) -> float | None:
        """Quality at a rate between two points, straight over log rate; None outside."""
        for (low, below), (high, above) in pairwise(self.points):
            if low <= bpp <= high and low < high:
                return below + (above - below) * math.log(bpp / low) / math.log(high / low)
        return None


def rate_distortion(evaluation: Evaluation) -> Figure:
    """Two panels: MS-SSIM in dB, and PSNR, over bits per pixel on a logarithmic axis.

    What was measured is drawn with markers and named below; what others published (for the Kodak
    suite only) is dashed and named at the right. The axes end where edgecomp's own curves stop
    being of interest, not where the longest curve does.

    Raises:
        UnavailableError: matplotlib is not installed.
    """
    panels = [_curves(evaluation, by_psnr) for by_psnr in (False, True)]
    curves = {curve.name: curve for panel in panels for curve in panel if not curve.named}
    names = list(curves)[::-1]  # most important first
    legend = 0.1 + _LEGEND_ROW * math.ceil(len(names) / _LEGEND_COLUMNS)
    column = _NAMES_COLUMN if any(c.named for panel in panels for c in panel) else _NO_COLUMN
    width = (_WIDTH - _LEFT - _BETWEEN - _RIGHT - 2 * column) / 2
    with drawing():
        figure = new_figure("rate-distortion", _WIDTH, legend + _AXIS + _PLOT + _TOP)
        titles = (
            "Multi-scale structural similarity (MS-SSIM)",
            "Peak signal-to-noise ratio (PSNR)",
        )
        for index, (title, panel) in enumerate(zip(titles, panels, strict=True)):
            left = _LEFT + index * (width + column + _BETWEEN)
            axes = add_axes(figure, left, legend + _AXIS, width, _PLOT)
            axes.set_title(title, loc="left", pad=8)
            if not panel:
                empty(axes)
                continue
            _draw(axes, panel)
            axes.set_xlabel("bits per pixel")
            _head(axes, 0.0, "dB")
            if index == 0:
                _ms_ssim_scale(axes, -0.45 / width)
        if names:
            figure.legend(
                [_handle(curves[name]) for name in names],
                names,
                loc="lower center",
                ncols=min(_LEGEND_COLUMNS, len(names)),
                handlelength=2.8,
                columnspacing=1.8,
                borderaxespad=0.3,
            )
    return figure


def _curves(evaluation: Evaluation, by_psnr: bool) -> list[_Curve]:
    """What there is to draw, most important last."""
    curves = []
    if evaluation.kodak:
        for system in systems():
            named = system.name != _CITED
            style = _PUBLISHED_STYLE if named else _CITED_STYLE
            points = _points(system.points, by_psnr)
            curves.append(_Curve(system.name, style, points, named=named))
        letters = [row for row in paper_rows() if row.quality is not None]
        curves.append(_Curve(_PAPER, _PAPER_STYLE, _points(letters, by_psnr)))
    for name in reversed(ROW_NAMES):
        if name not in ARCHIVER_NAMES:
            points = _points(evaluation.measured(name), by_psnr)
            curves.append(_Curve(name, STYLES[name], points, own=name in OWN_NAMES))
    return [curve for curve in curves if curve.points]


def _points(found: Iterable[_Quality], by_psnr: bool) -> tuple[tuple[float, float], ...]:
    points = []
    for one in found:
        quality = one.psnr if by_psnr else _decibels(one.ms_ssim)
        if one.bpp is not None and one.bpp > 0 and quality is not None and math.isfinite(quality):
            points.append((one.bpp, quality))
    return tuple(sorted(points))


def _decibels(ms_ssim: float | None) -> float | None:
    return None if ms_ssim is None else ms_ssim_db(min(ms_ssim, 1.0))


def _draw(axes: Axes, curves: Sequence[_Curve]) -> None:
    from matplotlib.ticker import MaxNLocator

    low, high = _rates(curves)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(*_qualities(curves, low, high))
    ticks = log_ticks(low, high, (1, 2, 5) if high > 12 * low else (1, 1.5, 2, 3, 4, 5, 7))
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_locator(MaxNLocator(10, steps=[1, 2, 5, 10]))
    plain(axes, "both")
    for layer, curve in enumerate(curves):
        axes.plot(*zip(*curve.points, strict=True), zorder=3 + layer / 100, **_look(curve))
    _name_ends(axes, [curve for curve in curves if curve.named])


def _rates(curves: Sequence[_Curve]) -> tuple[float, float]:
    """The span of edgecomp's own points (of all, if it has none), and some way beyond."""
    shown = [curve for curve in curves if curve.own]
    shown = shown or [curve for curve in curves if not curve.named] or list(curves)
    rates = [bpp for curve in shown for bpp, _ in curve.points]
    low, high = min(rates), max(rates)
    # A single quality needs room for what is beside it.
    return (low / 1.8, high * 1.3) if high > 1.5 * low else (low / 3, high * 3)


def _qualities(curves: Sequence[_Curve], low: float, high: float) -> tuple[float, float]:
    """From below edgecomp's lowest quality to where the best curve leaves the panel."""
    inside = [y for curve in curves for x, y in curve.points if low <= x <= high]
    inside += [y for curve in curves for x in (low, high) if (y := curve.at(x)) is not None]
    own = [y for curve in curves if curve.own for _, y in curve.points]
    if not inside:
        inside = [y for curve in curves for _, y in curve.points]
    bottom = max(min(inside), min(own) - 4) if own else min(inside)
    top = max(inside)
    margin = max(0.03 * (top - bottom), 0.7)
    return bottom - margin, top + margin


def _name_ends(axes: Axes, curves: Sequence[_Curve]) -> None:
    """The curves' names in a column to the right, each led to from where its curve leaves off."""
    (low, high), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    ends = []
    for curve in curves:
        at_edge = curve.at(high)
        within = [point for point in curve.points if low <= point[0] <= high]
        if at_edge is not None:
            ends.append((curve.name, high, at_edge))
        elif within:
            ends.append((curve.name, *within[-1]))
    ends = [end for end in ends if bottom <= end[2] <= top]
    if not ends:
        return
    pixels = axes.transAxes.inverted().transform(
        axes.transData.transform([(x, y) for _, x, y in ends])
    )
    gap = SMALL * 1.35 / 72 / _PLOT
    places = spread([float(y) for _, y in pixels], gap, 0.01, 0.99)
    for (name, _, _), (x, y), place in zip(ends, pixels, places, strict=True):
        axes.plot(
            [x, max(float(x), 1.0), 1.035, 1.05],
            [y, y, place, place],
            transform=axes.transAxes,
            color=GREY,
            linewidth=0.6,
            clip_on=False,
            zorder=2,
        )
        axes.text(
            1.06,
            place,
            name,
            transform=axes.transAxes,
            fontsize=SMALL,
            color=FAINT,
            va="center_baseline",
        )


def _ms_ssim_scale(axes: Axes, place: float) -> None:
    """MS-SSIM itself, on a second axis to the left of its decibels, at a part of their width."""
    bottom, top = axes.get_ylim()
    ticks = [tick for tick in _MS_SSIM_TICKS if bottom <= ms_ssim_db(tick) <= top]
    scale = axes.secondary_yaxis(place)
    scale.set_yticks([ms_ssim_db(tick) for tick in ticks], [f"{tick:g}" for tick in ticks])
    scale.tick_params(length=3, width=0.8)
    _head(axes, place, "MS-SSIM")


def _head(axes: Axes, place: float, text: str) -> None:
    """What an axis at the left measures, over its upper end, flush with its numbers."""
    axes.annotate(
        text,
        (place, 1.0),
        (-7, 8),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        fontsize=SMALL,
    )


def _handle(curve: _Curve) -> Line2D:
    from matplotlib.lines import Line2D

    return Line2D([], [], **_look(curve))


def _look(curve: _Curve) -> dict[str, Any]:
    style = curve.style
    return {
        "color": style.colour,
        "linestyle": style.line,
        "linewidth": style.width,
        "marker": style.marker,
        "markersize": 8 if style.marker == "*" else 6 if curve.own else 4.5,
        "markerfacecolor": "white" if style.hollow else style.colour,
        "markeredgewidth": 1.0,
    }
