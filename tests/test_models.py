"""Model folders: manifests, hashes, ids, and what ships."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from edgecomp import models
from edgecomp.constants import QUALITIES
from edgecomp.errors import ModelDamagedError, ModelNotFoundError
from edgecomp.models import find_model, load_model, shipped_model, shipped_models


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "model"))


def _change(folder: Path, **fields: Any) -> None:
    manifest = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(manifest | fields))


def test_the_manifest_is_read_and_names_the_model(tiny: Path) -> None:
    model = load_model(tiny)
    assert (model.name, model.stride, model.channels, model.levels) == ("tiny", 8, 12, 256)
    assert model.model_id == hashlib.sha256((tiny / "model.json").read_bytes()).digest()[:8]
    assert model.precisions == ("int8",)
    assert model.size() == sum(f.stat().st_size for f in tiny.glob("*.onnx"))
    assert model.read_graph("encoder", "int8") == (tiny / "encoder.int8.onnx").read_bytes()


def test_any_change_to_the_manifest_is_another_model(copy: Path, tiny: Path) -> None:
    _change(copy, name="tiny2")
    assert load_model(copy).model_id != load_model(tiny).model_id
    with pytest.raises(ModelNotFoundError, match="this is another model"):
        find_model(load_model(tiny).model_id, model=copy)


def test_a_flipped_byte_in_a_graph_is_refused(copy: Path) -> None:
    graph = copy / "decoder.int8.onnx"
    data = bytearray(graph.read_bytes())
    data[len(data) // 2] ^= 0x10
    graph.write_bytes(data)
    with pytest.raises(ModelDamagedError, match=r"decoder\.int8\.onnx.*SHA-256"):
        load_model(copy).read_graph("decoder", "int8")


def _with_parameters(folder: Path, data: bytes = b"some numbers") -> None:
    (folder / "context.bin").write_bytes(data)
    entry = {"file": "context.bin", "sha256": hashlib.sha256(data).hexdigest()}
    _change(folder, coders={"context": entry, "lzma": {}})


def test_a_model_says_which_coders_it_has_and_reads_their_parameters(copy: Path) -> None:
    model = load_model(copy)
    assert model.coders == ("lzma",)
    assert model.read_coder("lzma") is model.read_coder("context") is None
    _with_parameters(copy)
    model = load_model(copy)
    assert model.coders == ("lzma", "context")
    assert model.read_coder("lzma") is None
    assert model.read_coder("context") == b"some numbers"


def test_damaged_parameters_of_a_coder_are_refused(copy: Path) -> None:
    _with_parameters(copy)
    (copy / "context.bin").write_bytes(b"same numbers")
    with pytest.raises(ModelDamagedError, match=r"context\.bin.*SHA-256"):
        load_model(copy).read_coder("context")
    (copy / "context.bin").unlink()
    with pytest.raises(ModelDamagedError, match=r"context\.bin.*cannot be read"):
        load_model(copy).read_coder("context")


@pytest.mark.parametrize(
    "coders", [{}, {"fractal": {}}, {"lzma": {}, "fractal": 7}, {"lzma": {"level": 9}}]
)
def test_coders_of_newer_exporters_are_ignored(copy: Path, coders: dict[str, Any]) -> None:
    _change(copy, coders=coders)
    assert load_model(copy).coders == ("lzma",)


@pytest.mark.parametrize("threshold", [1, 5120, 2**31 - 1])
def test_a_model_says_whether_its_symbols_are_chosen(copy: Path, threshold: int) -> None:
    assert load_model(copy).choice_threshold is None
    _change(copy, choice={"threshold": threshold, "of later versions": 1})
    assert load_model(copy).choice_threshold == threshold


def test_missing_things_are_named(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"nowhere.*model\.json is missing"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(ModelNotFoundError, match="no fp32 encoder"):
        load_model(copy).read_graph("encoder", "fp32")
    with pytest.raises(ModelNotFoundError, match="no TensorFlow SavedModel"):
        load_model(copy).check_saved_model()
    (copy / "encoder.int8.onnx").unlink()
    for use in (lambda m: m.read_graph("encoder", "int8"), lambda m: m.size()):
        with pytest.raises(ModelDamagedError, match=r"encoder\.int8\.onnx.*cannot be read"):
            use(load_model(copy))


@pytest.mark.parametrize(
    "fields",
    [
        {"schema": 2},
        {"stride": 0},
        {"stride": "8"},
        {"levels": 257},
        {"zero": 256, "levels": 256},
        {"zero": 200, "levels": 6},
        {"gains": 17},
        {"graphs": {"encoder": {"int8": {"file": "../x.onnx", "sha256": ""}}}},
        {"graphs": {"encoder": {"int8": {"file": "", "sha256": ""}}}},
        {"graphs": {"encoder": {"int8": {"file": "..", "sha256": ""}}}},
        {"graphs": {"encoder": {"int8": {"file": "a\0b", "sha256": ""}}}},
        {"graphs": {"encoder": {"int8": {"file": "\ud800", "sha256": ""}}}},
        {"graphs": {"encoder": {"int8": {"file": "x.onnx", "sha256": None}}}},
        {"graphs": []},
        {"coders": []},
        {"coders": None},
        {"coders": {"lzma": 1}},
        {"coders": {"context": []}},
        {"coders": {"context": {}}},
        {"coders": {"context": {"file": "context.bin"}}},
        {"coders": {"context": {"file": "context.bin", "sha256": 5}}},
        {"coders": {"context": {"file": "../context.bin", "sha256": ""}}},
        {"coders": {"context": {"file": ["context.bin"], "sha256": ""}}},
        {"saved_model": {"../../etc/passwd": "00"}},
        {"importance_map": True, "channels": 256},
        {"version": 2},
        {"scales": [1.0, 2.0]},
        {"scales": ["1.0"]},
        {"scales": [float("inf")]},
        {"gains": True},
        {"choice": None},
        {"choice": []},
        {"choice": {}},
        {"choice": {"threshold": 0}},
        {"choice": {"threshold": 2**31}},
        {"choice": {"threshold": 512.0}},
        {"choice": {"threshold": True}},
        {"choice": {"threshold": "512"}},
    ],
)
def test_impossible_manifests_are_refused(copy: Path, fields: dict[str, Any]) -> None:
    _change(copy, **fields)
    with pytest.raises(ModelDamagedError, match=r"model\.json: not a model manifest"):
        load_model(copy)


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', "{}", "\xff"])
def test_malformed_manifests_are_refused(copy: Path, text: str) -> None:
    (copy / "model.json").write_text(text, encoding="latin-1")
    with pytest.raises(ModelDamagedError, match="not a model manifest"):
        load_model(copy)


def test_a_saved_model_is_checked_file_by_file(copy: Path) -> None:
    (copy / "saved_model").mkdir()
    (copy / "saved_model" / "saved_model.pb").write_bytes(b"graph")
    digest = hashlib.sha256(b"graph").hexdigest()
    _change(copy, saved_model={"saved_model/saved_model.pb": digest})
    assert load_model(copy).check_saved_model() == copy / "saved_model"
    (copy / "saved_model" / "saved_model.pb").write_bytes(b"grape")
    with pytest.raises(ModelDamagedError, match="SHA-256"):
        load_model(copy).check_saved_model()


def test_all_qualities_ship_and_are_whole() -> None:
    assert tuple(m.quality for m in shipped_models()) == QUALITIES
    for model in shipped_models():
        assert {"int8", "fp32"} <= set(model.precisions)
        for role in ("encoder", "decoder"):
            for precision in model.precisions:
                model.read_graph(role, precision)
        model.check_saved_model()
        assert model.size("int8") <= 3 * 1024 * 1024
        assert find_model(model.model_id) == model
    assert len({m.model_id for m in shipped_models()}) == len(QUALITIES)


def test_unknown_qualities_and_ids_say_what_there_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(ModelNotFoundError, match=r"no model of quality 'D'.*A, B, C"):
        shipped_model("D")
    with pytest.raises(ModelNotFoundError, match=r"made with model 0000000000000000.*--model"):
        find_model(bytes(8))
    monkeypatch.setattr(models, "_SHIPPED", tmp_path)
    with pytest.raises(ModelNotFoundError, match="there are: none"):
        shipped_model("A")
