"""Int8 graphs of an `edge` network: the trunk by onnxruntime's quantiser, the ends in integers.

What leaves the trunk, and the gated linear path beside it, are not rounded to bytes: their sums
become integer matrix products with 14-bit weights in two 7-bit halves (quantise.split_weights).
Float sums differ in their order between processors, integer ones cannot; the float operations
that remain are elementwise, which IEEE 754 fixes to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export import quantise
from export.graphs import Weights
from export.networks import edge
from export.quantise import Graph, QuantiseError

ZERO = 128
Ranges = list[tuple[float, int]]


def quantised(
    model: onnx.ModelProto, part: str, config: edge.EdgeConfig, weights: Weights, ranges: Ranges
) -> onnx.ModelProto:
    """The int8 graph of a float one made of ``weights`` (edge_export.byte_weights).

    ``ranges``: (scale, zero) of the trunk's activations in the order of computation.
    """
    tail, centre = _node(model, "_tail"), quantise.centred_input(model)[1]
    linear = _node(model, "_linear")
    # byte - 128 is an integer already: scale 1 keeps it exact.
    users = Graph(model).users[centre.output[0]]
    same = [centre.output[0], *(n.output[0] for n in users if n.op_type == "Transpose")]
    left = [linear.name, *quantise.after(model, tail)]
    if part == "decoder":  # the linear path starts at the gates, behind the tail
        left = quantise.after(model, tail)
    out = quantise.quantise(
        model,
        left,
        dict.fromkeys(same, (1.0, ZERO)),
        quantise.activations(model, left),
        ranges,
    )
    ends = _encoder_ends if part == "encoder" else _decoder_ends
    return _replace_ends(out, part, ends, config, weights)


def _node(model: onnx.ModelProto, layer: str) -> onnx.NodeProto:
    """The convolution of the one layer whose name ends so."""
    found = [n for n in model.graph.node if n.op_type == "Conv" and f"{layer}_" in n.input[1]]
    if len(found) != 1:
        raise QuantiseError(f"{len(found)} convolutions of a layer {layer} in the graph")
    return found[0]


@dataclass(frozen=True)
class _Bytes:
    """A tensor of bytes: value = (byte - zero) * scale."""

    name: str
    scale: float
    zero: int


class _Nodes:
    """New nodes and constants of a graph, named after what they are."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """One node; returns the name of its output."""
        name = f"{output}/{kind}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name, **attributes))
        return output

    def constant(self, name: str, value: Any, dtype: Any) -> str:
        """One initialiser; returns its name."""
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def product(
        self, x: str, matrix: np.ndarray, bias: np.ndarray, zeros: np.ndarray, name: str
    ) -> str:
        """float32 (x - zeros) . matrix + bias, for bytes x [1, h, w, k]: 128 (x . high) + x . low +
        whole bias in int32, then one float product. Zeros are part of the integer bias."""
        high, low, quantum = quantise.split_weights(matrix, bias)
        whole = 128 * high.astype(np.int64) + low
        offset = np.round(bias / quantum.astype(np.float64)).astype(np.int64) - zeros @ whole
        if (np.abs(offset) + 255 * np.abs(whole).sum(0)).max() >= 2**31:
            raise QuantiseError(f"the sums of {name} do not fit 32 bits")
        weights = self.constant(f"{name}/high", high, np.int8)
        highs = self.add("MatMulInteger", [x, weights], f"{name}/highs")
        weights = self.constant(f"{name}/low", low, np.int8)
        lows = self.add("MatMulInteger", [x, weights], f"{name}/lows")
        shift = self.constant(f"{name}/shift", 128, np.int32)
        total = self.add("Mul", [highs, shift], f"{name}/shifted")
        total = self.add("Add", [total, lows], f"{name}/sum")
        offsets = self.constant(f"{name}/bias", offset, np.int32)
        total = self.add("Add", [total, offsets], f"{name}/biased")
        total = self.add("Cast", [total], f"{name}/float", to=TensorProto.FLOAT)
        scale = self.constant(f"{name}/quantum", quantum, np.float32)
        return self.add("Mul", [total, scale], f"{name}/values")

    def bytes_of(self, x: str, scale: float, zero: int, output: str) -> str:
        """uint8: x / scale rounded half to even, plus zero, clamped."""
        return self.add("QuantizeLinear", [x, *self._range(scale, zero, output)], output)

    def values_of(self, x: str, scale: float, zero: int, output: str) -> str:
        """float32: (x - zero) * scale."""
        return self.add("DequantizeLinear", [x, *self._range(scale, zero, output)], output)

    def _range(self, scale: float, zero: int, name: str) -> list[str]:
        return [
            self.constant(f"{name}/scale", scale, np.float32),
            self.constant(f"{name}/zero", zero, np.uint8),
        ]

    def limited(self, x: str, low: Any, high: Any, dtype: Any, output: str) -> str:
        """x clamped to [low, high]."""
        ends = [
            self.constant(f"{output}/lowest", low, dtype),
            self.constant(f"{output}/highest", high, dtype),
        ]
        return self.add("Clip", [x, *ends], output)


def _encoder_ends(
    new: _Nodes, pixels: str, trunk: _Bytes, config: edge.EdgeConfig, w: Weights
) -> str:
    """Bytes of the symbols from bytes of the patches and of the trunk's last activation."""
    c, tail, bias = config.latents, w["enc_tail/kernel"][0, 0] * trunk.scale, w["enc_tail/bias"]
    linear = w["enc_linear/kernel"][0, 0]
    zeros = np.full(len(linear), ZERO)
    latents = new.product(pixels, linear, w["enc_linear/bias"], zeros, "exact/linear")
    zeros = np.full(len(tail), trunk.zero)
    gates = new.product(trunk.name, tail[:, c:], bias[c:] + 1, zeros, "exact/gate")
    factors = new.limited(gates, *edge.GATE, np.float32, "exact/factors")
    latents = new.add("Mul", [latents, factors], "exact/gated")
    added = new.product(trunk.name, tail[:, :c], bias[:c], zeros, "exact/residual")
    latents = new.add("Add", [latents, added], "exact/latents")
    symbols = new.bytes_of(latents, 1.0, ZERO, "exact/symbols")
    return new.limited(symbols, ZERO - config.clamp, ZERO + config.clamp, np.uint8, "exact/clamped")


