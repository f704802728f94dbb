"""Compression rate, quality and time in one picture: the paper's Figures 4 and 5."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edgecomp.evaluation.figures_labels import Box, Labelled, leader, place
from edgecomp.evaluation.figures_style import (
    FAINT,
    GREY,
    INK,
    SMALL,
    STYLES,
    add_axes,
    drawing,
    empty,
    new_figure,
    plain,
)
from edgecomp.evaluation.published import paper_rows
from edgecomp.evaluation.results import (
    ARCHIVER_NAMES,
    CODEC_NAMES,
    CONTEXT_MODEL,
    LEARNED_NAMES,
    OWN_NAMES,
    Evaluation,
    Row,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches.
_WIDTH: Final = 10.0
_LEFT, _RIGHT, _LEGEND, _AXIS, _PLOT, _TOP = 0.8, 0.15, 1.05, 0.5, 4.6, 0.3

_LARGEST: Final = 46.0  # points across, of the disc of as many seconds as are drawn to scale
_SMALLEST: Final = 3.0  # points across
_MARGIN: Final = 5.0  # points, of a text's sides together
_USUAL: Final = 0.975  # MS-SSIM of the paper's point A, where edgecomp itself was not measured
_NICE: Final = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class _Bubble:
    """One method: bytes of the PNG files per byte, MS-SSIM, and seconds both ways.

    ``own``: of edgecomp. ``published``: from the paper, not measured here. ``free``: its seconds
    may leave the scale.
    """

    label: str
    colour: str
    rate: float
    ms_ssim: float
    seconds: float
    own: bool = False
    published: bool = False
    free: bool = False


def bubbles(evaluation: Evaluation) -> Figure:
    """MS-SSIM over compression rate; the area of a disc is its seconds both ways.

    edgecomp, the paper's ways and the context model at every quality, each picture codec at the
    quality nearest in MS-SSIM to edgecomp's first, the archivers at MS-SSIM 1, and for the Kodak
    suite the paper's own rows, hollow. Areas are proportional to seconds up to a number that the
    legend names; those of a context model evaluated pixel by pixel may be thousands of times the
    others', and are drawn at that size with a dashed rim and their number beside them.

    Raises:
        UnavailableError: matplotlib is not installed.
    """
    found = [*_published(evaluation), *_measured(evaluation)]
    with drawing():
        figure = new_figure("bubbles", _WIDTH, _LEGEND + _AXIS + _PLOT + _TOP)
        width = _WIDTH - _LEFT - _RIGHT
        axes = add_axes(figure, _LEFT, _LEGEND + _AXIS, width, _PLOT)
        if not found:
            empty(axes)
            return figure
        scale = _scale(found)
        _frame(axes, found)
        _draw(axes, found, scale)
        _legend(add_axes(figure, _LEFT, 0.05, width, _LEGEND - 0.1), found, scale)
    return figure


def _measured(evaluation: Evaluation) -> Iterator[_Bubble]:
    rows = [*evaluation.measured(*ARCHIVER_NAMES), *_nearest(evaluation)]
    rows += reversed(evaluation.measured(*LEARNED_NAMES))
    for row in rows:
        rate, ms_ssim, seconds = row.compression_rate, row.ms_ssim, row.seconds
        if rate is not None and ms_ssim is not None and seconds is not None and rate > 0:
            colour = STYLES[row.name].colour
            own, free = row.name in OWN_NAMES, row.name == CONTEXT_MODEL
            yield _Bubble(row.label, colour, rate, ms_ssim, seconds, own=own, free=free)


def _nearest(evaluation: Evaluation) -> list[Row]:
    """Of each picture codec the row that is nearest in MS-SSIM to edgecomp's first quality."""
    own = [row.ms_ssim for row in evaluation.measured(*OWN_NAMES) if row.ms_ssim is not None]
    wanted = own[0] if own else _USUAL
    rows = []
    for name in CODEC_NAMES:
        known = [row for row in evaluation.measured(name) if row.ms_ssim is not None]
        if known:
            rows.append(min(known, key=lambda row: abs((row.ms_ssim or 0.0) - wanted)))
    return rows


def _published(evaluation: Evaluation) -> Iterator[_Bubble]:
    if not evaluation.kodak:
        return
    for row in paper_rows():
        # Archivers lose nothing, which the paper's tables leave unsaid.
        ms_ssim = 1.0 if row.ms_ssim is None else row.ms_ssim
        yield _Bubble(
            row.label,
            GREY,
            row.compression_rate,
            ms_ssim,
            row.seconds,
            published=True,
            free=bool(row.seconds_bound),
        )


def _scale(found: Sequence[_Bubble]) -> float:
    """Seconds that the largest disc stands for: a round number over all that keep to the scale."""
    bound = [bubble.seconds for bubble in found if not bubble.free]
    most = max(bound or [bubble.seconds for bubble in found])
    if most <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(most))
    return next(step * power for step in _NICE if step * power >= most * (1 - 1e-9))


def _diameter(seconds: float, scale: float) -> float:
    """In points: the area is proportional to the seconds, within what can be seen and drawn."""
    return min(max(_LARGEST * math.sqrt(seconds / scale), _SMALLEST), _LARGEST)


