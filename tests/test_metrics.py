"""PSNR and MS-SSIM against known values and another implementation."""

from __future__ import annotations

import io

import numpy as np
import pytest
from common import ROOT
from PIL import Image

from edgecomp.metrics import MS_SSIM_MIN_SIDE, ms_ssim, psnr


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    with Image.open(ROOT / "examples" / "photos" / "kodim05.png") as image:
        original = np.asarray(image.convert("RGB"))
    buffer = io.BytesIO()
    Image.fromarray(original).save(buffer, "JPEG", quality=40)
    return original, np.asarray(Image.open(buffer))


def test_equal_pictures(pair: tuple[np.ndarray, np.ndarray]) -> None:
    assert psnr(pair[0], pair[0]) == float("inf")
    assert ms_ssim(pair[0], pair[0]) == pytest.approx(1, abs=1e-6)


def test_psnr_by_hand() -> None:
    a = np.zeros((4, 4, 3), np.uint8)
    assert psnr(a, a + 16) == pytest.approx(10 * np.log10(255**2 / 256))


def test_ms_ssim_agrees_with_tensorflow(pair: tuple[np.ndarray, np.ndarray]) -> None:
    tf = pytest.importorskip("tensorflow", reason="the extra 'export' is not installed")
    for part in (np.s_[:], np.s_[:431, :277], np.s_[:161, :162]):
        a, b = (np.ascontiguousarray(picture[part]) for picture in pair)
        expected = float(tf.image.ssim_multiscale(tf.constant(a), tf.constant(b), 255))
        assert ms_ssim(a, b) == pytest.approx(expected, abs=1e-4)


def test_ms_ssim_falls_with_damage(pair: tuple[np.ndarray, np.ndarray]) -> None:
    noise = np.random.default_rng(0).normal(0, 1, pair[0].shape)
    values = [
        ms_ssim(pair[0], (pair[0] + noise * level).clip(0, 255).astype(np.uint8))
        for level in (2, 10, 40)
    ]
    assert values == sorted(values, reverse=True)
    assert 0.4 < values[-1] < values[0] < 1


def test_what_cannot_be_compared_is_said() -> None:
    small = np.zeros((MS_SSIM_MIN_SIDE - 1, 300, 3), np.uint8)
    with pytest.raises(ValueError, match="161"):
        ms_ssim(small, small)
    assert ms_ssim(np.zeros((161, 161, 3), np.uint8), np.zeros((161, 161, 3), np.uint8)) == 1
    with pytest.raises(ValueError, match="different shapes"):
        psnr(small, small[:-1])
