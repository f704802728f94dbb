"""Writes the frozen float context model of the tests, for the model tests/data/models/tiny (needs
the extra `export`).

Its weights are written by hand, so that what it says is known: the mean of a symbol is half the
value to its left plus a quarter of the one above to the right, in the same channel, and the log
scale of channel i is i / 4 - 1. tests/evaluation/test_context_model.py relies on that.

    python tests/data/context-onnx/make_context_onnx.py NEW_FILE
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[3]))

from edgecomp.models import load_model
from export import context_onnx, manifest
from export.networks.edge import Context, EdgeConfig

MODEL = Path(__file__).parent.parent / "models" / "tiny"
LEFT, ABOVE_RIGHT = 0.5, 0.25


def weights_of(channels: int) -> dict[str, np.ndarray]:
    """Weights of a context model of reach 1: a ReLU passes sums of either sign by two units."""
    one = np.eye(channels, dtype=np.float32)
    signs = np.concatenate([one, -one], axis=1)
    above = np.zeros((1, 3, channels, 2 * channels), np.float32)
    above[0, 2] = ABOVE_RIGHT * signs
    nothing = np.zeros((1, channels), np.float32)
    return {
        "ctx_normalise/table": nothing,
        "ctx_denormalise/table": nothing,
        "ctx_above/kernel": above,
        "ctx_left/kernel": LEFT * signs[None, None],
        "ctx_left/bias": np.zeros(2 * channels, np.float32),
        "ctx_rate_bias/table": np.zeros((1, 2 * channels), np.float32),
        "ctx_mean/kernel": signs.T[None, None],
        "ctx_mean/bias": nothing[0],
        "ctx_scale/kernel": np.zeros((1, 1, 2 * channels, channels), np.float32),
        "ctx_scale/bias": np.arange(channels, dtype=np.float32) / 4,
        "ctx_scale_bias/table": nothing - 1,
    }


def main(file: Path) -> None:
    model = load_model(MODEL)
    config = EdgeConfig(
        latents=model.channels,
        qualities=(model.quality,),
        folded=True,
        context=Context(reach=1, width=2 * model.channels, hidden=()),
    )
    graph = context_onnx.context_graph(config, weights_of(model.channels), model.zero)
    encoder = model.graphs["encoder", "int8"].sha256
    manifest.tag(graph, context_onnx.metadata(config, model, encoder))
    file.write_bytes(graph.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
