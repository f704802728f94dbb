"""Int8 graphs of a quantised `cvpr` network: see cvpr_nodes.py for what lies between their ends.

- The zero padding of the normalised picture is another byte in each colour.
- The encoder's last convolution keeps its 32-bit sums: a MatMulInteger over the 25 places of its
  kernel side by side, with 14-bit weights in two 7-bit halves.
- The importance map is looked up in a table: a sigmoid's last bit differs between libraries.
- What remains (mask, comparison with the midpoints of the centres) is elementwise.

onnxruntime 1.20 has neither ConvInteger for signed weights nor DepthToSpace of bytes.
"""

from __future__ import annotations

import keras
import numpy as np
import onnx
from onnx import TensorProto

from export.cvpr_nodes import Bytes, Nodes, columns_first, padded
from export.networks.cvpr import CvprConfig
from export.networks.cvpr_layers import MEAN, SHIFT, STD
from export.networks.cvpr_stack import FIRST
from export.networks.fakequant import TOP
from export.quantise import HIGH, LOW, QuantiseError

STEPS, REACH = 256, 8  # of the map's table: steps of one, and the greatest size of the raw map
SUM_LIMIT = 2**30  # of the encoder's last sums; what rounding adds stays well within 32 bits
TO_END = 2**31 - 1  # of a Slice


def graphs(
    config: CvprConfig, encoder: keras.Model, decoder: keras.Model, limits: np.ndarray
) -> dict[str, onnx.ModelProto]:
    """{"encoder": ..., "decoder": ...} of quantised networks holding weights and ranges.

    ``limits``: midpoints of the sorted centres, float32 [L - 1].
    """
    return {
        "encoder": encoder_graph(config, encoder, limits),
        "decoder": decoder_graph(
            config, decoder, np.asarray(encoder.get_layer("enc_centres").centres)
        ),
    }


def encoder_graph(config: CvprConfig, network: keras.Model, limits: np.ndarray) -> onnx.ModelProto:
    """uint8 picture to symbols and, with an importance map, counts."""
    nodes, side = Nodes("enc", network), config.encoder
    x = _first_conv(nodes)
    x = nodes.conv(x, "h2", side.width, 5, stride=2, stream=FIRST)
    x = nodes.trunk(x, side)
    raw = _last_conv(nodes, x)
    results: dict[str, list[int | str]] = {"symbols": [1, config.bottleneck, "rows", "columns"]}
    if config.importance_map:
        raw = _masked(nodes, raw, config.bottleneck)
        results["counts"] = [1, "rows", "columns"]
    _symbols(nodes, raw, limits)
    return nodes.model(("picture", [1, "H", "W", 3]), results)


def _first_conv(nodes: Nodes) -> Bytes:
    """The convolution of the picture's bytes. The zero padding of the normalised picture is
    another byte in each colour, SHIFT; all of it is part of the bias within the picture."""
    kernel, bias, step = nodes.whole("h1")
    bias = bias - np.einsum("yxio,i->o", kernel, SHIFT.astype(np.int64))
    before, behind = padded(5, 2)
    pads = nodes.constant("border", [0, 0, before, before, 0, 0, behind, behind], np.int64)
    ones = nodes.constant("ones", [1, 1, 1], np.int64)
    planes = nodes.node("Transpose", ["picture"], "planes", perm=[0, 3, 1, 2])
    colours = ["red", "green", "blue"]
    nodes.node("Split", [planes, ones], *colours, axis=1)
    for colour, shift in zip(colours, SHIFT, strict=True):
        value = nodes.constant(f"{colour}/shift", shift, np.uint8)
        nodes.node("Pad", [colour, pads, value], f"{colour}/padded")
    nodes.node("Concat", [f"{colour}/padded" for colour in colours], "padded", axis=1)
    scale, zero = nodes.range("h1")
    if zero:
        raise QuantiseError(f"enc_h1: bytes behind a ReLU start at {zero}")
    y = Bytes("h1/bytes", scale, zero)
    return nodes.integer_conv(Bytes("padded", 1.0, 0), "h1", kernel, bias, step, y, 2, (0, 0))