def _decoder_ends(
    new: _Nodes, symbols: str, trunk: _Bytes, config: edge.EdgeConfig, w: Weights
) -> str:
    """Bytes of the patches from bytes of the symbols and of the trunk's last activation.

    The gated latents are whole sixteenths, in two bytes: steps of COARSE, and of FINE between.
    """
    d, tail, bias = config.values, w["dec_tail/kernel"][0, 0] * trunk.scale, w["dec_tail/bias"]
    zeros = np.full(len(tail), trunk.zero)
    gates = new.product(trunk.name, tail[:, d:], bias[d:] + 1, zeros, "exact/gate")
    factors = new.limited(gates, *edge.GATE, np.float32, "exact/factors")
    latents = new.values_of(symbols, 1.0, ZERO, "exact/latents")
    gated = new.add("Mul", [latents, factors], "exact/gated")
    coarse = new.bytes_of(gated, edge.COARSE, ZERO, "exact/coarse")
    rest = new.add(
        "Sub", [gated, new.values_of(coarse, edge.COARSE, ZERO, "exact/whole")], "exact/rest"
    )
    fine = new.bytes_of(rest, edge.FINE, ZERO, "exact/fine")
    joined = new.add("Concat", [coarse, fine, trunk.name], "exact/joined", axis=3)
    linear = w["dec_linear/kernel"][0, 0]
    matrix = np.concatenate([linear * edge.COARSE, linear * edge.FINE, tail[:, :d]])
    zeros = np.concatenate([np.full(2 * len(linear), ZERO), zeros])
    values = new.product(
        joined, matrix, w["dec_linear/bias"] + bias[:d] + ZERO, zeros, "exact/patches"
    )
    return new.bytes_of(values, 1.0, 0, "exact/bytes")


def _replace_ends(
    model: onnx.ModelProto, part: str, ends: Any, config: edge.EdgeConfig, weights: Weights
) -> onnx.ModelProto:
    """Put integer products in the place of everything behind the trunk of a quantised graph."""
    graph, new = Graph(model), _Nodes()
    cast, centre = quantise.centred_input(model)
    source, trunk = cast.input[0], graph.makers[_node(model, "_tail").input[0]]
    if trunk.op_type != "DequantizeLinear":
        raise QuantiseError("the trunk's last convolution has no quantised input")
    # Encoder: the bytes that enter are channels last already; decoder: symbols are channels first.
    if part == "encoder":
        last, first = source, new.add("Transpose", [source], "exact/planes", perm=[0, 3, 1, 2])
    else:
        last, first = new.add("Transpose", [source], "exact/last", perm=[0, 2, 3, 1]), source
    quantise.replace_input(graph, centre, new.values_of(first, 1.0, ZERO, "exact/input"))
    trunk_bytes = _Bytes(
        new.add("Transpose", [trunk.input[0]], "exact/trunk", perm=[0, 2, 3, 1]),
        float(graph.array(trunk.input[1])),
        int(graph.array(trunk.input[2])),
    )
    result = ends(new, last, trunk_bytes, config, weights)
    casts = [n for n in model.graph.node if n.op_type == "Cast"]
    (final,) = (n for n in casts if n.attribute[0].i == TensorProto.UINT8)
    for user in graph.users[final.output[0]]:
        for i, name in enumerate(user.input):
            if name == final.output[0]:
                user.input[i] = result
    model.graph.initializer.extend(new.constants)
    quantise.rebuild(model, new.nodes)
    return model
