"""Picture files in: what the codec sees of a picture.

Reading is Pillow's work. What the codec cannot represent without losing something that the user did
not agree to lose (16-bit samples, CMYK, several frames) raises `UnsupportedPictureError` with the
reason; the folder job then keeps such a file as it is.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from edgecomp.constants import DEFAULT_MAX_PIXELS, MAX_SECTION_BYTES, MAX_SIDE
from edgecomp.errors import EdgecompError, UnsupportedPictureError
from edgecomp.large_picture import LargePicture
from edgecomp.tiling import Rect

if TYPE_CHECKING:
    from numpy.typing import NDArray

PICTURE_SUFFIXES: Final = frozenset(
    ".png .apng .jpg .jpeg .jpe .jfif .webp .tif .tiff .bmp .dib .ppm .pgm .pbm .pnm .gif .tga"
    " .jp2 .j2k .jxl .avif .avifs .heic .heif .hif".split()
)
# What files of these suffixes may be. Pillow knows more formats: PostScript, for one, for which it
# would start an interpreter.
_USUAL_FORMATS: Final = ("PNG", "JPEG", "MPO", "BMP", "DIB", "GIF", "PPM")
_OTHER_FORMATS: Final = ("WEBP", "TIFF", "TGA", "JPEG2000", "JXL", "AVIF", "HEIF")
_HEIF_SUFFIXES: Final = frozenset({".heic", ".heif", ".hif"})

# Above this a picture's pixels stay in Pillow's image: they would take as much again as an array.
LARGE_PIXELS: Final = 1 << 22
# Bytes a pixel that a picture takes while it is worked on: four or three in Pillow's image, and for
# small ones as much again in arrays.
_BYTES_PER_PIXEL: Final = 8

EXIF_PREFIX: Final = b"Exif\x00\x00"
TIFF_XMP_TAG: Final = 700
# The TIFF tags that describe the photograph; the others describe how the file lays out its pixels.
_TIFF_DESCRIPTIVE_TAGS: Final = frozenset(
    int(tag)
    for tag in (
        ExifTags.Base.ImageDescription,
        ExifTags.Base.Make,
        ExifTags.Base.Model,
        ExifTags.Base.Orientation,
        ExifTags.Base.XResolution,
        ExifTags.Base.YResolution,
        ExifTags.Base.ResolutionUnit,
        ExifTags.Base.Software,
        ExifTags.Base.DateTime,
        ExifTags.Base.Artist,
        ExifTags.Base.Copyright,
        ExifTags.IFD.Exif,
        ExifTags.IFD.GPSInfo,
    )
)
_GREY_MODES: Final = frozenset({"L", "LA"})
_COLOUR_MODES: Final = frozenset({"RGB", "RGBA", "P", "PA", "YCbCr", "RGBX"})
_REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "1": "a bilevel picture",
        "CMYK": "CMYK colours",
        "LAB": "LAB colours",
        "HSV": "HSV colours",
        "I": "samples of more than 8 bits",
        "F": "floating-point samples",
    }
)


class PixelSource(Protocol):
    """What is coded: a `Picture`, or a `LargePicture` whose pixels stay where Pillow has them."""

    @property
    def width(self) -> int:
        """In pixels."""
        ...

    @property
    def height(self) -> int:
        """In pixels."""
        ...

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """All pixels: uint8 (height, width, 3); the three are equal for a grey picture."""
        ...

    @property
    def alpha(self) -> NDArray[np.uint8] | None:
        """uint8 (height, width), 0 transparent, or None."""
        ...

    @property
    def grey(self) -> bool:
        """Whether the source has one colour channel."""
        ...

    @property
    def exif(self) -> bytes | None:
        """From the TIFF header on, verbatim, or None."""
        ...

    @property
    def icc(self) -> bytes | None:
        """ICC profile, verbatim, or None."""
        ...

    @property
    def xmp(self) -> bytes | None:
        """XMP packet, verbatim, or None."""
        ...

    def region(self, rect: Rect) -> NDArray[np.uint8]:
        """The pixels of a rectangle: uint8 (height, width, 3)."""
        ...


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as the codec sees it.

    Attributes:
        rgb: uint8 (height, width, 3); the three are equal for a grey picture.
        alpha: uint8 (height, width), 0 transparent, or None.
        grey: whether the source had one colour channel.
        exif: from the TIFF header on, verbatim, or None.
        icc: ICC profile, verbatim, or None.
        xmp: XMP packet, verbatim, or None.
    """

    rgb: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None = None
    grey: bool = False
    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None

    def __post_init__(self) -> None:
        if self.rgb.dtype != np.uint8 or self.rgb.ndim != 3 or self.rgb.shape[2] != 3:
            raise ValueError("rgb must be uint8 (height, width, 3)")
        if not (1 <= self.height <= MAX_SIDE and 1 <= self.width <= MAX_SIDE):
            raise ValueError(f"impossible picture size {self.width} x {self.height}")
        alpha = self.alpha
        if alpha is not None and (alpha.dtype != np.uint8 or alpha.shape != self.rgb.shape[:2]):
            raise ValueError("alpha must be uint8 (height, width)")

    @property
    def width(self) -> int:
        """In pixels."""
        return int(self.rgb.shape[1])

    @property
    def height(self) -> int:
        """In pixels."""
        return int(self.rgb.shape[0])

    def region(self, rect: Rect) -> NDArray[np.uint8]:
        """The pixels of a rectangle: uint8 (height, width, 3)."""
        return self.rgb[rect.rows, rect.columns]


