"""The paper's pickle and LZMA: what is counted, what is refused, and that nothing else pickles."""

from __future__ import annotations

import ast
import lzma
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from common import ROOT
from PIL import Image

from edgecomp.codec import Codec
from edgecomp.entropy import LzmaCoder
from edgecomp.errors import ModelNotFoundError
from edgecomp.evaluation.pickle_lzma import PickledSymbols, PickleLzma
from edgecomp.evaluation.results import PICKLE_LZMA
from edgecomp.models import load_model
from edgecomp.pictures import Picture

HERE = "edgecomp/evaluation/pickle_lzma.py"
PICKLERS = {"pickle", "_pickle", "cPickle", "pickletools", "marshal", "shelve"} | {
    "dill", "cloudpickle", "joblib", "dbm", "copyreg",
}  # fmt: skip


@pytest.fixture(scope="module")
def codec(tiny: Path) -> Codec:
    return Codec.load(model=tiny)


def random_symbols(seed: int = 3) -> np.ndarray:
    values = np.random.default_rng(seed).laplace(0, 2, (5, 7, 9)).round() + 128
    return values.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [(16, 24), (13, 9), (1, 1), (96, 152)])
def test_the_picture_is_that_of_the_rounded_symbols(
    codec: Codec, photo: Image.Image, size: tuple[int, int]
) -> None:
    rgb = np.ascontiguousarray(np.asarray(photo)[: size[0], : size[1]])
    method = PickleLzma(codec, "T")
    restored = method.decode(method.encode(rgb))
    expected = codec.backend.synthesise(codec.analyse(Picture(rgb=rgb)).symbols, 0)
    assert restored.dtype == np.uint8
    assert restored.flags.c_contiguous
    assert np.array_equal(restored, expected[: size[0], : size[1]])


def test_the_bytes_are_a_pickle_in_an_xz_file(codec: Codec, photo: Image.Image) -> None:
    rgb = np.asarray(photo)
    symbols, height, width = pickle.loads(lzma.decompress(PickleLzma(codec, "T").encode(rgb)))
    assert np.array_equal(symbols, codec.analyse(Picture(rgb=rgb)).symbols)
    assert (height, width) == rgb.shape[:2]


def test_the_sizes_cost_a_few_bytes() -> None:
    pickled = PickledSymbols()
    symbols = random_symbols()
    assert len(pickled.pack((symbols, 512, 768))) <= len(pickled.pack(symbols)) + 24


def test_what_the_row_says(codec: Codec) -> None:
    method = PickleLzma(codec, "T")
    assert (method.name, method.quality) == (PICKLE_LZMA, "T")
    assert codec.model_name in method.settings
    assert f"protocol {pickle.DEFAULT_PROTOCOL}" in method.settings
    assert f"preset {lzma.PRESET_DEFAULT}" in method.settings


def test_a_model_with_an_importance_map(tiny_map: Path, photo: Image.Image) -> None:
    codec = Codec.load(model=tiny_map)
    method = PickleLzma(codec, "M")
    rgb = np.asarray(photo)
    expected = codec.backend.synthesise(codec.analyse(Picture(rgb=rgb)).symbols, 0)
    assert np.array_equal(method.decode(method.encode(rgb)), expected[: rgb.shape[0]])


def test_a_codec_without_networks(tiny: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="networks"):
        PickleLzma(Codec(load_model(tiny), None, LzmaCoder()), "T")


@pytest.mark.parametrize("preset", [None, 0, 9 | lzma.PRESET_EXTREME])
def test_symbols_come_back(preset: int | None) -> None:
    pickled = PickledSymbols(preset)
    symbols = random_symbols()
    data = pickled.pack(symbols)
    assert data == lzma.compress(pickle.dumps(symbols), preset=preset)
    assert np.array_equal(pickled.restore_symbols(data), symbols)


