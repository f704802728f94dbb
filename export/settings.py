"""Training config files: JSON with a name, the network's shapes and the training's numbers."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from export import losses
from export.networks.cvpr import CvprConfig
from export.networks.edge import ConfigError, EdgeConfig

NetworkConfig = EdgeConfig | CvprConfig
KINDS: dict[str, type[EdgeConfig] | type[CvprConfig]] = {"edge": EdgeConfig, "cvpr": CvprConfig}
CHOICES = {
    "distortion": ("msssim", "mse"),
    "slope": ("rounded", "smooth"),
    "schedule": ("cosine", "staircase"),
    "precision": ("float32", "bfloat16"),
}


@dataclass(frozen=True)
class Training:
    """Numbers of one training run. ``seconds`` above zero makes the schedule follow the clock
    (elapsed training time over all resumptions) instead of ``steps``."""

    crop: int = 192
    batch: int = 8
    scales: tuple[float, ...] = (1.0, 0.6)  # crops come from copies of the pictures reduced so
    learning_rate: float = 5e-4
    schedule: str = "cosine"  # or staircase: times 0.1 after each of `stairs` equal parts
    floor: float = 0.01  # the cosine ends at this fraction of the learning rate
    stairs: int = 3
    warmup: int = 100
    steps: int = 12000
    seconds: float = 0.0
    distortion: str = "msssim"  # (1 - MS-SSIM) + mse_weight * MSE; or mse: that alone
    lambdas: tuple[float, ...] = (16.0, 45.0, 110.0)  # distortion's weight, one a quality
    mse_weight: float = 1.5
    fast: float = 5.0  # learning-rate factor of the context model and the gains
    beta2: float = 0.99  # Adam's, of the squared gradients
    clip: float = 5.0  # global gradient norm; 0 lets every gradient through
    ema: float = 0.999
    seed: int = 1
    choose: float = 0.0  # of edge: squared error of a latent that a bit saved is worth; 0 rounds
    precision: str = "float32"  # or bfloat16, for the trunks' arithmetic
    held_back: int = 40
    held_back_side: int = 384
    # edge only
    slope: str = "rounded"  # of edge: where latents take the slope of their bits; or smooth
    step: float = 0.35  # initial quantiser step of the linear path, pictures in 0..1
    gains: tuple[float, ...] = (1.0, 1.8, 3.0)  # initial gain of each quality
    # cvpr only
    rate_weight: float = 500.0  # beta, of the bits a symbol above the target
    bpp_target: float = 0.0
    weight_decay: float = 0.005  # L2, of the kernels of encoder and decoder
    centres_decay: float = 0.1  # L2, of the quantiser's centres


@dataclass(frozen=True)
class Settings:
    """One parsed config file."""

    name: str
    network: NetworkConfig
    training: Training = field(default_factory=Training)

    @property
    def kind(self) -> str:
        """The network family."""
        return next(kind for kind, config in KINDS.items() if type(self.network) is config)

    @property
    def stride(self) -> int:
        """Pixels of one latent position: sides of pictures are multiples of it."""
        return self.network.patch if isinstance(self.network, EdgeConfig) else self.network.stride

    @classmethod
    def from_dict(cls, data: Any) -> Settings:
        """Settings of parsed JSON; a ConfigError names what is wrong."""
        if not isinstance(data, dict) or not isinstance(data.get("name"), str):
            raise ConfigError('config: expected an object with a "name"')
        unknown = set(data) - {"name", "network", "training"}
        if unknown:
            raise ConfigError(f"config: unknown key {sorted(unknown)[0]!r}")
        network, given = data.get("network", {}), data.get("training", {})
        if not isinstance(network, dict) or not isinstance(given, dict):
            raise ConfigError('config: "network" and "training" are objects')
        kind = network.get("kind", "edge")
        if kind not in KINDS:
            raise ConfigError(f"network.kind: {kind!r} is not one of {', '.join(KINDS)}")
        shapes = {k: v for k, v in network.items() if k != "kind"}
        settings = cls(data["name"], KINDS[kind].from_dict(shapes), _training(given))
        settings.check()
        return settings

    def check(self) -> None:
        """A ConfigError where network and training do not go together."""
        training, qualities = self.training, self.network.qualities
        for key in ("lambdas", "gains") if self.kind == "edge" else ("lambdas",):
            if len(getattr(training, key)) != len(qualities):
                raise ConfigError(f"training.{key}: one value a quality {qualities}")
        if training.crop % self.stride or training.held_back_side % self.stride:
            raise ConfigError(
                f"training.crop, held_back_side: not multiples of the patch, {self.stride}"
            )
        if training.crop < losses.SMALLEST:
            raise ConfigError(f"training.crop: MS-SSIM needs at least {losses.SMALLEST} pixels")
        if training.held_back_side < losses.STANDARD:
            raise ConfigError(
                "training.held_back_side: comparable MS-SSIM needs at least "
                f"{losses.STANDARD} pixels"
            )
        for key, known in CHOICES.items():
            if getattr(training, key) not in known:
                raise ConfigError(f"training.{key}: {getattr(training, key)!r} is not known")
        if not training.scales or not all(0 < scale <= 1 for scale in training.scales):
            raise ConfigError("training.scales: reduction factors above 0, at most 1")

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, tuples as lists."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        plain["network"] = {"kind": self.kind} | plain["network"]
        return plain


def _training(given: dict[str, Any]) -> Training:
    """The training section, each value in the type of its default."""
    defaults = {f.name: f.default for f in fields(Training)}
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in defaults:
            raise ConfigError(f"training: unknown key {key!r}")
        values[key] = _typed(key, value, defaults[key])
    return Training(**values)


def _typed(key: str, value: Any, default: Any) -> Any:
    """``value`` in the type of ``default``; numbers may not be negative."""
    if isinstance(default, tuple) and isinstance(value, list):
        return tuple(_typed(key, item, 0.0) for item in value)
    if isinstance(default, str) and isinstance(value, str):
        return value
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0
    if isinstance(default, int) and number and value == int(value):
        return int(value)
    if isinstance(default, float) and number:
        return float(value)
    raise ConfigError(f"training.{key}: unusable value {value!r}")


def load_settings(path: str | Path) -> Settings:
    """Read a config file."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read config {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"config {path} is not JSON: {error}") from error
    try:
        return Settings.from_dict(data)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
