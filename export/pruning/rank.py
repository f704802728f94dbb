"""What a network loses by each removal: importance of filters, and the measured loss.

Filters are ranked by the first-order Taylor estimate of Molchanov et al. 2017 and 2019 ("Pruning
Convolutional Neural Networks for Resource Efficient Inference", "Importance Estimation for Neural
Network Pruning"): the sum of gradient times weight over a filter and its bias is the change of
the loss that zeroing it makes, to first order. Its square is averaged over batches. It compares
across layers as it is, as in the second paper; the first one's division by the norm of each layer
lost more (quality B of the first `edge` network, 30 % of the multiply-adds gone as filters, before
fine-tuning: loss +0.094 with it, +0.065 without). Norms of filters do need it (+0.22, +0.25
without).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from export import losses, pruning, step
from export.data import Pool
from export.family import Networks, Params
from export.pruning import Weights
from export.settings import Settings


class Interrupted(Exception):
    """A signal came while ranking."""


class Scorer:
    """The training loss of a one-quality network on fixed batches of crops, and its gradient."""

    def __init__(
        self,
        networks: Networks,
        settings: Settings,
        pool: Pool,
        batches: int,
        seed: int,
        interrupted: Callable[[], bool] = lambda: False,
    ) -> None:
        training = settings.training
        arrays = [jnp.asarray(x) for x in (pool.pixels, pool.table, pool.weights)]
        keys = jax.random.split(jax.random.key(seed), batches)
        self.crops = [step.draw_crops(k, *arrays, training.batch, training.crop) for k in keys]
        self.structure = pruning.structure_of(settings.network)
        self.interrupted = interrupted
        quality = jnp.zeros((training.batch,), jnp.int32)

        def loss(params: Params, crops: jax.Array) -> jax.Array:
            result = networks.run(params, crops, quality)
            distortion = losses.distortion(
                training.distortion,
                training.mse_weight,
                losses.ms_ssim(result.source, result.restored),
                losses.mse(result.source, result.restored),
            )
            return jnp.mean(result.rate + training.lambdas[0] * distortion)

        def taylor(params: Params, crops: jax.Array) -> dict[str, jax.Array]:
            gradient = jax.grad(loss)(params, crops)
            product = {name: gradient[name] * value for name, value in params.items()}
            sums = pruning.filter_sums(self.structure, product)
            return {group: jnp.square(total) for group, total in sums.items()}

        self._loss, self._taylor = jax.jit(loss), jax.jit(taylor)

    def loss(self, weights: Weights) -> float:
        """Mean loss over the batches."""
        return float(np.mean([float(self._loss(weights, c)) for c in self._batches()]))

    def taylor(self, weights: Weights) -> dict[str, np.ndarray]:
        """Importance of each channel of each group: mean squared change of the loss."""
        rows = [self._taylor(weights, c) for c in self._batches()]
        return {g: np.mean([np.asarray(r[g]) for r in rows], axis=0) for g in rows[0]}

    def norms(self, weights: Weights) -> dict[str, np.ndarray]:
        """The simple alternative: squared L2 norm of the filters of each channel."""
        squares = {k: np.square(v) for k, v in weights.items()}
        return pruning.filter_sums(self.structure, squares)

    def _batches(self) -> Iterator[jax.Array]:
        for crops in self.crops:
            if self.interrupted():
                raise Interrupted
            yield crops


def normalised(scores: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Scores of each group divided by their L2 norm."""
    return {g: s / max(float(np.linalg.norm(s)), 1e-30) for g, s in scores.items()}