class Trap:
    """Its pickle, when read, makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.file,)


def test_nothing_is_unpickled_that_was_not_made_here(codec: Codec, tmp_path: Path) -> None:
    file = tmp_path / "trap"
    trap = lzma.compress(pickle.dumps(Trap(file)))
    for read in (
        PickleLzma(codec, "T").decode,
        PickledSymbols().restore_symbols,
        PickledSymbols().restore_stored,
    ):
        with pytest.raises(ValueError, match="not pickled here"):
            read(trap)
    assert not file.exists()
    pickle.loads(lzma.decompress(trap))
    assert file.exists()  # so it would have gone off


def test_bytes_of_another_object_are_refused(codec: Codec, photo: Image.Image) -> None:
    data = PickleLzma(codec, "T").encode(np.asarray(photo))
    with pytest.raises(ValueError, match="not pickled here"):
        PickleLzma(codec, "T").decode(data)


@pytest.mark.parametrize("change", ["flip", "cut", "more", "empty"])
def test_changed_bytes_are_refused(change: str) -> None:
    pickled = PickledSymbols()
    data = bytearray(pickled.pack(random_symbols()))
    if change == "flip":
        data[len(data) // 2] ^= 1
    changed = {"flip": data, "cut": data[:-1], "more": data + b"\0", "empty": b""}[change]
    with pytest.raises(ValueError, match="not pickled here"):
        pickled.restore_symbols(bytes(changed))


def test_symbols_with_and_without_sizes_are_told_apart() -> None:
    pickled = PickledSymbols()
    symbols = random_symbols()
    with pytest.raises(ValueError, match="no array alone"):
        pickled.restore_symbols(pickled.pack((symbols, 1, 2)))
    with pytest.raises(ValueError, match="an array alone"):
        pickled.restore_stored(pickled.pack(symbols))


def test_several_threads(codec: Codec, photo: Image.Image) -> None:
    method = PickleLzma(codec, "T")
    crops = [np.ascontiguousarray(np.asarray(photo)[: 8 + i]) for i in range(12)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda rgb: method.decode(method.encode(rgb)), crops))
    assert [restored.shape for restored in found] == [rgb.shape for rgb in crops]


def unsafe(source: str) -> list[str]:
    """What a module has that reads pickles: imports, and loads that allow them."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name | ast.Attribute) and node.args:
                called = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
                first = node.args[0]
                if called in ("__import__", "import_module") and isinstance(first, ast.Constant):
                    names = [str(first.value)]
            for keyword in node.keywords:
                refused = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                if keyword.arg == "allow_pickle" and not refused:
                    found.append("allow_pickle")
        elif isinstance(node, ast.Attribute) and node.attr in ("read_pickle", "to_pickle"):
            found.append(node.attr)
        found += [name for name in names if name.split(".")[0] in PICKLERS]
    return found


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import os, pickle", ["pickle"]),
        ("def f():\n    from pickle import loads", ["pickle"]),
        ("import marshal as m\nimport shelve", ["marshal", "shelve"]),
        ("np.load(f, allow_pickle=True)", ["allow_pickle"]),
        ("np.load(f, allow_pickle=flag)", ["allow_pickle"]),
        ("np.load(f, allow_pickle=False)", []),
        ("importlib.import_module('pickle')", ["pickle"]),
        ("__import__('_pickle')", ["_pickle"]),
        ("import edgecomp.evaluation.pickle_lzma", []),
    ],
)
def test_what_counts_as_pickling(source: str, expected: list[str]) -> None:
    assert unsafe(source) == expected


def test_nothing_else_pickles() -> None:
    folders = ("edgecomp", "benchmarks", "export", "native", "examples")
    files = [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]
    found = {
        file.relative_to(ROOT).as_posix(): unsafe(file.read_text(encoding="utf-8"))
        for file in files
    }
    assert len(found) > 60
    assert {name: what for name, what in found.items() if what} == {HERE: ["pickle"]}
