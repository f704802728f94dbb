"""Pictures read a rectangle at a time are what they are when read whole."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgecomp import pictures
from edgecomp.errors import UnsupportedPictureError
from edgecomp.large_picture import LargePicture
from edgecomp.pictures import Picture, load_picture, open_picture, read_picture
from edgecomp.tiling import Rect

ICC = b"not a real profile " * 9


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


def palette(colours: np.ndarray) -> Image.Image:
    image = Image.fromarray(noise(40, 60) % 7)
    image.putpalette(colours.tobytes())
    return image


IMAGES = {
    "RGB": Image.fromarray(noise(40, 60, 3)),
    "RGBA": Image.fromarray(noise(40, 60, 4)),
    "L": Image.fromarray(noise(40, 60)),
    "LA": Image.merge("LA", [Image.fromarray(noise(40, 60)), Image.fromarray(noise(60, 40).T)]),
    "palette": palette(noise(7, 3)),
    "palette of greys": palette(np.repeat(noise(7, 1), 3, axis=1)),
}


@pytest.mark.parametrize("kind", IMAGES)
def test_regions_are_those_of_the_small_picture(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    IMAGES[kind].save(buffer, "PNG", icc_profile=ICC)
    small = read_picture(buffer.getvalue(), name="a.png")
    monkeypatch.setattr(pictures, "LARGE_PIXELS", 100)
    large = read_picture(buffer.getvalue(), name="a.png")
    assert isinstance(small, Picture)
    assert isinstance(large, LargePicture)
    assert (large.width, large.height, large.grey) == (60, 40, small.grey)
    assert (large.icc, large.exif, large.xmp) == (ICC, small.exif, small.xmp)
    assert np.array_equal(large.rgb, small.rgb)
    assert (large.alpha is None) == (small.alpha is None)
    if small.alpha is not None:
        assert np.array_equal(large.alpha, small.alpha)
    for rect in (Rect(0, 0, 60, 40), Rect(3, 5, 4, 6), Rect(50, 30, 60, 40)):
        region = large.region(rect)
        assert region.flags.c_contiguous
        assert np.array_equal(region, small.region(rect))


def test_strips_make_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecomp.large_picture._STRIP_PIXELS", 61)
    large = LargePicture(IMAGES["RGBA"], target="RGBA")
    assert np.array_equal(large.alpha, np.asarray(IMAGES["RGBA"])[..., 3])
    assert LargePicture(IMAGES["palette of greys"], target="RGB").grey
    assert not LargePicture(IMAGES["palette"], target="RGB").grey


@pytest.mark.parametrize("size", [(2047, 2049), (2049, 2048)])
def test_only_large_pictures_stay_where_they_are(size: tuple[int, int]) -> None:
    picture = pictures.picture_from_image(Image.new("L", size))
    assert isinstance(picture, LargePicture) == (size[0] * size[1] > 1 << 22)


def test_a_file_cut_in_its_pixels_is_refused_when_they_are_read() -> None:
    buffer = io.BytesIO()
    Image.fromarray(noise(200, 200, 3)).save(buffer, "PNG")
    file = io.BytesIO(buffer.getvalue()[: buffer.tell() // 2])
    image = open_picture(file, name="a.png")
    with pytest.raises(UnsupportedPictureError, match="cannot be decoded"):
        load_picture(image, name="a.png")


@pytest.mark.parametrize(
    ("limits", "message"), [({"max_pixels": 2399}, "more than the limit of 2399"), ({}, "frames")]
)
def test_what_is_refused_on_opening(limits: dict[str, Any], message: str) -> None:
    buffer = io.BytesIO()
    frames = [IMAGES["L"], IMAGES["L"].rotate(180)]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    with pytest.raises(UnsupportedPictureError, match=message):
        open_picture(io.BytesIO(buffer.getvalue()), name="a.gif", **limits)
