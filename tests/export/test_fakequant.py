"""Layers that round as int8 graphs do: against numpy, and their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


@pytest.fixture(scope="module")
def fq() -> Any:
    from export.networks import fakequant

    return fakequant


def layer_of(fq: Any, scale: float, zero: int) -> Any:
    layer = fq.FakeQuant(name="bytes")
    layer.build((None, None, None, 3))
    layer.range.assign([scale, zero])
    return layer


def gradient(function: Any, x: np.ndarray) -> np.ndarray:
    import jax

    return np.asarray(jax.grad(lambda v: function(v).sum())(x))


def test_rounds_to_bytes(fq: Any) -> None:
    layer = layer_of(fq, 0.5, 10)
    x = np.float32([-9, -5, -0.3, 0, 0.24, 0.26, 100, 122.5, 200]).reshape(1, 1, 3, 3)
    wanted = np.float32([-5, -5, -0.5, 0, 0, 0.5, 100, 122.5, 122.5]).reshape(1, 1, 3, 3)
    np.testing.assert_array_equal(np.asarray(layer(x)), wanted)


def test_gradient_stops_where_it_clips(fq: Any) -> None:
    x = np.float32([-9, 0.3, 200]).reshape(1, 1, 1, 3)
    np.testing.assert_array_equal(gradient(layer_of(fq, 0.5, 10), x).reshape(-1), [0, 1, 0])


def test_scale_zero_changes_nothing(fq: Any) -> None:
    x = np.random.default_rng(1).normal(size=(1, 2, 2, 3)).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(layer_of(fq, 0.0, 0)(x)), x)


@pytest.mark.parametrize("size", [1, 3])
def test_convolution_is_one_of_integers(fq: Any, size: int) -> None:
    """The same whole numbers as int8 graphs compute with: sums in int64, scaled once."""
    scale, zero, rng = 0.02, 7, np.random.default_rng(4)
    conv = fq.QuantConv(5, size, source=fq.ByteRange(scale, zero))
    conv.build((None, None, None, 3))
    kernel = rng.normal(size=(size, size, 3, 5)).astype(np.float32)
    bias = rng.normal(size=5).astype(np.float32)
    conv.kernel.assign(kernel)
    conv.bias.assign(bias)
    whole = rng.integers(-zero, 256 - zero, (1, 6, 6, 3))
    step = np.abs(kernel).max((0, 1, 2)) / 64
    weights = np.round(kernel / step).astype(np.int64)
    assert np.abs(weights).max() == 64
    reach = size // 2
    padded = np.pad(whole, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    sums = np.zeros((1, 6, 6, 5), np.int64)
    for row in range(size):
        for column in range(size):
            sums += padded[:, row : row + 6, column : column + 6] @ weights[row, column]
    sums += np.round(bias / (scale * step)).astype(np.int64)
    got = np.asarray(conv((whole * scale).astype(np.float32)))
    np.testing.assert_array_equal(np.round(got / (scale * step)).astype(np.int64), sums)
    np.testing.assert_allclose(got, sums * (scale * step), rtol=1e-5)


def test_rounded_weights_round_to_themselves(fq: Any) -> None:
    conv = fq.QuantConv(4, 3, source=fq.ByteRange(0.02, 0), name="conv")
    conv.build((None, None, None, 2))
    x = np.float32(0.02) * np.random.default_rng(2).integers(0, 256, (1, 5, 5, 2))
    before = np.asarray(conv(x.astype(np.float32)))
    rounded = conv.rounded_weights()
    conv.kernel.assign(rounded[conv.kernel.path])
    conv.bias.assign(rounded[conv.bias.path])
    np.testing.assert_allclose(np.asarray(conv(x.astype(np.float32))), before, rtol=1e-6, atol=1e-6)
    again = conv.rounded_weights()
    for path, value in rounded.items():
        np.testing.assert_allclose(again[path], value, rtol=1e-6, atol=1e-9)


def test_gradients_reach_kernel_and_bias(fq: Any) -> None:
    import jax

    conv = fq.QuantConv(2, 1, source=fq.ByteRange(0.5, 0))
    conv.build((None, None, None, 3))
    x = np.float32([1, 2, 4]).reshape(1, 1, 1, 3)

    def total(values: Any) -> Any:
        outputs, _ = conv.stateless_call(values, [], x)
        return outputs.sum()

    kernel, bias = jax.grad(total)([np.asarray(v) for v in conv.trainable_variables])
    np.testing.assert_allclose(kernel[0, 0], np.float32([[1, 1], [2, 2], [4, 4]]), rtol=1e-5)
    np.testing.assert_allclose(bias, [1, 1], rtol=1e-5)


def test_ranges_hold_the_activations(fq: Any) -> None:
    """One scale along the residual stream, zeros that leave room for what is below zero."""
    from export import ranges
    from export.networks import edge

    from .conftest import tiny_settings
    from .test_networks import random_weights

    data = tiny_settings()["network"] | {"qualities": ["A"], "folded": True}
    plain = edge.build_encoder(edge.EdgeConfig.from_dict(data))
    random_weights(plain)
    weights = {v.path: np.asarray(v) for v in plain.variables}
    model = edge.build_encoder(edge.EdgeConfig.from_dict(data | {"quantised": True}))
    pictures = [np.random.default_rng(i).normal(0, 0.3, (1, 8, 8, 192)) for i in range(3)]
    found = ranges.calibrate(model, weights, [p.astype(np.float32) for p in pictures])
    stream = [k for k in found if k.startswith(("enc_head_", "enc_block0_b", "enc_block0_expand"))]
    assert len(stream) == 3
    assert len({found[k][0] for k in stream}) == 1
    assert found["enc_block0_conv_bytes/range"][1] == 0  # behind a ReLU nothing is below zero
    assert found["enc_block0_expand_bytes/range"][1] > 0
    # rounded or not, the outputs are near each other
    ranges.set_weights(model, weights | found)
    want, got = np.asarray(plain(pictures[0])), np.asarray(model(pictures[0]))
    assert 0 < np.abs(got - want).max() < 0.1 * np.abs(want).max()
    assert ranges.trained(model, weights | found) == [
        (float(v[0]), int(v[1])) for v in found.values()
    ]
