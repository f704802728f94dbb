"""Export of the `cvpr` network: graphs against the networks, and the whole way through edgecomp."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import HANG_SECONDS, in_parts_as_whole
from PIL import Image

from .conftest import ROOT, Command, environment

FULL = {
    "kind": "cvpr",
    "bottleneck": 6,
    "encoder": {"first": 8, "width": 12, "groups": [[12, 12], [12]], "last": 12},
    "decoder": {"first": 8, "width": 12, "groups": [[12], [12]], "last": 12},
    "context": {"width": 4},
}
PRUNED = {
    "kind": "cvpr",
    "bottleneck": 5,
    "centres": 4,
    "importance_map": False,
    "batch_norm": False,
    "encoder": {"first": 3, "width": 7, "groups": [[5, 9], [], [2]], "last": 0},
    "decoder": {"first": 5, "width": 6, "groups": [[], [4]], "last": 3},
    "context": {"width": 4},
}
EXPORT = """
import sys
from dataclasses import replace
from pathlib import Path
import numpy as np, onnx
from export import cvpr_export, cvpr_int8, data, folding, overflow
source, pictures, out = sys.argv[1:]
settings, weights = folding.fold_source(source, None)
config = settings.network
pictures = data.spread([pictures], 4, settings.stride)
encoder, decoder, weights = cvpr_export.quantised(config, weights, pictures)
limits = cvpr_export.thresholds(weights[cvpr_export.CENTRES])
for part, graph in cvpr_int8.graphs(config, encoder, decoder, limits).items():
    overflow.prove(graph, part)
    onnx.save(graph, Path(out, f"{part}.int8.onnx"))
for part, graph in cvpr_export.float_graphs(config, weights).items():
    onnx.save(graph, Path(out, f"{part}.fp32.onnx"))
np.savez(Path(out, "weights.npz"), **weights)
encoder, decoder, _ = cvpr_export.quantised(replace(config, quantised=True), weights, [])
for part, graph in cvpr_int8.graphs(config, encoder, decoder, limits).items():
    onnx.save(graph, Path(out, f"{part}.again.onnx"))
"""


def random_weights(model: Any, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Every weight away from its start, batch norm statistics too; activations stay about 1."""
    weights = {}
    for v in sorted(model.variables, key=lambda v: v.path):
        leaf = v.path.rsplit("/")[-1]
        if leaf == "kernel":
            # A transposed kernel of stride 2 has a quarter of its places in each sum.
            value = rng.normal(0, np.sqrt(1.5 / np.prod(v.shape[:-1])), v.shape)
        elif leaf in ("gamma", "moving_variance"):
            value = rng.uniform(0.5, 1.5, v.shape)
        elif leaf == "centres":
            value = rng.permutation(np.linspace(-2, 1.7, v.shape[0]))
        else:
            value = rng.normal(0, 0.2, v.shape)
        weights[v.path] = value.astype(np.float32)
    return weights


def write_run(network: dict[str, Any], folder: Path) -> Path:
    """A run folder of a random network."""
    from export import checkpoint
    from export.networks import cvpr
    from export.settings import Settings

    settings = Settings.from_dict(
        {"name": "small", "network": network, "training": {"lambdas": [5000]}}
    )
    rng = np.random.default_rng(11)
    weights: dict[str, np.ndarray] = {}
    for build in (cvpr.build_encoder, cvpr.build_decoder):
        weights |= random_weights(build(settings.network), rng)
    if network is PRUNED:  # pruning can leave a channel that is nothing but its bias
        weights["enc_h1/kernel"][..., 0] = 0
    # bring most of the bottleneck into the range of the centres
    last = "enc_to_bn" if "enc_to_bn/bias" in weights else "enc_to_bn_bn"
    for leaf in ("kernel", "bias") if last == "enc_to_bn" else ("gamma", "beta"):
        weights[f"{last}/{leaf}"] *= np.float32(0.4)
    saved = checkpoint.Checkpoint({"ema": weights}, {"settings": settings.to_dict()})
    checkpoint.save(folder / checkpoint.NAME, saved)
    return folder


