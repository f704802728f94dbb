"""Prune a trained network to a budget, and fine-tune it.

python -m export.prune RUN_OR_CHECKPOINT --out RUN2 --budget X --data DIR [DIR...] [--quality A]

The network is folded to one quality, and in rounds loses filters, channels and blocks (see
choice.py) and is fine-tuned as export.train trains, the last round for longest. RUN2 is a run
like any other: `export.train --init RUN2` trains it on, `export.to_onnx RUN2` exports it. Beside
state.npz and log.csv, in which every round begins at step 0 again, pruning.json tells what each
round removed. SIGTERM and SIGINT save and leave; --resume goes on with the options it began with.

A budget is a share of the source's multiply-adds (0.5) or their number a pixel of the picture
(3000/px), encoder and decoder together; --encoder-budget and --decoder-budget set one each.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np

from export import checkpoint as ckpt
from export import data, pruning, step
from export.folding import fold_source
from export.networks.edge import ConfigError
from export.pruning import PARTS
from export.pruning.choice import Limit, smallest
from export.pruning.rank import Interrupted
from export.pruning.run import Pruning, read_record
from export.settings import Settings
from export.train import Stop


def budget(text: str | float, whole: float) -> float:
    """Multiply-adds a pixel that a budget allows: "0.5" of the whole, or "3000/px"."""
    number, _, unit = str(text).partition("/")
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if unit not in ("", "px") or not (value > 0 and np.isfinite(value)):
        raise ConfigError(f"budget {text!r}: expected a share such as 0.5, or 3000/px")
    target = value if unit else value * whole
    if target >= whole:
        raise ConfigError(f"budget {text!r}: the network takes {whole:.0f}/px as it is")
    return target


def limits_of(options: dict[str, Any], settings: Settings) -> list[Limit]:
    """What the pruned network may cost, by the options; a ConfigError if it cannot be met."""
    structure = pruning.structure_of(settings.network)
    limits = []
    for key, parts in (
        ("budget", PARTS),
        ("encoder_budget", PARTS[:1]),
        ("decoder_budget", PARTS[1:]),
    ):
        if options[key] is not None:
            whole = pruning.products(structure, None, parts)
            limits.append(Limit(pruning.products, parts, budget(options[key], whole)))
    if options["size"] is not None:
        whole = pruning.int8_bytes(structure)
        if not 0 < options["size"] < whole:
            raise ConfigError(f"--size: the network takes {whole:.0f} bytes as it is")
        limits.append(Limit(pruning.int8_bytes, PARTS, float(options["size"])))
    if not limits:
        raise ConfigError(
            "a budget is needed: --budget, --encoder-budget, --decoder-budget, --size"
        )
    for limit in limits:
        least = smallest(structure, limit, options["multiple"])
        if least > limit.target:
            what = " and ".join(limit.parts)
            raise ConfigError(
                f"budget {limit.target:.0f} for {what} cannot be met: the least is {least:.0f}"
            )
    return limits


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog="export.prune", description=__doc__.splitlines()[0])
    parser.add_argument("source", metavar="RUN_OR_CHECKPOINT")
    parser.add_argument("--out", required=True, metavar="RUN2", type=Path)
    parser.add_argument("--data", required=True, nargs="+", metavar="DIR")
    parser.add_argument("--budget", metavar="X", help="share of the multiply-adds, or N/px")
    parser.add_argument("--encoder-budget", metavar="X", help="the same for the encoder alone")
    parser.add_argument("--decoder-budget", metavar="X", help="the same for the decoder alone")
    parser.add_argument("--size", type=int, metavar="BYTES", help="of the int8 weights, both")
    parser.add_argument("--quality", help="needed where the network has several")
    parser.add_argument("--position", type=float, help="between the trained qualities")
    parser.add_argument("--rounds", type=int, default=3)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=int, default=500, help="of fine-tuning a round")
    length.add_argument("--seconds", type=float, help="of fine-tuning a round, instead of steps")
    parser.add_argument("--final", type=float, default=4.0, help="the last round is so much longer")
    parser.add_argument("--learning-rate", type=float, help="instead of the checkpoint's")
    parser.add_argument("--criterion", choices=("taylor", "norm"), default="taylor")
    parser.add_argument("--multiple", type=int, default=8, help="of which widths are multiples")
    parser.add_argument("--batches", type=int, default=8, help="of crops that rank and measure")
    parser.add_argument("--resume", action="store_true", help="go on, with the options of RUN2")
    return parser.parse_args(argv)


def options_of(args: argparse.Namespace) -> dict[str, Any]:
    """The options that shape a run, as its record keeps them."""
    options = {k: v for k, v in vars(args).items() if k not in ("source", "out", "data", "resume")}
    counts = ("rounds", "steps", "multiple", "batches")
    numbers = (*counts, "seconds", "final", "learning_rate")
    for name in numbers:
        if options[name] is not None and not options[name] > 0:
            raise ConfigError(f"--{name.replace('_', '-')} must be above zero")
    return options


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    args = parse(argv)
    stop = None
    try:
        if keras.backend.backend() != "jax":
            raise ConfigError("pruning trains, which needs KERAS_BACKEND=jax")
        record = read_record(args.out) if args.resume else {"options": options_of(args)}
        options = record["options"]
        settings, weights = fold_source(args.source, options["quality"], options["position"])
        network = dataclasses.replace(settings.network, quantised=False)
        settings = dataclasses.replace(settings, network=network)
        limits = limits_of(options, settings)
        if not args.resume and (args.out / ckpt.NAME).exists():
            raise ConfigError(f"{args.out} already has a run; use --resume or another --out")
        stop = Stop()
        run = Pruning(settings, args.data, args.out)
        weights = step.matching(weights, run.networks.weights(), args.source)
        args.out.mkdir(parents=True, exist_ok=True)
        run.record = record
        if not args.resume:
            run.describe(settings, weights)
        run.prune(settings, weights, limits, stop)
    except Interrupted:
        pass
    except (ConfigError, data.DataError, ckpt.CheckpointError) as error:
        print(f"export.prune: {error}", file=sys.stderr)
        return 1
    return 128 + stop.signal if stop is not None and stop.signal else 0


if __name__ == "__main__":
    sys.exit(main())