def _last_conv(nodes: Nodes, x: Bytes) -> str:
    """Name of the raw bottleneck, float32 [1, channels, rows, columns]: the 25 places of each
    output position side by side meet one integer matrix."""
    layer = nodes.network.get_layer("enc_to_bn")
    kernel, bias = (np.asarray(v, np.float64) for v in (layer.kernel, layer.bias))
    matrix = kernel.reshape(-1, kernel.shape[-1]) * x.scale
    high, low, quantum = halves(matrix)
    whole = 128 * high + low
    offset = np.round(bias / quantum).astype(np.int64) - x.zero * whole.sum(0)
    if (TOP * np.abs(whole).sum(0) + np.abs(offset)).max() >= 2**31:
        raise QuantiseError("enc_to_bn: the sums do not fit 32 bits")

    before, behind = padded(5, 2)
    pads = nodes.constant("edge", [0, before, before, 0, 0, behind, behind, 0], np.int64)
    zero = nodes.constant("edge/value", x.zero, np.uint8)
    last = nodes.node("Transpose", [x.name], "to_bn/last", perm=[0, 2, 3, 1])
    wide = nodes.node("Pad", [last, pads, zero], "to_bn/padded")
    axes = nodes.constant("slice/axes", [1, 2], np.int64)
    steps = nodes.constant("slice/steps", [2, 2], np.int64)
    places = []
    for row in range(5):
        for column in range(5):
            start = nodes.constant(f"slice/{row}{column}", [row, column], np.int64)
            # the last output position begins 3 places before the end of its 5
            end = nodes.constant(
                f"slice/end{row}{column}", [row - 4 or TO_END, column - 4 or TO_END], np.int64
            )
            inputs = [wide, start, end, axes, steps]
            places.append(nodes.node("Slice", inputs, f"to_bn/place{row}{column}"))
    nodes.node("Concat", places, "to_bn/x", axis=3)
    both = nodes.constant("to_bn/halves", np.concatenate([high, low], 1), np.int8)
    count = kernel.shape[-1]
    parts = nodes.constant("to_bn/parts", [count, count], np.int64)
    nodes.node("MatMulInteger", ["to_bn/x", both], "to_bn/sums")
    nodes.node("Split", ["to_bn/sums", parts], "to_bn/highs", "to_bn/lows", axis=3)
    shift = nodes.constant("to_bn/shift", 128, np.int32)
    nodes.node("Mul", ["to_bn/highs", shift], "to_bn/shifted")
    nodes.node("Add", ["to_bn/shifted", "to_bn/lows"], "to_bn/sum")
    offsets = nodes.constant("to_bn/bias", offset, np.int32)
    nodes.node("Add", ["to_bn/sum", offsets], "to_bn/biased")
    nodes.node("Cast", ["to_bn/biased"], "to_bn/float", to=TensorProto.FLOAT)
    quanta = nodes.constant("to_bn/quantum", quantum, np.float32)
    nodes.node("Mul", ["to_bn/float", quanta], "to_bn/values")
    return nodes.node("Transpose", ["to_bn/values"], "raw", perm=[0, 3, 1, 2])


