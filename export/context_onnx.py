"""Write the float context model of a network as an ONNX graph, for ``edgecomp evaluate``.

python -m export.context_onnx CHECKPOINT.npz [--quality A] --model edgecomp/models/A --out FILE.onnx

The graph gives every symbol its logistic distribution and ideal bits, given those before it in
decoding order (networks/edge.py, `build_context`, `bits`): edgecomp/evaluation/context_model.py
says what it takes and gives. --model is the model that was exported of the checkpoint: the graph
names its int8 encoder, and is for its latents alone. That the two belong together only the caller
can know.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgecomp.errors import EdgecompError
from edgecomp.evaluation import context_model as runtime
from edgecomp.models import Model, load_model
from export import checkpoint, manifest
from export.folding import Weights, fold_source
from export.networks.edge import LOG_SCALE, ConfigError, EdgeConfig

OPSET, IR_VERSION = 17, 8  # as the other graphs: onnxruntime 1.20 reads them
KINDS = {"symbols": TensorProto.UINT8, "border": TensorProto.INT64}


class _Graph:
    """Nodes and constants as they are added, one after another."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: Any, dtype: Any = np.float32) -> str:
        """One initialiser; returns its name."""
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """One node; returns the name of its output."""
        self.nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def layer(self, x: str, kernel: np.ndarray, bias: np.ndarray, name: str) -> str:
        """A convolution without padding by a kernel [rows, columns, in, out]."""
        weights = self.constant(f"{name}/kernel", kernel.transpose(3, 2, 0, 1))
        return self.add("Conv", [x, weights, self.constant(f"{name}/bias", bias)], name)


def first_layer(weights: Weights, reach: int) -> np.ndarray:
    """Kernel [reach + 1, 2 reach + 1, latents, width] of both parts of the causal window. The
    position itself and those to its right in the last row have zeros: not looked at."""
    above, left = weights["ctx_above/kernel"], weights["ctx_left/kernel"]
    kernel = np.zeros((reach + 1, 2 * reach + 1, *above.shape[2:]), np.float32)
    kernel[:reach] = above
    kernel[reach, :reach] = left[0]
    return kernel


