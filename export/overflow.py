"""Proof that an int8 graph gives the same bytes on every processor.

python -m export.overflow MODELDIR_OR_GRAPH [...]

Prints one line a graph; the status is 1 if one is not proved. What is shown of every graph:

- Weights are int8 with zero point 0, activations uint8. On x86 without VNNI, two neighbouring
  products are added in 16 bits, and the sum saturates (vpmaddubsw): so for any two weights of one
  output channel, |greatest activation * (w1 + w2)| <= 32767. Any two, because which ones meet is
  the library's choice.
- 32-bit accumulators cannot overflow, in whatever order they are summed: greatest activation *
  sum |w| + |zero point * sum w| + |bias| < 2**31, likewise the integer arithmetic behind them.
- No sum of floats. A Conv or MatMul between DequantizeLinear and QuantizeLinear is an integer
  product only where onnxruntime will fuse it (`export.products`).
- An Add that onnxruntime fuses between quantised tensors has scales that every processor's kernel
  adds without rounding (`export.additions`).
- Every other operation is integer, or elementwise as IEEE 754 has it, or moves values about
  (`export.intervals`). No ConvTranspose, no operations of other domains, no external data.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import TensorProto

from export.proof import additions, intervals, products
from export.proof.intervals import Interval, UnknownValueError
from export.proof.products import Graph, Operands, UnprovedError

PAIR_LIMIT = 2**15 - 1
ACCUMULATOR_LIMIT = 2**31 - 1
DOMAINS = ("", "ai.onnx")
FLOAT_SUMS = ("Gemm", "Einsum", "AveragePool", "GlobalAveragePool", "ReduceMean", "CumSum")


class OverflowProofError(ValueError):
    """A graph that could not be proved; the message has every finding on a line of its own."""


@dataclass(frozen=True)
class Finding:
    """What stands in the way of a proof."""

    node: str
    message: str

    def __str__(self) -> str:
        return f"{self.node}: {self.message}"


@dataclass(frozen=True)
class Product:
    """Worst figures of one integer product, over its output channels.

    Attributes:
        node: its label.
        pair: greatest absolute sum of two products.
        accumulator: greatest absolute sum of all products and the bias, summed in any order.
    """

    node: str
    pair: int
    accumulator: int


@dataclass(frozen=True)
class Proof:
    """The outcome for one graph; proved if there are no findings.

    Attributes:
        products: figures of every integer product.
        findings: what could not be shown.
        peak: greatest absolute int32 value computed from the products' sums.
    """

    products: tuple[Product, ...]
    findings: tuple[Finding, ...]
    peak: int

    @property
    def worst_pair(self) -> int:
        """Greatest 16-bit sum of two products."""
        return max((p.pair for p in self.products), default=0)

    @property
    def bits(self) -> int:
        """Bits of the widest accumulator or int32 value behind one, the sign included."""
        return max([self.peak, *(p.accumulator for p in self.products)]).bit_length() + 1

    def __str__(self) -> str:
        return (
            f"{len(self.products)} integer products, worst pair sum {self.worst_pair} of"
            f" {PAIR_LIMIT}, worst accumulator {self.bits} of 32 bits"
        )


class _Walk:
    """Goes through a graph in its topological order, with an interval for every tensor."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = Graph(model)
        self.values = {name: self._of_type(name) for name in self.graph.inputs}
        self.values |= {n: intervals.constant(a) for n, a in self.graph.constants.items()}
        self.sums: set[str] = set()  # tensors computed from integer products in int32
        self.products: list[Product] = []
        self.findings: list[Finding] = []
        self.peak = 0

    def run(self) -> Proof:
        """Examine all nodes."""
        for node in self.graph.nodes:
            result = None
            try:
                result = self._examine(node)
            except (UnprovedError, UnknownValueError) as reason:
                self.findings.append(Finding(_label(node), str(reason)))
            for name in node.output:
                self.values[name] = self._of_type(name) if result is None else result
        return Proof(tuple(self.products), tuple(self.findings), self.peak)

    def _examine(self, node: onnx.NodeProto) -> Interval | None:
        """The interval of a node's outputs; None if only their type bounds them."""
        kind = node.op_type
        if node.domain not in DOMAINS:
            raise UnprovedError(f"an operation of the domain {node.domain}, not of ONNX itself")
        if kind in products.INTEGER or kind in products.FUSED:
            return self._product(node, products.operands(self.graph, node))
        if kind == "Constant" and node.output[0] in self.graph.constants:
            return self.values[node.output[0]]
        if kind == "QuantizeLinear":  # saturates: any input gives bytes
            return None
        if kind == "ReduceSum":
            return self._small_sum(node)
        if kind == "Add" and additions.is_quantised(self.graph, node):
            additions.require_exact(self.graph, node)
        if kind == "Mul" and additions.is_quantised(self.graph, node):
            raise UnprovedError("fused to QLinearMul, not known to be exact on every processor")
        if kind == "ConvTranspose":
            raise UnprovedError("its sums differ between versions of onnxruntime")
        if kind in FLOAT_SUMS:
            raise UnprovedError("a float sum: its order differs between processors")
        if kind not in intervals.RULES:
            raise UnprovedError("not known to be exact on every processor")
        inputs = [self.values.get(name, intervals.ANYTHING) for name in node.input]
        return self._within_type(node, intervals.RULES[kind](node, inputs))

    def _of_type(self, name: str) -> Interval:
        kind = self.graph.element_type(name)
        return intervals.of_type(kind) if kind else intervals.ANYTHING

    def _within_type(self, node: onnx.NodeProto, found: Interval) -> Interval:
        """Refuse a result that leaves its integer type; truncate or round as its type does."""
        kind = self.graph.element_type(node.output[0])
        if not kind:
            raise UnprovedError("the type of its output cannot be inferred")
        if kind not in intervals.INTEGERS:
            return found.rounded() if node.op_type in intervals.ROUNDS else found
        if node.op_type in ("Cast", "Div"):
            found = Interval(np.trunc(found.low), np.trunc(found.high), whole=True)
        limits, hull = intervals.of_type(kind), found.hull()
        if hull.low < limits.low or hull.high > limits.high:
            name = TensorProto.DataType.Name(kind).lower()
            raise UnprovedError(f"values from {hull.low:.0f} to {hull.high:.0f} do not fit {name}")
        if kind == TensorProto.INT32 and self.sums.intersection(node.input):
            self.sums.update(node.output)
            self.peak = max(self.peak, int(found.peak))
        return found

    def _small_sum(self, node: onnx.NodeProto) -> Interval:
        """A sum of whole numbers is exact in any order, in float32 too, while it is small."""
        name = node.input[0]
        values = self.values.get(name, intervals.ANYTHING)
        shape = self.graph.types[name].shape.dim if name in self.graph.types else []
        axes = [int(a) % max(len(shape), 1) for a in np.ravel(self.graph.array(node, 1))]
        count = int(np.prod([shape[a].dim_value if a < len(shape) else 0 for a in axes]))
        if not values.whole or not axes or not count or count * values.peak > intervals.EXACT:
            raise UnprovedError("a float sum, or one of more whole numbers than are exact")
        return Interval(values.hull().low * count, values.hull().high * count, whole=True)

    def _product(self, node: onnx.NodeProto, found: Operands) -> Interval | None:
        """Show the two bounds of a product; the interval of its sums, where it gives them."""
        weights, zero = found.weights, found.zero
        activations = self.values[found.activations].hull()
        low, high = int(activations.low), int(activations.high)
        top = max(high, zero)  # padding has the zero point's value
        pairs = top * _greatest_pair(weights)
        fixed = np.abs(zero * weights.sum(1)) + np.abs(found.bias)
        accumulators = top * np.abs(weights).sum(1) + fixed
        product = Product(_label(node), int(pairs.max()), int(accumulators.max()))
        self.products.append(product)
        if product.pair > PAIR_LIMIT:
            raise UnprovedError(
                f"two products of output channel {pairs.argmax()} reach {product.pair}, more than"
                f" {PAIR_LIMIT}: 16-bit sums saturate (weights from {weights.min()} to"
                f" {weights.max()}, activations to {top})"
            )
        if product.accumulator > ACCUMULATOR_LIMIT:
            raise UnprovedError(
                f"sums of output channel {accumulators.argmax()} reach {product.accumulator}, more"
                f" than {ACCUMULATOR_LIMIT}: 32-bit accumulators overflow"
            )
        if not node.op_type.endswith("Integer"):
            return None
        self.sums.update(node.output)
        ends = np.stack((weights * (low - zero), weights * (high - zero)))
        least, most = ends.min(0).clip(max=0).sum(1), ends.max(0).clip(min=0).sum(1)
        spatial = self.graph.array(node, 1).ndim - 2  # axes behind the output channels
        shape = (-1, *(1,) * spatial)
        return Interval(
            least.reshape(shape).astype(np.float64), most.reshape(shape).astype(np.float64), True
        )


