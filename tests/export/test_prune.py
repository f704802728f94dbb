"""export.prune: removal is exact, budgets are met, pruned runs train, export and resume."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .conftest import ROOT, Command, environment

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
    from export.pruning.choice import Choice

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
    from export.pruning.choice import Limit

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
    from export.pruning.choice import Limit

    made = choice("edge", 1)
    whole = pruning.products(made.structure, None, ("decoder",))
    limit = Limit(pruning.products, ("decoder",), 0.7 * whole)
    plan = made.reduce(pruning.Plan(), limit, limit.target)
    assert all(name.startswith("dec_") for name in {*plan.kept, *plan.dropped})


def test_least_important_filters_go_first() -> None:
    from export import pruning
    from export.pruning.choice import Limit

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
    from export.pruning.choice import Choice, Limit

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


def arguments(source: Path, out: Path, pictures: Path, *more: object) -> list[str]:
    """Command line of a small pruning run: two rounds to 0.6 of the multiply-adds."""
    rounds = "--budget 0.6 --rounds 2 --steps 6 --final 2 --learning-rate 1e-3".split()
    ranking = ["--multiple", "2", "--batches", "2", "--quality", "B"]
    last = [str(a) for a in more]
    return [str(source), "--out", str(out), "--data", str(pictures), *rounds, *ranking, *last]


@pytest.fixture(scope="module")
def pruned(
    command: Command, trained: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Run folder of quality B of the trained run, pruned."""
    out = tmp_path_factory.mktemp("pruned") / "B"
    done = command("export.prune", *arguments(trained, out, pictures))
    assert done.returncode == 0, done.stderr
    assert "round 2" in done.stdout
    return out


def state(run: Path) -> dict[str, np.ndarray]:
    with np.load(run / "state.npz", allow_pickle=False) as data:
        return {name: data[name] for name in data.files}


def record_of(run: Path) -> Any:
    return json.loads((run / "pruning.json").read_text())


def test_pruned_run_meets_its_budget(pruned: Path) -> None:
    record = record_of(pruned)
    assert len(record["rounds"]) == 2
    whole = sum(record["source"]["multiply_adds_per_pixel"].values())
    kernels = {
        name: value
        for name, value in state(pruned).items()
        if name.startswith(("ema/enc_", "ema/dec_")) and name.endswith("/kernel")
    }
    counted = sum(v.size for v in kernels.values()) / 64
    assert counted <= 0.6 * whole
    last = record["rounds"][-1]
    assert sum(last["multiply_adds_per_pixel"].values()) == pytest.approx(counted, abs=0.2)
    assert record["source"]["parameters"] > record["rounds"][0]["parameters"] > last["parameters"]
    assert not list(pruned.glob(".*partial*"))


def test_fine_tuning_lowers_the_loss(pruned: Path) -> None:
    """Over both rounds, on pictures that it has not seen; quality B has lambda 45."""
    first, *_, last = record_of(pruned)["rounds"]
    before, after = first["before"], last["after"]
    assert before["bpp"] + 45 * (1 - before["msssim"]) > after["bpp"] + 45 * (1 - after["msssim"])


