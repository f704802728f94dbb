"""Interval arithmetic on ONNX graphs: what values can a tensor take, whatever the input?

An interval holds the least and the greatest value of a tensor, as one number each or as arrays
that broadcast against the tensor (one number a channel). `RULES` has one function for every
operation whose result does not depend on the processor: integer and elementwise IEEE 754
operations, and those that only move values about. Sums of floats have no rule: their order, and
so their rounding, differs between processors; only a sum of small whole numbers is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgecomp.constants import MAX_SIDE

EXACT = 2.0**24  # float32 holds every whole number up to here
ROUNDING = 2.0**-23  # relative, at least what one float32 operation rounds by
LONGEST = float(MAX_SIDE)  # of a dimension: no picture has a longer side


class UnknownValueError(ValueError):
    """A node whose result cannot be bounded, or differs between processors; says why."""


@dataclass(frozen=True)
class Interval:
    """Bounds of a tensor's values.

    Attributes:
        low, high: float64 scalars or arrays that broadcast against the tensor; may be infinite.
        whole: all values are whole numbers.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    whole: bool = False

    def hull(self) -> Interval:
        """The same for all elements: what is left once they have moved."""
        return Interval(np.asarray(self.low.min()), np.asarray(self.high.max()), self.whole)

    def rounded(self) -> Interval:
        """With room for the rounding of one float32 operation, unless its result is exact."""
        if self.whole and self.peak <= EXACT:
            return self
        low = self.low - np.abs(self.low) * ROUNDING
        return Interval(low, self.high + np.abs(self.high) * ROUNDING, self.whole)

    @property
    def peak(self) -> float:
        """The greatest absolute value."""
        return float(max(abs(self.low.min()), abs(self.high.max())))


Rule = Callable[[onnx.NodeProto, Sequence[Interval]], Interval]


def between(low: float, high: float, whole: bool = False) -> Interval:
    """The interval [low, high] of all elements."""
    return Interval(np.array(low, np.float64), np.array(high, np.float64), whole)


ANYTHING = between(-np.inf, np.inf)


def constant(array: NDArray[np.generic]) -> Interval:
    """The interval of a tensor with known values."""
    if not array.size:  # an optional input left empty
        return between(0, 0, whole=True)
    values = np.asarray(array, np.float64)
    return Interval(values, values, bool(np.all(values == np.rint(values))))


def of_type(kind: int) -> Interval:
    """All values of an ONNX element type."""
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind))
    if dtype == np.bool_:
        return between(0, 1, whole=True)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return between(limits.min, limits.max, whole=True)
    return ANYTHING


def attribute(node: onnx.NodeProto, name: str, default: object = None) -> object:
    """Value of a node's attribute."""
    for item in node.attribute:
        if item.name == name:
            return helper.get_attribute_value(item)
    return default


def _add(_: onnx.NodeProto, x: Sequence[Interval]) -> Interval:
    a, b = x
    return Interval(a.low + b.low, a.high + b.high, a.whole and b.whole)


def _sum(node: onnx.NodeProto, x: Sequence[Interval]) -> Interval:
    if len(x) != 2:
        raise UnknownValueError("a float sum of other than two tensors")
    return _add(node, x)


def _negate(_: onnx.NodeProto, x: Sequence[Interval]) -> Interval:
    return Interval(-x[0].high, -x[0].low, x[0].whole)


def _subtract(node: onnx.NodeProto, x: Sequence[Interval]) -> Interval:
    return _add(node, (x[0], _negate(node, x[1:])))


