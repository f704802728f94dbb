"""Backends: the networks, what they refuse, and that they agree."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from common import ROOT
from PIL import Image

from edgecomp.backends import load_backend
from edgecomp.codec import Codec
from edgecomp.errors import (
    BackendUnavailableError,
    ModelDamagedError,
    ModelNotFoundError,
    UsageError,
)
from edgecomp.metrics import psnr
from edgecomp.models import Model, load_model, shipped_model, shipped_models


@pytest.fixture(scope="module")
def rgb(photo: Image.Image) -> np.ndarray:
    return np.array(photo)


def test_unknown_backends_and_precisions_are_named(tiny: Path) -> None:
    model = load_model(tiny)
    with pytest.raises(UsageError, match=r"torch.*onnx, tensorflow"):
        load_backend("torch", model)
    with pytest.raises(ModelNotFoundError, match="no fp16 encoder"):
        load_backend("onnx", model, precision="fp16").analyse(np.zeros((8, 8, 3), np.uint8), 0)


def test_auto_takes_int8_where_there_is_one(tiny: Path) -> None:
    assert load_backend("onnx", load_model(tiny)).precision == "int8"
    assert load_backend("onnx", shipped_model("A"), precision="fp32").precision == "fp32"


@pytest.mark.parametrize("model", shipped_models(), ids=lambda m: m.name)
def test_precisions_of_shipped_models_agree_closely(model: Model, rgb: np.ndarray) -> None:
    int8, fp32 = (load_backend("onnx", model, precision=p) for p in ("int8", "fp32"))
    symbols = fp32.analyse(rgb, 0).symbols
    assert symbols.shape == (model.channels, rgb.shape[0] // 8, rgb.shape[1] // 8)
    assert np.mean(int8.analyse(rgb, 0).symbols != symbols) < 0.2
    close = psnr(int8.synthesise(symbols, 0), fp32.synthesise(symbols, 0))
    assert close > 30, "the same symbols give nearly the same picture in both precisions"


def test_threads_do_not_change_symbols_or_pixels(rgb: np.ndarray) -> None:
    one, two = (load_backend("onnx", shipped_model("B"), threads=n) for n in (1, 2))
    latent = one.analyse(rgb, 0)
    assert np.array_equal(two.analyse(rgb, 0).symbols, latent.symbols)
    assert np.array_equal(two.synthesise(latent.symbols, 0), one.synthesise(latent.symbols, 0))


def test_a_call_may_say_how_many_threads_it_uses(rgb: np.ndarray) -> None:
    backend = load_backend("onnx", shipped_model("A"), threads=1)
    latent, before = backend.analyse(rgb, 0), _threads()
    again = backend.analyse(rgb, 0, threads=1)
    assert _threads() == before, "nothing is loaded for a number that is there already"
    shared = backend.analyse(rgb, 0, threads=3)
    assert _threads() == before + 2, "the caller is the third"
    assert np.array_equal(again.symbols, latent.symbols)
    assert np.array_equal(shared.symbols, latent.symbols)
    pixels = backend.synthesise(latent.symbols, 0)
    assert np.array_equal(backend.synthesise(latent.symbols, 0, threads=2), pixels)
    assert _threads() == before + 3


def _threads() -> int:
    """How many threads this process has, those of libraries counted."""
    tasks = Path("/proc/self/task")
    if not tasks.is_dir():
        pytest.skip("the threads of a process cannot be counted here")
    return len(list(tasks.iterdir()))


def _with_graph(tiny: Path, target: Path, data: bytes) -> Model:
    import hashlib

    shutil.copytree(tiny, target)
    (target / "encoder.int8.onnx").write_bytes(data)
    manifest = json.loads((target / "model.json").read_text())
    manifest["graphs"]["encoder"]["int8"]["sha256"] = hashlib.sha256(data).hexdigest()
    (target / "model.json").write_text(json.dumps(manifest))
    return load_model(target)


def test_graphs_that_onnxruntime_refuses(tiny: Path, tmp_path: Path) -> None:
    model = _with_graph(tiny, tmp_path / "model", b"this is no graph")
    with pytest.raises(ModelDamagedError, match="encoder of model tiny cannot be loaded"):
        load_backend("onnx", model).analyse(np.zeros((8, 8, 3), np.uint8), 0)


def test_graphs_of_another_model_are_refused(tiny: Path, tiny_map: Path, tmp_path: Path) -> None:
    other = (tiny_map / "encoder.int8.onnx").read_bytes()
    model = _with_graph(tiny, tmp_path / "model", other)
    with pytest.raises(ModelDamagedError, match="the encoder says channels = 8, the manifest 12"):
        load_backend("onnx", model).analyse(np.zeros((8, 8, 3), np.uint8), 0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scales": [2.0]}, r"the encoder says scales = 1\.0, the manifest 2\.0"),
        ({"zero": 127}, "the encoder says zero = 128, the manifest 127"),
    ],
)
def test_a_manifest_that_belies_its_graphs_is_refused(
    tmp_path: Path, fields: dict[str, object], message: str
) -> None:
    shutil.copytree(shipped_model("A").path, tmp_path / "model")
    manifest = json.loads((tmp_path / "model" / "model.json").read_text())
    (tmp_path / "model" / "model.json").write_text(json.dumps(manifest | fields))
    backend = load_backend("onnx", load_model(tmp_path / "model"))
    with pytest.raises(ModelDamagedError, match=message):
        backend.analyse(np.zeros((8, 8, 3), np.uint8), 0)


def test_pictures_that_do_not_fit_the_graph_are_an_error_of_ours(tiny: Path) -> None:
    backend = load_backend("onnx", load_model(tiny))
    with pytest.raises(ModelDamagedError, match="cannot be run"):
        backend.analyse(np.zeros((8, 8, 4), np.uint8), 0)


def test_tensorflow_that_is_not_installed_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(BackendUnavailableError, match=r"edgecomp\[tensorflow\]"):
        Codec.load("A", backend="tensorflow")


def test_tensorflow_has_no_int8_and_needs_a_saved_model(tiny: Path) -> None:
    with pytest.raises(UsageError, match="fp32 only"):
        load_backend("tensorflow", load_model(tiny), precision="int8")
    with pytest.raises(ModelNotFoundError, match="no TensorFlow SavedModel"):
        load_backend("tensorflow", load_model(tiny))


def test_tensorflow_agrees_with_onnxruntime_and_is_quiet(
    tmp_path: Path, photo: Image.Image
) -> None:
    """In a process of its own: TensorFlow's state and its notices stay out of the others."""
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("the extra 'tensorflow' is not installed")
    photo.save(tmp_path / "a.png")
    code = f"""
import numpy as np
from PIL import Image
from edgecomp.backends import load_backend
from edgecomp.models import shipped_model
rgb = np.array(Image.open({str(tmp_path / "a.png")!r}))
model = shipped_model("B")
flow = load_backend("tensorflow", model)
onnx = load_backend("onnx", model, precision="fp32")
symbols = onnx.analyse(rgb, 0).symbols
assert np.mean(flow.analyse(rgb, 0).symbols != symbols) < 0.01
pixels = [b.synthesise(symbols, 0).astype(int) for b in (flow, onnx)]
assert np.abs(pixels[0] - pixels[1]).max() <= 1
"""
    # Importing an exporter, as other tests do, asks for TensorFlow's errors.
    env = {name: value for name, value in os.environ.items() if not name.startswith("TF_CPP")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "CUDA" not in done.stderr
    assert "cudart" not in done.stderr
