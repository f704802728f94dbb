"""export.prune: removal is exact, budgets are met, pruned runs train, export and resume."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

Weights = dict[str, np.ndarray]
FAMILIES = ("edge", "cvpr")


def small_config(kind: str) -> Any:
    """A folded network of a few channels."""
    from export.networks.cvpr import CvprConfig, Side
    from export.networks.edge import EdgeConfig, Trunk

    if kind == "edge":
        encoder = Trunk(12, ((6, 8), (8, 10), (5, 5)), head=1, tail=1)
        decoder = Trunk(10, ((8, 6), (6, 6)), head=3, tail=3)
        return EdgeConfig(
            latents=8, qualities=("A",), encoder=encoder, decoder=decoder, folded=True
        )
    encoder = Side(6, 10, ((8, 6), (6, 6)), 8)
    decoder = Side(8, 8, ((6, 8, 4), (6,)), 6)
    return CvprConfig(bottleneck=4, batch_norm=False, encoder=encoder, decoder=decoder)


def models(config: Any) -> list[Any]:
    from export.networks import cvpr, edge

    network = edge if isinstance(config, edge.EdgeConfig) else cvpr
    return [network.build_encoder(config), network.build_decoder(config)]


def random_weights(config: Any) -> Weights:
    from export.networks.layers import weights_of

    rng = np.random.default_rng(3)
    shapes = {k: v.shape for m in models(config) for k, v in weights_of(m).items()}
    return {
        k: rng.normal(0, 0.6 / np.sqrt(max(np.prod(s[:-1]), 1)), s).astype(np.float32)
        for k, s in shapes.items()
    }


def outputs(config: Any, weights: Weights) -> list[np.ndarray]:
    """Encoder's and decoder's outputs of fixed inputs."""
    from export.networks.layers import set_weights

    rng = np.random.default_rng(5)
    out = []
    for model in models(config):
        set_weights(model, weights)
        channels = model.input.shape[-1]
        picture = channels == 3
        x = (
            rng.uniform(0, 255, (1, 16, 24, 3))
            if picture
            else rng.normal(0, 1, (1, 4, 5, channels))
        )
        out.append(np.asarray(model(x.astype(np.float32))))
    return out


def same(a: list[np.ndarray], b: list[np.ndarray]) -> None:
    for x, y in zip(a, b, strict=True):
        assert x.shape == y.shape
        scale = max(1.0, float(np.abs(x).max()))  # a cvpr decoder's pixels reach hundreds
        np.testing.assert_allclose(x / scale, y / scale, atol=1e-5)


def apart(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(np.abs(x - y).max() > 1e-3 for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("kind", FAMILIES)
def test_structure_counts_what_the_networks_hold(kind: str) -> None:
    from export import pruning

    config = small_config(kind)
    weights = random_weights(config)
    structure = pruning.structure_of(config)
    arrays = {k: v for k, v in weights.items() if k.endswith(("/kernel", "/bias"))}
    assert {k.removesuffix("/kernel") for k in arrays if k.endswith("/kernel")} == {
        c.name for c in structure.convolutions
    }
    assert pruning.parameters(structure) == sum(v.size for v in arrays.values())
    if kind == "cvpr":
        from export.networks import cvpr

        for part in pruning.PARTS:
            assert pruning.products(structure, None, (part,)) == cvpr.products(config, part)
    else:  # every kernel once a position of 8x8 pixels
        kernels = sum(v.size for k, v in arrays.items() if k.endswith("/kernel"))
        assert pruning.products(structure) == pytest.approx(kernels / 64)


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_group_is_removed_exactly(kind: str) -> None:
    """Some channels of every group, all at once: as if their filters were zero."""
    from export import pruning

    config = small_config(kind)
    weights = random_weights(config)
    structure = pruning.structure_of(config)
    rng = np.random.default_rng(11)
    plan = pruning.Plan()
    for group, width in structure.widths.items():
        gone = rng.choice(width, rng.integers(1, width), replace=False)
        plan = plan.without(group, gone, structure)
    zeroed = pruning.masked(config, weights, plan)
    wanted = outputs(config, zeroed)
    assert apart(wanted, outputs(config, weights))
    smaller, sliced = pruning.remove(config, weights, plan)
    same(outputs(smaller, sliced), wanted)
    # what was zero before changes nothing
    same(outputs(*pruning.remove(config, zeroed, plan)), wanted)
    assert pruning.structure_of(smaller).widths == plan.widths(structure)
    assert pruning.products(pruning.structure_of(smaller)) == pruning.products(structure, plan)
    assert pruning.parameters(pruning.structure_of(smaller)) == pruning.parameters(structure, plan)
    assert pruning.int8_bytes(pruning.structure_of(smaller)) == pruning.int8_bytes(structure, plan)


@pytest.mark.parametrize(
    ("kind", "blocks"),
    [
        ("edge", ["enc_block0", "dec_block1"]),
        ("edge", ["enc_block0", "enc_block1", "enc_block2", "dec_block0", "dec_block1"]),
        ("cvpr", ["enc_block0_0", "enc_final", "dec_block0_1"]),
        ("cvpr", ["enc_block1_1", "dec_block0_0", "dec_block0_2", "dec_final"]),
    ],
)
def test_dropped_block_is_a_branch_of_zeros(kind: str, blocks: list[str]) -> None:
    from export import pruning

    config = small_config(kind)
    weights = random_weights(config)
    structure = pruning.structure_of(config)
    plan = pruning.Plan()
    for name in blocks:
        assert name in plan.droppable(structure)
        plan = plan.without_block(name)
    zeroed = dict(weights)
    for name in blocks:
        last = f"{name}_expand" if kind == "edge" else f"{name}_conv2"
        for each in ("kernel", "bias"):
            zeroed[f"{last}/{each}"] = np.zeros_like(weights[f"{last}/{each}"])
    wanted = outputs(config, zeroed)
    assert apart(wanted, outputs(config, weights))
    smaller, sliced = pruning.remove(config, weights, plan)
    same(outputs(smaller, sliced), wanted)
    same(outputs(config, pruning.masked(config, weights, plan)), wanted)
    assert pruning.products(pruning.structure_of(smaller)) == pruning.products(structure, plan)
    left = [n for n in plan.droppable(structure)]
    assert len(pruning.structure_of(smaller).blocks) >= len(left)


def test_a_cvpr_group_keeps_one_block() -> None:
    """Without any block the skip around the group would go too, and the values with it."""
    from export import pruning

    structure = pruning.structure_of(small_config("cvpr"))
    plan = pruning.Plan()
    while names := plan.droppable(structure):
        plan = plan.without_block(names[0])
    left = set(structure.blocks) - plan.dropped
    assert sorted(n[:10] for n in left) == ["dec_block0", "dec_block1", "enc_block0", "enc_block1"]


def test_ranges_of_bytes_are_dropped() -> None:
    from export import pruning

    config = small_config("edge")
    weights = random_weights(config)
    ranges = {"enc_block0_conv_bytes/range": np.array([0.1, 3], np.float32)}
    quantised = dataclasses.replace(config, quantised=True)
    plan = pruning.Plan().without_block("enc_block1")
    smaller, sliced = pruning.remove(quantised, weights | ranges, plan)
    assert not smaller.quantised
    assert not any(name.endswith("/range") for name in sliced)


def choice(kind: str, multiple: int, scores: dict[str, np.ndarray] | None = None) -> Any:
    """A choice where every block costs 1 and every filter a random amount."""
    from export import pruning
    from export.prune_choice import Choice

    structure = pruning.structure_of(small_config(kind))
    rng = np.random.default_rng(2)
    scores = scores or {g: rng.uniform(0.1, 1, n) for g, n in structure.widths.items()}
    made = Choice(structure, scores, lambda plan: float(len(plan.dropped)), multiple)
    made.measure_blocks(pruning.PARTS)
    return made


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("multiple", [1, 2])
@pytest.mark.parametrize("share", [0.8, 0.5])
def test_budget_is_met_and_used(kind: str, multiple: int, share: float) -> None:
    from export import pruning
    from export.prune_choice import Limit

    made = choice(kind, multiple)
    target = share * pruning.products(made.structure)
    limit = Limit(pruning.products, pruning.PARTS, target)
    plan = made.reduce(pruning.Plan(), limit, target)
    assert 0.85 * target <= limit.of(made.structure, plan) <= target
    for group, kept in plan.kept.items():
        assert len(kept) % multiple == 0 or len(kept) == made.structure.widths[group]
        assert len(kept) >= 1
    # counted again, from the arrays that are left
    config = small_config(kind)
    smaller, sliced = pruning.remove(config, random_weights(config), plan)
    pixels = {c.name: c.pixels for c in made.structure.convolutions}
    assert pruning.products(pruning.structure_of(smaller)) <= target
    if not plan.dropped:
        kernels = {k.removesuffix("/kernel"): v for k, v in sliced.items() if "/kernel" in k}
        assert sum(v.size / pixels[k] for k, v in kernels.items()) <= target


def test_a_limit_leaves_the_other_part_alone() -> None:
    from export import pruning
    from export.prune_choice import Limit

    made = choice("edge", 1)
    whole = pruning.products(made.structure, None, ("decoder",))
    limit = Limit(pruning.products, ("decoder",), 0.7 * whole)
    plan = made.reduce(pruning.Plan(), limit, limit.target)
    assert all(name.startswith("dec_") for name in {*plan.kept, *plan.dropped})


def test_least_important_filters_go_first() -> None:
    from export import pruning
    from export.prune_choice import Limit

    structure = pruning.structure_of(small_config("edge"))
    scores = {g: np.full(n, 1.0) for g, n in structure.widths.items()}
    scores["enc_block1_conv"][[2, 7]] = 1e-6
    made = choice("edge", 1, scores)
    saving = pruning.products(structure) - pruning.products(
        structure, pruning.Plan().without("enc_block1_conv", [2, 7], structure)
    )
    limit = Limit(pruning.products, pruning.PARTS, pruning.products(structure) - saving)
    plan = made.reduce(pruning.Plan(), limit, limit.target)
    assert list(plan.kept) == ["enc_block1_conv"]
    assert plan.kept["enc_block1_conv"].tolist() == [0, 1, 3, 4, 5, 6, 8, 9]
    assert not plan.dropped


def test_harmless_block_goes_before_filters() -> None:
    """A block whose absence measures as nothing is dropped where filters would cost."""
    from export import pruning
    from export.prune_choice import Choice, Limit

    structure = pruning.structure_of(small_config("edge"))
    scores = {g: np.ones(n) for g, n in structure.widths.items()}

    def loss(plan: Any) -> float:
        blocks = sum(0.0 if n == "enc_block1" else 5.0 for n in plan.dropped)
        filters = sum(structure.widths[g] - len(k) for g, k in plan.kept.items())
        return float(blocks) + filters

    made = Choice(structure, scores, loss, 1)
    made.measure_blocks(pruning.PARTS)
    target = 0.75 * pruning.products(structure)
    plan = made.reduce(pruning.Plan(), Limit(pruning.products, pruning.PARTS, target), target)
    assert plan.dropped == {"enc_block1"}