def _greatest_pair(weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of each row, the greatest |a * w1 + b * w2| for a and b from 0 to 1."""
    padded = np.pad(weights, ((0, 0), (0, 2)))  # a lone weight meets zeros
    ordered = np.sort(padded, axis=1)
    positive, negative = ordered[:, -2:].clip(min=0), ordered[:, :2].clip(max=0)
    pairs: NDArray[np.int64] = np.maximum(positive.sum(1), -negative.sum(1))
    return pairs


def _label(node: onnx.NodeProto) -> str:
    return f"{node.name or ', '.join(node.output)} ({node.op_type})"


def examine(model: onnx.ModelProto) -> Proof:
    """Try to prove a graph; what stands in the way is in the result's ``findings``."""
    proof = _Walk(model).run()
    general = []
    if any(t.data_location == TensorProto.EXTERNAL for t in model.graph.initializer):
        general.append("data outside the file")
    if model.functions or model.graph.sparse_initializer:
        general.append("functions or sparse tensors, which the proof does not cover")
    if not (proof.products or proof.findings):
        general.append("no integer products: not an int8 graph")
    findings = (*(Finding("the graph", message) for message in general), *proof.findings)
    return Proof(proof.products, findings, proof.peak)


def prove(model: onnx.ModelProto, name: str = "int8") -> Proof:
    """The proof of a graph.

    Raises:
        OverflowProofError: there is none; every finding, behind ``name``.
    """
    proof = examine(model)
    if proof.findings:
        raise OverflowProofError("\n".join(f"{name}: {finding}" for finding in proof.findings))
    return proof


def graph_files(source: Path) -> list[Path]:
    """The int8 graphs of a model folder, or the one file given.

    Raises:
        FileNotFoundError: the folder has none.
    """
    if not source.is_dir():
        return [source]
    found = sorted(source.glob("*.int8.onnx"))
    if not found:
        raise FileNotFoundError("no int8 graph in this folder (*.int8.onnx)")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="export.overflow", description=__doc__.splitlines()[0])
    parser.add_argument("sources", nargs="+", metavar="MODELDIR_OR_GRAPH", type=Path)
    problems: list[str] = []
    for source in parser.parse_args(argv).sources:
        try:
            for file in graph_files(source):
                model = onnx.load(file, load_external_data=False)
                try:
                    print(f"{file}: {prove(model, str(file))}")
                except OverflowProofError as error:
                    problems += str(error).splitlines()
        except OSError as error:
            problems.append(f"{source}: {error.strerror or error}")
        except (DecodeError, onnx.shape_inference.InferenceError) as error:
            problems.append(f"{source}: not an ONNX graph ({error})")
    for problem in problems:
        print(f"export.overflow: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
