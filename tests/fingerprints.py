"""SHA-256 of what int8 graphs make of fixed inputs; a command, to be run on another processor.

    python tests/fingerprints.py MODELDIR_OR_GRAPH [...]

prints a JSON object: for each model of the package the symbols of a fixed picture (counts behind
them, where there are) and the pixels of fixed symbols; for a lone graph its output.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from edgecomp.backends import Backend, Latent, load_backend
from edgecomp.models import Model, load_model

ROWS, COLUMNS = 9, 14  # of latent positions; odd and even, no multiple of a vector's length


def scattered(shape: tuple[int, ...], levels: int) -> np.ndarray:
    """uint8 values below ``levels`` by integer arithmetic, the same wherever they are made."""
    index = np.arange(np.prod(shape), dtype=np.uint64)
    mixed = index * np.uint64(2654435761) >> np.uint64(13)
    return (mixed % np.uint64(levels)).astype(np.uint8).reshape(shape)


def picture(height: int, width: int) -> np.ndarray:
    """uint8 (height, width, 3): a gradient, squares, and noise, by integer arithmetic."""
    y, x = np.mgrid[0:height, 0:width]
    gradient = (5 * x + 3 * y) // 8 % 256
    squares = np.where((x // 12 + y // 20) % 2, 220, 35)
    noise = scattered((height, width), 256)
    return np.stack([gradient, squares, noise], axis=-1).astype(np.uint8)


def analyse(backend: Backend, model: Model, rows: int = ROWS, columns: int = COLUMNS) -> Latent:
    """What the encoder makes of the fixed picture, at the last gain."""
    rgb = picture(rows * model.stride, columns * model.stride)
    return backend.analyse(rgb, model.gains - 1)


def synthesise(
    backend: Backend, model: Model, rows: int = ROWS, columns: int = COLUMNS
) -> np.ndarray:
    """What the decoder makes of the fixed symbols, at the last gain."""
    symbols = scattered((model.channels, rows, columns), model.levels)
    return backend.synthesise(symbols, model.gains - 1)


def digest(arrays: Iterable[np.ndarray | None]) -> str:
    """SHA-256 of the arrays' bytes, one behind the other."""
    found = hashlib.sha256()
    for array in arrays:
        if array is not None:
            found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def of_model(folder: Path) -> list[str]:
    """Hashes of symbols, with what the encoder gives beside them, and pixels of a model folder's
    int8 graphs."""
    model = load_model(folder)
    backend = load_backend("onnx", model, precision="int8")
    latent = analyse(backend, model)
    symbols = digest([latent.symbols, latent.counts, latent.fractions])
    return [symbols, digest([synthesise(backend, model)])]


def of_graph(path: Path) -> list[str]:
    """Hash of the output of a graph with one input, uint8 (1, 8, height, width)."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    x = scattered((1, 8, ROWS, COLUMNS), 256)
    return [digest(session.run(None, {session.get_inputs()[0].name: x}))]


def fingerprints(paths: Iterable[Path]) -> dict[str, list[str]]:
    """Hashes by path, as given."""
    return {str(path): of_model(path) if path.is_dir() else of_graph(path) for path in paths}


if __name__ == "__main__":
    print(json.dumps(fingerprints(map(Path, sys.argv[1:])), indent=1))
