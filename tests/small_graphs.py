"""Small ONNX graphs, well-formed and not, for the tests of what is proved of int8 graphs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def make(nodes: list[Any], constants: dict[str, Any], kind: int = TensorProto.UINT8) -> Any:
    """A graph from uint8 x [1, 3, H, W] to ``y``."""
    used = {name for node in nodes for name in node.input}
    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items() if k in used]
    x = helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 3, "H", "W"])
    y = helper.make_tensor_value_info("y", kind, ["n", "c", "h", "w"])
    graph = helper.make_graph(nodes, "g", [x], [y], tensors)
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=domains)
    model.ir_version = 8
    return model


def conv(behind: tuple[Any, ...] = (), end: str = "r", **changes: Any) -> Any:
    """DequantizeLinear, a 3x3 Conv named "conv" to ``a``, ``behind``, QuantizeLinear of ``end``."""
    rng = np.random.default_rng(5)
    constants = {
        "x_scale": np.float32(0.01),
        "x_zero": np.uint8(3),
        "w": rng.integers(-64, 64, (4, 3, 3, 3)).astype(np.int8),
        "w_scale": np.full(4, 0.02, np.float32),
        "w_zero": np.zeros(4, np.int8),
        "b": np.arange(-2, 2, dtype=np.int32) * 400,
        "b_scale": np.full(4, 0.01 * 0.02, np.float32),
        "b_zero": np.zeros(4, np.int32),
        "y_scale": np.float32(0.05),
        "y_zero": np.uint8(0),
        "zero": np.float32(0),
        "six": np.float32(6),
        "half": np.float32(0.5),
    } | changes
    node = helper.make_node
    nodes = [
        node("DequantizeLinear", ["x", "x_scale", "x_zero"], ["xf"]),
        node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["wf"], axis=0),
        node("DequantizeLinear", ["b", "b_scale", "b_zero"], ["bf"], axis=0),
        node("Conv", ["xf", "wf", "bf"], ["a"], name="conv", pads=[1, 1, 1, 1]),
        *behind,
        node("QuantizeLinear", [end if behind else "a", "y_scale", "y_zero"], ["y"]),
    ]
    return make(nodes, constants)


def sums(weights: np.ndarray, *behind: Any, zero: int = 128, **constants: Any) -> Any:
    """ConvInteger of x with int8 ``weights`` to ``s``, then nodes that end in int32 ``y``."""
    last = "s" if behind else "y"
    product = helper.make_node("ConvInteger", ["x", "w", "x_zero"], [last], name="product")
    values = {"w": weights, "x_zero": np.uint8(zero), **constants}
    return make([product, *behind], values, TensorProto.INT32)


def optimised(model: Any, folder: Path) -> Counter[str]:
    """How many nodes of each kind onnxruntime is left with after its optimisations."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # it warns that such a file is for this machine only
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return Counter(node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node)


def run(model: Any, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, {"x": x})[0])


def behind_sums(*nodes: Any, kind: int = TensorProto.UINT8, **constants: Any) -> Any:
    """x in floats as ``f``, then nodes that end in ``y``."""
    cast = helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT)
    return make([cast, *nodes], constants, kind)
