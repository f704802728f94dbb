"""Volumes and parameters for the tests of the context coder's binding."""

from __future__ import annotations

from functools import cache

import numpy as np
from context_parameters import extreme_parameters, random_parameters, to_bytes

from edgecomp import native
from edgecomp.native import ContextParameters, Kernels, Symbols

# Channels, levels, zero, reach, width, hidden: groups of eight full and not, every end of a range.
FORMS = [
    (1, 2, 0, 1, 32, 32),
    (1, 2, 1, 3, 64, 32),
    (1, 256, 128, 2, 32, 128),
    (2, 6, 2, 1, 96, 32),
    (7, 6, 5, 2, 32, 64),
    (8, 6, 0, 1, 128, 96),
    (9, 256, 0, 1, 32, 32),
    (13, 256, 255, 3, 32, 32),
    (16, 17, 8, 1, 64, 64),
    (24, 256, 128, 1, 96, 96),
]
SMALL = (3, 6, 2, 1, 32, 32)


@cache
def file_of(form: tuple[int, ...], seed: int, extreme: bool) -> bytes:
    """A valid parameter file: weights for ordinary symbols, or the largest that there may be."""
    channels, levels, zero, reach, width, hidden = form
    rng = np.random.default_rng(seed)
    if extreme:
        made = extreme_parameters(rng, channels=channels, levels=levels, zero=zero, reach=reach)
    else:
        made = random_parameters(
            rng,
            channels=channels,
            levels=levels,
            zero=zero,
            reach=reach,
            width=width,
            hidden=hidden,
        )
    return to_bytes(made)


@cache
def parameters_of(form: tuple[int, ...], seed: int = 0, extreme: bool = False) -> ContextParameters:
    return native.context_parameters(file_of(form, seed, extreme))


def options(parameters: ContextParameters, counts: Symbols | None = None) -> dict[str, object]:
    return {
        "parameters": parameters,
        "levels": parameters.levels,
        "zero": parameters.zero,
        "counts": counts,
    }


def is_known(kernels: Kernels) -> bool:
    """Whether this build on this machine has these kernels."""
    empty = np.zeros((1, 0, 0), np.uint8)
    try:
        native.context_encode(empty, kernels=kernels, **options(parameters_of(FORMS[0])))
    except ValueError:
        return False
    return True


KERNELS = [kernels for kernels in Kernels if is_known(kernels)]


def symbols_of(
    rng: np.random.Generator, kind: str, shape: tuple[int, int, int], levels: int, zero: int
) -> Symbols:
    """A volume: one symbol, latents, noise, or statistics that no context foresees."""
    size = int(np.prod(shape))
    if kind == "constant":
        made = np.full(shape, rng.integers(0, levels))
    elif kind == "extremes":
        made = rng.integers(0, 2, shape) * (levels - 1)
    elif kind == "latents":
        made = np.clip(
            zero + np.rint(rng.laplace(0, rng.choice([0.3, 2, 20]), shape)), 0, levels - 1
        )
    elif kind == "all levels":
        made = rng.permutation(size).reshape(shape) % levels
    elif kind == "checkered":  # each neighbour says the opposite of what comes
        made = (np.indices(shape).sum(0) % 2) * (levels - 1)
    elif kind == "turning":  # zero for long, so that the rest is as unlikely as can be
        made = np.where(
            np.arange(size).reshape(shape) < size // 2, zero, rng.integers(0, levels, shape)
        )
    elif kind == "rare":
        made = np.where(rng.random(shape) < 0.02, rng.choice([0, levels - 1], shape), zero)
    else:
        assert kind == "noise"
        made = rng.integers(0, levels, shape)
    return made.astype(np.uint8)


KINDS = ["constant", "extremes", "latents", "all levels", "checkered", "turning", "rare", "noise"]


def masked(rng: np.random.Generator, symbols: Symbols, zero: int) -> tuple[Symbols, Symbols]:
    """The volume with a random importance map applied, and the map."""
    channels = len(symbols)
    counts = rng.integers(0, channels + 1, symbols.shape[1:]).astype(np.uint8)
    kept = np.where(np.arange(channels)[:, None, None] < counts, symbols, np.uint8(zero))
    return kept, counts
