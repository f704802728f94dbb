"""Picture files in and out: what the codec sees of a picture, and what comes back.

Reading is Pillow's work. What the codec cannot represent without losing something that the user did
not agree to lose (16-bit samples, CMYK, several frames) raises `UnsupportedPictureError` with the
reason; the folder job then keeps such a file as it is.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np
from PIL import ExifTags, Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from edgecomp.constants import DEFAULT_MAX_PIXELS, MAX_SIDE
from edgecomp.errors import UnsupportedPictureError

if TYPE_CHECKING:
    from numpy.typing import NDArray

PICTURE_SUFFIXES: Final = frozenset(
    ".png .apng .jpg .jpeg .jpe .jfif .webp .tif .tiff .bmp .dib .ppm .pgm .pbm .pnm .gif .tga"
    " .jp2 .j2k .jxl .avif .avifs .heic .heif .hif".split()
)
_HEIF_SUFFIXES: Final = frozenset({".heic", ".heif", ".hif"})

# Names of the formats that a restored picture can be written in, with their suffixes.
OUTPUT_FORMATS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "png": ".png",
        "jpeg": ".jpg",
        "webp": ".webp",
        "tiff": ".tif",
        "bmp": ".bmp",
        "ppm": ".ppm",
    }
)
# PNG at zlib level 1: on the Kodak pictures 3 times quicker than level 6 and 9 % larger.
_PNG_LEVEL: Final = 1
# JPEG's own losses should not add visibly to ours.
_JPEG_QUALITY: Final = 95

_EXIF_PREFIX: Final = b"Exif\x00\x00"
_XMP_KEY: Final = "XML:com.adobe.xmp"
_TIFF_XMP_TAG: Final = 700
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


def is_picture_name(name: str) -> bool:
    """Whether a file of that name is taken for a picture (by its suffix)."""
    return os.path.splitext(name)[1].lower() in PICTURE_SUFFIXES


def read_picture(data: bytes, *, name: str, max_pixels: int | None = DEFAULT_MAX_PIXELS) -> Picture:
    """Decode a picture file.

    Args:
        data: the file's bytes.
        name: its name, for messages and for the choice of plug-ins.
        max_pixels: refuse larger pictures before decoding them.

    Raises:
        UnsupportedPictureError: it cannot be decoded, or not be represented; it says why.
    """
    if os.path.splitext(name)[1].lower() in _HEIF_SUFFIXES:
        _register_heif(name)
    try:
        with Image.open(io.BytesIO(data)) as image:
            _check_size(image.width, image.height, max_pixels, name)
            _check_depth(image, name)
            frames = getattr(image, "n_frames", 1)
            if frames > 1:
                raise UnsupportedPictureError(f"has {frames} frames", path=name)
            image.load()
            return picture_from_image(image, name=name)
    except UnsupportedPictureError:
        raise
    except Image.DecompressionBombError:
        raise UnsupportedPictureError("too many pixels for Pillow's limit", path=name) from None
    except UnidentifiedImageError:
        raise UnsupportedPictureError("not a picture that can be read", path=name) from None
    except Exception as error:  # damaged files make Pillow raise nearly anything
        detail = str(error) or type(error).__name__
        raise UnsupportedPictureError(f"cannot be decoded ({detail})", path=name) from error


def picture_from_image(image: Image.Image, *, name: str = "image") -> Picture:
    """What the codec sees of a Pillow image.

    Raises:
        UnsupportedPictureError: the mode cannot be represented.
    """
    # Asking for the size of arrays first: an empty image has no pixels to code.
    if image.width < 1 or image.height < 1:
        raise UnsupportedPictureError("has no pixels", path=name)
    transparent = "transparency" in image.info
    if image.mode in _GREY_MODES:
        grey, target = True, "LA" if transparent else image.mode
    elif image.mode in _COLOUR_MODES:
        has_alpha = transparent or image.mode in {"RGBA", "PA"}
        grey, target = False, "RGBA" if has_alpha else "RGB"
    else:
        reason = _REASONS.get(image.mode.split(";")[0], f"pixels of mode {image.mode}")
        raise UnsupportedPictureError(f"has {reason}", path=name)
    icc = image.info.get("icc_profile") or None
    exif, xmp = _exif_of(image), _xmp_of(image)
    pixels = np.asarray(image if image.mode == target else image.convert(target))
    alpha: NDArray[np.uint8] | None = None
    if target in {"LA", "RGBA"}:
        alpha = np.ascontiguousarray(pixels[..., -1])
        pixels = pixels[..., :-1]
    if image.mode == "P":
        # A grey picture saved as GIF comes as a palette of greys.
        grey = bool((pixels == pixels[..., :1]).all())
        if grey:
            pixels = pixels[..., :1]
    if grey:
        pixels = np.repeat(pixels.reshape(image.height, image.width, 1), 3, axis=2)
    rgb = np.ascontiguousarray(pixels)
    return Picture(rgb=rgb, alpha=alpha, grey=grey, exif=exif, icc=icc, xmp=xmp)


def image_from_picture(picture: Picture) -> Image.Image:
    """A Pillow image (L, LA, RGB or RGBA) with the metadata in ``info``, as Pillow keeps it."""
    colour: NDArray[np.uint8] = picture.rgb
    if picture.grey:
        # The rounded mean (docs/format.md, section 2.1), in integers.
        total = colour.sum(axis=2, dtype=np.uint16)
        colour = ((2 * total + 3) // 6).astype(np.uint8)
    if picture.alpha is not None:
        colour = np.dstack((colour, picture.alpha))
    image = Image.fromarray(colour)
    if picture.icc:
        image.info["icc_profile"] = picture.icc
    if picture.exif:
        image.info["exif"] = _EXIF_PREFIX + picture.exif
    if picture.xmp:
        image.info["xmp"] = picture.xmp
    return image


def write_picture(picture: Picture, file: BinaryIO, *, format: str = "png") -> None:
    """Write a picture file.

    PNG, WebP (lossless), TIFF, BMP and PPM keep every pixel that was decoded. JPEG (quality 95,
    4:4:4), BMP and PPM have no alpha: the picture is laid on white. BMP and PPM hold no metadata:
    the picture is turned upright first.

    Args:
        picture: what to write.
        file: a binary file open for writing.
        format: a key of ``OUTPUT_FORMATS``.

    Raises:
        ValueError: unknown format.
        OSError: the file cannot be written.
    """
    if format not in OUTPUT_FORMATS:
        known = ", ".join(OUTPUT_FORMATS)
        raise ValueError(f"unknown picture format {format!r}; known: {known}")
    image = image_from_picture(picture)
    if format in {"jpeg", "bmp", "ppm"} and picture.alpha is not None:
        backdrop = Image.new("L" if picture.grey else "RGB", image.size, "white")
        backdrop.paste(image.convert(backdrop.mode), mask=image.getchannel("A"))
        backdrop.info.update(image.info)
        image = backdrop
    if format in {"bmp", "ppm"}:
        image = ImageOps.exif_transpose(image)
    image.save(file, **_save_options(picture, format))


def _save_options(picture: Picture, format: str) -> dict[str, Any]:
    options: dict[str, Any] = {"format": format}
    if picture.icc and format not in {"bmp", "ppm"}:
        options["icc_profile"] = picture.icc
    exif = _EXIF_PREFIX + picture.exif if picture.exif else None
    if format == "png":
        options["compress_level"] = _PNG_LEVEL
        if exif:
            options["exif"] = exif
        if picture.xmp:
            text = PngImagePlugin.PngInfo()
            text.add_itxt(_XMP_KEY, picture.xmp.decode("utf-8", "replace"))
            options["pnginfo"] = text
    elif format in {"jpeg", "webp"}:
        options |= {"quality": _JPEG_QUALITY, "subsampling": 0}
        if format == "webp":
            options = options | {"lossless": True, "quality": 50, "exact": True}
            del options["subsampling"]
        if exif:
            options["exif"] = exif
        if picture.xmp:
            options["xmp"] = picture.xmp
    elif format == "tiff":
        options["compression"] = "tiff_adobe_deflate"
        tags = Image.Exif()
        if exif:
            tags.load(exif)
        if picture.xmp:
            tags[_TIFF_XMP_TAG] = picture.xmp
        if len(tags):
            options["exif"] = tags
    return options


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
        return raw.removeprefix(_EXIF_PREFIX) or None
    if image.format != "TIFF":
        return None
    # A TIFF file's own tags are its EXIF; those of the pixel layout would be wrong elsewhere.
    tags = image.getexif()
    for tag in list(tags):
        if tag not in _TIFF_DESCRIPTIVE_TAGS:
            del tags[tag]
    return tags.tobytes().removeprefix(_EXIF_PREFIX) if len(tags) else None


def _xmp_of(image: Image.Image) -> bytes | None:
    raw = image.info.get("xmp")
    if isinstance(raw, str):
        raw = raw.encode()
    return raw if isinstance(raw, bytes) and raw else None
