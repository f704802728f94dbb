"""One quality of a trained network as plain convolutions: where pruning, training with
quantisation in the loop, and export begin."""

from __future__ import annotations

import dataclasses

import numpy as np

from export import checkpoint as ckpt
from export.networks import cvpr, edge
from export.networks.edge import ConfigError
from export.settings import Settings

Weights = dict[str, np.ndarray]


def fold_source(
    source: str, quality: str | None, position: float | None = None, rate_scale: float = 1.0
) -> tuple[Settings, Weights]:
    """Settings of one quality and the folded weights of a run or checkpoint.

    ``position`` is a place between the trained qualities of an edge network; lambda is taken
    there too, geometrically, as the gains are. ``rate_scale`` multiplies an edge network's latents.
    What is folded and quantised already stays so.

    Raises:
        ConfigError: no such quality, or an option that the network has no use for.
        CheckpointError: the checkpoint is missing or damaged, or lacks a weight.
    """
    found = ckpt.load(source)
    settings = Settings.from_dict(found.meta["settings"])
    config, weights, lambdas = settings.network, found.averaged(), settings.training.lambdas
    quality = config.qualities[0] if quality is None and len(config.qualities) == 1 else quality
    if quality not in config.qualities:
        names = ", ".join(config.qualities)
        raise ConfigError(f"--quality: {quality!r} is not one of the network's, {names}")
    index = config.qualities.index(quality)
    weight = lambdas[index]
    try:
        if isinstance(config, edge.EdgeConfig):
            if position is not None:
                weights = edge.at_position(config, weights, index, position)
                weight = _between(lambdas, position)
            config, weights = edge.fold(config, weights, index, rate_scale)
        elif position is not None or rate_scale != 1.0:
            raise ConfigError("--position, --rate-scale: only for edge networks")
        else:
            config, weights = cvpr.fold(config, weights)
    except KeyError as error:
        raise ckpt.CheckpointError(f"checkpoint {source} has no weight {error}") from error
    training = dataclasses.replace(settings.training, lambdas=(weight,), gains=(1.0,))
    return dataclasses.replace(settings, network=config, training=training), weights


def _between(lambdas: tuple[float, ...], position: float) -> float:
    """Lambda of a position between the qualities; beyond the last two the line goes on."""
    low = min(max(int(np.floor(position)), 0), max(len(lambdas) - 2, 0))
    pair = lambdas[low : low + 2]
    return float(pair[0] * (pair[-1] / pair[0]) ** (position - low))
