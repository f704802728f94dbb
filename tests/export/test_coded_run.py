"""export.finetune --coder: networks that learn from the bits of the symbol coder."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .conftest import Command, tiny_settings
from .test_context import random_weights

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402

from export import checkpoint, context_model  # noqa: E402
from export.context_model import FIXED, PREFIX  # noqa: E402

SMALL = ("--width", 32, "--hidden", 32, "--crop", 16, "--batch", 2)
TUNE = ("--learning-rate", 1e-3, "--warmup", 1, "--slope", "smooth")
LATENTS = 16


def parameters() -> dict[str, np.ndarray]:
    """A coder's, as after some training, for these latents."""
    return random_weights(LATENTS, 2, 3)


def networks_with(coder: dict[str, np.ndarray], **training: Any) -> Any:
    """Coded networks of one quality of the tiny config."""
    from export.coded_run import CodedNetworks
    from export.settings import Settings

    given = tiny_settings()
    given["network"] |= {"folded": True, "qualities": ["A"]}
    given["training"] |= {"lambdas": [16.0], "gains": [1.0]} | json.loads(json.dumps(training))
    settings = Settings.from_dict(given)
    return CodedNetworks(settings.network, settings.training, coder)


@pytest.fixture(scope="module")
def coder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as `export.context` writes it."""
    path = tmp_path_factory.mktemp("coder") / "context.npz"
    half = {k: v if k in FIXED else v.astype(np.float16) for k, v in parameters().items()}
    checkpoint.save(path, checkpoint.Checkpoint({"ema": half}, {"settings": {"kind": "context"}}))
    return path


@pytest.fixture(scope="module")
def coded(
    command: Command,
    trained: Path,
    coder: Path,
    pictures: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Run folder of quality B, six float steps with the coder's bits."""
    out = tmp_path_factory.mktemp("coded") / "b"
    options = ("--quality", "B", "--float", "--coder", coder, "--steps", 6, *TUNE)
    done = command("export.finetune", trained, "--out", out, "--data", pictures, *options)
    assert done.returncode == 0, done.stderr
    return out


def test_the_bits_are_those_of_the_coder() -> None:
    """Whatever the order of its channels; the networks' own context model adds nothing."""
    weights = parameters()
    networks = networks_with(weights)
    params = {k: jnp.asarray(v) for k, v in networks.weights().items()}
    random = np.random.default_rng(5)
    latents = np.round(random.laplace(0, 1.5, (2, 6, 9, LATENTS))).astype(np.float32)
    found = networks.bits(params, jnp.asarray(latents), jnp.zeros(2, jnp.int32))
    for one, bits in zip(latents, found, strict=True):
        placed = one[..., weights["order"].astype(int)]
        padded = np.pad(placed, ((2, 0), (2, 2), (0, 0)))[None]
        mean, scale = context_model.predict(weights, jnp.asarray(padded), 2)
        wanted = context_model.bits(jnp.asarray(placed[None]), mean, scale, -127, 127)
        np.testing.assert_allclose(bits, wanted.sum(), rtol=1e-5)


def test_what_a_value_costs_is_told_in_the_latents_order() -> None:
    """A price is that of the value in the same place: one that changes alone changes alone."""
    networks = networks_with(parameters())
    params = {k: jnp.asarray(v) for k, v in networks.weights().items()}
    latents = jnp.zeros((1, 4, 4, LATENTS))
    price = networks.price(params, latents, jnp.zeros(1, jnp.int32))
    other = np.array(price(latents.at[0, 2, 1, 5].set(4.0)) - price(latents))
    assert other[0, 2, 1, 5] > 0.5
    other[0, 2, 1, 5] = 0
    np.testing.assert_array_equal(other, 0)


@pytest.mark.parametrize("slope", ["rounded", "smooth"])
def test_each_context_model_learns_its_own_bits(slope: str) -> None:
    """The coder's as alone, the networks' own as without a coder; latents by the coder's."""
    from export.edge_run import EdgeNetworks

    networks = networks_with(parameters(), slope=slope)
    params = {k: jnp.asarray(v) for k, v in networks.weights().items()}
    quality = jnp.zeros(2, jnp.int32)
    exact = jnp.asarray(np.random.default_rng(8).laplace(0, 1.2, (2, 5, 6, LATENTS)), jnp.float32)
    whole = jnp.round(exact)

    def cost(params: Any, exact: Any) -> Any:
        latents = exact + jax.lax.stop_gradient(whole - exact)
        return networks.bits(params, latents, quality, exact).sum()

    def by_own(params: Any) -> Any:
        return EdgeNetworks.price(networks, params, whole, quality)(whole).sum()

    def by_coder(params: Any) -> Any:
        return networks.price(params, whole, quality)(whole).sum()

    slopes, pull = jax.grad(cost, (0, 1))(params, exact)
    own, coders = jax.grad(by_own)(params), jax.grad(by_coder)(params)
    learning = 0
    for name, value in slopes.items():
        wanted = coders[name] if name.startswith(PREFIX) else own[name]
        if name in networks.trainable:
            np.testing.assert_allclose(value, wanted, rtol=1e-3, atol=1e-3, err_msg=name)
            learning += bool(np.abs(wanted).max() > 0)
    assert learning > 15
    fixed = dict(params)
    for name in params:
        if name.startswith("ctx_"):
            fixed[name] = params[name] + 1.0
    np.testing.assert_allclose(jax.grad(cost, 1)(fixed, exact), pull, rtol=1e-4, atol=1e-4)


