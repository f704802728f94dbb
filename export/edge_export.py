"""Graphs and SavedModel of one quality of an `edge` network.

The input scaling, (byte - 128) / 255, is folded into the first weights, so that the networks see
byte - 128 as it is: exact in uint8.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import tensorflow as tf

from export import calibrate, edge_int8, ranges
from export.graphs import Exported, Facts, Weights, convert, name_ends, packed
from export.networks import edge
from export.networks.edge import EdgeConfig, Trunk
from export.networks.layers import set_weights

ZERO = 128
LEVELS = 256


def export(config: EdgeConfig, weights: Weights, pictures: list[np.ndarray]) -> Exported:
    """Everything of a folded network. Ranges that training has not set are calibrated on
    ``pictures``, uint8 [1, H, W, 3] with sides that are multiples of the patch."""
    encoder, decoder, weights = calibrate.quantised(config, weights, pictures)
    weights = ranges.rounded(decoder, ranges.rounded(encoder, weights))
    scales = {
        "encoder": ranges.trained(encoder, weights),
        "decoder": ranges.trained(decoder, weights),
    }
    whole = byte_weights(config, weights)
    floats = float_graphs(config, whole)
    return Exported(
        facts(config),
        floats,
        {
            part: edge_int8.quantised(floats[part], part, config, whole, scales[part])
            for part in floats
        },
        lambda folder: save_model(config, whole, folder),
    )


def facts(config: EdgeConfig) -> Facts:
    """What the manifest says of an `edge` model."""
    trunks = {
        "encoder": (config.encoder, config.values, config.latents, config.latents),
        "decoder": (config.decoder, config.latents, config.values, config.latents),
    }
    area = config.patch**2
    return Facts(
        stride=config.patch,
        channels=config.latents,
        levels=LEVELS,
        zero=ZERO,
        scales=(1.0,),
        importance_map=False,
        halo={part: trunk_halo(sizes[0]) for part, sizes in trunks.items()},
        parameters={part: trunk_parameters(*sizes) for part, sizes in trunks.items()},
        multiply_adds_per_pixel={
            part: round(trunk_products(*sizes) / area, 1) for part, sizes in trunks.items()
        },
    )


def trunk_parameters(trunk: Trunk, first: int, last: int, gates: int) -> int:
    """Weights and biases of one folded trunk and the linear path beside it. Each weight of a
    convolution is used once a position, so without the biases this is also the multiply-adds."""
    biases = trunk.width * (1 + len(trunk.blocks)) + sum(a + b for a, b in trunk.blocks)
    return trunk_products(trunk, first, last, gates) + biases + 2 * last + gates


def trunk_halo(trunk: Trunk) -> int:
    """Positions to each side that a result of the trunk depends on: every block has one 3x3."""
    return trunk.head // 2 + trunk.tail // 2 + len(trunk.blocks)


def trunk_products(trunk: Trunk, first: int, last: int, gates: int) -> int:
    """Multiply-adds a position of one folded trunk and the linear path beside it."""
    ends = first * trunk.width * trunk.head**2 + trunk.width * (last + gates) * trunk.tail**2
    blocks = sum(trunk.width * (a + b) + 9 * a * b for a, b in trunk.blocks)
    return ends + blocks + first * last


def byte_weights(config: EdgeConfig, weights: Weights) -> Weights:
    """Folded weights for pictures as byte - 128 on both sides instead of that over 255."""
    w = {name: np.array(value) for name, value in weights.items()}
    for name in ("enc_linear/kernel", "enc_head/kernel"):
        w[name] /= np.float32(255)
    for name in ("dec_linear", "dec_tail"):
        for part in ("kernel", "bias"):
            w[f"{name}/{part}"][..., : config.values] *= np.float32(255)
    return w


def build(config: EdgeConfig, weights: Weights) -> tuple[keras.Model, keras.Model]:
    """Float encoder and decoder of a folded config holding ``weights`` (of `byte_weights`)."""
    config = replace(config, quantised=False)
    encoder = edge.build_encoder(config)
    decoder = edge.build_decoder(config)
    set_weights(encoder, weights)
    set_weights(decoder, weights)
    return encoder, decoder


def encode(network: Any, config: EdgeConfig, picture: tf.Tensor) -> tf.Tensor:
    """uint8 [1, H, W, 3] -> uint8 [1, latents, H/8, W/8]; ``network`` maps patches to latents."""
    p, shape = config.patch, tf.shape(picture)
    rows, cols = shape[1] // p, shape[2] // p
    # Space-to-depth while the picture is still bytes: whole runs of 24 bytes move.
    blocks = tf.transpose(tf.reshape(picture, (1, rows, p, cols, p, 3)), (0, 1, 3, 2, 4, 5))
    patches = tf.reshape(blocks, (1, rows, cols, config.values))
    latents = network(tf.cast(patches, tf.float32) - float(ZERO))
    symbols = tf.cast(tf.round(latents) + float(ZERO), tf.uint8)
    return tf.transpose(symbols, (0, 3, 1, 2))


def decode(network: Any, config: EdgeConfig, symbols: tf.Tensor) -> tf.Tensor:
    """uint8 [1, latents, h, w] -> uint8 [1, 8h, 8w, 3]."""
    p, shape = config.patch, tf.shape(symbols)
    rows, cols = shape[2], shape[3]
    patches = network(tf.cast(tf.transpose(symbols, (0, 2, 3, 1)), tf.float32) - float(ZERO))
    values = tf.clip_by_value(tf.round(patches + float(ZERO)), 0.0, 255.0)
    blocks = tf.reshape(tf.cast(values, tf.uint8), (1, rows, cols, p, p, 3))
    return tf.reshape(tf.transpose(blocks, (0, 1, 3, 2, 4, 5)), (1, rows * p, cols * p, 3))


def float_graphs(config: EdgeConfig, weights: Weights) -> dict[str, onnx.ModelProto]:
    """{"encoder": ..., "decoder": ...} in float32, of `byte_weights`."""
    encoder, decoder = build(config, weights)
    c = config.latents
    picture = tf.TensorSpec((1, None, None, 3), tf.uint8, name="picture")
    symbols = tf.TensorSpec((1, c, None, None), tf.uint8, name="symbols")
    out = {
        "encoder": convert(lambda x: encode(encoder, config, x), picture),
        "decoder": convert(lambda x: decode(decoder, config, x), symbols),
    }
    name_ends(out["encoder"], "picture", ("H", "W"), {"symbols": (1, c, "rows", "columns")})
    name_ends(out["decoder"], "symbols", ("rows", "columns"), {"picture": (1, "H", "W", 3)})
    return out


class _Half(tf.Module):
    """Networks whose weights lie in one float16 variable each, widened when a graph runs.

    One variable instead of fifty: TensorFlow's own save and restore functions, which a SavedModel
    carries along, grow with the number of variables and would be a seventh of the file.
    """

    def __init__(self, config: EdgeConfig, weights: Weights) -> None:
        super().__init__(name="edge")
        picture = tf.TensorSpec((1, None, None, 3), tf.uint8, name="picture")
        symbols = tf.TensorSpec((1, config.latents, None, None), tf.uint8, name="symbols")
        encoder, decoder = build(config, weights)
        self.encoder_weights, wide_encoder = packed(encoder)
        self.decoder_weights, wide_decoder = packed(decoder)

        @tf.function(input_signature=[picture])
        def encode_picture(picture: tf.Tensor) -> tf.Tensor:
            return encode(wide_encoder, config, picture)

        @tf.function(input_signature=[symbols])
        def decode_symbols(symbols: tf.Tensor) -> tf.Tensor:
            return decode(wide_decoder, config, symbols)

        self.encode, self.decode = encode_picture, decode_symbols


def save_model(config: EdgeConfig, weights: Weights, folder: Path) -> None:
    """SavedModel with functions and signatures ``encode`` and ``decode``; needs only TensorFlow."""
    module = _Half(config, weights)
    tf.saved_model.save(
        module, str(folder), signatures={"encode": module.encode, "decode": module.decode}
    )
