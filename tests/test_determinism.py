"""int8 graphs give the same bytes with any number of threads, in any run, on any processor."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fingerprints
import numpy as np
import onnxruntime
import pytest
from common import DATA, HANG_SECONDS, ROOT

from edgecomp.backends import load_backend
from edgecomp.models import load_model, shipped_models

MODELS = DATA / "models"
SATURATING = MODELS / "saturating.onnx"
# Symbols of a fixed picture, pixels of fixed symbols (fingerprints.py), on every processor and in
# every onnxruntime. A difference here breaks archives: never write these anew.
GOLDEN = {
    "tiny": [
        "a41de8c97bea43663bc535ca718da527e7b8f64974d50a2e36ea154808124ff1",
        "ce8de8baa9c3f49872c8091ec9c8ad57df158ecbebcdfa2d1b1631b71604a204",
    ],
    "tiny-map": [
        "62c517688709d19d2e43951dc0e480eb7c58da751460bc80199d1e2b974bad01",
        "1b23248379535d6e0809129748f8c452c14ca3ef2fc6f40bbdcbf1b9c64eacf8",
    ],
    "tiny-quantised": [
        "8e2dee2658eeef4b6a30e39ac8191bacebf322e634be7ac398d9575cba99f519",
        "03fe7d8b2fca840949fe915ac81ca7e44c045a476f185c5391086184137fd3f3",
    ],
}
FROZEN = [MODELS / name for name in GOLDEN]
# An encoder that tells fractions too; the convolutions and the importance map of `cvpr`.
OTHERS = [DATA / "choice" / "tiny", DATA / "cvpr" / "tiny"]
SHIPPED = [model.path for model in shipped_models() if "int8" in model.precisions]
# Processors that QEMU can be, and the code that onnxruntime chooses on them.
PROCESSORS = {"Nehalem": "SSE4.1", "Haswell": "AVX2"}
QEMU = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")

every_model = pytest.mark.parametrize(
    "folder", [*FROZEN, *OTHERS, *SHIPPED], ids=lambda p: p.parent.name + "-" + p.name
)


def test_every_frozen_model_has_golden_hashes() -> None:
    assert set(GOLDEN) == {path.parent.name for path in MODELS.glob("*/model.json")}
    assert SHIPPED, "the models that ship have an int8 form"


@pytest.mark.parametrize("folder", FROZEN, ids=lambda p: p.name)
def test_golden_hashes(folder: Path) -> None:
    assert fingerprints.of_model(folder) == GOLDEN[folder.name], (
        f"onnxruntime {onnxruntime.__version__} on this {platform.machine()} computes"
        " something else than where the hashes were made"
    )


@every_model
def test_threads_and_repeated_runs_change_nothing(folder: Path) -> None:
    model = load_model(folder)
    outcomes = set()
    for threads in (1, 2, 4):
        backend = load_backend("onnx", model, precision="int8", threads=threads)
        for _ in range(3):
            latent = fingerprints.analyse(backend, model, 40, 48)  # enough to be shared out
            pixels = fingerprints.synthesise(backend, model, 40, 48)
            assert latent.symbols.shape == (model.channels, 40, 48)
            assert len(np.unique(latent.symbols)) > 2
            assert len(np.unique(pixels)) > 100
            outcomes.add(
                fingerprints.digest([latent.symbols, latent.counts, latent.fractions, pixels])
            )
    assert len(outcomes) == 1


@every_model
def test_calls_at_the_same_time_change_nothing(folder: Path) -> None:
    model = load_model(folder)
    backend = load_backend("onnx", model, precision="int8", threads=2)
    alone = fingerprints.synthesise(backend, model)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda _: fingerprints.synthesise(backend, model), range(12)))
    assert all(np.array_equal(pixels, alone) for pixels in together)


@every_model
@pytest.mark.parametrize("role", ["encoder", "decoder"])
def test_kernels_that_cannot_saturate_compute_the_same(folder: Path, role: str) -> None:
    """onnxruntime's x64quantprecision computes in wider registers where there is no VNNI."""
    model = load_model(folder)
    found = []
    for precise in ("0", "1"):
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.x64quantprecision", precise)
        session = onnxruntime.InferenceSession(
            model.read_graph(role, "int8"), options, providers=["CPUExecutionProvider"]
        )
        if role == "encoder":
            rgb = fingerprints.picture(20 * model.stride, 24 * model.stride)
            feeds = {"picture": rgb[np.newaxis]}
        else:
            feeds = {"symbols": fingerprints.scattered((1, model.channels, 20, 24), model.levels)}
        if model.gains > 1:
            feeds["gain"] = np.array([0], np.int64)
        found.append(session.run(None, feeds))
    for fast, precise in zip(*found, strict=True):
        assert np.array_equal(fast, precise)


@pytest.fixture(scope="module")
def forced() -> dict[str, dict[str, list[str]]]:
    """Fingerprints by path, of each processor that QEMU is made to be."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        pytest.skip("the processors to be forced are x86, this one is not")
    if QEMU is None:
        pytest.skip("QEMU's user mode is not installed (apt-get install qemu-user-static)")
    paths = [str(path) for path in [*FROZEN, *OTHERS, *SHIPPED, SATURATING]]
    running = {
        processor: subprocess.Popen(
            [QEMU, "-cpu", processor, sys.executable, fingerprints.__file__, *paths],
            cwd=ROOT,
            # Left to itself, numpy's linear algebra takes some such processors for newer ones.
            env=os.environ | {"OPENBLAS_CORETYPE": processor},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for processor in PROCESSORS
    }
    outcome = {}
    try:
        for processor, process in running.items():
            stdout, stderr = process.communicate(timeout=HANG_SECONDS)
            assert process.returncode == 0, f"{processor}: {stderr[-2000:]}"
            outcome[processor] = json.loads(stdout)
    finally:
        for process in running.values():
            process.kill()
            process.communicate()
    return outcome


@pytest.mark.parametrize("processor", PROCESSORS, ids=PROCESSORS.get)
def test_frozen_models_on_other_processors(
    forced: dict[str, dict[str, list[str]]], processor: str
) -> None:
    for folder in FROZEN:
        assert forced[processor][str(folder)] == GOLDEN[folder.name], folder.name


def test_other_models_on_other_processors(forced: dict[str, dict[str, list[str]]]) -> None:
    for folder in (*OTHERS, *SHIPPED):
        hashes = {processor: forced[processor][str(folder)] for processor in PROCESSORS}
        assert hashes == dict.fromkeys(PROCESSORS, fingerprints.of_model(folder)), folder.name


def test_forced_processors_do_run_other_code(forced: dict[str, dict[str, list[str]]]) -> None:
    """The control: a graph that breaks the rules saturates with AVX2 and not with SSE4.1."""
    assert forced["Nehalem"][str(SATURATING)] != forced["Haswell"][str(SATURATING)]
