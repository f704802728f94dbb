"""How close two pictures are, and at what rate: PSNR, MS-SSIM, bits per pixel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Wang, Simoncelli and Bovik, "Multiscale structural similarity for image quality assessment", 2003.
_WEIGHTS: Final = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_TAPS: Final = 11
_MARGIN: Final = _TAPS - 1
_SIGMA: Final = 1.5
_C1: Final = (0.01 * 255) ** 2
_C2: Final = (0.03 * 255) ** 2
# The coarsest of the five scales must hold one window.
MS_SSIM_MIN_SIDE: Final = _MARGIN * 2 ** (len(_WEIGHTS) - 1) + 1

# The window runs over a tile as two products with a banded matrix, which BLAS does faster than
# shifted sums in spite of the zeros. Tiles of this size keep three quantities of three channels in
# a level 2 cache, and each product under the 2^18 multiplications from which OpenBLAS would use
# threads: 32 x (32 + 10) x (160 + 10). Columns are done in blocks, as a whole row is mostly zeros.
_TILE_ROWS: Final = 32
_TILE_COLUMNS: Final = 160
_BLOCK_COLUMNS: Final = 32
_HALVED_ROWS: Final = 64
_SQUARED_AT_ONCE: Final = 2**16


def bits_per_pixel(count: int, pixels: int) -> float:
    """The rate of so many bytes, as they are on disk, for so many pixels.

    Raises:
        ValueError: there are no pixels.
    """
    if pixels < 1:
        raise ValueError(f"{pixels} pixels have no rate")
    return 8 * count / pixels


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio in dB over all samples of two uint8 arrays; inf if equal.

    Raises:
        ValueError: the shapes differ.
    """
    _check(a, b)
    x, y = a.reshape(-1), b.reshape(-1)
    squares = 0
    for start in range(0, x.size, _SQUARED_AT_ONCE):
        part = slice(start, start + _SQUARED_AT_ONCE)
        difference = np.subtract(x[part], y[part], dtype=np.int32)
        squares += int(np.multiply(difference, difference, out=difference).sum(dtype=np.int64))
    return float("inf") if squares == 0 else 10 * float(np.log10(255**2 * x.size / squares))


def ms_ssim_scales(height: int, width: int) -> int:
    """Over how many of the five scales MS-SSIM can be taken of a picture of that size in pixels.

    The coarsest must hold one 11x11 window: 5 from 161 pixels on, then 4 from 81, 3 from 41, 2 from
    21, 1 from 11, and 0 under 11.
    """
    side = min(height, width)
    return sum(side > _MARGIN * 2**scale for scale in range(len(_WEIGHTS)))


def ms_ssim(a: NDArray[np.uint8], b: NDArray[np.uint8], *, scales: int = len(_WEIGHTS)) -> float:
    """Multiscale structural similarity of two pictures, 1 if equal.

    An 11x11 Gaussian window of sigma 1.5, borders left out, the colour channels averaged at the
    end, as in the field's published figures.

    Args:
        a, b: uint8 (height, width, channels).
        scales: 5 as published, or fewer for small pictures (see `ms_ssim_scales`): the finest ones,
            with their weights divided by their sum. With 1 it is SSIM. Figures over different
            numbers of scales should not be compared.

    Raises:
        ValueError: the shapes differ, or a side is too short for that many scales (161 pixels for
            five), or there are no such scales.
    """
    _check(a, b)
    if not 1 <= scales <= len(_WEIGHTS):
        raise ValueError(f"MS-SSIM is taken over 1 to {len(_WEIGHTS)} scales, not {scales}")
    if a.ndim != 3 or ms_ssim_scales(*a.shape[:2]) < scales:
        least = _MARGIN * 2 ** (scales - 1) + 1
        raise ValueError(f"MS-SSIM over {scales} scales needs sides of {least} pixels")
    return _similarity(_pyramid(a, scales), b)