def test_interrupted_and_resumed_equals_unbroken(
    trained: Path, pictures: Path, pruned: Path, command: Command, tmp_path: Path
) -> None:
    args = arguments(trained, tmp_path / "run", pictures)
    process = subprocess.Popen(
        [sys.executable, "-m", "export.prune", *args],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert any(line.startswith("round 1") for line in process.stdout)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 143
    finally:
        process.kill()
        process.stdout.close()
    resumed = command("export.prune", *args, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    broken, whole = state(tmp_path / "run"), state(pruned)
    assert broken.keys() == whole.keys()
    for name in whole:
        if name != "meta.json":  # which holds the seconds
            np.testing.assert_array_equal(broken[name], whole[name], err_msg=name)
    assert record_of(tmp_path / "run") == record_of(pruned)


def test_pruned_run_exports(command: Command, pruned: Path, pictures: Path, tmp_path: Path) -> None:
    import onnxruntime

    args = ("--quality", "B", "--data", pictures, "--calibrate", 2, "--out", tmp_path / "model")
    done = command("export.to_onnx", pruned, *args)
    assert done.returncode == 0, done.stderr
    picture = np.full((1, 32, 40, 3), 90, np.uint8)
    for precision in ("fp32", "int8"):
        value = picture
        for part in ("encoder", "decoder"):
            path = str(tmp_path / "model" / f"{part}.{precision}.onnx")
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            (value,) = session.run(None, {session.get_inputs()[0].name: value})
        assert value.shape == picture.shape
        assert value.dtype == np.uint8


def test_pruned_run_trains_on(
    command: Command, pruned: Path, pictures: Path, tmp_path: Path
) -> None:
    args = ("--init", pruned, "--data", pictures, "--out", tmp_path / "run", "--steps", 1)
    done = command("export.train", *args)
    assert done.returncode == 0, done.stderr
    shapes = {k: v.shape for k, v in state(pruned).items() if k.startswith("weights/")}
    after = {k: v.shape for k, v in state(tmp_path / "run").items() if k.startswith("weights/")}
    assert after == shapes


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A run folder of a small untrained network of two qualities."""
    from export import checkpoint as ckpt
    from export import step
    from export.settings import Settings

    from .conftest import tiny_settings

    given = tiny_settings()
    given["network"]["qualities"] = ["A", "B"]
    given["training"] |= {"lambdas": [16, 45], "gains": [1.0, 1.8]}
    settings = Settings.from_dict(given)
    weights = step.networks_of(settings).weights()
    meta = {"settings": settings.to_dict(), "step": 0, "seconds": 0.0}
    ckpt.save(tmp_path / "small" / ckpt.NAME, ckpt.Checkpoint({"ema": weights}, meta))
    return tmp_path / "small"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--budget", "1.5"], "budget '1.5'"),
        (["--budget", "1"], "budget '1'"),
        (["--budget", "90000/px"], "budget '90000/px'"),
        (["--budget", "half"], "expected a share"),
        (["--budget", "nan"], "expected a share"),
        (["--budget", "-0.5"], "expected a share"),
        (["--budget", "0.01"], "cannot be met: the least is"),
        (["--encoder-budget", "2/px"], "for encoder cannot be met"),
        (["--size", "100"], "cannot be met"),
        (["--size", "99999999"], "bytes as it is"),
        ([], "a budget is needed"),
        (["--budget", "0.6", "--rounds", "0"], "--rounds must be above zero"),
        (["--budget", "0.6", "--quality", "Z"], "'Z' is not one of the network's, A, B"),
        (["--budget", "0.6", "--resume"], "nothing to resume"),
        (["--budget", "0.6", "--data", "nowhere"], "data folder not found: nowhere"),
    ],
)
def test_unusable_options(
    checkpoint: Path,
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    from export.prune import main

    out = tmp_path / "out"
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    base = [str(checkpoint), "--out", str(out), "--data", str(pictures), "--quality", "A"]
    try:
        assert main([*base, *options]) == 1
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    error = capsys.readouterr().err
    assert error.startswith("export.prune: ")
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_unusable_checkpoints(
    checkpoint: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from export.prune import main

    more = ["--data", str(pictures), "--budget", "0.7", "--quality", "A"]
    assert main([str(tmp_path / "none"), "--out", str(tmp_path / "out"), *more]) == 1
    assert "no checkpoint at" in capsys.readouterr().err
    assert main([str(checkpoint), "--out", str(checkpoint), *more]) == 1
    assert "already has a run" in capsys.readouterr().err
    whole = (checkpoint / "state.npz").read_bytes()
    (checkpoint / "state.npz").write_bytes(whole[: len(whole) // 2])
    assert main([str(checkpoint), "--out", str(tmp_path / "out"), *more]) == 1
    assert "is damaged" in capsys.readouterr().err
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "pruning.json").write_text("[]")
    assert main([str(checkpoint), "--out", str(tmp_path / "out"), *more, "--resume"]) == 1
    assert "pruning.json is damaged" in capsys.readouterr().err
