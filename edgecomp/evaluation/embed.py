"""Pixels as bytes that a browser can show."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from PIL import Image, features

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# The longest side of a WebP file. Decoders of AVIF go further, but not all as far as one another.
_LONGEST_SIDE: Final = 16383
_LONGEST_JPEG_SIDE: Final = 65535
_AVIF_QUALITY: Final = 90
_JPEG_QUALITY: Final = 95
_THUMBNAIL_SIDE: Final = 160


@dataclass(frozen=True, slots=True)
class Embedded:
    """A picture file inside the page.

    Attributes:
        mime: its media type.
        data: the file.
        through: what stands between these pixels and the true ones, for people ("AVIF at quality
            90"); "" where nothing does.
    """

    mime: str
    data: bytes
    through: str = ""

    @property
    def lossless(self) -> bool:
        """Whether these are the true pixels."""
        return not self.through


def shown(rgb: NDArray[np.uint8], *, lossless: bool) -> Embedded:
    """A picture uint8 (height, width, 3) for the page.

    Args:
        rgb: the true pixels.
        lossless: as lossless WebP, or PNG where a side is too long for that; else as AVIF of
            quality 90, or JPEG of quality 95 where a side is too long or Pillow has no AVIF, both
            without chroma subsampling.
    """
    image = Image.fromarray(rgb)
    longest = max(image.size)
    if not lossless and longest <= _LONGEST_SIDE and features.check("avif"):
        data = _saved(image, "AVIF", quality=_AVIF_QUALITY, subsampling="4:4:4", speed=8)
        return Embedded("image/avif", data, f"AVIF at quality {_AVIF_QUALITY}")
    if not lossless and longest <= _LONGEST_JPEG_SIDE:
        data = _saved(image, "JPEG", quality=_JPEG_QUALITY, subsampling="4:4:4")
        return Embedded("image/jpeg", data, f"JPEG at quality {_JPEG_QUALITY}")
    if longest <= _LONGEST_SIDE and features.check("webp"):
        # Twice as quick as Pillow's own efforts, for 3 % more bytes.
        return Embedded("image/webp", _saved(image, "WEBP", lossless=True, method=2, quality=20))
    return Embedded("image/png", _saved(image, "PNG"))


def thumbnail(rgb: NDArray[np.uint8]) -> Embedded:
    """A small JPEG of a picture uint8 (height, width, 3), no side above 160 pixels."""
    image = Image.fromarray(rgb)
    image.thumbnail((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE))
    data = _saved(image, "JPEG", quality=75, optimize=True)
    return Embedded("image/jpeg", data, "JPEG at quality 75")


def _saved(image: Image.Image, file_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()
