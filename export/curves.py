"""MS-SSIM against bits per pixel as training went: the paper's Figure 3, from the runs' logs.

python -m export.curves LOG.csv [LOG.csv...] --out FILE.png

Each log is one run's figures on the held-back pictures; runs are drawn in their order, one colour
each, one line a quality, named where its last run ended. Needs matplotlib (the extra `eval`).
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from pathlib import Path

COLOURS = (
    *("#0072b2", "#e69f00", "#999999", "#d55e00"),
    *("#009e73", "#cc79a7", "#56b4e9", "#000000"),
)
SIZE, DPI = (9.0, 5.0), 140


class CurvesError(ValueError):
    """A log that cannot be drawn; the message names the file."""


def read(path: Path) -> dict[str, list[tuple[float, float]]]:
    """(bits per pixel, MS-SSIM in dB) of each quality in the order of training."""
    try:
        with path.open() as file:
            rows = list(csv.DictReader(file))
        qualities = [name.removeprefix("bpp_") for name in rows[0] if name.startswith("bpp_")]
        if not qualities:
            raise KeyError("bpp_*")
        return {
            quality: [
                (float(row[f"bpp_{quality}"]), _decibels(float(row[f"msssim_{quality}"])))
                for row in rows
            ]
            for quality in qualities
        }
    except (OSError, KeyError, IndexError, ValueError, TypeError) as error:
        raise CurvesError(f"{path}: no log of a training run ({error})") from error


def draw(paths: list[Path], out: Path) -> None:
    """Write the figure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
    axes = figure.subplots()
    runs = [read(path) for path in paths]
    last = {quality: number for number, run in enumerate(runs) for quality in run}
    for number, (path, run) in enumerate(zip(paths, runs, strict=True)):
        colour, label = COLOURS[number % len(COLOURS)], path.stem
        for quality, points in run.items():
            rates, decibels = zip(*points, strict=True)
            axes.plot(rates, decibels, color=colour, lw=1, marker=".", ms=4, label=label)
            axes.plot(rates[-1:], decibels[-1:], color=colour, marker="o", ms=7)
            if number == last[quality]:
                place = {"textcoords": "offset points", "xytext": (-14, 6), "color": colour}
                axes.annotate(quality, (rates[-1], decibels[-1]), weight="bold", **place)
            label = "_"  # one entry a run in the legend
    axes.set_xlabel("ideal bits per pixel, held-back pictures")
    axes.set_ylabel("MS-SSIM, dB (-10 log10(1 - MS-SSIM))")
    axes.legend(frameon=False, loc="lower right", title="discs: where a run ended")
    axes.grid(color="#dddddd", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, metadata={"Software": None})


def _decibels(similarity: float) -> float:
    return -10 * math.log10(1 - similarity)


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="export.curves", description=__doc__.splitlines()[0])
    parser.add_argument("logs", nargs="+", type=Path, metavar="LOG.csv")
    parser.add_argument("--out", required=True, type=Path)
    args = parser.parse_args(argv)
    try:
        draw(args.logs, args.out)
    except (CurvesError, ImportError, OSError) as error:
        print(f"export.curves: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
