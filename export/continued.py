"""What the commands share that begin a run from the weights of a checkpoint: finetune, decoder."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable

from export import checkpoint as ckpt
from export.folding import Weights
from export.networks.edge import ConfigError
from export.settings import Settings, Training
from export.train import Run, Stop

START = "start.npz"


def add_options(parser: argparse.ArgumentParser, *, learning_rate: float) -> None:
    """How long and how to train, to go on, to release."""
    parser.add_argument("--learning-rate", type=float, default=learning_rate)
    parser.add_argument("--warmup", type=int, default=50, help="steps")
    parser.add_argument("--steps", type=int, help="horizon in steps")
    parser.add_argument("--seconds", type=float, help="horizon in seconds of training")
    parser.add_argument("--resume", action="store_true", help="go on from RUN/state.npz")
    parser.add_argument("--release", metavar="FILE", help="also write the float16 weights there")


def parsed(parser: argparse.ArgumentParser, argv: list[str] | None) -> argparse.Namespace:
    """Command line with one horizon."""
    args = parser.parse_args(argv)
    if (args.steps is None) == (args.seconds is None):
        parser.error("give --steps or --seconds")
    return args


def timed(training: Training, args: argparse.Namespace) -> Training:
    """Training with the learning rate and the horizon of the command line."""
    return dataclasses.replace(
        training,
        learning_rate=args.learning_rate,
        seconds=args.seconds or 0.0,
        steps=args.steps or training.steps,
        warmup=args.warmup,
    )


def settings_of(
    args: argparse.Namespace, starting: Callable[[argparse.Namespace], Settings]
) -> Settings:
    """Settings of the run that is gone on with, or of a new one.

    Args:
        args: the command line.
        starting: writes RUN/start.npz and returns the settings of a new run.

    Raises:
        ConfigError: a number is negative, or a run is in the way.
    """
    if min(args.steps or 0, args.seconds or 0, args.warmup, args.learning_rate) < 0:
        raise ConfigError("--steps, --seconds, --warmup, --learning-rate: cannot be negative")
    if args.resume:
        return Settings.from_dict(ckpt.load(args.out).meta["settings"])
    if (args.out / ckpt.NAME).exists():
        raise ConfigError(f"{args.out} already has a run; use --resume or another --out")
    return starting(args)


def write_start(args: argparse.Namespace, settings: Settings, weights: Weights) -> None:
    """Write the checkpoint that a new run begins from."""
    meta = {"settings": settings.to_dict(), "step": 0, "seconds": 0.0}
    ckpt.save(args.out / START, ckpt.Checkpoint({"ema": weights}, meta))


def take_up(run: Run, args: argparse.Namespace) -> None:
    """The state to train on from."""
    if args.resume:
        run.resume()
    else:
        run.begin(str(args.out / START))


def train(run: Run, args: argparse.Namespace, stop: Stop) -> int:
    """Train and release; returns the exit status."""
    run.train(stop)
    if args.release:
        ckpt.release(args.out, args.release)
    return 128 + stop.signal if stop.signal else 0
