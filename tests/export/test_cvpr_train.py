"""export.train and export.measure with a `cvpr` network: its loss, its statistics, its resume."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .conftest import ROOT, Command
from .test_train import state

STEPS = 24


def tiny_cvpr() -> dict[str, Any]:
    """A `cvpr` config that trains in seconds once it is compiled."""
    side = {"first": 8, "width": 12, "groups": [[8]], "last": 0}
    return {
        "name": "tiny-cvpr",
        "network": {
            "kind": "cvpr",
            "bottleneck": 4,
            "encoder": side,
            "decoder": side,
            "context": {"width": 4},
        },
        "training": {
            "crop": 64,
            "batch": 4,
            "scales": [1.0, 0.5],
            "steps": STEPS,
            "warmup": 2,
            "learning_rate": 0.003,
            "schedule": "staircase",
            "lambdas": [5000],
            "mse_weight": 0,
            "fast": 1.25,
            "clip": 0,
            "beta2": 0.999,
            "bpp_target": 0.05,
            "held_back": 2,
            "held_back_side": 168,
        },
    }


def changed(section: str, **values: Any) -> dict[str, Any]:
    """The tiny config with some values of one section changed."""
    settings = tiny_cvpr()
    settings[section] |= values
    return settings


@pytest.fixture(scope="session")
def cvpr_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cvpr") / "tiny-cvpr.json"
    path.write_text(json.dumps(tiny_cvpr()))
    return path


@pytest.fixture(scope="session")
def cvpr_trained(
    command: Command, cvpr_config: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Run folder of an unbroken run."""
    out = tmp_path_factory.mktemp("runs") / "cvpr"
    done = command("export.train", "--config", cvpr_config, "--data", pictures, "--out", out)
    assert done.returncode == 0, done.stderr
    return out


def test_learns(cvpr_trained: Path) -> None:
    with (cvpr_trained / "log.csv").open() as file:
        first, last = csv.DictReader(file)
    assert [int(row["step"]) for row in (first, last)] == [0, STEPS]
    assert float(last["msssim_A"]) > float(first["msssim_A"]) + 0.02
    assert 0 < float(last["bpp_A"]) < 3


def test_statistics_are_in_the_checkpoint_and_averaged(cvpr_trained: Path) -> None:
    arrays = state(cvpr_trained)
    meta = json.loads(arrays.pop("meta.json").tobytes())
    assert meta["settings"]["network"]["kind"] == "cvpr"
    assert all(np.isfinite(a).all() for a in arrays.values())
    for layer in ("enc_h1", "enc_block0_0_conv2", "dec_h13"):
        for part, initial in (("moving_mean", 0), ("moving_variance", 1)):
            name = f"{layer}_bn/{part}"
            now, averaged = arrays[f"weights/{name}"], arrays[f"ema/{name}"]
            assert np.abs(now - initial).max() > 1e-4
            assert np.abs(averaged - initial).max() > 1e-4
            assert not np.array_equal(now, averaged)
            assert f"adam_m/{name}" not in arrays


def test_resume_equals_unbroken(
    command: Command, cvpr_config: Path, pictures: Path, cvpr_trained: Path, tmp_path: Path
) -> None:
    args = ("--data", pictures, "--out", tmp_path / "run")
    assert command("export.train", *args, "--config", cvpr_config, "--stop-at", 5).returncode == 0
    # without --config a resumed run keeps its own settings
    done = command("export.train", *args, "--resume")
    assert done.returncode == 0, done.stderr
    broken, whole = state(tmp_path / "run"), state(cvpr_trained)
    assert broken.keys() == whole.keys()
    for name in whole:
        if name != "meta.json":  # which holds the seconds
            np.testing.assert_array_equal(broken[name], whole[name], err_msg=name)


def test_measure(command: Command, cvpr_trained: Path, pictures: Path) -> None:
    args = (cvpr_trained, "--data", pictures, "--limit", 1)
    done = command("export.measure", *args)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    name, _, bpp, unit, similarity, *_ = line.split()
    assert (name, unit) == ("A", "bpp")
    assert 0 < float(bpp) < 3
    assert 0 < float(similarity) < 1
    done = command("export.measure", *args, "--at", "A=0.5")
    assert done.returncode == 1
    assert "one edge network" in done.stderr


def test_checkpoint_of_the_other_family(
    command: Command, config: Path, pictures: Path, cvpr_trained: Path, tmp_path: Path
) -> None:
    args = ("--config", config, "--data", pictures, "--out", tmp_path / "run")
    done = command("export.train", *args, "--init", cvpr_trained)
    assert done.returncode == 1
    assert "does not fit the config" in done.stderr


@pytest.fixture(scope="module")
def networks() -> Any:
    from export.cvpr_run import CvprNetworks
    from export.settings import Settings

    settings = Settings.from_dict(changed("training", bpp_target=0.0))
    return CvprNetworks(settings.network, settings.training)


@pytest.fixture(scope="module")
def crops(pictures: Path) -> Any:
    from export import data

    return data.load_centres(sorted(pictures.iterdir())[:2], 64)


