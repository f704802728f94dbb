"""The jitted training step and evaluation of the `edge` network, under Keras's JAX backend.

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
import keras
import numpy as np

from export import losses
from export.data import Pool
from export.networks import edge
from export.settings import Settings

# A GPU would otherwise take float32 products in TF32, whose 10 bits the variances of MS-SSIM
# (differences of near-equal means of squares) do not survive. bfloat16 trunks are unaffected.
jax.config.update("jax_default_matmul_precision", "highest")

Params = dict[str, jax.Array]
BETA1, BETA2, EPSILON = 0.9, 0.99, 1e-8


class Networks:
    """The three networks as pure functions of a dict of weights."""

    def __init__(self, settings: Settings) -> None:
        config, precision = settings.network, settings.training.precision
        self.config = config
        self.encoder = edge.build_encoder(config, precision=precision)
        self.decoder = edge.build_decoder(config, precision=precision)
        self.context = edge.build_context(config)
        self.models: list[keras.Model] = [self.encoder, self.decoder, self.context]
        self.trainable = {v.path for m in self.models for v in m.trainable_variables}

    def weights(self) -> dict[str, np.ndarray]:
        """Current weights of all three, by path (paths are unique: enc_, dec_, ctx_)."""
        out: dict[str, np.ndarray] = {}
        for model in self.models:
            out |= {v.path: np.asarray(v, np.float32) for v in model.variables}
        return out

    def call(self, model: keras.Model, params: Params, *inputs: jax.Array) -> jax.Array:
        """Output of one of the networks as a pure function of ``params``."""
        outputs, _ = model.stateless_call(
            [params[v.path] for v in model.trainable_variables],
            [params[v.path] for v in model.non_trainable_variables],
            list(inputs),
        )
        return outputs  # type: ignore[no-any-return]

    def run(
        self, params: Params, pictures: jax.Array, quality: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """(uint8 [n, H, W, 3], int32 [n]) -> source, restored (0..1), bits a pixel [n]."""
        centred = (pictures.astype(jnp.float32) - 128.0) / 255.0
        patches = edge.to_patches(centred, self.config.patch)
        latents = self.call(self.encoder, params, patches, quality)
        latents = edge.straight_through_round(latents)
        restored = self.call(self.decoder, params, latents, quality)
        distribution = self.call(self.context, params, latents, quality)
        pixels = pictures.shape[1] * pictures.shape[2]
        bpp = jnp.sum(edge.bits(latents, distribution), axis=(1, 2, 3)) / pixels
        shift = 128.0 / 255.0
        return centred + shift, edge.from_patches(restored, self.config.patch) + shift, bpp


def start(networks: Networks, settings: Settings, pool: Pool) -> dict[str, np.ndarray]:
    """First weights: the principal components, and the context model fitted to their latents."""
    config, training = settings.network, settings.training
    from export.data import sample_patches

    patches = sample_patches(pool, 40000, config.patch, training.seed)
    weights = networks.weights()
    weights |= edge.linear_start(config, patches, training.step, list(training.gains))
    plain = patches @ weights["enc_linear/kernel"][0, 0] + weights["enc_linear/bias"]
    weights |= edge.context_start([plain * gain for gain in training.gains])
    return {k: np.asarray(v, np.float32) for k, v in weights.items()}


def draw_crops(
    key: jax.Array, pixels: jax.Array, table: jax.Array, shares: jax.Array, batch: int, crop: int
) -> jax.Array:
    """Random crops [batch, crop, crop, 3] of the resident pictures, half of them mirrored."""
    pick, rows, cols, flip = jax.random.split(key, 4)
    index = jax.random.choice(pick, table.shape[0], (batch,), p=shares)
    offset, height, width = table[index].T
    top = jax.random.randint(rows, (batch,), 0, height - crop + 1)
    left = jax.random.randint(cols, (batch,), 0, width - crop + 1)
    mirrored = jax.random.bernoulli(flip, shape=(batch, 1))
    across = jnp.arange(crop)[None]
    across = jnp.where(mirrored, crop - 1 - across, across) + left[:, None]
    down = jnp.arange(crop)[None] + top[:, None]
    at = offset[:, None, None] + (down * width[:, None])[:, :, None] * 3 + across[:, None] * 3
    return pixels[at[..., None] + jnp.arange(3)]


def make_step(networks: Networks, settings: Settings) -> Callable[..., Any]:
    """The jitted step: (state, pool arrays, step number, learning rate) -> (state, measures).

    Measures are float32 [qualities, 4]: count, and sums of bpp, MS-SSIM and MSE.
    """
    training, count = settings.training, len(settings.network.qualities)
    lambdas = jnp.asarray(training.lambdas, jnp.float32)
    fast = ("ctx_", "enc_gain", "dec_gain")

    def loss(trained: Params, fixed: Params, crops: jax.Array, quality: jax.Array) -> Any:
        source, restored, bpp = networks.run({**trained, **fixed}, crops, quality)
        similarity, error = losses.ms_ssim(source, restored), losses.mse(source, restored)
        distortion = (1.0 - similarity) + training.mse_weight * error
        total = jnp.mean(bpp + lambdas[quality] * distortion)
        each = jnp.stack([jnp.ones_like(bpp), bpp, similarity, error], axis=1)
        return total, jax.nn.one_hot(quality, count).T @ each

    def step(
        state: dict[str, Params], pool: tuple[jax.Array, ...], number: jax.Array, rate: jax.Array
    ) -> tuple[dict[str, Params], jax.Array]:
        key = jax.random.fold_in(jax.random.key(training.seed), number)
        crop_key, quality_key = jax.random.split(key)
        crops = draw_crops(crop_key, *pool, training.batch, training.crop)
        quality = jax.random.randint(quality_key, (training.batch,), 0, count)
        weights = state["weights"]
        trained = {k: v for k, v in weights.items() if k in networks.trainable}
        fixed = {k: v for k, v in weights.items() if k not in networks.trainable}
        grad = jax.grad(loss, has_aux=True)
        gradient, measures = grad(trained, fixed, crops, quality)
        norm = jnp.sqrt(sum(jnp.sum(g * g) for g in gradient.values()))
        # A step whose gradient is not finite changes nothing: one bad crop must not end a run.
        good = jnp.isfinite(norm)
        shrink = jnp.where(good, jnp.minimum(1.0, training.clip / (norm + 1e-12)), 0.0)
        t = number.astype(jnp.float32) + 1.0
        decay = jnp.minimum(training.ema, (1.0 + t) / (10.0 + t))
        new: dict[str, Params] = {"weights": dict(fixed), "adam_m": {}, "adam_v": {}, "ema": {}}
        for name, value in trained.items():
            g = jnp.where(good, gradient[name], 0.0) * shrink
            m = BETA1 * state["adam_m"][name] + (1 - BETA1) * g
            v = BETA2 * state["adam_v"][name] + (1 - BETA2) * g * g
            update = (m / (1 - BETA1**t)) / (jnp.sqrt(v / (1 - BETA2**t)) + EPSILON)
            factor = training.fast if name.startswith(fast) else 1.0
            value = jnp.where(good, value - rate * factor * update, value)
            new["weights"][name] = value
            new["adam_m"][name], new["adam_v"][name] = m, v
            new["ema"][name] = decay * state["ema"][name] + (1 - decay) * value
        new["ema"] |= fixed
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


def make_evaluate(networks: Networks) -> Callable[..., np.ndarray]:
    """(weights, pictures uint8 [n, s, s, 3]) -> [qualities, 3]: mean bpp, MS-SSIM, PSNR."""

    @jax.jit
    def one(params: Params, pictures: jax.Array, quality: jax.Array) -> jax.Array:
        source, restored, bpp = networks.run(params, pictures, quality)
        restored = jnp.round(jnp.clip(restored, 0.0, 1.0) * 255.0) / 255.0
        psnr = -10.0 * jnp.log10(jnp.maximum(losses.mse(source, restored), 1e-10))
        return jnp.stack([bpp, losses.ms_ssim(source, restored), psnr], axis=1)

    def evaluate(params: Params, pictures: np.ndarray, batch: int = 4) -> np.ndarray:
        out = []
        for quality in range(len(networks.config.qualities)):
            rows = [
                np.asarray(one(params, part, jnp.full((len(part),), quality, jnp.int32)))
                for part in (pictures[i : i + batch] for i in range(0, len(pictures), batch))
            ]
            out.append(np.concatenate(rows).mean(0))
        return np.stack(out)

    return evaluate
