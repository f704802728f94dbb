"""Train a network: python -m export.train --config C --data DIR [DIR...] --out RUN.

Runs on whatever device JAX finds. SIGTERM and SIGINT save and leave; --resume goes on from
RUN/state.npz and repeats bit for bit what an unbroken run would have done when the schedule counts
steps; with --seconds it follows the clock. --init starts a new run, with a fresh optimiser and its
own schedule, from the averaged weights of any checkpoint, the committed float16 ones included;
without --config it keeps that checkpoint's settings.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import math
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import jax.numpy as jnp
import keras
import numpy as np

from export import checkpoint as ckpt
from export import data, losses, step
from export.family import Networks, Params
from export.networks.edge import ConfigError
from export.settings import Settings, Training, load_settings

SAVE_SECONDS = 120.0
LOG_SECONDS = 300.0
LOG_SHARE = 20.0  # and not before this many times what the last evaluation took
PRINT_STEPS = 32
IN_FLIGHT = 16  # steps dispatched before the host waits, so that the clock stays honest


class Stop:
    """Set by SIGTERM or SIGINT; the loop ends after the step under way."""

    def __init__(self) -> None:
        self.signal = 0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._set)

    def _set(self, number: int, _frame: FrameType | None) -> None:
        self.signal = number


def learning_rate(training: Training, number: int, seconds: float) -> float:
    """Linear warm-up, then over the steps or the seconds a cosine down to the floor, or a
    staircase that goes down to a tenth with every stair."""
    done = seconds / training.seconds if training.seconds else number / max(training.steps, 1)
    done = min(done, 1.0)
    if training.schedule == "staircase":
        share = 0.1 ** min(int(done * training.stairs), training.stairs - 1)
    else:
        cosine = 0.5 * (1.0 + math.cos(math.pi * done))
        share = training.floor + (1.0 - training.floor) * cosine
    warm = min(1.0, (number + 1) / max(training.warmup, 1))
    return training.learning_rate * warm * share


def finished(training: Training, number: int, seconds: float) -> bool:
    """Whether the horizon is reached."""
    return seconds >= training.seconds if training.seconds else number >= training.steps


class Run:
    """One training run and its folder: state.npz, log.csv."""

    def __init__(self, settings: Settings, folders: list[str], out: Path) -> None:
        training = settings.training
        self.settings, self.out = settings, out
        keras.utils.set_random_seed(training.seed)
        files = data.list_pictures(folders)
        held = data.held_back(files, training.held_back, training.held_back_side)
        kept = set(held)
        self.networks = self._networks()
        self.held, self.pool = self._pictures(held, [f for f in files if f not in kept])
        self.evaluate = step.make_evaluate(self.networks, len(settings.network.qualities))
        self.number, self.seconds = 0, 0.0
        self.state: dict[str, Params] = {}

    def _networks(self) -> Networks:
        """What is trained."""
        return step.networks_of(self.settings)

    def _pictures(self, held: list[Path], files: list[Path]) -> tuple[np.ndarray, data.Pool]:
        """What training is measured on, uint8 [n, side, side, channels], and what it draws from."""
        training = self.settings.training
        centres = data.load_centres(held, training.held_back_side)
        return centres, data.load_pool(files, training.crop, training.scales)

    def begin(self, init: str | None) -> None:
        """First weights: from scratch, or the averaged weights of a checkpoint."""
        if init is None:
            weights = self.networks.start(self.pool)
        else:
            weights = step.matching(ckpt.load(init).averaged(), self.networks.weights(), init)
        self.state = step.fresh_state(self.networks, weights)

    def resume(self) -> None:
        """State, step and clock of the run's own checkpoint."""
        found = ckpt.load(self.out)
        if any(g not in found.groups for g in ("weights", "adam_m", "adam_v")):
            raise ckpt.CheckpointError(f"{self.out}: not a full checkpoint; use --init")
        want = self.networks.weights()
        for group in ("weights", "ema"):
            step.matching(found.groups[group], want, str(self.out))
        self.state = {
            group: {k: jnp.array(v) for k, v in values.items()}
            for group, values in found.groups.items()
        }
        self.number, self.seconds = int(found.meta["step"]), float(found.meta["seconds"])

    def averaged(self) -> dict[str, np.ndarray]:
        """The averaged weights."""
        return {name: np.asarray(value) for name, value in self.state["ema"].items()}

    def save(self) -> None:
        """Write state.npz."""
        groups = {g: {k: np.asarray(v) for k, v in d.items()} for g, d in self.state.items()}
        meta: dict[str, Any] = {"settings": self.settings.to_dict()}
        meta |= {"step": self.number, "seconds": self.seconds}
        ckpt.save(self.out / ckpt.NAME, ckpt.Checkpoint(groups, meta))

    def log(self) -> None:
        """Append the figures of the held-back pictures to log.csv, and print them."""
        if not len(self.held):
            return
        table = self.evaluate(self.state["ema"], self.held)
        path = self.out / "log.csv"
        names = self.settings.network.qualities
        columns = [f"{m}_{q}" for q in names for m in ("bpp", "msssim", "psnr")]
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["step", "seconds", *columns])
            figures = [f"{x:.5f}" for x in table.reshape(-1)]
            writer.writerow([self.number, f"{self.seconds:.0f}", *figures])
        text = "  ".join(
            f"{q} {r[0]:.3f} bpp {r[1]:.4f} {r[2]:.2f} dB"
            for q, r in zip(names, table, strict=True)
        )
        print(f"held back, step {self.number}, {self.seconds:.0f} s: {text}", flush=True)

    def train(self, stop: Stop, stop_at: int | None = None) -> None:
        """The loop. Evaluation and saving do not count as training time."""
        training = self.settings.training
        pool = tuple(jnp.asarray(x) for x in (self.pool.pixels, self.pool.table, self.pool.weights))
        advance = step.make_step(self.networks, self.settings)
        if self.number == 0:
            self.log()
        last_save = last_log = time.monotonic()
        pause = LOG_SECONDS
        since = time.monotonic()
        sums, summed = np.zeros((len(training.lambdas), step.MEASURES)), 0
        pending: list[jax.Array] = []
        while not finished(training, self.number, self.seconds) and not stop.signal:
            if stop_at is not None and self.number >= stop_at:
                break
            rate = learning_rate(training, self.number, self.seconds)
            self.state, measures = advance(
                self.state, pool, jnp.int32(self.number), jnp.float32(rate)
            )
            self.number += 1
            pending.append(measures)
            if len(pending) >= IN_FLIGHT:
                sums += np.sum([np.asarray(m) for m in pending], axis=0)
                summed += len(pending)
                pending.clear()
            now = time.monotonic()
            self.seconds, since = self.seconds + now - since, now
            if summed >= PRINT_STEPS:
                self._print(sums, summed, rate)
                sums[:], summed = 0.0, 0
            if now - last_save > SAVE_SECONDS:
                self.save()
                last_save = now
            if now - last_log > pause:
                start = time.monotonic()
                self.log()
                last_log = time.monotonic()
                pause = max(LOG_SECONDS, LOG_SHARE * (last_log - start))
            if time.monotonic() - now > 1.0:
                since = time.monotonic()
        jax.block_until_ready(self.state)
        self.save()
        self.log()

    def _print(self, sums: np.ndarray, count: int, rate: float) -> None:
        mean = sums[:, 1:5] / np.maximum(sums[:, :1], 1.0)
        training = self.settings.training
        parts = [
            f"{q} {b:.3f} bpp {s:.4f} {-10 * math.log10(max(e, 1e-10)):.2f} dB"
            for q, (b, s, e, _) in zip(self.settings.network.qualities, mean, strict=True)
        ]
        _, similarity, error, rate_term = mean.T
        distortion = losses.distortion(training.distortion, training.mse_weight, similarity, error)
        loss = float(np.mean(rate_term + np.asarray(training.lambdas) * distortion))
        print(
            f"step {self.number} {self.seconds:.0f} s rate {rate:.2e} loss {loss:.4f} "
            f"norm {sums[0, 5] / count:.3f}: {'  '.join(parts)}",
            flush=True,
        )


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog="export.train", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--config", help="JSON file, see export/configs; default: as the checkpoint was trained"
    )
    parser.add_argument("--data", required=True, nargs="+", metavar="DIR")
    parser.add_argument("--out", required=True, metavar="RUN", type=Path)
    parser.add_argument("--steps", type=int, help="horizon in steps, instead of the config's")
    parser.add_argument("--seconds", type=float, help="horizon in seconds of training")
    parser.add_argument("--learning-rate", type=float, help="instead of the config's")
    parser.add_argument(
        "--stop-at", type=int, metavar="STEP", help="save and leave there, the schedule unchanged"
    )
    parser.add_argument("--resume", action="store_true", help="go on from RUN/state.npz")
    parser.add_argument("--init", metavar="CHECKPOINT", help="start from averaged weights")
    parser.add_argument("--release", metavar="FILE", help="also write the float16 weights there")
    return parser.parse_args(argv)


