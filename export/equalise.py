"""Channels of an `edge` network that are given ranges alike before they are rounded to bytes.

The channels of an activation share one scale of bytes, along a residual stream all activations do,
and the loudest channel sets it: a quiet one is left a few steps of the 255. But a channel may be
written larger by a factor, and read smaller by the same: ReLU and sums of a stream hold for
positive factors, so the network computes what it did, and its bytes round the quiet channels finer
(Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", 4.1).
Nothing of it is left to do when the network runs.

Weights pay for it: a filter has one step for all its inputs, and these are spread wider. Hence
powers of the channels' peaks below one, as of Xiao et al. 2023 ("SmoothQuant", equation 4).
"""

from __future__ import annotations

import keras
import numpy as np

from export import pruning, ranges
from export.networks.edge import EdgeConfig
from export.networks.layers import set_weights
from export.pruning.structure import Structure

Weights = dict[str, np.ndarray]
Peaks = dict[str, np.ndarray]

# -10 log10(1 - MS-SSIM) of an A, calibrated and not trained on with the roundings, 20 held-back
# pictures: 16.58 dB with neither, 16.61 with 0.5 and 0, 16.62 with 0.5 and 0.5, 16.63 with these.
STREAM_POWER = 0.75
INNER_POWER = 0.5
LEAST = 1e-3  # of the loudest channel's peak: what a silent one is taken to have
SPARSE = 16  # one position in so many is looked at, for a quantile of each channel sorts them all


def peaks(model: keras.Model, inputs: list[np.ndarray], tail: float) -> Peaks:
    """Magnitude that all but ``tail`` of a channel's values stay below, for each rounding layer of
    a quantised encoder or decoder; the mean over ``inputs``.

    The model must hold its weights, with ranges that pass everything (`ranges.unrounded`).
    """
    layers = ranges.rounders(model)
    probe = keras.Model(model.inputs, [layer.output for layer in layers])
    sums: Peaks = {}
    for x in inputs:
        for layer, value in zip(layers, probe.predict_on_batch(x), strict=True):
            seen = np.abs(np.asarray(value)).reshape(-1, value.shape[-1])[::SPARSE]
            sums[layer.name] = sums.get(layer.name, 0.0) + np.quantile(seen, 1.0 - tail, axis=0)
    return {name: total / len(inputs) for name, total in sums.items()}


def factors(structure: Structure, found: Peaks) -> dict[str, np.ndarray]:
    """What each channel of a group is to be multiplied by, at least one.

    ``found`` has the peaks of every rounding layer of encoder and decoder, by its name.
    """
    out = {}
    for group in structure.widths:
        block = structure.block_of(group)
        names = [f"{c.name}_bytes" for c in structure.producers(group)]
        if block is None:  # a stream: the sums behind its blocks too
            part = structure.part_of(group)
            names += [f"{name}_bytes" for name, b in structure.blocks.items() if b.part == part]
        peak = np.max([found[name] for name in names], axis=0)
        share = np.maximum(peak / max(peak.max(), 1e-9), LEAST)
        power = STREAM_POWER if block is None else INNER_POWER
        out[group] = (share**-power).astype(np.float32)
    return out


def scaled(structure: Structure, weights: Weights, by: dict[str, np.ndarray]) -> Weights:
    """``weights`` with the channels of each group of ``by`` multiplied where they are written, and
    divided where they are read."""
    out = dict(weights)
    for c in structure.convolutions:
        kernel, bias = out[f"{c.name}/kernel"], out[f"{c.name}/bias"]
        read, written = by.get(str(c.source)), by.get(str(c.target))
        if read is not None:
            kernel = kernel / read[:, None]
        if written is not None:
            kernel, bias = kernel * written, bias * written
        out[f"{c.name}/kernel"], out[f"{c.name}/bias"] = kernel, bias
    return out


def equalised(
    config: EdgeConfig,
    models: tuple[keras.Model, keras.Model],
    weights: Weights,
    inputs: list[np.ndarray],
    tail: float,
) -> Weights:
    """Weights of a folded network that computes the same, up to the rounding of float32, and
    whose channels are more alike.

    Args:
        models: encoder and decoder, built as quantised; their weights are overwritten.
        inputs: what the encoder is given, float32 [1, h, w, 192] each.
        tail: share of a channel's values that its peak leaves out.
    """
    encoder, decoder = models
    for model in models:
        set_weights(model, {**weights, **ranges.unrounded(model)})
    latents = [np.round(np.asarray(encoder.predict_on_batch(x))) for x in inputs]
    found = peaks(encoder, inputs, tail) | peaks(decoder, latents, tail)
    structure = pruning.structure_of(config)
    return scaled(structure, weights, factors(structure, found))
