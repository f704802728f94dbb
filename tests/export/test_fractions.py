"""The output `fractions` of encoders: its values, the graphs it is added to, `to_onnx --choose`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecomp.codec import Codec
from edgecomp.codestream import parse
from edgecomp.models import load_model
from edgecomp.pictures import Picture
from edgecomp.symbol_hash import symbol_hash

from .conftest import Command
from .test_cvpr_export import FULL, write_run

PRECISIONS = ("fp32", "int8")
ZERO = 128


def session_of(model: Any) -> Any:
    import onnxruntime

    data = model.SerializeToString()
    return onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])


def wanted(latents: np.ndarray, symbols: np.ndarray) -> np.ndarray:
    """What the output should hold."""
    rest = latents - (symbols.astype(np.float32) - ZERO)
    return np.clip(np.rint(rest * 256), -128, 127).astype(np.int8)


def graph(nodes: list[Any], outputs: tuple[str, ...] = ("symbols",)) -> Any:
    """From float32 ``latents`` [1, 2, h, w]."""
    from onnx import TensorProto, helper, numpy_helper

    constants = {
        "one": np.float32(1),
        "zero": np.uint8(ZERO),
        "shift": np.float32(ZERO),
        "low": np.uint8(ZERO - 3),
        "high": np.uint8(ZERO + 3),
    }
    used = {name for node in nodes for name in node.input}
    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items() if k in used]
    given = helper.make_tensor_value_info("latents", TensorProto.FLOAT, [1, "a", "b", "c"])
    results = [
        helper.make_tensor_value_info(name, TensorProto.UINT8, [1, "c", "rows", "columns"])
        for name in outputs
    ]
    made = helper.make_graph(nodes, "latents to symbols", [given], results, tensors)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def node(kind: str, inputs: list[str], output: str, **more: Any) -> Any:
    from onnx import helper

    return helper.make_node(kind, inputs, [output], **more)


def by_round() -> Any:
    return graph(
        [
            node("Round", ["latents"], "rounded"),
            node("Add", ["rounded", "shift"], "shifted"),
            node("Cast", ["shifted"], "symbols", to=2),
        ]
    )


def by_quantise() -> Any:
    return graph(
        [
            node("QuantizeLinear", ["latents", "one", "zero"], "bytes"),
            node("Clip", ["bytes", "low", "high"], "clipped"),
            node("Transpose", ["clipped"], "symbols", perm=[0, 3, 1, 2]),
        ]
    )


@pytest.mark.parametrize(("build", "order"), [(by_round, None), (by_quantise, (0, 3, 1, 2))])
def test_values_whatever_rounds_and_moves(build: Any, order: Any) -> None:
    from export import fractions

    model = build()
    fractions.add(model, ZERO)
    assert [o.name for o in model.graph.output] == ["symbols", "fractions"]
    assert model.graph.name == "latents to symbols and fractions"
    ends = [-0.5, 0.5, 1.5, -1.5, 0.5 - 2**-10, 0.5 + 2**-10, 2.998, -0.0]
    latents = np.random.default_rng(0).normal(0, 1, (1, 2, 3, 40)).astype(np.float32).clip(-3, 3)
    latents[0, 0, 0, : len(ends)] = ends
    symbols, found = session_of(model).run(["symbols", "fractions"], {"latents": latents})
    moved = latents if order is None else latents.transpose(order)
    assert (found.dtype, found.shape) == (np.int8, symbols.shape)
    assert np.array_equal(found, wanted(moved, symbols))
    assert {-128, 0, 127} <= set(found.ravel().tolist())


def test_latents_beyond_the_last_symbol_are_clipped() -> None:
    from export import fractions

    model = by_quantise()
    fractions.add(model, ZERO)
    latents = np.array([-9, -3.25, 3.25, 1e6], np.float32).reshape(1, 1, 1, 4)
    _, found = session_of(model).run(None, {"latents": latents})
    assert found.ravel().tolist() == [-128, -64, 64, 127]


def test_graphs_of_another_form_are_refused() -> None:
    from export import fractions

    twice = by_round()
    fractions.add(twice, ZERO)
    with pytest.raises(fractions.FractionsError, match="has fractions already"):
        fractions.add(twice, ZERO)
    other = graph([node("Cast", ["latents"], "bytes", to=2)], ("bytes",))
    with pytest.raises(fractions.FractionsError, match="no output symbols"):
        fractions.add(other, ZERO)
    for nodes in (
        [node("Cast", ["latents"], "symbols", to=2)],
        [node("Floor", ["latents"], "f"), node("Cast", ["f"], "symbols", to=2)],
    ):
        model = graph(nodes)
        before = model.SerializeToString()
        with pytest.raises(fractions.FractionsError, match="do not come from a rounding"):
            fractions.add(model, ZERO)
        assert model.SerializeToString() == before


@pytest.mark.parametrize(
    ("rate", "threshold"), [(0.05, 5120), (0.02, 12800), (1, 256), (256, 1), (2**-20, 2**28)]
)
def test_thresholds(rate: float, threshold: int) -> None:
    from export import fractions

    assert fractions.threshold(rate) == threshold


@pytest.mark.parametrize(
    ("rate", "word"), [(1000, "large"), (1e-7, "small"), (5e-324, "small"), (1e300, "large")]
)
def test_lambdas_that_give_no_threshold(rate: float, word: str) -> None:
    from export import fractions

    with pytest.raises(fractions.FractionsError, match=f"too {word}"):
        fractions.threshold(rate)


@pytest.fixture(scope="module")
def choosing(
    command: Command, trained: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """As `exported`, with --choose."""
    out = tmp_path_factory.mktemp("models") / "B"
    args = (trained, "--quality", "B", "--out", out, "--data", pictures, "--calibrate", 3)
    done = command("export.to_onnx", *args, "--choose", 0.05)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """uint8 [1, 96, 88, 3], smooth."""
    y, x = np.mgrid[0:96, 0:88]
    planes = [128 + 100 * np.sin(x / 9), 2.5 * (x + y) / 2, 128 + 90 * np.cos(y / 7) * np.sin(x)]
    return np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)[None]


def test_only_the_encoders_and_the_manifest_change(exported: Path, choosing: Path) -> None:
    plain, record = (json.loads((f / "model.json").read_text()) for f in (exported, choosing))
    assert "choice" not in plain
    assert record.pop("choice") == {"threshold": 5120}
    for precision in PRECISIONS:
        entries = (r["graphs"]["encoder"][precision].pop("sha256") for r in (plain, record))
        assert len(set(entries)) == 2
    assert record == plain
    assert load_model(choosing).choice_threshold == 5120


@pytest.mark.parametrize("precision", PRECISIONS)
def test_exported_fractions_are_those_of_the_latents(
    exported: Path, choosing: Path, picture: np.ndarray, precision: str
) -> None:
    import onnx

    name = f"encoder.{precision}.onnx"
    model = onnx.load(choosing / name)
    assert [p.key for p in model.metadata_props] == [
        p.key for p in onnx.load(exported / name).metadata_props
    ]
    assert all(node.name.startswith(f"{node.op_type}_") for node in model.graph.node)
    kinds = ("Round", "QuantizeLinear")
    first = next(n for n in reversed(model.graph.node) if n.op_type in kinds and scale(model, n))
    latents = first.input[0]
    model.graph.output.append(onnx.helper.make_tensor_value_info(latents, 1, None))
    names = ["symbols", "fractions", latents]
    symbols, found, value = session_of(model).run(names, {"picture": picture})
    value = value.transpose(0, 3, 1, 2)
    assert np.array_equal(symbols, session_of(onnx.load(exported / name)).run(
        None, {"picture": picture})[0])  # fmt: skip
    assert (found.dtype, found.shape) == (np.int8, symbols.shape)
    assert np.array_equal(found, wanted(value, symbols))
    assert np.ptp(found.astype(int)) > 200


def scale(model: Any, rounding: Any) -> bool:
    """Whether a node rounds to whole latents: not the fractions, nor bytes of another scale."""
    from onnx import numpy_helper

    maker = {name: node for node in model.graph.node for name in node.output}
    if rounding.op_type == "Round":
        return bool(maker[rounding.input[0]].op_type != "Mul")
    constants = {t.name: t for t in model.graph.initializer}
    return bool(numpy_helper.to_array(constants[rounding.input[1]]) == 1)


def test_the_int8_encoder_is_proved(choosing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from export import overflow

    assert overflow.main([str(choosing)]) == 0
    assert "encoder.int8.onnx" in capsys.readouterr().out


@pytest.mark.parametrize("precision", PRECISIONS)
def test_edgecomp_runs_the_model(choosing: Path, picture: np.ndarray, precision: str) -> None:
    """Its coder is lzma, which takes symbols as rounded, until it has parameters for context."""
    codec = Codec.load(model=choosing, precision=precision)
    latent = codec.backend.analyse(picture[0], 0)
    assert latent.fractions is not None
    stream = parse(codec.encode(Picture(picture[0])))
    assert stream.symbol_hash == symbol_hash(latent)


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        ("-1", "--choose must be a number that is not negative"),
        ("nan", "--choose must be a number that is not negative"),
        ("inf", "--choose must be a number that is not negative"),
        ("1e-9", "--choose: 1e-09 is too small"),
        ("1000", "--choose: 1000.0 is too large"),
    ],
)
def test_refused_lambdas(
    trained: Path, pictures: Path, tmp_path: Path, rate: str, message: str, capsys: Any
) -> None:
    from export import to_onnx

    argv = [str(trained), "--quality", "A", "--out", str(tmp_path / "out")]
    argv += ["--data", str(pictures), f"--choose={rate}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(to_onnx.keras.backend, "backend", lambda: "tensorflow")
        assert to_onnx.main(argv) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_other_networks_have_no_choice(command: Command, pictures: Path, tmp_path: Path) -> None:
    source = write_run(FULL, tmp_path / "run")
    args = (source, "--out", tmp_path / "M", "--data", pictures, "--choose", 0.05)
    done = command("export.to_onnx", *args)
    assert done.returncode == 1
    assert "--choose needs an `edge` network" in done.stderr
    assert not (tmp_path / "M").exists()
