"""PSNR and MS-SSIM against known values and another implementation."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from common import ROOT
from PIL import Image

from edgecomp.metrics import (
    MS_SSIM_MIN_SIDE,
    Reference,
    bits_per_pixel,
    ms_ssim,
    ms_ssim_scales,
    psnr,
)

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
# Sides where the number of scales changes.
LEAST_SIDES = {1: 11, 2: 21, 3: 41, 4: 81, 5: 161}


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
    assert ms_ssim(pair[0], pair[0]) <= 1


def test_bits_per_pixel() -> None:
    assert bits_per_pixel(768 * 512, 768 * 512) == 8
    assert bits_per_pixel(0, 1) == 0
    with pytest.raises(ValueError, match="0 pixels have no rate"):
        bits_per_pixel(100, 0)


def test_psnr_by_hand() -> None:
    a = np.zeros((4, 4, 3), np.uint8)
    assert psnr(a, a + 16) == pytest.approx(10 * np.log10(255**2 / 256))


def test_ms_ssim_agrees_with_tensorflow(pair: tuple[np.ndarray, np.ndarray]) -> None:
    tf = pytest.importorskip("tensorflow", reason="the extra 'export' is not installed")
    for part in (np.s_[:], np.s_[:431, :277], np.s_[:161, :162]):
        a, b = (np.ascontiguousarray(picture[part]) for picture in pair)
        expected = float(tf.image.ssim_multiscale(tf.constant(a), tf.constant(b), 255))
        assert ms_ssim(a, b) == pytest.approx(expected, abs=1e-4)


def by_definition(a: np.ndarray, b: np.ndarray, scales: int) -> float:
    """MS-SSIM in float64, window by window."""
    weights = np.array(WEIGHTS[:scales])
    if scales < len(WEIGHTS):
        weights /= weights.sum()
    taps = np.exp(-((np.arange(11) - 5) ** 2) / 4.5)
    window = np.outer(taps, taps) / taps.sum() ** 2
    x, y = a.astype(np.float64), b.astype(np.float64)
    product = np.ones(a.shape[2])
    for scale, weight in enumerate(weights):
        views = [np.lib.stride_tricks.sliding_window_view(z, (11, 11), (0, 1)) for z in (x, y)]
        mean_x, mean_y, xx, yy, xy = (
            np.einsum("hwcij,ij->hwc", quantity, window)
            for quantity in (*views, views[0] ** 2, views[1] ** 2, views[0] * views[1])
        )
        value = (2 * (xy - mean_x * mean_y) + 58.5225) / (xx - mean_x**2 + yy - mean_y**2 + 58.5225)
        if scale == scales - 1:
            value *= (2 * mean_x * mean_y + 6.5025) / (mean_x**2 + mean_y**2 + 6.5025)
        product *= value.mean(axis=(0, 1)).clip(0) ** weight
        x, y = (np.pad(z, [(0, n % 2) for n in z.shape[:2]] + [(0, 0)], "edge") for z in (x, y))
        x, y = ((z[::2, ::2] + z[1::2, ::2] + z[::2, 1::2] + z[1::2, 1::2]) / 4 for z in (x, y))
    return float(product.mean())


@pytest.mark.parametrize("scales", [5, 4, 3, 2, 1])
def test_ms_ssim_is_what_its_definition_says(
    pair: tuple[np.ndarray, np.ndarray], scales: int
) -> None:
    # More than one tile and odd sides, and the smallest picture there is for so many scales.
    least = LEAST_SIDES[scales]
    for part in (np.s_[100:300, 200:397], np.s_[:least, : least + 1]):
        a, b = (picture[part] for picture in pair)
        assert ms_ssim(a, b, scales=scales) == pytest.approx(by_definition(a, b, scales), abs=1e-6)


def test_ms_ssim_is_exact_where_pictures_are_bright_and_smooth() -> None:
    # Variances are small differences of large numbers there.
    y, x = np.mgrid[0:170, 0:230]
    a = np.repeat((252 - (x + y) // 80)[..., None], 3, axis=2).astype(np.uint8)
    noise = np.random.default_rng(0).integers(-1, 2, a.shape)
    b = (a + noise).astype(np.uint8)
    assert ms_ssim(a, b) == pytest.approx(by_definition(a, b, 5), abs=2e-6)


@pytest.mark.parametrize("scales", [4, 2, 1])
def test_fewer_scales_agree_with_tensorflow(
    pair: tuple[np.ndarray, np.ndarray], scales: int
) -> None:
    tf = pytest.importorskip("tensorflow", reason="the extra 'export' is not installed")
    weights = [weight / sum(WEIGHTS[:scales]) for weight in WEIGHTS[:scales]]
    least = LEAST_SIDES[scales]
    for part in (np.s_[: least + 30, : least + 3], np.s_[:least, :least]):
        a, b = (np.ascontiguousarray(picture[part]) for picture in pair)
        tensors = tf.constant(a), tf.constant(b)
        expected = float(tf.image.ssim_multiscale(*tensors, 255, power_factors=weights))
        assert ms_ssim(a, b, scales=scales) == pytest.approx(expected, abs=1e-4)


def test_how_many_scales_fit() -> None:
    for scales, side in LEAST_SIDES.items():
        assert ms_ssim_scales(side, 10_000) == ms_ssim_scales(10_000, side) == scales
        assert ms_ssim_scales(side - 1, side) == scales - 1
    assert ms_ssim_scales(1, 1) == 0


def test_a_reference_gives_what_the_functions_give(pair: tuple[np.ndarray, np.ndarray]) -> None:
    original, restored = pair
    reference = Reference(original)
    expected = (ms_ssim(original, restored), psnr(original, restored))
    assert reference.scales == 5
    assert reference.score(restored) == expected
    assert (reference.ms_ssim(restored), reference.psnr(restored)) == expected
    # A second picture finds nothing left of the first, and the original is as it was.
    assert reference.score(original) == (pytest.approx(1, abs=1e-6), float("inf"))
    assert reference.score(restored) == expected


def test_threads_share_a_reference(pair: tuple[np.ndarray, np.ndarray]) -> None:
    original = pair[0][:300, :300]
    others = [np.ascontiguousarray(original + np.uint8(i)) for i in range(8)]
    reference = Reference(original)
    alone = [reference.score(other) for other in others]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(reference.score, others * 3)) == alone * 3


@pytest.mark.parametrize(("side", "scales"), [(200, 5), (160, 4), (12, 1), (11, 1)])
def test_a_reference_takes_as_many_scales_as_fit(
    pair: tuple[np.ndarray, np.ndarray], side: int, scales: int
) -> None:
    a, b = (picture[:side, 50:250] for picture in pair)
    reference = Reference(a)
    assert reference.scales == scales
    assert reference.ms_ssim(b) == ms_ssim(a, b, scales=scales)


def test_a_picture_under_one_window_has_no_ms_ssim(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = (picture[:300, :10] for picture in pair)
    reference = Reference(a)
    assert reference.scales == 0
    assert reference.score(b) == (None, psnr(a, b))


def test_channels_are_averaged_at_the_end(pair: tuple[np.ndarray, np.ndarray]) -> None:
    single = [ms_ssim(pair[0][..., i : i + 1], pair[1][..., i : i + 1]) for i in range(3)]
    assert ms_ssim(*pair) == pytest.approx(np.mean(single), abs=1e-9)
    assert len(set(single)) == 3


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
    with pytest.raises(ValueError, match="different shapes"):
        Reference(small).score(small[:, :-1])
    with pytest.raises(ValueError, match="three dimensions"):
        Reference(small[..., 0])
    with pytest.raises(ValueError, match="over 4 scales needs sides of 81"):
        ms_ssim(small[:80], small[:80], scales=4)
    for scales in (0, 6, -1):
        with pytest.raises(ValueError, match="1 to 5 scales"):
            ms_ssim(small, small, scales=scales)


def test_psnr_of_many_samples_is_exact() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (2, 211, 307, 3), dtype=np.uint8)
    error = np.mean((a.astype(np.float64) - b) ** 2)
    assert psnr(a, b) == pytest.approx(10 * np.log10(255**2 / error), abs=1e-12)
    assert psnr(a[:, ::2], b[:, ::2]) != psnr(a, b)
