"""Layers that round as the int8 graphs do, with gradients, for training with quantisation in the
loop (Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference").

Activations are bytes: value = (byte - zero) * scale. Weights are integers in [-64, 64], one scale
an output channel, so that no pair of products leaves 16 bits (export/overflow.py). Biases are
multiples of input scale times weight scale. Gradients pass roundings as if they were not there
and stop where a value is clipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
from keras import ops

from export.networks.layers import Conv

LIMIT = 64  # weights are integers from -LIMIT to LIMIT
TOP = 255  # of a byte


class Bytes(Protocol):
    """What a convolution has to know of its input: the value of one step."""

    @property
    def scale(self) -> Any:
        """Value of one step of the bytes: a number or a scalar tensor."""
        ...


@dataclass(frozen=True)
class ByteRange:
    """Bytes with a known scale and zero: pictures and symbols."""

    scale: float
    zero: int


def byte_range(low: float, high: float) -> tuple[float, int]:
    """(scale, zero) of bytes that hold [low, high] and have an exact zero, as float32 and int."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32(max(high - low, 1e-6) / TOP)
    return float(scale), int(np.clip(np.round(-low / float(scale)), 0, TOP))


def straight(x: Any, value: Any) -> Any:
    """``value``, with the gradient of ``x``."""
    return x + ops.stop_gradient(value - x)


class FakeQuant(keras.layers.Layer):
    """Rounds to the bytes of a fixed range. Weight ``range``: (scale, zero); scale 0 passes
    everything unchanged, which is how a network is run to find its ranges."""

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.range = self.add_weight(
            name="range", shape=(2,), initializer="zeros", trainable=False, dtype="float32"
        )

    @property
    def scale(self) -> Any:
        """Value of one step of the bytes."""
        return self.range[0]

    def call(self, x: Any) -> Any:
        scale, zero = self.range[0], self.range[1]
        step = ops.where(scale > 0, scale, 1.0)
        wide = ops.cast(x, "float32")
        low, high = -zero * step, (TOP - zero) * step
        inside = ops.clip(wide, low, high)
        rounded = ops.clip(ops.round(wide / step) + zero, 0.0, float(TOP))
        value = straight(inside, (rounded - zero) * step)
        return ops.cast(ops.where(scale > 0, value, wide), self.compute_dtype)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return shape


class QuantConv(Conv):
    """`Conv` with the weights and biases of an int8 graph. ``source`` describes its input."""

    def __init__(self, *args: Any, source: Bytes, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._source = source

    def quantised_weights(self) -> tuple[Any, Any]:
        """Kernel and bias as the int8 graph has them, in float32, with gradients."""
        kernel = ops.cast(self.kernel, "float32")
        peak = ops.max(ops.abs(kernel), axis=(0, 1, 2))
        step = ops.stop_gradient(ops.maximum(peak, 1e-9)) / float(LIMIT)
        kernel = straight(kernel, ops.clip(ops.round(kernel / step), -LIMIT, LIMIT) * step)
        # a network run to find its ranges has scale 0: its biases stay as they are
        quantum = step * self._source.scale
        known = ops.where(quantum > 0, quantum, 1.0)
        bias = ops.cast(self.bias, "float32")
        rounded = ops.where(quantum > 0, ops.round(bias / known) * known, bias)
        return kernel, straight(bias, rounded)

    def call(self, x: Any) -> Any:
        kernel, bias = self.quantised_weights()
        return self.convolve(x, ops.cast(kernel, self.compute_dtype)) + ops.cast(
            bias, self.compute_dtype
        )
