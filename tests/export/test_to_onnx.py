"""export.to_onnx: the folder's contents, parity with the trained network, integers only in int8."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import HANG_SECONDS, in_parts_as_whole

from edgecomp import golden
from edgecomp.models import load_model

from .conftest import ROOT, Command, environment

PRECISIONS = ("fp32", "int8")


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """uint8 [1, 48, 88, 3], smooth."""
    y, x = np.mgrid[0:48, 0:88]
    planes = [128 + 100 * np.sin(x / 9), 2.5 * (x + y) / 2, 128 + 90 * np.cos(y / 7) * np.sin(x)]
    return np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)[None]


def run(folder: Path, part: str, precision: str, value: np.ndarray) -> np.ndarray:
    import onnxruntime

    path = str(folder / f"{part}.{precision}.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {session.get_inputs()[0].name: value})
    return np.asarray(result)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_shapes_and_types(exported: Path, picture: np.ndarray, precision: str) -> None:
    for rows, columns in ((6, 11), (1, 1), (3, 2)):
        part = np.ascontiguousarray(picture[:, : 8 * rows, : 8 * columns])
        symbols = run(exported, "encoder", precision, part)
        assert symbols.dtype == np.uint8
        assert symbols.shape == (1, 16, rows, columns)
        assert symbols.min() >= 1
        restored = run(exported, "decoder", precision, symbols)
        assert restored.dtype == np.uint8
        assert restored.shape == part.shape


@pytest.mark.parametrize(
    ("precision", "symbols_differ", "pixels_apart"), [("fp32", 0.005, 1.0), ("int8", 0.1, 3.0)]
)
def test_equals_trained_network(
    trained: Path,
    exported: Path,
    picture: np.ndarray,
    precision: str,
    symbols_differ: float,
    pixels_apart: float,
) -> None:
    from export.measure import Meter

    meter = Meter(str(trained))
    quality = np.array([1], np.int32)
    latents, restored = meter.float_pass(picture, quality)
    symbols = run(exported, "encoder", precision, picture)
    wanted = latents.transpose(0, 3, 1, 2) + 128
    assert np.abs(symbols - wanted).max() <= 1
    assert np.mean(symbols != wanted) <= symbols_differ
    decoded = run(exported, "decoder", precision, wanted.astype(np.uint8))
    assert np.abs(decoded - restored).max() <= pixels_apart


def test_float_graph_before_rounding(trained: Path, picture: np.ndarray, tmp_path: Path) -> None:
    """Keras under JAX and the fp32 graph agree to 1e-4 where nothing is rounded yet."""
    code = """
import sys
import numpy as np, onnx, onnxruntime
from export import edge_export, folding
settings, weights = folding.fold_source(sys.argv[1], "B")
config = settings.network
whole = edge_export.byte_weights(config, weights)
model = edge_export.float_graphs(config, whole)["encoder"]
(rounding,) = [n for n in model.graph.node if n.op_type == "Round"]
name = rounding.input[0]
model.graph.output.append(onnx.helper.make_tensor_value_info(name, 1, None))
session = onnxruntime.InferenceSession(model.SerializeToString())
picture = np.load(sys.argv[2])
np.save(sys.argv[3], session.run([name], {"picture": picture})[0])
"""
    np.save(tmp_path / "picture.npy", picture)
    files = (trained, tmp_path / "picture.npy", tmp_path / "latents.npy")
    subprocess.run(
        [sys.executable, "-c", code, *map(str, files)],
        cwd=ROOT,
        env=environment(KERAS_BACKEND="tensorflow"),
        check=True,
        timeout=HANG_SECONDS,
        capture_output=True,
    )
    from export.measure import Meter

    meter = Meter(str(trained))
    from export.networks import edge

    centred = (picture.astype(np.float32) - 128) / 255
    inputs = [edge.to_patches(centred), np.array([1], np.int32)]
    latents = np.asarray(meter.networks.call(meter.networks.encoder, meter.params, *inputs))
    exported = np.load(tmp_path / "latents.npy")
    np.testing.assert_allclose(exported, latents, rtol=1e-4, atol=1e-4)


def test_manifest(exported: Path) -> None:
    raw = (exported / "model.json").read_bytes()
    record = json.loads(raw)
    assert raw == (json.dumps(record, sort_keys=True, indent=1) + "\n").encode()
    wanted = {"schema": 1, "name": "tiny-b", "network": "edge", "quality": "B", "stride": 8}
    wanted |= {"channels": 16, "levels": 256, "zero": 128, "importance_map": False, "gains": 1}
    assert {k: record[k] for k in wanted} == wanted
    assert record["coders"] == {"lzma": {}}
    listed = dict(record["saved_model"])
    for part in ("encoder", "decoder"):
        assert record["parameters"][part] > 0
        assert record["multiply_adds_per_pixel"][part] > 0
        for entry in record["graphs"][part].values():
            listed[entry["file"]] = entry["sha256"]
    files = {p.relative_to(exported).as_posix() for p in exported.rglob("*") if p.is_file()}
    assert files == {*listed, "model.json", "golden.json"}
    assert golden.check(load_model(exported)) == []
    for name, sha256 in listed.items():
        assert hashlib.sha256((exported / name).read_bytes()).hexdigest() == sha256


def test_the_halo_holds_what_the_networks_see(exported: Path) -> None:
    assert in_parts_as_whole(exported, "int8") == (True, True)


def test_parameter_count(exported: Path) -> None:
    import onnx

    record = json.loads((exported / "model.json").read_text())
    for part, count in record["parameters"].items():
        graph = onnx.load(exported / f"{part}.fp32.onnx").graph
        sizes = [int(np.prod(t.dims)) for t in graph.initializer if t.data_type in (1, 10)]
        constants = sum(size == 1 for size in sizes)
        assert sum(sizes) - constants == count


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_graph_metadata_and_versions(exported: Path, part: str, precision: str) -> None:
    import onnx

    model = onnx.load(exported / f"{part}.{precision}.onnx")
    assert model.ir_version <= 10  # what onnxruntime 1.20 reads
    assert {o.domain: o.version for o in model.opset_import}.get("") == 17
    facts = {p.key: p.value for p in model.metadata_props}
    assert facts == {"name": "tiny-b", "quality": "B", "stride": "8", "channels": "16",
                     "levels": "256", "zero": "128", "scales": "1.0", "version": "1"}  # fmt: skip
    assert not {"ConvTranspose", "Resize"} & {n.op_type for n in model.graph.node}


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_int8_graph_sums_integers_only(exported: Path, part: str, tmp_path: Path) -> None:
    """As onnxruntime runs it: no float convolution or product, and 7-bit weights throughout."""
    import onnx
    import onnxruntime
    from onnx import numpy_helper

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    path = exported / f"{part}.int8.onnx"
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    kinds = [n.op_type for n in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert not {"Conv", "FusedConv", "MatMul", "Gemm", "FusedMatMul", "MatMulIntegerToFloat"} & {
        *kinds
    }
    assert kinds.count("QLinearConv") == 7
    assert kinds.count("MatMulInteger") == {"encoder": 6, "decoder": 4}[part]
    for tensor in onnx.load(path).graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.int8 and array.size > 1:
            assert array.min() >= -64
            assert array.max() <= 64


def test_saved_model_needs_only_tensorflow(
    exported: Path, picture: np.ndarray, tmp_path: Path
) -> None:
    code = """
