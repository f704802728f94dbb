"""How long fresh processes take until they can work: imports, loading a model."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from edgecomp.backends import load_backend
from edgecomp.model_coders import load_coder
from edgecomp.models import shipped_model

# Each does what the one before it does and something more.
STEPS = {
    "python": "pass",
    "numpy": "import numpy",
    "edgecomp": "import edgecomp",
    "compress": "from edgecomp.compress import compress_folder",
    "decompress": "from edgecomp.decompress import decompress_folder",
    "onnxruntime": "import edgecomp.compress; from edgecomp.backends import engine;"
    " engine.load_onnxruntime()",
    "first-picture-encoded": "import edgecomp; from PIL import Image;"
    " edgecomp.encode(Image.new('RGB', (8, 8)), quality='A')",
}
ROUNDS = 10


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.benchmark(group="start-up, whole processes")
def test_fresh_process(benchmark: Any, step: str) -> None:
    command = [sys.executable, "-c", STEPS[step]]
    done = benchmark.pedantic(
        subprocess.run, (command,), {"check": True}, rounds=ROUNDS, warmup_rounds=1
    )
    assert done.returncode == 0


@pytest.mark.benchmark(group="start-up, whole processes")
def test_command_says_its_version(benchmark: Any) -> None:
    command = [sys.executable, "-m", "edgecomp", "--version"]
    options = {"check": True, "stdout": subprocess.PIPE}
    done = benchmark.pedantic(subprocess.run, (command,), options, rounds=ROUNDS, warmup_rounds=1)
    assert done.stdout.startswith(b"edgecomp")


@pytest.mark.parametrize("role", ["encoder", "decoder"])
@pytest.mark.benchmark(group="load a network")
def test_load_session(benchmark: Any, role: str) -> None:
    """A graph is read, its hash compared, and onnxruntime prepares it; then the smallest picture.

    onnxruntime itself is loaded already.
    """
    import numpy as np

    model = shipped_model("A")
    pixels = np.zeros((model.stride, model.stride, 3), np.uint8)
    symbols = np.full((model.channels, 1, 1), model.zero, np.uint8)

    def load() -> tuple[int, ...]:
        backend = load_backend("onnx", model)
        if role == "encoder":
            return backend.analyse(pixels, 0).symbols.shape
        return backend.synthesise(symbols, 0).shape

    assert benchmark(load) == (symbols.shape if role == "encoder" else pixels.shape)


@pytest.mark.benchmark(group="load a network")
def test_load_manifest_and_coder(benchmark: Any) -> None:
    """The manifest, checked, and the parameters of the symbol coder, prepared."""
    assert benchmark(lambda: load_coder(shipped_model("A"))).name == "context"
