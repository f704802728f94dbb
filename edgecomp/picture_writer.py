"""Pictures to files: Pillow images of what was decoded, and the formats they are written in."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin

from edgecomp.constants import OUTPUT_FORMATS
from edgecomp.pictures import EXIF_PREFIX, TIFF_XMP_TAG, PixelSource
from edgecomp.png_writer import write_png

if TYPE_CHECKING:
    from numpy.typing import NDArray

# JPEG's own losses should not add visibly to ours.
_JPEG_QUALITY: Final = 95

_XMP_KEY: Final = "XML:com.adobe.xmp"


def image_from_picture(picture: PixelSource) -> Image.Image:
    """A Pillow image (L, LA, RGB or RGBA) with the metadata in ``info``, as Pillow keeps it."""
    image = Image.fromarray(colours_of(picture.rgb, grey=picture.grey))
    if picture.alpha is not None:
        image.putalpha(Image.fromarray(picture.alpha))
    add_metadata(image, exif=picture.exif, icc=picture.icc, xmp=picture.xmp)
    return image


def colours_of(rgb: NDArray[np.uint8], *, grey: bool) -> NDArray[np.uint8]:
    """What a picture is restored with: the pixels or, of a grey one, the rounded mean of the three
    colours (docs/format.md, section 2.1), uint8 (height, width)."""
    if not grey:
        return rgb
    total = rgb.sum(axis=2, dtype=np.uint16)
    mean: NDArray[np.uint8] = ((2 * total + 3) // 6).astype(np.uint8)
    return mean


def add_metadata(
    image: Image.Image, *, exif: bytes | None, icc: bytes | None, xmp: bytes | None
) -> None:
    """Put a picture's metadata into ``info``, where `write_image` looks for it."""
    if icc:
        image.info["icc_profile"] = icc
    if exif:
        image.info["exif"] = EXIF_PREFIX + exif
    if xmp:
        image.info["xmp"] = xmp


def write_picture(picture: PixelSource, file: BinaryIO, *, format: str = "png") -> None:
    """Write a picture file; see `write_image`."""
    write_image(image_from_picture(picture), file, format=format)


def write_image(
    image: Image.Image, file: BinaryIO, *, format: str = "png", threads: int = 1
) -> None:
    """Write a picture file.

    PNG, WebP (lossless), TIFF, BMP and PPM keep every pixel that was decoded. JPEG (quality 95,
    4:4:4), BMP and PPM have no alpha: the picture is laid on white. BMP and PPM hold no metadata:
    the picture is turned upright first. TIFF holds EXIF data as far as Pillow understands them.

    Args:
        image: L, LA, RGB or RGBA, with the metadata of `add_metadata`.
        file: a binary file open for writing.
        format: a key of ``OUTPUT_FORMATS``.
        threads: to use, where the format allows it: PNG does.

    Raises:
        ValueError: unknown format.
        OSError: the file cannot be written.
    """
    if format not in OUTPUT_FORMATS:
        known = ", ".join(OUTPUT_FORMATS)
        raise ValueError(f"unknown picture format {format!r}; known: {known}")
    if format in {"jpeg", "bmp", "ppm"} and image.mode in {"LA", "RGBA"}:
        backdrop = Image.new("L" if image.mode == "LA" else "RGB", image.size, "white")
        backdrop.paste(image.convert(backdrop.mode), mask=image.getchannel("A"))
        backdrop.info.update(image.info)
        image = backdrop
    if format in {"bmp", "ppm"} and _understood(image.info.get("exif"), image.info.get("xmp")):
        ImageOps.exif_transpose(image, in_place=True)
    options = _save_options(image.info, format)
    if format == "png":
        write_png(image, file, threads=threads, **options)
    else:
        image.save(file, format, **options)


def _save_options(info: dict[str | tuple[int, int], Any], format: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    icc, exif, xmp = info.get("icc_profile"), info.get("exif"), info.get("xmp")
    if icc and format not in {"bmp", "ppm"}:
        options["icc_profile"] = icc
    if format == "png":
        if exif:
            options["exif"] = exif
        if xmp:
            text = PngImagePlugin.PngInfo()
            text.add_itxt(_XMP_KEY, xmp.decode("utf-8", "replace"))
            options["pnginfo"] = text
    elif format in {"jpeg", "webp"}:
        if format == "jpeg":
            options |= {"quality": _JPEG_QUALITY, "subsampling": 0}
        else:
            options |= {"lossless": True, "quality": 50, "exact": True}
        if exif:
            options["exif"] = exif
        if xmp:
            options["xmp"] = xmp
    elif format == "tiff":
        options["compression"] = "tiff_adobe_deflate"
        tags = _understood(exif, xmp) or _understood(None, xmp)
        if tags is not None and len(tags):
            options["exif"] = tags
    return options


def _understood(exif: bytes | None, xmp: bytes | None) -> Image.Exif | None:
    """Metadata as Pillow makes tags of them; None if they are such that it cannot.

    Where Pillow has to understand EXIF data, damaged ones make it raise nearly anything, some only
    when they are written or looked at: so it is tried on a picture of one pixel.
    """
    tags = Image.Exif()
    try:
        with warnings.catch_warnings(action="ignore"):
            if exif:
                tags.load(exif)
            if xmp:
                tags[TIFF_XMP_TAG] = xmp
            trial = Image.new("L", (1, 1))
            trial.save(io.BytesIO(), "tiff", exif=tags)
            trial.info["exif"] = exif or b""
            ImageOps.exif_transpose(trial)
    except MemoryError:
        raise
    except Exception:
        return None
    return tags
