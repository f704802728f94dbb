"""Structured pruning as data: a plan of what to remove from a folded network, what that saves, and
the smaller config and sliced weights of the same builder. structure.py has the terms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from export.networks.cvpr import CvprConfig
from export.networks.edge import EdgeConfig
from export.pruning import of_cvpr, of_edge
from export.pruning.structure import Convolution, Structure

Config = EdgeConfig | CvprConfig
Weights = dict[str, np.ndarray]
PARTS = ("encoder", "decoder")


@dataclass(frozen=True)
class Plan:
    """What to remove: ``kept`` channels (sorted indices) of the groups that lose some, and
    ``dropped`` blocks."""

    kept: Mapping[str, np.ndarray] = field(default_factory=dict)
    dropped: frozenset[str] = frozenset()

    def widths(self, structure: Structure) -> dict[str, int]:
        """Width of each group after the plan."""
        return {g: len(self.kept[g]) if g in self.kept else n for g, n in structure.widths.items()}

    def without(self, group: str, channels: Iterable[int], structure: Structure) -> Plan:
        """The plan that also removes these channels of a group."""
        kept = self.kept.get(group, np.arange(structure.widths[group]))
        return replace(self, kept={**self.kept, group: np.setdiff1d(kept, list(channels))})

    def without_block(self, name: str) -> Plan:
        """The plan that also drops a block."""
        return replace(self, dropped=self.dropped | {name})

    def droppable(self, structure: Structure) -> list[str]:
        """Names of the blocks that may go beyond those that the plan drops."""
        left = {n: b for n, b in structure.blocks.items() if n not in self.dropped}
        families = [b.family for b in left.values()]
        return [n for n, b in left.items() if b.family is None or families.count(b.family) > 1]


def structure_of(config: Config) -> Structure:
    """The structure of a folded network."""
    if isinstance(config, EdgeConfig):
        return of_edge.structure(config)
    return of_cvpr.structure(config)


def products(structure: Structure, plan: Plan | None = None, parts: Iterable[str] = PARTS) -> float:
    """Multiply-adds a pixel of the parts, after a plan."""
    plan = plan or Plan()
    chosen = tuple(parts)
    return sum(count / c.pixels for c, count, _ in _sizes(structure, plan) if c.part in chosen)


def int8_bytes(
    structure: Structure, plan: Plan | None = None, parts: Iterable[str] = PARTS
) -> float:
    """Bytes of the parts' weights and biases in the int8 graphs, after a plan."""
    plan = plan or Plan()
    chosen = tuple(parts)
    return float(
        sum(
            count * c.octets + 4 * biases
            for c, count, biases in _sizes(structure, plan)
            if c.part in chosen
        )
    )


def parameters(structure: Structure, plan: Plan | None = None) -> int:
    """Weights and biases of encoder and decoder, after a plan."""
    return sum(count + biases for _, count, biases in _sizes(structure, plan or Plan()))


def _sizes(structure: Structure, plan: Plan) -> Iterable[tuple[Convolution, int, int]]:
    """(convolution, numbers in its kernel, in its bias) of every one that the plan leaves."""
    widths = plan.widths(structure)
    for c in structure.convolutions:
        if c.block in plan.dropped:
            continue
        inputs = c.source if isinstance(c.source, int) else widths[c.source]
        outputs = (c.target if isinstance(c.target, int) else widths[c.target]) * c.phases
        yield c, c.taps * inputs * outputs, outputs


def remove(config: Config, weights: Weights, plan: Plan) -> tuple[Config, Weights]:
    """(smaller config, sliced weights) of a folded network: the same outputs as `masked` gives.

    Ranges of quantised activations (``*_bytes/range``) are dropped: they are of the old network.
    """
    structure = structure_of(config)
    out = {k: v for k, v in weights.items() if not k.endswith("_bytes/range")}
    for c in structure.convolutions:
        kernel, bias = out.pop(f"{c.name}/kernel"), out.pop(f"{c.name}/bias")
        if c.block in plan.dropped:
            continue
        inputs = plan.kept.get(str(c.source))
        if inputs is not None:
            kernel = np.take(kernel, inputs, axis=2)
        outputs = plan.kept.get(str(c.target))
        if outputs is not None:
            width = structure.widths[str(c.target)]
            every = np.concatenate([phase * width + outputs for phase in range(c.phases)])
            kernel, bias = np.take(kernel, every, axis=3), np.take(bias, every)
        out[f"{c.name}/kernel"], out[f"{c.name}/bias"] = kernel, bias
    widths = plan.widths(structure)
    smaller: Config
    if isinstance(config, EdgeConfig):
        smaller, names = of_edge.shrink(config, widths, plan.dropped)
    else:
        smaller, names = of_cvpr.shrink(config, widths, plan.dropped)
    return smaller, {_renamed(path, names): value for path, value in out.items()}


def _renamed(path: str, names: Mapping[str, str]) -> str:
    """A weight path after its block's prefix ("enc_block3_") has changed."""
    for old, new in names.items():
        if path.startswith(old):
            return new + path.removeprefix(old)
    return path


def masked(config: Config, weights: Weights, plan: Plan) -> Weights:
    """Weights of the same shapes whose network computes what the pruned one would: removed
    filters and the branches of dropped blocks are zero."""
    structure = structure_of(config)
    out = dict(weights)
    for c in structure.convolutions:
        kept = plan.kept.get(str(c.target))
        if c.block in plan.dropped and c.name == structure.blocks[c.block].last:
            keep = np.zeros(np.shape(out[f"{c.name}/bias"]), np.float32)
        elif kept is not None:
            keep = np.zeros(structure.widths[str(c.target)], np.float32)
            keep[kept] = 1.0
            keep = np.tile(keep, c.phases)
        else:
            continue
        for name in ("kernel", "bias"):
            out[f"{c.name}/{name}"] = out[f"{c.name}/{name}"] * keep
    return out


def filter_sums(structure: Structure, values: Weights) -> dict[str, np.ndarray]:
    """Per channel of each group, the sum of ``values`` (arrays shaped as the weights) over the
    filters and biases that write it. Works on numpy and JAX arrays."""
    out: dict[str, np.ndarray] = {}
    for group, width in structure.widths.items():
        total = np.zeros(width, np.float32)
        for c in structure.producers(group):
            each = values[f"{c.name}/kernel"].sum((0, 1, 2)) + values[f"{c.name}/bias"]
            total = total + each.reshape(c.phases, width).sum(0)
        out[group] = total
    return out
