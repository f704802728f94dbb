"""How close two pictures are: PSNR and MS-SSIM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Wang, Simoncelli and Bovik, "Multiscale structural similarity for image quality assessment", 2003.
_WEIGHTS: Final = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_TAPS: Final = 11
_SIGMA: Final = 1.5
_C1: Final = (0.01 * 255) ** 2
_C2: Final = (0.03 * 255) ** 2
# The coarsest of the five scales must hold one window.
MS_SSIM_MIN_SIDE: Final = (_TAPS - 1) * 2 ** (len(_WEIGHTS) - 1) + 1


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio in dB over all samples of two uint8 arrays; inf if equal.

    Raises:
        ValueError: the shapes differ.
    """
    _check(a, b)
    error = float(np.mean((a.astype(np.float32) - b.astype(np.float32)) ** 2, dtype=np.float64))
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))


def ms_ssim(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Multiscale structural similarity of two pictures, 1 if equal.

    Five scales, an 11x11 Gaussian window of sigma 1.5, borders left out, the colour channels
    averaged at the end, as in the field's published figures.

    Args:
        a, b: uint8 (height, width, channels), no side under ``MS_SSIM_MIN_SIDE`` (161).

    Raises:
        ValueError: the shapes differ, or a side is too short.
    """
    _check(a, b)
    if a.ndim != 3 or min(a.shape[:2]) < MS_SSIM_MIN_SIDE:
        raise ValueError(f"MS-SSIM over five scales needs sides of {MS_SSIM_MIN_SIDE} pixels")
    x = np.moveaxis(a, 2, 0).astype(np.float32)
    y = np.moveaxis(b, 2, 0).astype(np.float32)
    product = np.ones(len(x), np.float64)
    for scale, weight in enumerate(_WEIGHTS):
        luminance, contrast = _ssim_parts(x, y)
        value = contrast
        if scale == len(_WEIGHTS) - 1:
            value = luminance
        product *= np.maximum(value, 0) ** weight
        x, y = _halve(x), _halve(y)
    return float(product.mean())


def _check(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> None:
    if a.shape != b.shape:
        raise ValueError(f"pictures of different shapes: {a.shape} and {b.shape}")


def _ssim_parts(
    x: NDArray[np.float32], y: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean SSIM and mean contrast-structure term of each channel, both (channels,) float64."""
    mean_x, mean_y = _blur(x), _blur(y)
    square_x, square_y, both = mean_x * mean_x, mean_y * mean_y, mean_x * mean_y
    variance_x = _blur(x * x) - square_x
    variance_y = _blur(y * y) - square_y
    covariance = _blur(x * y) - both
    contrast = (2 * covariance + _C2) / (variance_x + variance_y + _C2)
    ssim = contrast * (2 * both + _C1) / (square_x + square_y + _C1)
    return (
        ssim.mean(axis=(1, 2), dtype=np.float64),
        contrast.mean(axis=(1, 2), dtype=np.float64),
    )


def _blur(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Gaussian window, borders left out: (channels, height, width) -> 10 less on each side."""
    offsets = np.arange(_TAPS) - (_TAPS - 1) / 2
    window = np.exp(-(offsets**2) / (2 * _SIGMA**2))
    window = (window / window.sum()).astype(np.float32)
    height, width = planes.shape[1] - _TAPS + 1, planes.shape[2] - _TAPS + 1
    rows = np.zeros((planes.shape[0], height, planes.shape[2]), np.float32)
    for i, tap in enumerate(window):
        rows += tap * planes[:, i : i + height]
    out = np.zeros((planes.shape[0], height, width), np.float32)
    for i, tap in enumerate(window):
        out += tap * rows[:, :, i : i + width]
    return out


def _halve(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of 2x2 samples; an odd last row or column is repeated first, as TensorFlow does."""
    odd = ((0, 0), (0, planes.shape[1] % 2), (0, planes.shape[2] % 2))
    even = np.pad(planes, odd, mode="symmetric")
    height, width = even.shape[1] // 2, even.shape[2] // 2
    quads: NDArray[np.float32] = even.reshape(-1, height, 2, width, 2).mean(axis=(2, 4))
    return quads
