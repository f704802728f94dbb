"""One picture in memory: `encode` and `decode`."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from edgecomp.codec import Codec, CodecCache
from edgecomp.codestream import parse
from edgecomp.constants import DEFAULT_MAX_PIXELS, DEFAULT_QUALITY
from edgecomp.pictures import picture_from_image
from edgecomp.restore import Box, restore

if TYPE_CHECKING:
    import PIL.Image


def encode(
    image: PIL.Image.Image,
    *,
    quality: str = DEFAULT_QUALITY,
    backend: str = "onnx",
    coder: str | None = None,
    model: str | os.PathLike[str] | None = None,
    precision: str = "auto",
    threads: int = 1,
) -> bytes:
    """Code one picture.

    EXIF, ICC profile and XMP are taken from ``image.info``, alpha and grey are kept.

    Args:
        image: a Pillow image of 8 bits a sample (L, LA, P, RGB, RGBA, ...).
        quality: "A" (smallest), "B" or "C" (best).
        backend: "onnx" or "tensorflow".
        coder: symbol coder, "context" or "lzma"; None for the first of them that the model has.
        model: folder of an exported model, instead of the ones that ship.
        precision: "auto", "int8" or "fp32".
        threads: that the network may use.

    Returns:
        The codestream (``.edge``), see docs/format.md.

    Raises:
        UnsupportedPictureError: the image's mode cannot be represented.
        ModelError, BackendUnavailableError: the model or the backend is not there.
    """
    codec = _encoder(quality, backend, coder, _folder(model), precision, threads)
    return codec.encode(picture_from_image(image))


def decode(
    data: bytes | bytearray | memoryview,
    *,
    box: Box | None = None,
    backend: str = "onnx",
    model: str | os.PathLike[str] | None = None,
    precision: str = "auto",
    threads: int = 1,
    max_pixels: int | None = DEFAULT_MAX_PIXELS,
) -> PIL.Image.Image:
    """Decode one picture.

    Args:
        data: a codestream.
        box: left, upper, right and lower edge in pixels, as Pillow counts them, of the part that
            is wanted; None for all. Only the tiles that it depends on are decoded and have to be
            whole, and the pixels are those of the whole picture.
        backend, model, precision, threads: as for `encode`.
        max_pixels: refuse larger pictures; None for no limit.

    Returns:
        A Pillow image (L, LA, RGB or RGBA), of the size of the box if there is one; EXIF, ICC
        profile and XMP are in its ``info``.

    Raises:
        FormatError: not a codestream, damaged, or made by a newer edgecomp.
        LimitError: more than ``max_pixels`` pixels.
        ModelError, BackendUnavailableError: the model or the backend is not there.
        UsageError: the box is empty or not within the picture.
    """
    stream = parse(memoryview(data), max_pixels=max_pixels)
    codec = _decoders(backend, _folder(model), precision, threads).for_stream(stream)
    return restore(codec, stream, box=box).image


# Loading a model takes longer than using it once: the last few stay loaded.
@lru_cache(maxsize=4)
def _encoder(
    quality: str,
    backend: str,
    coder: str | None,
    model: Path | None,
    precision: str,
    threads: int,
) -> Codec:
    return Codec.load(
        quality, backend=backend, coder=coder, model=model, precision=precision, threads=threads
    )


@lru_cache(maxsize=4)
def _decoders(backend: str, model: Path | None, precision: str, threads: int) -> CodecCache:
    return CodecCache(backend=backend, model=model, precision=precision, threads=threads)


def _folder(model: str | os.PathLike[str] | None) -> Path | None:
    return None if model is None else Path(model).resolve()
