"""Fixtures of the export tests: generated pictures, a tiny config, one trained and exported run.

Training runs under Keras's JAX backend and export under TensorFlow's, and a process has only one:
so both run as the commands that a user types, and this process itself has JAX.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import HANG_SECONDS
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("keras", "jax", "tensorflow", "tf2onnx", "onnx", "onnxruntime")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
Command = Callable[..., "subprocess.CompletedProcess[str]"]

os.environ["KERAS_BACKEND"] = "jax"
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip everything here, and say why, where the training packages are not installed."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(
                pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
            )
            # Keras, TensorFlow and the quantiser warn at will; that is not ours to fix.
            item.add_marker(pytest.mark.filterwarnings("ignore"))


def environment(**changes: str) -> dict[str, str]:
    """Environment of a command: its own backend, quiet, no accelerator."""
    env = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    return env | {"JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"} | changes


@pytest.fixture(scope="session")
def command(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Run ``python -m MODULE ARGS`` in the repository's root; no check of the status.

    The commands share a compilation cache: most of a tiny run is compiling the step.
    """
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("jax")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5",
    }

    def run(module: str, *args: object, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", module, *(str(a) for a in args)],
            cwd=ROOT,
            env=environment(**cache, **env),
            capture_output=True,
            text=True,
            timeout=HANG_SECONDS,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of 12 generated pictures, 176x184: gradients, waves, edges, some noise."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:176, 0:184].astype(float)
    for i in range(12):
        a, b, c = rng.uniform(8, 60, 3)
        planes = [
            128 + 90 * np.sin(x / a + i) * np.cos(y / b),
            np.where((x - 90) ** 2 + (y - 80) ** 2 < (20 * c), 210, 40) + x / 3,
            255 * (x + y) / (x + y).max() + rng.normal(0, 5, x.shape),
        ]
        picture = np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)
        Image.fromarray(picture).save(folder / f"p{i:02d}.png")
    return folder


def tiny_settings() -> dict[str, Any]:
    """A config that trains in seconds."""
    trunk = {"width": 16, "blocks": [8, 12], "head": 1, "tail": 1}
    return {
        "name": "tiny",
        "network": {
            "latents": 16,
            "encoder": trunk,
            "decoder": trunk,
            "context": {"reach": 1, "width": 8, "hidden": [8]},
        },
        "training": {
            "crop": 168,
            "batch": 2,
            "steps": 8,
            "warmup": 2,
            "learning_rate": 0.003,
            "held_back": 2,
            "held_back_side": 168,
        },
    }


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """File of the tiny config."""
    path = tmp_path_factory.mktemp("config") / "tiny.json"
    path.write_text(json.dumps(tiny_settings()))
    return path


@pytest.fixture(scope="session")
def trained(
    command: Command, config: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Run folder of eight unbroken steps, with its float16 release in it."""
    out = tmp_path_factory.mktemp("runs") / "unbroken"
    args = ("--config", config, "--data", pictures, "--out", out)
    done = command("export.train", *args, "--release", out / "half.npz")
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="session")
def exported(
    command: Command, trained: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Model folder of quality B of the trained run."""
    out = tmp_path_factory.mktemp("models") / "B"
    args = (trained, "--quality", "B", "--out", out, "--data", pictures, "--calibrate", 3)
    done = command("export.to_onnx", *args)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="session")
def tuned(
    command: Command, trained: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Run folder of quality B, six steps with the roundings."""
    out = tmp_path_factory.mktemp("tuned") / "b"
    options = ("--quality", "B", "--steps", 6, "--learning-rate", 1e-3, "--warmup", 1)
    done = command("export.finetune", trained, "--out", out, "--data", pictures, *options)
    assert done.returncode == 0, done.stderr
    return out
