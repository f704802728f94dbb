"""The float context model of `edgecomp evaluate`: its ideal, its order, and files that are none.

The frozen graph says what tests/data/context-onnx/make_context_onnx.py says of it.
"""

from __future__ import annotations

import hashlib
import math
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import DATA

from edgecomp.codec import Codec
from edgecomp.errors import (
    BackendUnavailableError,
    LimitError,
    ModelDamagedError,
    ModelNotFoundError,
)
from edgecomp.evaluation import context_model as module
from edgecomp.evaluation.context_model import FloatContextModel, border, load_context_model
from edgecomp.models import load_model
from edgecomp.pictures import Picture

GRAPH = DATA / "context-onnx" / "tiny.onnx"
SHAPES = [(12, 1, 1), (12, 1, 5), (12, 6, 1), (12, 7, 9)]


@pytest.fixture(scope="module")
def model() -> FloatContextModel:
    return load_context_model(GRAPH)


def drawn(shape: tuple[int, int, int], width: float = 3.0) -> np.ndarray:
    values = np.random.default_rng(4).laplace(0, width, shape).round() + 128
    return values.clip(0, 255).astype(np.uint8)


def expected_bits(symbols: np.ndarray) -> np.ndarray:
    """What the frozen graph should say, in double precision."""
    values = symbols.astype(np.float64) - 128
    mean = np.zeros_like(values)
    mean[:, :, 1:] += 0.5 * values[:, :, :-1]
    mean[:, 1:, :-1] += 0.25 * values[:, :-1, 1:]
    scale = np.exp(np.arange(len(symbols)) / 4 - 1)[:, None, None]
    a, b = (values - mean - 0.5) / scale, (values - mean + 0.5) / scale
    share = -np.log1p(-np.exp(-1 / scale))
    return (np.logaddexp(0, a) + np.logaddexp(0, -b) + share) / math.log(2)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("width", [0.0, 3.0, 60.0])
def test_bits_are_those_of_the_distributions(
    model: FloatContextModel, shape: tuple[int, int, int], width: float
) -> None:
    symbols = drawn(shape, width)
    bits = model.bits(symbols)
    assert bits.dtype == np.float32
    assert bits == pytest.approx(expected_bits(symbols), rel=1e-4, abs=1e-4)
    assert model.ideal_bytes(symbols) == pytest.approx(expected_bits(symbols).sum() / 8, abs=1.01)


def test_a_part_of_a_byte_is_a_byte(model: FloatContextModel) -> None:
    symbols = drawn((12, 3, 4))
    exact = float(model.bits(symbols).sum(dtype=np.float64)) / 8
    assert exact != int(exact)
    assert model.ideal_bytes(symbols) == int(exact) + 1


def test_far_symbols_cost_numbers(model: FloatContextModel) -> None:
    symbols = np.zeros((12, 4, 4), np.uint8)
    symbols[:, ::2, ::2] = 255
    bits = model.bits(symbols)
    assert np.isfinite(bits).all()
    assert (bits >= 0).all()
    assert bits == pytest.approx(expected_bits(symbols), rel=1e-4)


def test_bits_are_causal(model: FloatContextModel) -> None:
    symbols = drawn((12, 6, 7))
    before = model.bits(symbols)
    changed = symbols.copy()
    changed[:, 3, 4] ^= 1
    after = model.bits(changed)
    other = (before != after).any(axis=0)
    assert not other[:3].any()
    assert not other[3, :4].any()
    # Itself; the position to the right; below to the left.
    assert sorted(zip(*np.nonzero(other), strict=True)) == [(3, 4), (3, 5), (4, 3)]


@pytest.mark.parametrize("shape", SHAPES)
def test_one_position_at_a_time_costs_the_same(
    model: FloatContextModel, shape: tuple[int, int, int]
) -> None:
    assert model.seconds_decoding(drawn(shape)) > 0  # raises unless they agree
    assert model.seconds_encoding(drawn(shape)) > 0


