"""Ranges of a quantised network's activations, found by running it on pictures without rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import keras
import numpy as np

from export.networks.fakequant import TOP, FakeQuant, QuantConv
from export.networks.layers import set_weights

TAIL = 1e-5  # share of the values that may be clipped at either end: single outliers cost precision


def rounders(model: keras.Model) -> list[FakeQuant]:
    """The rounding layers of a model in the order of computation."""
    return [layer for layer in model.layers if isinstance(layer, FakeQuant)]


def unrounded(model: keras.Model) -> dict[str, np.ndarray]:
    """Range weights by path with which a quantised model rounds no activation."""
    return {layer.range.path: np.zeros(2, np.float32) for layer in rounders(model)}


def calibrate(
    model: keras.Model,
    weights: dict[str, np.ndarray],
    inputs: Iterable[np.ndarray],
    tail: float = TAIL,
) -> dict[str, np.ndarray]:
    """Range weights by path, for the activations that ``inputs`` (of ``model``) cause.

    ``weights`` are those of the float network. Of each input the values at the ends of the
    distribution (all but ``tail``) count; the widest over the inputs is kept.
    """
    layers = rounders(model)
    set_weights(model, {**weights, **unrounded(model)})
    probe = keras.Model(model.inputs, [layer.output for layer in layers])
    ends = np.zeros((len(layers), 2))
    for x in inputs:
        for i, value in enumerate(probe.predict_on_batch(x)):
            low, high = np.quantile(value, [tail, 1.0 - tail])
            ends[i] = min(ends[i, 0], low), max(ends[i, 1], high)
    scales = np.maximum(ends[:, 1] - ends[:, 0], 1e-6) / TOP
    for name in {layer.shared for layer in layers} - {""}:
        members = [layer.shared == name for layer in layers]
        scales[members] = scales[members].max()
    scales = scales.astype(np.float32)
    zeros = np.clip(np.round(-ends[:, 0] / scales), 0, TOP)
    return {
        layer.range.path: np.array([scale, zero], np.float32)
        for layer, scale, zero in zip(layers, scales, zeros, strict=True)
    }


def calibrate_both(
    encoder: keras.Model,
    decoder: keras.Model,
    weights: dict[str, np.ndarray],
    inputs: list[np.ndarray],
    latents: Callable[[np.ndarray], np.ndarray],
    tail: float = TAIL,
) -> dict[str, np.ndarray]:
    """Range weights of encoder and decoder; ``latents`` makes of the encoder's output what the
    decoder is given."""
    found = calibrate(encoder, weights, inputs, tail)  # leaves the encoder without roundings
    coded = [latents(np.asarray(encoder.predict_on_batch(x))) for x in inputs]
    return found | calibrate(decoder, weights, coded, tail)


def trained(model: keras.Model, weights: dict[str, np.ndarray]) -> list[tuple[float, int]]:
    """(scale, zero) of each rounding of a quantised model, in the order of computation."""
    found = [weights[layer.range.path] for layer in rounders(model)]
    return [(float(scale), int(zero)) for scale, zero in found]


def rounded(model: keras.Model, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """``weights``, with those that a quantised model rounds in their rounded form, so that a
    float graph made of them and quantised again has exactly these integers."""
    set_weights(model, weights)
    out = dict(weights)
    for layer in model.layers:
        if isinstance(layer, QuantConv):
            out |= layer.rounded_weights()
    return out
