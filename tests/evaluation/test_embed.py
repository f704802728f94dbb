"""Pictures as files for a browser."""

from __future__ import annotations

import io

import numpy as np
import pytest
from page_samples import crop, pixels
from PIL import Image, features

from edgecomp.evaluation.embed import Embedded, shown, thumbnail
from edgecomp.metrics import psnr

avif = pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")


@pytest.mark.parametrize("size", [(1, 1), (1, 37), (64, 3), (120, 90)])
def test_lossless_is_lossless(size: tuple[int, int]) -> None:
    rgb = crop("kodim23.png", *size)
    embedded = shown(rgb, lossless=True)
    assert embedded.mime == "image/webp"
    assert embedded.lossless
    np.testing.assert_array_equal(pixels(embedded.data), rgb)


def test_lossless_of_a_long_side() -> None:
    rgb = np.zeros((2, 16384, 3), np.uint8)
    rgb[1, ::3, 2] = 200
    embedded = shown(rgb, lossless=True)
    assert (embedded.mime, embedded.lossless) == ("image/png", True)
    np.testing.assert_array_equal(pixels(embedded.data), rgb)


@avif
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (160, 121)])
def test_lossy(size: tuple[int, int]) -> None:
    rgb = crop("kodim05.png", *size)
    embedded = shown(rgb, lossless=False)
    assert (embedded.mime, embedded.through) == ("image/avif", "AVIF at quality 90")
    assert not embedded.lossless
    assert psnr(pixels(embedded.data), rgb) > 38


def test_lossy_of_a_long_side_is_jpeg_in_full_colour() -> None:
    rgb = np.zeros((4, 16384, 3), np.uint8)
    embedded = shown(rgb, lossless=False)
    assert (embedded.mime, embedded.through) == ("image/jpeg", "JPEG at quality 95")
    with Image.open(io.BytesIO(embedded.data)) as image:
        assert [component[1:3] for component in image.layer] == [(1, 1)] * 3


def test_lossy_beyond_jpeg_is_lossless() -> None:
    embedded = shown(np.zeros((1, 65536, 3), np.uint8), lossless=False)
    assert (embedded.mime, embedded.through) == ("image/png", "")


def test_without_avif(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check", lambda name: name != "avif")
    assert shown(crop("kodim05.png", 64, 64), lossless=False).mime == "image/jpeg"


@pytest.mark.parametrize(
    ("size", "small"), [((512, 256), (160, 80)), ((40, 30), (40, 30)), ((2, 500), (1, 160))]
)
def test_thumbnail(size: tuple[int, int], small: tuple[int, int]) -> None:
    embedded = thumbnail(np.full((size[1], size[0], 3), 90, np.uint8))
    with Image.open(io.BytesIO(embedded.data)) as image:
        assert (image.format, image.size) == ("JPEG", small)
    assert not embedded.lossless


def test_a_file_as_it_is() -> None:
    assert Embedded("image/jpeg", b"...").lossless
