"""How the figures look: one colour, marker and line for each method, sizes of text, axes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from edgecomp.evaluation.methods import UnavailableError
from edgecomp.evaluation.results import CONTEXT_MODEL, OWN_NAMES, PICKLE_LZMA

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's eight colours, told apart by every common kind of colour vision (M. Okabe, K. Ito,
# "Color Universal Design", 2008); olive stands for their yellow, which is too pale for lines.
BLACK: Final = "#000000"
ORANGE: Final = "#E69F00"
SKY: Final = "#56B4E9"
GREEN: Final = "#009E73"
OLIVE: Final = "#999933"
BLUE: Final = "#0072B2"
VERMILION: Final = "#D55E00"
PURPLE: Final = "#CC79A7"
BROWN: Final = "#7A4419"
INK: Final = "#222222"
GREY: Final = "#8A8A8A"  # what others published
FAINT: Final = "#555555"  # their names
PALE: Final = "#E4E4E4"  # grids

TEXT: Final = 9.0  # points
SMALL: Final = 8.0


@dataclass(frozen=True, slots=True)
class Style:
    """Of one method: ``line`` and ``marker`` as matplotlib spells them, ``width`` in points."""

    colour: str
    marker: str
    line: str = "-"
    width: float = 1.4
    hollow: bool = False


STYLES: Final[Mapping[str, Style]] = MappingProxyType(
    {
        OWN_NAMES[0]: Style(VERMILION, "o", width=2.6),
        OWN_NAMES[1]: Style(ORANGE, "o", width=1.8),
        PICKLE_LZMA: Style(BROWN, "v", "--", 1.2),
        CONTEXT_MODEL: Style(BROWN, "d", ":", 1.2, hollow=True),
        "tar": Style(GREY, "s"),
        "7-zip": Style(BLACK, "D"),
        "jpeg": Style(BLACK, "s"),
        "jpeg2000": Style(PURPLE, "p"),
        "webp": Style(GREEN, "^"),
        "avif": Style(BLUE, "D"),
        "jpeg-xl": Style(SKY, "h"),
        "heic": Style(OLIVE, "X"),
    }
)
STACK: Final = (SKY, BLUE, VERMILION, ORANGE, GREEN, PURPLE, OLIVE, BROWN, GREY)

_RC: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same measures everywhere
        "font.size": TEXT,
        "axes.titlesize": TEXT + 1,
        "axes.titleweight": "bold",
        "axes.labelsize": TEXT,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "axes.linewidth": 0.8,
        "axes.axisbelow": True,
        "text.color": INK,
        "xtick.labelsize": SMALL,
        "ytick.labelsize": SMALL,
        "xtick.color": INK,
        "ytick.color": INK,
        "legend.fontsize": SMALL,
        "legend.frameon": False,
        "svg.fonttype": "none",  # text stays text: small files that can be searched and read out
        "svg.hashsalt": "edgecomp",
        "path.simplify": False,
    }
)


@contextmanager
def drawing() -> Iterator[None]:
    """Matplotlib with the look of these figures inside, and as it was after.

    Raises:
        UnavailableError: matplotlib is not installed.
    """
    try:
        import matplotlib.style
    except ImportError as error:
        raise UnavailableError(
            "the figures need matplotlib: pip install 'edgecomp[eval]'"
        ) from error
    with matplotlib.style.context(["default", dict(_RC)]):
        yield


def new_figure(name: str, width: float, height: float) -> Figure:
    """An empty figure of a size in inches; to be called within `drawing`."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), label=name, facecolor="white")


def add_axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place in inches from the lower left corner of the figure."""
    whole_width, whole_height = figure.get_size_inches()
    return figure.add_axes(
        (left / whole_width, bottom / whole_height, width / whole_width, height / whole_height)
    )


def plain(axes: Axes, grid: str) -> None:
    """No frame at the top and the right, a pale grid along ``grid`` ("x", "y" or "both")."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, axis=grid, color=PALE, linewidth=0.6)  # type: ignore[arg-type]
    axes.tick_params(length=3, width=0.8)


def empty(axes: Axes) -> None:
    """A panel for which there is nothing to draw says so."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    axes.text(0.5, 0.5, "nothing measured", transform=axes.transAxes, ha="center", va="center")


def log_ticks(low: float, high: float, steps: Sequence[float] = (1, 2, 5)) -> list[float]:
    """Numbers to label a logarithmic axis with: ``steps`` times powers of ten, within."""
    import math

    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    numbers = [round(step * 10.0**power, 12) for power in range(first, last + 1) for step in steps]
    return [number for number in numbers if low <= number <= high]
