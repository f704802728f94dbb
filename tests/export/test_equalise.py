"""export.equalise: channels made alike, by weights that compute the same."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

from .conftest import tiny_settings
from .test_networks import random_weights

TAIL = 1e-3
LOUD, QUIET = 0, 1  # channels of the encoder's stream


class Trunks(NamedTuple):
    """Encoder and decoder of one folded network: plain, quantised, and the weights of both."""

    config: Any
    plain: tuple[Any, Any]
    quantised: tuple[Any, Any]
    weights: dict[str, np.ndarray]
    inputs: list[np.ndarray]


@pytest.fixture
def trunks() -> Trunks:
    """Random weights; one channel of the encoder's stream is 50 times as loud, one is silent."""
    from dataclasses import replace

    from export.networks import edge

    data = tiny_settings()["network"] | {"qualities": ["A"], "folded": True}
    config = edge.EdgeConfig.from_dict(data)
    rounding = replace(config, quantised=True)
    plain = edge.build_encoder(config), edge.build_decoder(config)
    weights: dict[str, np.ndarray] = {}
    for model in plain:
        random_weights(model)
        weights |= {v.path: np.array(v) for v in model.variables}
    weights["enc_head/kernel"][..., LOUD] *= 50
    weights["enc_tail/kernel"][..., LOUD, :] /= 50
    for name in ("enc_head", "enc_block0_expand", "enc_block1_expand"):
        for part in ("kernel", "bias"):
            weights[f"{name}/{part}"][..., QUIET] = 0
    pictures = np.random.default_rng(5).normal(0, 0.3, (3, 1, 8, 16, 192)).astype(np.float32)
    quantised = edge.build_encoder(rounding), edge.build_decoder(rounding)
    return Trunks(config, plain, quantised, weights, list(pictures))


def outputs(models: tuple[Any, Any], weights: dict[str, np.ndarray], x: np.ndarray) -> list[Any]:
    """What encoder and decoder compute, the decoder for fixed latents."""
    from export.networks.layers import set_weights

    for model in models:
        set_weights(model, weights)
    latents = np.random.default_rng(6).integers(-4, 5, (1, 8, 16, models[1].input_shape[-1]))
    return [np.asarray(models[0](x)), np.asarray(models[1](latents.astype(np.float32)))]


def equalised(trunks: Trunks) -> dict[str, np.ndarray]:
    """The weights with their channels made alike."""
    from export import equalise

    return equalise.equalised(trunks.config, trunks.quantised, trunks.weights, trunks.inputs, TAIL)


def peaks(trunks: Trunks, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Peaks of the encoder's channels with these weights."""
    from export import equalise, ranges
    from export.networks.layers import set_weights

    encoder = trunks.quantised[0]
    set_weights(encoder, {**weights, **ranges.unrounded(encoder)})
    return equalise.peaks(encoder, trunks.inputs, TAIL)


def test_network_computes_the_same(trunks: Trunks) -> None:
    after = equalised(trunks)
    changed = {k for k, v in after.items() if np.any(v != trunks.weights[k])}
    assert {"enc_head/kernel", "enc_tail/kernel", "dec_block1_conv/kernel"} <= changed
    assert not changed & {"enc_linear/kernel", "dec_linear/kernel", "enc_tail/bias"}
    want = outputs(trunks.plain, trunks.weights, trunks.inputs[0])
    got = outputs(trunks.plain, after, trunks.inputs[0])
    for one, other in zip(want, got, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-4 * np.abs(one).max())


def test_channels_are_more_alike(trunks: Trunks) -> None:
    before, after = peaks(trunks, trunks.weights), peaks(trunks, equalised(trunks))
    assert set(before) == set(after)
    for name in ("enc_head_bytes", "enc_block0_conv_bytes", "enc_block1_reduce_bytes"):
        spread = [p[name][p[name] > 0].max() / p[name][p[name] > 0].min() for p in (before, after)]
        assert spread[1] < 0.8 * spread[0], name


def test_silent_channels_stay_finite(trunks: Trunks) -> None:
    after = equalised(trunks)
    assert all(np.isfinite(value).all() for value in after.values())
    assert not after["enc_head/kernel"][..., QUIET].any()
    # Nothing is divided by next to nothing: its readers grow smaller by a bounded factor.
    share = (
        after["enc_tail/kernel"][..., QUIET, :] / trunks.weights["enc_tail/kernel"][..., QUIET, :]
    )
    np.testing.assert_allclose(share, (1e-3) ** 0.75, rtol=1e-4)


def test_roundings_cost_less(trunks: Trunks) -> None:
    """The loud channel no longer sets the step of the others' bytes."""
    from export import ranges

    encoder = trunks.quantised[0]
    want = outputs(trunks.plain, trunks.weights, trunks.inputs[0])[0]
    errors = []
    for weights in (trunks.weights, equalised(trunks)):
        found = ranges.calibrate(encoder, weights, trunks.inputs, TAIL)
        decoder = ranges.unrounded(trunks.quantised[1])
        got = outputs(trunks.quantised, weights | found | decoder, trunks.inputs[0])[0]
        errors.append(np.sqrt(np.mean((got - want) ** 2)))
    assert errors[1] < 0.7 * errors[0]


def test_every_group_has_its_factors(trunks: Trunks) -> None:
    """By the loudest of all that writes to it, sums included; at least one everywhere."""
    from export import equalise, pruning

    structure = pruning.structure_of(trunks.config)
    widths = structure.widths
    found = {
        f"{c.name}_bytes": np.ones(widths[str(c.target)])
        for c in structure.convolutions
        if c.target in widths
    }
    width = widths["enc_stream"]
    for name, block in structure.blocks.items():  # the sums behind the blocks
        loudest = 16.0 if block.part == "encoder" else 1.0
        found[f"{name}_bytes"] = np.linspace(1.0, loudest, widths[f"{name[:3]}_stream"])
    by = equalise.factors(structure, found)
    assert set(by) == set(structure.widths)
    assert all(value.min() == 1.0 for value in by.values())
    np.testing.assert_allclose(by["enc_stream"], (np.linspace(1, 16, width) / 16) ** -0.75, 1e-6)


def test_a_network_with_ranges_is_left_alone(trunks: Trunks) -> None:
    """What training with the roundings has made is not scaled again."""
    from dataclasses import replace

    from export import calibrate

    config = replace(trunks.config, quantised=True)
    pictures = [np.zeros((1, 64, 128, 3), np.uint8)]
    assert calibrate.quantised(config, trunks.weights, pictures)[2] is trunks.weights
    calibrated = calibrate.quantised(trunks.config, trunks.weights, pictures)[2]
    assert np.any(calibrated["enc_head/kernel"] != trunks.weights["enc_head/kernel"])
