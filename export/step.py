"""The jitted training step and evaluation, under Keras's JAX backend.

Everything a step needs lies on the device: the pictures as one flat uint8 array, the weights, the
optimiser. A step depends only on the state, the step number and the seed, so a resumed run
repeats an unbroken one bit for bit. Weights travel as dicts by path, the optimiser is Adam
(Kingma and Ba 2015) written out, so that its state is arrays of the same names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from export import losses
from export.checkpoint import CheckpointError
from export.cvpr_run import CvprNetworks
from export.edge_run import EdgeNetworks
from export.family import Networks, Params
from export.networks.edge import EdgeConfig
from export.settings import Settings

# A GPU would otherwise take float32 products in TF32, whose 10 bits the variances of MS-SSIM
# (differences of near-equal means of squares) do not survive. bfloat16 trunks are unaffected.
jax.config.update("jax_default_matmul_precision", "highest")

BETA1, EPSILON = 0.9, 1e-8
MEASURES = 6  # columns of what a step reports


def networks_of(settings: Settings) -> Networks:
    """The networks of the config's family, with fresh weights."""
    if isinstance(settings.network, EdgeConfig):
        return EdgeNetworks(settings.network, settings.training)
    return CvprNetworks(settings.network, settings.training)


def matching(
    weights: dict[str, np.ndarray], want: dict[str, np.ndarray], name: str
) -> dict[str, np.ndarray]:
    """Those of a checkpoint's ``weights`` that the networks have; a CheckpointError naming the
    first that is missing or of another shape."""
    for path, value in want.items():
        if path not in weights or weights[path].shape != value.shape:
            raise CheckpointError(f"checkpoint {name} does not fit the config: {path}")
    return {path: weights[path] for path in want}


