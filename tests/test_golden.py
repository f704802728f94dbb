"""Golden vectors: the models that ship compute what they say, and what differs is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from edgecomp import golden
from edgecomp.models import load_model, shipped_models

SHIPPED = shipped_models()


@pytest.fixture
def folder(tiny: Path, tmp_path: Path) -> Path:
    """A copy of a small model, with golden vectors."""
    copy = shutil.copytree(tiny, tmp_path / "model")
    (copy / golden.GOLDEN).write_bytes(golden.record(load_model(copy)))
    return copy


def _edit(folder: Path, **fields: Any) -> None:
    path = folder / golden.GOLDEN
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize("model", SHIPPED, ids=lambda m: m.name)
def test_models_that_ship_have_golden_vectors_and_compute_them(model: Any) -> None:
    assert golden.check(model) == []
    assert (model.path / golden.GOLDEN).read_bytes() == golden.record(model)


def test_models_with_maps_and_several_gains_can_have_them(tiny_map: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_map, tmp_path / "model")
    (copy / golden.GOLDEN).write_bytes(golden.record(load_model(copy)))
    assert golden.check(load_model(copy)) == []


@pytest.mark.parametrize("what", ["symbols", "codestream", "pixels"])
def test_what_differs_is_named(folder: Path, what: str) -> None:
    _edit(folder, **{what: "0" * 64})
    (note,) = golden.check(load_model(folder))
    assert what in note.reason
    assert load_model(folder).name in note.path


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"model_id": "0000000000000000"}', None])
def test_vectors_that_are_missing_or_no_vectors_are_told(
    folder: Path, content: bytes | None
) -> None:
    path = folder / golden.GOLDEN
    path.unlink() if content is None else path.write_bytes(content)
    (note,) = golden.check(load_model(folder))
    assert "cannot be checked" in note.reason


def test_a_damaged_graph_is_told(folder: Path) -> None:
    model = load_model(folder)
    path = folder / model.graphs["decoder", "int8"].file
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    (note,) = golden.check(model)
    assert "damaged" in note.reason


def test_fp32_that_is_something_else_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golden, "_FLOAT_DIFFERENCE", 0.5)  # less than it is
    (note,) = golden.check(SHIPPED[0])
    assert "fp32" in note.reason
    assert "levels from int8" in note.reason