def _corners(
    operation: np.ufunc, a: Interval, b: Interval
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    with np.errstate(invalid="ignore"):
        corners = [operation(p, q) for p in (a.low, a.high) for q in (b.low, b.high)]
    corners = [np.where(np.isnan(c), 0.0, c) for c in corners]  # 0 * infinity: the bound is 0
    least, most = corners[0], corners[0]
    for corner in corners[1:]:
        least, most = np.minimum(least, corner), np.maximum(most, corner)
    return least, most


def _multiply(_: onnx.NodeProto, x: Sequence[Interval]) -> Interval:
    low, high = _corners(np.multiply, x[0], x[1])
    return Interval(low, high, x[0].whole and x[1].whole)


def _divide(_: onnx.NodeProto, x: Sequence[Interval]) -> Interval:
    if np.any((x[1].low <= 0) & (x[1].high >= 0)):
        raise UnknownValueError("may divide by zero")
    low, high = _corners(np.divide, x[0], x[1])
    return Interval(low, high)  # of integers: truncated where the type is known


def _monotonic(operation: np.ufunc, whole: bool = False) -> Rule:
    def rule(_: onnx.NodeProto, x: Sequence[Interval]) -> Interval:
        return Interval(operation(x[0].low), operation(x[0].high), whole or x[0].whole)

    return rule


def _absolute(_: onnx.NodeProto, x: Sequence[Interval]) -> Interval:
    low = np.maximum(np.maximum(x[0].low, -x[0].high), 0.0)
    return Interval(low, np.maximum(np.abs(x[0].low), np.abs(x[0].high)), x[0].whole)


def _relu(_: onnx.NodeProto, x: Sequence[Interval]) -> Interval:
    return Interval(np.maximum(x[0].low, 0.0), np.maximum(x[0].high, 0.0), x[0].whole)


def _extreme(operation: np.ufunc) -> Rule:
    def rule(_: onnx.NodeProto, x: Sequence[Interval]) -> Interval:
        low, high = x[0].low, x[0].high
        for item in x[1:]:
            low, high = operation(low, item.low), operation(high, item.high)
        return Interval(low, high, all(item.whole for item in x))

    return rule


def _clip(node: onnx.NodeProto, x: Sequence[Interval]) -> Interval:
    """Inputs 1 and 2 may be absent (an empty name): then an infinite interval stands there."""
    low, high, whole = x[0].low, x[0].high, x[0].whole
    if len(x) > 1 and node.input[1]:
        low, high = np.maximum(low, x[1].low), np.maximum(high, x[1].high)
        whole = whole and x[1].whole
    if len(x) > 2 and node.input[2]:
        low, high = np.minimum(low, x[2].low), np.minimum(high, x[2].high)
        whole = whole and x[2].whole
    return Interval(low, high, whole)


def _comparison(_: onnx.NodeProto, __: Sequence[Interval]) -> Interval:
    return between(0, 1, whole=True)


def _union(x: Sequence[Interval]) -> Interval:
    hulls = [item.hull() for item in x]
    low, high = min(h.low for h in hulls), max(h.high for h in hulls)
    return Interval(low, high, all(h.whole for h in hulls))


def _moved(_: onnx.NodeProto, x: Sequence[Interval]) -> Interval:
    return x[0].hull()


def _joined(_: onnx.NodeProto, x: Sequence[Interval]) -> Interval:
    return _union(x)


def _chosen(_: onnx.NodeProto, x: Sequence[Interval]) -> Interval:
    return _union(x[1:])


def _padded(_: onnx.NodeProto, x: Sequence[Interval]) -> Interval:
    return _union((x[0], x[2] if len(x) > 2 else between(0, 0, whole=True)))


def _nearest(node: onnx.NodeProto, x: Sequence[Interval]) -> Interval:
    if attribute(node, "mode", b"nearest") != b"nearest":
        raise UnknownValueError("only nearest-neighbour resizing has no float sums")
    return x[0].hull()


def _shape(_: onnx.NodeProto, __: Sequence[Interval]) -> Interval:
    return between(0, LONGEST, whole=True)


def _dequantised(_: onnx.NodeProto, x: Sequence[Interval]) -> Interval:
    zero = x[2].hull() if len(x) > 2 else between(0, 0, whole=True)
    value, scale = x[0].hull(), x[1].hull()
    low, high = _corners(np.multiply, Interval(value.low - zero.high, value.high - zero.low), scale)
    return Interval(low, high, value.whole and scale.whole)


RULES: dict[str, Rule] = {
    "Add": _add,
    "Sum": _sum,
    "Sub": _subtract,
    "Mul": _multiply,
    "Div": _divide,
    "Neg": _negate,
    "Abs": _absolute,
    "Relu": _relu,
    "Clip": _clip,
    "Min": _extreme(np.minimum),
    "Max": _extreme(np.maximum),
    "Round": _monotonic(np.rint, whole=True),
    "Floor": _monotonic(np.floor, whole=True),
    "Ceil": _monotonic(np.ceil, whole=True),
    "Sign": _monotonic(np.sign, whole=True),
    "Shape": _shape,
    "Size": _shape,
    "Concat": _joined,
    "Where": _chosen,
    "Pad": _padded,
    "Resize": _nearest,
    "DequantizeLinear": _dequantised,
    **dict.fromkeys(("Cast", "MaxPool", "ReduceMax", "ReduceMin"), _moved),
    **dict.fromkeys(("Identity", "Transpose", "Reshape", "Flatten", "Squeeze"), _moved),
    **dict.fromkeys(("Unsqueeze", "Slice", "Split", "Gather", "Expand", "Tile"), _moved),
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), _moved),
    **dict.fromkeys(("Less", "LessOrEqual", "Greater", "GreaterOrEqual"), _comparison),
    **dict.fromkeys(("Equal", "Not", "And", "Or", "Xor"), _comparison),
}

ROUNDS = (
    "Add",
    "Sum",
    "Sub",
    "Mul",
    "Div",
    "Cast",
    "DequantizeLinear",
)  # in floats, but not in integers
INTEGERS = {
    TensorProto.INT8,
    TensorProto.UINT8,
    TensorProto.INT16,
    TensorProto.UINT16,
    TensorProto.INT32,
    TensorProto.UINT32,
    TensorProto.INT64,
    TensorProto.UINT64,
}
