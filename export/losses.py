"""Distortions of pictures in 0..1, float32 [n, H, W, 3]; each function returns [n] values."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from keras import ops

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang, Simoncelli, Bovik 2003
TAPS, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2
STANDARD = (TAPS - 1) * 2 ** (len(WEIGHTS) - 1) + 1  # side that leaves one window at scale five
SMALLEST = 64  # side down to which the coarsest scale still has a window of four taps


@cache
def _band(size: int, taps: int) -> np.ndarray:
    """[size - taps + 1, size] matrix: the Gaussian window at every valid position."""
    x = np.arange(taps) - (taps - 1) / 2
    window = np.exp(-0.5 * (x * TAPS / (SIGMA * taps)) ** 2)
    window /= window.sum()
    band = np.zeros((size - taps + 1, size), np.float32)
    for i in range(band.shape[0]):
        band[i, i : i + taps] = window
    return band


def _blur(x: Any, rows: Any, cols: Any) -> Any:
    """Separable window over [n, c, H, W]. Two matrix products: depthwise convolutions are slow
    in XLA's CPU backend, and a GPU does these in no time."""
    return ops.matmul(ops.matmul(rows, x), ops.transpose(cols))


def _halve(x: Any) -> Any:
    """2x2 mean of [n, c, H, W]; an odd last row or column counts twice (symmetric padding)."""
    height, width = x.shape[2], x.shape[3]
    if height % 2 or width % 2:
        x = ops.pad(x, ((0, 0), (0, 0), (0, height % 2), (0, width % 2)), mode="symmetric")
    n, c, height, width = x.shape
    return ops.mean(ops.reshape(x, (n, c, height // 2, 2, width // 2, 2)), axis=(3, 5))


def ms_ssim(a: Any, b: Any) -> Any:
    """Multi-scale structural similarity, as tf.image.ssim_multiscale: five scales, 11 taps of
    sigma 1.5, the colours each on their own, then their mean.

    With a side under 161 the coarse scales are smaller than the window, which then shrinks to
    them with its sigma, as in the code that Mentzer et al. 2018 trained with at 160.
    """
    x, y = ops.transpose(a, (0, 3, 1, 2)), ops.transpose(b, (0, 3, 1, 2))
    product: Any = 1.0
    for scale, weight in enumerate(WEIGHTS):
        if scale:
            x, y = _halve(x), _halve(y)
        taps = min(TAPS, x.shape[2], x.shape[3])
        rows = ops.convert_to_tensor(_band(x.shape[2], taps))
        cols = ops.convert_to_tensor(_band(x.shape[3], taps))
        mx, my = _blur(x, rows, cols), _blur(y, rows, cols)
        square = _blur(x * x + y * y, rows, cols)
        cross = _blur(x * y, rows, cols)
        mxy, mss = mx * my, mx * mx + my * my
        value = (2 * (cross - mxy) + C2) / (square - mss + C2)
        if scale == len(WEIGHTS) - 1:
            value = value * (2 * mxy + C1) / (mss + C1)
        # the floor keeps the power's gradient finite where a picture is still unlike its source
        product = product * ops.maximum(ops.mean(value, axis=(2, 3)), 1e-3) ** weight
    return ops.mean(product, axis=1)


def mse(a: Any, b: Any) -> Any:
    """Mean squared error, for pictures in 0..1."""
    return ops.mean(ops.square(a - b), axis=(1, 2, 3))


def distortion(kind: str, mse_weight: float, similarity: Any, error: Any) -> Any:
    """What lambda weighs: "msssim", 1 - MS-SSIM and a little MSE; "mse", that alone."""
    return error if kind == "mse" else (1.0 - similarity) + mse_weight * error
