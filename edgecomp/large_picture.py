"""Pictures whose pixels stay in Pillow's image and are read a rectangle at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from edgecomp.tiling import Rect

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

# What is converted at once where all of a picture has to be looked at.
_STRIP_PIXELS = 1 << 22


class LargePicture:
    """A `pictures.PixelSource` over a Pillow image. Safe to read from several threads at once.

    Attributes:
        grey: whether the source has one colour channel, or a palette of greys.
        exif, icc, xmp: metadata, verbatim, or None.

    Args:
        image: decoded; not to be changed from now on.
        target: the mode that its pixels are converted to, a rectangle at a time: L, LA, RGB, RGBA.
    """

    def __init__(
        self,
        image: Image.Image,
        *,
        target: str,
        exif: bytes | None = None,
        icc: bytes | None = None,
        xmp: bytes | None = None,
    ) -> None:
        self._image = image
        self._target = target
        self.exif, self.icc, self.xmp = exif, icc, xmp
        self.grey = target in {"L", "LA"}
        if image.mode == "P":
            # A grey picture saved as GIF comes as a palette of greys.
            self.grey = all(_is_grey(self._pixels(strip)) for strip in self._strips())

    @property
    def width(self) -> int:
        """In pixels."""
        return self._image.width

    @property
    def height(self) -> int:
        """In pixels."""
        return self._image.height

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """All pixels, copied: uint8 (height, width, 3)."""
        return self.region(Rect(0, 0, self.width, self.height))

    @property
    def alpha(self) -> NDArray[np.uint8] | None:
        """uint8 (height, width), 0 transparent, copied; None where there is no transparency."""
        if self._target not in {"LA", "RGBA"}:
            return None
        alpha = np.empty((self.height, self.width), np.uint8)
        for strip in self._strips():
            alpha[strip.rows] = self._pixels(strip)[..., -1]
        return alpha

    def region(self, rect: Rect) -> NDArray[np.uint8]:
        """The pixels of a rectangle: uint8 (height, width, 3), contiguous."""
        pixels = self._pixels(rect)
        if pixels.shape[2] < 3:
            return np.repeat(pixels[..., :1], 3, axis=2)
        return np.ascontiguousarray(pixels[..., :3])

    def _pixels(self, rect: Rect) -> NDArray[np.uint8]:
        """uint8 (height, width, channels of the target mode)."""
        image = self._image
        if (rect.width, rect.height) != image.size:
            image = image.crop((rect.left, rect.top, rect.right, rect.bottom))
        if image.mode != self._target:
            image = image.convert(self._target)
        pixels = np.asarray(image)
        return pixels.reshape(rect.height, rect.width, -1)

    def _strips(self) -> Iterator[Rect]:
        rows = max(1, _STRIP_PIXELS // self.width)
        for top in range(0, self.height, rows):
            yield Rect(0, top, self.width, min(top + rows, self.height))


def _is_grey(pixels: NDArray[np.uint8]) -> bool:
    colours = pixels[..., :3]
    return bool((colours == colours[..., :1]).all())
