"""What a training step asks of a network family: `Networks`, and the `Result` of one pass.

A family (edge_run.py, cvpr_run.py) joins an encoder, a decoder and a context model into pure
functions of a dict of weights by path, so that one step, one resume and one measurement serve
them all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import NamedTuple

import jax
import jax.numpy as jnp
import keras
import numpy as np

from export.data import Pool

Params = dict[str, jax.Array]


class Result(NamedTuple):
    """One pass over n pictures."""

    source: jax.Array  # float32 [n, H, W, 3] in 0..1
    restored: jax.Array  # the same, neither rounded nor clipped
    bpp: jax.Array  # float32 [n]: the context model's ideal bits a pixel, for the log
    rate: jax.Array  # float32 [n]: the rate term, whose mean is in the loss
    latents: jax.Array  # [n, h, w, c]: the integers that a coder stores
    zeros: jax.Array  # float32 [n]: share of them that costs next to nothing
    updates: Params  # new values of weights that no gradient trains (batch norm statistics)


class Networks(ABC):
    """The networks of one family, built from its config and the training's numbers."""

    fast: tuple[str, ...]  # starts of the weights whose learning rate is times `training.fast`
    channels = 3  # of the arrays that `run` is given
    grid = 1  # pixels of which the corners of crops are multiples; above one, none is mirrored
    models: list[keras.Model]

    @cached_property
    def trainable(self) -> set[str]:
        """Paths of the weights that a gradient trains."""
        return {v.path for m in self.models for v in m.trainable_variables}

    def weights(self) -> dict[str, np.ndarray]:
        """Current weights of all networks, by path (paths are unique: enc_, dec_, ctx_)."""
        out: dict[str, np.ndarray] = {}
        for model in self.models:
            out |= {v.path: np.asarray(v, np.float32) for v in model.variables}
        return out

    def call(self, model: keras.Model, params: Params, *inputs: jax.Array) -> jax.Array:
        """Output of one of the networks in inference, as a pure function of ``params``."""
        return self.apply(model, params, *inputs)[0]

    def apply(
        self, model: keras.Model, params: Params, *inputs: jax.Array, training: bool = False
    ) -> tuple[jax.Array, Params]:
        """The output, and the new values of the weights that the pass itself changes.

        A folded network has no quality input: what the model does not take is left out.
        """
        given = list(inputs[: len(model.inputs)])
        outputs, fixed = model.stateless_call(
            [params[v.path] for v in model.trainable_variables],
            [params[v.path] for v in model.non_trainable_variables],
            given if len(given) > 1 else given[0],
            training=training,
        )
        paths = [v.path for v in model.non_trainable_variables]
        return outputs, dict(zip(paths, fixed, strict=True)) if training else {}

    @abstractmethod
    def run(
        self, params: Params, pictures: jax.Array, quality: jax.Array, training: bool = False
    ) -> Result:
        """One pass over (uint8 [n, H, W, 3], int32 [n] indices of qualities)."""

    def penalty(self, params: Params) -> jax.Array:
        """What the loss adds for the weights themselves."""
        return jnp.zeros(())

    @abstractmethod
    def start(self, pool: Pool) -> dict[str, np.ndarray]:
        """First weights of a run from scratch."""
