"""Writes the golden vectors of model folders (edgecomp/golden.py), for `edgecomp doctor` to check.

python -m export.golden MODELDIR...

`export.to_onnx` and `export.context` do it by themselves. Made anew, the vectors are those of the
machine that makes them: before that, see by `export.overflow` that the graphs compute the same on
all, and by `edgecomp doctor` that the machine agrees with the vectors that are there.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edgecomp.errors import EdgecompError
from edgecomp.golden import GOLDEN, record
from edgecomp.models import load_model


def write(folder: Path) -> None:
    """Write a model folder's golden vectors, as this machine computes them.

    Raises:
        EdgecompError: the model cannot be run.
    """
    (folder / GOLDEN).write_bytes(record(load_model(folder)))


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="export.golden", description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path, metavar="MODELDIR")
    for folder in parser.parse_args(argv).models:
        try:
            write(folder)
        except EdgecompError as error:
            print(f"export.golden: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
