"""Static quantisation of a float graph's convolutions, and tools to rewrite graphs.

onnxruntime's quantiser writes QDQ form with uint8 activations and 7-bit weights, one scale an
output channel. Full-range weights would saturate the 16-bit sums of u8 x s8 products on AVX2
without VNNI; 7 bits are exact on every processor. The ranges of the activations are given to it:
it would calibrate them tensor by tensor, ours share one scale along a residual stream, whose
additions then are those of small integers, exact in any float.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

LOW, HIGH = -64, 63  # of a 7-bit weight
BIAS_LIMIT = 2**26  # of the whole numbers that biases become


class QuantiseError(RuntimeError):
    """A graph that does not have the form which the int8 path expects."""


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """One blank input, for the quantiser asks for data even where every range is given."""

    def __init__(self, value: onnx.ValueInfoProto) -> None:
        sides = [d.dim_value or 64 for d in value.type.tensor_type.shape.dim]
        self._items = iter([{value.name: np.zeros(sides, np.uint8)}])

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


def activations(model: onnx.ModelProto, left: list[str]) -> list[str]:
    """Names of the activations that become bytes, in the order of computation: what leaves a
    convolution (behind its ReLU, where it has one) or joins two. Nodes ``left`` stay float."""
    graph = Graph(model)
    names = []
    for node in model.graph.node:
        if node.op_type not in ("Conv", "Add") or node.name in left:
            continue
        if node.op_type == "Add" and any(name in graph.constants for name in node.input):
            continue  # arithmetic on pixels or symbols, no stream
        users = graph.users[node.output[0]]
        relu = [user for user in users if user.op_type == "Relu"]
        names.append(str(relu[0].output[0] if relu else node.output[0]))
    return names


def quantise(
    model: onnx.ModelProto,
    left: list[str],
    fixed: dict[str, tuple[float, int]],
    names: list[str],
    ranges: list[tuple[float, int]],
) -> onnx.ModelProto:
    """The QDQ graph of a float one whose weights are rounded (`ranges.rounded`).

    Nodes ``left`` stay float. Ranges are (scale, zero): ``fixed`` of inputs by name, ``ranges``
    of the activations ``names``.
    """
    if len(names) != len(ranges):
        raise QuantiseError(f"{len(names)} activations in the graph, {len(ranges)} ranges given")
    known = fixed | dict(zip(names, ranges, strict=True))
    overrides = {
        name: [{"scale": np.array(scale, np.float32), "zero_point": np.array(zero, np.uint8)}]
        for name, (scale, zero) in known.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
        onnx.save(model, source)
        quantize_static(
            source,
            target,
            _Reader(model.graph.input[0]),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Add", "Relu"],
            nodes_to_exclude=left,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={"TensorQuantOverrides": overrides},
        )
        return onnx.load(target)


def after(model: onnx.ModelProto, first: onnx.NodeProto) -> list[str]:
    """Names of ``first`` and of every node that depends on it."""
    reached, names = set(first.output), [first.name]
    for node in model.graph.node:  # in topological order
        if reached.intersection(node.input):
            reached.update(node.output)
            names.append(node.name)
    return names


def split_weights(
    weights: np.ndarray, bias: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """float [k, n] -> int8 high and low halves of 14-bit weights, and float32 quanta [n]:
    weights are about (128 high + low) * quantum, both halves within 7 bits. Next to a ``bias`` [n]
    that dwarfs its weights (they may all be zero) they get fewer bits: it has to fit 32 as well."""
    peak = np.maximum(np.abs(weights).max(0), 1e-12)
    quantum = (peak / (128 * HIGH + HIGH)).astype(np.float32)
    quantum = np.maximum(quantum, np.abs(bias) / BIAS_LIMIT).astype(np.float32)
    whole = np.round(weights / quantum.astype(np.float64)).astype(np.int64)
    high = (whole - LOW) // 128
    low = whole - 128 * high
    if not (LOW <= high.min() and high.max() <= HIGH and LOW <= low.min() and low.max() <= HIGH):
        raise QuantiseError("a 14-bit weight left its range")
    return high.astype(np.int8), low.astype(np.int8), quantum


def replace_input(graph: Graph, centre: onnx.NodeProto, name: str) -> None:
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


def rebuild(model: onnx.ModelProto, new: list[onnx.NodeProto]) -> None:
    """Put the new nodes in, drop what no output needs, restore topological order."""
    makers = {o: n for n in [*model.graph.node, *new] for o in n.output}
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
