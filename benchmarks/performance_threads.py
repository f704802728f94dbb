"""Times pictures in memory, both ways, with threads used in one way; prints JSON.

    python benchmarks/performance_threads.py PICTURE... --threads 2 --beside

Without --beside, pictures are worked on one after another, each by all the threads; with it, each
thread has a picture of its own. No files are in the times, and no start-up.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from PIL import Image

import edgecomp


def main(argv: Sequence[str] | None = None) -> int:
    """Print seconds of all pictures, the best of the rounds: {"encode": 0.1, "decode": 0.1}."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--quality", default="A")
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    parser.add_argument("--beside", action="store_true", help="a picture for each thread")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    arguments = parser.parse_args(argv)
    within = 1 if arguments.beside else arguments.threads
    beside = arguments.threads if arguments.beside else 1
    encode = partial(edgecomp.encode, quality=arguments.quality, threads=within)
    decode = partial(edgecomp.decode, threads=within, max_pixels=None)
    Image.MAX_IMAGE_PIXELS = None
    images = []
    for path in arguments.pictures:
        with Image.open(path) as image:
            image.load()
            images.append(image)
    decode(encode(images[0]))  # loads the model
    best = {"encode": float("inf"), "decode": float("inf")}
    with ThreadPoolExecutor(beside) as pool:
        for _ in range(arguments.rounds):
            start = time.perf_counter()
            coded = list(pool.map(encode, images))
            middle = time.perf_counter()
            for _ in pool.map(decode, coded):
                pass
            end = time.perf_counter()
            best["encode"] = min(best["encode"], middle - start)
            best["decode"] = min(best["decode"], end - middle)
    print(json.dumps(best))
    return 0


if __name__ == "__main__":
    sys.exit(main())