@dataclass
class Case:
    """Graphs of a network, and the Keras networks with the same weights."""

    folder: Path
    config: Any
    weights: dict[str, np.ndarray]
    picture: np.ndarray  # uint8 [1, H, W, 3]

    def run(self, part: str, precision: str, value: np.ndarray, *inside: str) -> list[np.ndarray]:
        """Outputs of a graph, or the tensors ``inside`` it."""
        import onnx
        import onnxruntime

        graph = self.graph(part, precision)
        for name in inside:
            graph.graph.output.append(onnx.helper.make_tensor_value_info(name, 1, None))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return session.run(list(inside) or None, {session.get_inputs()[0].name: value})

    def graph(self, part: str, precision: str) -> Any:
        import onnx

        return onnx.load(self.folder / f"{part}.{precision}.onnx")

    def keras(self, part: str, quantised: bool, value: np.ndarray) -> np.ndarray:
        """Output of a Keras network."""
        from export.networks import cvpr
        from export.networks.layers import set_weights

        build = {"encoder": cvpr.build_encoder, "decoder": cvpr.build_decoder}[part]
        network = build(replace(self.config, quantised=quantised))
        set_weights(network, self.weights)
        return np.asarray(network(value))

    def bottleneck(self, quantised: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Of the encoder: masked values, symbols, what the decoder is given, counts, [h, w, C]."""
        from export.networks import cvpr

        raw = self.keras("encoder", quantised, self.picture.astype(np.float32))
        masked, importance = cvpr.importance_mask(raw, self.config)
        values, symbols = cvpr.quantise(masked, self.weights["enc_centres/centres"])
        mask = np.asarray(cvpr.channel_mask(importance, self.config.bottleneck))
        found = (masked, symbols, values, np.sum(mask > 0, -1, keepdims=True))
        return tuple(np.asarray(array)[0] for array in found)  # type: ignore[return-value]


@pytest.fixture(scope="module", params=["full", "pruned"])
def case(
    request: pytest.FixtureRequest, pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> Case:
    from export.folding import fold_source

    folder = tmp_path_factory.mktemp(request.param)
    network = {"full": FULL, "pruned": PRUNED}[request.param]
    source = write_run(network, folder / "run")
    done = subprocess.run(
        [sys.executable, "-c", EXPORT, str(source), str(pictures), str(folder)],
        cwd=ROOT,
        env=environment(KERAS_BACKEND="tensorflow"),
        timeout=HANG_SECONDS,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with np.load(folder / "weights.npz") as data:
        weights = dict(data)
    picture = np.asarray(Image.open(pictures / "p07.png"))[None, :168, :152]
    return Case(folder, fold_source(str(source), None)[0].network, weights, picture)


def planes(array: np.ndarray) -> np.ndarray:
    """[h, w, c] -> [1, c, h, w]."""
    return array.transpose(2, 0, 1)[None]


def test_float_graphs_before_rounding(case: Case) -> None:
    masked, *_ = case.bottleneck(quantised=False)
    compared = Counter(
        n.input[0] for n in case.graph("encoder", "fp32").graph.node if n.op_type == "Greater"
    )
    name, count = compared.most_common(1)[0]
    assert count == case.config.centres - 1
    (found,) = case.run("encoder", "fp32", case.picture, name)
    np.testing.assert_allclose(found, planes(masked), rtol=0, atol=1e-4 * np.abs(masked).max())

    symbols = case.run("encoder", "fp32", case.picture)[0]
    centres = case.weights["enc_centres/centres"]
    restored = case.keras("decoder", False, centres[symbols].transpose(0, 2, 3, 1))
    (rounding,) = [n for n in case.graph("decoder", "fp32").graph.node if n.op_type == "Round"]
    (found,) = case.run("decoder", "fp32", symbols, rounding.input[0])
    np.testing.assert_allclose(found, restored, rtol=0, atol=1e-4 * np.abs(restored).max())


def test_float_symbols_and_counts(case: Case) -> None:
    _, wanted, _, counts = case.bottleneck(quantised=False)
    symbols, *rest = case.run("encoder", "fp32", case.picture)
    assert symbols.dtype == np.uint8
    assert np.mean(symbols != planes(wanted)) < 1e-3
    assert len(np.unique(symbols)) == case.config.centres
    assert len(rest) == case.config.importance_map
    for found in rest:
        assert found.dtype == np.uint8
        assert found.shape == (1, *symbols.shape[2:])
        assert np.mean(found != counts[..., 0]) < 1e-3
        assert len(np.unique(found)) > 3


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_symbols_that_are_not_counted_are_zeros(case: Case, precision: str) -> None:
    symbols, *rest = case.run("encoder", precision, case.picture)
    centres = case.weights["enc_centres/centres"]
    zero = np.argmin(np.abs(centres))
    left_out = np.zeros(symbols.shape, bool)
    for counts in rest:
        left_out = np.arange(case.config.bottleneck)[:, None, None] >= counts[:, None]
        assert 0.05 < left_out.mean() < 0.95
    assert np.all(symbols[left_out] == zero)


def test_int8_graphs_equal_the_quantised_network(case: Case) -> None:
    _, wanted, values, counts = case.bottleneck(quantised=True)
    symbols, *rest = case.run("encoder", "int8", case.picture)
    assert np.mean(symbols != planes(wanted)) < 1e-3
    for found in rest:
        assert np.mean(found != counts[..., 0]) < 1e-2  # of few positions
    restored = case.keras("decoder", True, values[None])
    (picture,) = case.run("decoder", "int8", planes(wanted).astype(np.uint8))
    assert picture.dtype == np.uint8
    # The bias of the last layer holds the mean colour, rounded with it.
    difference = np.abs(np.clip(np.round(restored), 0, 255) - picture)
    assert difference.max() <= 1
    assert np.mean(difference) < 0.02


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_rounded_weights_and_ranges_stay(case: Case, part: str) -> None:
    """A network with ranges of its own, as training with quantisation in the loop leaves it."""
    from onnx import numpy_helper

    first, again = (
        {t.name: numpy_helper.to_array(t) for t in case.graph(part, name).graph.initializer}
        for name in ("int8", "again")
    )
    assert first.keys() == again.keys()
    for name, value in first.items():
        if value.dtype == np.float32:
            np.testing.assert_allclose(again[name], value, rtol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(again[name], value, err_msg=name)


def test_int8_graphs_are_near_the_float_ones(case: Case) -> None:
    """Random networks magnify errors as trained ones do not: this finds blunders at the ends."""
    exact = case.run("encoder", "fp32", case.picture)[0]
    assert np.mean(np.abs(case.run("encoder", "int8", case.picture)[0] - exact.astype(int))) < 0.2
    (wanted,) = case.run("decoder", "fp32", exact)
    (found,) = case.run("decoder", "int8", exact)
    assert np.mean(np.abs(wanted.astype(int) - found)) < 0.08 * wanted.std()


def test_edges_are_those_of_the_network(case: Case) -> None:
    """The padding of the first layer, byte by byte: a picture of one position is all edge."""
    corner = replace_picture(case, case.picture[:, :8, :8])
    for quantised, precision in ((False, "fp32"), (True, "int8")):
        _, wanted, _, _ = corner.bottleneck(quantised)
        symbols = corner.run("encoder", precision, corner.picture)[0]
        assert symbols.shape == (1, case.config.bottleneck, 1, 1)
        np.testing.assert_array_equal(symbols, planes(wanted))
        assert corner.run("decoder", precision, symbols)[0].shape == (1, 8, 8, 3)


def replace_picture(case: Case, picture: np.ndarray) -> Case:
    return Case(case.folder, case.config, case.weights, np.ascontiguousarray(picture))


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_operations(case: Case, part: str, tmp_path: Path) -> None:
    """No transposed convolution; in int8, as onnxruntime runs it, no convolution of floats."""
    import onnx
    import onnxruntime

    from export.networks import cvpr

    for precision in ("fp32", "int8"):
        graph = case.graph(part, precision)
        assert graph.ir_version == 8
        assert {o.domain: o.version for o in graph.opset_import}.get("") == 17
        assert not {"ConvTranspose", "Resize"} & {n.op_type for n in graph.graph.node}
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    path = str(case.folder / f"{part}.int8.onnx")
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    kinds = Counter(n.op_type for n in onnx.load(tmp_path / "optimised.onnx").graph.node)
    layers = len(list(cvpr.layers_of(case.config, part)))
    assert kinds["QLinearConv"] == layers - (part == "encoder")
    assert kinds["MatMulInteger"] == (part == "encoder")
    assert not {"Conv", "FusedConv", "MatMul", "Gemm", "Sigmoid", "Exp"} & {*kinds}


def test_quantised_needs_folding() -> None:
    from export.networks import cvpr

    with pytest.raises(cvpr.ConfigError, match="only a folded network can be quantised"):
        cvpr.CvprConfig.from_dict({"quantised": True})


@pytest.fixture(scope="module")
def model(command: Command, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model folder of the full network."""
    folder = tmp_path_factory.mktemp("model")
    source, out = write_run(FULL, folder / "run"), folder / "M"
    done = command("export.to_onnx", source, "--out", out, "--data", pictures, "--calibrate", 4)
    assert done.returncode == 0, done.stderr
    return out


def test_manifest(model: Path) -> None:
    import onnx

    record = json.loads((model / "model.json").read_text())
    wanted = {"network": "cvpr", "stride": 8, "channels": 6, "levels": 6, "importance_map": True}
    # Centres from -2 to 1.7: the fourth is 0.22, the third -0.52.
    wanted |= {"zero": 3, "quality": "A", "gains": 1}
    assert {key: record[key] for key in wanted} == wanted
    for part in ("encoder", "decoder"):
        assert record["multiply_adds_per_pixel"][part] > 0
        graph = onnx.load(model / f"{part}.fp32.onnx").graph
        # weights lie in half precision behind a Cast, small biases as they are
        widened = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "Cast"}
        used = {name for n in graph.node if n.op_type == "Conv" for name in n.input[1:]}
        used = {widened.get(name, name) for name in used}
        sizes = [np.prod(t.dims) for t in graph.initializer if t.name in used]
        assert sum(sizes) == record["parameters"][part]


