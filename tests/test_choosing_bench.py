"""benchmarks/choosing.py: the models it makes, its arithmetic, what it refuses."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from common import ROOT
from PIL import Image

from edgecomp.codec import Codec
from edgecomp.models import load_model, shipped_model
from edgecomp.pictures import Picture

pytest.importorskip("onnx", reason="the extra 'export' is not installed")


@pytest.fixture(scope="module")
def choosing() -> Iterator[ModuleType]:
    """The script, imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
        yield importlib.import_module("choosing")
    sys.modules.pop("choosing", None)


@pytest.fixture
def large(photo: Image.Image) -> Image.Image:
    """The photo in a size that MS-SSIM takes."""
    return photo.resize((304, 192))


def test_a_made_model_is_the_shipped_one_but_chooses(
    choosing: ModuleType, large: Image.Image, tmp_path: Path
) -> None:
    shipped = shipped_model("A")
    folders = [tmp_path / name for name in ("without", "with")]
    for folder in folders:
        folder.mkdir()
    without = load_model(choosing.choosing_model(shipped, 0, folders[0]))
    assert without.choice_threshold is None
    model = load_model(choosing.choosing_model(shipped, 0.05, folders[1]))
    assert model.choice_threshold == 5120
    assert model.precisions == ("int8",)
    rgb = np.array(large)
    plain, other = (Codec.load(model=m.path, precision="int8") for m in (without, model))
    symbols = plain.backend.analyse(rgb, 0).symbols
    assert np.array_equal(other.backend.analyse(rgb, 0).symbols, symbols)
    assert len(other.encode(Picture(rgb))) < len(plain.encode(Picture(rgb)))


def test_net_is_saved_less_what_similarity_costs(choosing: ModuleType) -> None:
    plain = choosing.Outcome(0.5, 0.99, 30.0)
    assert plain.decibels == pytest.approx(20)
    found = choosing.Outcome(0.4, 1 - 10**-1.97, 29.0)
    assert found.saved(plain) == pytest.approx(20)
    assert found.net(plain, 0.06) == pytest.approx(15)
    assert plain.net(plain, 0.06) == 0


def test_a_line_for_each_lambda(
    choosing: ModuleType,
    large: Image.Image,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    large.save(tmp_path / "a.png")
    argv = [str(tmp_path), "--quality", "A", "--lambda", "0", "0.02", "0.05"]
    assert choosing.main(argv) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[0] for row in rows] == ["0", "0.02", "0.05"]
    sizes = [float(row[1]) for row in rows]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 3
    assert rows[0][-2:] == ["0.0%", "0.0%"]


@pytest.mark.parametrize(
    ("rate", "picture", "message"),
    [("0.05", False, "no PNG pictures"), ("1000", True, "1000.0 is too large")],
)
def test_refusals(
    choosing: ModuleType,
    large: Image.Image,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    rate: str,
    picture: bool,
    message: str,
) -> None:
    if picture:
        large.save(tmp_path / "a.png")
    assert choosing.main([str(tmp_path), "--quality", "A", "--lambda", rate]) == 1
    assert message in capsys.readouterr().err