def chosen(args: argparse.Namespace) -> Settings:
    """Settings of the config file or, without one, of the checkpoint that is gone on from."""
    if args.config is not None:
        return load_settings(args.config)
    source = args.out if args.resume else args.init
    if source is None:
        raise ConfigError("--config is needed, or a checkpoint: --init or --resume")
    try:
        return Settings.from_dict(ckpt.load(source).meta["settings"])
    except ConfigError as error:
        raise ConfigError(f"settings in {source}: {error}") from error


def adjusted(settings: Settings, args: argparse.Namespace) -> Settings:
    """Settings with the command line's horizon and learning rate."""
    changes: dict[str, Any] = {}
    if args.steps is not None:
        changes |= {"steps": args.steps, "seconds": 0.0}
    if args.seconds is not None:
        changes["seconds"] = args.seconds
    if args.learning_rate is not None:
        changes["learning_rate"] = args.learning_rate
    if any(not value >= 0 for value in changes.values()):
        raise ConfigError("--steps, --seconds and --learning-rate cannot be negative")
    training = dataclasses.replace(settings.training, **changes)
    return dataclasses.replace(settings, training=training)


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    args = parse(argv)
    try:
        if keras.backend.backend() != "jax":
            raise ConfigError("training needs KERAS_BACKEND=jax")
        settings = adjusted(chosen(args), args)
        if not args.resume and (args.out / ckpt.NAME).exists():
            raise ConfigError(f"{args.out} already has a run; use --resume or another --out")
        stop = Stop()
        run = Run(settings, args.data, args.out)
        args.out.mkdir(parents=True, exist_ok=True)
        if args.resume:
            run.resume()
        else:
            run.begin(args.init)
        run.train(stop, args.stop_at)
        if args.release:
            ckpt.release(args.out, args.release)
    except (ConfigError, data.DataError, ckpt.CheckpointError) as error:
        print(f"export.train: {error}", file=sys.stderr)
        return 1
    return 128 + stop.signal if stop.signal else 0


if __name__ == "__main__":
    sys.exit(main())