def test_rate_reaches_the_encoder_by_the_map_alone(networks: Any, crops: Any) -> None:
    """The rate's gradient: the context model, the map's channel of the last layer, no other
    channel of it, and nothing of the decoder."""
    import jax
    import jax.numpy as jnp

    params = {k: jnp.asarray(v) for k, v in networks.weights().items()}
    quality = jnp.zeros(2, jnp.int32)
    names = ("enc_to_bn/kernel", "dec_from_bn/kernel", "ctx_conv0/kernel")

    def rate(some: dict[str, Any]) -> Any:
        return networks.run(params | some, crops, quality).rate[0]

    gradient = jax.jit(jax.grad(rate))({name: params[name] for name in names})
    last = np.asarray(gradient["enc_to_bn/kernel"])
    assert np.abs(last[..., 0]).max() > 0
    assert np.abs(last[..., 1:]).max() == 0
    assert np.abs(gradient["dec_from_bn/kernel"]).max() == 0
    assert np.abs(gradient["ctx_conv0/kernel"]).max() > 0


def test_rate_term_and_bits(networks: Any, crops: Any) -> None:
    import jax
    import jax.numpy as jnp

    from export.networks import cvpr

    params = {k: jnp.asarray(v) for k, v in networks.weights().items()}
    result = jax.jit(networks.run)(params, crops, jnp.zeros(2, jnp.int32))
    raw = networks.encoder(crops.astype(np.float32))
    masked, importance = cvpr.importance_mask(raw, networks.config)
    values, symbols = cvpr.quantise(masked, params["enc_centres/centres"])
    logits = networks.context([values, jnp.full(2, params["enc_centres/centres"][0])])
    cost, importance = np.asarray(cvpr.bit_cost(logits, symbols)), np.asarray(importance)
    mask = np.clip(importance[..., None] - np.arange(4), 0, 1)
    np.testing.assert_allclose(
        result.rate, [500 * 0.5 * (cost.mean() + (cost * mask).mean())] * 2, rtol=1e-3
    )
    np.testing.assert_allclose(result.zeros, (mask == 0).mean((1, 2, 3)), atol=1e-6)
    for n in range(2):
        levels = np.ceil(importance[n]).astype(int).reshape(-1)
        share = np.bincount(levels) / levels.size
        entropy = -(share[share > 0] * np.log2(share[share > 0])).sum()
        wanted = (cost[n][mask[n] > 0].sum() + entropy * levels.size) / 64**2
        assert float(result.bpp[n]) == pytest.approx(wanted, rel=1e-3)


def test_rate_below_the_target_is_free(crops: Any) -> None:
    import jax
    import jax.numpy as jnp

    from export.cvpr_run import CvprNetworks
    from export.settings import Settings

    settings = Settings.from_dict(changed("training", bpp_target=2.0))
    networks = CvprNetworks(settings.network, settings.training)
    assert networks.target == 32.0  # 64 pixels of 2 bits in 4 symbols
    params = {k: jnp.asarray(v) for k, v in networks.weights().items()}
    result = jax.jit(networks.run)(params, crops, jnp.zeros(2, jnp.int32))
    assert np.asarray(result.rate).tolist() == [0, 0]


def test_penalty(networks: Any) -> None:
    weights = networks.weights()
    kernels = [v for k, v in weights.items() if k.endswith("kernel") and not k.startswith("ctx_")]
    assert len(kernels) == 10
    wanted = 0.0025 * sum((k.astype(float) ** 2).sum() for k in kernels)
    wanted += 0.05 * (weights["enc_centres/centres"].astype(float) ** 2).sum()
    assert float(networks.penalty(weights)) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (changed("network", qualities=["A", "B"]), "one quality"),
        (changed("network", latents=4), "unknown key 'latents'"),
        (changed("network", kind="vgg"), "'vgg' is not one of edge, cvpr"),
        (changed("training", lambdas=[1, 2]), "training.lambdas: one value a quality"),
        (changed("training", crop=100), "not multiples of the patch, 8"),
        (changed("training", bpp_target="x"), "training.bpp_target: unusable value 'x'"),
    ],
)
def test_bad_config(data: Any, message: str) -> None:
    from export.networks.edge import ConfigError
    from export.settings import Settings

    with pytest.raises(ConfigError) as error:
        Settings.from_dict(data)
    assert message in str(error.value)


def test_shipped_configs_are_the_papers() -> None:
    import dataclasses

    from export.networks.cvpr import CvprConfig, parameter_count
    from export.settings import Settings, load_settings

    for quality, target in (("A", 0.370), ("B", 0.677), ("C", 1.051)):
        settings = load_settings(ROOT / f"export/configs/cvpr-{quality.lower()}.json")
        assert settings.network == dataclasses.replace(CvprConfig.paper(), qualities=(quality,))
        assert parameter_count(settings.network) == 10_016_072
        assert settings.training.bpp_target == target
        assert Settings.from_dict(settings.to_dict()) == settings
