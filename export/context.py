"""Train the context coder of a model on its own latents, and put it into the model folder.

python -m export.context MODELDIR --data DIR [DIR...] --seconds 600 --release CHECKPOINT
python -m export.context MODELDIR --data DIR [DIR...] --seconds 300 --init CHECKPOINT
python -m export.context MODELDIR --from CHECKPOINT

Training pictures go through the model's int8 encoder once; then the context model learns to predict
their symbols. The float16 checkpoint is what the file in the folder is made of, to the byte, so a
model exported anew gets the same one by --from. A checkpoint knows which encoder it is for.
With --init training goes on from such a checkpoint, or from a network's that was trained with a
coder (export.finetune --coder), of an encoder whose channels mean the same;
where the model has its symbols chosen, it is then on the symbols that these parameters choose, and
not on the rounded ones.
The last lines say what the held-back pictures cost, in bits per pixel.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import jax.numpy as jnp
import numpy as np

from edgecomp import native
from edgecomp.backends import Latent, load_backend
from edgecomp.entropy import ContextCoder
from edgecomp.errors import EdgecompError
from edgecomp.models import Model, load_model
from export import checkpoint, data, golden, manifest
from export.context_file import pack
from export.context_model import FIXED, ContextError, Weights, bits, given, predict, start

FILE = "context.bin"
LOG_SECONDS = 30.0
HELD_BACK, HELD_SIDE = 40, 384
BETAS = (0.9, 0.99)


@dataclass(frozen=True)
class Plan:
    """How a context model is trained."""

    reach: int = 2
    width: int = 96
    hidden: int = 96
    crop: int = 24
    batch: int = 6
    learning_rate: float = 2e-3
    warmup: int = 100
    steps: int = 0
    seconds: float = 0.0
    seed: int = 1


class Volumes:
    """Symbols of pictures, as values and masks, cropped at random."""

    def __init__(self, latents: list[Latent], model: Model, order: np.ndarray, reach: int) -> None:
        self.reach = reach
        border = ((reach, 0), (reach, reach), (0, 0))
        self.padded = []
        for latent in latents:
            values = latent.symbols[order].transpose(1, 2, 0).astype(np.int16) - model.zero
            self.padded.append(np.pad(values, border))
        self.masks = None
        if latents[0].counts is not None:
            self.masks = [order < np.asarray(latent.counts)[..., None] for latent in latents]
        self.area = np.array([latent.symbols[0].size for latent in latents], np.float64)

    def crop(self, random: np.random.Generator, side: int) -> tuple[np.ndarray, np.ndarray]:
        """Values [reach + side, 2 reach + side, c], and which of [side, side, c] are coded."""
        which = random.choice(len(self.padded), p=self.area / self.area.sum())
        height, width = self.padded[which].shape[:2]
        y = random.integers(height - self.reach - side + 1)
        x = random.integers(width - 2 * self.reach - side + 1)
        values = self.padded[which][y : y + side + self.reach, x : x + side + 2 * self.reach]
        if self.masks is None:
            return values, np.ones((side, side, values.shape[2]), bool)
        return values, self.masks[which][y : y + side, x : x + side]

    def whole(self, which: int) -> tuple[np.ndarray, np.ndarray]:
        """As `crop`, all of one volume."""
        values = self.padded[which]
        height, width = values.shape[0] - self.reach, values.shape[1] - 2 * self.reach
        if self.masks is None:
            return values, np.ones((height, width, values.shape[2]), bool)
        return values, self.masks[which]


class Trainer:
    """A context model in training. The channels with the most to say come first."""

    def __init__(
        self, plan: Plan, model: Model, latents: list[Latent], known: Weights | None = None
    ) -> None:
        self.plan, self.model = plan, model
        self.random = np.random.default_rng(plan.seed)
        fit = [v for v in latents if min(v.symbols.shape[1:]) >= plan.crop]
        if not fit:
            raise ContextError(f"no training picture has {plan.crop} positions on both sides")
        flat = [v.symbols.reshape(model.channels, -1) for v in fit]
        values = np.concatenate(flat, 1).astype(np.float32) - model.zero
        std = np.maximum(values.std(1), 0.05)
        order = np.argsort(-std, kind="stable")
        weights = start(order, std[order], plan.reach, plan.width, plan.hidden, plan.seed)
        if known is not None:
            if {k: v.shape for k, v in known.items()} != {k: v.shape for k, v in weights.items()}:
                raise ContextError("--init is of another shape (channels, reach, width, hidden)")
            weights = {k: v.astype(weights[k].dtype) for k, v in known.items()}
        self.volumes = Volumes(fit, model, weights["order"], plan.reach)
        self.fixed = {k: jnp.asarray(weights.pop(k)) for k in FIXED}
        self.weights = {k: jnp.asarray(v) for k, v in weights.items()}
        self.moments = tuple(jax.tree.map(jnp.zeros_like, self.weights) for _ in range(2))
        self._step = jax.jit(self._update)
        self._cost = jax.jit(self._bits)
        self.number, self.seconds = 0, 0.0

    def _bits(self, weights: Weights, values: jax.Array, coded: jax.Array) -> jax.Array:
        padded = values.astype(jnp.float32)
        mean, scale = predict(weights | self.fixed, padded, self.plan.reach)
        inner = padded[:, self.plan.reach :, self.plan.reach : -self.plan.reach]
        low, high = -self.model.zero, self.model.levels - 1 - self.model.zero
        return jnp.where(coded, bits(inner, mean, scale, low, high), 0.0).sum()

    def _update(
        self, weights: Weights, moments: Any, values: Any, coded: Any, step: Any, rate: Any
    ) -> tuple[Weights, Any, jax.Array]:
        """One step of Adam."""
        count = values.shape[0] * self.plan.crop**2
        cost, slope = jax.value_and_grad(self._bits)(weights, values, coded)
        slope = jax.tree.map(lambda g: g / count, slope)
        a, b = BETAS
        first = jax.tree.map(lambda m, g: a * m + (1 - a) * g, moments[0], slope)
        second = jax.tree.map(lambda v, g: b * v + (1 - b) * g * g, moments[1], slope)
        one, two = 1 - a**step, 1 - b**step
        weights = jax.tree.map(
            lambda w, m, v: w - rate * (m / one) / (jnp.sqrt(v / two) + 1e-6),
            weights, first, second,
        )  # fmt: skip
        return weights, (first, second), cost / count

    def train(self) -> None:
        """Until the steps or seconds of the plan are over, with a learning rate that falls as a
        cosine to a fiftieth."""
        plan, since, logged, costs = self.plan, time.monotonic(), 0.0, []
        while (done := self._done()) < 1.0:
            crops = [self.volumes.crop(self.random, plan.crop) for _ in range(plan.batch)]
            values, coded = (np.stack(part) for part in zip(*crops, strict=True))
            self.number += 1
            rate = plan.learning_rate * (0.02 + 0.49 * (1 + np.cos(np.pi * done)))
            rate *= min(1.0, self.number / plan.warmup)
            self.weights, self.moments, cost = self._step(
                self.weights, self.moments, values, coded, float(self.number), rate
            )
            costs.append(float(cost))
            self.seconds = time.monotonic() - since
            if self.seconds - logged > LOG_SECONDS:
                per_pixel = np.mean(costs) / self.model.stride**2
                print(
                    f"step {self.number} {self.seconds:.0f} s rate {rate:.1e} {per_pixel:.4f} bpp",
                    flush=True,
                )
                logged, costs = self.seconds, []

    def _done(self) -> float:
        if self.plan.seconds:
            return self.seconds / self.plan.seconds
        return self.number / max(self.plan.steps, 1)

    def average(self, latents: list[Latent]) -> float:
        """Ideal bits per pixel of whole pictures."""
        volumes = Volumes(latents, self.model, np.asarray(self.fixed["order"]), self.plan.reach)
        total = sum(
            float(self._cost(self.weights, *(part[None] for part in volumes.whole(i))))
            for i in range(len(latents))
        )
        return total / (volumes.area.sum() * self.model.stride**2)

    def result(self) -> dict[str, np.ndarray]:
        """All weights."""
        return {k: np.asarray(v) for k, v in (self.weights | self.fixed).items()}


def latents_of(
    model: Model, files: list[Path], chooser: ContextCoder | None = None
) -> list[Latent]:
    """Symbols of pictures, their sides cut to multiples of the stride; as rounded, or as chosen by
    a coder for models whose symbols are chosen."""
    backend = load_backend("onnx", model, precision="int8", threads=2)
    out = []
    for path in files:
        picture = data.read_picture(path)
        height, width = (side // model.stride * model.stride for side in picture.shape[:2])
        if height and width:
            latent = backend.analyse(np.ascontiguousarray(picture[:height, :width]), 0)
            out.append(latent if chooser is None else chosen(model, latent, chooser))
    return out


def chosen(model: Model, latent: Latent, chooser: ContextCoder) -> Latent:
    """The latent as a coder would choose its symbols; as it is where the model wants no choice."""
    if model.choice_threshold is None or latent.fractions is None:
        return latent
    _, symbols = chooser.choose_and_encode(
        latent.symbols,
        levels=model.levels,
        zero=model.zero,
        fractions=latent.fractions,
        threshold=model.choice_threshold,
        counts=latent.counts,
    )
    return Latent(symbols, latent.counts)


def coder_of(model: Model, weights: Weights) -> ContextCoder:
    """The coder that float weights make."""
    coded = pack(weights, levels=model.levels, zero=model.zero)
    return ContextCoder(native.context_parameters(coded))


def encoder_digest(model: Model) -> str:
    """What ties parameters to a model: the SHA-256 of its int8 encoder."""
    return model.graphs["encoder", "int8"].sha256


def train(
    model: Model, plan: Plan, folders: list[str], known: Weights | None = None
) -> tuple[checkpoint.Checkpoint, str]:
    """The trained weights as a float16 checkpoint, and a line about the held-back pictures.

    Args:
        model: with any parameters or none.
        plan: how long, how large.
        folders: of training pictures.
        known: weights to go on from.
    """
    files = data.list_pictures(folders)
    held = set(data.held_back(files, HELD_BACK, HELD_SIDE))
    chooser = None if known is None else coder_of(model, known)
    latents = latents_of(model, [f for f in files if f not in held], chooser)
    trainer = Trainer(plan, model, latents, known)
    trainer.train()
    line = f"{trainer.number} steps in {trainer.seconds:.0f} s"
    if held:
        volumes = latents_of(model, sorted(held), chooser)
        line += f"; held back: {trainer.average(volumes):.4f} bpp"
    half = {k: v if k in FIXED else v.astype(np.float16) for k, v in trainer.result().items()}
    meta = {"settings": {"kind": "context", **vars(plan)}, "encoder": encoder_digest(model)}
    return checkpoint.Checkpoint({"ema": half}, meta), line


def install(folder: Path, found: checkpoint.Checkpoint) -> bytes:
    """Write the parameters into a model folder and its manifest; returns the model's new id."""
    model = load_model(folder)
    if found.meta.get("encoder") != encoder_digest(model):
        raise ContextError(f"{folder}: these parameters were trained on another encoder's latents")
    coded = pack(found.averaged(), levels=model.levels, zero=model.zero)
    native.context_parameters(coded)  # proves that nothing overflows
    record = json.loads((folder / manifest.NAME).read_bytes())
    record["coders"]["context"] = {"file": FILE, "sha256": hashlib.sha256(coded).hexdigest()}
    (folder / FILE).write_bytes(coded)
    model_id = manifest.save(folder, record)
    golden.write(folder)
    return model_id


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog="export.context", description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, metavar="MODELDIR")
    parser.add_argument("--data", nargs="+", metavar="DIR", help="training pictures")
    parser.add_argument("--from", dest="source", metavar="CHECKPOINT", help="train nothing")
    parser.add_argument("--init", metavar="CHECKPOINT", help="go on from there, with new latents")
    parser.add_argument("--release", metavar="FILE", help="also write the float16 weights there")
    for name in ("steps", "seconds", "width", "hidden", "reach", "batch", "crop", "seed"):
        kind = float if name == "seconds" else int
        parser.add_argument(f"--{name}", type=kind, default=getattr(Plan, name))
    parser.add_argument("--learning-rate", type=float, default=Plan.learning_rate)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    args = parse(argv)
    try:
        if args.source:
            found = checkpoint.load(args.source)
        elif args.data and (args.steps > 0 or args.seconds > 0):
            plan = Plan(**{name: getattr(args, name) for name in Plan.__dataclass_fields__
                           if hasattr(args, name)})  # fmt: skip
            known = given(checkpoint.load(args.init).averaged()) if args.init else None
            found, line = train(load_model(args.model), plan, args.data, known)
            print(line)
            if args.release:
                checkpoint.save(args.release, found, compress=True)
        else:
            raise ContextError("give --from, or --data and --steps or --seconds above zero")
        model_id = install(args.model, found)
    except (ContextError, EdgecompError, data.DataError, checkpoint.CheckpointError) as error:
        print(f"export.context: {error}", file=sys.stderr)
        return 1
    print(f"{args.model}: model {model_id.hex()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
