"""The float context model as the integers of `context.bin` (docs/format-context.md, section 2).

Fixed point: features have 6 fractional bits, activations 8, weights as many as keep every sum in
bounds, up to 12. Means leave with 6 fractional bits, scales as an index into 128 steps of their
logarithm. `edgecomp_context_prepare` proves the bounds anew for whoever loads the file.
"""

from __future__ import annotations

import struct

import numpy as np

from export.context_model import GROUP, LOG_SCALE, ContextError, Weights, features_of

MAGIC, VERSION = b"ECCP", 1
SCALES, TABLE = 128, 2049
FEATURE_BITS, ACTIVATION_BITS, WEIGHT_BITS = 6, 8, 12
MEAN_BITS, INVERSE_BITS, PROBABILITY_BITS = 6, 16, 24
STEPS_PER_UNIT = 64  # entries of the cumulative table for each unit of (x - mean) / scale
ACTIVATION_LIMIT = 8191
SUM_LIMIT = 1 << 30


def pack(weights: Weights, *, levels: int, zero: int) -> bytes:
    """The parameter file of float weights as `export.context_model` trains them.

    Raises:
        ContextError: the weights are too large for the format.
    """
    w = {name: np.asarray(value, np.float64) for name, value in weights.items()}
    channels, (_, hidden) = len(w["std"]), w["dense"].shape
    taps, width = w["rows"].shape[0], w["rows"].shape[3]
    reach = int(np.sqrt(taps / 2))
    feature = np.minimum(np.round(features_of(np.arange(256), w["std"]) * 2**FEATURE_BITS), 32767)

    rows, bits0 = _first_layer(w, feature.max(1))
    dense, within, bits1 = _second_layer(w, feature.max(1))
    out, out_bias, linear, mean_shift, scale_shift = _outputs(w, channels)
    header = struct.pack(
        "<4sBBBBBBHHHHH", MAGIC, VERSION, reach, bits0 + FEATURE_BITS - ACTIVATION_BITS,
        bits1 - ACTIVATION_BITS, scale_shift, zero, channels, levels, width, hidden, 0,
    )  # fmt: skip
    parts = (
        w["order"].astype("u1"),
        mean_shift.astype("u1"),
        feature.astype("<i2"),
        _whole(w["bias0"] * 2.0 ** (bits0 + FEATURE_BITS)),
        rows.astype("<i2"),
        _whole(linear),
        _whole(w["bias1"] * 2.0**bits1),
        _pairs(dense).astype("<i2"),
        within.astype("<i2"),
        _whole(out_bias),
        np.stack([_pairs(o) for o in out]).astype("<i2"),
        _inverse_scales(),
        _cumulative(levels),
    )
    return header + b"".join(part.tobytes() for part in parts)


def _whole(values: np.ndarray) -> np.ndarray:
    out = np.round(values)
    if np.abs(out).max(initial=0) > SUM_LIMIT:
        raise ContextError("a bias or a linear weight is beyond the format")
    return out.astype("<i4")


def _first_layer(w: dict[str, np.ndarray], largest: np.ndarray) -> tuple[np.ndarray, int]:
    """Weights [taps, channels, 2, width] in whole numbers and their fractional bits: as many as
    keep the sums in bounds whatever the symbols are."""
    for bits in range(WEIGHT_BITS, ACTIVATION_BITS - FEATURE_BITS - 1, -1):
        out = np.round(w["rows"] * 2.0**bits)
        most = (np.abs(out).max(2) * largest[:, None]).sum((0, 1))
        most = most + np.abs(w["bias0"]) * 2.0 ** (bits + FEATURE_BITS)
        if np.abs(out).max() <= 32767 and most.max() <= SUM_LIMIT:
            return out, bits
    raise ContextError("the weights of the first layer are beyond the format")


