"""export.train: learns, resumes bit for bit, stops on a signal, refuses what it cannot use."""

from __future__ import annotations

import csv
import dataclasses
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .conftest import ROOT, Command, environment, tiny_settings


def state(run: Path) -> dict[str, np.ndarray]:
    with np.load(run / "state.npz", allow_pickle=False) as data:
        return {name: data[name] for name in data.files}


def test_writes_checkpoint_and_log(trained: Path) -> None:
    arrays = state(trained)
    meta = json.loads(arrays.pop("meta.json").tobytes())
    assert meta["step"] == 8
    assert meta["settings"]["name"] == "tiny"
    assert {name.split("/")[0] for name in arrays} == {"weights", "ema", "adam_m", "adam_v"}
    assert all(a.dtype == np.float32 and np.isfinite(a).all() for a in arrays.values())
    with (trained / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(r["step"]) for r in rows] == [0, 8]
    # The principal components make a codec before the first step, finer from A to C.
    first = rows[0]
    assert 0.8 < float(first["msssim_A"]) < float(first["msssim_C"]) < 1
    assert 0.1 < float(first["bpp_A"]) < float(first["bpp_C"]) < 8
    assert not list(trained.glob(".*partial*"))


def test_resume_equals_unbroken(
    command: Command, config: Path, pictures: Path, trained: Path, tmp_path: Path
) -> None:
    args = ("--config", config, "--data", pictures, "--out", tmp_path / "run")
    assert command("export.train", *args, "--stop-at", 3).returncode == 0
    half_way = state(tmp_path / "run")
    assert json.loads(half_way["meta.json"].tobytes())["step"] == 3
    assert command("export.train", *args, "--resume").returncode == 0
    broken, whole = state(tmp_path / "run"), state(trained)
    assert broken.keys() == whole.keys()
    for name in whole:
        if name != "meta.json":  # which holds the seconds
            np.testing.assert_array_equal(broken[name], whole[name], err_msg=name)