def draw_crops(
    key: jax.Array,
    pixels: jax.Array,
    table: jax.Array,
    shares: jax.Array,
    batch: int,
    crop: int,
    *,
    channels: int = 3,
    grid: int = 1,
) -> jax.Array:
    """Random crops [batch, crop, crop, channels] of the resident pictures, half of them mirrored.

    With a ``grid`` above one their corners are multiples of it, and none is mirrored.
    """
    pick, rows, cols, flip = jax.random.split(key, 4)
    index = jax.random.choice(pick, table.shape[0], (batch,), p=shares)
    offset, height, width = table[index].T
    top = grid * jax.random.randint(rows, (batch,), 0, (height - crop) // grid + 1)
    left = grid * jax.random.randint(cols, (batch,), 0, (width - crop) // grid + 1)
    mirrored = jax.random.bernoulli(flip, shape=(batch, 1)) & (grid == 1)
    across = jnp.arange(crop)[None]
    across = jnp.where(mirrored, crop - 1 - across, across) + left[:, None]
    down = jnp.arange(crop)[None] + top[:, None]
    at = (down * width[:, None])[:, :, None] + across[:, None]
    return pixels[(offset[:, None, None] + at * channels)[..., None] + jnp.arange(channels)]


def make_step(networks: Networks, settings: Settings) -> Callable[..., Any]:
    """The jitted step: (state, pool arrays, step number, learning rate) -> (state, measures).

    Measures are float32 [qualities, 6]: count; sums of bpp, MS-SSIM, MSE and the rate term; the
    gradient's norm.
    """
    training, count = settings.training, len(settings.network.qualities)
    lambdas = jnp.asarray(training.lambdas, jnp.float32)

    def loss(trained: Params, fixed: Params, crops: jax.Array, quality: jax.Array) -> Any:
        params = {**trained, **fixed}
        result = networks.run(params, crops, quality, training=True)
        similarity = losses.ms_ssim(result.source, result.restored)
        error = losses.mse(result.source, result.restored)
        distortion = losses.distortion(training.distortion, training.mse_weight, similarity, error)
        total = jnp.mean(result.rate + lambdas[quality] * distortion)
        each = jnp.stack([jnp.ones_like(error), result.bpp, similarity, error, result.rate], axis=1)
        measures = jax.nn.one_hot(quality, count).T @ each
        return total + networks.penalty(params), (measures, result.updates)

    def step(
        state: dict[str, Params],
        pool: tuple[jax.Array, jax.Array, jax.Array],
        number: jax.Array,
        rate: jax.Array,
    ) -> tuple[dict[str, Params], jax.Array]:
        key = jax.random.fold_in(jax.random.key(training.seed), number)
        crop_key, quality_key = jax.random.split(key)
        crops = draw_crops(
            crop_key,
            *pool,
            training.batch,
            training.crop,
            channels=networks.channels,
            grid=networks.grid,
        )
        quality = jax.random.randint(quality_key, (training.batch,), 0, count)
        weights = state["weights"]
        trained = {k: v for k, v in weights.items() if k in networks.trainable}
        fixed = {k: v for k, v in weights.items() if k not in networks.trainable}
        grad = jax.grad(loss, has_aux=True)
        gradient, (measures, updates) = grad(trained, fixed, crops, quality)
        norm = jnp.sqrt(sum(jnp.sum(g * g) for g in gradient.values()))
        # A step whose gradient is not finite changes nothing: one bad crop must not end a run.
        good = jnp.isfinite(norm)
        shrink = jnp.minimum(1.0, training.clip / (norm + 1e-12)) if training.clip else 1.0
        shrink = jnp.where(good, shrink, 0.0)
        t = number.astype(jnp.float32) + 1.0
        decay = jnp.minimum(training.ema, (1.0 + t) / (10.0 + t))
        ema = state["ema"]
        new: dict[str, Params] = {"weights": dict(fixed), "adam_m": {}, "adam_v": {}, "ema": {}}
        for name, value in trained.items():
            g = jnp.where(good, gradient[name], 0.0) * shrink
            m = BETA1 * state["adam_m"][name] + (1 - BETA1) * g
            v = training.beta2 * state["adam_v"][name] + (1 - training.beta2) * g * g
            update = (m / (1 - BETA1**t)) / (jnp.sqrt(v / (1 - training.beta2**t)) + EPSILON)
            factor = training.fast if name.startswith(networks.fast) else 1.0
            value = jnp.where(good, value - rate * factor * update, value)
            new["weights"][name] = value
            new["adam_m"][name], new["adam_v"][name] = m, v
            new["ema"][name] = decay * ema[name] + (1 - decay) * value
        new["ema"] |= fixed
        for name, value in updates.items():
            value = jnp.where(good, value, fixed[name])
            new["weights"][name] = value
            # Statistics of the averaged weights: the same average of the statistics.
            new["ema"][name] = decay * ema[name] + (1 - decay) * value
        return new, jnp.concatenate([measures, jnp.full((count, 1), norm)], axis=1)

    return jax.jit(step, donate_argnums=0)


def fresh_state(networks: Networks, weights: dict[str, np.ndarray]) -> dict[str, Params]:
    """Optimiser state of a new run from its first weights."""
    zeros = {k: jnp.zeros(v.shape, jnp.float32) for k, v in weights.items()}
    trained = {k: v for k, v in zeros.items() if k in networks.trainable}
    return {
        "weights": {k: jnp.array(v) for k, v in weights.items()},
        "ema": {k: jnp.array(v) for k, v in weights.items()},
        "adam_m": dict(trained),
        "adam_v": {k: jnp.array(v) for k, v in trained.items()},
    }


def make_evaluate(networks: Networks, qualities: int) -> Callable[..., np.ndarray]:
    """(weights, pictures uint8 [n, s, s, 3]) -> [qualities, 3]: mean bpp, MS-SSIM, PSNR."""

    @jax.jit
    def one(params: Params, pictures: jax.Array, quality: jax.Array) -> jax.Array:
        result = networks.run(params, pictures, quality)
        source = result.source
        restored = jnp.round(jnp.clip(result.restored, 0.0, 1.0) * 255.0) / 255.0
        psnr = -10.0 * jnp.log10(jnp.maximum(losses.mse(source, restored), 1e-10))
        return jnp.stack([result.bpp, losses.ms_ssim(source, restored), psnr], axis=1)

    def evaluate(params: Params, pictures: np.ndarray, batch: int = 4) -> np.ndarray:
        out = []
        for quality in range(qualities):
            rows = [
                np.asarray(one(params, part, jnp.full((len(part),), quality, jnp.int32)))
                for part in (pictures[i : i + batch] for i in range(0, len(pictures), batch))
            ]
            out.append(np.concatenate(rows).mean(0))
        return np.stack(out)

    return evaluate