class Reference:
    """An original that many pictures are compared with: its side of the work is done once.

    Keeps ``rgb`` itself, which must not be changed, and about 36 bytes a pixel. Any number of
    threads may compare at once; each takes about 10 bytes a pixel for the time of the call.

    Attributes:
        scales: that MS-SSIM is taken over: as many as the picture is large enough for, 0 to 5.
    """

    def __init__(self, rgb: NDArray[np.uint8]) -> None:
        """Args:
            rgb: uint8 (height, width, channels).

        Raises:
            ValueError: not three dimensions.
        """
        if rgb.ndim != 3:
            raise ValueError(f"a picture has three dimensions, not {rgb.ndim}")
        self._rgb = rgb
        self.scales = ms_ssim_scales(*rgb.shape[:2])
        self._pyramid = _pyramid(rgb, self.scales)

    def ms_ssim(self, restored: NDArray[np.uint8]) -> float | None:
        """As `ms_ssim` over ``scales`` scales; None for pictures with a side under 11 pixels.

        Raises:
            ValueError: the shapes differ.
        """
        _check(self._rgb, restored)
        return _similarity(self._pyramid, restored) if self.scales else None

    def psnr(self, restored: NDArray[np.uint8]) -> float:
        """As `psnr`."""
        return psnr(self._rgb, restored)

    def score(self, restored: NDArray[np.uint8]) -> tuple[float | None, float]:
        """`ms_ssim` and `psnr`, in this order.

        Raises:
            ValueError: the shapes differ.
        """
        return self.ms_ssim(restored), self.psnr(restored)


@dataclass(frozen=True, slots=True)
class _Level:
    """One scale of an original.

    Attributes:
        planes: uint8 (the original) or float32 (channels, height, width).
        offsets: of each tile, float32 (channels, 1, 1): whole numbers near the mean, which are
            taken from both pictures' samples. A variance is the small difference of two means of
            squares; without this, float32 would put MS-SSIM wrong by up to 5e-5.
        mean: float32 (channels, height - 10, width - 10), under each place of the window, less the
            offset.
        spread: the variance there plus C2, of the same shape.
        weight: of the scale.
        last: whether it is the coarsest, which alone compares luminance.
    """

    planes: NDArray[Any]
    offsets: list[NDArray[np.float32]]
    mean: NDArray[np.float32]
    spread: NDArray[np.float32]
    weight: float
    last: bool


