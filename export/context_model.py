"""The float context model that `export.context` trains; `export.context_file` makes it integers.

Per position, from the positions above and to the left within ``reach``, and per group of eight
channels, from the groups before at the same position: mean and scale of a logistic distribution of
each symbol. Two layers of ReLUs; a symbol enters them by a feature of its magnitude, with weights
of its own for each sign, so that zeros cost nothing; what the groups tell each other goes into the
second layer alone. The neighbours also enter the means linearly, channel by channel.
docs/format-context.md, section 3, has the formulas; after Minnen, Balle and Toderici 2018 (context
model) and Minnen and Singh 2020 (channel groups).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

GROUP = 8  # channels predicted at once
LOG_SCALE = (-3.2, 5.0)
FEATURE_LIMIT = 10.0

Weights = dict[str, Any]


class ContextError(ValueError):
    """A context model that cannot be trained, stored or used; the message says why."""


def taps(reach: int) -> list[tuple[int, int]]:
    """Offsets (rows, columns) of the known neighbours, in the order of the file."""
    above = [(dy, dx) for dy in range(-reach, 0) for dx in range(-reach, reach + 1)]
    return above + [(0, dx) for dx in range(-reach, 0)]


def features_of(magnitudes: Any, std: Any) -> Any:
    """What a magnitude [n] means at each place [channels] -> [channels, n]: proportional to it
    where it is usual, then to its logarithm."""
    return _feature(magnitudes / (4.0 * std[:, None]), np)


def _feature(share: Any, numbers: Any) -> Any:
    """Of magnitudes as shares of four standard deviations, by numpy or by jax.numpy."""
    return numbers.minimum(4.0 * numbers.log1p(share), FEATURE_LIMIT)


def start(
    order: np.ndarray, std: np.ndarray, reach: int, width: int, hidden: int, seed: int
) -> Weights:
    """Random weights for channels in coding ``order``, of these standard deviations (by place)."""
    random = np.random.default_rng(seed)
    count, channels = len(taps(reach)), len(std)

    def normal(*shape: int, scale: float) -> np.ndarray:
        return (random.normal(size=shape) * scale).astype(np.float32)

    return {
        "order": np.asarray(order, np.int32),
        "std": np.asarray(std, np.float32),
        "rows": normal(count, channels, 2, width, scale=(0.4 * count * channels) ** -0.5),
        "bias0": np.zeros(width, np.float32),
        "dense": normal(width, hidden, scale=(2 / width) ** 0.5),
        "bias1": np.zeros(hidden, np.float32),
        "within": normal(channels, 2, hidden, scale=0.02),
        "mean": normal(hidden, channels, scale=0.1 * hidden**-0.5),
        "mean_bias": np.zeros(channels, np.float32),
        "scale": normal(hidden, channels, scale=0.1 * hidden**-0.5),
        "scale_bias": np.log(np.maximum(std * 0.4, 0.1)).astype(np.float32),
        "linear": np.zeros((count, channels), np.float32),
    }


FIXED = ("order", "std")  # not trained
PREFIX = "coder/"  # of such weights among those of a network that was trained with them


def within(weights: Weights) -> Weights:
    """The context model's weights among a network's; none, where it was trained without."""
    return {k[len(PREFIX) :]: v for k, v in weights.items() if k.startswith(PREFIX)}


def given(weights: Weights) -> Weights:
    """What a checkpoint has of them: among a network's weights, or else all that is in it."""
    return within(weights) or weights


def shift(padded: jax.Array, reach: int, tap: tuple[int, int]) -> jax.Array:
    """What stands at an offset from each position: padded [n, reach + h, 2 reach + w, c] ->
    [n, h, w, c]."""
    top, left = reach + tap[0], reach + tap[1]
    height, width = padded.shape[1] - reach, padded.shape[2] - 2 * reach
    return padded[:, top : top + height, left : left + width]


def predict(w: Weights, padded: jax.Array, reach: int) -> tuple[jax.Array, jax.Array]:
    """Values [n, reach + h, 2 reach + w, c] by place, with zeros (or known neighbours) above
    and to both sides -> means and log scales [n, h, w, c]."""
    channels, hidden = w["std"].shape[0], w["bias1"].shape[0]
    n, height, width = padded.shape[0], padded.shape[1] - reach, padded.shape[2] - 2 * reach
    feature = _feature(jnp.abs(padded) / (4.0 * w["std"]), jnp)
    signed = jnp.stack([jnp.where(padded > 0, feature, 0), jnp.where(padded < 0, feature, 0)], -1)
    signed = signed.reshape(*padded.shape[:-1], 2 * channels)
    # As one matrix product: convolutions with so many channels are slow on CPUs.
    shifted = [shift(signed, reach, tap) for tap in taps(reach)]
    rows = w["rows"].reshape(-1, w["rows"].shape[-1])
    first = jnp.concatenate(shifted, -1).reshape(-1, rows.shape[0]) @ rows + w["bias0"]
    second = jax.nn.relu(first) @ w["dense"] + w["bias1"]

    # The groups: [group, position, ...] throughout, each with what all groups before it told.
    groups = -(-channels // GROUP)
    spare = groups * GROUP - channels
    here = signed[:, reach:, reach:-reach].reshape(-1, channels, 2)
    here = jnp.pad(here, ((0, 0), (0, spare), (0, 0))).reshape(-1, groups, 2 * GROUP)
    told = jnp.pad(w["within"], ((0, spare), (0, 0), (0, 0))).reshape(groups, 2 * GROUP, hidden)
    said = jnp.einsum("pgi,gih->gph", here[:, :-1], told[:-1])
    known = jnp.concatenate([jnp.zeros((1, len(here), hidden)), jnp.cumsum(said, 0)])
    active = jax.nn.relu(second[None] + known)
    out = jnp.stack([w["mean"], w["scale"]], -1)
    out = jnp.pad(out, ((0, 0), (0, spare), (0, 0))).reshape(hidden, groups, 2 * GROUP)
    ends = jnp.einsum("gph,hgo->pgo", active, out).reshape(-1, groups * GROUP, 2)[:, :channels]
    ends = ends.reshape(n, height, width, channels, 2)
    mean = (ends[..., 0] + w["mean_bias"]) * w["std"]
    for weight, tap in zip(w["linear"], taps(reach), strict=True):
        mean = mean + weight * shift(padded, reach, tap)
    return mean, jnp.clip(ends[..., 1] + w["scale_bias"], *LOG_SCALE)


def bits(
    values: jax.Array, mean: jax.Array, log_scale: jax.Array, lowest: int, highest: int
) -> jax.Array:
    """Ideal cost of each value in bits; the values at the ends of the alphabet have the tails."""
    inverse = jnp.exp(-log_scale)
    low = (values - mean - 0.5) * inverse
    high = (values - mean + 0.5) * inverse
    both = jax.nn.softplus(-high) + jax.nn.softplus(low) - jnp.log1p(-jnp.exp(-inverse))
    nats = jnp.where(values <= lowest, jax.nn.softplus(-high), both)
    nats = jnp.where(values >= highest, jax.nn.softplus(low), nats)
    return nats / float(np.log(2.0))
