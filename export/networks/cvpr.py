"""The `cvpr` network: the autoencoder of Mentzer et al., "Conditional Probability Models for Deep
Image Compression" (CVPR 2018), as its authors trained it, and its folded and pruned forms.

Pictures are float [n, H, W, 3] in 0..255, H and W multiples of 8; the bottleneck is
[n, H/8, W/8, C + 1], its first channel the importance map. Every width is data in the config, so
a pruned network is another config of the same builders. With ``batch_norm`` false the network is
folded: convolutions with biases and, in the decoder, no transposed convolution. A folded one may
be ``quantised``: with the same weights, it rounds as its int8 graphs do.

Sides are "same" as TensorFlow's: a stride-2 convolution pads one place more behind than before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any

import keras
import numpy as np
from keras import ops

from export.networks.cvpr_context import bit_cost as bit_cost
from export.networks.cvpr_context import build_context as build_context
from export.networks.cvpr_layers import EPSILON, MEAN, SHIFT, STD, Centres
from export.networks.cvpr_layers import polyphase as polyphase
from export.networks.cvpr_stack import FIRST, Activation, Layers
from export.networks.edge import ConfigError
from export.networks.fakequant import ByteRange

Weights = dict[str, np.ndarray]


@dataclass(frozen=True)
class Side:
    """Widths of the encoder or the decoder.

    ``first`` is the width at half resolution (`h1`, `h12`), ``width`` that of the trunk. Each of
    ``groups`` has the inner width of each of its residual blocks, ``last`` that of the final
    block. A group without blocks is the identity, and so is a ``last`` of 0.
    """

    first: int = 64
    width: int = 128
    groups: tuple[tuple[int, ...], ...] = ((128,) * 3,) * 5
    last: int = 128


@dataclass(frozen=True)
class VolumeContext:
    """The 3D context model: features of its hidden layers."""

    width: int = 24


@dataclass(frozen=True)
class CvprConfig:
    """Everything that fixes the shapes of a `cvpr` network."""

    kind: str = "cvpr"
    bottleneck: int = 32
    centres: int = 6
    importance_map: bool = True
    batch_norm: bool = True
    quantised: bool = False
    qualities: tuple[str, ...] = ("A",)
    encoder: Side = field(default_factory=Side)
    decoder: Side = field(default_factory=Side)
    context: VolumeContext = field(default_factory=VolumeContext)

    def __post_init__(self) -> None:
        if self.quantised and self.batch_norm:
            raise ConfigError("network.quantised: only a folded network can be quantised")

    @property
    def stride(self) -> int:
        """Pixels a bottleneck position spans on each side."""
        return 8

    @classmethod
    def paper(
        cls, n: int = 128, groups: int = 5, bottleneck: int = 32, centres: int = 6
    ) -> CvprConfig:
        """The published shape: ``groups`` (the paper's B) groups of three blocks of width n."""
        side = Side(n // 2, n, ((n,) * 3,) * groups, n)
        return cls(bottleneck=bottleneck, centres=centres, encoder=side, decoder=side)

    @classmethod
    def from_dict(cls, data: Any) -> CvprConfig:
        """Config of parsed JSON; unknown keys and impossible values are a ConfigError."""
        parts = {"encoder": Side, "decoder": Side, "context": VolumeContext}
        known: dict[str, Any] = {}
        for key, value in _known(cls, data, "network").items():
            where = f"network.{key}"
            if key in parts:
                part = parts[key]
                items = _known(part, value, where)
                known[key] = part(**{k: _widths(k, v, f"{where}.{k}") for k, v in items.items()})
            else:
                known[key] = _plain(key, value, where)
        return cls(**known)


def _known(kind: type, data: Any, where: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: expected an object, got {type(data).__name__}")
    names = [f.name for f in fields(kind)]
    for key in data:
        if key not in names:
            raise ConfigError(f"{where}: unknown key {key!r} (known: {', '.join(sorted(names))})")
    return data


def _widths(key: str, value: Any, where: str) -> Any:
    """A positive width; ``last`` may be 0; ``groups`` is a list of lists of them."""
    if key == "groups":
        if not isinstance(value, list) or not all(isinstance(group, list) for group in value):
            raise ConfigError(f"{where}: expected a list of lists of widths")
        return tuple(tuple(_widths("", inner, where) for inner in group) for group in value)
    if type(value) is not int or value < (0 if key == "last" else 1):
        raise ConfigError(f"{where}: unusable value {value!r}")
    return value


def _plain(key: str, value: Any, where: str) -> Any:
    if key == "qualities":
        if not (isinstance(value, list) and len(value) == 1 and isinstance(value[0], str)):
            raise ConfigError(f"{where}: a cvpr network has one quality, not {value!r}")
        return tuple(value)
    if key == "kind":
        good = value == "cvpr"
    elif key in ("importance_map", "batch_norm", "quantised"):
        good = isinstance(value, bool)
    else:  # two centres at least: one symbol says nothing; a symbol is a byte
        good = type(value) is int and (2 <= value <= 256 if key == "centres" else value > 0)
    if not good:
        raise ConfigError(f"{where}: unusable value {value!r}")
    return value


def build_encoder(config: CvprConfig, *, precision: str = "float32") -> keras.Model:
    """float [n, H, W, 3] in 0..255 -> bottleneck float32 [n, H/8, W/8, C + 1], see
    `importance_mask` (C channels without an importance map).

    ``precision`` "bfloat16" runs the arithmetic in it; weights and the result stay float32.
    """
    side, layers = config.encoder, Layers("enc", config, precision)
    picture = keras.Input((None, None, 3), name="picture")
    if config.quantised:
        x = Activation(picture - SHIFT, ByteRange(1.0, 0))
    else:
        x = Activation((picture - MEAN) / STD)
    x = layers.conv(x, "h1", side.first, 5, stride=2)
    x = layers.conv(x, "h2", side.width, 5, stride=2, stream=FIRST)
    x = layers.trunk(x, side)
    channels = config.bottleneck + config.importance_map
    y = layers.convolve(x, "to_bn", channels, 5, stride=2, whole=False)
    y = Centres(config.centres, name="enc_centres")(ops.cast(y, "float32"))
    return keras.Model(picture, y, name="encoder")


def build_decoder(config: CvprConfig, *, precision: str = "float32") -> keras.Model:
    """Quantised values (centres) [n, h, w, C] -> float32 [n, 8h, 8w, 3], about 0..255, not
    clipped. ``precision`` as for `build_encoder`."""
    side, layers = config.decoder, Layers("dec", config, precision)
    values = keras.Input((None, None, config.bottleneck), name="values")
    x = layers.act(values, "values")
    x = layers.conv(x, "from_bn", side.width, 3, up=True, stream=FIRST)
    x = layers.trunk(x, side)
    x = layers.conv(x, "h12", side.first, 5, up=True)
    y = layers.convolve(x, "h13", 3, 5, up=True)
    picture = ops.cast(y, "float32") * STD + MEAN
    return keras.Model(values, picture, name="decoder")


def importance_mask(raw: Any, config: CvprConfig) -> tuple[Any, Any]:
    """Bottleneck [n, h, w, C + 1] -> masked values [n, h, w, C], importance map [n, h, w] in 0..C.

    Without an importance map in the config the map is C everywhere.
    """
    count = config.bottleneck
    if not config.importance_map:
        return raw, ops.full_like(raw[..., 0], float(count))
    importance = ops.sigmoid(raw[..., 0]) * float(count)
    return raw[..., 1:] * channel_mask(importance, count), importance


def channel_mask(importance: Any, channels: int) -> Any:
    """Importance map [n, h, w] -> factor of each channel c, clip(map - c, 0, 1): [n, h, w, C]."""
    steps = np.arange(channels, dtype=np.float32)
    return ops.clip(importance[..., None] - steps, 0.0, 1.0)


def quantise(z: Any, centres: Any) -> tuple[Any, Any]:
    """(float of any shape, centres [L]) -> (values, symbols int32), both of that shape.

    Forward, a value is its nearest centre (of two equally near ones the first); its gradient is
    that of the soft assignment, softmax over the centres of -(distance squared).
    """
    distance = ops.square(ops.expand_dims(z, -1) - centres)
    symbols = ops.cast(ops.argmin(ops.stop_gradient(distance), axis=-1), "int32")
    soft = ops.sum(ops.softmax(-distance, axis=-1) * centres, axis=-1)
    hard = ops.stop_gradient(ops.take(centres, symbols, axis=0))
    return hard + (soft - ops.stop_gradient(soft)), symbols


@dataclass(frozen=True)
class Layer:
    """One convolution of the encoder or decoder: its weight name, shape, and where it runs.

    ``grid`` is the number of pixels a position spans where the kernel is applied: the output's
    positions, or the input's for one that goes up (``up``).
    """

    name: str
    size: int
    inputs: int
    outputs: int
    grid: int
    up: bool = False

    def kernel_shape(self, batch_norm: bool) -> tuple[int, int, int, int]:
        """Shape of ``name``/kernel: a transposed convolution with batch norm, else polyphase."""
        if not self.up:
            return (self.size, self.size, self.inputs, self.outputs)
        if batch_norm:
            return (self.size, self.size, self.outputs, self.inputs)
        return (3, 3, self.inputs, 4 * self.outputs)


def layers_of(config: CvprConfig, part: str) -> Iterator[Layer]:
    """The convolutions of ``part``, "encoder" or "decoder", first to last."""
    side = {"encoder": config.encoder, "decoder": config.decoder}[part]
    prefix, n = part[:3], side.width
    if part == "encoder":
        yield Layer("enc_h1", 5, 3, side.first, 4)
        yield Layer("enc_h2", 5, side.first, n, 16)
    else:
        yield Layer("dec_from_bn", 3, config.bottleneck, n, 64, up=True)
    blocks = [
        (f"{prefix}_block{b}_{i}", inner)
        for b, group in enumerate(side.groups)
        for i, inner in enumerate(group)
    ]
    for name, inner in [*blocks, *([(f"{prefix}_final", side.last)] if side.last else [])]:
        yield Layer(f"{name}_conv1", 3, n, inner, 16)
        yield Layer(f"{name}_conv2", 3, inner, n, 16)
    if part == "encoder":
        yield Layer("enc_to_bn", 5, n, config.bottleneck + config.importance_map, 64)
    else:
        yield Layer("dec_h12", 5, n, side.first, 16, up=True)
        yield Layer("dec_h13", 5, side.first, 3, 4, up=True)


def parameter_count(config: CvprConfig) -> int:
    """Trained numbers of encoder and decoder: kernels and, a channel, gamma and beta (or a bias).

    Neither the centres nor the context model; 10 016 072 for the published shape.
    """
    total = 0
    for part in ("encoder", "decoder"):
        for layer in layers_of(config, part):
            shape = layer.kernel_shape(config.batch_norm)
            each = 2 * layer.outputs if config.batch_norm else shape[-1]
            total += int(np.prod(shape)) + each
    return total


def products(config: CvprConfig, part: str) -> float:
    """Multiply-adds a pixel of "encoder" or "decoder": each kernel once a position it is applied
    at. The folded decoder's are of the polyphase form, the zeros in its kernels included."""
    return sum(
        float(np.prod(layer.kernel_shape(config.batch_norm))) / layer.grid
        for layer in layers_of(config, part)
    )


def halo(config: CvprConfig, part: str) -> int:
    """Positions of the bottleneck's grid, to each side of its own, that a result of "encoder" or
    "decoder" depends on. Kernels of 5 are at home where the side of a picture is halved."""
    pixels = 0.0
    for layer in layers_of(config, part):
        step = layer.grid**0.5  # pixels a position, where the kernel is applied
        reach = 1 if layer.up or layer.size == 3 else (layer.size // 2) / 2
        pixels += step * reach
    return -int(-pixels // config.stride)


def fold(config: CvprConfig, weights: Weights) -> tuple[CvprConfig, Weights]:
    """Config and weights of the equal network without batch norm or transposed convolutions.

    The moving statistics go into kernels and biases. Other weights (centres, the context model)
    stay as they are; a folded network comes back unchanged. A missing weight is a ConfigError.
    """
    if not config.batch_norm:
        return config, dict(weights)
    out = {k: v for k, v in weights.items() if not k.startswith(("enc_", "dec_"))}
    try:
        out["enc_centres/centres"] = weights["enc_centres/centres"]
        for part in ("encoder", "decoder"):
            for layer in layers_of(config, part):
                kernel, bias = _fold_layer(layer, weights)
                out[f"{layer.name}/kernel"] = kernel.astype(np.float32)
                out[f"{layer.name}/bias"] = bias.astype(np.float32)
    except KeyError as error:
        raise ConfigError(f"no weight named {error} for the network to fold") from error
    return replace(config, batch_norm=False), out


def _fold_layer(layer: Layer, weights: Weights) -> tuple[np.ndarray, np.ndarray]:
    """float64 kernel and bias of one convolution with its batch norm inside."""
    kernel = weights[f"{layer.name}/kernel"].astype(np.float64)
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    gamma, beta, mean, variance = (
        weights[f"{layer.name}_bn/{part}"].astype(np.float64) for part in names
    )
    scale = gamma / np.sqrt(variance + EPSILON)
    bias = beta - mean * scale
    if layer.up:
        return polyphase(kernel * scale[:, None]), np.tile(bias, 4)
    return kernel * scale, bias
