"""`edge` networks that learn from the bits of the symbol coder, which learns with them.

The networks' own context model is smaller than the coder's and knows nothing of channel groups:
what ships takes 6 to 9 % fewer bits than it says. Here the float form of the coder's model
(context_model.py) gives the rate term, so that the encoder pays what is paid in the end, and its
weights are trained along. The networks' own context model learns beside it, from the latents as
they are, so that the checkpoint stays one that every other command can use.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from export import checkpoint, context_model
from export.context_model import FIXED, PREFIX, ContextError, Weights
from export.edge_run import EdgeNetworks
from export.family import Params
from export.networks.cvpr import CvprConfig
from export.networks.edge import ConfigError, EdgeConfig
from export.settings import Settings, Training
from export.train import Run

REACH = 2  # of the coder's context model, as `export.context` makes it unless told otherwise


def parameters(source: str, config: EdgeConfig | CvprConfig) -> Weights:
    """The coder's parameters in a checkpoint of `export.context`, or of a run that had a coder.

    Raises:
        ConfigError: the network has no use for them.
        ContextError: there are none in ``source``, or for other latents.
        CheckpointError: it is missing or damaged.
    """
    if not isinstance(config, EdgeConfig):
        raise ConfigError("--coder: only for edge networks")
    weights = context_model.given(checkpoint.load(source).averaged())
    order = np.arange(config.latents)
    sizes = (len(weights.get(name, order)) for name in ("bias0", "bias1"))
    want = context_model.start(order, np.ones(len(order)), REACH, *sizes, seed=0)
    if {k: v.shape for k, v in weights.items()} != {k: v.shape for k, v in want.items()}:
        raise ContextError(f"{source}: no parameters of a coder of {config.latents} channels")
    return weights


class CodedNetworks(EdgeNetworks):
    """`EdgeNetworks` with the coder's context model beside their own.

    Args:
        coder: its weights, as in a checkpoint of `export.context`. Those that no gradient trains,
            the order of the channels and their standard deviations, stay what they are.
    """

    fast = (*EdgeNetworks.fast, PREFIX)

    def __init__(self, config: EdgeConfig, training: Training, coder: Weights) -> None:
        super().__init__(config, training)
        self.coder = {name: np.asarray(value, np.float32) for name, value in coder.items()}
        self.order = self.coder["order"].astype(np.int32)
        self.place = np.argsort(self.order)

    @cached_property
    def trainable(self) -> set[str]:
        """Paths of the weights that a gradient trains."""
        known = {PREFIX + name for name in self.coder if name not in FIXED}
        return {v.path for m in self.models for v in m.trainable_variables} | known

    def weights(self) -> dict[str, np.ndarray]:
        """Current weights of all networks, the coder's by `PREFIX` and name."""
        return super().weights() | {PREFIX + name: value for name, value in self.coder.items()}

    def price(
        self, params: Params, latents: jax.Array, quality: jax.Array
    ) -> Callable[[jax.Array], jax.Array]:
        """What values would cost in bits by the coder's context model."""
        placed = latents[..., self.order]
        padded = jnp.pad(placed, ((0, 0), (REACH, 0), (REACH, REACH), (0, 0)))
        ends = context_model.predict(context_model.within(params), padded, REACH)
        mean, scale = (end[..., self.place] for end in ends)
        highest = self.config.clamp
        return lambda values: context_model.bits(values, mean, scale, -highest, highest)

    def bits(
        self,
        params: Params,
        latents: jax.Array,
        quality: jax.Array,
        exact: jax.Array | None = None,
    ) -> jax.Array:
        """Ideal bits [n] by the coder's context model; the networks' own adds its slope alone."""
        still = jax.lax.stop_gradient(latents)
        own = jnp.sum(super().price(params, still, quality)(still), axis=(1, 2, 3))
        return super().bits(params, latents, quality, exact) + own - jax.lax.stop_gradient(own)


class CodedRun(Run):
    """A run of `CodedNetworks`."""

    def __init__(self, settings: Settings, folders: list[str], out: Path, coder: Weights) -> None:
        self._coder = coder
        super().__init__(settings, folders, out)

    def _networks(self) -> CodedNetworks:
        assert isinstance(self.settings.network, EdgeConfig)  # `parameters` saw to it
        return CodedNetworks(self.settings.network, self.settings.training, self._coder)
