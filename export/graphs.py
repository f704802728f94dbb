"""Float ONNX graphs and the TensorFlow SavedModel of one quality of an `edge` network.

Runs under Keras's TensorFlow backend. Both graphs are whole: bytes of a picture in, bytes of
symbols out, and back; height and width are dynamic. The input scaling, (byte - 128) / 255, is
folded into the first weights, so that the networks see byte - 128 as it is: exact in uint8.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from onnx import numpy_helper

from export.networks import edge
from export.networks.layers import set_weights

OPSET = 17  # tf2onnx writes IR version 8 for it, which onnxruntime 1.20 reads
ZERO = 128
Weights = dict[str, np.ndarray]


def byte_weights(weights: Weights) -> Weights:
    """Folded weights for pictures as byte - 128 on both sides instead of that over 255."""
    w = dict(weights)
    for name in ("enc_linear/kernel", "enc_head/kernel"):
        w[name] = w[name] / np.float32(255)
    for name in ("dec_linear", "dec_tail"):
        for part in ("kernel", "bias"):
            w[f"{name}/{part}"] = w[f"{name}/{part}"] * np.float32(255)
    return w


def build(config: edge.EdgeConfig, weights: Weights) -> tuple[keras.Model, keras.Model]:
    """Float encoder and decoder of a folded config holding ``weights`` (of `byte_weights`)."""
    config = replace(config, quantised=False)
    encoder = edge.build_encoder(config)
    decoder = edge.build_decoder(config)
    set_weights(encoder, weights)
    set_weights(decoder, weights)
    return encoder, decoder


def encode(network: Any, config: edge.EdgeConfig, picture: tf.Tensor) -> tf.Tensor:
    """uint8 [1, H, W, 3] -> uint8 [1, latents, H/8, W/8]; ``network`` maps patches to latents."""
    p, shape = config.patch, tf.shape(picture)
    rows, cols = shape[1] // p, shape[2] // p
    # Space-to-depth while the picture is still bytes: whole runs of 24 bytes move.
    blocks = tf.transpose(tf.reshape(picture, (1, rows, p, cols, p, 3)), (0, 1, 3, 2, 4, 5))
    patches = tf.reshape(blocks, (1, rows, cols, config.values))
    latents = network(tf.cast(patches, tf.float32) - float(ZERO))
    symbols = tf.cast(tf.round(latents) + float(ZERO), tf.uint8)
    return tf.transpose(symbols, (0, 3, 1, 2))


def decode(network: Any, config: edge.EdgeConfig, symbols: tf.Tensor) -> tf.Tensor:
    """uint8 [1, latents, h, w] -> uint8 [1, 8h, 8w, 3]."""
    p, shape = config.patch, tf.shape(symbols)
    rows, cols = shape[2], shape[3]
    patches = network(tf.cast(tf.transpose(symbols, (0, 2, 3, 1)), tf.float32) - float(ZERO))
    values = tf.clip_by_value(tf.round(patches + float(ZERO)), 0.0, 255.0)
    blocks = tf.reshape(tf.cast(values, tf.uint8), (1, rows, cols, p, p, 3))
    return tf.reshape(tf.transpose(blocks, (0, 1, 3, 2, 4, 5)), (1, rows * p, cols * p, 3))


def float_graphs(config: edge.EdgeConfig, weights: Weights) -> dict[str, onnx.ModelProto]:
    """{"encoder": ..., "decoder": ...} in float32, of `byte_weights`."""
    encoder, decoder = build(config, weights)
    specs = {
        "encoder": (encode, encoder, tf.TensorSpec((1, None, None, 3), tf.uint8, name="picture")),
        "decoder": (
            decode,
            decoder,
            tf.TensorSpec((1, config.latents, None, None), tf.uint8, name="symbols"),
        ),
    }
    out = {}
    for part, (wrap, network, spec) in specs.items():
        model = _convert(wrap, network, config, spec)
        c = config.latents
        if part == "encoder":
            _name_ends(model, "picture", "symbols", ("H", "W"), (1, c, "rows", "columns"))
        else:
            _name_ends(model, "symbols", "picture", ("rows", "columns"), (1, "H", "W", 3))
        model.graph.name = part
        onnx.checker.check_model(model)
        out[part] = model
    return out


def _convert(
    wrap: Any, network: keras.Model, config: edge.EdgeConfig, spec: tf.TensorSpec
) -> onnx.ModelProto:
    function = tf.function(lambda x: wrap(network, config, x), input_signature=[spec])
    model, _ = tf2onnx.convert.from_function(function, input_signature=[spec], opset=OPSET)
    del model.metadata_props[:]
    model.doc_string = model.graph.doc_string = ""
    return model


def _name_ends(
    model: onnx.ModelProto,
    first: str,
    last: str,
    sides: tuple[str, str],
    result: tuple[int | str, ...],
) -> None:
    """Give the graph's input and output their names and symbolic sizes."""
    graph = model.graph
    rename = {graph.input[0].name: first, graph.output[0].name: last}
    for node in graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                names[i] = rename.get(name, name)
    graph.input[0].name, graph.output[0].name = first, last
    free = [d for d in graph.input[0].type.tensor_type.shape.dim if d.dim_value <= 0]
    for dim, name in zip(free, sides, strict=True):
        dim.dim_param = name
    shape = graph.output[0].type.tensor_type.shape
    del shape.dim[:]
    for size in result:
        dim = shape.dim.add()
        if isinstance(size, int):
            dim.dim_value = size
        else:
            dim.dim_param = size


