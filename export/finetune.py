"""Train a network on with the roundings of its int8 graphs in the loop.

python -m export.finetune RUN_OR_CHECKPOINT --out RUN2 --data DIR [DIR...] [--quality A]

The network, pruned or not, is folded to one quality; the ranges of its activations are calibrated
on training pictures and then stay. RUN2 is a run like any other: `export.to_onnx RUN2` exports it
with these ranges, and --resume goes on. --float trains the folded network without the roundings.
--coder takes the bits from the parameters of the symbol coder, which learn along and are part of
RUN2: what begins from it goes on with them, and `export.context --init RUN2` takes them up.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")

from export import calibrate, context_model, continued, data
from export import checkpoint as ckpt
from export.coded_run import CodedRun, parameters
from export.context_model import ContextError
from export.folding import fold_source
from export.networks.edge import ConfigError
from export.settings import CHOICES, Settings
from export.train import Run, Stop

CALIBRATED = 16  # pictures that set the ranges


def starting(args: argparse.Namespace) -> Settings:
    """Write the checkpoint that the run begins from; returns its settings."""
    settings, weights = fold_source(args.source, args.quality, args.position)
    training = dataclasses.replace(
        continued.timed(settings.training, args),
        lambdas=settings.training.lambdas if args.lagrange is None else (args.lagrange,),
        choose=settings.training.choose if args.choose is None else args.choose,
        slope=args.slope or settings.training.slope,
        floor=settings.training.floor if args.floor is None else args.floor,
    )
    plain = settings.network
    network = dataclasses.replace(plain, quantised=not args.float)
    settings = dataclasses.replace(settings, network=network, training=training)
    if network.quantised and not plain.quantised:
        pictures = data.spread(args.data, CALIBRATED, settings.stride)
        weights = calibrate.quantised(plain, weights, pictures)[2]
    coder = context_model.within(weights)
    if args.coder:
        coder = parameters(args.coder, plain)
    weights |= {context_model.PREFIX + name: value for name, value in coder.items()}
    continued.write_start(args, settings, weights)
    return settings


def run_of(args: argparse.Namespace, settings: Settings) -> Run:
    """The run, with the coder's parameters where what it begins from has them."""
    begun = ckpt.load(args.out if args.resume else args.out / continued.START)
    coder = context_model.within(begun.averaged())
    if coder:
        return CodedRun(settings, args.data, args.out, coder)
    return Run(settings, args.data, args.out)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog="export.finetune", description=__doc__.splitlines()[0])
    parser.add_argument("source", metavar="RUN_OR_CHECKPOINT")
    parser.add_argument("--out", required=True, metavar="RUN", type=Path)
    parser.add_argument("--data", required=True, nargs="+", metavar="DIR")
    parser.add_argument("--quality", help="needed where the network has several")
    parser.add_argument("--position", type=float, help="between the trained qualities")
    parser.add_argument("--lambda", dest="lagrange", type=float, help="weight of the distortion")
    parser.add_argument(
        "--choose", type=float, metavar="LAMBDA", help="make zeros of ones, as export.to_onnx does"
    )
    parser.add_argument("--slope", choices=CHOICES["slope"], help="of the bits: where it is taken")
    parser.add_argument(
        "--coder", metavar="CHECKPOINT", help="take the bits from the symbol coder's parameters"
    )
    parser.add_argument("--float", action="store_true", help="train without the roundings")
    parser.add_argument(
        "--floor", type=float, help="a cosine down to this share of it; 1: constant"
    )
    continued.add_options(parser, learning_rate=1e-4)
    return continued.parsed(parser, argv)


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    args = parse(argv)
    try:
        settings = continued.settings_of(args, starting)
        stop = Stop()
        run = run_of(args, settings)
        continued.take_up(run, args)
        return continued.train(run, args, stop)
    except (ConfigError, ContextError, data.DataError, ckpt.CheckpointError) as error:
        print(f"export.finetune: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
