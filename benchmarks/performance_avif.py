"""A folder of PNG files to AVIF files, or back, by Pillow: a command to time edgecomp's against.

    python benchmarks/performance_avif.py compress FOLDER OUTPUT --threads 2
    python benchmarks/performance_avif.py restore FOLDER OUTPUT --threads 2 --within

Speed and quality are those of docs/results.md's row of AVIF that is nearest to edgecomp's A. PNG
files are written as edgecomp's are, at zlib level 1. Nothing but Pillow is imported.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from PIL import AvifImagePlugin, Image

QUALITY, SPEED = 45, 6
PNG_LEVEL = 1


def compress(path: Path, output: Path, threads: int) -> None:
    """One PNG file to an AVIF file; ``threads`` work within the picture."""
    with Image.open(path) as image:
        target = output / f"{path.stem}.avif"
        image.save(target, quality=QUALITY, speed=SPEED, max_threads=threads)


def restore(path: Path, output: Path, threads: int) -> None:
    """One AVIF file to a PNG file; the number of threads was set before."""
    with Image.open(path) as image:
        image.save(output / f"{path.stem}.png", compress_level=PNG_LEVEL)


def main(argv: Sequence[str] | None = None) -> int:
    """Do what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("direction", choices=("compress", "restore"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path, help="a new folder")
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    parser.add_argument(
        "--within",
        action="store_true",
        help="threads work on one picture after another, not on pictures side by side",
    )
    arguments = parser.parse_args(argv)
    within = arguments.threads if arguments.within else 1
    beside = 1 if arguments.within else arguments.threads
    AvifImagePlugin.DEFAULT_MAX_THREADS = within
    function: Callable[[Path, Path, int], None]
    function, pattern = (
        (compress, "*.png") if arguments.direction == "compress" else (restore, "*.avif")
    )
    arguments.output.mkdir(parents=True)
    paths = sorted(arguments.folder.rglob(pattern))
    if not paths:
        print(f"performance_avif: no {pattern} in {arguments.folder}", file=sys.stderr)
        return 1
    work = partial(function, output=arguments.output, threads=within)
    with ThreadPoolExecutor(beside) as pool:
        list(pool.map(work, paths))
    return 0


if __name__ == "__main__":
    sys.exit(main())
