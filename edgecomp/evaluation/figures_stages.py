"""Where the time of one picture goes: the stages of compressing and restoring it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from edgecomp.evaluation.figures_style import (
    INK,
    SMALL,
    STACK,
    add_axes,
    drawing,
    empty,
    new_figure,
    plain,
)
from edgecomp.evaluation.results import Evaluation, StageTimes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches.
_WIDTH: Final = 10.0
_LEFT, _RIGHT, _AXIS, _TOP, _BAR, _GAP = 1.5, 0.7, 0.5, 0.35, 0.27, 0.45
_LEGEND_ROW, _LEGEND_COLUMNS = 0.22, 5
_TITLES: Final = {"compress": "Compress", "decompress": "Restore"}
_HATCHES: Final = ("", "////", "....")  # once the colours are used up
_DARK: Final = 0.55  # luminance over which dark text is easier to read than white


def stages(evaluation: Evaluation) -> Figure:
    """Milliseconds of one picture in each stage as stacked bars, one bar a row of edgecomp's own.

    Two panels over one scale, to compress and to restore; the same stage has the same colour in
    both, and each bar ends with its sum.

    Raises:
        UnavailableError: matplotlib is not installed.
    """
    panels = {
        title: [times for times in evaluation.stages if times.direction == direction]
        for direction, title in _TITLES.items()
    }
    panels = {title: found for title, found in panels.items() if found}
    bars = sum(len(found) for found in panels.values())
    names = list(dict.fromkeys(n for found in panels.values() for t in found for n in t.stages))
    legend = 0.1 + _LEGEND_ROW * -(-len(names) // _LEGEND_COLUMNS)
    height = legend + _AXIS + max(bars, 3) * _BAR + max(len(panels) - 1, 0) * _GAP + _TOP
    longest = max((sum(t.stages.values()) for found in panels.values() for t in found), default=0)
    with drawing():
        figure = new_figure("stages", _WIDTH, height)
        width = _WIDTH - _LEFT - _RIGHT
        if not names or longest <= 0:
            empty(add_axes(figure, _LEFT, _AXIS, width, height - _AXIS - _TOP))
            return figure
        top = height - _TOP
        for index, (title, found) in enumerate(panels.items()):
            bottom = top - len(found) * _BAR
            axes = add_axes(figure, _LEFT, bottom, width, len(found) * _BAR)
            axes.set_title(title, loc="left")
            axes.set_xlim(0, longest * 1.001)
            last = index == len(panels) - 1
            _bars(axes, found, names, longest)
            axes.tick_params(labelbottom=last, bottom=last)
            if last:
                axes.set_xlabel("milliseconds for one picture, on one core (mean)")
            top = bottom - _GAP
        _legend(figure, names)
    return figure


def _bars(axes: Axes, found: Sequence[StageTimes], names: Sequence[str], longest: float) -> None:
    plain(axes, "x")
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_yticks(range(len(found)), [times.label for times in found])
    axes.tick_params(axis="y", length=0)
    for place, times in enumerate(found):
        left = 0.0
        for name, milliseconds in times.stages.items():
            colour, hatch = _colour(names.index(name))
            axes.barh(
                place,
                milliseconds,
                left=left,
                height=0.72,
                color=colour,
                hatch=hatch,
                edgecolor="white",
                linewidth=0.6,
            )
            if milliseconds > 0.05 * longest and not hatch:
                axes.text(
                    left + milliseconds / 2,
                    place,
                    _number(milliseconds),
                    ha="center",
                    va="center_baseline",
                    fontsize=SMALL - 0.5,
                    color=INK if _luminance(colour) > _DARK else "white",
                )
            left += milliseconds
        axes.annotate(
            f"{_number(left)} ms",
            (left, place),
            (4, 0),
            textcoords="offset points",
            va="center_baseline",
            fontsize=SMALL,
            annotation_clip=False,
        )


def _colour(index: int) -> tuple[str, str]:
    return STACK[index % len(STACK)], _HATCHES[index // len(STACK) % len(_HATCHES)]


def _luminance(colour: str) -> float:
    """From 0 to 1, by the weights of Rec. 709; enough to choose between dark and white text."""
    red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _number(milliseconds: float) -> str:
    return f"{milliseconds:.0f}" if milliseconds >= 99.5 else f"{milliseconds:.1f}"


def _legend(figure: Figure, names: Sequence[str]) -> None:
    from matplotlib.patches import Patch

    handles = []
    for index in range(len(names)):
        colour, hatch = _colour(index)
        handles.append(Patch(facecolor=colour, hatch=hatch, edgecolor="white"))
    figure.legend(
        handles,
        list(names),
        loc="lower center",
        ncols=min(_LEGEND_COLUMNS, len(names)),
        handlelength=1.2,
        handleheight=1.0,
        borderaxespad=0.3,
    )