def _second_layer(
    w: dict[str, np.ndarray], largest: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Weights [width, hidden] and [channels, 2, hidden] in whole numbers, and the fractional bits
    of their sums."""
    for bits in range(WEIGHT_BITS, 0, -1):
        dense = np.round(w["dense"] * 2.0**bits)
        within = np.round(w["within"] * 2.0 ** (bits + ACTIVATION_BITS - FEATURE_BITS))
        most = np.abs(dense).sum(0) * ACTIVATION_LIMIT
        most = most + (np.abs(within).max(1) * largest[:, None]).sum(0)
        most = most + np.abs(w["bias1"]) * 2.0 ** (bits + ACTIVATION_BITS)
        if max(np.abs(dense).max(), np.abs(within).max()) <= 32767 and most.max() <= SUM_LIMIT:
            return dense, within, bits + ACTIVATION_BITS
    raise ContextError("the weights of the second layer are beyond the format")


def _pairs(matrix: np.ndarray) -> np.ndarray:
    """[inputs, outputs] -> [inputs / 2, outputs, 2]: two inputs of an output side by side."""
    inputs, outputs = matrix.shape
    return matrix.reshape(inputs // 2, 2, outputs).transpose(0, 2, 1)


def _outputs(
    w: dict[str, np.ndarray], channels: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    """Weights [groups, hidden, 16], biases [groups, 16], linear weights [taps, channels], shifts of
    the means [groups * 8] and of the scales. Each mean has its own fractional bits: those of the
    large channels weigh more."""
    groups = -(-channels // GROUP)
    hidden = w["mean"].shape[0]
    mean = w["mean"] * w["std"]
    mean_bias = w["mean_bias"] * w["std"]
    step = SCALES / (LOG_SCALE[1] - LOG_SCALE[0])
    scale = w["scale"] * step
    scale_bias = (w["scale_bias"] - LOG_SCALE[0]) * step
    scale, scale_bits = _scales(scale, scale_bias)
    out, bias = np.zeros((groups, hidden, 2 * GROUP)), np.zeros((groups, 2 * GROUP))
    linear, shift = np.zeros(w["linear"].shape), np.zeros(groups * GROUP)
    for place in range(channels):
        g, i = divmod(place, GROUP)
        for bits in range(WEIGHT_BITS, -1, -1):
            one = 2.0 ** (bits + ACTIVATION_BITS)
            column, lines = np.round(mean[:, place] * 2.0**bits), w["linear"][:, place] * one
            most = np.abs(column).sum() * ACTIVATION_LIMIT + np.abs(np.round(lines)).sum() * 255
            if np.abs(column).max() <= 32767 and most + abs(mean_bias[place]) * one <= SUM_LIMIT:
                break
        else:
            raise ContextError(f"the mean of place {place} is beyond the format")
        out[g, :, i], bias[g, i] = column, mean_bias[place] * one
        linear[:, place], shift[place] = lines, bits + ACTIVATION_BITS - MEAN_BITS
        # the shift cuts off: half a step more makes that a rounding
        bias[g, i] += 2.0 ** (shift[place] - 1)
        out[g, :, GROUP + i] = scale[:, place]
        bias[g, GROUP + i] = scale_bias[place] * 2.0 ** (scale_bits + ACTIVATION_BITS)
    return out, bias, linear, shift, scale_bits + ACTIVATION_BITS


def _scales(weights: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, int]:
    """The weights [hidden, channels] of the scales in whole numbers, and their fractional bits."""
    for bits in range(WEIGHT_BITS, -1, -1):
        out = np.round(weights * 2.0**bits)
        most = np.abs(out).sum(0) * ACTIVATION_LIMIT + np.abs(bias) * 2.0 ** (
            bits + ACTIVATION_BITS
        )
        if np.abs(out).max() <= 32767 and most.max() <= SUM_LIMIT:
            return out, bits
    raise ContextError("the weights of the scales are beyond the format")


def _inverse_scales() -> np.ndarray:
    low, high = LOG_SCALE
    logs = low + (np.arange(SCALES) + 0.5) * (high - low) / SCALES
    return np.round(2.0**INVERSE_BITS * np.exp(-logs) * STEPS_PER_UNIT / 2**MEAN_BITS).astype("<u4")


def _cumulative(levels: int) -> np.ndarray:
    """The logistic function; indices are cut off, so an entry stands for the middle of its step."""
    at = (np.arange(TABLE) - TABLE // 2 + 0.5) / STEPS_PER_UNIT
    share = 1.0 / (1.0 + np.exp(-at))
    share[0], share[-1] = 0.0, 1.0
    return np.round(share * (2**PROBABILITY_BITS - levels)).astype("<u4")
