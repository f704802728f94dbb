"""SHA-256 of what int8 graphs make of fixed inputs; a command, to be run on another processor.

    python tests/fingerprints.py MODELDIR_OR_GRAPH [...]

prints a JSON object: for each model of the package the symbols of a fixed picture (counts behind
them, where there are) and the pixels of fixed symbols; for a lone graph its output.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

from edgecomp.backends import load_backend
from edgecomp.golden import COLUMNS, ROWS, analyse, digest, picture, scattered, synthesise
from edgecomp.models import load_model

__all__ = ["analyse", "digest", "picture", "scattered", "synthesise"]  # of golden vectors, too


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
