"""What probability models make of symbol volumes: static ones of order 0, and the float network.

A volume is uint8 (channels, rows, columns). Nothing here is a coder of files: the sizes are lower
bounds, but for Huffman's, which are bytes that were made and decoded.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import numpy as np
from numpy.typing import NDArray

from export import huffman

Symbols = NDArray[np.uint8]
CHECKPOINTS = Path(__file__).parent.parent / "export" / "checkpoints"
AGREEMENT = 1e-3  # relative, of two float evaluations of one model


def huffman_bytes(symbols: Symbols) -> int:
    """Bytes of a canonical Huffman code for each channel, its table of lengths included.

    Raises:
        ValueError: a channel did not come back.
    """
    total = 0
    for channel in symbols:
        data = huffman.encode(channel)
        if not np.array_equal(huffman.decode(data, channel.size), channel.reshape(-1)):
            raise ValueError("Huffman: a channel did not come back")
        total += len(data)
    return total


def entropy_bytes(symbols: Symbols) -> float:
    """Bytes of an ideal arithmetic coder that is given each channel's histogram for nothing."""
    return sum(huffman.entropy(channel) * channel.size for channel in symbols) / 8


class FloatContext:
    """The context model that a network was trained with, in float32.

    Args:
        quality: "A", "B" or "C", whose checkpoint is read.
        zero: the symbol of the latent 0.

    Raises:
        ImportError: a package of the extra `export` is missing.
        CheckpointError: there is no such checkpoint.
    """

    def __init__(self, quality: str, zero: int) -> None:
        import jax

        from export.measure import Meter

        meter = Meter(str(CHECKPOINTS / f"edge-{quality.lower()}.npz"))
        self._meter, self._zero = meter, zero
        self._index = meter.config.qualities.index(quality)
        self._reach: int = meter.config.context.reach
        self._hidden = len(meter.config.context.hidden)
        self._rate = jax.jit(meter.networks.bits)

    def ideal_bytes(self, symbols: Symbols) -> float:
        """Cross entropy of the symbols under the model, all positions at once."""
        which = np.full((1,), self._index, np.int32)
        latents = self._latents(symbols)[None]
        return float(self._rate(self._meter.params, latents, which)[0]) / 8

    def seconds_by_position(self, symbols: Symbols) -> float:
        """Seconds that the model alone takes where each position waits for those before it.

        So must a decoder: one position's 64 distributions at a time, from its causal window. What
        an arithmetic decoder does with them comes on top and is not counted.

        Raises:
            ValueError: these distributions are not those of `ideal_bytes`.
        """
        latents = self._latents(symbols)
        start = time.perf_counter()
        distributions = self._by_position(latents)
        seconds = time.perf_counter() - start
        wanted, found = self.ideal_bytes(symbols), _bits(latents, distributions) / 8
        if abs(found - wanted) > AGREEMENT * wanted:
            raise ValueError(f"position by position {found:.0f} bytes, at once {wanted:.0f}")
        return seconds

    def _latents(self, symbols: Symbols) -> NDArray[np.float32]:
        """[rows, columns, channels], as the network counts."""
        latents = symbols.astype(np.float32).transpose(1, 2, 0) - np.float32(self._zero)
        return np.ascontiguousarray(latents)

    def _by_position(self, latents: NDArray[np.float32]) -> NDArray[np.float32]:
        """Means and log scales, [rows, columns, 2 channels], in the decoder's order.

        `export.networks.edge.build_context` written for one position: both convolutions are one
        product with the window's values, which are filled in as they become known.
        """
        from export.networks.edge import LOG_SCALE

        weights, index, reach = self._meter.weights, self._index, self._reach
        rows, columns, channels = latents.shape
        above, left = weights["ctx_above/kernel"], weights["ctx_left/kernel"]
        width = above.shape[-1]
        first = np.concatenate([above.reshape(-1, width), left.reshape(-1, width)])
        first_bias = weights["ctx_left/bias"] + weights["ctx_rate_bias/table"][index]
        hidden = [
            (weights[f"ctx_hidden{i}/kernel"][0, 0], weights[f"ctx_hidden{i}/bias"])
            for i in range(self._hidden)
        ]
        ends = ("ctx_mean", "ctx_scale")
        last = np.concatenate([weights[f"{name}/kernel"][0, 0] for name in ends], axis=1)
        last_bias = np.concatenate([weights[f"{name}/bias"] for name in ends])
        last_bias[channels:] += weights["ctx_scale_bias/table"][index]
        normalise = np.exp(weights["ctx_normalise/table"][index])
        denormalise = np.exp(weights["ctx_denormalise/table"][index])

        known = np.zeros((rows + reach, columns + 2 * reach, channels), np.float32)
        window = np.empty(len(first), np.float32)
        seen_above = reach * (2 * reach + 1) * channels
        out = np.empty((rows, columns, 2 * channels), np.float32)
        for y in range(rows):
            for x in range(columns):
                window[:seen_above] = known[y : y + reach, x : x + 2 * reach + 1].reshape(-1)
                window[seen_above:] = known[y + reach, x : x + reach].reshape(-1)
                h = np.maximum(window @ first + first_bias, 0.0)
                for kernel, bias in hidden:
                    h = np.maximum(h @ kernel + bias, 0.0)
                out[y, x] = h @ last + last_bias
                # Here a decoder would find the position's symbols; then they are known.
                known[y + reach, x + reach] = latents[y, x] * normalise
        out[..., :channels] *= denormalise
        np.clip(out[..., channels:], *LOG_SCALE, out=out[..., channels:])
        return out


def _bits(latents: NDArray[np.float32], distributions: NDArray[np.float32]) -> float:
    """Cost of rounded latents under logistic distributions, as `export.networks.edge.bits`."""
    mean, log_scale = np.split(distributions.astype(np.float64), 2, axis=-1)
    inverse = np.exp(-log_scale)
    below, upto = ((latents - mean + side) * inverse for side in (-0.5, 0.5))
    nats: Any = np.logaddexp(0, -upto) + np.logaddexp(0, below) - np.log1p(-np.exp(-inverse))
    return float(nats.sum() / np.log(2.0))