def halve_initialisers(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store large float weights as float16 behind a Cast, which onnxruntime folds at load."""
    out = onnx.ModelProto()
    out.CopyFrom(model)
    casts = []
    for tensor in out.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype != np.float32 or array.size < 256:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float16), f"{name}/half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}/half"], [name], f"{name}/cast", to=1))
    nodes = [*casts, *out.graph.node]
    del out.graph.node[:]
    out.graph.node.extend(nodes)
    onnx.checker.check_model(out)
    return out


class _Half(tf.Module):
    """Networks whose weights lie in one float16 variable each, widened when a graph runs.

    One variable instead of fifty: TensorFlow's own save and restore functions, which a SavedModel
    carries along, grow with the number of variables and would be a seventh of the file.
    """

    def __init__(self, config: edge.EdgeConfig, weights: Weights) -> None:
        super().__init__(name="edge")
        picture = tf.TensorSpec((1, None, None, 3), tf.uint8, name="picture")
        symbols = tf.TensorSpec((1, config.latents, None, None), tf.uint8, name="symbols")
        encoder, decoder = build(config, weights)
        self.encoder_weights, wide_encoder = _packed(encoder)
        self.decoder_weights, wide_decoder = _packed(decoder)

        @tf.function(input_signature=[picture])
        def encode_picture(picture: tf.Tensor) -> tf.Tensor:
            return encode(wide_encoder, config, picture)

        @tf.function(input_signature=[symbols])
        def decode_symbols(symbols: tf.Tensor) -> tf.Tensor:
            return decode(wide_decoder, config, symbols)

        self.encode, self.decode = encode_picture, decode_symbols


def _packed(model: keras.Model) -> tuple[tf.Variable, Any]:
    """All weights of ``model`` in one float16 variable, and the model computing from them."""
    values = [np.asarray(v) for v in model.trainable_variables]
    flat = np.concatenate([v.reshape(-1) for v in values]).astype(np.float16)
    stored = tf.Variable(flat, trainable=False, name=model.name)

    def run(x: tf.Tensor) -> tf.Tensor:
        parts = tf.split(tf.cast(stored, tf.float32), [v.size for v in values])
        wide = [tf.reshape(part, v.shape) for part, v in zip(parts, values, strict=True)]
        return model.stateless_call(wide, [], x)[0]

    return stored, run


def save_model(config: edge.EdgeConfig, weights: Weights, folder: Path) -> None:
    """SavedModel with functions and signatures ``encode`` and ``decode``; needs only TensorFlow."""
    module = _Half(config, weights)
    tf.saved_model.save(
        module, str(folder), signatures={"encode": module.encode, "decode": module.decode}
    )
