"""The builders and losses, against definitions written out in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from .conftest import tiny_settings


@pytest.fixture(scope="module")
def edge() -> Any:
    from export.networks import edge

    return edge


@pytest.fixture(scope="module")
def config(edge: Any) -> Any:
    return edge.EdgeConfig.from_dict(tiny_settings()["network"])


def random_weights(model: Any, seed: int = 3) -> None:
    """Every weight away from its start, the zero tails and tables too."""
    rng = np.random.default_rng(seed)
    for v in model.variables:
        v.assign(rng.normal(0, 0.1, v.shape).astype(np.float32))


def test_patches_invert_and_order(edge: Any) -> None:
    picture = np.random.default_rng(1).normal(size=(2, 24, 40, 3)).astype(np.float32)
    patches = np.asarray(edge.to_patches(picture))
    assert patches.shape == (2, 3, 5, 192)
    np.testing.assert_array_equal(patches[1, 2, 3], picture[1, 16:24, 24:32].reshape(-1))
    np.testing.assert_array_equal(np.asarray(edge.from_patches(patches)), picture)


@pytest.mark.parametrize("part", ["encoder", "decoder"])
@pytest.mark.parametrize("quality", [0, 2])
def test_folded_network_equals_trained_one(edge: Any, config: Any, part: str, quality: int) -> None:
    from export.networks.layers import set_weights, weights_of

    builders = {"encoder": edge.build_encoder, "decoder": edge.build_decoder}
    models = [build(config) for build in builders.values()]
    weights: dict[str, np.ndarray] = {}
    for model in models:
        random_weights(model)
        weights |= weights_of(model)
    model = models[list(builders).index(part)]
    plain, values = edge.fold(config, weights, quality)
    assert plain.folded
    assert plain.qualities == (config.qualities[quality],)
    folded = builders[part](plain)
    set_weights(folded, values)
    channels = config.values if part == "encoder" else config.latents
    x = np.random.default_rng(5).normal(size=(1, 4, 6, channels)).astype(np.float32)
    full = np.asarray(model([x, np.array([quality], np.int32)]))
    np.testing.assert_allclose(np.asarray(folded(x)), full, rtol=1e-4, atol=1e-4)


def test_rate_scale_multiplies_latents(edge: Any, config: Any) -> None:
    from export.networks.layers import set_weights, weights_of

    encoder = edge.build_encoder(config)
    decoder = edge.build_decoder(config)
    random_weights(encoder)
    random_weights(decoder)
    weights = weights_of(encoder) | weights_of(decoder)
    x = np.random.default_rng(5).normal(size=(1, 3, 3, 192)).astype(np.float32)
    outputs = []
    for rate_scale in (1.0, 2.0):
        plain, values = edge.fold(config, weights, 1, rate_scale)
        folded = edge.build_encoder(plain)
        set_weights(folded, values)
        outputs.append(np.asarray(folded(x)))
    np.testing.assert_allclose(outputs[1], 2 * outputs[0], rtol=1e-4, atol=1e-4)
    # folding what is folded changes nothing but the scale
    again, same = edge.fold(plain, values, 0)
    assert again == plain
    assert all(np.array_equal(same[k], v) for k, v in values.items())


def test_position_between_qualities(edge: Any, config: Any) -> None:
    table = np.float32([[0, 1], [2, 5], [4, 7]])
    weights = {"enc_gain/table": table, "enc_head/bias": np.float32([1])}
    for position, row in ((1.0, [2, 5]), (1.5, [3, 6]), (0.25, [0.5, 2]), (2.5, [5, 8])):
        moved = edge.at_position(config, weights, 1, position)
        np.testing.assert_allclose(moved["enc_gain/table"], [[0, 1], row, [4, 7]])
        assert moved["enc_head/bias"] is weights["enc_head/bias"]
    np.testing.assert_array_equal(weights["enc_gain/table"], table)  # the original stays


def test_set_weights_names_what_is_wrong(edge: Any, config: Any) -> None:
    from export.networks.layers import set_weights, weights_of

    model = edge.build_encoder(config)
    weights = weights_of(model)
    short = {k: v for k, v in weights.items() if k != "enc_head/kernel"}
    with pytest.raises(ValueError, match="no weight named 'enc_head/kernel'"):
        set_weights(model, short)
    with pytest.raises(ValueError, match="'enc_head/bias': shape"):
        set_weights(model, weights | {"enc_head/bias": np.zeros(3, np.float32)})


def test_context_model_is_causal(edge: Any, config: Any) -> None:
    model = edge.build_context(config)
    random_weights(model)
    quality = np.array([1], np.int32)
    rng = np.random.default_rng(2)
    y = np.round(rng.normal(0, 3, (1, 5, 6, config.latents))).astype(np.float32)
    before = np.asarray(model([y, quality]))
    changed = y.copy()
    changed[0, 2, 3] += 5
    moved = np.abs(np.asarray(model([changed, quality])) - before).max(axis=(0, 3)) > 1e-6
    order = np.arange(30).reshape(5, 6)
    assert not moved[order <= 2 * 6 + 3].any()  # itself and everything before it
    assert moved[2, 4]
    assert moved[3, 2:5].all()
    assert not moved[4].any()  # beyond the reach of one row


def test_bits_are_a_distribution(edge: Any) -> None:
    k = np.arange(-400, 401, dtype=np.float32)
    for mean, log_scale in ((0.0, -3.2), (0.3, -1.0), (-2.6, 0.7), (10.0, 3.0)):
        y = k[:, None, None, None]
        d = np.broadcast_to(np.float32([mean, log_scale]), (len(k), 1, 1, 2))
        p = 2.0 ** -np.asarray(edge.bits(y, d), np.float64)
        assert p.sum() == pytest.approx(1, abs=1e-3)
        assert k[p[:, 0, 0, 0].argmax()] == round(mean)


def test_principal_components_are_orthonormal_and_invert(edge: Any, config: Any) -> None:
    rng = np.random.default_rng(1)
    patches = (rng.normal(size=(500, 12)) @ rng.normal(size=(12, 192))).astype(np.float32)
    start = edge.linear_start(config, patches, 0.35, [1.0, 2.0, 4.0])
    basis = start["enc_linear/kernel"][0, 0] * 0.35
    np.testing.assert_allclose(basis.T @ basis, np.eye(config.latents), atol=1e-4)
    latents = patches @ start["enc_linear/kernel"][0, 0] + start["enc_linear/bias"]
    back = latents @ start["dec_linear/kernel"][0, 0] + start["dec_linear/bias"]
    np.testing.assert_allclose(back, patches, atol=1e-2)
    np.testing.assert_allclose(np.exp(start["enc_gain/table"][2]), 4.0, rtol=1e-6)


def reference_ms_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Wang, Simoncelli and Bovik's definition on one picture [H, W, 3], windows in double loops."""
    x = np.arange(11) - 5.0
    window = np.exp(-0.5 * (x / 1.5) ** 2)
    window /= window.sum()

    def blur(p: np.ndarray) -> np.ndarray:
        rows = np.apply_along_axis(lambda v: np.convolve(v, window, "valid"), 0, p)
        return np.apply_along_axis(lambda v: np.convolve(v, window, "valid"), 1, rows)

    total = np.ones(3)
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        if scale:
            a, b = (
                p.reshape(p.shape[0] // 2, 2, p.shape[1] // 2, 2, 3).mean((1, 3)) for p in (a, b)
            )
        ma, mb = blur(a), blur(b)
        va, vb, cov = blur(a * a) - ma**2, blur(b * b) - mb**2, blur(a * b) - ma * mb
        value = (2 * cov + 0.03**2) / (va + vb + 0.03**2)
        if scale == 4:
            value = value * (2 * ma * mb + 0.01**2) / (ma**2 + mb**2 + 0.01**2)
        total *= value.mean((0, 1)) ** weight
    return float(total.mean())


def test_ms_ssim_equals_definition() -> None:
    from export.losses import ms_ssim

    rng = np.random.default_rng(4)
    y, x = np.mgrid[0:176, 0:192]
    a = 0.5 + 0.4 * np.sin(x / 9)[..., None] * np.cos(y / 13)[..., None] * np.ones(3)
    b = np.clip(a + rng.normal(0, 0.08, a.shape), 0, 1)
    both = [np.asarray(p, np.float32)[None] for p in (a, b)]
    assert float(ms_ssim(*both)[0]) == pytest.approx(reference_ms_ssim(a, b), abs=1e-4)
    assert float(ms_ssim(both[0], both[0])[0]) == pytest.approx(1, abs=1e-5)


def test_draw_crops_come_from_the_pictures() -> None:
    import jax
    import jax.numpy as jnp

    from export.step import draw_crops

    rng = np.random.default_rng(9)
    arrays = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((20, 30), (26, 18))]
    table = np.array([(0, 20, 30), (1800, 26, 18)], np.int32)
    pixels = np.concatenate([a.reshape(-1) for a in arrays])
    pool = [jnp.asarray(v) for v in (pixels, table, np.array([0.5, 0.5], np.float32))]
    crops = np.asarray(draw_crops(jax.random.key(0), *pool, batch=12, crop=16))
    windows = {
        a[i : i + 16, j : j + 16][:, ::step].tobytes()
        for a in arrays
        for i in range(a.shape[0] - 15)
        for j in range(a.shape[1] - 15)
        for step in (1, -1)
    }
    assert all(crop.tobytes() in windows for crop in crops)
    assert len({crop.tobytes() for crop in crops}) > 6