def context_graph(config: EdgeConfig, weights: Weights, zero: int) -> onnx.ModelProto:
    """The graph of a folded network's context model, without metadata.

    The tables are folded into the layers: what is left is the first convolution, the hidden ones,
    and one that gives means and log scales.

    Args:
        config: of one quality.
        weights: float32 by path; those of the context model ("ctx_above/kernel").
        zero: the symbol of the latent 0.

    Raises:
        CheckpointError: a weight is missing.
    """
    reach, c = config.context.reach, config.latents
    graph = _Graph()
    try:
        _distributions(graph, config, weights, zero)
    except KeyError as error:
        raise checkpoint.CheckpointError(f"the checkpoint has no weight {error}") from error
    inside = [graph.constant(name, value, np.int64) for name, value in (
        ("first", [reach, reach]), ("end", [np.iinfo(np.int64).max, -reach]), ("axes", [1, 2])
    )]  # fmt: skip
    graph.add("Slice", ["padded", *inside], "values")
    _bits(graph)
    graph.constant("border", runtime.border(reach), np.int64)

    def tensor(name: str, shape: list[int | str]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, KINDS.get(name, TensorProto.FLOAT), shape)

    # An input that is an initialiser as well has it as its default.
    inputs = [tensor("symbols", [c, "rows", "columns"]), tensor("border", [6])]
    outputs = [tensor(n, [c, "out_rows", "out_columns"]) for n in ("bits", "means", "log_scales")]
    made = helper.make_model(
        helper.make_graph(graph.nodes, "symbols to bits", inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="edgecomp.export",
    )
    onnx.checker.check_model(made, full_check=True)
    return made


def _distributions(graph: _Graph, config: EdgeConfig, weights: Weights, zero: int) -> None:
    """From ``symbols`` and ``border`` to ``padded`` values, ``means`` and ``log_scales``."""
    normalise = np.exp(weights["ctx_normalise/table"][0])
    denormalise = np.exp(weights["ctx_denormalise/table"][0])
    graph.add("Cast", ["symbols"], "floats", to=TensorProto.FLOAT)
    graph.add("Sub", ["floats", graph.constant("zero", zero)], "whole")
    graph.add("Pad", ["whole", "border"], "padded")
    batch = graph.constant("batch", [0], np.int64)
    x = graph.add("Unsqueeze", ["padded", batch], "window")
    kernel = first_layer(weights, config.context.reach) * normalise[:, None]
    bias = weights["ctx_left/bias"] + weights["ctx_rate_bias/table"][0]
    x = graph.add("Relu", [graph.layer(x, kernel, bias, "context")], "context_relu")
    for i in range(len(config.context.hidden)):
        name = f"ctx_hidden{i}"
        x = graph.layer(x, weights[f"{name}/kernel"], weights[f"{name}/bias"], f"hidden{i}")
        x = graph.add("Relu", [x], f"hidden{i}_relu")
    kernel = np.concatenate(
        [weights["ctx_mean/kernel"] * denormalise, weights["ctx_scale/kernel"]], axis=-1
    )
    scale_bias = weights["ctx_scale/bias"] + weights["ctx_scale_bias/table"][0]
    bias = np.concatenate([weights["ctx_mean/bias"] * denormalise, scale_bias])
    graph.layer(x, kernel, bias, "last")
    graph.add("Squeeze", ["last", batch], "both")
    graph.nodes.append(helper.make_node("Split", ["both"], ["means", "unlimited"], axis=0))
    low, high = (graph.constant(n, v) for n, v in zip(("low", "high"), LOG_SCALE, strict=True))
    graph.add("Clip", ["unlimited", low, high], "log_scales")


def _bits(graph: _Graph) -> None:
    """From ``values``, ``means``, ``log_scales`` to ``bits``: see `networks.edge.bits`.

    P(k) = sigmoid(b) sigmoid(-a) (1 - exp(a - b)), all three logarithms of numbers that float32
    holds: the sum is off by less than 1e-5 nats a symbol, mostly in the last one.
    """
    half = graph.constant("half", 0.5)
    graph.add("Neg", ["log_scales"], "log_inverse")
    graph.add("Exp", ["log_inverse"], "inverse")
    graph.add("Sub", ["values", "means"], "distance")
    graph.add("Sub", ["distance", half], "lower")
    graph.add("Mul", ["lower", "inverse"], "a")
    graph.add("Softplus", ["a"], "above_a")
    # -b, as (-distance - 1/2) / scale
    graph.add("Neg", ["distance"], "minus_distance")
    graph.add("Sub", ["minus_distance", half], "minus_upper")
    graph.add("Mul", ["minus_upper", "inverse"], "minus_b")
    graph.add("Softplus", ["minus_b"], "below_b")
    graph.add("Neg", ["inverse"], "minus_inverse")
    graph.add("Exp", ["minus_inverse"], "ratio")
    graph.add("Sub", [graph.constant("one", 1.0), "ratio"], "rest")
    graph.add("Log", ["rest"], "log_rest")
    graph.add("Add", ["above_a", "below_b"], "tails")
    graph.add("Sub", ["tails", "log_rest"], "nats")
    graph.add("Mul", ["nats", graph.constant("per_bit", 1 / math.log(2.0))], "bits")


def metadata(config: EdgeConfig, model: Model, encoder: str) -> dict[str, Any]:
    """What the graph says of itself; ``encoder`` is the SHA-256 of the int8 encoder."""
    return {
        runtime.KIND_KEY: runtime.KIND,
        runtime.ENCODER_KEY: encoder,
        runtime.ORDER_KEY: runtime.POSITION_ORDER,
        "quality": config.qualities[0],
        "channels": config.latents,
        "levels": model.levels,
        "zero": model.zero,
        "reach": config.context.reach,
    }


def export(source: str, quality: str | None, position: float | None, folder: Path) -> bytes:
    """The graph of a checkpoint's context model for the latents of the model in a folder.

    Raises:
        ConfigError: the network has no such context model, or the model is another's.
        CheckpointError, EdgecompError: one of them is missing or damaged.
    """
    settings, weights = fold_source(source, quality, position)
    config = settings.network
    if not isinstance(config, EdgeConfig):
        raise ConfigError(
            f"{source}: no graph of a {settings.kind} network's context model: it goes symbol by"
            " symbol, not position by position, and leaves out what the importance map masks"
        )
    model = load_model(folder)
    encoder = model.graphs.get(("encoder", "int8"))
    if encoder is None:
        raise ConfigError(f"{folder}: the model has no int8 encoder to belong to")
    if (model.quality, model.channels) != (config.qualities[0], config.latents):
        raise ConfigError(
            f"{folder}: quality {model.quality}, {model.channels} channels;"
            f" {source} has quality {config.qualities[0]}, {config.latents} channels"
        )
    graph = context_graph(config, weights, model.zero)
    manifest.tag(graph, metadata(config, model, encoder.sha256))
    return graph.SerializeToString(deterministic=True)


def write(target: Path, data: bytes) -> None:
    """Write beside the target, then rename; a ConfigError if that cannot be."""
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    try:
        partial.write_bytes(data)
        partial.replace(target)
    except OSError as error:
        raise ConfigError(f"cannot write {target}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="export.context_onnx", description=__doc__.splitlines()[0]
    )
    parser.add_argument("source", metavar="RUN_OR_CHECKPOINT")
    parser.add_argument("--quality", help="needed where the network has several")
    parser.add_argument("--position", type=float, help="between the trained qualities")
    parser.add_argument("--model", required=True, metavar="MODELDIR", type=Path)
    parser.add_argument("--out", required=True, metavar="FILE", type=Path)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    args = parse(argv)
    try:
        data = export(args.source, args.quality, args.position, args.model)
        write(args.out, data)
    except (ConfigError, checkpoint.CheckpointError, EdgecompError) as error:
        print(f"export.context_onnx: {error}", file=sys.stderr)
        return 1
    print(f"{args.out}: {len(data)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
