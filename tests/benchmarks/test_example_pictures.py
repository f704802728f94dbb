"""benchmarks/example_pictures.py: the same pictures every time, of the sizes asked for."""

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


@pytest.fixture(scope="module")
def pictures() -> Iterator[ModuleType]:
    """The script, imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
        yield importlib.import_module("example_pictures")


@pytest.mark.parametrize("size", [(1, 1), (768, 512), (769, 100), (1600, 1100)])
def test_a_mosaic_is_of_its_size_and_always_the_same(
    pictures: ModuleType, size: tuple[int, int]
) -> None:
    first, second = pictures.mosaic(*size), pictures.mosaic(*size)
    assert first.size == size
    assert first.mode == "RGB"
    assert first.tobytes() == second.tobytes()


def test_a_mosaic_is_made_of_whole_photographs(pictures: ModuleType) -> None:
    made = np.asarray(pictures.mosaic(2 * 768, 2 * 512))
    known = {pictures.kodak_sized(number).tobytes() for number in range(pictures.variants())}
    for top in (0, 512):
        for left in (0, 768):
            assert made[top : top + 512, left : left + 768].tobytes() in known


def test_pictures_of_a_folder_differ(pictures: ModuleType) -> None:
    count = pictures.variants()
    found = [pictures.kodak_sized(number) for number in range(count + 1)]
    assert {picture.size for picture in found} == {(768, 512)}
    assert len({picture.tobytes() for picture in found}) == count
    assert found[count].tobytes() == found[0].tobytes()


@pytest.mark.parametrize("megapixels", [0.01, 0.4, 12, 100])
def test_sides(pictures: ModuleType, megapixels: float) -> None:
    width, height = pictures.sides(megapixels)
    assert width * height == pytest.approx(megapixels * 1e6, rel=0.01)
    assert width / height == pytest.approx(1.5, rel=0.03)


def test_command_makes_files_of_one_picture(
    pictures: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    png, jpeg = tmp_path / "a.png", tmp_path / "a.jpg"
    assert pictures.main([str(png), str(jpeg), "--megapixels", "0.02"]) == 0
    width, height = map(int, capsys.readouterr().out.split())
    for path, format in ((png, "PNG"), (jpeg, "JPEG")):
        with Image.open(path) as image:
            assert (image.format, image.size) == (format, (width, height))
    with Image.open(png) as image:
        assert image.tobytes() == pictures.mosaic(width, height).tobytes()


def test_command_fills_a_folder(pictures: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    count = pictures.variants() + 2
    assert pictures.main([str(folder), "--pictures", str(count)]) == 0
    paths = sorted(folder.iterdir())
    assert len(paths) == count
    assert paths[0].read_bytes() == paths[pictures.variants()].read_bytes()
    assert paths[0].read_bytes() != paths[1].read_bytes()


def test_folders_that_are_not_empty_are_left_alone(
    pictures: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.png").touch()
    assert pictures.main([str(tmp_path), "--pictures", "2"]) == 1
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.png"]


def test_links_are_not_needed(
    pictures: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(pictures, "variants", lambda: 1)
    monkeypatch.setattr(pictures.os, "link", refuse)
    pictures.fill(tmp_path / "folder", 2, level=1)
    first, second = sorted((tmp_path / "folder").iterdir())
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("name", ["a.bmp", "a"])
def test_other_formats_are_refused(
    pictures: ModuleType, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pictures.main([str(tmp_path / name), "--megapixels", "0.01"]) == 1
    assert "neither PNG nor JPEG" in capsys.readouterr().err
