"""export.context_onnx: the context model's graph against the network, and what it refuses."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from common import DATA
from PIL import Image

from edgecomp.codec import Codec
from edgecomp.evaluation.context_model import load_context_model
from edgecomp.models import load_model
from edgecomp.pictures import Picture

from .conftest import Command

keras = pytest.importorskip("keras")
onnx = pytest.importorskip("onnx")

from export import checkpoint, context_onnx, manifest  # noqa: E402
from export.networks import edge  # noqa: E402
from export.networks.edge import Context, EdgeConfig, Trunk  # noqa: E402
from export.networks.layers import set_weights, weights_of  # noqa: E402
from export.settings import Settings, Training  # noqa: E402

TRUNK = Trunk(width=4, blocks=((2, 2),))
TRAINING = Training(lambdas=(1.0,), gains=(1.0,))


def config_of(
    context: Context, qualities: tuple[str, ...] = ("T",), **changes: object
) -> EdgeConfig:
    folded = len(qualities) == 1
    made = EdgeConfig(
        latents=12, qualities=qualities, encoder=TRUNK, decoder=TRUNK, context=context,
        folded=folded,
    )  # fmt: skip
    return replace(made, **changes)


def random_weights(config: EdgeConfig, seed: int) -> dict[str, np.ndarray]:
    """Weights of all three networks; none of the context model's is zero."""
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    weights = {}
    for build in (edge.build_encoder, edge.build_decoder, edge.build_context):
        weights |= weights_of(build(config))
    for name, value in weights.items():
        if name.startswith("ctx_") and not name.endswith("kernel"):
            weights[name] = rng.normal(0, 0.4, value.shape).astype(np.float32)
    weights["ctx_scale/kernel"] = (
        10 * weights["ctx_scale/kernel"]
    )  # to both limits of the log scales
    return weights


def saved(path: Path, config: EdgeConfig, seed: int = 3) -> dict[str, np.ndarray]:
    """Write a checkpoint of random weights; returns them as they will be read."""
    count = len(config.qualities)
    training = replace(TRAINING, lambdas=(1.0,) * count, gains=(1.0,) * count)
    settings = Settings("tiny", config, training).to_dict()
    half = {k: v.astype(np.float16) for k, v in random_weights(config, seed).items()}
    checkpoint.save(path, checkpoint.Checkpoint({"ema": half}, {"settings": settings}))
    return {k: v.astype(np.float32) for k, v in half.items()}


def network_bits(
    config: EdgeConfig, weights: dict[str, np.ndarray], symbols: np.ndarray, quality: int = 0
) -> np.ndarray:
    """What the network itself says each symbol costs."""
    model = edge.build_context(config)
    set_weights(model, weights)
    latents = symbols.astype(np.float32).transpose(1, 2, 0)[None] - 128
    distribution = model([latents, np.full((1,), quality, np.int32)])
    return np.asarray(edge.bits(latents, distribution))[0].transpose(2, 0, 1)


def drawn(shape: tuple[int, int, int], seed: int = 4) -> np.ndarray:
    values = np.random.default_rng(seed).laplace(0, 3, shape).round() + 128
    return values.clip(0, 255).astype(np.uint8)


def run(tmp_path: Path, tiny: Path, *more: str) -> int:
    """The command, on ``net.npz`` in the folder."""
    source, out = str(tmp_path / "net.npz"), str(tmp_path / "c.onnx")
    return context_onnx.main([source, "--model", str(tiny), "--out", out, *more])


@pytest.mark.parametrize(
    "context",
    [
        Context(reach=1, width=5, hidden=()),
        Context(reach=2, width=8, hidden=(7,)),
        Context(reach=3, width=6, hidden=(5, 4)),
    ],
)
@pytest.mark.parametrize("shape", [(12, 1, 1), (12, 2, 7), (12, 9, 5)])
def test_bits_are_the_networks(
    tmp_path: Path, tiny: Path, context: Context, shape: tuple[int, int, int]
) -> None:
    config = config_of(context)
    weights = saved(tmp_path / "net.npz", config)
    assert run(tmp_path, tiny) == 0
    model = load_context_model(tmp_path / "c.onnx")
    symbols = drawn(shape)
    expected = network_bits(config, weights, symbols)
    assert model.bits(symbols) == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert model.ideal_bytes(symbols) * 8 == pytest.approx(expected.sum(), rel=1e-3, abs=8)
    assert model.seconds_decoding(symbols) > 0  # raises unless position by position agrees


