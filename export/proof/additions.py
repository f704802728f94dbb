"""Additions of two quantised tensors: which ones give the same bytes on every processor.

onnxruntime fuses DequantizeLinear, Add and QuantizeLinear to QLinearAdd, and its kernels differ:
with x and y the two ratios of input scale to output scale, SSE computes
c + a*x + b*y in float32, AVX2 the same with fused multiply-adds, both rounding halves to even;
ARM multiplies by 22-bit fixed-point ratios and rounds halves away from zero (onnxruntime's
mlas/lib/qladd.cpp and intrinsics/avx2/qladd_avx2.cpp). They agree where nothing is rounded before
the end and no sum is a half. The operation Sum is the same addition and is not fused: its
float32 steps are those of IEEE 754.
"""

from __future__ import annotations

import math

import numpy as np
import onnx

from export.proof.products import Graph, UnprovedError

FLOAT_BITS = 24  # of a float32's significand
FIXED_BITS = 21  # behind the leading one of ARM's ratios


def is_quantised(graph: Graph, node: onnx.NodeProto) -> bool:
    """Whether all inputs of a node are dequantised, so that onnxruntime may fuse it."""
    makers = [graph.makers.get(name) for name in node.input]
    return all(maker is not None and maker.op_type == "DequantizeLinear" for maker in makers)


def require_exact(graph: Graph, node: onnx.NodeProto) -> None:
    """Refuse an Add of dequantised tensors that processors would round differently.

    Raises:
        UnprovedError: they would, or nothing but a QuantizeLinear may follow and does not.
    """
    users = graph.users.get(node.output[0], [])
    if len(users) != 1 or users[0].op_type != "QuantizeLinear":
        return  # not fused: a plain float addition
    scales, zeros = [], []
    for end in (*(graph.makers[name] for name in node.input), users[0]):
        scales.append(np.float32(graph.scalar(end, 1)))
        zeros.append(graph.zero_point(end, 2))
    if not are_exact(scales[0], scales[1], scales[2], zeros[0], zeros[1]):
        raise UnprovedError(
            f"scales {scales[0]:.6g} and {scales[1]:.6g} to {scales[2]:.6g} are added with other"
            " roundings on SSE, AVX2 and ARM; use Sum, which is not fused"
        )


def are_exact(
    scale_a: np.float32, scale_b: np.float32, scale_c: np.float32, zero_a: int, zero_b: int
) -> bool:
    """Whether the kernels agree on all bytes, for float32 scales of both inputs and the output."""
    x, y = float(np.float32(scale_a / scale_c)), float(np.float32(scale_b / scale_c))
    if not 2.0**-14 <= min(x, y) <= max(x, y) < 2.0**8:  # outside, ARM has yet another way
        return False
    bits = max(value.as_integer_ratio()[1].bit_length() - 1 for value in (x, y))
    greatest = 255 * (1 + x + y)
    if greatest * 2.0**bits > 2.0**FLOAT_BITS or bits > FIXED_BITS - math.floor(
        math.log2(max(x, y))
    ):
        return False
    if not bits:
        return True
    levels = np.arange(256, dtype=np.int64)
    a, b = (levels - zero_a) * int(x * 2**bits), (levels - zero_b) * int(y * 2**bits)
    return not np.any((a[:, None] + b) % 2**bits == 2 ** (bits - 1))


def unfuse(model: onnx.ModelProto) -> int:
    """Turn every Add of two dequantised tensors into a Sum; returns how many there were."""
    graph = Graph(model)
    found = [n for n in model.graph.node if n.op_type == "Add" and is_quantised(graph, n)]
    for node in found:
        node.op_type = "Sum"
    return len(found)
