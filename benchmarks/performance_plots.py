"""The figures of docs/performance.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from performance_record import MEGA, Record, Size, Timed
from performance_stages import COMPRESS, RESTORE, SIZES, pixels_of, stages

from edgecomp.evaluation import figures_style as style
from edgecomp.evaluation.figures_output import png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MEMORY_LIMIT = 700 * MEGA
_WIDTH, _HEIGHT = 10.0, 3.6
_DPI = 110
_ABOVE = {"grid": "x", "loc": "upper right", "ncols": 2}  # of bars that lie
_COMPRESS, _RESTORE = style.VERMILION, style.BLUE


def figures(record: Record) -> Iterator[tuple[str, bytes]]:
    """Name and PNG bytes of each figure for which something was measured."""
    drawn: dict[str, tuple[bool, Callable[[Record], Figure]]] = {
        "stages": (bool(record.benchmarks), _stages),
        "pixels": (bool(record.sizes), _pixels),
        "pictures": (bool(record.many), _pictures),
        "threads": (bool(record.threads), _threads),
        "parts": (bool(record.parts), _parts),
    }
    for name, (wanted, draw) in drawn.items():
        if wanted:
            with style.drawing():
                figure = draw(record)
            yield name, png(figure, _DPI)


def _pixels(record: Record) -> Figure:
    figure = style.new_figure("pixels", _WIDTH, _HEIGHT)
    left, right = _panels(figure)
    most = max(size.cores for size in record.sizes)
    for cores in sorted({size.cores for size in record.sizes}):
        sizes = [size for size in record.sizes if size.cores == cores]
        line = "-" if cores == most else "--"
        ways = (("compress", _COMPRESS, _png), ("restore", _RESTORE, _restore))
        for label, colour, of in ways:
            _line(
                left,
                sizes,
                [of(size).seconds for size in sizes],
                f"{label}, {_cores(cores)}",
                colour,
                line,
            )
    sizes = [size for size in record.sizes if size.cores == most]
    memory = (
        ("compress PNG", _COMPRESS, "-", _png),
        ("compress JPEG", style.ORANGE, "-", lambda size: size.compress_jpeg),
        ("restore", _RESTORE, "-", _restore),
        ("Pillow alone, PNG to PNG", style.GREY, "--", lambda size: size.pillow),
    )
    for label, colour, line, of in memory:
        _line(right, sizes, [of(size).peak_bytes / MEGA for size in sizes], label, colour, line)
    right.axhline(MEMORY_LIMIT / MEGA, color=style.BLACK, linewidth=0.8, linestyle=":")
    right.text(0, MEMORY_LIMIT / MEGA, " goal at 100 MP", va="bottom", fontsize=style.SMALL)
    _name(left, "Time, PNG and back, start-up included", "megapixels", "seconds")
    _name(right, f"Peak resident memory, {_cores(most)}", "megapixels", "MB")
    return figure


def _pictures(record: Record) -> Figure:
    figure = style.new_figure("pictures", _WIDTH, _HEIGHT)
    left, right = _panels(figure)
    most = max(many.pictures for many in record.many)
    together = [many for many in record.many if many.cores == record.cores]
    for compressing, label, colour in ((True, "compress", _COMPRESS), (False, "restore", _RESTORE)):
        runs = [many for many in together if many.compressing == compressing]
        for many in runs:
            if many.pictures == most and many.curve:
                shares, resident = zip(*many.curve, strict=True)
                x = [most * share for share in shares]
                left.plot(x, [size / MEGA for size in resident], color=colour, label=label, lw=1)
        x = [many.pictures for many in runs]
        right.plot(x, [many.timed.seconds for many in runs], color=colour, marker="o", label=label)
    _name(left, f"Resident memory, {most} pictures", "pictures done", "MB")
    _name(
        right, f"Time, {_cores(record.cores)}, start-up included", "pictures of 768x512", "seconds"
    )
    return figure


def _threads(record: Record) -> Figure:
    figure = style.new_figure("threads", _WIDTH, _HEIGHT)
    whats = list(dict.fromkeys(use.what for use in record.threads))
    for axes, what in zip(_panels(figure), whats, strict=False):
        uses = [use for use in record.threads if use.what == what]
        labels = [_threads_label(use.threads, beside=use.beside) for use in uses]
        per = [use.pixels / MEGA / 1e3 for use in uses]
        encode = [use.encode / one for use, one in zip(uses, per, strict=True)]
        decode = [use.decode / one for use, one in zip(uses, per, strict=True)]
        axes.barh(labels, encode, color=_COMPRESS, label="encode")
        axes.barh(labels, decode, left=encode, color=_RESTORE, label="decode")
        axes.invert_yaxis()
        axes.set_ylim(top=-1.1)  # room for the legend
        _name(axes, f"{what}, from pixels to pixels", "ms a megapixel", "", **_ABOVE)
    return figure


def _parts(record: Record) -> Figure:
    figure = style.new_figure("parts", _WIDTH, _HEIGHT)
    left, right = _panels(figure)
    x = [part.positions for part in record.parts]
    for label, colour, of in (
        ("encoder", _COMPRESS, lambda part: part.encoder),
        ("decoder", _RESTORE, lambda part: part.decoder),
    ):
        values = [1e3 * of(part) / (part.pixels / MEGA) for part in record.parts]
        left.plot(x, values, color=colour, marker="o", label=label)
    memory = [part.peak_bytes / MEGA for part in record.parts]
    right.plot(x, memory, color=style.BLACK, marker="o", label="both networks")
    _name(left, "Networks on a part, one thread", "latent positions", "ms a megapixel")
    _name(right, "Peak resident memory", "latent positions", "MB")
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_xlim(min(x) / 1.3, max(x) * 1.3)
        axes.set_xticks([1_000, 10_000, 100_000], ["1 000", "10 000", "100 000"])
    return figure


def _stages(record: Record) -> Figure:
    figure = style.new_figure("stages", _WIDTH, _HEIGHT)
    for axes, (title, which) in zip(
        _panels(figure), (("Compressing", COMPRESS), ("Restoring", RESTORE)), strict=True
    ):
        for size, shown in SIZES.items():
            pixels = pixels_of(record.benchmarks, size)
            if pixels is None:
                continue
            start = 0.0
            found = stages(record.benchmarks, which, size, record.quality)
            for stage, colour in zip(found, style.STACK, strict=False):
                milliseconds = 1e3 * stage.seconds / (pixels / MEGA)
                label = stage.label if size == next(iter(SIZES)) else None
                axes.barh([shown], [milliseconds], left=start, color=colour, label=label)
                start += milliseconds
        axes.set_ylim(1.5, -1.6)  # the first on top, and room for the legend
        _name(axes, f"{title}, one thread", "ms a megapixel", "", **_ABOVE)
    return figure


def _panels(figure: Figure) -> tuple[Axes, Axes]:
    return (
        style.add_axes(figure, 1.05, 0.6, 3.7, 2.6),
        style.add_axes(figure, 6.05, 0.6, 3.7, 2.6),
    )


def _line(
    axes: Axes, sizes: Sequence[Size], values: Sequence[float], label: str, colour: str, line: str
) -> None:
    x = [size.megapixels for size in sizes]
    axes.plot(x, values, color=colour, linestyle=line, marker="o", markersize=4, label=label)


def _name(
    axes: Axes, title: str, across: str, up: str, *, grid: str = "both", **legend: Any
) -> None:
    axes.set_title(title)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.set_xlim(left=0)
    if grid == "both":
        axes.set_ylim(bottom=0)
    style.plain(axes, grid)
    if axes.get_legend_handles_labels()[0]:  # not every system tells what there is to draw
        axes.legend(**legend)


def _threads_label(threads: int, *, beside: bool) -> str:
    if threads == 1:
        return "1 thread"
    return f"{threads} threads,\n{'a picture each' if beside else 'one picture'}"


def _cores(count: int) -> str:
    return "1 core" if count == 1 else f"{count} cores"


def _png(size: Size) -> Timed:
    return size.compress_png


def _restore(size: Size) -> Timed:
    return size.restore
