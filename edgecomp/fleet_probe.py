"""Test pictures, by which machines find out whether they make the same bytes.

Each goes through what could differ: the decoder of JPEG files, which other releases of its library
may round otherwise; LZMA, which codes alpha and metadata; the networks.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from edgecomp.fleet_task import Probe, crc_of

if TYPE_CHECKING:
    from edgecomp.picture_coder import PictureCoder

_SIZE: Final = (120, 88)
_DESCRIPTION: Final = 0x010E


def probes(coder: PictureCoder) -> tuple[Probe, ...]:
    """The test pictures, with what this machine makes of them."""
    pictures = (("probe.jpg", _photograph()), ("probe.png", _drawing()))
    made = ((name, data, crc_of(coder, name, data)) for name, data in pictures)
    return tuple(Probe(name, data, crc) for name, data, crc in made if crc is not None)


def _photograph() -> bytes:
    """A JPEG file with subsampled colours and EXIF."""
    image = Image.fromarray(_pixels())
    exif = Image.Exif()
    exif[_DESCRIPTION] = "a test picture of edgecomp: " + "what was on that day " * 8
    file = io.BytesIO()
    image.save(file, "JPEG", quality=92, exif=exif)
    return file.getvalue()


def _drawing() -> bytes:
    """A PNG file with an alpha plane."""
    pixels = _pixels()
    alpha = np.minimum(pixels[..., 1], 200)
    file = io.BytesIO()
    Image.fromarray(np.dstack((pixels, alpha))).save(file, "PNG")
    return file.getvalue()


def _pixels() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Slopes, an edge and texture, the same everywhere: uint8 (height, width, 3)."""
    width, height = _SIZE
    y, x = np.mgrid[0:height, 0:width]
    texture = (x * x * 7 + y * y * 13 + x * y * 5) % 61
    red = 2 * x + texture // 3
    green = np.where((x - 60) ** 2 + (y - 44) ** 2 < 900, 200 + texture // 2, 60 + y)
    blue = 240 - x - y // 2 + texture // 4
    return np.dstack((red, green, blue)).clip(0, 255).astype(np.uint8)
