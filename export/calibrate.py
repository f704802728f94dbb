"""The ranges of a folded network's activations, where training has not set them: both families."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np

from export import equalise, ranges
from export.networks import cvpr, edge
from export.networks.cvpr import CvprConfig
from export.networks.edge import EdgeConfig
from export.networks.fakequant import TOP

Weights = dict[str, np.ndarray]
CENTRES = "enc_centres/centres"
VALUES = "dec_values_bytes/range"
# The bytes of edge's residual streams have one scale each, so that one layer's outliers cost all of
# them: clipping more than `ranges.TAIL` won 0.4 dB of -10 log10(1 - MS-SSIM) at A. With channels
# that are alike (equalise.py) tails are shorter: 16.835 dB with this, 16.823 with 1e-3, 16.796 with
# 2.5e-3 (ten held-back pictures); before that, 1e-3 was best.
EDGE_TAIL = 3e-4


def quantised(
    config: EdgeConfig | CvprConfig, weights: Weights, pictures: list[np.ndarray]
) -> tuple[keras.Model, keras.Model, Weights]:
    """Quantised encoder and decoder of a folded network, and ``weights`` with their ranges.

    Ranges that training has not set are calibrated on ``pictures``, uint8 [1, H, W, 3] with sides
    that are multiples of the stride; before that the channels of an `edge` network are made alike
    (equalise.py), which changes its weights and not what it computes.
    """
    rounding = replace(config, quantised=True)
    if isinstance(rounding, EdgeConfig):
        encoder, decoder = edge.build_encoder(rounding), edge.build_decoder(rounding)
    else:
        encoder, decoder = cvpr.build_encoder(rounding), cvpr.build_decoder(rounding)
    if config.quantised:
        return encoder, decoder, weights
    if isinstance(config, EdgeConfig):
        inputs = [edge.encoder_input(config, picture) for picture in pictures]
        weights = equalise.equalised(config, (encoder, decoder), weights, inputs, EDGE_TAIL)
        found = ranges.calibrate_both(encoder, decoder, weights, inputs, np.round, EDGE_TAIL)
    else:
        inputs = [picture.astype(np.float32) for picture in pictures]
        found = ranges.calibrate_both(
            encoder, decoder, weights, inputs, lambda raw: _values(config, weights, raw)
        )
        found[VALUES] = _centre_range(weights[CENTRES])
    return encoder, decoder, weights | found


def _values(config: CvprConfig, weights: Weights, raw: np.ndarray) -> np.ndarray:
    """Bottleneck [n, h, w, C + 1] -> what the decoder is given for it, [n, h, w, C]."""
    masked, _ = cvpr.importance_mask(raw, config)
    values, _ = cvpr.quantise(masked, weights[CENTRES])
    return np.asarray(values)


def _centre_range(centres: np.ndarray) -> np.ndarray:
    """(scale, zero) of bytes for all centres, the rarest too."""
    low, high = min(centres.min(), 0.0), max(centres.max(), 0.0)
    scale = np.float32(max(high - low, 1e-6) / TOP)
    return np.array([scale, np.clip(np.round(-low / scale), 0, TOP)], np.float32)