def memory_for(pixels: int) -> int:
    """Bytes that a picture of so many pixels takes while it is worked on, to within a factor."""
    return _BYTES_PER_PIXEL * pixels


def is_picture_name(name: str) -> bool:
    """Whether a file of that name is taken for a picture (by its suffix)."""
    return os.path.splitext(name)[1].lower() in PICTURE_SUFFIXES


def open_picture(
    file: BinaryIO, *, name: str, max_pixels: int | None = DEFAULT_MAX_PIXELS
) -> Image.Image:
    """Look into a picture file; its pixels are decoded by `load_picture`.

    Args:
        file: open for reading, able to seek; it must stay open until the pixels are decoded.
        name: its name, for messages and for the choice of plug-ins.
        max_pixels: refuse larger pictures.

    Raises:
        UnsupportedPictureError: it cannot be decoded, or not be represented; it says why.
    """
    if os.path.splitext(name)[1].lower() in _HEIF_SUFFIXES:
        _register_heif(name)
    with _refusals(name):
        image = _open(file)
        _check_size(image.width, image.height, max_pixels, name)
        _check_depth(image, name)
        frames = getattr(image, "n_frames", 1)
        if frames > 1:
            raise UnsupportedPictureError(f"has {frames} frames", path=name)
        return image


def _open(file: BinaryIO) -> Image.Image:
    """Pillow's image of a file in one of the formats that pictures may have."""
    Image.preinit()
    try:
        return Image.open(file, formats=_known(_USUAL_FORMATS))
    except UnidentifiedImageError:
        Image.init()  # loads all plug-ins, which takes a while
        file.seek(0)
        return Image.open(file, formats=_known(_OTHER_FORMATS))


def _known(formats: Sequence[str]) -> list[str]:
    """Those of the formats that Pillow can read here."""
    return [format for format in formats if format in Image.OPEN]


