"""Layers that the networks share. Arrays are float [batch, rows, columns, channels]."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops


def he_normal(gain: float) -> Callable[..., Any]:
    """He initialisation of kernels [..., in, out], times a gain: the layers before a ReLU keep
    their variance. Drawn by numpy, which `keras.utils.set_random_seed` seeds too: under JAX
    Keras's own compiles a program for each shape, a minute for a network on a busy machine.
    """

    def draw(shape: tuple[int, ...], dtype: str | None = None) -> Any:
        deviation = gain * np.sqrt(2.0 / np.prod(shape[:-1]))
        values = np.random.normal(0.0, deviation, shape).astype(np.float32)
        return ops.convert_to_tensor(values, dtype)

    return draw


class Conv(keras.layers.Layer):
    """Convolution with bias, zero-padded to the same size unless ``padding`` is "valid".

    A 1x1 kernel runs as a matrix product under JAX: XLA's CPU backend is a third slower on the
    equal convolution. Other backends see a convolution, so that an exported graph has Conv nodes.
    """

    def __init__(
        self,
        filters: int,
        size: int | tuple[int, int] = 1,
        *,
        stride: int = 1,
        padding: str = "same",
        bias: bool = True,
        init: str | float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.size = (size, size) if isinstance(size, int) else size
        self.stride = stride
        self.padding = padding
        self.use_bias = bias
        self.init = init

    def build(self, shape: tuple[int | None, ...]) -> None:
        kernel_init: Any = "zeros"
        if self.init != "zeros":
            kernel_init = he_normal(float(self.init))
        full = (*self.size, int(shape[-1] or 0), self.filters)
        self.kernel = self.add_weight(name="kernel", shape=full, initializer=kernel_init)
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")

    def call(self, x: Any) -> Any:
        y = self.convolve(x, ops.cast(self.kernel, self.compute_dtype))
        return y + ops.cast(self.bias, self.compute_dtype) if self.use_bias else y

    def convolve(self, x: Any, kernel: Any) -> Any:
        """The convolution alone, without the bias."""
        if self.size == (1, 1) and self.stride == 1 and keras.backend.backend() == "jax":
            return ops.matmul(x, kernel[0, 0])
        return ops.conv(
            x, kernel, strides=self.stride, padding=self.padding, data_format="channels_last"
        )

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        rows, cols = shape[1], shape[2]
        if self.padding == "valid":
            rows = None if rows is None else rows - self.size[0] + 1
            cols = None if cols is None else cols - self.size[1] + 1
        rows, cols = (None if side is None else -(-side // self.stride) for side in (rows, cols))
        return (shape[0], rows, cols, self.filters)


class QualityTable(keras.layers.Layer):
    """One trained vector a quality: ``x + table[quality]``, or ``x * exp(table[quality])``.

    ``call`` takes (x [n, h, w, c], quality int32 [n]). ``mode`` is "add" or "exp"; with
    ``trained`` false the table is set once, from the statistics of the latents.
    """

    def __init__(
        self, qualities: int, mode: str = "add", trained: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.qualities = qualities
        self.mode = mode
        self.trained = trained

    def build(self, shapes: list[tuple[int | None, ...]]) -> None:
        self.table = self.add_weight(
            name="table",
            shape=(self.qualities, int(shapes[0][-1] or 0)),
            initializer="zeros",
            trainable=self.trained,
        )

    def call(self, inputs: list[Any]) -> Any:
        x, quality = inputs
        rows = ops.cast(ops.take(self.table, quality, axis=0), self.compute_dtype)
        rows = rows[:, None, None, :]
        return x * ops.exp(rows) if self.mode == "exp" else x + rows

    def compute_output_shape(self, shapes: list[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        return tuple(shapes[0])


def weights_of(model: keras.Model) -> dict[str, np.ndarray]:
    """Every weight of a model by its path ("enc_head/kernel"), as float32 arrays."""
    return {v.path: np.asarray(v, dtype=np.float32) for v in model.variables}


def set_weights(model: keras.Model, weights: dict[str, np.ndarray]) -> None:
    """Assign weights by path; a missing name or another shape is a ValueError naming it."""
    for v in model.variables:
        if v.path not in weights:
            raise ValueError(f"no weight named {v.path!r} for network {model.name!r}")
        value = weights[v.path]
        if tuple(value.shape) != tuple(v.shape):
            raise ValueError(
                f"weight {v.path!r}: shape {tuple(value.shape)}, the config says {tuple(v.shape)}"
            )
        v.assign(np.asarray(value, dtype=np.float32))