def test_the_halo_holds_what_the_networks_see(model: Path) -> None:
    assert in_parts_as_whole(model, "int8") == (True, True)


def test_the_halo_of_the_papers_network() -> None:
    from export.networks import cvpr

    # Five groups of three blocks and one more, two 3x3 convolutions each on the grid of four
    # pixels: 128 pixels. The others see 14 more, both ways.
    config = cvpr.CvprConfig()
    assert [cvpr.halo(config, part) for part in ("encoder", "decoder")] == [18, 18]


@pytest.mark.parametrize(
    ("precision", "backend"), [("int8", "onnx"), ("fp32", "onnx"), ("fp32", "tensorflow")]
)
def test_through_the_command_line(
    command: Command, model: Path, pictures: Path, tmp_path: Path, precision: str, backend: str
) -> None:
    """Compressed and decompressed, pictures are what encoder and decoder make of them."""
    import onnxruntime

    source = tmp_path / "in"
    source.mkdir()
    names = ["p01.png", "p08.png"]
    for name in names:  # sides that are no multiples of 8
        Image.open(pictures / name).crop((0, 0, 101, 66)).save(source / name)
    chosen = ("--model", model, "--precision", precision, "--backend", backend)
    done = command("edgecomp", "compress", source, "-o", tmp_path / "a.ecz", *chosen,
                   "--coder", "lzma", "--quiet")  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = command("edgecomp", "decompress", tmp_path / "a.ecz", "-o", tmp_path / "out", *chosen)
    assert done.returncode == 0, done.stderr
    parts = [
        onnxruntime.InferenceSession(str(model / f"{part}.{precision}.onnx"))
        for part in ("encoder", "decoder")
    ]
    for name in names:
        rgb = np.asarray(Image.open(source / name))
        padded = np.pad(rgb, ((0, 6), (0, 3), (0, 0)), mode="edge")[None]
        symbols = parts[0].run(["symbols"], {"picture": padded})[0]
        wanted = parts[1].run(None, {"symbols": symbols})[0][0, :66, :101].astype(int)
        found = np.asarray(Image.open(tmp_path / "out" / name))
        assert wanted.std() > 10
        if backend == "onnx":
            np.testing.assert_array_equal(found, wanted)
        else:  # sums in another order: a symbol may differ here and there
            assert np.mean(np.abs(found - wanted) > 1) < 0.05
