"""The `cvpr` networks as a training step sees them; see family.py.

The loss is the paper's (Mentzer et al. 2018) as its authors' code has it: the rate term is
beta * max(H - H_target, 0) over the batch, H half the mean bits of a symbol plus half the mean of
those bits times the channel's share of the importance map. Through the bits alone no gradient
reaches the autoencoder, for symbols are integers and the context model's input is cut off: what
teaches it to spend less is the importance map.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from export.data import Pool
from export.family import Networks, Params, Result
from export.networks import cvpr
from export.settings import Training

CENTRES = "enc_centres/centres"


class CvprNetworks(Networks):
    """Encoder, decoder and context model of a `CvprConfig`, one quality."""

    fast = ("ctx_",)

    def __init__(self, config: cvpr.CvprConfig, training: Training) -> None:
        self.config, self.training, precision = config, training, training.precision
        self.encoder = cvpr.build_encoder(config, precision=precision)
        self.decoder = cvpr.build_decoder(config, precision=precision)
        self.context = cvpr.build_context(config)
        self.models = [self.encoder, self.decoder, self.context]
        self.decayed = sorted(
            path
            for path in self.trainable
            if path.startswith(("enc_", "dec_")) and path.endswith("/kernel")
        )
        # bits a symbol at the target: C symbols stand for stride^2 pixels
        self.target = training.bpp_target * config.stride**2 / config.bottleneck

    def run(
        self, params: Params, pictures: jax.Array, quality: jax.Array, training: bool = False
    ) -> Result:
        """One pass; in training the batch norms take the batch's own statistics."""
        source = pictures.astype(jnp.float32)
        raw, encoder_updates = self.apply(self.encoder, params, source, training=training)
        masked, importance = cvpr.importance_mask(raw, self.config)
        values, symbols = cvpr.quantise(masked, params[CENTRES])
        restored, decoder_updates = self.apply(self.decoder, params, values, training=training)
        fill = jnp.full((pictures.shape[0],), params[CENTRES][0])
        logits = self.call(self.context, params, values, fill)
        cost = cvpr.bit_cost(logits, symbols)
        mask = cvpr.channel_mask(importance, self.config.bottleneck)
        entropy = 0.5 * (jnp.mean(cost) + jnp.mean(cost * mask))
        rate = self.training.rate_weight * jnp.maximum(entropy - self.target, 0.0)
        pixels = pictures.shape[1] * pictures.shape[2]
        return Result(
            source / 255.0,
            restored / 255.0,
            self.bits(cost, mask, importance) / pixels,
            jnp.full(pictures.shape[:1], rate),
            symbols,
            jnp.mean(mask == 0, axis=(1, 2, 3)),
            encoder_updates | decoder_updates,
        )

    def bits(self, cost: jax.Array, mask: jax.Array, importance: jax.Array) -> jax.Array:
        """Ideal bits [n] of pictures: those of the symbols that the map leaves, and the map's.

        Masked-out symbols are not coded. The decoder has to know which: the map counts with the
        zero-order entropy of its levels, the number of channels left at each position.
        """
        left = jnp.sum(jnp.where(mask > 0, cost, 0.0), axis=(1, 2, 3))
        if not self.config.importance_map:
            return left
        levels = jnp.ceil(importance).astype(jnp.int32)
        counts = jnp.sum(jax.nn.one_hot(levels, self.config.bottleneck + 1), axis=(1, 2))
        share = counts / jnp.sum(counts, axis=1, keepdims=True)
        return left - jnp.sum(counts * jnp.log2(jnp.where(counts > 0, share, 1.0)), axis=1)

    def penalty(self, params: Params) -> jax.Array:
        """L2 of the autoencoder's kernels and of the centres; sum of squares over two, as in
        TensorFlow's regulariser."""
        kernels = sum(jnp.sum(jnp.square(params[path])) for path in self.decayed)
        centres = jnp.sum(jnp.square(params[CENTRES]))
        training = self.training
        return 0.5 * (training.weight_decay * kernels + training.centres_decay * centres)

    def start(self, pool: Pool) -> dict[str, np.ndarray]:
        """Random kernels; the centres evenly spaced."""
        return self.weights()
