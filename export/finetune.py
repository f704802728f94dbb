"""Train a network on with the roundings of its int8 graphs in the loop.

python -m export.finetune RUN_OR_CHECKPOINT --out RUN2 --data DIR [DIR...] [--quality A]

The network, pruned or not, is folded to one quality; the ranges of its activations are calibrated
on training pictures and then stay. RUN2 is a run like any other: `export.to_onnx RUN2` exports it
with these ranges, and --resume goes on. --float trains the folded network without the roundings.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")

from export import calibrate, data
from export import checkpoint as ckpt
from export.folding import fold_source
from export.networks.edge import ConfigError
from export.settings import CHOICES, Settings
from export.train import Run, Stop

START = "start.npz"
CALIBRATED = 16  # pictures that set the ranges


def starting(args: argparse.Namespace) -> Settings:
    """Write the checkpoint that the run begins from; returns its settings."""
    settings, weights = fold_source(args.source, args.quality, args.position)
    training = dataclasses.replace(
        settings.training,
        lambdas=settings.training.lambdas if args.lagrange is None else (args.lagrange,),
        learning_rate=args.learning_rate,
        seconds=args.seconds or 0.0,
        steps=args.steps or settings.training.steps,
        warmup=args.warmup,
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
    meta = {"settings": settings.to_dict(), "step": 0, "seconds": 0.0}
    ckpt.save(args.out / START, ckpt.Checkpoint({"ema": weights}, meta))
    return settings


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
    parser.add_argument("--float", action="store_true", help="train without the roundings")
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument(
        "--floor", type=float, help="a cosine down to this share of it; 1: constant"
    )
    parser.add_argument("--warmup", type=int, default=50, help="steps")
    parser.add_argument("--steps", type=int, help="horizon in steps")
    parser.add_argument("--seconds", type=float, help="horizon in seconds of training")
    parser.add_argument("--resume", action="store_true", help="go on from RUN/state.npz")
    parser.add_argument("--release", metavar="FILE", help="also write the float16 weights there")
    args = parser.parse_args(argv)
    if (args.steps is None) == (args.seconds is None):
        parser.error("give --steps or --seconds")
    return args


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    args = parse(argv)
    try:
        if min(args.steps or 0, args.seconds or 0, args.warmup, args.learning_rate) < 0:
            raise ConfigError("--steps, --seconds, --warmup, --learning-rate: cannot be negative")
        if args.resume:
            settings = Settings.from_dict(ckpt.load(args.out).meta["settings"])
        elif (args.out / ckpt.NAME).exists():
            raise ConfigError(f"{args.out} already has a run; use --resume or another --out")
        else:
            settings = starting(args)
        stop = Stop()
        run = Run(settings, args.data, args.out)
        if args.resume:
            run.resume()
        else:
            run.begin(str(args.out / START))
        run.train(stop)
        if args.release:
            ckpt.release(args.out, args.release)
    except (ConfigError, data.DataError, ckpt.CheckpointError) as error:
        print(f"export.finetune: {error}", file=sys.stderr)
        return 1
    return 128 + stop.signal if stop.signal else 0


if __name__ == "__main__":
    sys.exit(main())
