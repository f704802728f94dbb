"""Nodes of the int8 graphs of a quantised `cvpr` network, from its whole-number weights.

Convolutions are Conv between DequantizeLinear and QuantizeLinear, which onnxruntime runs on bytes;
a ReLU is the zero of the bytes behind it. Bytes with one scale are added as whole numbers, others
by the operation Sum, which is not fused (export/proof/additions.py). So there is no float sum whose
order or rounding could differ between processors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.graphs import OPSET
from export.networks.cvpr_stack import Stack
from export.networks.fakequant import QuantConv
from export.quantise import QuantiseError

IR_VERSION = 8  # what onnxruntime 1.20 reads


@dataclass(frozen=True)
class Bytes:
    """A uint8 tensor [1, channels, rows, columns]: value = (byte - zero) * scale."""

    name: str
    scale: float
    zero: int


class Nodes(Stack[Bytes]):
    """Emits the nodes of one part of a quantised network that holds its weights and ranges."""

    def __init__(self, prefix: str, network: keras.Model) -> None:
        self.prefix, self.network = prefix, network
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}

    def node(self, kind: str, inputs: list[str], output: str, *more: str, **attributes: Any) -> str:
        """Add a node; returns the name of its (first) output."""
        made = helper.make_node(kind, inputs, [output, *more], f"{output}/{kind}", **attributes)
        self.nodes.append(made)
        return output

    def constant(self, name: str, value: Any, dtype: Any) -> str:
        """Add a constant, or find it; returns its name."""
        self.constants[name] = np.asarray(value, dtype)
        return name

    def range(self, name: str) -> tuple[float, int]:
        """Scale and zero of the bytes ``name``."""
        found = np.asarray(self.network.get_layer(f"{self.prefix}_{name}_bytes").range)
        return float(found[0]), int(found[1])

    def conv(
        self,
        x: Bytes,
        name: str,
        filters: int,
        size: int = 3,
        *,
        stride: int = 1,
        up: bool = False,
        relu: bool = True,
        stream: str = "",
    ) -> Bytes:
        scale, zero = self.range(name)
        if relu and zero:
            raise QuantiseError(f"{self.prefix}_{name}: bytes behind a ReLU start at {zero}")
        kernel, bias, step = self.whole(name)
        y = Bytes(f"{name}/bytes", scale, zero)
        if not up:
            return self.integer_conv(x, name, kernel, bias, step, y, stride, padded(size, stride))
        kernel, bias, step = columns_first(kernel), columns_first(bias), columns_first(step)
        low = self.integer_conv(x, name, kernel, bias, step, y, 1, padded(3, 1))
        wide = self.depth_to_space(low.name, filters)
        return Bytes(self.node("Transpose", [wide], f"{name}/up", perm=[0, 3, 1, 2]), scale, zero)

    def whole(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Kernel [rows, columns, in, out] and bias [out] as int64, and the kernel's steps."""
        layer = self.network.get_layer(f"{self.prefix}_{name}")
        if not isinstance(layer, QuantConv):
            raise QuantiseError(f"{layer.name} has no whole-number weights")
        kernel, bias, _, step = (np.asarray(value) for value in layer.whole())
        return kernel.astype(np.int64), bias.astype(np.int64), step

    def integer_conv(
        self,
        x: Bytes,
        name: str,
        kernel: np.ndarray,
        bias: np.ndarray,
        step: np.ndarray,
        y: Bytes,
        stride: int,
        pads: tuple[int, int],
    ) -> Bytes:
        """Convolution of bytes to bytes; ``bias`` in steps of x.scale * ``step``, ``pads`` before
        and behind on both axes."""
        if np.abs(bias).max() >= 2**31:
            raise QuantiseError(f"{self.prefix}_{name}: the bias does not fit 32 bits")
        weights = [
            self.constant(f"{name}/weights", kernel.transpose(3, 2, 0, 1), np.int8),
            self.constant(f"{name}/step", step, np.float32),
            self.constant(f"{name}/none", np.zeros(len(step)), np.int8),
        ]
        biases = [
            self.constant(f"{name}/bias", bias, np.int32),
            self.constant(f"{name}/bias_step", np.float32(x.scale) * step, np.float32),
        ]
        inputs = [
            self.dequantised(x, f"{name}/x"),
            self.node("DequantizeLinear", weights, f"{name}/w", axis=0),
            self.node("DequantizeLinear", biases, f"{name}/b", axis=0),
        ]
        sides = [pads[0], pads[0], pads[1], pads[1]]
        z = self.node("Conv", inputs, f"{name}/z", pads=sides, strides=[stride, stride])
        return self.quantised(z, y)

    def dequantised(self, x: Bytes, name: str) -> str:
        """The values of ``x``, of its own for every user: so onnxruntime fuses them."""
        return self.node("DequantizeLinear", [x.name, *self._range(x)], name)

    def quantised(self, z: str, y: Bytes) -> Bytes:
        """The values ``z`` as the bytes ``y``."""
        self.node("QuantizeLinear", [z, *self._range(y)], y.name)
        return y

    def _range(self, x: Bytes) -> list[str]:
        return [
            self.constant(f"{x.name}/scale", x.scale, np.float32),
            self.constant(f"{x.name}/zero", x.zero, np.uint8),
        ]

    def add(self, x: Bytes, y: Bytes, name: str, stream: str = "") -> Bytes:
        scale, zero = self.range(name)
        inputs = [self.dequantised(x, f"{name}/x"), self.dequantised(y, f"{name}/y")]
        kind = "Add" if x.scale == y.scale == scale else "Sum"
        z = self.node(kind, inputs, f"{name}/z")
        return self.quantised(z, Bytes(f"{name}/bytes", scale, zero))

    def depth_to_space(self, name: str, channels: int) -> str:
        """Bytes [1, 4 channels, h, w], the channels as `columns_first` has them, to
        [1, 2h, 2w, channels]. The reshapes move nothing."""
        first = self.constant("first", [0], np.int64)
        apart = self.constant(f"apart{channels}", [0, -1, 2, channels], np.int64)
        joined = self.constant(f"joined{channels}", [1, -1, 0, channels], np.int64)
        x = self.node("Transpose", [name], f"{name}/last", perm=[0, 2, 3, 1])
        x = self.node("Squeeze", [x, first], f"{name}/one")
        x = self.node("Reshape", [x, apart], f"{name}/columns")  # [h, 2w, 2, channels]
        x = self.node("Transpose", [x], f"{name}/rows", perm=[0, 2, 1, 3])
        return self.node("Reshape", [x, joined], f"{name}/wide")

    def model(
        self, first: tuple[str, list[int | str]], results: dict[str, list[int | str]]
    ) -> onnx.ModelProto:
        """The graph of the nodes so far, all ends uint8."""
        infos = [
            helper.make_tensor_value_info(name, TensorProto.UINT8, shape)
            for name, shape in (first, *results.items())
        ]
        title = f"{first[0]} to {' and '.join(results)}"
        tensors = [numpy_helper.from_array(v, k) for k, v in self.constants.items()]
        graph = helper.make_graph(self.nodes, title, infos[:1], infos[1:], tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = IR_VERSION
        onnx.checker.check_model(model)
        return model


def padded(size: int, stride: int) -> tuple[int, int]:
    """Places before and behind an even side, as TensorFlow's "same" has them."""
    total = size - stride
    return total // 2, total - total // 2


def columns_first(values: np.ndarray) -> np.ndarray:
    """The last axis, output channels of a polyphase convolution, from (row, column, channel) to
    (column, row, channel)."""
    apart = values.reshape(*values.shape[:-1], 2, 2, -1)
    return np.swapaxes(apart, -3, -2).reshape(values.shape)
