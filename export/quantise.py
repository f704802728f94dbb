"""Int8 form of a float graph: static quantisation of the trunk, integers for the rest.

onnxruntime's static quantiser writes the trunk as QDQ with uint8 activations and 7-bit weights,
one scale an output channel. Full-range weights would saturate the 16-bit sums of u8 x s8
products on AVX2 without VNNI; 7 bits are exact on every processor.

What leaves the trunk and the linear path beside it are not rounded to uint8: their sums become
integer matrix products (`exact_ends`), the linear path's weights in 14 bits as two 7-bit
halves. Float sums differ in their order between processors, integer ones cannot; the float
operations that remain are elementwise, which IEEE 754 fixes to the bit.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

ZERO = 128
LOW, HIGH = -64, 63  # of a 7-bit weight


class QuantiseError(RuntimeError):
    """A graph that does not have the form which the int8 path expects."""


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, name: str, arrays: Iterable[np.ndarray]) -> None:
        self._items = iter([{name: a} for a in arrays])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._items, None)


class Graph:
    """Look-ups in an ONNX graph that is being rewritten."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model, self.graph = model, model.graph
        self.makers = {o: n for n in self.graph.node for o in n.output}
        self.users: dict[str, list[onnx.NodeProto]] = {}
        for node in self.graph.node:
            for name in node.input:
                self.users.setdefault(name, []).append(node)
        self.constants = {t.name: t for t in self.graph.initializer}

    def array(self, name: str) -> np.ndarray:
        """Value of an initialiser."""
        if name not in self.constants:
            raise QuantiseError(f"{name} is not a constant")
        return np.array(numpy_helper.to_array(self.constants[name]))


def centred_input(model: onnx.ModelProto) -> tuple[onnx.NodeProto, onnx.NodeProto]:
    """The Cast and Sub nodes that turn input bytes into byte - 128."""
    graph = Graph(model)
    for node in model.graph.node:
        if node.op_type == "Sub" and graph.makers[node.input[0]].op_type == "Cast":
            return graph.makers[node.input[0]], node
    raise QuantiseError("no centred byte input in the graph")


def ends(model: onnx.ModelProto) -> tuple[onnx.NodeProto, onnx.NodeProto, onnx.NodeProto]:
    """The linear path's Conv, the trunk's last Conv, and the Add that joins them."""
    graph = Graph(model)
    for node in reversed(model.graph.node):
        if node.op_type != "Add":
            continue
        makers = [graph.makers.get(name) for name in node.input]
        if all(m is not None and m.op_type == "Conv" for m in makers):
            linear, tail = makers
            if "linear" in tail.input[1]:  # type: ignore[union-attr]
                linear, tail = tail, linear
            return linear, tail, node  # type: ignore[return-value]
    raise QuantiseError("no linear path beside the trunk in the graph")


def quantise(
    model: onnx.ModelProto, part: str, samples: list[np.ndarray], method: str = "MinMax"
) -> onnx.ModelProto:
    """The int8 graph of a float one; ``samples`` are inputs to calibrate the trunk's ranges on."""
    linear, tail, _ = ends(model)
    _, centre = centred_input(model)
    # byte - 128 is an integer already: scale 1 keeps it exact.
    exact = {"scale": np.array(1.0, np.float32), "zero_point": np.array(ZERO, np.uint8)}
    users = Graph(model).users[centre.output[0]]
    same = [centre.output[0], *(n.output[0] for n in users if n.op_type == "Transpose")]
    options: dict[str, Any] = {"TensorQuantOverrides": {name: [dict(exact)] for name in same}}
    if method == "Percentile":
        options["CalibPercentile"] = 99.999
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
        onnx.save(model, source)
        quantize_static(
            source,
            target,
            _Reader(model.graph.input[0].name, samples),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Add", "Relu"],
            nodes_to_exclude=[linear.name, *_after(model, tail)],
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=getattr(CalibrationMethod, method),
            extra_options=options,
        )
        out = onnx.load(target)
    return exact_ends(out, part)


def _after(model: onnx.ModelProto, first: onnx.NodeProto) -> list[str]:
    """Names of ``first`` and of every node that depends on it."""
    reached, names = set(first.output), [first.name]
    for node in model.graph.node:  # in topological order
        if reached.intersection(node.input):
            reached.update(node.output)
            names.append(node.name)
    return names


