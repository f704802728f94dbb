"""export.overflow: what ships is proved, every broken condition is named, onnxruntime agrees."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import HANG_SECONDS

from .conftest import ROOT

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from small_graphs import behind_sums, conv, make, optimised, run, sums  # noqa: E402

from export import overflow  # noqa: E402
from export.proof import intervals  # noqa: E402

SHIPPED = sorted((ROOT / "edgecomp" / "models").glob("*/*.int8.onnx"))
FROZEN = sorted((ROOT / "tests" / "data" / "models").glob("*/*.int8.onnx"))
SATURATING = ROOT / "tests" / "data" / "models" / "saturating.onnx"
INTEGER_KINDS = ("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger")
FLOAT_KINDS = ("Conv", "FusedConv", "MatMul", "FusedMatMul", "Gemm", "MatMulIntegerToFloat")


def reason(model: Any) -> str:
    """Why a graph is not proved."""
    with pytest.raises(overflow.OverflowProofError) as caught:
        overflow.prove(model)
    return str(caught.value)


@pytest.mark.parametrize("path", SHIPPED + FROZEN, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_shipped_and_frozen_graphs_are_proved(path: Path, tmp_path: Path) -> None:
    model = onnx.load(path)
    proof = overflow.prove(model, path.name)
    assert 0 < proof.worst_pair <= 2**15 - 1
    assert 16 < proof.bits <= 32
    kinds = optimised(model, tmp_path)
    assert not any(kinds[kind] for kind in FLOAT_KINDS), "onnxruntime fuses what was proved"
    assert sum(kinds[kind] for kind in INTEGER_KINDS) == len(proof.products)


def test_there_are_graphs_to_prove() -> None:
    assert len(SHIPPED) >= 6
    assert len(FROZEN) >= 6


def test_the_saturating_graph_is_not_proved() -> None:
    assert "reach 65280, more than 32767" in reason(onnx.load(SATURATING))


def test_the_quantised_conv_that_the_broken_ones_are_made_of(tmp_path: Path) -> None:
    assert len(overflow.prove(conv()).products) == 1
    assert optimised(conv(), tmp_path)["QLinearConv"] == 1


RELU = helper.make_node("Relu", ["a"], ["r"])
CLIP = helper.make_node("Clip", ["a", "zero", "six"], ["r"])
HALVE = helper.make_node("Mul", ["a", "half"], ["r"])
UNFUSED = {
    "relu": (conv((RELU,), y_zero=np.uint8(7)), "do not imply the Relu"),
    "clip": (conv((CLIP,)), "bytes from 0 to 12.75 do not imply the Clip"),
    "mul": (conv((HALVE,)), "no QuantizeLinear alone follows"),
    "two users": (conv((RELU,), end="a"), "no QuantizeLinear alone follows"),
    "bias": (conv(b_scale=np.full(4, 0.5, np.float32)), "bias's scale is not x scale * w scale"),
}


@pytest.mark.parametrize(("model", "message"), UNFUSED.values(), ids=UNFUSED)
def test_convolutions_that_onnxruntime_leaves_in_floats(
    model: Any, message: str, tmp_path: Path
) -> None:
    found = reason(model)
    assert found.startswith("int8: conv (Conv): a float sum: ")
    assert message in found
    if model is UNFUSED["two users"][0]:  # its Relu leads nowhere and is dropped
        return
    kinds = optimised(model, tmp_path)
    assert kinds["Conv"] + kinds["FusedConv"] == 1
    assert kinds["QLinearConv"] == 0


@pytest.mark.parametrize(
    "model",
    [conv((RELU,)), conv((CLIP,), y_scale=np.float32(0.02)), conv(y_zero=np.uint8(99))],
    ids=["relu", "clip", "zero point"],
)
def test_convolutions_that_onnxruntime_fuses(model: Any, tmp_path: Path) -> None:
    overflow.prove(model)
    assert optimised(model, tmp_path)["QLinearConv"] == 1


BROKEN = {
    "full range": (conv(w=np.full((4, 3, 3, 3), 100, np.int8)), "reach 51000, more than 32767"),
    "uint8 weights": (
        conv(w=np.ones((4, 3, 3, 3), np.uint8), w_zero=np.zeros(4, np.uint8)),
        "weights are uint8, not int8",
    ),
    "weights' zero point": (conv(w_zero=np.ones(4, np.int8)), "zero point of its weights is not 0"),
    "int8 output": (conv(y_zero=np.int8(0)), "its output is not uint8"),
    "float input": (
        make(
            [
                helper.make_node("Cast", ["x"], ["xf"], to=TensorProto.FLOAT),
                helper.make_node("Conv", ["xf", "w"], ["a"], name="conv"),
                helper.make_node("QuantizeLinear", ["a", "scale", "zero"], ["y"]),
            ],
            {"w": np.ones((4, 3, 1, 1), np.float32), "scale": np.float32(1), "zero": np.uint8(0)},
        ),
        "conv (Conv): a float sum: input 0 is not dequantised",
    ),
}


KERNEL = np.ones((3, 2, 2, 2), np.float32)
NO_PRODUCTS = "the graph: no integer products: not an int8 graph"
OTHERS = {
    "transposed": (
        behind_sums(
            helper.make_node("ConvTranspose", ["f", "w"], ["y"], name="up"),
            kind=TensorProto.FLOAT,
            w=KERNEL,
        ),
        "up (ConvTranspose): its sums differ between versions",
    ),
    "linear resize": (
        behind_sums(
            helper.make_node("Resize", ["f", "", "s"], ["y"], name="big", mode="linear"),
            kind=TensorProto.FLOAT,
            s=np.array([1, 1, 2, 2], np.float32),
        ),
        "big (Resize): only nearest-neighbour",
    ),
    "mean": (
        behind_sums(
            helper.make_node("GlobalAveragePool", ["f"], ["y"], name="mean"), kind=TensorProto.FLOAT
        ),
        "mean (GlobalAveragePool): a float sum",
    ),
    "float reduction": (
        behind_sums(
            helper.make_node("Mul", ["f", "half"], ["h"]),
            helper.make_node("ReduceSum", ["h", "axis"], ["y"], name="total"),
            kind=TensorProto.FLOAT,
            half=np.float32(0.3),
            axis=np.array([1]),
        ),
        "total (ReduceSum): a float sum",
    ),
    "unbounded count": (
        behind_sums(
            helper.make_node("ReduceSum", ["f", "axis"], ["y"], name="total"),
            kind=TensorProto.FLOAT,
            axis=np.array([2]),
        ),
        "total (ReduceSum): a float sum",
    ),
    "sigmoid": (
        behind_sums(helper.make_node("Sigmoid", ["f"], ["y"], name="s"), kind=TensorProto.FLOAT),
        "s (Sigmoid): not known to be exact on every processor",
    ),
    "other domain": (
        behind_sums(
            helper.make_node("Gelu", ["f"], ["y"], name="g", domain="com.microsoft"),
            kind=TensorProto.FLOAT,
        ),
        "g (Gelu): an operation of the domain com.microsoft",
    ),
    "division": (
        behind_sums(
            helper.make_node("Div", ["one", "f"], ["y"], name="d"),
            kind=TensorProto.FLOAT,
            one=np.float32(1),
        ),
        "d (Div): may divide by zero",
    ),
    "cast": (
        behind_sums(
            helper.make_node("Mul", ["f", "two"], ["h"]),
            helper.make_node("Cast", ["h"], ["y"], name="c", to=TensorProto.UINT8),
            two=np.float32(2),
        ),
        "c (Cast): values from 0 to 510 do not fit uint8",
    ),
    "no product": (
        behind_sums(helper.make_node("Relu", ["f"], ["y"]), kind=TensorProto.FLOAT),
        NO_PRODUCTS,
    ),
}


@pytest.mark.parametrize(
    ("model", "message"), [*BROKEN.values(), *OTHERS.values()], ids=[*BROKEN, *OTHERS]
)
def test_every_broken_condition_is_named(model: Any, message: str) -> None:
    assert message in reason(model)


def test_small_whole_sums_are_exact_in_floats() -> None:
    total = helper.make_node("ReduceSum", ["f", "axis"], ["y"], name="total")
    model = behind_sums(total, kind=TensorProto.FLOAT, axis=np.array([1]))
    assert [str(f) for f in overflow.examine(model).findings] == [NO_PRODUCTS]


def test_data_outside_the_file() -> None:
    model = conv()
    tensor = next(t for t in model.graph.initializer if t.name == "w")
    onnx.external_data_helper.set_external_data(tensor, "elsewhere.bin")
    tensor.ClearField("raw_data")
    found = reason(model)
    assert "the graph: data outside the file" in found
    assert "conv (Conv): input 0 (w) is not a constant" in found


@pytest.mark.parametrize(
    ("proved", "broken"),
    [
        ((64, 64), (65, 64)),
        ((-64, -64), (-64, -65)),
        ((1, 127), (2, 127)),
        ((0, -128), (-1, -128)),
        ((127, -128), (-1, -128)),  # products of opposite signs never add up
    ],
)
def test_pairs_at_the_limit(proved: tuple[int, int], broken: tuple[int, int]) -> None:
    weights = np.zeros((2, 3, 3, 3), np.int8)
    apart = 1, (0, 2), (0, 2), (1, 0)  # not neighbours: any two weights may meet
    weights[apart] = proved
    assert overflow.prove(sums(weights)).worst_pair == 255 * 128
    weights[apart] = broken
    found = reason(sums(weights))
    assert "product (ConvInteger): two products of output channel 1 reach 32895" in found


def test_worst_pairs_against_all_pairs() -> None:
    rng = np.random.default_rng(2)
    for _ in range(200):
        row = rng.integers(-50, 50, (1, rng.integers(1, 5), 1, 1)).astype(np.int8)
        terms = [int(v) for v in row.ravel()] + [0, 0]
        ends = [
            abs(a * v + b * w)
            for v, w in itertools.combinations(terms, 2)
            for a, b in itertools.product((0, 255), repeat=2)
        ]
        weights = np.pad(row, ((0, 0), (0, 4 - row.shape[1]), (0, 0), (0, 0)))[:, :4]
        model = sums(weights)
        model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 4
        assert overflow.prove(model).worst_pair == max(ends)


def test_seven_bit_activations_allow_full_range_weights() -> None:
    weights = np.full((4, 3, 3, 3), -128, np.int8)
    assert "reach 65280" in reason(sums(weights, zero=0))
    model = sums(weights, zero=0)
    model.graph.node.insert(0, helper.make_node("Clip", ["x", "none", "most"], ["x7"]))
    model.graph.node[1].input[0] = "x7"
    for name, value in (("none", 0), ("most", 127)):
        model.graph.initializer.append(numpy_helper.from_array(np.array(value, np.uint8), name))
    assert overflow.prove(model).worst_pair == 127 * 256


def matrix(terms: int) -> Any:
    """MatMulInteger of [1, 3, H, ``terms``] with a column of 63."""
    node = helper.make_node("MatMulInteger", ["x", "w"], ["y"], name="product")
    model = make([node], {"w": np.full((terms, 1), 63, np.int8)}, TensorProto.INT32)
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_value = terms
    return model


def test_wide_accumulators() -> None:
    most = (2**31 - 1) // (255 * 63)
    assert overflow.prove(matrix(most)).bits == 32
    found = reason(matrix(most + 1))
    assert f"product (MatMulInteger): sums of output channel 0 reach {255 * 63 * (most + 1)}" in (
        found
    )
    assert "32-bit accumulators overflow" in found


def test_biases_count_in_accumulators() -> None:
    room = 2**31 - 1 - overflow.examine(conv(b=np.zeros(4, np.int32))).products[0].accumulator
    overflow.prove(conv(b=np.full(4, room, np.int32)))
    assert "(Conv): sums of output channel" in reason(conv(b=np.full(4, -room - 1, np.int32)))


def joined(weights: np.ndarray, shift: int, bias: np.ndarray) -> Any:
    """ConvInteger, times ``shift``, plus itself, plus ``bias``, all in int32."""
    return sums(
        weights,
        helper.make_node("Mul", ["s", "shift"], ["m"], name="shifted"),
        helper.make_node("Add", ["m", "s"], ["t"], name="joined"),
        helper.make_node("Add", ["t", "bias"], ["y"], name="biased"),
        shift=np.array(shift, np.int32),
        bias=bias.astype(np.int32).reshape(1, -1, 1, 1),
    )


def test_integer_arithmetic_behind_a_product_reaches_its_bound() -> None:
    weights = np.random.default_rng(3).integers(-64, 64, (5, 3, 1, 1)).astype(np.int8)
    bias = np.array([100, -2000, 30, 70000, -5])
    model = joined(weights, 128, bias)
    proof = overflow.prove(model)
    flat = weights.reshape(5, 3).astype(np.int64)
    x = np.array(list(itertools.product((0, 255), repeat=3)), np.uint8)  # every corner
    products = (x.astype(np.int64) - 128) @ flat.T
    found = run(model, np.ascontiguousarray(x.T.reshape(1, 3, 1, -1)))
    assert np.array_equal(found[0, :, 0].T, 129 * products + bias)
    steps = (128 * products, 129 * products, 129 * products + bias)
    assert proof.peak == max(np.abs(step).max() for step in steps)


def test_integer_arithmetic_that_leaves_32_bits() -> None:
    weights = np.full((1, 3, 1, 1), 63, np.int8)  # sums from -24192 to 24003
    none = np.zeros(1)
    assert overflow.prove(joined(weights, 88767, none)).bits == 32
    assert "joined (Add): values from -2147499648" in reason(joined(weights, 88768, none))
    assert "shifted (Mul): values from -2147499648" in reason(joined(weights, 88769, none))
    assert "biased (Add): values from" in reason(joined(weights, 88767, np.array([-(2**30)])))


def test_worst_inputs_of_a_proved_convolution_equal_numpy() -> None:
    rng = np.random.default_rng(4)
    weights = rng.choice(np.array([-64, -63, 62, 63, 64], np.int8), (16, 3, 5, 5))
    model = sums(weights, zero=0)
    proof = overflow.prove(model)
    assert proof.worst_pair == 32640
    flat = weights.reshape(16, -1).astype(np.int64)
    # All 255; then, for each output channel, 255 where its weights are of one sign and 0 elsewhere.
    inputs = [np.full(75, 255), *(255 * (flat > 0)), *(255 * (flat < 0))]
    for x in np.array(inputs, np.uint8):
        found = run(model, x.reshape(1, 3, 5, 5))
        assert np.array_equal(found[0, :, 0, 0], flat @ x.astype(np.int64))


def test_worst_inputs_of_a_fused_convolution_equal_numpy() -> None:
    model = conv(w=np.full((4, 3, 3, 3), -64, np.int8), y_scale=np.float32(1.5))
    overflow.prove(model)
    positive = conv(w=np.full((4, 3, 3, 3), 64, np.int8), y_scale=np.float32(1.5))
    overflow.prove(positive)
    x = np.full((1, 3, 6, 7), 255, np.uint8)
    bias = (np.arange(-2, 2) * 400)[:, None, None]
    taps = np.full((6, 7), 3)  # of each place, those within the picture, in three channels
    taps *= np.array([2, 3, 3, 3, 3, 2])[:, None] * np.array([2, 3, 3, 3, 3, 3, 2])
    for graph, weight in ((model, -64), (positive, 64)):
        whole = (weight * (255 - 3) * taps + bias).astype(np.float32)
        factor = np.float32(0.01) * np.float32(0.02) / np.float32(1.5)
        expected = np.clip(np.rint(whole * factor), 0, 255).astype(np.uint8)
        assert np.array_equal(run(graph, x)[0], expected)
    assert expected.max() > 50, "the figures are not all clamped"


def test_intervals_hold_what_onnxruntime_computes() -> None:
    """Elementwise operations on random bytes stay within the interval of each."""
    rng = np.random.default_rng(6)
    x = rng.integers(0, 256, (1, 3, 20, 20)).astype(np.uint8)
    operations = {
        "Add": ["f", "c"],
        "Sub": ["c", "f"],
        "Mul": ["f", "c"],
        "Div": ["f", "c"],
        "Min": ["f", "c"],
        "Max": ["f", "c"],
        "Clip": ["f", "low", "high"],
        "Neg": ["f"],
        "Abs": ["n"],
        "Relu": ["n"],
        "Round": ["n"],
        "Floor": ["n"],
        "Ceil": ["n"],
        "Sign": ["n"],
    }
    constants = {"c": np.float32(7.3), "low": np.float32(9), "high": np.float32(99.5)}
    shifted = helper.make_node("Sub", ["f", "shift"], ["n"])
    for kind, inputs in operations.items():
        model = behind_sums(
            shifted,
            helper.make_node(kind, inputs, ["y"]),
            kind=TensorProto.FLOAT,
            shift=np.float32(100.7),
            **constants,
        )
        known = {k: intervals.constant(np.asarray(v)) for k, v in constants.items()}
        known |= {"f": intervals.between(0, 255, True), "n": intervals.between(-100.7, 154.3)}
        bounds = intervals.RULES[kind](model.graph.node[-1], [known[name] for name in inputs])
        found = run(model, x)
        assert bounds.low - 1e-4 <= found.min(), kind
        assert found.max() <= bounds.high + 1e-4, kind
        assert found.max() - found.min() > 0.9 * (bounds.high - bounds.low), f"{kind}: too wide"


def command(*paths: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "export.overflow", *map(str, paths)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_SECONDS,
    )


def test_command_prints_a_line_a_graph() -> None:
    folder = FROZEN[0].parent
    done = command(folder)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        str(folder / f"{part}.int8.onnx") for part in ("decoder", "encoder")
    ]
    assert all("integer products, worst pair sum" in line for line in lines)


def test_command_names_graphs_and_nodes_that_fail(tmp_path: Path) -> None:
    bad, text, empty = tmp_path / "bad.onnx", tmp_path / "text.onnx", tmp_path / "empty"
    onnx.save(conv((CLIP,)), bad)
    text.write_text("this is no graph")
    empty.mkdir()
    done = command(FROZEN[0], bad, text, empty, tmp_path / "none.onnx")
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 1
    lines = done.stderr.splitlines()
    assert lines[0].startswith(f"export.overflow: {bad}: conv (Conv): a float sum: ")
    assert lines[1].startswith(f"export.overflow: {text}: not an ONNX graph")
    assert lines[2] == f"export.overflow: {empty}: no int8 graph in this folder (*.int8.onnx)"
    assert lines[3] == f"export.overflow: {tmp_path / 'none.onnx'}: No such file or directory"
    assert len(lines) == 4