def test_sigterm_saves(config: Path, pictures: Path, tmp_path: Path) -> None:
    args = ["--config", config, "--data", pictures, "--out", tmp_path, "--steps", 1_000_000]
    process = subprocess.Popen(
        [sys.executable, "-m", "export.train", *map(str, args)],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = next(line for line in process.stdout if line.startswith("step"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
    finally:
        process.kill()
        process.stdout.close()
    # Not an early checkpoint: what was done up to the signal is there.
    assert json.loads(state(tmp_path)["meta.json"].tobytes())["step"] >= int(line.split()[1])


def test_init_from_released_weights(
    command: Command, pictures: Path, trained: Path, tmp_path: Path
) -> None:
    released = trained / "half.npz"
    with np.load(released, allow_pickle=False) as data:
        kinds = {name.split("/")[0] for name in data.files}
        assert all(data[n].dtype == np.float16 for n in data.files if n.startswith("ema/"))
    assert kinds == {"ema", "meta.json"}
    # without --config the checkpoint's settings are kept
    args = ("--data", pictures, "--out", tmp_path, "--init", released)
    done = command("export.train", *args, "--steps", 0)
    assert done.returncode == 0, done.stderr
    old, new = state(trained), state(tmp_path)
    for name, value in new.items():
        if name.startswith("weights/"):
            half = old["ema/" + name.removeprefix("weights/")]
            np.testing.assert_allclose(value, half, rtol=1e-3, atol=1e-6)
    # Only averaged weights: fit to start a run from, not to resume one.
    (tmp_path / "state.npz").write_bytes(released.read_bytes())
    done = command("export.train", *args[:-2], "--resume")
    assert done.returncode == 1
    assert "use --init" in done.stderr


def test_needs_a_config_or_a_checkpoint(
    command: Command, pictures: Path, trained: Path, tmp_path: Path
) -> None:
    from export import checkpoint

    args = ("--data", pictures, "--out", tmp_path / "run")
    done = command("export.train", *args)
    assert done.returncode == 1
    assert "--config is needed" in done.stderr
    found = checkpoint.load(trained)
    found.meta["settings"]["network"]["kind"] = "vgg"
    checkpoint.save(tmp_path / "strange.npz", found)
    done = command("export.train", *args, "--init", tmp_path / "strange.npz")
    assert done.returncode == 1
    assert "strange.npz: network.kind: 'vgg'" in done.stderr


def test_refuses_existing_run_and_other_backend(
    command: Command, config: Path, pictures: Path, trained: Path, tmp_path: Path
) -> None:
    args = ("--config", config, "--data", pictures)
    done = command("export.train", *args, "--out", trained)
    assert done.returncode == 1
    assert "--resume" in done.stderr
    done = command("export.train", *args, "--out", tmp_path, KERAS_BACKEND="tensorflow")
    assert done.returncode == 1
    assert "KERAS_BACKEND=jax" in done.stderr


def test_missing_data_folder(command: Command, config: Path, tmp_path: Path) -> None:
    missing = tmp_path / "nowhere"
    done = command("export.train", "--config", config, "--data", missing, "--out", tmp_path / "r")
    assert done.returncode == 1
    assert f"data folder not found: {missing}" in done.stderr
    assert not (tmp_path / "r").exists()


def change(path: str, value: Any) -> dict[str, Any]:
    """The tiny config with one value changed."""
    settings = tiny_settings()
    *parents, last = path.split(".")
    place = settings
    for name in parents:
        place = place[name]
    place[last] = value
    return settings


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "expected an object"),
        (change("name", 3), '"name"'),
        (change("extra", 1), "unknown key 'extra'"),
        (change("network.extra", 1), "unknown key 'extra'"),
        (change("network.encoder", 5), "network.encoder: expected an object"),
        (change("network.encoder.width", 0), "network.encoder.width: unusable value 0"),
        (change("network.decoder.blocks", [8, 1.5]), "unusable value 1.5"),
        (change("network.decoder.tail", 2), "kernel sizes are 1 or 3"),
        (change("network.qualities", ["A"]), "one value a quality"),
        (change("training.rate", 1), "unknown key 'rate'"),
        (change("training.steps", -1), "training.steps: unusable value -1"),
        (change("training.batch", True), "training.batch: unusable value True"),
        (change("network.kind", "vgg"), "network.kind: 'vgg' is not one of edge"),
        (change("training.crop", 56), "training.crop: MS-SSIM needs at least 64"),
        (change("training.held_back_side", 160), "held_back_side: comparable MS-SSIM"),
        (change("training.crop", 170), "not multiples of the patch"),
        (change("training.precision", "float8"), "'float8' is not known"),
        (change("training.distortion", "lpips"), "'lpips' is not known"),
        (change("training.schedule", "linear"), "'linear' is not known"),
        (change("training.scales", [1.0, 0.0]), "training.scales: reduction factors above 0"),
        (change("training.scales", []), "training.scales: reduction factors above 0"),
    ],
)
def test_bad_config(data: Any, message: str, tmp_path: Path) -> None:
    from export.networks.edge import ConfigError
    from export.settings import load_settings

    path = tmp_path / "bad.json"
    path.write_text(json.dumps(data))
    with pytest.raises(ConfigError) as error:
        load_settings(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)


def test_config_is_not_json(tmp_path: Path) -> None:
    from export.networks.edge import ConfigError
    from export.settings import load_settings

    path = tmp_path / "bad.json"
    with pytest.raises(ConfigError, match="cannot read config"):
        load_settings(path)
    path.write_text("{")
    with pytest.raises(ConfigError, match="not JSON"):
        load_settings(path)


@pytest.mark.parametrize(
    ("name", "qualities"),
    [("edge-gpu", "ABC"), ("edge-a", "A"), ("edge-b", "B"), ("edge-c", "C")],
)
def test_shipped_config_loads(name: str, qualities: str) -> None:
    from export.settings import Settings, load_settings

    settings = load_settings(ROOT / "export" / "configs" / f"{name}.json")
    whole = load_settings(ROOT / "export/configs/edge.json").network
    assert settings.network == dataclasses.replace(whole, qualities=tuple(qualities))
    assert Settings.from_dict(settings.to_dict()) == settings


def test_settings_of_older_checkpoints_load() -> None:
    """Those from before there were several families name no kind."""
    from export.settings import Settings

    older = tiny_settings()
    assert "kind" not in older["network"]
    settings = Settings.from_dict(older)
    assert settings.kind == "edge"
    assert settings.to_dict()["network"]["kind"] == "edge"
    assert Settings.from_dict(settings.to_dict()) == settings


def test_checkpoint_of_other_shape(
    command: Command, pictures: Path, trained: Path, tmp_path: Path
) -> None:
    path = tmp_path / "wide.json"
    path.write_text(json.dumps(change("network.encoder.width", 24)))
    args = ("--config", path, "--data", pictures, "--out", tmp_path / "run")
    done = command("export.train", *args, "--init", trained)
    assert done.returncode == 1
    assert "does not fit the config" in done.stderr
