"""`edgecomp.encode` and `edgecomp.decode`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import edgecomp
from edgecomp.errors import (
    CorruptDataError,
    LimitError,
    ModelNotFoundError,
    NotEdgecompError,
    UnsupportedPictureError,
    UsageError,
)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA"])
def test_round_trip(tiny: Path, photo: Image.Image, mode: str) -> None:
    image = edgecomp.decode(edgecomp.encode(photo.convert(mode), model=tiny), model=tiny)
    assert (image.mode, image.size) == (mode, photo.size)
    if mode.endswith("A"):
        assert image.getchannel("A").getextrema() == (255, 255)


def test_the_shipped_models_are_the_default(photo: Image.Image) -> None:
    image = edgecomp.decode(edgecomp.encode(photo))
    difference = np.asarray(image).astype(float) - np.asarray(photo)
    assert np.abs(difference).mean() < 12


def test_metadata_goes_through_info(tiny: Path, photo: Image.Image) -> None:
    copy = photo.copy()
    copy.info |= {"exif": b"Exif\0\0MM\0*data", "icc_profile": b"icc", "xmp": b"<x/>"}
    again = edgecomp.decode(edgecomp.encode(copy, model=tiny), model=tiny)
    assert {k: again.info[k] for k in ("exif", "icc_profile", "xmp")} == copy.info


@pytest.mark.parametrize("mode", ["CMYK", "I;16", "F", "1"])
def test_modes_that_cannot_be_represented(tiny: Path, mode: str) -> None:
    with pytest.raises(UnsupportedPictureError, match="image: has "):
        edgecomp.encode(Image.new(mode, (8, 8)), model=tiny)


def test_empty_images_are_refused(tiny: Path) -> None:
    with pytest.raises(UnsupportedPictureError, match="no pixels"):
        edgecomp.encode(Image.new("RGB", (0, 5)), model=tiny)


def test_bad_input_has_clear_errors(tiny: Path, photo: Image.Image) -> None:
    data = edgecomp.encode(photo, model=tiny)
    with pytest.raises(NotEdgecompError):
        edgecomp.decode(b"something else")
    with pytest.raises(CorruptDataError):
        edgecomp.decode(data[:-1], model=tiny)
    with pytest.raises(LimitError, match="limit of 100"):
        edgecomp.decode(data, model=tiny, max_pixels=100)
    with pytest.raises(ModelNotFoundError):
        edgecomp.decode(data)
    with pytest.raises(ModelNotFoundError, match="'Z'"):
        edgecomp.encode(photo, quality="Z")
    with pytest.raises(UsageError, match="backend"):
        edgecomp.encode(photo, model=tiny, backend="torch")


def test_any_buffer_can_be_decoded(tiny: Path, photo: Image.Image) -> None:
    data = edgecomp.encode(photo, model=tiny)
    assert edgecomp.decode(bytearray(data), model=tiny).size == photo.size
    assert edgecomp.decode(memoryview(data), model=tiny).size == photo.size
