"""Export the float graphs of one quality with their weights as they were trained.

python -m export.float_model RUN_OR_CHECKPOINT [--quality A|B|C] [--position P] --out MODELDIR

The float graphs that export.to_onnx writes hold the int8 graphs' rounded weights, in float16. These
do not: they are what pruning and quantisation are compared with (export.report). The folder is a
model as the runtime reads it, with fp32 graphs alone.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import onnx

from export import checkpoint, edge_export, manifest
from export.calibrate import CENTRES
from export.folding import fold_source
from export.graphs import Facts
from export.networks import cvpr
from export.networks.edge import ConfigError
from export.settings import Settings


def float_graphs(
    source: str, quality: str | None, position: float | None
) -> tuple[Settings, Facts, dict[str, onnx.ModelProto]]:
    """Settings of one quality, what its manifest says, and {"encoder": ..., "decoder": ...}.

    Raises:
        ConfigError, CheckpointError: see `fold_source`.
    """
    settings, weights = fold_source(source, quality, position)
    config = settings.network
    if isinstance(config, cvpr.CvprConfig):
        from export import cvpr_export

        weights |= {CENTRES: np.sort(weights[CENTRES])}
        facts, graphs = cvpr_export.facts(config, weights), cvpr_export.float_graphs
        return settings, facts, graphs(config, weights)
    whole = edge_export.byte_weights(config, weights)
    return settings, edge_export.facts(config), edge_export.float_graphs(config, whole)


def export(args: argparse.Namespace) -> bytes:
    """Write the model folder, which must not be there; returns the model id (8 bytes)."""
    settings, facts, graphs = float_graphs(args.source, args.quality, args.position)
    (quality,) = settings.network.qualities
    try:
        args.out.mkdir(parents=True)
    except OSError as error:
        raise ConfigError(f"cannot make {args.out}: {error.strerror}") from error
    entries = manifest.metadata(facts, settings.name, quality)
    for part, graph in graphs.items():
        manifest.tag(graph, entries)
        graph.producer_name, graph.producer_version = "edgecomp.export", ""
        onnx.save(graph, args.out / f"{part}.fp32.onnx")
    return manifest.write(args.out, facts, settings.kind, settings.name, quality, ("fp32",))


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog="export.float_model", description=__doc__.splitlines()[0])
    parser.add_argument("source", metavar="RUN_OR_CHECKPOINT")
    parser.add_argument("--quality", help="needed where the network has several")
    parser.add_argument("--position", type=float, help="between the trained qualities")
    parser.add_argument("--out", required=True, metavar="MODELDIR", type=Path)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    args = parse(argv)
    try:
        if keras.backend.backend() != "tensorflow":
            raise ConfigError("export needs KERAS_BACKEND=tensorflow")
        model_id = export(args)
    except (ConfigError, checkpoint.CheckpointError, ValueError) as error:
        print(f"export.float_model: {error}", file=sys.stderr)
        return 1
    print(f"{args.out}: model {model_id.hex()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
