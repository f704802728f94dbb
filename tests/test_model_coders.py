"""Which coder a model's symbols are coded with, and its parameters."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from common import DATA

from edgecomp.constants import QUALITIES
from edgecomp.entropy import ContextCoder, LzmaCoder
from edgecomp.errors import ModelDamagedError, ModelNotFoundError
from edgecomp.model_coders import default_coder, load_coder
from edgecomp.models import load_model, shipped_model


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "model"))


def _give(folder: Path, data: bytes) -> None:
    """Let a model have these bytes as the parameters of ``context``."""
    (folder / "context.bin").write_bytes(data)
    manifest = json.loads((folder / "model.json").read_text())
    entry = {"file": "context.bin", "sha256": hashlib.sha256(data).hexdigest()}
    manifest["coders"] = {"context": entry, "lzma": {}}
    (folder / "model.json").write_text(json.dumps(manifest))


def test_a_model_without_parameters_is_coded_by_lzma(tiny: Path) -> None:
    model = load_model(tiny)
    assert default_coder(model) == "lzma"
    assert isinstance(load_coder(model), LzmaCoder)
    assert isinstance(load_coder(model, "lzma"), LzmaCoder)


def test_unknown_coders_are_named(tiny: Path) -> None:
    with pytest.raises(ValueError, match=r"'zip'.*known: lzma"):
        load_coder(load_model(tiny), "zip")


def test_a_model_without_parameters_cannot_be_coded_by_context(tiny: Path) -> None:
    says = r"model tiny has no parameters for the coder context \(coders: lzma\)"
    with pytest.raises(ModelNotFoundError, match=says) as raised:
        load_coder(load_model(tiny), "context")
    assert raised.value.path == str(tiny)


def test_damaged_parameters_are_refused_and_others_need_none(copy: Path) -> None:
    _give(copy, b"some numbers")
    (copy / "context.bin").write_bytes(b"same numbers")
    with pytest.raises(ModelDamagedError, match=r"context\.bin.*SHA-256"):
        load_coder(load_model(copy), "context")
    assert isinstance(load_coder(load_model(copy), "lzma"), LzmaCoder)


@pytest.mark.parametrize("data", [b"", b"some numbers", bytes(10_000)])
def test_a_file_that_holds_no_parameters_is_refused(copy: Path, data: bytes) -> None:
    _give(copy, data)
    with pytest.raises(ModelDamagedError, match=r"context\.bin: not the parameters") as raised:
        load_coder(load_model(copy))
    assert raised.value.path == str(copy / "context.bin")


def test_parameters_of_another_model_are_refused(copy: Path) -> None:
    _give(copy, (DATA / "context" / "tiny-map" / "context.bin").read_bytes())
    says = r"context\.bin: the coder's parameters say channels = 8, the manifest 12"
    with pytest.raises(ModelDamagedError, match=says):
        load_coder(load_model(copy))


@pytest.mark.parametrize(("key", "value"), [("levels", 255), ("zero", 127)])
def test_parameters_for_other_symbols_are_refused(tmp_path: Path, key: str, value: int) -> None:
    folder = Path(shutil.copytree(DATA / "context" / "tiny", tmp_path / "model"))
    manifest = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(manifest | {key: value}))
    with pytest.raises(ModelDamagedError, match=f"say {key} = {value + 1}, the manifest {value}"):
        load_coder(load_model(folder))


@pytest.mark.parametrize("quality", QUALITIES)
def test_the_models_that_ship_are_coded_by_context(quality: str) -> None:
    model = shipped_model(quality)
    assert default_coder(model) == "context"
    coder = load_coder(model)
    assert isinstance(coder, ContextCoder)
    found = coder.parameters
    assert (found.channels, found.levels, found.zero) == (model.channels, model.levels, model.zero)
    assert isinstance(load_coder(model, "lzma"), LzmaCoder)
