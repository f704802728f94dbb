"""Layers of the `cvpr` network, and a stride-2 transposed convolution as a stride-1 convolution."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from export.networks.fakequant import QuantConv

MEAN = np.array([121.85369873, 113.58860779, 100.63715363], np.float32)
STD = np.sqrt(np.array([4746.37695312, 4454.13964844, 4812.234375], np.float32))
SHIFT = np.round(MEAN)  # what a quantised network subtracts from the bytes
EPSILON = 1e-5  # of the batch normalisations
MOMENTUM = 0.9
CENTRE_RANGE = 2.0  # the centres start evenly spaced between -2 and 2


def glorot(shape: tuple[int, ...], dtype: str | None = None) -> Any:
    """Glorot's uniform start of a kernel [..., in, out] (or [..., out, in]), drawn by numpy.

    Under JAX Keras's own compiles a program for each shape: a minute for a network on a busy
    machine. `keras.utils.set_random_seed` seeds numpy's draws too.
    """
    fans = int(np.prod(shape[:-2])) * (shape[-2] + shape[-1])
    limit = float(np.sqrt(6.0 / fans))
    return ops.convert_to_tensor(np.random.uniform(-limit, limit, shape).astype(np.float32), dtype)


class Centres(keras.layers.Layer):
    """Holds the quantiser's centres [L] as ``<name>/centres`` and passes its input through.

    They train and travel with the encoder's weights this way, though `quantise` is what uses them.
    """

    def __init__(self, count: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.count = count

    def build(self, shape: tuple[int | None, ...]) -> None:
        start = np.linspace(-CENTRE_RANGE, CENTRE_RANGE, self.count, dtype=np.float32)
        self.centres = self.add_weight(
            name="centres",
            shape=(self.count,),
            initializer=lambda shape, dtype=None: ops.convert_to_tensor(start, dtype),
        )

    def call(self, x: Any) -> Any:
        return x

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return shape


class PictureConv(QuantConv):
    """The first convolution of a quantised network: that of (picture - MEAN) / STD, given
    picture - SHIFT, whole numbers.

    The deviations go into the kernel and the fractions of the means into the bias. In the padding
    around the picture stands SHIFT in place of MEAN, at most 0.42 of a grey level apart.
    """

    def given(self) -> tuple[Any, Any]:
        kernel = self.kernel / STD[:, None]
        return kernel, self.bias + self._rest(kernel)

    def rounded_weights(self) -> dict[str, np.ndarray]:
        kernel, bias, scale, step = (np.asarray(value) for value in self.whole())
        kernel = kernel * step
        rest = np.asarray(self._rest(kernel))
        return {
            self.kernel.path: kernel * STD[:, None],
            self.bias.path: bias * (scale * step) - rest,
        }

    def _rest(self, kernel: Any) -> Any:
        """What the difference of SHIFT and MEAN adds up to under the kernel."""
        return ops.sum(kernel * (SHIFT - MEAN)[:, None], axis=(0, 1, 2))


class MaskedConv3D(keras.layers.Layer):
    """Causal 3D convolution with bias, "valid", of [n, channels, rows, columns, features].

    A kernel reaches one bottleneck channel back and one row and column each way: it is 3x3x3
    with the plane of the next channel, all zero by causality, left out: [2, 3, 3, in, out].
    In the plane of the own channel the places after the centre in raster order are masked, and
    with ``first`` the centre too.
    """

    def __init__(self, filters: int, *, first: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.mask = np.ones((2, 3, 3, 1, 1), np.float32)
        self.mask[1, 1, 1 if first else 2 :] = 0
        self.mask[1, 2] = 0

    def build(self, shape: tuple[int | None, ...]) -> None:
        full = (2, 3, 3, int(shape[-1] or 0), self.filters)
        self.kernel = self.add_weight(name="kernel", shape=full, initializer=glorot)
        self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")

    def call(self, x: Any) -> Any:
        kernel = ops.cast(self.kernel * self.mask, self.compute_dtype)
        y = ops.conv(x, kernel, strides=1, padding="valid", data_format="channels_last")
        return y + ops.cast(self.bias, self.compute_dtype)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        cut = (1, 2, 2)
        sides = (None if s is None else s - c for s, c in zip(shape[1:4], cut, strict=True))
        return (shape[0], *sides, self.filters)


class ContextPadding(keras.layers.Layer):
    """([n, h, w, C] values, [n] fill) -> [n, C + p, h + 2p, w + 2p, 1], no gradient to either.

    The padding stands in front of the first channel and on the four sides; nothing behind the
    last channel is ever seen.
    """

    def __init__(self, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width = width

    def call(self, inputs: list[Any]) -> Any:
        values, fill = (ops.stop_gradient(x) for x in inputs)
        p = self.width
        volume = ops.transpose(values, (0, 3, 1, 2))
        pads = ((0, 0), (p, 0), (p, p), (p, p))
        inside = ops.pad(ops.ones_like(volume), pads)
        padded = ops.pad(volume, pads) + (1 - inside) * fill[:, None, None, None]
        return padded[..., None]

    def compute_output_shape(self, shapes: list[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        n, h, w, channels = shapes[0]
        p = self.width
        rows, cols = (None if s is None else s + 2 * p for s in (h, w))
        return (n, None if channels is None else channels + p, rows, cols, 1)


def polyphase(kernel: np.ndarray) -> np.ndarray:
    """Kernel of the stride-1 convolution that equals a stride-2 transposed one, both "same".

    [k, k, out, in] (TensorFlow's order for transposed convolutions), k 3 or 5, to
    [3, 3, in, 4 out]. Output channel (2 r + s) out + c of the new convolution is the pixel (r, s)
    of channel c in each 2x2 block: `depth_to_space` of TensorFlow and Keras, DepthToSpace in DCR
    mode of ONNX. Transposed, y[2m + r] = sum over d of x[m + d] kernel[r - 2d + (k - 2) // 2].
    """
    size, _, outputs, inputs = kernel.shape
    if kernel.shape[:2] not in ((3, 3), (5, 5)):
        raise ValueError(f"polyphase: kernels are 3x3 or 5x5, not {kernel.shape[:2]}")
    before = (size - 2) // 2
    out = np.zeros((3, 3, inputs, 2, 2, outputs), kernel.dtype)
    taps = [  # (offset d + 1, phase r, index in the transposed kernel)
        (d + 1, r, r - 2 * d + before)
        for d in (-1, 0, 1)
        for r in (0, 1)
        if 0 <= r - 2 * d + before < size
    ]
    for row, r, y in taps:
        for col, s, x in taps:
            out[row, col, :, r, s] = kernel[y, x].T
    return out.reshape(3, 3, inputs, 4 * outputs)
