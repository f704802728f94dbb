"""One training step: both losses lower their own measure, a bad gradient changes nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from .conftest import tiny_settings


def picture(side: int = 64) -> np.ndarray:
    """A picture of waves, an edge and some noise, uint8 [side, side, 3]."""
    y, x = np.mgrid[0:side, 0:side].astype(float)
    planes = [
        128 + 90 * np.sin(x / 7) * np.cos(y / 5),
        np.where(x + y > side, 200, 60) + x / 3,
        128 + np.random.default_rng(3).normal(0, 30, x.shape),
    ]
    return np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)


def one_quality(**training: Any) -> Any:
    """The tiny edge settings with one quality, crops of 64."""
    from export.settings import Settings

    data = tiny_settings()
    data["network"]["qualities"] = ["A"]
    base = {"crop": 64, "batch": 2, "lambdas": [5000], "gains": [1], "scales": [1]}
    data["training"] |= base | training
    return Settings.from_dict(data)


@pytest.mark.parametrize("distortion", ["msssim", "mse"])
def test_loss_lowers_its_own_measure(distortion: str) -> None:
    """On one picture that is the whole crop; lambda is so large that distortion is all."""
    import jax.numpy as jnp

    from export import data, step

    settings = one_quality(distortion=distortion, mse_weight=0.0)
    array = picture()
    pool = data.Pool(array.reshape(-1), np.array([[0, 64, 64]], np.int32), np.ones(1, np.float32))
    networks = step.networks_of(settings)
    state = step.fresh_state(networks, networks.start(pool))
    advance = step.make_step(networks, settings)
    resident = tuple(jnp.asarray(v) for v in (pool.pixels, pool.table, pool.weights))
    rows = []
    for number in range(100):
        state, measures = advance(state, resident, jnp.int32(number), jnp.float32(1e-3))
        rows.append(np.asarray(measures)[0])
    count, _, similarity, error, _, norm = np.array(rows).T
    assert (count == 2).all()
    assert np.isfinite(norm).all()
    loss = error if distortion == "mse" else 1 - similarity / 2
    assert loss[-3:].mean() < 0.85 * loss[:3].mean()

    # A weight that makes the gradient infinite: every other weight stays as it is.
    state["weights"]["dec_tail/bias"] = jnp.full_like(state["weights"]["dec_tail/bias"], 3e38)
    before = {k: np.asarray(v) for k, v in state["weights"].items()}
    state, measures = advance(state, resident, jnp.int32(100), jnp.float32(1e-3))
    assert not np.isfinite(np.asarray(measures)[0, 5])
    for name, value in state["weights"].items():
        np.testing.assert_array_equal(np.asarray(value), before[name], err_msg=name)


def test_ones_become_zeros_where_the_bits_are_worth_it() -> None:
    """The rule of the coder, written out: 1 + 2 v f < lambda (bits of v less bits of 0)."""
    import jax.numpy as jnp

    from export import step
    from export.networks import edge

    rng = np.random.default_rng(5)
    latents = jnp.asarray(rng.laplace(0, 0.8, (2, 6, 9, 16)).astype(np.float32))
    quality = jnp.zeros(2, jnp.int32)
    whole = np.round(np.asarray(latents))
    changed = []
    for worth in (0.0, 0.1, 0.5):
        networks = step.networks_of(one_quality(choose=worth))
        weights = networks.weights()
        # As of rare ones, so that there is much to save.
        weights["ctx_scale_bias/table"] = weights["ctx_scale_bias/table"] - 1.0
        params = {name: jnp.asarray(value) for name, value in weights.items()}
        chosen = np.asarray(networks.rounded(params, latents, quality))
        context = networks.call(networks.context, params, jnp.asarray(whole), quality)
        cost = [np.asarray(edge.bits(jnp.asarray(v), context)) for v in (whole, 0 * whole)]
        loss = 1 + 2 * whole * (np.asarray(latents) - whole)
        wanted = (np.abs(whole) == 1) & (loss < worth * (cost[0] - cost[1]))
        np.testing.assert_array_equal(chosen, np.where(wanted, 0, whole))
        changed.append(wanted.mean())
    assert changed[0] == 0
    assert 0.01 < changed[1] < changed[2]


def test_choosing_passes_the_gradient_of_rounding() -> None:
    """What is chosen is a constant added: the encoder learns from it as from a rounding."""
    import jax
    import jax.numpy as jnp

    from export import step

    networks = step.networks_of(one_quality(choose=0.2))
    params = {name: jnp.asarray(value) for name, value in networks.weights().items()}
    pictures = jnp.asarray(picture()[None])

    def error(params: Any) -> Any:
        result = networks.run(params, pictures, jnp.zeros(1, jnp.int32), training=True)
        return jnp.mean((result.restored - result.source) ** 2) + result.bpp.mean()

    slopes = jax.grad(error)(params)
    for name in ("enc_linear/kernel", "dec_linear/kernel", "ctx_left/kernel"):
        assert np.isfinite(slopes[name]).all()
        assert np.abs(slopes[name]).max() > 0


def test_the_smooth_slope_of_the_bits() -> None:
    """Latents learn what a step of one unit around them costs; all else is as with the slope at
    whole numbers: the bits, and what the context model learns, from its own inputs too."""
    import jax
    import jax.numpy as jnp

    from export import step
    from export.networks import edge
    from export.networks.fakequant import straight

    rng = np.random.default_rng(6)
    exact = jnp.asarray(rng.laplace(0, 0.8, (2, 5, 7, 16)).astype(np.float32))
    whole = jnp.round(exact)
    quality = jnp.zeros(2, jnp.int32)
    found: dict[str, Any] = {}
    params: dict[str, Any] = {}
    for slope in ("rounded", "smooth"):
        networks = step.networks_of(one_quality(slope=slope))
        params = params or {k: jnp.asarray(v) for k, v in networks.weights().items()}

        def total(params: Any, exact: Any, networks: Any = networks) -> Any:
            return networks.bits(params, straight(exact, whole), quality, exact).sum()

        found[slope] = jax.value_and_grad(total, (0, 1))(params, exact)
    (bits, (weights, here)), (smooth_bits, (smooth_weights, smooth)) = found.values()
    np.testing.assert_allclose(smooth_bits, bits, rtol=1e-5)
    for name, value in weights.items():
        np.testing.assert_allclose(smooth_weights[name], value, rtol=1e-3, atol=1e-3)
    context = networks.call(networks.context, params, whole, quality)
    at_whole = jax.grad(lambda v: edge.bits(v, context).sum())(whole)
    around = edge.bits(exact + 0.5, context) - edge.bits(exact - 0.5, context)
    np.testing.assert_allclose(smooth - around, here - at_whole, atol=2e-3)
    # A latent that is rounded to zero is held there, where the slope at zero holds nothing.
    zeros = np.asarray((whole == 0) & (jnp.abs(exact) > 0.3))
    outwards = np.sign(np.asarray(exact))
    held, not_held = ((outwards * np.asarray(slope))[zeros].mean() for slope in (around, at_whole))
    assert held > 0.1
    assert abs(not_held) < held / 2


def test_pool_has_the_copies_that_hold_a_crop(tmp_path: Path) -> None:
    from export import data

    large, small = tmp_path / "large.png", tmp_path / "small.png"
    Image.fromarray(picture(128)).save(large)
    Image.fromarray(picture(80)).save(small)
    pool = data.load_pool([large, small], 64, (1.0, 0.75, 0.5))
    assert [tuple(row[1:]) for row in pool.table] == [(128, 128), (96, 96), (64, 64), (80, 80)]
    np.testing.assert_array_equal(pool.pixels[: 128 * 128 * 3].reshape(128, 128, 3), picture(128))
    # a reduced copy is a smooth one, not every other pixel: the noisy plane has less contrast
    half = pool.pixels[pool.table[2, 0] : pool.table[3, 0]].reshape(64, 64, 3)
    assert half[..., 2].std() < 0.7 * picture(128)[..., 2].std()
    assert pool.pixels.size == pool.table[3, 0] + 80 * 80 * 3
    assert pool.weights.sum() == pytest.approx(1, abs=1e-6)


def test_schedules() -> None:
    from export.settings import Training
    from export.train import learning_rate

    base = Training(learning_rate=1.0, warmup=0, steps=90, floor=0.01)
    rates = [learning_rate(base, n, 0) for n in range(91)]
    assert rates[0] == 1
    assert rates[90] == pytest.approx(0.01)
    assert rates[45] == pytest.approx(0.505)
    stairs = dataclasses.replace(base, schedule="staircase", stairs=3)
    rates = [learning_rate(stairs, n, 0) for n in (0, 29, 30, 59, 60, 89, 90)]
    np.testing.assert_allclose(rates, [1, 1, 0.1, 0.1, 0.01, 0.01, 0.01])
    clock = dataclasses.replace(stairs, seconds=10.0)
    assert learning_rate(clock, 5, 9.0) == pytest.approx(0.01)


def test_folded_network_needs_a_checkpoint() -> None:
    from export import data, step
    from export.networks.edge import ConfigError
    from export.settings import Settings

    raw = one_quality().to_dict()
    raw["network"]["folded"] = True
    settings = Settings.from_dict(raw)
    networks = step.networks_of(settings)
    with pytest.raises(ConfigError, match="--init"):
        networks.start(data.Pool(*(np.zeros(0),) * 3))
