"""Export one quality of a trained network as a model folder.

python -m export.to_onnx RUN_OR_CHECKPOINT [--quality A|B|C] --out MODELDIR --data DIR [DIR...]

Writes the float and int8 ONNX graphs of encoder and decoder, a TensorFlow SavedModel, and
model.json. --data are training pictures, to calibrate the int8 ranges on where training has not
set them. The folder is written beside its target and then renamed, so that a half-written model
never stands under its name.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import shutil
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import onnx

from export import (
    checkpoint,
    data,
    edge_export,
    fractions,
    golden,
    graphs,
    manifest,
    overflow,
    quantise,
)
from export.folding import fold_source
from export.networks import cvpr
from export.networks.edge import ConfigError, EdgeConfig


def export(args: argparse.Namespace) -> bytes:
    """Write the model folder; returns the model id (8 bytes)."""
    settings, weights = fold_source(args.source, args.quality, args.position, args.rate_scale)
    config = settings.network
    (quality,) = config.qualities
    if args.choose and not isinstance(config, EdgeConfig):
        raise ConfigError("--choose needs an `edge` network")
    choice = fractions.threshold(args.choose) if args.choose else None
    pictures = data.spread(args.data, args.calibrate, settings.stride)
    if isinstance(config, cvpr.CvprConfig):
        from export import cvpr_export

        made = cvpr_export.export(config, weights, pictures)
    else:
        made = edge_export.export(config, weights, pictures)

    out: Path = args.out
    partial = out.with_name(f".{out.name}.partial-{os.getpid()}")
    partial.mkdir(parents=True)
    try:
        entries = manifest.metadata(made.facts, settings.name, quality)
        if choice is not None:
            for graph in (made.floats["encoder"], made.int8["encoder"]):
                fractions.add(graph, made.facts.zero)
        for part in made.floats:
            half = graphs.halve_initialisers(made.floats[part])
            overflow.prove(made.int8[part], f"{part}.int8")
            for precision, graph in (("int8", made.int8[part]), ("fp32", half)):
                quantise.rebuild(graph, [])
                graphs.canonical(graph)
                manifest.tag(graph, entries)
                graph.producer_name, graph.producer_version = "edgecomp.export", ""
                onnx.save(graph, partial / f"{part}.{precision}.onnx")
        made.save_model(partial / "saved_model")
        # a random number, which nothing reads: one checkpoint should give one model id
        (partial / "saved_model" / "fingerprint.pb").unlink()
        model_id = manifest.write(
            partial, made.facts, settings.kind, settings.name, quality, choice=choice
        )
        golden.write(partial)
        if out.exists():
            shutil.rmtree(out)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return model_id


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog="export.to_onnx", description=__doc__.splitlines()[0])
    parser.add_argument("source", metavar="RUN_OR_CHECKPOINT")
    parser.add_argument("--quality", help="needed where the network has several")
    parser.add_argument("--out", required=True, metavar="MODELDIR", type=Path)
    parser.add_argument("--data", required=True, nargs="+", metavar="DIR")
    parser.add_argument(
        "--position", type=float, help="between the trained qualities: 1.25 is from B towards C"
    )
    parser.add_argument(
        "--rate-scale", type=float, default=1.0, help="factor on the latents: above 1 is finer"
    )
    parser.add_argument(
        "--choose",
        type=float,
        default=0.0,
        metavar="LAMBDA",
        help="let the context coder make zeros of ones: squared error that a bit is worth (0: off)",
    )
    parser.add_argument("--calibrate", type=int, default=32, help="pictures to calibrate on")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    args = parse(argv)
    logging.getLogger().setLevel(logging.ERROR)  # the quantiser's hints, not ours to follow
    try:
        if keras.backend.backend() != "tensorflow":
            raise ConfigError("export needs KERAS_BACKEND=tensorflow")
        if not args.rate_scale > 0 or args.calibrate < 1:
            raise ConfigError("--rate-scale and --calibrate must be above zero")
        if not 0 <= args.choose < math.inf:
            raise ConfigError("--choose must be a number that is not negative")
        model_id = export(args)
    except (
        ConfigError,
        data.DataError,
        checkpoint.CheckpointError,
        fractions.FractionsError,
        quantise.QuantiseError,
        overflow.OverflowProofError,
    ) as error:
        print(f"export.to_onnx: {error}", file=sys.stderr)
        return 1
    print(f"{args.out}: model {model_id.hex()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
