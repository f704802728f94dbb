"""The `cvpr` network against definitions written out in numpy, and across Keras backends."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .conftest import ROOT, environment

TINY = {
    "kind": "cvpr",
    "bottleneck": 4,
    "encoder": {"first": 4, "width": 8, "groups": [[8, 6]], "last": 8},
    "decoder": {"first": 6, "width": 8, "groups": [[8], [4]], "last": 4},
    "context": {"width": 5},
}


@pytest.fixture(scope="module")
def cvpr() -> Any:
    from export.networks import cvpr

    return cvpr


@pytest.fixture(scope="module")
def config(cvpr: Any) -> Any:
    return cvpr.CvprConfig.from_dict(TINY)


def random_weights(model: Any, seed: int = 3) -> dict[str, np.ndarray]:
    """Every weight away from its start, batch norm statistics too; activations stay about 1."""
    from export.networks.layers import set_weights

    rng = np.random.default_rng(seed)
    weights = {}
    for v in sorted(model.variables, key=lambda v: v.path):
        leaf = v.path.rsplit("/")[-1]
        if leaf == "kernel":
            # A transposed kernel of stride 2 has a quarter of its places in each sum.
            spread = np.sqrt(1.5 / np.prod(v.shape[:-1]))
            value = rng.normal(0, spread, v.shape)
        elif leaf in ("gamma", "moving_variance"):
            value = rng.uniform(0.5, 1.5, v.shape)
        elif leaf == "centres":
            value = rng.permutation(np.linspace(-2, 2, v.shape[0]))
        else:
            value = rng.normal(0, 0.3, v.shape)
        weights[v.path] = value.astype(np.float32)
    set_weights(model, weights)
    return weights


@pytest.fixture(scope="module")
def models(cvpr: Any, config: Any) -> Any:
    """Encoder, decoder and their weights together."""
    encoder, decoder = cvpr.build_encoder(config), cvpr.build_decoder(config)
    return encoder, decoder, random_weights(encoder) | random_weights(decoder)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.random.default_rng(5).uniform(0, 255, (2, 24, 40, 3)).astype(np.float32)


def close(got: Any, want: Any, tolerance: float = 1e-4) -> None:
    """Equal to ``tolerance`` of the largest value."""
    want = np.asarray(want)
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * max(1, np.abs(want).max()))


def test_published_shape_has_the_reference_parameter_count(cvpr: Any) -> None:
    assert cvpr.parameter_count(cvpr.CvprConfig.paper()) == 10_016_072
    assert cvpr.CvprConfig.paper() == cvpr.CvprConfig()


@pytest.mark.parametrize("batch_norm", [True, False])
def test_counts_are_those_of_the_built_networks(cvpr: Any, config: Any, batch_norm: bool) -> None:
    config = replace(config, batch_norm=batch_norm)
    grids = {"h1": 4, "h2": 16, "to_bn": 64, "from_bn": 64, "h12": 16, "h13": 4}
    parameters = 0
    for part, build in (("encoder", cvpr.build_encoder), ("decoder", cvpr.build_decoder)):
        model, work = build(config), 0.0
        for v in model.trainable_variables:
            layer, leaf = v.path.split("/")
            size = int(np.prod(v.shape))
            parameters += 0 if leaf == "centres" else size
            work += size / grids.get(layer[4:], 16) if leaf == "kernel" else 0
        assert cvpr.products(config, part) == pytest.approx(work)
    assert cvpr.parameter_count(config) == parameters


def test_weights_have_the_agreed_names(cvpr: Any, models: Any, config: Any) -> None:
    weights = models[2]
    bn = ("gamma", "beta", "moving_mean", "moving_variance")
    for layer in (
        "enc_h1",
        "enc_block0_1_conv2",
        "dec_block1_0_conv1",
        "enc_final_conv1",
        "dec_h13",
        "dec_from_bn",
    ):
        assert {f"{layer}/kernel", *(f"{layer}_bn/{part}" for part in bn)} <= set(weights)
        assert f"{layer}/bias" not in weights
    assert weights["enc_centres/centres"].shape == (6,)
    names = {f"ctx_{name}/{leaf}" for leaf in ("kernel", "bias") for name in CONTEXT}
    assert {v.path for v in cvpr.build_context(config).variables} == names


CONTEXT = ("conv0", "res_conv1", "res_conv2", "conv2")


@pytest.mark.parametrize("size", [3, 5])
def test_polyphase_equals_transposed_convolution(cvpr: Any, size: int) -> None:
    from keras import ops

    rng = np.random.default_rng(size)
    kernel = rng.normal(0, 0.3, (size, size, 5, 4)).astype(np.float32)
    x = rng.normal(size=(2, 3, 6, 4)).astype(np.float32)
    want = ops.conv_transpose(x, kernel, strides=2, padding="same", data_format="channels_last")
    conv = ops.conv(x, cvpr.polyphase(kernel), padding="same", data_format="channels_last")
    assert want.shape == (2, 6, 12, 5)
    np.testing.assert_allclose(ops.depth_to_space(conv, 2), want, rtol=0, atol=1e-5)


def test_polyphase_refuses_other_kernels(cvpr: Any) -> None:
    with pytest.raises(ValueError, match=r"3x3 or 5x5, not \(4, 4\)"):
        cvpr.polyphase(np.zeros((4, 4, 1, 1), np.float32))


def test_folded_networks_equal_the_trained_ones(
    cvpr: Any, config: Any, models: Any, picture: np.ndarray
) -> None:
    from export.networks.layers import set_weights

    encoder, decoder, weights = models
    folded, plain = cvpr.fold(config, weights | {"ctx_conv0/bias": np.zeros(5, np.float32)})
    assert not folded.batch_norm
    assert "ctx_conv0/bias" in plain  # what is no autoencoder's stays
    assert not any("_bn/gamma" in name or "/moving_" in name for name in plain)
    fast_encoder, fast_decoder = cvpr.build_encoder(folded), cvpr.build_decoder(folded)
    kinds = {type(layer).__name__ for layer in fast_decoder.layers}
    assert "Conv2DTranspose" not in kinds
    assert "Conv2D" in kinds
    set_weights(fast_encoder, plain)
    set_weights(fast_decoder, plain)
    close(fast_encoder(picture), encoder(picture))
    values = np.random.default_rng(1).normal(size=(2, 3, 5, 4)).astype(np.float32)
    close(fast_decoder(values), decoder(values))
    again, same = cvpr.fold(folded, plain)
    assert again == folded
    assert same.keys() == plain.keys()


def test_folding_names_the_missing_weight(cvpr: Any, config: Any, models: Any) -> None:
    short = {k: v for k, v in models[2].items() if k != "dec_h12_bn/beta"}
    with pytest.raises(cvpr.ConfigError, match="dec_h12_bn/beta"):
        cvpr.fold(config, short)


def test_encoder_is_the_same_under_tensorflow(
    cvpr: Any, config: Any, models: Any, picture: np.ndarray, tmp_path: Path
) -> None:
    encoder, decoder, weights = models
    context = cvpr.build_context(config)
    weights = weights | random_weights(context)
    rng = np.random.default_rng(2)
    values = rng.choice(weights["enc_centres/centres"], (2, 3, 5, 4))
    fill = np.full(2, weights["enc_centres/centres"][0])
    np.savez(tmp_path / "in.npz", picture=picture, values=values, fill=fill, **weights)
    script = f"""if True:
        import numpy as np
        from export.networks import cvpr
        from export.networks.layers import set_weights
        data = dict(np.load("{tmp_path}/in.npz"))
        config = cvpr.CvprConfig.from_dict({TINY!r})
        models = cvpr.build_encoder(config), cvpr.build_decoder(config), cvpr.build_context(config)
        for model in models:
            set_weights(model, data)
        outputs = (models[0](data["picture"]), models[1](data["values"]),
                   models[2]([data["values"], data["fill"]]))
        np.savez("{tmp_path}/out.npz", *(np.asarray(x) for x in outputs))
    """
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment(KERAS_BACKEND="tensorflow"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    here = encoder(picture), decoder(values), context([values, fill])
    with np.load(tmp_path / "out.npz") as out:
        for got, want in zip((out[name] for name in out.files), here, strict=True):
            close(got, want)


def test_importance_mask_is_the_definition(cvpr: Any, config: Any) -> None:
    raw = np.random.default_rng(4).normal(0, 2, (2, 3, 4, 5)).astype(np.float32)
    z, importance = cvpr.importance_mask(raw, config)
    want_map = 4 / (1 + np.exp(-raw[..., 0].astype(float)))
    np.testing.assert_allclose(importance, want_map, rtol=1e-5)
    for channel in range(4):
        factor = np.minimum(1, np.maximum(0, want_map - channel))
        np.testing.assert_allclose(
            z[..., channel], raw[..., channel + 1] * factor, rtol=1e-4, atol=1e-5
        )
    assert (np.asarray(z) == 0).any()
    plain, full = cvpr.importance_mask(raw[..., 1:], replace(config, importance_map=False))
    np.testing.assert_array_equal(plain, raw[..., 1:])
    assert (np.asarray(full) == 4).all()


def test_quantiser_is_the_definition(cvpr: Any) -> None:
    import jax

    centres = np.float32([-1.5, 2.0, -0.25, 0.6])
    z = np.random.default_rng(4).normal(0, 1.5, (2, 3, 7)).astype(np.float32)
    values, symbols = cvpr.quantise(z, centres)
    want = np.abs(z[..., None] - centres).argmin(-1)
    np.testing.assert_array_equal(symbols, want)
    np.testing.assert_array_equal(values, centres[want])

    def soft(z: np.ndarray, centres: np.ndarray) -> float:
        weight = np.exp(-((z[..., None] - centres) ** 2))
        return float(((weight / weight.sum(-1, keepdims=True)) @ centres).sum())

    def total(z: Any, centres: Any) -> Any:
        return cvpr.quantise(z, centres)[0].sum()

    by_z, by_centres = jax.grad(total, argnums=(0, 1))(z, centres)
    for i in range(4):  # numerical gradients of the soft assignment, in double precision
        shift = 1e-4 * np.eye(4)[i]
        slope = (soft(z.astype(float), centres + shift) - soft(z, centres - shift)) / 2e-4
        assert by_centres[i] == pytest.approx(slope, abs=1e-2)
    one = np.zeros(z.shape)
    one[1, 2, 3] = 1e-4
    slope = (soft(z + one, centres.astype(float)) - soft(z - one, centres.astype(float))) / 2e-4
    assert by_z[1, 2, 3] == pytest.approx(slope, abs=1e-3)


def test_gradients_reach_every_weight_and_statistics_move(
    cvpr: Any, config: Any, models: Any, picture: np.ndarray
) -> None:
    import jax
    import jax.numpy as jnp

    encoder, decoder, weights = models
    start = {k: jnp.asarray(v) for k, v in weights.items()}
    moving = {v.path for m in (encoder, decoder) for v in m.non_trainable_variables}
    assert moving == {k for k in weights if "/moving_" in k}

    def call(model: Any, params: Any, x: Any) -> Any:
        trained = [params[v.path] for v in model.trainable_variables]
        fixed = [params[v.path] for v in model.non_trainable_variables]
        y, new = model.stateless_call(trained, fixed, x, training=True)
        names = [v.path for v in model.non_trainable_variables]
        return y, dict(zip(names, new, strict=True))

    def loss(trained: Any, fixed: Any) -> Any:
        params = {**trained, **fixed}
        raw, first = call(encoder, params, picture)
        z, _ = cvpr.importance_mask(raw, config)
        values, _ = cvpr.quantise(z, params["enc_centres/centres"])
        restored, second = call(decoder, params, values)
        return jnp.mean(jnp.square(restored - picture)), first | second

    fixed = {k: start.pop(k) for k in moving}
    gradient, new = jax.jit(jax.grad(loss, has_aux=True))(start, fixed)
    for name, value in gradient.items():
        assert np.isfinite(value).all(), name
        assert np.abs(value).max() > 0, name
    h1 = np.asarray(encoder.get_layer("enc_h1")((picture - cvpr.MEAN) / cvpr.STD))
    old = weights["enc_h1_bn/moving_mean"]
    want = 0.9 * old + 0.1 * h1.mean((0, 1, 2))
    np.testing.assert_allclose(new["enc_h1_bn/moving_mean"], want, rtol=1e-4, atol=1e-4)
    assert all(np.abs(np.asarray(new[k]) - weights[k]).max() > 0 for k in moving)


def test_context_model_is_causal_and_padded_with_centre_0(cvpr: Any, config: Any) -> None:
    model = cvpr.build_context(config)
    weights = random_weights(model)
    # Positive biases: no ReLU of the logits may hide a dependence.
    model.get_layer("ctx_conv2").bias.assign(np.full(6, 20, np.float32))
    centres = np.linspace(-2, 2, 6).astype(np.float32)
    values = np.random.default_rng(2).choice(centres, (1, 6, 7, 4))
    fill = centres[:1]
    before = np.asarray(model([values, fill]))
    assert before.shape == (1, 4, 6, 7, 6)
    order = np.arange(4 * 6 * 7).reshape(4, 6, 7)
    for c, y, x in ((0, 0, 0), (1, 2, 3), (3, 5, 6), (2, 0, 6)):
        changed = values.copy()
        changed[0, y, x, c] += 3
        moved = np.abs(np.asarray(model([changed, fill])) - before).max(axis=(0, 4)) > 1e-6
        assert not moved[order <= order[c, y, x]].any()
        assert (c, y, x) == (3, 5, 6) or moved.any()
    # The same volume inside a larger one of centre 0: but for what its edge adds, the same logits.
    larger = np.full((1, 6 + 8, 7 + 8, 4), fill[0], np.float32)
    larger[:, 4:10, 4:11] = values
    inner = np.asarray(model([larger, fill]))[:, :, 4:10, 4:11]
    np.testing.assert_allclose(inner, before, rtol=0, atol=1e-5)
    other = np.asarray(model([values, fill + 1]))
    assert np.abs(other - before).max() > 1e-3
    assert weights["ctx_conv0/kernel"].shape == (2, 3, 3, 1, 5)


def test_bit_cost_is_the_cross_entropy_in_bits(cvpr: Any) -> None:
    rng = np.random.default_rng(8)
    logits = rng.normal(0, 2, (2, 3, 4, 5, 6)).astype(np.float32)
    symbols = rng.integers(0, 6, (2, 4, 5, 3))
    probability = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    got = np.asarray(cvpr.bit_cost(logits, symbols))
    for n, y, x, c in np.ndindex(symbols.shape):
        want = -np.log2(probability[n, c, y, x, symbols[n, y, x, c]])
        assert got[n, y, x, c] == pytest.approx(want, rel=1e-3)


def test_empty_groups_and_no_final_block_are_the_identity(
    cvpr: Any, config: Any, models: Any, picture: np.ndarray
) -> None:
    from export.networks.layers import set_weights

    encoder, _, weights = models
    bare = replace(config, encoder=cvpr.Side(4, 8, ((),), 0))
    model = cvpr.build_encoder(bare)
    set_weights(model, weights)
    assert {v.path.split("/")[0][4:] for v in model.variables if "kernel" in v.path} == {
        "h1",
        "h2",
        "to_bn",
    }
    # Blocks whose second convolutions give zeros leave only the skips: x + x of the group, + x.
    silent = {k: 0 * v if "conv2" in k else v for k, v in weights.items()}
    set_weights(model, weights | {"enc_to_bn_bn/moving_mean": np.zeros(5, np.float32)})
    set_weights(encoder, silent | {"enc_to_bn_bn/moving_mean": np.zeros(5, np.float32)})
    beta = weights["enc_to_bn_bn/beta"]
    try:
        close(np.asarray(encoder(picture)) - beta, 3 * (np.asarray(model(picture)) - beta))
    finally:
        set_weights(encoder, weights)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bottlneck": 32}, "network: unknown key 'bottlneck'"),
        ({"encoder": {"widths": 3}}, "network.encoder: unknown key 'widths'"),
        ({"encoder": {"width": 0}}, r"network.encoder.width: unusable value 0"),
        ({"decoder": {"groups": [8, 8]}}, "network.decoder.groups: expected a list of lists"),
        ({"decoder": {"groups": [[8, -1]]}}, "network.decoder.groups: unusable value -1"),
        ({"decoder": {"last": "8"}}, "network.decoder.last: unusable value '8'"),
        ({"centres": 1}, "network.centres: unusable value 1"),
        ({"centres": True}, "network.centres: unusable value True"),
        ({"batch_norm": 1}, "network.batch_norm: unusable value 1"),
        ({"qualities": ["A", "B"]}, "a cvpr network has one quality"),
        ({"kind": "edge"}, "network.kind: unusable value 'edge'"),
        ({"context": 24}, "network.context: expected an object, got int"),
    ],
)
def test_unusable_configs_are_named(cvpr: Any, change: dict[str, Any], message: str) -> None:
    with pytest.raises(cvpr.ConfigError, match=message):
        cvpr.CvprConfig.from_dict(TINY | change)


def test_config_survives_json(cvpr: Any, config: Any) -> None:
    import json
    from dataclasses import asdict

    assert cvpr.CvprConfig.from_dict(json.loads(json.dumps(asdict(config)))) == config
    assert config.decoder.groups == ((8,), (4,))
    assert config.stride == 8
