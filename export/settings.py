"""Training config files: JSON with a name, the network's shapes and the training's numbers."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from export.networks.edge import ConfigError, EdgeConfig


@dataclass(frozen=True)
class Training:
    """Numbers of one training run. ``seconds`` above zero makes the schedule follow the clock
    (elapsed training time over all resumptions) instead of ``steps``."""

    crop: int = 192
    batch: int = 8
    learning_rate: float = 5e-4
    floor: float = 0.01  # the cosine ends at this fraction of the learning rate
    warmup: int = 100
    steps: int = 12000
    seconds: float = 0.0
    lambdas: tuple[float, ...] = (16.0, 45.0, 110.0)  # distortion's weight, one a quality
    mse_weight: float = 1.5  # distortion = (1 - MS-SSIM) + mse_weight * MSE
    fast: float = 5.0  # learning-rate factor of the context model and the gains
    clip: float = 5.0  # global gradient norm
    ema: float = 0.999
    seed: int = 1
    precision: str = "float32"  # or bfloat16, for the trunks' arithmetic
    step: float = 0.35  # initial quantiser step of the linear path, pictures in 0..1
    gains: tuple[float, ...] = (1.0, 1.8, 3.0)  # initial gain of each quality
    held_back: int = 40
    held_back_side: int = 384


@dataclass(frozen=True)
class Settings:
    """One parsed config file."""

    name: str
    network: EdgeConfig
    training: Training = field(default_factory=Training)

    @classmethod
    def from_dict(cls, data: Any) -> Settings:
        """Settings of parsed JSON; a ConfigError names what is wrong."""
        if not isinstance(data, dict) or not isinstance(data.get("name"), str):
            raise ConfigError('config: expected an object with a "name"')
        unknown = set(data) - {"name", "network", "training"}
        if unknown:
            raise ConfigError(f"config: unknown key {sorted(unknown)[0]!r}")
        network = EdgeConfig.from_dict(data.get("network", {}))
        given = data.get("training", {})
        if not isinstance(given, dict):
            raise ConfigError("training: expected an object")
        kinds = {f.name: f.default for f in fields(Training)}
        values: dict[str, Any] = {}
        for key, value in given.items():
            if key not in kinds:
                raise ConfigError(f"training: unknown key {key!r}")
            values[key] = _typed(key, value, kinds[key])
        training = Training(**values)
        for key in ("lambdas", "gains"):
            if len(getattr(training, key)) != len(network.qualities):
                raise ConfigError(f"training.{key}: one value a quality {network.qualities}")
        if training.crop % network.patch:
            raise ConfigError(f"training.crop: not a multiple of the patch, {network.patch}")
        if min(training.crop, training.held_back_side) < 161:
            raise ConfigError("training.crop, held_back_side: MS-SSIM needs at least 161 pixels")
        if training.precision not in ("float32", "bfloat16"):
            raise ConfigError(f"training.precision: {training.precision!r} is not known")
        return cls(data["name"], network, training)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, tuples as lists."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain


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
