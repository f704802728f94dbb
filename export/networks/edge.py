"""The `edge` network: a gated linear transform of 8x8 patches plus residual trunks on the 1/8 grid.

Encoder and decoder work on patches [n, h, w, 192], the values of each 8x8 RGB patch in the order
(row, column, colour), scaled as (byte - 128) / 255; `to_patches` and `from_patches` convert.
The linear path starts as the principal components of such patches, so the codec works before the
first training step. Each trunk also gives a gate per latent channel and position, which multiplies
the latents: the encoder spends fewer levels where contrast hides errors, the decoder undoes it.
MS-SSIM asks for just that, and sums of ReLUs learn products slowly.

One network serves several qualities: a trained gain per latent channel and a trained bias behind
the first convolution of each trunk. `fold` turns both, and the factor of the residual blocks, into
plain weights of the same builder with a `folded` config of one quality: what is pruned, quantised
and exported. A ``quantised`` config trains that with the roundings of the int8 graphs in the loop
(`networks/fakequant.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import keras
import numpy as np
from keras import ops

from export.networks.fakequant import ByteRange, FakeQuant, QuantConv, straight
from export.networks.layers import Conv, QualityTable

RESIDUAL = 0.2  # factor of a residual block's branch: keeps deep trunks near the identity at start
GATE = (0.125, 8.0)  # limits of what a gate multiplies by
COARSE, FINE = 2.0, 0.0625  # steps of the two bytes in which int8 decoders hold gated latents
LOG_SCALE = (-3.2, 5.0)  # of the logistic distributions: a certain zero costs 1e-4 bits at -3.2


class ConfigError(ValueError):
    """A network or training config that cannot be used; the message names the key."""


@dataclass(frozen=True)
class Trunk:
    """Widths of one trunk: n channels, the two inner widths of each block (a single number means
    both), end kernel sizes."""

    width: int = 128
    blocks: tuple[tuple[int, int], ...] = ((64, 64),) * 6
    head: int = 1
    tail: int = 1

    def __post_init__(self) -> None:
        pairs = tuple((b, b) if isinstance(b, int) else tuple(b) for b in self.blocks)
        object.__setattr__(self, "blocks", pairs)


@dataclass(frozen=True)
class Context:
    """The context model: rows above and columns beside that it sees, and its 1x1 layers."""

    reach: int = 2
    width: int = 96
    hidden: tuple[int, ...] = (96,)


@dataclass(frozen=True)
class EdgeConfig:
    """Everything that fixes the shapes of an `edge` network; a pruned one is another config."""

    latents: int = 64
    patch: int = 8
    clamp: int = 127
    qualities: tuple[str, ...] = ("A", "B", "C")
    encoder: Trunk = field(default_factory=Trunk)
    decoder: Trunk = field(default_factory=Trunk)
    context: Context = field(default_factory=Context)
    folded: bool = False
    quantised: bool = False

    def __post_init__(self) -> None:
        if self.folded and len(self.qualities) != 1:
            raise ConfigError("network.folded: a folded network has one quality")
        if self.quantised and not self.folded:
            raise ConfigError("network.quantised: only a folded network can be quantised")

    @property
    def values(self) -> int:
        """Values of one patch."""
        return 3 * self.patch * self.patch

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> EdgeConfig:
        """Config of parsed JSON; unknown keys and impossible values are a ConfigError."""
        parts = {"encoder": Trunk, "decoder": Trunk, "context": Context}
        known: dict[str, Any] = {}
        for key, value in _checked(cls, data, "network").items():
            part = parts.get(key)
            known[key] = value if part is None else part(**_checked(part, value, f"network.{key}"))
        return cls(**known)


def _checked(kind: type, data: Any, where: str) -> dict[str, Any]:
    """The items of ``data`` with lists as tuples, after checking names and positive integers."""
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: expected an object, got {type(data).__name__}")
    names = {f.name for f in fields(kind)}
    out: dict[str, Any] = {}
    for key, value in data.items():
        if key not in names:
            raise ConfigError(f"{where}: unknown key {key!r} (known: {', '.join(sorted(names))})")
        out[key] = tuple(value) if isinstance(value, list) else value
        if isinstance(value, dict):
            continue
        for item in value if isinstance(value, list) else [value]:
            if not _usable(key, item):
                raise ConfigError(f"{where}.{key}: unusable value {item!r}")
        if key in ("head", "tail") and value not in (1, 3):
            raise ConfigError(f"{where}.{key}: kernel sizes are 1 or 3, not {value}")
    return out


def _usable(key: str, item: Any) -> bool:
    """Whether one value of a config, or one item of its list, is of the kind its key asks for."""
    if key == "qualities":
        return isinstance(item, str)
    if key in ("folded", "quantised"):
        return isinstance(item, bool)
    if key == "blocks" and isinstance(item, list):
        return len(item) == 2 and all(type(n) is int and n > 0 for n in item)
    return type(item) is int and item > 0


def to_patches(picture: Any, patch: int = 8) -> Any:
    """[n, H, W, 3] -> [n, H/patch, W/patch, 3 patch^2]; H and W must be known multiples."""
    n, rows, cols = ops.shape(picture)[0], picture.shape[1] // patch, picture.shape[2] // patch
    x = ops.reshape(picture, (n, rows, patch, cols, patch, 3))
    return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (n, rows, cols, 3 * patch * patch))


def from_patches(patches: Any, patch: int = 8) -> Any:
    """Inverse of `to_patches`."""
    n, rows, cols = ops.shape(patches)[0], patches.shape[1], patches.shape[2]
    x = ops.reshape(patches, (n, rows, cols, patch, patch, 3))
    return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (n, rows * patch, cols * patch, 3))


def encoder_input(config: EdgeConfig, picture: np.ndarray) -> np.ndarray:
    """uint8 [n, H, W, 3] -> float32 [n, H/8, W/8, 192], as the encoder takes it."""
    centred = (picture.astype(np.float32) - 128.0) / 255.0
    return np.asarray(to_patches(centred, config.patch))


class _Trunk:
    """Builds the layers of one trunk. In a quantised network every convolution but the last has
    7-bit weights and every activation is rounded to a byte, all along the residual stream with
    one scale; the last convolution is part of the exact integer product (export/quantise.py),
    whose 14 bits need no imitation."""

    def __init__(self, config: EdgeConfig, name: str, policy: str) -> None:
        self.name, self.quantised = name, config.quantised
        self.policy = "float32" if config.quantised else policy
        self.nq = 0 if config.folded else len(config.qualities)

    def conv(self, x: Any, source: Any, filters: int, name: str, size: int, init: float) -> Any:
        """Convolution of ``x``, whose bytes ``source`` describes (only quantised ones care)."""
        options = {"init": init, "name": f"{self.name}_{name}", "dtype": self.policy}
        if self.quantised:
            return QuantConv(filters, size, source=source, **options)(x)
        return Conv(filters, size, **options)(x)

    def act(self, x: Any, name: str, shared: str = "") -> tuple[Any, Any]:
        """The activation as the next layers see it, and the description of its bytes."""
        if not self.quantised:
            return x, None
        layer = FakeQuant(shared, name=f"{self.name}_{name}_bytes", dtype=self.policy)
        return layer(x), layer

    def build(
        self, x: Any, source: Any, quality: Any, trunk: Trunk, out: int, gates: int
    ) -> tuple[Any, Any]:
        """Residual and factors of the gates, float32: head convolution, residual bottleneck
        blocks, and a convolution to both that starts at zero, so that the factors start at one."""
        h = self.conv(x, source, trunk.width, "head", trunk.head, 0.7)
        if quality is not None:
            table = QualityTable(self.nq, name=f"{self.name}_rate_bias", dtype=self.policy)
            h = table([h, quality])
        h, source = self.act(ops.relu(h), "head", "stream")
        for i, (reduced, inner) in enumerate(trunk.blocks):
            t = self.conv(h, source, reduced, f"block{i}_reduce", 1, 1.0)
            t, at = self.act(ops.relu(t), f"block{i}_reduce")
            t = self.conv(t, at, inner, f"block{i}_conv", 3, 1.0)
            t, at = self.act(ops.relu(t), f"block{i}_conv")
            t = self.conv(t, at, trunk.width, f"block{i}_expand", 1, 1.0)
            t, _ = self.act(t, f"block{i}_expand", "stream")
            h = h + (t if quality is None else RESIDUAL * t)
            h, source = self.act(h, f"block{i}", "stream")
        name = f"{self.name}_tail"
        tail = Conv(out + gates, trunk.tail, init="zeros", name=name, dtype=self.policy)
        ends = ops.cast(tail(h), "float32")
        return ends[..., :out], ops.clip(ends[..., out:] + 1.0, *GATE)


def _inputs(config: EdgeConfig, channels: int, name: str) -> tuple[Any, Any]:
    x = keras.Input((None, None, channels), name=name)
    return x, None if config.folded else keras.Input((), dtype="int32", name="quality")


def build_encoder(config: EdgeConfig, *, precision: str = "float32") -> keras.Model:
    """([n, h, w, 192] patches, [n] quality) -> [n, h, w, latents], clamped but not rounded.

    A folded network has no input for the quality. ``precision`` "bfloat16" runs the trunk's
    arithmetic in it; weights and the rest stay float32.
    """
    policy = "mixed_bfloat16" if precision == "bfloat16" else "float32"
    x, quality = _inputs(config, config.values, "patches")
    trunk, pixels = _Trunk(config, "enc", policy), ByteRange(1 / 255, 128)
    c = config.latents
    residual, factors = trunk.build(x, pixels, quality, config.encoder, c, c)
    y = Conv(c, 1, name="enc_linear")(x) * factors + residual
    if quality is not None:
        y = QualityTable(len(config.qualities), "exp", name="enc_gain")([y, quality])
    y = ops.clip(y, -float(config.clamp), float(config.clamp))
    return keras.Model(x if quality is None else [x, quality], y, name="encoder")


def build_decoder(config: EdgeConfig, *, precision: str = "float32") -> keras.Model:
    """([n, h, w, latents] rounded latents, [n] quality) -> [n, h, w, 192] patches."""
    policy = "mixed_bfloat16" if precision == "bfloat16" else "float32"
    x, quality = _inputs(config, config.latents, "latents")
    y = x
    if quality is not None:
        y = QualityTable(len(config.qualities), "exp", name="dec_gain")([x, quality])
    trunk = _Trunk(config, "dec", policy)
    symbols, c = ByteRange(1.0, 128), config.latents
    residual, factors = trunk.build(y, symbols, quality, config.decoder, config.values, c)
    y = y * factors
    if config.quantised:
        y = straight(y, ops.round(y / FINE) * FINE)
    z = Conv(config.values, 1, name="dec_linear")(y) + residual
    return keras.Model(x if quality is None else [x, quality], z, name="decoder")


def build_context(config: EdgeConfig) -> keras.Model:
    """([n, h, w, latents] rounded, [n] quality) -> means and log scales, [n, h, w, 2 latents].

    Causal in raster order of positions: row y sees `reach` rows above and `reach` columns to the
    left (Minnen 2018's context model without its hyperprior); latents of one position are
    independent given those. The two parts of the causal window are ordinary convolutions of the
    shifted input, which wastes nothing on masked weights.
    """
    c, r, nq = config.latents, config.context.reach, len(config.qualities)
    x = keras.Input((None, None, c), name="latents")
    quality = keras.Input((), dtype="int32", name="quality")
    # exp(-log std) of each channel: large channels (the mean colour) must not rule the first layer
    y = QualityTable(nq, "exp", trained=False, name="ctx_normalise")([x, quality])
    above = ops.pad(y, ((0, 0), (r, 0), (r, r), (0, 0)))[:, :-1]
    left = ops.pad(y, ((0, 0), (0, 0), (r, 0), (0, 0)))[:, :, :-1]
    width = config.context.width
    h = Conv(width, (r, 2 * r + 1), padding="valid", bias=False, name="ctx_above")(above)
    h = h + Conv(width, (1, r), padding="valid", name="ctx_left")(left)
    h = QualityTable(nq, name="ctx_rate_bias")([h, quality])
    h = ops.relu(h)
    for i, hidden in enumerate(config.context.hidden):
        h = ops.relu(Conv(hidden, 1, name=f"ctx_hidden{i}")(h))
    mean = Conv(c, 1, init=0.1, name="ctx_mean")(h)
    mean = QualityTable(nq, "exp", trained=False, name="ctx_denormalise")([mean, quality])
    scale = Conv(c, 1, init=0.1, name="ctx_scale")(h)
    scale = QualityTable(nq, name="ctx_scale_bias")([scale, quality])
    out = ops.concatenate([mean, ops.clip(scale, *LOG_SCALE)], axis=-1)
    return keras.Model([x, quality], out, name="context")


def bits(latents: Any, distribution: Any) -> Any:
    """Ideal cost in bits of rounded latents [n, h, w, c] under logistic distributions.

    P(k) = F(k + 1/2) - F(k - 1/2) = sigmoid(b) sigmoid(-a) (1 - exp(a - b)): no cancellation.
    """
    mean, log_scale = ops.split(distribution, 2, axis=-1)
    inverse = ops.exp(-log_scale)
    a = (latents - mean - 0.5) * inverse
    b = (latents - mean + 0.5) * inverse
    nats = ops.softplus(-b) + ops.softplus(a) - ops.log1p(-ops.exp(-inverse))
    return nats / float(np.log(2.0))


def principal_components(patches: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean [d] and the first ``count`` principal directions [d, count] of patches [m, d]."""
    mean = patches.mean(0)
    _, vectors = np.linalg.eigh(np.cov((patches - mean).T))
    basis = vectors[:, ::-1][:, :count]
    return mean.astype(np.float32), np.ascontiguousarray(basis, dtype=np.float32)


def linear_start(
    config: EdgeConfig, patches: np.ndarray, step: float, gains: list[float]
) -> dict[str, np.ndarray]:
    """Weights of the linear path and the gains, from patches [m, 192] (float, centred at 128)."""
    mean, basis = principal_components(patches, config.latents)
    table = np.repeat(np.log(np.asarray(gains, np.float32))[:, None], config.latents, 1)
    return {
        "enc_linear/kernel": (basis / step)[None, None],
        "enc_linear/bias": -mean @ basis / step,
        "dec_linear/kernel": (basis.T * step)[None, None],
        "dec_linear/bias": mean,
        "enc_gain/table": table,
        "dec_gain/table": -table,
    }


def context_start(latents: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Context-model tables from sample latents [m, c] of each quality.

    A scale fits a logistic both to the mean magnitude (E|y| = 2 ln 2 s) and to the share of
    zeros (P(0) = tanh(1 / 4s)); starting at one scale for all never reaches what zeros need.
    """
    std, scale = [], []
    for y in latents:
        k = np.round(y)
        zeros = np.clip((k == 0).mean(0), 0.02, 0.999)
        fit = np.maximum(np.abs(k).mean(0) / 1.386, 0.25 / np.arctanh(zeros))
        std.append(np.log(np.maximum(k.std(0), 0.1)))
        scale.append(np.log(fit))
    logs = np.asarray(std, np.float32)
    return {
        "ctx_normalise/table": -logs,
        "ctx_denormalise/table": logs,
        "ctx_scale_bias/table": np.asarray(scale, np.float32),
    }


def at_position(
    config: EdgeConfig, weights: dict[str, np.ndarray], quality: int, position: float
) -> dict[str, np.ndarray]:
    """Weights whose tables have, as row ``quality``, the row of a place between the qualities.

    Position 0 is the first quality, 1.25 a quarter of the way from the second to the third, and
    beyond the last two the line goes on. Gains are logarithms, so this interpolates them
    geometrically (as Cui et al. 2021 do for continuous rates).
    """
    count = len(config.qualities)
    if count == 1:
        return dict(weights)
    low = min(max(int(np.floor(position)), 0), count - 2)
    share = np.float32(position - low)
    out = dict(weights)
    for name, value in weights.items():
        if name.endswith("/table"):
            table = np.array(value, np.float32)
            table[quality] = (1 - share) * value[low] + share * value[low + 1]
            out[name] = table
    return out


def fold(
    config: EdgeConfig, weights: dict[str, np.ndarray], quality: int, rate_scale: float = 1.0
) -> tuple[EdgeConfig, dict[str, np.ndarray]]:
    """The folded config and weights of one quality: no gains, biases or block factors left.

    The context model keeps its tables, cut to one row, and sees the latents as before.
    ``rate_scale`` multiplies the encoder's gain and divides the decoder's: above 1 is finer; the
    tables of the context model know nothing of it. A folded network is returned as it is.
    """
    w = {k: np.array(v, dtype=np.float32) for k, v in weights.items()}
    factor = np.float32(rate_scale)
    if config.folded:
        gain = inverse = np.ones(config.latents, np.float32)
        gain, inverse = gain * factor, inverse / factor
    else:
        gain = np.exp(w.pop("enc_gain/table")[quality]) * factor
        inverse = np.exp(w.pop("dec_gain/table")[quality]) / factor
        for part, trunk in (("enc", config.encoder), ("dec", config.decoder)):
            w[f"{part}_head/bias"] += w.pop(f"{part}_rate_bias/table")[quality]
            for i in range(len(trunk.blocks)):
                for name in ("kernel", "bias"):
                    w[f"{part}_block{i}_expand/{name}"] *= np.float32(RESIDUAL)
        for name, value in w.items():
            if name.endswith("/table"):
                w[name] = value[quality : quality + 1]
    for name in ("enc_linear", "enc_tail"):  # of the tail, what is added; the gates stay
        for part in ("kernel", "bias"):
            w[f"{name}/{part}"][..., : config.latents] *= gain
    for name in ("dec_linear", "dec_head"):
        w[f"{name}/kernel"] *= inverse[:, None]
    name = config.qualities[quality]
    return replace(config, folded=True, qualities=(name,)), w
