"""A second output of an encoder's graph: what rounding took from the latents.

The runtime chooses symbols by it (docs/context-coder.md): int8 [1, channels, rows, columns], 256
times the latent less its symbol's value, rounded half to even and clipped to -128..127.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

NAME = "fractions"
SCALE = 256  # of the fractions; of bits in the threshold too, so that lambda alone relates them
ROUNDINGS = ("Round", "QuantizeLinear")
THRESHOLD_LIMIT = 2**31 - 1


class FractionsError(ValueError):
    """A graph in which the latents cannot be found, or a lambda that gives no threshold."""


def threshold(rate: float) -> int:
    """The manifest's threshold, 256ths of a bit a squared error of one, for a lambda above 0:
    squared error that a bit saved is worth.

    Raises:
        FractionsError: it is outside of 1 to 2^31 - 1.
    """
    found = round(SCALE / rate) if rate >= SCALE / THRESHOLD_LIMIT / 2 else THRESHOLD_LIMIT + 1
    if not 1 <= found <= THRESHOLD_LIMIT:
        raise FractionsError(f"--choose: {rate} is too {'small' if found else 'large'}")
    return found


def add(model: onnx.ModelProto, zero: int) -> None:
    """Give an encoder's graph the output, in place.

    Args:
        model: with an output ``symbols``, uint8: whole numbers that the graph's last Round or
            QuantizeLinear made of the latents, plus ``zero``, perhaps clipped and transposed.
        zero: the symbol of the latent 0.

    Raises:
        FractionsError: the graph is of another form.
    """
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    symbols = next((o for o in graph.output if o.name == "symbols"), None)
    if symbols is None:
        raise FractionsError("the graph has no output symbols")
    if NAME in makers:
        raise FractionsError(f"the graph has {NAME} already")
    moved, rounded = _path(makers, symbols.name)
    new = _Nodes(graph)
    # Exact but for the rounding: a latent and its symbol's value are at most a factor of two apart,
    # or the value is 0, or the result is clipped away.
    value = new.add("Cast", [moved.input[0] if moved else symbols.name], to=TensorProto.FLOAT)
    value = new.add("Sub", [value, new.constant("zero", zero)])
    rest = new.add("Sub", [rounded.input[0], value])
    rest = new.add("Mul", [rest, new.constant("scale", SCALE)])
    rest = new.add("Round", [rest])
    rest = new.add("Clip", [rest, new.constant("lowest", -128), new.constant("highest", 127)])
    rest = new.add("Cast", [rest], None if moved else NAME, to=TensorProto.INT8)
    if moved:
        (order,) = moved.attribute
        new.add("Transpose", [rest], NAME, perm=order.ints)
    output = graph.output.add()
    output.CopyFrom(symbols)
    output.name = NAME
    output.type.tensor_type.elem_type = TensorProto.INT8
    graph.name = f"{graph.name} and {NAME}"
    onnx.checker.check_model(model, full_check=True)


class _Nodes:
    """New nodes and constants of a graph, at its end."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph

    def add(self, kind: str, inputs: list[str], output: str | None = None, **more: Any) -> str:
        """One node; returns the name of its output."""
        output = output or f"{NAME}/{len(self._graph.node)}"
        name = f"{output}/{kind}"
        self._graph.node.append(helper.make_node(kind, inputs, [output], name, **more))
        return output

    def constant(self, name: str, value: float) -> str:
        """One float32 number; returns its name."""
        tensor = numpy_helper.from_array(np.array(value, np.float32), f"{NAME}/{name}")
        self._graph.initializer.append(tensor)
        return str(tensor.name)


def _path(
    makers: dict[str, onnx.NodeProto], name: str
) -> tuple[onnx.NodeProto | None, onnx.NodeProto]:
    """The Transpose that makes the symbols, if one does, and the node that rounds the latents."""
    moved = None
    node = makers.get(name)
    if node is not None and node.op_type == "Transpose":
        moved, node = node, makers.get(node.input[0])
    while node is not None and node.op_type in ("Cast", "Add", "Clip"):
        node = makers.get(node.input[0])
    if node is None or node.op_type not in ROUNDINGS:
        raise FractionsError("the symbols do not come from a rounding of the latents")
    return moved, node