def test_crops_on_a_grid_are_not_mirrored() -> None:
    import jax
    import jax.numpy as jnp

    from export.step import draw_crops

    rng = np.random.default_rng(9)
    arrays = [rng.integers(0, 256, (h, w, 4), dtype=np.uint8) for h, w in ((24, 40), (32, 16))]
    table = np.array([(0, 24, 40), (24 * 40 * 4, 32, 16)], np.int32)
    pixels = np.concatenate([a.reshape(-1) for a in arrays])
    pool = [jnp.asarray(v) for v in (pixels, table, np.array([0.5, 0.5], np.float32))]
    drawn = draw_crops(jax.random.key(0), *pool, batch=64, crop=16, channels=4, grid=8)
    windows = {
        a[i : i + 16, j : j + 16].tobytes()
        for a in arrays
        for i in range(0, a.shape[0] - 15, 8)
        for j in range(0, a.shape[1] - 15, 8)
    }
    assert {crop.tobytes() for crop in np.asarray(drawn)} == windows


def test_split_weights_keep_fourteen_bits() -> None:
    from export.quantise import HIGH, LOW, split_weights

    weights = np.random.default_rng(8).normal(0, [1, 1e-3, 40], (50, 3))
    weights[:, 1] = 0
    bias = np.array([1.0, 1.0, -3.0])
    high, low, quantum = split_weights(weights, bias)
    for half in (high, low):
        assert half.min() >= LOW
        assert half.max() <= HIGH
    back = (128.0 * high + low) * quantum
    assert (np.abs(back - weights) <= quantum * 0.51).all()
    assert np.abs(weights[:, [0, 2]]).max(0) == pytest.approx(quantum[[0, 2]] * (128 * HIGH + HIGH))
    assert (np.abs(bias) / quantum).max() <= 2**26 * 1.001  # also where all weights are zero


def test_pictures_that_cannot_be_used(tmp_path: Any) -> None:
    from export import data

    with pytest.raises(data.DataError, match="no pictures in data folder"):
        data.list_pictures([tmp_path])
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not a picture")
    with pytest.raises(data.DataError, match=r"broken\.png"):
        data.read_picture(broken)
    with pytest.raises(data.DataError, match="at least 192 pixels"):
        data.load_pool([], 192)
