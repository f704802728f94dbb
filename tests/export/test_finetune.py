"""export.finetune: training with the int8 roundings in the loop, and what is exported of it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from .conftest import ROOT, Command, environment
from .test_to_onnx import picture as picture
from .test_to_onnx import run


@pytest.fixture(scope="module")
def model(
    command: Command, tuned: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Model folder of the tuned run."""
    out = tmp_path_factory.mktemp("tuned-model") / "B"
    done = command("export.to_onnx", tuned, "--out", out, "--data", pictures, "--calibrate", 2)
    assert done.returncode == 0, done.stderr
    return out


def test_run_is_folded_and_quantised(tuned: Path, trained: Path) -> None:
    from export import checkpoint

    found, before = checkpoint.load(tuned), checkpoint.load(trained)
    settings = found.meta["settings"]
    assert settings["network"]["folded"]
    assert settings["network"]["quantised"]
    assert settings["network"]["qualities"] == ["B"]
    assert settings["training"]["lambdas"] == [before.meta["settings"]["training"]["lambdas"][1]]
    assert found.meta["step"] == 6
    start = checkpoint.load(tuned / "start.npz").groups["ema"]
    now = found.groups["ema"]
    ranges = [k for k in now if k.endswith("/range")]
    assert len(ranges) == 2 * 9  # head and two blocks of four, both networks
    for name in ranges:  # calibrated once, then fixed
        assert now[name][0] > 0
        np.testing.assert_array_equal(now[name], start[name])
    assert any(np.any(now[k] != start[k]) for k in now if k.endswith("/kernel"))
    with (tuned / "log.csv").open() as file:
        steps = [row["step"] for row in csv.DictReader(file)]
    assert steps == ["0", "6"]


def test_graph_equals_the_network_it_was_trained_as(
    tuned: Path, model: Path, picture: np.ndarray, tmp_path: Path
) -> None:
    """Keras under JAX with its roundings, and the int8 graph: the same symbols."""
    from export import checkpoint
    from export.networks import edge
    from export.networks.layers import set_weights
    from export.settings import Settings

    found = checkpoint.load(tuned)
    config = Settings.from_dict(found.meta["settings"]).network
    encoder, decoder = edge.build_encoder(config), edge.build_decoder(config)
    for network in (encoder, decoder):
        set_weights(network, found.averaged())
    rng = np.random.default_rng(9)
    noisy = np.clip(picture + rng.normal(0, 20, (4, *picture.shape[1:])), 0, 255).astype(np.uint8)
    differ, apart = [], []
    for one in noisy:
        latents = encoder.predict_on_batch(edge.encoder_input(config, one[None]))
        wanted = np.round(np.asarray(latents)).transpose(0, 3, 1, 2) + 128
        symbols = run(model, "encoder", "int8", one[None])
        differ.append(np.mean(symbols != wanted))
        assert np.abs(symbols - wanted).max() <= 1
        inputs = symbols.transpose(0, 2, 3, 1).astype(np.float32) - 128
        patches = np.asarray(decoder.predict_on_batch(inputs))
        values = np.asarray(edge.from_patches(patches)) * 255 + 128
        restored = np.clip(np.round(values), 0, 255)
        decoded = run(model, "decoder", "int8", symbols)
        apart.append(np.abs(decoded - restored).max())
    assert np.mean(differ) < 0.001
    assert max(apart) <= 1


def test_product_uses_the_model(model: Path, pictures: Path, tmp_path: Path) -> None:
    """edgecomp compress --model, and back."""
    from PIL import Image

    archive, back = tmp_path / "p.ecz", tmp_path / "back"
    for words in (
        ["compress", str(pictures), "-o", str(archive), "--model", str(model)],
        ["decompress", str(archive), "-o", str(back), "--model", str(model)],
    ):
        command = [sys.executable, "-m", "edgecomp", *words, "--json"]
        done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)
    source = sorted(pictures.glob("*.png"))
    restored = sorted(back.rglob("*.png"))
    assert [p.name for p in restored] == [p.name for p in source]
    for a, b in zip(source, restored, strict=True):
        assert Image.open(a).size == Image.open(b).size


def test_resumes_and_finishes(
    command: Command, tuned: Path, pictures: Path, tmp_path: Path
) -> None:
    """A run that is there already is not overwritten, and --resume finds it finished."""
    args = (tuned, "--out", tuned, "--data", pictures, "--steps", 6)
    done = command("export.finetune", *args)
    assert done.returncode == 1
    assert "already has a run; use --resume" in done.stderr
    done = command("export.finetune", *args, "--resume")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--quality": "D"}, "--quality: 'D' is not one of the network's, A, B, C"),
        ({"--data": "nowhere"}, "data folder not found: nowhere"),
        ({"source": "nowhere"}, "no checkpoint at nowhere"),
        ({"--learning-rate": "-1"}, "cannot be negative"),
    ],
)
def test_refusals(
    trained: Path,
    pictures: Path,
    tmp_path: Path,
    change: dict[str, str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from export import finetune

    options = {"--quality": "A", "--data": str(pictures), "--steps": "1"} | change
    source = options.pop("source", str(trained))
    words = [word for item in options.items() for word in item]
    assert finetune.main([source, "--out", str(tmp_path / "out"), *words]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_needs_a_horizon(trained: Path, tmp_path: Path) -> None:
    from export import finetune

    with pytest.raises(SystemExit) as stop:
        finetune.main([str(trained), "--out", str(tmp_path / "out"), "--data", "x"])
    assert stop.value.code == 2
