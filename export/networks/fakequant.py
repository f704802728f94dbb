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
BIAS_LIMIT = 2.0**22  # of a bias as a whole number, far beyond any that matters


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


def straight(x: Any, value: Any) -> Any:
    """``value``, with the gradient of ``x``."""
    return x + ops.stop_gradient(value - x)


class FakeQuant(keras.layers.Layer):
    """Rounds to the bytes of a fixed range. Weight ``range``: (scale, zero); scale 0 passes
    everything unchanged, which is how a network is run to find its ranges.

    ``shared`` names the layers of a network that have one scale: sums of such bytes are sums of
    integers, exact whatever instructions a processor adds them with.
    """

    def __init__(self, shared: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shared = shared

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
        inside = ops.clip(x, -zero * step, (TOP - zero) * step)
        rounded = ops.clip(ops.round(x / step) + zero, 0.0, float(TOP))
        return ops.where(scale > 0, straight(inside, (rounded - zero) * step), x)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return shape


class QuantConv(Conv):
    """`Conv` with the integer arithmetic of an int8 graph. ``source`` describes its input.

    Inputs, weights and bias are whole numbers in float32, whose sums below 2^24 are exact: the
    network rounds where the graph does, and not only about there.
    """

    def __init__(self, *args: Any, source: Bytes, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._source = source

    def given(self) -> tuple[Any, Any]:
        """Kernel and bias as the input's bytes meet them."""
        return self.kernel, self.bias

    def whole(self) -> tuple[Any, Any, Any, Any]:
        """Kernel and bias in whole numbers, and the values of one step of input and kernel."""
        kernel, bias = self.given()
        scale = ops.convert_to_tensor(self._source.scale, "float32")
        known = ops.where(scale > 0, scale, 1.0)  # scale 0: a run to find the ranges
        peak = ops.maximum(ops.max(ops.abs(kernel), axis=(0, 1, 2)), 1e-9)
        # A bias beside next to no kernel sets the step: as a whole number it must fit its type.
        least = ops.abs(bias) / (known * BIAS_LIMIT)
        step = ops.stop_gradient(ops.maximum(peak / float(LIMIT), least))
        kernel = kernel / step
        kernel = straight(kernel, ops.clip(ops.round(kernel), -LIMIT, LIMIT))
        bias = bias / (known * step)
        bias = straight(bias, ops.where(scale > 0, ops.round(bias), bias))
        return kernel, bias, known, step

    def call(self, x: Any) -> Any:
        kernel, bias, scale, step = self.whole()
        x = x / scale
        x = straight(x, ops.where(self._source.scale > 0, ops.round(x), x))
        return (self.convolve(x, kernel) + bias) * (scale * step)

    def rounded_weights(self) -> dict[str, np.ndarray]:
        """Kernel and bias by path, as the multiples that `call` computes with."""
        kernel, bias, scale, step = (np.asarray(value) for value in self.whole())
        return {self.kernel.path: kernel * step, self.bias.path: bias * (scale * step)}
