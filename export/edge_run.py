"""The `edge` networks as a training step sees them; see family.py."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from export.data import Pool, sample_patches
from export.family import Networks, Params, Result
from export.networks import edge
from export.networks.edge import ConfigError
from export.networks.fakequant import straight
from export.settings import Training

SHIFT = 128.0 / 255.0
PATCHES = 40000  # sampled for the principal components


class EdgeNetworks(Networks):
    """Encoder, decoder and context model of an `EdgeConfig`; the rate term is bits a pixel."""

    fast = ("ctx_", "enc_gain", "dec_gain")

    def __init__(self, config: edge.EdgeConfig, training: Training) -> None:
        self.config, self.training, precision = config, training, training.precision
        self.encoder = edge.build_encoder(config, precision=precision)
        self.decoder = edge.build_decoder(config, precision=precision)
        self.context = edge.build_context(config)
        self.models = [self.encoder, self.decoder, self.context]

    def run(
        self, params: Params, pictures: jax.Array, quality: jax.Array, training: bool = False
    ) -> Result:
        """One pass; latents are rounded, and zeros chosen, with the gradient of the identity."""
        centred = (pictures.astype(jnp.float32) - 128.0) / 255.0
        patches = edge.to_patches(centred, self.config.patch)
        exact = self.call(self.encoder, params, patches, quality)
        latents = straight(exact, self.rounded(params, exact, quality))
        patches = self.call(self.decoder, params, latents, quality)
        restored = edge.from_patches(patches, self.config.patch)
        pixels = pictures.shape[1] * pictures.shape[2]
        bpp = self.bits(params, latents, quality, exact) / pixels
        whole = jnp.round(latents)
        zeros = jnp.mean(whole == 0, axis=(1, 2, 3))
        return Result(centred + SHIFT, restored + SHIFT, bpp, bpp, whole, zeros, {})

    def rounded(self, params: Params, latents: jax.Array, quality: jax.Array) -> jax.Array:
        """Latents as whole numbers. With `training.choose`, ones become zeros where the bits that
        this saves are worth the squared error that it costs.

        That is the rule of the coder (docs/context-coder.md), by this context model and with the
        neighbours as rounded, where the coder sees what it has chosen before.
        """
        whole = jnp.round(latents)
        worth = self.training.choose
        if not worth:
            return whole
        price = self.price(params, whole, quality)
        saved = price(whole) - price(jnp.zeros_like(whole))
        loss = 2.0 * jnp.abs(latents) - 1.0
        return jnp.where((jnp.abs(whole) == 1) & (loss < worth * saved), 0.0, whole)

    def price(
        self, params: Params, latents: jax.Array, quality: jax.Array
    ) -> Callable[[jax.Array], jax.Array]:
        """What values would cost in bits, each in the place of one of the latents, all
        [n, h, w, c]; the others being as they are."""
        distribution = self.call(self.context, params, latents, quality)
        return lambda values: edge.bits(values, distribution)

    def bits(
        self,
        params: Params,
        latents: jax.Array,
        quality: jax.Array,
        exact: jax.Array | None = None,
    ) -> jax.Array:
        """Ideal bits [n] of rounded latents [n, h, w, c].

        With `training.slope` "smooth", and the ``exact`` latents before they were rounded, these
        learn from the slope of the bits averaged over one unit around their place, which is what
        uniform noise gives in the mean (Balle et al. 2017), instead of the slope at the whole
        number: at zero, where most are, there is none, and nothing holds against the distortion's
        pull. The value, and what the context model learns from, is that of the whole numbers.
        """
        price = self.price(params, latents, quality)
        if exact is None or self.training.slope != "smooth":
            return jnp.sum(price(latents), axis=(1, 2, 3))
        bits = price(jax.lax.stop_gradient(latents))
        pull = jax.lax.stop_gradient(price(exact + 0.5) - price(exact - 0.5)) * exact
        return jnp.sum(bits + pull - jax.lax.stop_gradient(pull), axis=(1, 2, 3))

    def start(self, pool: Pool) -> dict[str, np.ndarray]:
        """The principal components, and the context model fitted to their latents."""
        config, training = self.config, self.training
        if config.folded:
            raise ConfigError("network.folded: such a network starts from a checkpoint, --init")
        patches = sample_patches(pool, PATCHES, config.patch, training.seed)
        weights = self.weights()
        weights |= edge.linear_start(config, patches, training.step, list(training.gains))
        plain = patches @ weights["enc_linear/kernel"][0, 0] + weights["enc_linear/bias"]
        weights |= edge.context_start([plain * gain for gain in training.gains])
        return {k: np.asarray(v, np.float32) for k, v in weights.items()}
