"""Distortions: equal to TensorFlow's and to the definition, also where a picture is small."""

from __future__ import annotations

import numpy as np
import pytest

from .conftest import environment  # noqa: F401  (sets Keras's backend before it is imported)

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def pair(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Two pictures of waves in 0..1, the second noisy and paler: float32 [1, H, W, 3] each."""
    rng = np.random.default_rng(4)
    y, x = np.mgrid[0:height, 0:width]
    a = 0.5 + 0.4 * np.sin(x / 9)[..., None] * np.cos(y / 13)[..., None] * np.ones(3)
    b = np.clip(0.9 * a + rng.normal(0, 0.08, a.shape), 0, 1)
    return a.astype(np.float32)[None], b.astype(np.float32)[None]


def windowed(a: np.ndarray, b: np.ndarray, taps: int) -> np.ndarray:
    """Mean [3] over all windows of contrast-structure and of SSIM, in double loops: [2, 3]."""
    x = np.arange(taps) - (taps - 1) / 2
    window = np.exp(-0.5 * (x / (1.5 * taps / 11)) ** 2)
    window = np.outer(window, window)[..., None] / window.sum() ** 2
    out = []
    for i in range(a.shape[0] - taps + 1):
        for j in range(a.shape[1] - taps + 1):
            p, q = (v[i : i + taps, j : j + taps].astype(float) for v in (a, b))
            mp, mq = (window * p).sum((0, 1)), (window * q).sum((0, 1))
            vp, vq = (window * p * p).sum((0, 1)) - mp**2, (window * q * q).sum((0, 1)) - mq**2
            cov = (window * p * q).sum((0, 1)) - mp * mq
            structure = (2 * cov + 0.03**2) / (vp + vq + 0.03**2)
            out.append([structure, structure * (2 * mp * mq + 1e-4) / (mp**2 + mq**2 + 1e-4)])
    return np.mean(out, axis=0)


@pytest.mark.parametrize(("height", "width"), [(161, 178), (192, 192)])
def test_ms_ssim_equals_tensorflow(height: int, width: int) -> None:
    import tensorflow as tf

    from export import losses

    a, b = pair(height, width)
    wanted = float(tf.image.ssim_multiscale(a, b, 1.0)[0])
    assert 0.3 < wanted < 0.95
    assert float(losses.ms_ssim(a, b)[0]) == pytest.approx(wanted, abs=1e-5)


def test_window_shrinks_to_the_coarse_scales() -> None:
    """The sides 64, 32, 16, 8, 4: windows of 11, 11, 11, 8 and 4 taps."""
    from export import losses

    a, b = pair(losses.SMALLEST, losses.SMALLEST)
    value, (p, q) = np.ones(3), (a[0], b[0])
    for scale, (weight, taps) in enumerate(zip(WEIGHTS, (11, 11, 11, 8, 4), strict=True)):
        if scale:
            n = p.shape[0] // 2
            p, q = (v.reshape(n, 2, n, 2, 3).mean((1, 3)) for v in (p, q))
        value *= windowed(p, q, taps)[1 if scale == 4 else 0] ** weight
    assert float(losses.ms_ssim(a, b)[0]) == pytest.approx(value.mean(), abs=1e-4)
    assert float(losses.ms_ssim(a, a)[0]) == pytest.approx(1, abs=1e-5)


def test_distortion_of_each_loss() -> None:
    from export import losses

    similarity, error = np.array([0.9, 1.0]), np.array([0.02, 0.0])
    both = losses.distortion("msssim", 0.5, similarity, error)
    np.testing.assert_allclose(both, [0.11, 0.0], atol=1e-12)
    np.testing.assert_array_equal(losses.distortion("mse", 0.5, similarity, error), error)


def test_mse_is_a_mean_a_picture() -> None:
    from export import losses

    a = np.zeros((2, 4, 4, 3), np.float32)
    b = a.copy()
    b[1, 0, 0, 0] = 1
    np.testing.assert_allclose(losses.mse(a, b), [0, 1 / 48], rtol=1e-6)
