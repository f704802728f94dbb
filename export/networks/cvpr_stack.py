"""The layers of a `cvpr` network in order, whatever they are made of: Keras layers here, the nodes
of an int8 graph in export/cvpr_int8.py."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import keras
from keras import ops

from export.networks.cvpr_layers import EPSILON, MOMENTUM, PictureConv, glorot
from export.networks.fakequant import FakeQuant, QuantConv

if TYPE_CHECKING:
    from export.networks.cvpr import CvprConfig, Side

X = TypeVar("X")
FIRST = "stream0"


class Stack(ABC, Generic[X]):
    """Residual blocks and groups out of convolutions and additions of activations ``X``."""

    @abstractmethod
    def conv(
        self,
        x: X,
        name: str,
        filters: int,
        size: int = 3,
        *,
        stride: int = 1,
        up: bool = False,
        relu: bool = True,
        stream: str = "",
    ) -> X:
        """Convolution and ReLU; ``up`` doubles the resolution. ``stream`` names the part of the
        residual stream that the result belongs to."""

    @abstractmethod
    def add(self, x: X, y: X, name: str, stream: str = "") -> X:
        """Sum of two activations of the residual stream."""

    def block(self, x: X, name: str, inner: int, width: int, stream: str, relu: bool = True) -> X:
        """Residual block of two convolutions, no activation after the second."""
        y = self.conv(x, f"{name}_conv1", inner, relu=relu)
        y = self.conv(y, f"{name}_conv2", width, relu=False, stream=stream)
        return self.add(x, y, name, stream)

    def trunk(self, x: X, side: Side) -> X:
        """Groups of residual blocks, the final block, and the skips around each group and all.

        ``x`` is of the stream `FIRST`; another begins behind each group, whose skip about doubles
        the values.
        """
        first, stream = x, FIRST
        for b, group in enumerate(side.groups):
            before = x
            for i, inner in enumerate(group):
                x = self.block(x, f"block{b}_{i}", inner, side.width, stream)
            if group:  # without blocks the skip would only double the values
                stream = f"stream{b + 1}"
                x = self.add(x, before, f"group{b}", stream)
        if side.last:
            x = self.block(x, "final", side.last, side.width, stream, relu=False)
        return x if x is first else self.add(x, first, "trunk")


@dataclass(frozen=True)
class Activation:
    """A Keras tensor and, in a quantised network, the description of its bytes."""

    value: Any
    bytes: Any = None


class Layers(Stack[Activation]):
    """Adds Keras layers; see `CvprConfig` for the forms of a network.

    In a quantised one every activation is rounded to a byte, with one scale for each part of the
    residual stream. Every convolution has 7-bit weights but the encoder's last.
    """

    def __init__(self, prefix: str, config: CvprConfig, precision: str) -> None:
        self.prefix = prefix
        self.batch_norm, self.quantised = config.batch_norm, config.quantised
        bfloat16 = precision == "bfloat16" and not config.quantised
        self.policy = "mixed_bfloat16" if bfloat16 else "float32"

    def conv(
        self,
        x: Activation,
        name: str,
        filters: int,
        size: int = 3,
        *,
        stride: int = 1,
        up: bool = False,
        relu: bool = True,
        stream: str = "",
    ) -> Activation:
        y = self.convolve(x, name, filters, size, stride=stride, up=up, relu=relu)
        return self.act(y, name, stream)

    def add(self, x: Activation, y: Activation, name: str, stream: str = "") -> Activation:
        return self.act(x.value + y.value, name, stream)

    def act(self, x: Any, name: str, stream: str = "") -> Activation:
        """``x`` as the next layers see it."""
        if not self.quantised:
            return Activation(x)
        layer = FakeQuant(stream, name=f"{self.prefix}_{name}_bytes")
        return Activation(layer(x), layer)

    def convolve(
        self,
        x: Activation,
        name: str,
        filters: int,
        size: int,
        *,
        stride: int = 1,
        up: bool = False,
        relu: bool = False,
        whole: bool = True,
    ) -> Any:
        """Convolution, batch norm unless folded, ReLU; ``up`` is transposed with stride 2.

        ``whole``: in whole numbers, if the network is quantised.
        """
        name = f"{self.prefix}_{name}"
        transposed = up and self.batch_norm
        polyphase = up and not self.batch_norm  # see cvpr_layers.polyphase
        if polyphase:
            filters, size = 4 * filters, 3
        if self.quantised and whole:
            quantised = QuantConv if isinstance(x.bytes, FakeQuant) else PictureConv
            y = quantised(filters, size, stride=stride, source=x.bytes, init="zeros", name=name)(
                x.value
            )
        else:
            kind = keras.layers.Conv2DTranspose if transposed else keras.layers.Conv2D
            y = kind(
                filters,
                size,
                strides=2 if transposed else stride,
                padding="same",
                use_bias=not self.batch_norm,
                kernel_initializer=glorot,
                name=name,
                dtype=self.policy,
            )(x.value)
        if self.batch_norm:
            y = keras.layers.BatchNormalization(
                momentum=MOMENTUM, epsilon=EPSILON, name=f"{name}_bn", dtype=self.policy
            )(y)
        if relu:
            y = ops.relu(y)
        return ops.depth_to_space(y, 2) if polyphase else y