def test_one_quality_of_several(tmp_path: Path, tiny: Path) -> None:
    config = config_of(Context(reach=1, width=6, hidden=(6,)), ("S", "T"))
    weights = saved(tmp_path / "net.npz", config)
    assert run(tmp_path, tiny, "--quality", "T") == 0
    symbols = drawn((12, 5, 6))
    found = load_context_model(tmp_path / "c.onnx").bits(symbols)
    expected = [network_bits(config, weights, symbols, quality) for quality in (0, 1)]
    assert found == pytest.approx(expected[1], rel=1e-4, abs=1e-4)
    assert found != pytest.approx(expected[0], rel=1e-2)


def test_between_the_qualities(tmp_path: Path, tiny: Path) -> None:
    config = config_of(Context(reach=1, width=6, hidden=(6,)), ("S", "T"))
    weights = saved(tmp_path / "net.npz", config)
    assert run(tmp_path, tiny, "--quality", "T", "--position", "0.25") == 0
    symbols = drawn((12, 5, 6))
    moved = edge.at_position(config, weights, 1, 0.25)
    expected = network_bits(config, moved, symbols, 1)
    found = load_context_model(tmp_path / "c.onnx").bits(symbols)
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_extreme_symbols_have_exact_costs(tmp_path: Path, tiny: Path) -> None:
    config = config_of(Context(reach=2, width=8, hidden=(7,)))
    weights = saved(tmp_path / "net.npz", config)
    for name in ("ctx_scale/kernel", "ctx_scale/bias"):
        weights[name][:] = 0
    weights["ctx_scale_bias/table"][:] = np.linspace(-4, 6, 12)  # beyond both limits
    for name in ("ctx_mean/kernel", "ctx_mean/bias"):
        weights[name][:] = 0
    graph = context_onnx.context_graph(config, weights, 128)
    model = load_model(tiny)
    manifest.tag(graph, context_onnx.metadata(config, model, "0" * 64))
    (tmp_path / "c.onnx").write_bytes(graph.SerializeToString())
    levels = np.array([0, 1, 126, 127, 128, 129, 130, 255], np.uint8)
    symbols = np.broadcast_to(levels, (12, 3, 8)).copy()
    values = symbols.astype(np.float64) - 128
    scale = np.exp(np.clip(np.linspace(-4, 6, 12), *edge.LOG_SCALE))[:, None, None]
    a, b = (values - 0.5) / scale, (values + 0.5) / scale
    nats = np.logaddexp(0, a) + np.logaddexp(0, -b) - np.log1p(-np.exp(-1 / scale))
    found = load_context_model(tmp_path / "c.onnx").bits(symbols)
    assert found == pytest.approx(nats / np.log(2), rel=1e-5, abs=2e-5)


def test_what_the_graph_says_of_itself(tmp_path: Path, tiny: Path) -> None:
    saved(tmp_path / "net.npz", config_of(Context(reach=2, width=8, hidden=(7,))))
    assert run(tmp_path, tiny) == 0
    graph = onnx.load(tmp_path / "c.onnx")
    model = load_model(tiny)
    assert {prop.key: prop.value for prop in graph.metadata_props} == {
        "edgecomp.context": "1",
        "encoder_sha256": model.graphs["encoder", "int8"].sha256,
        "order": "position",
        "quality": "T",
        "channels": "12",
        "levels": "256",
        "zero": "128",
        "reach": "2",
    }
    assert [entry.version for entry in graph.opset_import] == [17]
    assert graph.ir_version == 8
    assert load_context_model(tmp_path / "c.onnx").matches(model)


def test_one_checkpoint_gives_one_file(tmp_path: Path, tiny: Path) -> None:
    saved(tmp_path / "net.npz", config_of(Context(reach=1, width=5, hidden=(4,))))
    assert run(tmp_path, tiny) == 0
    first = (tmp_path / "c.onnx").read_bytes()
    assert run(tmp_path, tiny) == 0
    assert (tmp_path / "c.onnx").read_bytes() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.onnx", "net.npz"]


def test_the_frozen_graph_is_what_the_exporter_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = DATA / "context-onnx"
    monkeypatch.syspath_prepend(str(folder))
    from make_context_onnx import main

    main(tmp_path / "tiny.onnx")
    assert (tmp_path / "tiny.onnx").read_bytes() == (folder / "tiny.onnx").read_bytes()
    monkeypatch.delitem(sys.modules, "make_context_onnx")


