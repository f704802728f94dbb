"""Writes the two small frozen models of the tests, `tiny` and `tiny-map` (needs the package onnx).

They are block transforms written by hand, not trained: a few two-dimensional cosines over 8x8
pixels as integer convolutions, elementwise float operations around them. No float is summed, so
symbols and pixels are the same on every machine. `tiny` is of the shape of an `edge` model (levels
256), `tiny-map` of a `cvpr` model (six levels, importance map, two gains). Golden files depend on
them: never write them anew, add another model instead.

    python tests/data/models/make_models.py NEW_FOLDER
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

STRIDE = 8
FREQUENCIES = [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (2, 0)]
COLOURS = np.array([[21, 21, 21], [28, -28, 0], [-14, -14, 28]])


def basis(count: int) -> np.ndarray:
    """int8 (count, 3, 8, 8): cosines times colour axes, luminance first; at most 63 in size."""
    positions = (np.arange(STRIDE) + 0.5) * np.pi / STRIDE
    kernels = []
    for u, v in FREQUENCIES:
        wave = np.outer(np.cos(u * positions), np.cos(v * positions))
        kernels += [colour[:, None, None] * wave * 2.2 for colour in COLOURS]
    order = [0, 3, 6, 1, 2, 9, 12, 15, 4, 7, 5, 8]
    return np.round(np.array(kernels)[order[:count]]).clip(-63, 63).astype(np.int8)


def model(nodes, inputs, outputs, constants, metadata):
    initializers = [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializers)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    helper.set_model_props(made, metadata)
    checker.check_model(made, full_check=True)
    return made.SerializeToString()


def tensor(name, shape, kind=TensorProto.UINT8):
    return helper.make_tensor_value_info(name, kind, shape)


def build(folder: Path, name: str, channels: int, levels: int, zero: int, with_map: bool) -> None:
    node = helper.make_node
    kernels = basis(channels)
    norms = (kernels.astype(float) ** 2).sum(axis=(1, 2, 3))
    step = 14.0 if levels == 256 else 400.0
    gains = np.array([1.0, 0.5], np.float32) if with_map else np.array([1.0], np.float32)
    low, high = (-127, 127) if levels == 256 else (-zero, levels - 1 - zero)
    metadata = {"stride": "8", "channels": str(channels), "levels": str(levels), "zero": str(zero)}
    per_channel = (1, channels, 1, 1)
    gain_input = [tensor("gain", [1], TensorProto.INT64)] if with_map else []
    pick_gain = [
        node("Gather", ["gains", "gain"] if with_map else ["gains", "first"], ["g"]),
    ]
    shared = {"gains": gains, "x_zero": np.uint8(128)}
    if not with_map:
        shared["first"] = np.array([0], np.int64)

    scale = (np.sqrt(norms) / norms / step).astype(np.float32).reshape(per_channel)
    encoder = [
        node("Transpose", ["picture"], ["x"], perm=[0, 3, 1, 2]),
        node("ConvInteger", ["x", "kernels", "x_zero"], ["sums"], strides=[8, 8]),
        node("Cast", ["sums"], ["y"], to=TensorProto.FLOAT),
        *pick_gain,
        node("Mul", ["scale", "g"], ["gained"]),
        node("Mul", ["y", "gained"], ["scaled"]),
        node("Round", ["scaled"], ["rounded"]),
        node("Clip", ["rounded", "low", "high"], ["latent"]),
    ]
    constants = shared | {
        "kernels": kernels,
        "scale": scale,
        "low": np.float32(low),
        "high": np.float32(high),
        "zero": np.float32(zero),
    }
    outputs = [tensor("symbols", [1, channels, "rows", "columns"])]
    if with_map:
        encoder += [
            node("Abs", ["latent"], ["size"]),
            node("ReduceSum", ["size", "axis"], ["activity"], keepdims=1),
            node("Add", ["activity", "one"], ["wanted"]),
            node("Clip", ["wanted", "none", "all"], ["count"]),
            node("Less", ["index", "count"], ["kept"]),
            node("Where", ["kept", "latent", "none"], ["masked"]),
            node("Add", ["masked", "zero"], ["shifted"]),
            node("Squeeze", ["count", "axis"], ["flat"]),
            node("Cast", ["flat"], ["counts"], to=TensorProto.UINT8),
        ]
        constants |= {
            "axis": np.array([1], np.int64),
            "one": np.float32(1),
            "none": np.float32(0),
            "all": np.float32(channels),
            "index": np.arange(channels, dtype=np.float32).reshape(per_channel),
        }
        outputs.append(tensor("counts", [1, "rows", "columns"]))
    else:
        encoder.append(node("Add", ["latent", "zero"], ["shifted"]))
    encoder.append(node("Cast", ["shifted"], ["symbols"], to=TensorProto.UINT8))
    picture = tensor("picture", [1, "height", "width", 3])
    encoder_bytes = model(encoder, [picture, *gain_input], outputs, constants, metadata)

    # (192, channels, 1, 1): the transposed kernels, pixel-major as DepthToSpace (DCR) wants them.
    synthesis = kernels.transpose(2, 3, 1, 0).reshape(192, channels, 1, 1)
    # The undoing step of each channel must be one scalar for ConvInteger's sums: the kernels'
    # norms are brought to one size by 7-bit weights.
    undo = step / np.sqrt(norms)
    weights = np.round(synthesis * (undo / undo.max())[None, :, None, None])
    decoder = [
        node("ConvInteger", ["symbols", "weights", "zero_symbol"], ["sums"]),
        node("Cast", ["sums"], ["y"], to=TensorProto.FLOAT),
        *pick_gain,
        node("Div", ["unit", "g"], ["ungained"]),
        node("Mul", ["y", "ungained"], ["scaled"]),
        node("Add", ["scaled", "middle"], ["moved"]),
        node("Round", ["moved"], ["rounded"]),
        node("Clip", ["rounded", "black", "white"], ["clipped"]),
        node("DepthToSpace", ["clipped"], ["planes"], blocksize=8),
        node("Transpose", ["planes"], ["pixels"], perm=[0, 2, 3, 1]),
        node("Cast", ["pixels"], ["picture"], to=TensorProto.UINT8),
    ]
    constants = shared | {
        "weights": weights.astype(np.int8),
        "zero_symbol": np.uint8(zero),
        "unit": np.float32(undo.max()),
        "middle": np.float32(128),
        "black": np.float32(0),
        "white": np.float32(255),
    }
    del constants["x_zero"]
    symbols = tensor("symbols", [1, channels, "rows", "columns"])
    decoder_bytes = model(decoder, [symbols, *gain_input], [picture], constants, metadata)

    folder.mkdir(parents=True)
    graphs: dict[str, dict[str, dict[str, str]]] = {}
    for role, data in (("encoder", encoder_bytes), ("decoder", decoder_bytes)):
        file = f"{role}.int8.onnx"
        (folder / file).write_bytes(data)
        graphs[role] = {"int8": {"file": file, "sha256": hashlib.sha256(data).hexdigest()}}
    manifest = {
        "schema": 1,
        "name": name,
        "network": "test",
        "quality": "T",
        "stride": STRIDE,
        "channels": channels,
        "levels": levels,
        "zero": zero,
        "importance_map": with_map,
        "gains": len(gains),
        "coders": {"lzma": {}},
        "graphs": graphs,
        "saved_model": {},
        "parameters": {"encoder": kernels.size, "decoder": kernels.size},
        "multiply_adds_per_pixel": {"encoder": channels * 3, "decoder": channels * 3},
    }
    text = json.dumps(manifest, sort_keys=True, indent=1, ensure_ascii=False) + "\n"
    (folder / "model.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    target = Path(sys.argv[1])
    build(target / "tiny", "tiny", 12, 256, 128, with_map=False)
    build(target / "tiny-map", "tiny-map", 8, 6, 2, with_map=True)