def split_weights(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """float [k, n] -> int8 high and low halves of 14-bit weights, and float32 quanta [n]:
    weights are about (128 high + low) * quantum, both halves within 7 bits."""
    peak = np.maximum(np.abs(weights).max(0), 1e-12)
    quantum = (peak / (128 * HIGH + HIGH)).astype(np.float32)
    whole = np.round(weights / quantum.astype(np.float64)).astype(np.int64)
    high = (whole - LOW) // 128
    low = whole - 128 * high
    if not (LOW <= high.min() and high.max() <= HIGH and LOW <= low.min() and low.max() <= HIGH):
        raise QuantiseError("a 14-bit weight left its range")
    return high.astype(np.int8), low.astype(np.int8), quantum


def exact_ends(model: onnx.ModelProto, part: str) -> onnx.ModelProto:
    """Replace the float convolutions at the ends of a quantised graph by integer products.

    The bytes that enter the linear path and the bytes that leave the trunk, side by side, meet one
    14-bit weight matrix: sum = 128 (x . high) + x . low + bias in int32, then one float product
    and one rounding to uint8. Zero points are part of the integer bias.
    """
    graph = Graph(model)
    linear, tail, _ = ends(model)
    cast, centre = centred_input(model)
    source = cast.input[0]
    trunk = graph.makers[tail.input[0]]
    if trunk.op_type != "DequantizeLinear":
        raise QuantiseError("the trunk's last convolution has no quantised input")
    w_linear, w_tail = graph.array(linear.input[1]), graph.array(tail.input[1])
    if w_linear.shape[2:] != (1, 1) or w_tail.shape[2:] != (1, 1):
        raise QuantiseError("the linear path and the trunk's last convolution must be 1x1")
    scale = float(graph.array(trunk.input[1]))
    zeros = [ZERO] * w_linear.shape[1] + [int(graph.array(trunk.input[2]))] * w_tail.shape[1]
    matrix = np.concatenate([w_linear[..., 0, 0].T, w_tail[..., 0, 0].T.astype(np.float64) * scale])
    high, low, quantum = split_weights(matrix)
    bias = graph.array(linear.input[2]).astype(np.float64) + graph.array(tail.input[2])
    whole = 128 * high.astype(np.int64) + low
    offset = np.round(bias / quantum).astype(np.int64) - np.array(zeros) @ whole
    bound = np.abs(offset) + 255 * np.abs(whole).sum(0)
    if bound.max() >= 2**31:
        raise QuantiseError("the sums of the linear path do not fit 32 bits")

    constants = {
        "exact/high": high,
        "exact/low": low,
        "exact/shift": np.array(128, np.int32),
        "exact/bias": offset.astype(np.int32),
        "exact/quantum": quantum,
        "exact/one": np.array(1.0, np.float32),
        "exact/zero": np.array(ZERO if part == "encoder" else 0, np.uint8),
        "exact/centre": np.array(ZERO, np.uint8),
        "exact/lowest": np.array(1, np.uint8),
        "exact/highest": np.array(255, np.uint8),
    }
    model.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in constants.items())

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> onnx.NodeProto:
        return helper.make_node(kind, inputs, [output], f"{output}/{kind}", **attributes)

    # Encoder: the bytes are channels last already; decoder: the symbols are channels first.
    if part == "encoder":
        last, moved = source, "exact/planes"
        first = [node("Transpose", [source], moved, perm=[0, 3, 1, 2])]
    else:
        last, moved = "exact/last", source
        first = [node("Transpose", [source], last, perm=[0, 2, 3, 1])]
    first.append(node("DequantizeLinear", [moved, "exact/one", "exact/centre"], "exact/input"))
    result = _byte_output(graph, tail)
    rounded = "exact/rounded" if part == "encoder" else result
    final = [
        node("Transpose", [trunk.input[0]], "exact/trunk", perm=[0, 2, 3, 1]),
        node("Concat", [last, "exact/trunk"], "exact/x", axis=3),
        node("MatMulInteger", ["exact/x", "exact/high"], "exact/highs"),
        node("MatMulInteger", ["exact/x", "exact/low"], "exact/lows"),
        node("Mul", ["exact/highs", "exact/shift"], "exact/shifted"),
        node("Add", ["exact/shifted", "exact/lows"], "exact/sum"),
        node("Add", ["exact/sum", "exact/bias"], "exact/biased"),
        node("Cast", ["exact/biased"], "exact/float", to=TensorProto.FLOAT),
        node("Mul", ["exact/float", "exact/quantum"], "exact/values"),
        # round half to even and clamp to a byte, in one pass
        node("QuantizeLinear", ["exact/values", "exact/one", "exact/zero"], rounded),
    ]
    if part == "encoder":  # latents are at least -127: symbol 0 stays free
        final.append(node("Clip", [rounded, "exact/lowest", "exact/highest"], result))

    _replace_input(graph, centre, "exact/input")
    _rebuild(model, first, final, result)
    return model


def _byte_output(graph: Graph, tail: onnx.NodeProto) -> str:
    """Name of the bytes that the chain behind the trunk is cast to."""
    node = tail
    while node.op_type != "Cast":
        following = graph.users.get(node.output[0], [])
        if len(following) != 1:
            raise QuantiseError("the chain behind the trunk is not a chain")
        node = following[0]
    return str(node.output[0])


def _replace_input(graph: Graph, centre: onnx.NodeProto, name: str) -> None:
    """Feed what the quantised centred input fed (its DequantizeLinear's users) from ``name``."""
    pending = list(graph.users[centre.output[0]])
    while pending:
        node = pending.pop()
        if node.op_type in ("Transpose", "QuantizeLinear"):
            pending += graph.users.get(node.output[0], [])
        elif node.op_type == "DequantizeLinear":
            for user in graph.users.get(node.output[0], []):
                for i, value in enumerate(user.input):
                    if value == node.output[0]:
                        user.input[i] = name


def _rebuild(
    model: onnx.ModelProto, first: list[onnx.NodeProto], final: list[onnx.NodeProto], result: str
) -> None:
    """Put the new nodes in, drop what nothing needs, restore topological order."""
    old = [n for n in model.graph.node if result not in n.output]
    makers = {o: n for n in [*old, *first, *final] for o in n.output}
    order: list[onnx.NodeProto] = []
    done: set[str] = set()

    def visit(name: str) -> None:
        node = makers.get(name)
        if node is None or node.output[0] in done:
            return
        done.update(node.output)
        for value in node.input:
            visit(value)
        order.append(node)

    for output in model.graph.output:
        visit(output.name)
    used = {value for node in order for value in node.input}
    constants = [t for t in model.graph.initializer if t.name in used]
    del model.graph.node[:], model.graph.initializer[:], model.graph.value_info[:]
    model.graph.node.extend(order)
    model.graph.initializer.extend(constants)
    onnx.checker.check_model(model)
