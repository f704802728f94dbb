"""Times the two networks on a part of a picture of so many latent positions; prints JSON.

python benchmarks/performance_parts.py --positions 9500
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Sequence

import example_pictures
import numpy as np

from edgecomp.backends import load_backend
from edgecomp.models import shipped_model


def sides(positions: int) -> tuple[int, int]:
    """Rows and columns of about so many positions, 2 to 3."""
    rows = max(1, round(math.sqrt(positions / 1.5)))
    return rows, max(1, round(positions / rows))


def shortest(rounds: int, function: Callable[[], object]) -> float:
    """Seconds of the quickest of so many calls, after one that does not count."""
    function()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def main(argv: Sequence[str] | None = None) -> int:
    """Print seconds of each network: {"positions": 9500, "encoder": 0.1, "decoder": 0.1}."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--positions", type=int, required=True, metavar="N")
    parser.add_argument("--quality", default="A")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    arguments = parser.parse_args(argv)
    model = shipped_model(arguments.quality)
    rows, columns = sides(arguments.positions)
    picture = example_pictures.mosaic(columns * model.stride, rows * model.stride)
    rgb, backend = np.asarray(picture), load_backend("onnx", model)
    symbols = backend.analyse(rgb, 0).symbols
    found = {
        "positions": rows * columns,
        "encoder": shortest(arguments.rounds, lambda: backend.analyse(rgb, 0)),
        "decoder": shortest(arguments.rounds, lambda: backend.synthesise(symbols, 0)),
    }
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
