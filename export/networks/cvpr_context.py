"""The context model of the `cvpr` network: a 3D masked convolutional network over the symbols.

It goes through the volume channel by channel, each in raster order, and gives every symbol a
distribution from those before it (Mentzer et al., CVPR 2018, section 3.3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from export.networks.cvpr_layers import ContextPadding, MaskedConv3D

if TYPE_CHECKING:
    from export.networks.cvpr import CvprConfig

PADDING = 4  # four convolutions, each reaching one place


def build_context(config: CvprConfig) -> keras.Model:
    """([n, h, w, C] values, [n] value of centre 0) -> logits float32 [n, C, h, w, L].

    The values are quantised ones, that is centres; around the volume stands centre 0. No gradient
    flows to the inputs. Logits are not negative: the reference has a ReLU there too, so imported
    weights need it.
    """
    k = config.context.width
    values = keras.Input((None, None, config.bottleneck), name="values")
    fill = keras.Input((), name="centre0")
    x = ContextPadding(PADDING, name="ctx_padding")([values, fill])
    x = ops.relu(MaskedConv3D(k, first=True, name="ctx_conv0")(x))
    y = ops.relu(MaskedConv3D(k, name="ctx_res_conv1")(x))
    y = MaskedConv3D(k, name="ctx_res_conv2")(y)
    x = y + x[:, 2:, 2:-2, 2:-2]
    logits = ops.relu(MaskedConv3D(config.centres, name="ctx_conv2")(x))
    return keras.Model([values, fill], logits, name="context")


def bit_cost(logits: Any, symbols: Any) -> Any:
    """Ideal bits of each symbol: (logits [n, C, h, w, L], int [n, h, w, C]) -> [n, h, w, C]."""
    levels = int(logits.shape[-1])
    nats = -ops.log_softmax(ops.transpose(logits, (0, 2, 3, 1, 4)), axis=-1)
    chosen = ops.one_hot(symbols, levels, dtype=nats.dtype)
    return ops.sum(nats * chosen, axis=-1) / float(np.log(2.0))