def test_the_run_trains_all_of_them(coded: Path, trained: Path, coder: Path) -> None:
    before = checkpoint.load(coded / "start.npz").averaged()
    now = checkpoint.load(coded).averaged()
    given = checkpoint.load(coder).averaged()
    assert {k for k in now if k.startswith(PREFIX)} == {PREFIX + k for k in given}
    for name, value in now.items():
        plain = name.removeprefix(PREFIX)
        if name.startswith(PREFIX):
            np.testing.assert_array_equal(before[name], given[plain])
        if name.startswith(PREFIX) and plain in FIXED:
            np.testing.assert_array_equal(value, given[plain])
        elif name.endswith("/table") and "normalise" in name:
            np.testing.assert_array_equal(value, before[name])
        else:
            assert np.any(value != before[name]), name


def test_the_log_tells_the_coders_bits(coded: Path, pictures: Path) -> None:
    """Its first line is what the held-back pictures cost by the coder that was given."""
    from export import data, step
    from export.settings import Settings

    found = checkpoint.load(coded / "start.npz")
    settings, weights = Settings.from_dict(found.meta["settings"]), found.averaged()
    training = settings.training
    held = data.held_back(
        data.list_pictures([str(pictures)]), training.held_back, training.held_back_side
    )
    centres = data.load_centres(held, training.held_back_side)
    params = {k: jnp.asarray(v) for k, v in weights.items()}
    with (coded / "log.csv").open() as file:
        first = float(next(csv.DictReader(file))["bpp_B"])
    for networks, same in (
        (networks_with(context_model.within(weights), **dataclasses.asdict(training)), True),
        (step.networks_of(settings), False),
    ):
        bpp = step.make_evaluate(networks, 1)(params, centres)[0, 0]
        assert (abs(bpp - first) < 2e-5) == same


def test_goes_on_with_the_coder(
    command: Command, coded: Path, pictures: Path, tmp_path: Path
) -> None:
    """Resumed, and with the roundings from there, without being told of the coder again."""
    shorter = tmp_path / "half"
    args = ("--data", pictures, "--steps", 2)
    done = command("export.finetune", coded, "--out", shorter, *args, *TUNE)
    assert done.returncode == 0, done.stderr
    now = checkpoint.load(shorter)
    assert any(name.endswith("/range") for name in now.groups["ema"])
    was = checkpoint.load(coded).averaged()
    assert np.any(now.averaged()[f"{PREFIX}dense"] != was[f"{PREFIX}dense"])
    np.testing.assert_array_equal(now.averaged()[f"{PREFIX}order"], was[f"{PREFIX}order"])
    done = command("export.finetune", coded, "--out", shorter, *args, "--resume")
    assert done.returncode == 0, done.stderr
    assert checkpoint.load(shorter).meta["step"] == 2


def test_the_trained_coder_is_taken_up(
    command: Command, coded: Path, pictures: Path, tmp_path: Path
) -> None:
    """`export.context --init RUN` begins where the run has left the parameters."""
    half = checkpoint.release(coded, tmp_path / "half.npz")
    model, release = tmp_path / "B", tmp_path / "context.npz"
    done = command("export.to_onnx", half, "--out", model, "--data", pictures, "--calibrate", 2)
    assert done.returncode == 0, done.stderr
    options = ("--data", pictures, "--init", half, "--steps", 1, "--learning-rate", 0.0, *SMALL)
    done = command("export.context", model, *options, "--release", release)
    assert done.returncode == 0, done.stderr
    wanted = context_model.within(checkpoint.load(half).averaged())
    for name, value in checkpoint.load(release).averaged().items():
        np.testing.assert_array_equal(value, wanted[name], err_msg=name)


def test_only_edge_networks_have_it() -> None:
    from export.coded_run import parameters
    from export.networks.cvpr import CvprConfig
    from export.networks.edge import ConfigError

    with pytest.raises(ConfigError, match="only for edge networks"):
        parameters("any", CvprConfig())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("channels", "no parameters of a coder of 16 channels"),
        ("none", "no parameters of a coder of 16 channels"),
        ("missing", "no checkpoint at"),
    ],
)
def test_refusals(
    trained: Path,
    coder: Path,
    pictures: Path,
    tmp_path: Path,
    change: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Before anything is written."""
    from export import finetune

    given = tmp_path / "given.npz"
    if change == "none":
        given = trained
    elif change == "channels":
        found = checkpoint.load(coder)
        ema = found.groups["ema"] | {"order": np.arange(8, dtype=np.int32)}
        checkpoint.save(given, dataclasses.replace(found, groups={"ema": ema}))
    words = ["--quality", "A", "--data", str(pictures), "--steps", "1", "--coder", str(given)]
    assert finetune.main([str(trained), "--out", str(tmp_path / "out"), *words]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert str(given) in error
    assert not (tmp_path / "out").exists()
