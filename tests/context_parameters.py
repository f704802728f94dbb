"""Parameter files of the context coder for tests: random ones that are valid, and their bytes.

`export.context_file` makes those that ship; these need neither training nor the packages for it.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from context_reference import HEADER, Parameters, forms


def to_bytes(p: Parameters) -> bytes:
    """The file of these parameters, valid or not."""
    header = HEADER.pack(
        b"ECCP", 1, p.reach, p.shift0, p.shift1, p.scale_shift, p.zero, p.channels, p.levels,
        p.width, p.hidden, 0,
    )  # fmt: skip
    kinds = forms(p.reach, p.channels, p.width, p.hidden)
    assert all(p.arrays[name].shape == shape for name, _, shape in kinds)
    return header + b"".join(p.arrays[name].astype(kind).tobytes() for name, kind, _ in kinds)


def changed(p: Parameters, **arrays: np.ndarray) -> Parameters:
    """With other arrays."""
    return dataclasses.replace(p, arrays=p.arrays | arrays)


def random_parameters(
    rng: np.random.Generator,
    *,
    channels: int,
    levels: int,
    zero: int,
    reach: int = 1,
    width: int = 32,
    hidden: int = 32,
    spread: np.ndarray | float = 2.0,
    say: float = 1.0,
) -> Parameters:
    """Weights at random, of sizes at which every part of the model has its say.

    Args:
        spread: about the standard deviation of the symbols, of all or of each channel, so that
            codes come out short.
        say: how far the context moves means and scales.
    """

    def normal(scale: np.ndarray | float, *shape: int) -> np.ndarray:
        return np.rint(rng.normal(0, scale, shape)).astype(np.int64)

    taps, groups = 2 * reach * (reach + 1), -(-channels // 8)
    order = rng.permutation(channels).astype(np.int64)
    usual = np.ones(8 * groups)  # by place
    usual[:channels] = np.broadcast_to(spread, channels)[order]
    magnitudes = np.arange(256)
    feature = 256 * np.log1p(magnitudes / (4 * usual[:channels, None]))
    # Log scales -3.2 to 5 in 128 steps; the logistic function in steps of 1/64.
    logs = -3.2 + (np.arange(128) + 0.5) * 8.2 / 128
    share = 1 / (1 + np.exp(-(np.arange(2049) - 1023.5) / 64))
    share[0], share[-1] = 0, 1
    by_group = usual.reshape(groups, 8)
    near = say * np.minimum(by_group / 2, 1)  # means stay where symbols are
    middle = np.rint(256 * (np.log(by_group / 2) + 3.2) * 128 / 8.2).astype(np.int64)
    means = normal(8 * near[:, None, :, None], groups, hidden // 2, 8, 2)
    arrays = {
        "order": order,
        "mean_shift": rng.integers(9, 12, 8 * groups),
        "feature": np.minimum(np.rint(feature), 640).astype(np.int64),
        "bias0": normal(200_000, width),
        "rows": normal(400, taps, channels, 2, width),
        "linear": normal(100 * say, taps, channels),
        "bias1": normal(200_000, hidden),
        "dense": normal(60, width // 2, hidden, 2),
        "within": normal(400, channels, 2, hidden),
        "out_bias": np.concatenate(
            [normal(5000 * near, groups, 8), normal(1500 * say, groups, 8) + middle], 1
        ),
        "out": np.concatenate([means, normal(say, groups, hidden // 2, 8, 2)], 2),
        "inverse": np.rint(2**16 * np.exp(-logs)).astype(np.int64),
        "table": np.rint(share * (2**24 - levels)).astype(np.int64),
    }
    return Parameters(reach, 8, 8, 8, zero, channels, levels, width, hidden, arrays)


def extreme_parameters(
    rng: np.random.Generator, *, channels: int, levels: int, zero: int, reach: int = 1
) -> Parameters:
    """As large as section 2.3 of the page allows: weights up to 16 bits, sums up to 2^30."""
    p = random_parameters(rng, channels=channels, levels=levels, zero=zero, reach=reach)
    a = p.arrays
    feature = np.sort(rng.integers(0, 32768, (channels, 256)), 1)
    feature[:, 0], feature[:, -1] = 0, 32767
    room = (1 << 30) // (len(a["rows"]) * channels * 32767)
    rows = rng.choice([-room, room], a["rows"].shape)
    # The second layer shares its room between the first one and the position's own symbols.
    dense = rng.choice([-1, 1], a["dense"].shape) * ((1 << 29) // (p.width * 8191))
    within = rng.choice([-1, 1], a["within"].shape) * ((1 << 29) // (channels * 32767))
    out = rng.choice([-1, 1], a["out"].shape) * ((1 << 29) // (p.hidden * 8191))
    linear = rng.choice([-1, 1], a["linear"].shape) * ((1 << 29) // (len(a["linear"]) * 255))
    nothing = {name: np.zeros_like(a[name]) for name in ("bias0", "bias1", "out_bias")}
    shifts = rng.integers(0, 31, len(a["mean_shift"]))
    made = changed(
        p, feature=feature, rows=rows, dense=dense, within=within, out=out, linear=linear,
        mean_shift=shifts, table=np.sort(rng.integers(0, 2**24 - levels + 1, 2049)),
        inverse=rng.integers(1, 2**24 + 1, 128), **nothing,
    )  # fmt: skip
    shift0, shift1, scale_shift = (int(n) for n in rng.integers(0, 31, 3))
    return dataclasses.replace(made, shift0=shift0, shift1=shift1, scale_shift=scale_shift)