def _check(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> None:
    if a.shape != b.shape:
        raise ValueError(f"pictures of different shapes: {a.shape} and {b.shape}")


def _weights(scales: int) -> tuple[float, ...]:
    """Exponents of the finest scales: the published ones for five, which sum to 1.0001, else 1."""
    finest = _WEIGHTS[:scales]
    return finest if scales == len(_WEIGHTS) else tuple(w / sum(finest) for w in finest)


def _pyramid(rgb: NDArray[np.uint8], scales: int) -> list[_Level]:
    """The levels of an original, the finest first."""
    planes: NDArray[Any] = np.moveaxis(rgb, 2, 0)
    window = _Window(2, len(planes))
    levels = []
    for scale, weight in enumerate(_weights(scales)):
        if scale:
            planes = _halve(planes)
        shape = (len(planes), planes.shape[1] - _MARGIN, planes.shape[2] - _MARGIN)
        mean, spread = np.empty(shape, np.float32), np.empty(shape, np.float32)
        offsets = []
        for rows, columns in _tiles(*shape[1:]):
            x, squares = window.inputs(rows, columns)
            np.copyto(x, planes[_under(rows, columns)])
            offset = np.rint(x.mean(axis=(1, 2), keepdims=True))
            x -= offset
            offsets.append(offset)
            np.multiply(x, x, out=squares)
            here = np.s_[:, rows, columns]
            mean[here], spread[here] = window.blur(rows, columns)
            spread[here] -= np.square(mean[here])
            spread[here] += _C2
        levels.append(_Level(planes, offsets, mean, spread, weight, scale == scales - 1))
    return levels


def _similarity(pyramid: list[_Level], restored: NDArray[np.uint8]) -> float:
    """MS-SSIM of the original with that pyramid and another picture of its shape."""
    planes: NDArray[Any] = np.moveaxis(restored, 2, 0)
    window = _Window(3, len(planes))
    product = np.ones(len(planes), np.float64)
    for scale, level in enumerate(pyramid):
        if scale:
            planes = _halve(planes)
        product *= np.maximum(_level_mean(level, planes, window), 0) ** level.weight
    return min(float(product.mean()), 1.0)  # equal pictures are 1e-8 above by rounding


def _level_mean(level: _Level, planes: NDArray[Any], window: _Window) -> NDArray[np.float64]:
    """Mean of the contrast-structure term, or of SSIM at the last level: (channels,) float64."""
    total = np.zeros(len(planes), np.float64)
    tiles = _tiles(*level.mean.shape[1:])
    for offset, (rows, columns) in zip(level.offsets, tiles, strict=True):
        y, squares, products = window.inputs(rows, columns)
        under = _under(rows, columns)
        np.subtract(planes[under], offset, out=y)
        # The original's samples take the place of the squares for a moment.
        np.subtract(level.planes[under], offset, out=squares)
        np.multiply(squares, y, out=products)
        np.multiply(y, y, out=squares)
        mean_y, spread, value = window.blur(rows, columns)
        mean_x = level.mean[:, rows, columns]
        scratch = np.multiply(mean_y, mean_y)
        spread -= scratch
        spread += level.spread[:, rows, columns]
        both = np.multiply(mean_x, mean_y)
        value -= both
        value *= 2
        value += _C2
        value /= spread
        if level.last:
            x, y = mean_x + offset, mean_y + offset
            value *= (2 * x * y + _C1) / (x * x + y * y + _C1)
        total += value.sum(axis=(1, 2), dtype=np.float64)
    total /= level.mean.shape[1] * level.mean.shape[2]
    return total


class _Window:
    """The Gaussian window, run over tiles of several quantities; one thread's scratch memory."""

    def __init__(self, quantities: int, channels: int) -> None:
        shape = (quantities, channels, _TILE_ROWS + _MARGIN, _TILE_COLUMNS + _MARGIN)
        self._inputs = np.empty(shape, np.float32)
        self._filtered_rows = np.empty((*shape[:2], _TILE_ROWS, shape[3]), np.float32)
        self._filtered = np.empty((*shape[:2], _TILE_ROWS, _TILE_COLUMNS), np.float32)
        self._band = _band(max(_TILE_ROWS, _BLOCK_COLUMNS))
        self._row_band = np.ascontiguousarray(self._band.T)

    def inputs(self, rows: slice, columns: slice) -> NDArray[np.float32]:
        """What to fill before `blur`: (quantities, channels, rows + 10, columns + 10)."""
        height, width = rows.stop - rows.start, columns.stop - columns.start
        return self._inputs[:, :, : height + _MARGIN, : width + _MARGIN]

    def blur(self, rows: slice, columns: slice) -> NDArray[np.float32]:
        """Weighted means of the inputs, (quantities, channels, rows, columns)."""
        inputs = self.inputs(rows, columns)
        height, width = inputs.shape[2] - _MARGIN, inputs.shape[3] - _MARGIN
        between = self._filtered_rows[:, :, :height, : inputs.shape[3]]
        np.matmul(self._row_band[:height, : height + _MARGIN], inputs, out=between)
        out = self._filtered[:, :, :height, :width]
        for start in range(0, width, _BLOCK_COLUMNS):
            stop = min(start + _BLOCK_COLUMNS, width)
            band = self._band[: stop - start + _MARGIN, : stop - start]
            np.matmul(between[..., start : stop + _MARGIN], band, out=out[..., start:stop])
        return out


def _band(size: int) -> NDArray[np.float32]:
    """Matrix (size + 10, size) with the window's taps, of sum 1, in each column, one lower each."""
    offsets = np.arange(_TAPS) - (_TAPS - 1) / 2
    taps = np.exp(-(offsets**2) / (2 * _SIGMA**2))
    band = np.zeros((size + _MARGIN, size), np.float32)
    for i, tap in enumerate(taps / taps.sum()):
        band[np.arange(size) + i, np.arange(size)] = tap
    return band


def _tiles(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of the tiles of a plane of that size."""
    for top in range(0, height, _TILE_ROWS):
        for left in range(0, width, _TILE_COLUMNS):
            yield (
                slice(top, min(top + _TILE_ROWS, height)),
                slice(left, min(left + _TILE_COLUMNS, width)),
            )


def _under(rows: slice, columns: slice) -> tuple[slice, slice, slice]:
    """Index of the samples (channels, rows + 10, columns + 10) that a tile's windows cover."""
    return np.s_[:, rows.start : rows.stop + _MARGIN, columns.start : columns.stop + _MARGIN]


def _halve(planes: NDArray[Any]) -> NDArray[np.float32]:
    """Mean of 2x2 samples; an odd last row or column is repeated first, as TensorFlow does."""
    channels, height, width = planes.shape
    if height % 2 or width % 2:
        planes = np.pad(planes, ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")
    quads = np.empty((channels, planes.shape[1] // 2, planes.shape[2] // 2), np.float32)
    pairs = np.empty((channels, _HALVED_ROWS, planes.shape[2]), np.float32)
    for top in range(0, quads.shape[1], _HALVED_ROWS):
        strip = planes[:, 2 * top : 2 * (top + _HALVED_ROWS)]
        sums = pairs[:, : strip.shape[1] // 2]
        np.add(strip[:, 0::2], strip[:, 1::2], out=sums, dtype=np.float32)
        out = quads[:, top : top + _HALVED_ROWS]
        np.add(sums[:, :, 0::2], sums[:, :, 1::2], out=out)
        out *= 0.25
    return quads