def test_the_decoder_sees_only_what_is_known(
    model: FloatContextModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    symbols = drawn((12, 4, 5))
    windows = []
    run = model._run

    def watched(names: list[str], feeds: dict[str, Any]) -> Any:
        if "border" in feeds:
            windows.append(feeds["symbols"].copy())
            assert names == ["means", "log_scales"]
        return run(names, feeds)

    monkeypatch.setattr(model, "_run", watched)
    model.seconds_decoding(symbols)
    windows = windows[1:]  # after one that warms up
    assert len(windows) == 4 * 5
    padded = np.pad(symbols, ((0, 0), (1, 0), (1, 1)), constant_values=128)
    for i, window in enumerate(windows):
        y, x = divmod(i, 5)
        expected = padded[:, y : y + 2, x : x + 3].copy()
        expected[:, 1, 1:] = 128
        assert np.array_equal(window, expected)


def test_distributions_that_disagree_are_refused(
    model: FloatContextModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    symbols = drawn((12, 4, 5))
    by_position = model._by_position

    def wrong(symbols: np.ndarray, out: np.ndarray) -> None:
        by_position(symbols, out)
        out[1] += 0.5

    monkeypatch.setattr(model, "_by_position", wrong)
    with pytest.raises(ModelDamagedError, match="position by position") as caught:
        model.seconds_decoding(symbols)
    assert str(GRAPH) in str(caught.value)


def test_which_model_it_is_for(model: FloatContextModel, tiny: Path, tiny_map: Path) -> None:
    assert model.matches(load_model(tiny))
    assert not model.matches(load_model(tiny_map))


def test_what_is_known_of_it(model: FloatContextModel, tiny: Path) -> None:
    own = load_model(tiny)
    assert (model.quality, model.channels) == (own.quality, own.channels)
    assert (model.levels, model.zero, model.reach) == (own.levels, own.zero, 1)
    assert model.encoder_sha256 == own.graphs["encoder", "int8"].sha256
    assert model.sha256 == hashlib.sha256(GRAPH.read_bytes()).hexdigest()


def test_symbols_of_a_picture(model: FloatContextModel, tiny: Path, photo: Any) -> None:
    symbols = Codec.load(model=tiny).analyse(Picture(rgb=np.asarray(photo))).symbols
    assert model.ideal_bytes(symbols) == pytest.approx(expected_bits(symbols).sum() / 8, abs=1.5)
    assert model.seconds_decoding(symbols) > 0


@pytest.mark.parametrize(
    ("symbols", "message"),
    [
        (np.zeros((11, 2, 2), np.uint8), "12 channels"),
        (np.zeros((12, 2), np.uint8), "12 channels"),
        (np.zeros((12, 2, 2), np.int64), "int64"),
        (np.zeros((12, 0, 2), np.uint8), "no symbols"),
    ],
)
def test_volumes_that_it_is_not_for(
    model: FloatContextModel, symbols: np.ndarray, message: str
) -> None:
    for call in (model.bits, model.ideal_bytes, model.seconds_decoding, model.seconds_encoding):
        with pytest.raises(ValueError, match=message):
            call(symbols)


def test_symbols_above_the_levels(tmp_path: Path, tiny: Path) -> None:
    model = load_context_model(changed_entry(tmp_path, tiny, "levels", "200"))
    assert model.bits(np.full((12, 2, 2), 199, np.uint8)).shape == (12, 2, 2)
    with pytest.raises(ValueError, match="200 levels"):
        model.bits(np.full((12, 2, 2), 200, np.uint8))


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="cannot be read") as caught:
        load_context_model(tmp_path / "none.onnx")
    assert "none.onnx" in str(caught.value)


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="cannot be read"):
        load_context_model(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no graph", "half"])
def test_no_graph(tmp_path: Path, content: bytes | str) -> None:
    data = GRAPH.read_bytes()
    file = tmp_path / "other.onnx"
    file.write_bytes(data[: len(data) // 2] if isinstance(content, str) else content)
    with pytest.raises(ModelDamagedError, match=r"other\.onnx"):
        load_context_model(file)


def test_another_graph(tiny: Path) -> None:
    with pytest.raises(ModelDamagedError, match="not a context model"):
        load_context_model(tiny / "encoder.int8.onnx")


def entry(key: str, value: str) -> bytes:
    """One of the metadata of an ONNX file, as its protobuf (ModelProto, field 14) has it."""
    pair = b"".join(
        bytes((tag, len(text))) + text
        for tag, text in ((0x0A, key.encode()), (0x12, value.encode()))
    )
    return bytes((0x72, len(pair))) + pair


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("edgecomp.context", None, "not a context model"),
        ("edgecomp.context", "2", "kind 2"),
        ("order", "symbol", "order symbol"),
        ("order", None, "order None"),
        ("zero", "middle", "incomplete"),
        ("zero", None, "incomplete"),
        ("quality", None, "incomplete"),
        ("encoder_sha256", None, "incomplete"),
        ("zero", "256", "not those"),
        ("zero", "-1", "not those"),
        ("levels", "257", "not those"),
        ("reach", "0", "not those"),
        ("channels", "0", "not those"),
    ],
)
def test_metadata_that_do_not_fit(
    tmp_path: Path, tiny: Path, key: str, value: str | None, message: str
) -> None:
    file = changed_entry(tmp_path, tiny, key, value)
    with pytest.raises(ModelDamagedError, match=message) as caught:
        load_context_model(file)
    assert str(file) in str(caught.value)


def changed_entry(folder: Path, tiny: Path, key: str, value: str | None) -> Path:
    """The frozen graph with another value in its metadata, or without the key."""
    known = {
        "edgecomp.context": "1",
        "order": "position",
        "quality": "T",
        "encoder_sha256": load_model(tiny).graphs["encoder", "int8"].sha256,
        "channels": "12",
        "levels": "256",
        "zero": "128",
        "reach": "1",
    }
    data, old = GRAPH.read_bytes(), entry(key, known[key])
    assert data.count(old) == 1
    file = folder / "changed.onnx"
    file.write_bytes(data.replace(old, b"" if value is None else entry(key, value)))
    return file


@pytest.mark.parametrize("name", ["symbols", "border", "bits", "means", "log_scales"])
def test_inputs_and_outputs_of_other_names(tmp_path: Path, name: str) -> None:
    file = tmp_path / "renamed.onnx"
    file.write_bytes(GRAPH.read_bytes().replace(name.encode(), name[:-1].encode() + b"z"))
    with pytest.raises(ModelDamagedError, match="inputs or outputs"):
        load_context_model(file)


def test_a_graph_that_takes_other_volumes(tmp_path: Path, tiny: Path) -> None:
    model = load_context_model(changed_entry(tmp_path, tiny, "channels", "11"))
    with pytest.raises(ModelDamagedError, match=r"changed\.onnx: it cannot be run"):
        model.bits(np.full((11, 2, 2), 128, np.uint8))


def test_a_graph_that_gives_no_numbers(tmp_path: Path) -> None:
    per_bit, nan = (struct.pack("<f", value) for value in (1 / math.log(2), math.nan))
    data = GRAPH.read_bytes()
    assert data.count(per_bit) == 1
    file = tmp_path / "nan.onnx"
    file.write_bytes(data.replace(per_bit, nan))
    with pytest.raises(ModelDamagedError, match=r"nan\.onnx: it gives no number"):
        load_context_model(file).ideal_bytes(np.full((12, 2, 2), 128, np.uint8))


def test_too_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def run(self, names: list[str], feeds: dict[str, Any]) -> Any:
            raise RuntimeError("Failed to allocate memory for requested buffer")

    model = load_context_model(GRAPH)
    monkeypatch.setattr(model, "_session", Full())
    with pytest.raises(LimitError, match=r"tiny\.onnx"):
        model.bits(np.full((12, 2, 2), 128, np.uint8))


def test_without_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendUnavailableError, match="onnxruntime"):
        load_context_model(GRAPH)


def test_the_border_is_what_lies_before() -> None:
    volume = np.pad(np.ones((2, 3, 4)), list(zip(border(2)[:3], border(2)[3:], strict=True)))
    assert volume.shape == (2, 3 + 2, 4 + 2 + 2)
    assert volume[:, 2:, 2:-2].all()
    assert volume.sum() == 2 * 3 * 4


def test_onnxruntime_is_loaded_when_needed() -> None:
    code = f"import sys, {module.__name__}; print('onnxruntime' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
