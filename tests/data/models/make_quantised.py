"""Writes `tiny-quantised` and `saturating.onnx` (needs the package onnx).

`tiny-quantised` has the operations of the int8 graphs that export/ writes: 7-bit convolutions
between QuantizeLinear and DequantizeLinear, Relu, a residual addition (Sum, for the reason that
export/proof/additions.py gives), an integer matrix product in two halves. Its weights are random,
so it is no codec; it makes differences between processors and between versions of onnxruntime show.
`saturating.onnx` is one convolution with full-range weights, whose 16-bit sums saturate on x86
with AVX2 and without VNNI: the opposite of what ships.
tests/test_determinism.py holds the hashes of what they compute: never write them anew.

    python tests/data/models/make_quantised.py NEW_FOLDER
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

STRIDE, CHANNELS, WIDTH = 4, 16, 24
RNG = np.random.default_rng(11)


class Network:
    """Collects the nodes and constants of one graph."""

    def __init__(self) -> None:
        self.nodes: list = []
        self.constants: dict[str, np.ndarray] = {"one": np.float32(1), "centre": np.uint8(128)}

    def node(self, kind: str, inputs: list[str], output: str, **attributes: object) -> str:
        self.nodes.append(
            helper.make_node(kind, inputs, [output], f"{output}/{kind}", **attributes)
        )
        return output

    def bytes(self, x: str, scale: float, zero: int) -> str:
        """x through QuantizeLinear; returns the name of its bytes."""
        self.constants |= {f"{x}/scale": np.float32(scale), f"{x}/zero": np.uint8(zero)}
        return self.node("QuantizeLinear", [x, f"{x}/scale", f"{x}/zero"], f"{x}/bytes")

    def conv(self, x: str, scale: float, name: str, shape: tuple, stride: int, relu: bool) -> tuple:
        """A convolution of x, whose scale is given; returns its quantised output and scale."""
        weights = RNG.integers(-64, 64, shape).astype(np.int8)
        weight_scale = RNG.uniform(0.004, 0.006, shape[0]).astype(np.float32)
        bias = RNG.integers(-5000, 5000, shape[0]).astype(np.int32)
        self.constants |= {
            f"{name}/w": weights,
            f"{name}/w_scale": weight_scale,
            f"{name}/w_zero": np.zeros(shape[0], np.int8),
            f"{name}/b": bias,
            f"{name}/b_scale": np.float32(scale) * weight_scale,
            f"{name}/b_zero": np.zeros(shape[0], np.int32),
        }
        for part in ("w", "b"):
            inputs = [f"{name}/{part}", f"{name}/{part}_scale", f"{name}/{part}_zero"]
            self.node("DequantizeLinear", inputs, f"{name}/{part}_floats", axis=0)
        pad = [(shape[2] - stride) // 2, (shape[2] - stride) // 2]
        pads = [*pad, *(shape[2] - stride - p for p in pad)]
        inputs = [x, f"{name}/w_floats", f"{name}/b_floats"]
        out = self.node("Conv", inputs, name, pads=pads, strides=[stride, stride])
        if relu:
            out = self.node("Relu", [out], f"{name}/relu")
        # Random terms of full size would fill four times the bytes, real ones are smaller.
        spread = scale * 0.005 * 74 * 37 * np.sqrt(np.prod(shape[1:]))
        out_scale = float(np.float32(spread * (1 if relu else 2) / 255))
        inputs = [
            self.bytes(out, out_scale, 0 if relu else 131),
            f"{out}/scale",
            f"{out}/zero",
        ]
        return self.node("DequantizeLinear", inputs, f"{out}/floats"), out_scale

    def block(self, x: str, scale: float) -> str:
        """Two 3x3 convolutions and x itself, added; returns the name of their bytes."""
        shape = (WIDTH, WIDTH, 3, 3)
        first, first_scale = self.conv(x, scale, "block1", shape, 1, True)
        second, second_scale = self.conv(first, first_scale, "block2", shape, 1, False)
        added = self.node("Sum", [x, second], "added")
        return self.bytes(added, second_scale, 120)

    def product(self, x: str, outputs: int, gain: float) -> str:
        """x, bytes (N, WIDTH, H, W), times 14-bit weights; returns floats (N, H, W, outputs)."""
        high, low = (RNG.integers(-64, 64, (WIDTH, outputs)).astype(np.int8) for _ in range(2))
        quantum = RNG.uniform(0.9, 1.1, outputs) * gain / (128 * 37 * 74 * np.sqrt(WIDTH))
        whole = 128 * high.astype(np.int64) + low
        self.constants |= {
            "high": high,
            "low": low,
            "shift": np.array(128, np.int32),
            "bias": (RNG.integers(-9000, 9000, outputs) - 120 * whole.sum(0)).astype(np.int32),
            "quantum": quantum.astype(np.float32),
        }
        last = self.node("Transpose", [x], "last", perm=[0, 2, 3, 1])
        self.node("MatMulInteger", [last, "high"], "highs")
        self.node("MatMulInteger", [last, "low"], "lows")
        self.node("Mul", ["highs", "shift"], "shifted")
        self.node("Add", ["shifted", "lows"], "sums")
        self.node("Add", ["sums", "bias"], "biased")
        self.node("Cast", ["biased"], "whole", to=TensorProto.FLOAT)
        return self.node("Mul", ["whole", "quantum"], "values")

    def save(self, path: Path, inputs: list, outputs: list) -> None:
        used = {name for node in self.nodes for name in node.input}
        tensors = [
            numpy_helper.from_array(np.asarray(v), k)
            for k, v in self.constants.items()
            if k in used
        ]
        graph = helper.make_graph(self.nodes, path.stem, inputs, outputs, tensors)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        made.ir_version = 8
        facts = {"stride": STRIDE, "channels": CHANNELS, "levels": 256, "zero": 128}
        helper.set_model_props(made, {k: str(v) for k, v in facts.items()})
        checker.check_model(made, full_check=True)
        path.write_bytes(made.SerializeToString())


def tensor(name: str, shape: list) -> object:
    return helper.make_tensor_value_info(name, TensorProto.UINT8, shape)


def encoder(path: Path) -> None:
    net = Network()
    net.node("Transpose", ["picture"], "planes", perm=[0, 3, 1, 2])
    x = net.node("DequantizeLinear", ["planes", "one", "centre"], "x")
    x, scale = net.conv(x, 1.0, "down1", (WIDTH, 3, 5, 5), 2, True)
    x, scale = net.conv(x, scale, "down2", (WIDTH, WIDTH, 5, 5), 2, True)
    net.product(net.block(x, scale), CHANNELS, 60)
    net.node("QuantizeLinear", ["values", "one", "centre"], "rounded")
    net.node("Transpose", ["rounded"], "symbols", perm=[0, 3, 1, 2])
    picture = tensor("picture", [1, "height", "width", 3])
    net.save(path, [picture], [tensor("symbols", [1, CHANNELS, "rows", "columns"])])


def decoder(path: Path) -> None:
    net = Network()
    x = net.node("DequantizeLinear", ["symbols", "one", "centre"], "x")
    x, scale = net.conv(x, 1.0, "head", (WIDTH, CHANNELS, 3, 3), 1, True)
    net.product(net.block(x, scale), 3 * STRIDE**2, 60)
    net.node("Transpose", ["values"], "deep", perm=[0, 3, 1, 2])
    net.node("DepthToSpace", ["deep"], "wide", blocksize=STRIDE)
    net.node("Transpose", ["wide"], "pixels", perm=[0, 2, 3, 1])
    net.node("QuantizeLinear", ["pixels", "one", "centre"], "picture")
    picture = tensor("picture", [1, "height", "width", 3])
    net.save(path, [tensor("symbols", [1, CHANNELS, "rows", "columns"])], [picture])


def saturating(path: Path) -> None:
    net = Network()
    net.constants |= {
        "w": RNG.choice(np.array([-128, -127, 126, 127], np.int8), (32, 8, 3, 3)),
        "w_scale": np.float32(0.01),
        "w_zero": np.int8(0),
        "y_scale": np.float32(30),
    }
    inputs = ["x", "one", "centre", "w", "w_scale", "w_zero", "y_scale", "centre"]
    net.node("QLinearConv", inputs, "y", pads=[1, 1, 1, 1])
    net.save(path, [tensor("x", [1, 8, "h", "w"])], [tensor("y", [1, 32, "h", "w"])])


def main(target: Path) -> None:
    folder = target / "tiny-quantised"
    folder.mkdir(parents=True)
    graphs = {}
    for role, write in (("encoder", encoder), ("decoder", decoder)):
        path = folder / f"{role}.int8.onnx"
        write(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        graphs[role] = {"int8": {"file": path.name, "sha256": digest}}
    manifest = {
        "schema": 1,
        "name": "tiny-quantised",
        "network": "test",
        "quality": "T",
        "stride": STRIDE,
        "channels": CHANNELS,
        "levels": 256,
        "zero": 128,
        "importance_map": False,
        "gains": 1,
        "coders": {"lzma": {}},
        "graphs": graphs,
        "saved_model": {},
    }
    text = json.dumps(manifest, sort_keys=True, indent=1, ensure_ascii=False) + "\n"
    (folder / "model.json").write_text(text, encoding="utf-8")
    saturating(target / "saturating.onnx")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