import sys
import numpy as np, tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
picture = tf.constant(np.load(sys.argv[2]))
symbols = model.encode(picture)
restored = model.signatures["decode"](symbols=symbols)
(restored,) = restored.values()
np.savez(sys.argv[3], symbols=symbols.numpy(), restored=restored.numpy())
"""
    np.save(tmp_path / "picture.npy", picture)
    files = (exported / "saved_model", tmp_path / "picture.npy", tmp_path / "out.npz")
    subprocess.run(
        [sys.executable, "-c", code, *map(str, files)],
        cwd=tmp_path,
        env=environment(),
        check=True,
        timeout=HANG_SECONDS,
        capture_output=True,
    )
    with np.load(tmp_path / "out.npz") as out:
        symbols, restored = out["symbols"], out["restored"]
    wanted = run(exported, "encoder", "fp32", picture)
    assert np.mean(symbols != wanted) < 0.005
    decoded = run(exported, "decoder", "fp32", symbols).astype(int)
    assert np.abs(decoded - restored).max() <= 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--quality": "D"}, "--quality: 'D' is not one of the network's, A, B, C"),
        ({"--data": "nowhere"}, "data folder not found: nowhere"),
        ({"--rate-scale": "0"}, "must be above zero"),
        ({"source": "nowhere"}, "no checkpoint at nowhere"),
    ],
)
def test_refusals(
    trained: Path, pictures: Path, tmp_path: Path, change: dict[str, str], message: str, capsys: Any
) -> None:
    from export import to_onnx

    options = {"--quality": "A", "--out": str(tmp_path / "out"), "--data": str(pictures)} | change
    source = options.pop("source", str(trained))
    argv = [source, *(word for item in options.items() for word in item)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(to_onnx.keras.backend, "backend", lambda: "tensorflow")
        assert to_onnx.main(argv) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_refuses_other_backend(trained: Path, pictures: Path, tmp_path: Path, capsys: Any) -> None:
    from export import to_onnx

    out = tmp_path / "out"
    argv = [str(trained), "--quality", "A", "--out", str(out), "--data", str(pictures)]
    assert to_onnx.main(argv) == 1
    assert "KERAS_BACKEND=tensorflow" in capsys.readouterr().err


def test_quantise_refuses_other_graphs() -> None:
    import onnx
    from onnx import helper

    from export import quantise

    value = [helper.make_tensor_value_info(n, 1, [1, 3, 8, 8]) for n in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", value[:1], value[1:])
    model = onnx.helper.make_model(graph)
    with pytest.raises(quantise.QuantiseError, match="0 activations in the graph, 1 ranges given"):
        quantise.quantise(model, [], {}, quantise.activations(model, []), [(1.0, 0)])
    with pytest.raises(quantise.QuantiseError, match="no centred byte input"):
        quantise.centred_input(model)


def test_measure_prints_figures(
    command: Command, trained: Path, pictures: Path, exported: Path
) -> None:
    args = (trained, "--data", pictures, "--limit", 2, "--fit", "A=0.9")
    done = command("export.measure", *args)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["A", "A", "B", "C"]
    assert lines[1].startswith("A at ")
    done = command("export.measure", trained, "--data", exported)
    assert done.returncode == 1
    assert "no pictures" in done.stderr


def test_one_checkpoint_gives_one_model(
    command: Command, trained: Path, pictures: Path, exported: Path, tmp_path: Path
) -> None:
    """Converters number and order things as they meet them; the files do not show it."""
    args = ("--quality", "B", "--data", pictures, "--calibrate", 3)
    done = command("export.to_onnx", trained, "--out", tmp_path / "B", *args, PYTHONHASHSEED="7")
    assert done.returncode == 0, done.stderr
    here = {p.relative_to(exported): p.read_bytes() for p in exported.rglob("*") if p.is_file()}
    assert {f: (tmp_path / "B" / f).read_bytes() == data for f, data in here.items()} == (
        dict.fromkeys(here, True)
    )
