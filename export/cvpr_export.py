"""Graphs and SavedModel of a `cvpr` network.

Symbol k of a channel says that the k-th centre, in ascending order, is the nearest: it counts the
midpoints of neighbouring centres that the value exceeds. With an importance map the encoder also
gives the number of channels left at each position; the symbols of the others are that of 0.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import tensorflow as tf

from export import calibrate, cvpr_int8, ranges
from export.calibrate import CENTRES
from export.graphs import Exported, Facts, Weights, convert, name_ends, packed
from export.networks import cvpr
from export.networks.cvpr import CvprConfig
from export.networks.layers import set_weights

PARTS = ("encoder", "decoder")


def export(config: CvprConfig, weights: Weights, pictures: list[np.ndarray]) -> Exported:
    """Everything of a folded network. Ranges that training has not set are calibrated on
    ``pictures``, uint8 [1, H, W, 3] with sides that are multiples of 8."""
    encoder, decoder, weights = quantised(config, weights, pictures)
    return Exported(
        facts(config, weights),
        float_graphs(config, weights),
        cvpr_int8.graphs(config, encoder, decoder, thresholds(weights[CENTRES])),
        lambda folder: save_model(config, weights, folder),
    )


def quantised(
    config: CvprConfig, weights: Weights, pictures: list[np.ndarray]
) -> tuple[keras.Model, keras.Model, Weights]:
    """Quantised encoder and decoder of a folded network, and the weights that they compute with:
    rounded, with ranges, the centres in ascending order. See `export`."""
    weights = weights | {CENTRES: np.sort(weights[CENTRES])}
    encoder, decoder, weights = calibrate.quantised(config, weights, pictures)
    return encoder, decoder, ranges.rounded(decoder, ranges.rounded(encoder, weights))


def thresholds(centres: np.ndarray) -> np.ndarray:
    """float32 [L - 1], ascending: midpoints of neighbours among the sorted centres [L]."""
    return ((centres[1:] + centres[:-1]) * np.float32(0.5)).astype(np.float32)


def facts(config: CvprConfig, weights: Weights) -> Facts:
    """What the manifest says of a `cvpr` model. The decoder's numbers are those of the graph: its
    polyphase kernels have places that are always zero."""
    parameters = {}
    for part in PARTS:
        shapes = [layer.kernel_shape(False) for layer in cvpr.layers_of(config, part)]
        parameters[part] = sum(int(np.prod(shape)) + shape[-1] for shape in shapes)
    return Facts(
        stride=config.stride,
        channels=config.bottleneck,
        levels=config.centres,
        zero=int(np.sum(thresholds(weights[CENTRES]) < 0)),
        scales=tuple(float(centre) for centre in weights[CENTRES]),
        importance_map=config.importance_map,
        halo={part: cvpr.halo(config, part) for part in PARTS},
        parameters=parameters,
        multiply_adds_per_pixel={part: round(cvpr.products(config, part), 1) for part in PARTS},
    )


def build(config: CvprConfig, weights: Weights) -> tuple[keras.Model, keras.Model]:
    """Float encoder and decoder of a folded config holding ``weights``."""
    config = replace(config, quantised=False)
    encoder, decoder = cvpr.build_encoder(config), cvpr.build_decoder(config)
    set_weights(encoder, weights)
    set_weights(decoder, weights)
    return encoder, decoder


def encode(
    network: Any, config: CvprConfig, limits: np.ndarray, picture: tf.Tensor
) -> tuple[tf.Tensor, ...]:
    """uint8 [1, H, W, 3] -> symbols uint8 [1, C, H/8, W/8] and, with an importance map, counts
    uint8 [1, H/8, W/8]. ``network`` maps pictures to bottlenecks, ``limits`` are `thresholds`."""
    raw = tf.transpose(network(tf.cast(picture, tf.float32)), (0, 3, 1, 2))
    if not config.importance_map:
        return (symbols_of(raw, limits),)
    steps = np.arange(config.bottleneck, dtype=np.float32)[:, None, None]
    left = tf.sigmoid(raw[:, :1]) * float(config.bottleneck) - steps
    symbols = symbols_of(raw[:, 1:] * tf.clip_by_value(left, 0.0, 1.0), limits)
    counts = tf.reduce_sum(tf.cast(left > 0.0, tf.float32), axis=1)
    return symbols, tf.cast(counts, tf.uint8)


def symbols_of(values: tf.Tensor, limits: np.ndarray) -> tf.Tensor:
    """uint8, of the shape of ``values``: how many of the limits each exceeds."""
    return tf.cast(tf.add_n([tf.cast(values > t, tf.float32) for t in limits]), tf.uint8)


def decode(network: Any, centres: np.ndarray, symbols: tf.Tensor) -> tf.Tensor:
    """uint8 [1, C, h, w] -> uint8 [1, 8h, 8w, 3]; ``centres`` in ascending order."""
    values = tf.gather(tf.constant(centres), tf.cast(symbols, tf.int32))
    picture = network(tf.transpose(values, (0, 2, 3, 1)))
    return tf.cast(tf.clip_by_value(tf.round(picture), 0.0, 255.0), tf.uint8)


def float_graphs(config: CvprConfig, weights: Weights) -> dict[str, onnx.ModelProto]:
    """{"encoder": ..., "decoder": ...} in float32."""
    encoder, decoder = build(config, weights)
    centres, c = weights[CENTRES], config.bottleneck
    limits = thresholds(centres)
    picture = tf.TensorSpec((1, None, None, 3), tf.uint8, name="picture")
    symbols = tf.TensorSpec((1, c, None, None), tf.uint8, name="symbols")
    out = {
        "encoder": convert(lambda x: encode(encoder, config, limits, x), picture),
        "decoder": convert(lambda x: decode(decoder, centres, x), symbols),
    }
    results: dict[str, tuple[int | str, ...]] = {"symbols": (1, c, "rows", "columns")}
    if config.importance_map:
        results["counts"] = (1, "rows", "columns")
    name_ends(out["encoder"], "picture", ("H", "W"), results)
    name_ends(out["decoder"], "symbols", ("rows", "columns"), {"picture": (1, "H", "W", 3)})
    return out


class _Half(tf.Module):
    """Networks whose weights lie in one float16 variable each, see `graphs.packed`."""

    def __init__(self, config: CvprConfig, weights: Weights) -> None:
        super().__init__(name="cvpr")
        picture = tf.TensorSpec((1, None, None, 3), tf.uint8, name="picture")
        symbols = tf.TensorSpec((1, config.bottleneck, None, None), tf.uint8, name="symbols")
        encoder, decoder = build(config, weights)
        self.encoder_weights, wide_encoder = packed(encoder)
        self.decoder_weights, wide_decoder = packed(decoder)
        centres = weights[CENTRES]
        limits = thresholds(centres)

        @tf.function(input_signature=[picture])
        def encode_picture(picture: tf.Tensor) -> tuple[tf.Tensor, ...]:
            return encode(wide_encoder, config, limits, picture)

        @tf.function(input_signature=[symbols])
        def decode_symbols(symbols: tf.Tensor) -> tf.Tensor:
            return decode(wide_decoder, centres, symbols)

        self.encode, self.decode = encode_picture, decode_symbols


def save_model(config: CvprConfig, weights: Weights, folder: Path) -> None:
    """SavedModel with functions and signatures ``encode`` and ``decode``; needs only TensorFlow."""
    module = _Half(config, weights)
    tf.saved_model.save(
        module, str(folder), signatures={"encode": module.encode, "decode": module.decode}
    )