@contextmanager
def _refusals(name: str) -> Iterator[None]:
    try:
        yield
    except (EdgecompError, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise UnsupportedPictureError("too many pixels for Pillow's limit", path=name) from None
    except UnidentifiedImageError:
        raise UnsupportedPictureError("not a picture that can be read", path=name) from None
    except Exception as error:  # damaged files make Pillow raise nearly anything
        detail = str(error) or type(error).__name__
        raise UnsupportedPictureError(f"cannot be decoded ({detail})", path=name) from error


def load_picture(image: Image.Image, *, name: str) -> PixelSource:
    """Decode the pixels of what `open_picture` gave.

    Raises:
        UnsupportedPictureError: its pixels cannot be decoded, or not be represented.
    """
    with _refusals(name):
        image.load()
        return picture_from_image(image, name=name)


def read_picture(
    data: bytes, *, name: str, max_pixels: int | None = DEFAULT_MAX_PIXELS
) -> PixelSource:
    """Decode a picture file; see `open_picture` and `load_picture`.

    Raises:
        UnsupportedPictureError: it cannot be decoded, or not be represented; it says why.
    """
    image = open_picture(io.BytesIO(data), name=name, max_pixels=max_pixels)
    return load_picture(image, name=name)


def picture_from_image(image: Image.Image, *, name: str = "image") -> PixelSource:
    """What the codec sees of a Pillow image.

    A large image is not copied: it must not be changed while the picture is in use.

    Raises:
        UnsupportedPictureError: the mode cannot be represented.
    """
    # Asking for the size of arrays first: an empty image has no pixels to code.
    if image.width < 1 or image.height < 1:
        raise UnsupportedPictureError("has no pixels", path=name)
    metadata = {
        "exif": _exif_of(image),
        "icc": image.info.get("icc_profile") or None,
        "xmp": _xmp_of(image),
    }
    for what, data in metadata.items():
        if data is not None and len(data) > MAX_SECTION_BYTES:
            size = len(data)
            raise UnsupportedPictureError(f"has {size} bytes of {what.upper()} data", path=name)
    large = LargePicture(image, target=_target_mode(image, name), **metadata)
    if image.width * image.height > LARGE_PIXELS:
        return large
    return Picture(
        rgb=large.rgb,
        alpha=large.alpha,
        grey=large.grey,
        exif=large.exif,
        icc=large.icc,
        xmp=large.xmp,
    )


def _target_mode(image: Image.Image, name: str) -> str:
    """L, LA, RGB or RGBA: the mode that holds what an image holds.

    Raises:
        UnsupportedPictureError: none does.
    """
    transparent = "transparency" in image.info
    if image.mode in _GREY_MODES:
        return "LA" if transparent else image.mode
    if image.mode in _COLOUR_MODES:
        has_alpha = transparent or image.mode in {"RGBA", "PA"}
        return "RGBA" if has_alpha else "RGB"
    reason = _REASONS.get(image.mode.split(";")[0], f"pixels of mode {image.mode}")
    raise UnsupportedPictureError(f"has {reason}", path=name)


def _register_heif(name: str) -> None:
    try:
        import pillow_heif
    except ImportError:
        raise UnsupportedPictureError(
            "reading HEIC needs the package pillow-heif (pip install 'edgecomp[heic]')", path=name
        ) from None
    pillow_heif.register_heif_opener()


def _check_size(width: int, height: int, max_pixels: int | None, name: str) -> None:
    if max_pixels is not None and width * height > max_pixels:
        raise UnsupportedPictureError(
            f"has {width} x {height} pixels, more than the limit of {max_pixels}", path=name
        )
    if width > MAX_SIDE or height > MAX_SIDE:
        raise UnsupportedPictureError(
            f"is {width} x {height}; a side may have at most {MAX_SIDE} pixels", path=name
        )


def _check_depth(image: Image.Image, name: str) -> None:
    """Refuse deeper samples that Pillow would silently cut to 8 bits on loading."""
    depth = image.info.get("bit_depth", 8)
    if isinstance(depth, int) and depth > 8:
        raise UnsupportedPictureError(f"has samples of {depth} bits", path=name)
    deep = image.mode.startswith("I;16") or image.mode in {"I", "F"}
    for tile in getattr(image, "tile", ()):
        arguments = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        rawmode = next((a for a in arguments if isinstance(a, str)), "")
        deep = deep or ";16" in rawmode
        if tile[0] == "ppm" and len(arguments) > 1 and isinstance(arguments[1], int):
            deep = deep or arguments[1] > 255
    if deep:
        raise UnsupportedPictureError("has samples of more than 8 bits", path=name)


def _exif_of(image: Image.Image) -> bytes | None:
    raw = image.info.get("exif")
    if isinstance(raw, bytes) and raw:
        return raw.removeprefix(EXIF_PREFIX) or None
    if image.format != "TIFF":
        return None
    # A TIFF file's own tags are its EXIF; those of the pixel layout would be wrong elsewhere.
    tags = image.getexif()
    for tag in list(tags):
        if tag not in _TIFF_DESCRIPTIVE_TAGS:
            del tags[tag]
    return tags.tobytes().removeprefix(EXIF_PREFIX) if len(tags) else None


def _xmp_of(image: Image.Image) -> bytes | None:
    raw = image.info.get("xmp")
    if isinstance(raw, str):
        raw = raw.encode()
    return raw if isinstance(raw, bytes) and raw else None