def halves(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """float [k, n] -> 7-bit high and low parts as int64 and quanta, float32 [n]: the weights are
    about (128 high + low) * quantum, and their sums with bytes stay within `SUM_LIMIT`."""
    size = np.abs(matrix)
    quantum = np.maximum(size.max(0) / (128 * HIGH + HIGH), TOP * size.sum(0) / SUM_LIMIT)
    quantum = np.maximum(quantum, 1e-12).astype(np.float32)
    whole = np.round(matrix / quantum.astype(np.float64)).astype(np.int64)
    high = (whole - LOW) // 128
    low = whole - 128 * high
    if not (LOW <= high.min() and high.max() <= HIGH and LOW <= low.min() and low.max() <= HIGH):
        raise QuantiseError("a 14-bit weight left its range")
    return high, low, quantum


def _masked(nodes: Nodes, raw: str, channels: int) -> str:
    """Split the raw map from the values and mask these; "counts" is a second result."""
    parts = nodes.constant("map/parts", [1, channels], np.int64)
    nodes.node("Split", [raw, parts], "map/raw", "unmasked", axis=1)
    levels = np.arange(-REACH * STEPS, REACH * STEPS + 1) / STEPS
    table = (channels / (1 + np.exp(-levels))).astype(np.float32)
    limit = float(REACH * STEPS)
    steps = nodes.constant("map/steps", STEPS, np.float32)
    low = nodes.constant("map/low", -limit, np.float32)
    high = nodes.constant("map/high", limit, np.float32)
    nodes.node("Mul", ["map/raw", steps], "map/scaled")
    nodes.node("Round", ["map/scaled"], "map/rounded")
    nodes.node("Clip", ["map/rounded", low, high], "map/clipped")
    nodes.node("Add", ["map/clipped", high], "map/place")
    nodes.node("Cast", ["map/place"], "map/index", to=TensorProto.INT32)
    values = nodes.constant("map/table", table, np.float32)
    nodes.node("Gather", [values, "map/index"], "map")
    second = nodes.constant("map/axis", [1], np.int64)
    nodes.node("Squeeze", ["map/index", second], "map/flat")
    # channel c is left where the map exceeds c
    left = nodes.constant("map/counts", np.ceil(table), np.uint8)
    nodes.node("Gather", [left, "map/flat"], "counts")
    each = nodes.constant("map/channels", np.arange(channels).reshape(-1, 1, 1), np.float32)
    none = nodes.constant("map/none", 0, np.float32)
    all_of_it = nodes.constant("map/all", 1, np.float32)
    nodes.node("Sub", ["map", each], "mask/open")
    nodes.node("Clip", ["mask/open", none, all_of_it], "mask")
    return nodes.node("Mul", ["unmasked", "mask"], "masked")


def _symbols(nodes: Nodes, values: str, limits: np.ndarray) -> None:
    """Count the limits that each value exceeds."""
    total = ""
    for i, limit in enumerate(limits):
        value = nodes.constant(f"limit{i}", limit, np.float32)
        above = nodes.node("Greater", [values, value], f"above{i}")
        one = nodes.node("Cast", [above], f"one{i}", to=TensorProto.FLOAT)
        total = nodes.node("Add", [total, one], f"total{i}") if total else one
    nodes.node("Cast", [total], "symbols", to=TensorProto.UINT8)


def decoder_graph(config: CvprConfig, network: keras.Model, centres: np.ndarray) -> onnx.ModelProto:
    """uint8 symbols to picture; ``centres`` in ascending order."""
    nodes, side = Nodes("dec", network), config.decoder
    scale, zero = nodes.range("values")
    levels = np.clip(np.round(centres / np.float32(scale)) + zero, 0, TOP)
    table = nodes.constant("centres", levels, np.uint8)
    nodes.node("Cast", ["symbols"], "index", to=TensorProto.INT32)
    x = Bytes(nodes.node("Gather", [table, "index"], "values"), scale, zero)
    x = nodes.conv(x, "from_bn", side.width, up=True, stream=FIRST)
    x = nodes.trunk(x, side)
    x = nodes.conv(x, "h12", side.first, up=True)
    kernel, bias, step = nodes.whole("h13")
    step = step * np.tile(STD, 4)
    # whole * step in grey levels; the bytes are those of the picture
    bias = bias + np.round(np.tile(MEAN, 4) / (x.scale * step)).astype(np.int64)
    kernel, bias, step = columns_first(kernel), columns_first(bias), columns_first(step)
    pixels = Bytes("pixels", 1.0, 0)
    nodes.integer_conv(x, "h13", kernel, bias, step, pixels, 1, padded(3, 1))
    nodes.node("Identity", [nodes.depth_to_space(pixels.name, 3)], "picture")
    return nodes.model(
        ("symbols", [1, config.bottleneck, "rows", "columns"]), {"picture": [1, "H", "W", 3]}
    )