def test_the_command(command: Command, tmp_path: Path, tiny: Path, photo: Image.Image) -> None:
    config = config_of(Context(reach=2, width=8, hidden=(7,)))
    weights = saved(tmp_path / "net.npz", config)
    out = tmp_path / "c.onnx"
    done = command("export.context_onnx", tmp_path / "net.npz", "--model", tiny, "--out", out)
    assert done.returncode == 0, done.stderr
    assert f"{out.stat().st_size} bytes" in done.stdout
    model, codec = load_context_model(out), Codec.load(model=tiny)
    assert model.matches(codec.model)
    symbols = codec.analyse(Picture(rgb=np.asarray(photo))).symbols
    expected = network_bits(config, weights, symbols)
    assert model.ideal_bytes(symbols) * 8 == pytest.approx(expected.sum(), rel=1e-3)


def refused(tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """The command's message, when it writes nothing."""
    assert run(tmp_path, tiny, *more) == 1
    assert not (tmp_path / "c.onnx").exists()
    return capsys.readouterr().err


def test_no_checkpoint(tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no checkpoint at" in refused(tmp_path, tiny, capsys)


@pytest.mark.parametrize(("quality", "message"), [(None, "S, T"), ("X", "'X'")])
def test_no_such_quality(
    tmp_path: Path,
    tiny: Path,
    capsys: pytest.CaptureFixture[str],
    quality: str | None,
    message: str,
) -> None:
    saved(tmp_path / "net.npz", config_of(Context(1, 5, ()), ("S", "T")))
    more = () if quality is None else ("--quality", quality)
    assert message in refused(tmp_path, tiny, capsys, *more)


def test_a_model_of_another_quality(
    tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(tmp_path / "net.npz", config_of(Context(1, 5, ()), ("S",)))
    assert "quality T, 12 channels" in refused(tmp_path, tiny, capsys)


def test_a_model_with_other_channels(
    tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(tmp_path / "net.npz", config_of(Context(1, 5, ()), latents=11))
    assert "has quality T, 11 channels" in refused(tmp_path, tiny, capsys)


def test_no_such_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved(tmp_path / "net.npz", config_of(Context(1, 5, ())))
    assert "model.json" in refused(tmp_path, tmp_path / "none", capsys)


def test_a_model_without_an_int8_encoder(
    tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(tmp_path / "net.npz", config_of(Context(1, 5, ())))
    folder = tmp_path / "fp32"
    shutil.copytree(tiny, folder)
    record = json.loads((folder / "model.json").read_bytes())
    record["graphs"]["encoder"] = {"fp32": record["graphs"]["encoder"]["int8"]}
    manifest.save(folder, record)
    assert "no int8 encoder" in refused(tmp_path, folder, capsys)


def test_a_checkpoint_that_lacks_a_weight(
    tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(tmp_path / "net.npz", config_of(Context(1, 5, ())))
    found = checkpoint.load(tmp_path / "net.npz")
    del found.groups["ema"]["ctx_above/kernel"]
    checkpoint.save(tmp_path / "net.npz", found)
    assert "no weight 'ctx_above/kernel'" in refused(tmp_path, tiny, capsys)


def test_the_papers_network(tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from export.networks import cvpr

    config = cvpr.CvprConfig.from_dict(
        {
            "bottleneck": 4,
            "batch_norm": False,
            "encoder": {"first": 3, "width": 4, "groups": [[2]], "last": 0},
            "decoder": {"first": 3, "width": 4, "groups": [[2]], "last": 0},
            "context": {"width": 2},
        }
    )
    weights = {}
    for build in (cvpr.build_encoder, cvpr.build_decoder, cvpr.build_context):
        weights |= weights_of(build(config))
    settings = Settings("paper", config, TRAINING).to_dict()
    checkpoint.save(
        tmp_path / "net.npz", checkpoint.Checkpoint({"ema": weights}, {"settings": settings})
    )
    message = refused(tmp_path, tiny, capsys)
    assert "cvpr" in message
    assert "symbol by symbol" in message


def test_a_folder_that_is_not_there(
    tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(tmp_path / "net.npz", config_of(Context(1, 5, ())))
    out = tmp_path / "none" / "c.onnx"
    args = [str(tmp_path / "net.npz"), "--model", str(tiny), "--out", str(out)]
    assert context_onnx.main(args) == 1
    assert f"cannot write {out}" in capsys.readouterr().err


def test_both_parts_of_the_window() -> None:
    config = config_of(Context(reach=2, width=3, hidden=()))
    weights = random_weights(config, 1)
    kernel = context_onnx.first_layer(weights, 2)
    assert kernel.shape == (3, 5, 12, 3)
    assert np.array_equal(kernel[:2], weights["ctx_above/kernel"])
    assert np.array_equal(kernel[2, :2], weights["ctx_left/kernel"][0])
    assert not kernel[2, 2:].any()
