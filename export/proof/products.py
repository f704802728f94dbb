"""Integer products of an int8 graph: their weights, zero points and biases.

An integer product is a ConvInteger, MatMulInteger, QLinearConv or QLinearMatMul; or a Conv or
MatMul between DequantizeLinear and QuantizeLinear, where onnxruntime will fuse it to one of them.
It fuses on conditions, and silently computes in floats where one is not met, so they are checked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from export.proof.intervals import attribute

INTEGER = ("ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul")
FUSED = ("Conv", "MatMul")
SCALE_TOLERANCE = 1e-6  # relative, of a bias's scale; float32 rounds by 6e-8

Array = NDArray[np.generic]


class UnprovedError(ValueError):
    """A node that cannot be part of a proof; says why."""


@dataclass(frozen=True)
class Operands:
    """An integer product's inputs.

    Attributes:
        weights: int64 [output channels, terms of a sum].
        activations: name of the uint8 tensor that meets them.
        zero: zero point of the activations.
        bias: int64 [output channels] or [1].
    """

    weights: NDArray[np.int64]
    activations: str
    zero: int
    bias: NDArray[np.int64]


class Graph:
    """Look-ups in a graph: who makes and who uses a tensor, its type, its value if constant."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = onnx.shape_inference.infer_shapes(model).graph
        self.nodes = list(graph.node)
        self.inputs = [value.name for value in graph.input]
        self.outputs = {value.name for value in graph.output}
        self.makers = {name: node for node in graph.node for name in node.output}
        self.users: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in filter(None, node.input):
                self.users.setdefault(name, []).append(node)
        infos = [*graph.input, *graph.value_info, *graph.output]
        self.types = {info.name: info.type.tensor_type for info in infos}
        tensors = {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                tensors[node.output[0]] = node.attribute[0].t
        self.constants: dict[str, Array] = {
            name: numpy_helper.to_array(tensor)
            for name, tensor in tensors.items()  # an initialiser that is an input is a default only
            if name not in self.inputs and tensor.data_location != TensorProto.EXTERNAL
        }

    def element_type(self, name: str) -> int:
        """ONNX element type of a tensor; 0 if it cannot be inferred."""
        if name in self.constants:
            return int(onnx.helper.np_dtype_to_tensor_dtype(self.constants[name].dtype))
        return int(self.types[name].elem_type) if name in self.types else 0

    def has_input(self, node: onnx.NodeProto, index: int) -> bool:
        """Whether an optional input is there."""
        return index < len(node.input) and bool(node.input[index])

    def array(self, node: onnx.NodeProto, index: int) -> Array:
        """Value of a constant input."""
        name = node.input[index] if index < len(node.input) else ""
        if name not in self.constants:
            raise UnprovedError(f"input {index} ({name or 'absent'}) is not a constant")
        return self.constants[name]

    def scalar(self, node: onnx.NodeProto, index: int) -> float:
        """Value of a constant input with one element: an activation's scale or zero point."""
        array = self.array(node, index)
        if array.size != 1:
            raise UnprovedError(f"input {index} ({node.input[index]}) has more than one value")
        return float(array.item())

    def zero_point(self, node: onnx.NodeProto, index: int) -> int:
        """An activation's zero point; 0 where it is absent."""
        return int(self.scalar(node, index)) if self.has_input(node, index) else 0


def operands(graph: Graph, node: onnx.NodeProto) -> Operands:
    """The operands of an integer product.

    Raises:
        UnprovedError: they are not int8 weights and uint8 activations, or the node will not run
            in integers.
    """
    if node.op_type in FUSED:
        return _fused(graph, node)
    if node.op_type.startswith("QLinear"):  # x, scale, zero, w, scale, zero, ..., bias
        x_zero, w, w_zero, bias = 2, 3, 5, 8
    else:
        x_zero, w, w_zero, bias = 2, 1, 3, 4  # there is no bias
    _require_zero(graph, node, w_zero, "weights")
    return Operands(
        _weights(node, graph.array(node, w)),
        _activations(graph, node.input[0]),
        graph.zero_point(node, x_zero),
        _bias(graph.array(node, bias)) if graph.has_input(node, bias) else np.zeros(1, np.int64),
    )


def _fused(graph: Graph, node: onnx.NodeProto) -> Operands:
    x, w = _dequantised(graph, node, 0), _dequantised(graph, node, 1)
    _require_zero(graph, w, 2, "weights")
    w_scale = np.ravel(graph.array(w, 1)).astype(np.float64)
    if w_scale.size > 1 and attribute(w, "axis", 1) != _output_axis(node):
        raise UnprovedError("a float sum: its weights' scales are not along the output channels")
    bias = np.zeros(1, np.int64)
    if graph.has_input(node, 2):
        b = _dequantised(graph, node, 2)
        _require_zero(graph, b, 2, "bias")
        scale = np.ravel(graph.array(b, 1)).astype(np.float64)
        if not np.allclose(scale, graph.scalar(x, 1) * w_scale, rtol=SCALE_TOLERANCE, atol=0):
            raise UnprovedError("a float sum: the bias's scale is not x scale * w scale")
        bias = _bias(graph.array(b, 0))
    _require_quantised(graph, node)
    return Operands(
        _weights(node, graph.array(w, 0)),
        _activations(graph, x.input[0]),
        graph.zero_point(x, 2),
        bias,
    )


def _dequantised(graph: Graph, node: onnx.NodeProto, index: int) -> onnx.NodeProto:
    maker: onnx.NodeProto | None = graph.makers.get(node.input[index])
    if maker is None or maker.op_type != "DequantizeLinear":
        raise UnprovedError(f"a float sum: input {index} is not dequantised from integers")
    return maker


def _require_zero(graph: Graph, node: onnx.NodeProto, index: int, what: str) -> None:
    if graph.has_input(node, index) and np.any(graph.array(node, index)):
        raise UnprovedError(f"the zero point of its {what} is not 0")


def _require_quantised(graph: Graph, node: onnx.NodeProto) -> None:
    """Refuse a product that is not fused with a QuantizeLinear, through one Relu or Clip."""
    activation, current = None, node
    while current.op_type != "QuantizeLinear":
        name = current.output[0]
        users = graph.users.get(name, [])
        following = users[0] if len(users) == 1 and name not in graph.outputs else None
        allowed = ("QuantizeLinear",) if activation else ("QuantizeLinear", "Relu", "Clip")
        if following is None or following.op_type not in allowed:
            raise UnprovedError("a float sum: no QuantizeLinear alone follows to fuse it with")
        if following.op_type != "QuantizeLinear":
            activation = following
        current = following
    if not graph.has_input(current, 2) or graph.array(current, 2).dtype != np.uint8:
        raise UnprovedError("its output is not uint8 with a zero point")
    scale, zero = graph.scalar(current, 1), graph.zero_point(current, 2)
    if activation is not None:
        _require_implied(graph, activation, -zero * scale, (255 - zero) * scale)


def _require_implied(graph: Graph, node: onnx.NodeProto, low: float, high: float) -> None:
    """Refuse a Relu or Clip that does more than the bytes' own range: it would stay in floats."""
    least, most = 0.0, np.inf
    if node.op_type == "Clip":
        least = graph.scalar(node, 1) if graph.has_input(node, 1) else -np.inf
        most = graph.scalar(node, 2) if graph.has_input(node, 2) else np.inf
    if low < least or high > most:
        raise UnprovedError(
            f"a float sum: bytes from {low:.6g} to {high:.6g} do not imply the {node.op_type}"
            " behind it, so it is not fused"
        )


def _output_axis(node: onnx.NodeProto) -> int:
    """Axis of the output channels in a product's weights."""
    return 0 if "Conv" in node.op_type else 1


def _weights(node: onnx.NodeProto, weights: Array) -> NDArray[np.int64]:
    if weights.dtype != np.int8:
        raise UnprovedError(f"weights are {weights.dtype}, not int8")
    axis = _output_axis(node)
    if axis and weights.ndim != 2:
        raise UnprovedError("weights are not one matrix")
    moved = np.moveaxis(weights.astype(np.int64), axis, 0)
    return moved.reshape(len(moved), -1)


def _activations(graph: Graph, name: str) -> str:
    kind = graph.element_type(name)
    if kind != TensorProto.UINT8:
        raise UnprovedError(f"activations are {TensorProto.DataType.Name(kind).lower()}, not uint8")
    return name


def _bias(array: Array) -> NDArray[np.int64]:
    if array.dtype != np.int32:
        raise UnprovedError(f"its bias is {array.dtype}, not int32")
    return np.ravel(array).astype(np.int64)