def _frame(axes: Axes, found: Sequence[_Bubble]) -> None:
    axes.set_xlim(0, 1.06 * max(bubble.rate for bubble in found))
    bottom = min(bubble.ms_ssim for bubble in found)
    margin = 0.14 * (1 - bottom) or 0.01
    axes.set_ylim(bottom - margin, 1 + margin / 2)
    axes.set_yticks([tick for tick in axes.get_yticks() if tick <= 1])
    axes.set_ylim(bottom - margin, 1 + margin / 2)
    axes.set_xlabel("compression rate: bytes as PNG files for each byte")
    axes.set_ylabel("MS-SSIM")
    axes.set_title("Compression rate, quality and time", loc="left")
    plain(axes, "both")


def _draw(axes: Axes, found: Sequence[_Bubble], scale: float) -> None:
    # Large discs first, so that none is hidden under another.
    found = sorted(found, key=lambda bubble: -bubble.seconds)
    for layer, bubble in enumerate(found):
        _disc(axes, (bubble.rate, bubble.ms_ssim), bubble, scale, 3 + layer / 100)
    _name(axes, found, scale)


def _disc(
    axes: Axes, at: tuple[float, float], bubble: _Bubble, scale: float, zorder: float
) -> None:
    beyond = bubble.seconds > scale
    axes.scatter(
        *at,
        s=_diameter(bubble.seconds, scale) ** 2,
        facecolor="none" if bubble.published else bubble.colour,
        edgecolor=bubble.colour if bubble.published or beyond else "white",
        alpha=None if bubble.published else 0.25 if beyond else 0.85,
        linewidth=1.0 if bubble.published or beyond else 0.5,
        linestyle="--" if beyond else "-",
        zorder=zorder,
        clip_on=False,
    )


def _name(axes: Axes, found: Sequence[_Bubble], scale: float) -> None:
    """Each disc's name beside it, where it covers least, with a line where it had to go far."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = axes.get_figure(root=True)
    assert figure is not None
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    point = figure.dpi / 72
    texts, discs = [], []
    for named, text in _shared(found, scale):
        artist = axes.text(
            0,
            0,
            text,
            fontsize=SMALL - 0.5,
            color=FAINT if named.published else INK,
            weight="bold" if named.own else "normal",
            ha="center",
            va="center",
            zorder=6,
        )
        extent = artist.get_window_extent(renderer)
        x, y = axes.transData.transform((named.rate, named.ms_ssim)) / point
        texts.append(artist)
        discs.append(
            Labelled(
                x,
                y,
                _diameter(named.seconds, scale) / 2,
                extent.width / point + _MARGIN,
                0.9 * extent.height / point,
            )
        )
    inside = axes.get_window_extent(renderer)
    frame = Box(*(edge / point for edge in (inside.x0, inside.y0, inside.x1, inside.y1)))
    back = axes.transData.inverted()
    for artist, disc, box in zip(texts, discs, place(discs, frame), strict=True):
        x, y = (box.left + box.right) / 2, (box.bottom + box.top) / 2
        artist.set_position(tuple(back.transform((x * point, y * point))))
        ends = leader(disc, box)
        if ends:
            places = back.transform([(x * point, y * point) for x, y in ends])
            axes.plot(*places.T, color=artist.get_color(), linewidth=0.5, zorder=5)


def _shared(found: Sequence[_Bubble], scale: float) -> list[tuple[_Bubble, str]]:
    """The discs that get a text, largest first; archivers lie on each other and share one."""
    texts: dict[object, tuple[_Bubble, list[str]]] = {}
    for bubble in found:
        lossless = bubble.ms_ssim == 1
        key = (bubble.published, round(bubble.rate, 1)) if lossless else id(bubble)
        texts.setdefault(key, (bubble, []))[1].append(_text(bubble, scale))
    return [(bubble, ", ".join(sorted(names))) for bubble, names in texts.values()]


def _text(bubble: _Bubble, scale: float) -> str:
    beyond = bubble.seconds > scale
    return f"{bubble.label}, {bubble.seconds:,.0f} s" if beyond else bubble.label


def _legend(axes: Axes, found: Sequence[_Bubble], scale: float) -> None:
    """Discs of round numbers of seconds, and what rims mean; ``axes`` is a strip of its own."""
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    x = 0.03
    for seconds in (scale / 100, scale / 10, scale / 2, scale):
        sample = _Bubble("", GREY, 1, 1, seconds)
        _disc(axes, (x, 0.6), sample, scale, 3)
        axes.text(x, 0.02, f"{seconds:g} s", ha="center", fontsize=SMALL)
        x += 0.075
    lines = ["Area: seconds to compress and restore all pictures, in proportion."]
    if any(bubble.seconds > scale for bubble in found):
        lines.append(f"Dashed rims: more than {scale:g} s, not in proportion.")
    least = scale * (_SMALLEST / _LARGEST) ** 2
    if any(bubble.seconds < least for bubble in found):
        lines.append(f"The smallest discs: less than {least:.1g} s.")
    if any(bubble.published for bubble in found):
        lines.append("Hollow: the paper's figures, on its authors' machine; of Mentzer et al. it")
        lines.append("gives the rate of their point A with the MS-SSIM of their point C.")
    axes.text(x, 0.5, "\n".join(lines), va="center", fontsize=SMALL, linespacing=1.5)
