"""The table of coders, `benchmarks/coders.py`: sizes, goals, and what is said of absent parts."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from common import ROOT
from PIL import Image

from edgecomp.codec import Codec
from edgecomp.entropy import LzmaCoder
from edgecomp.models import load_model

ENVIRONMENT = ("KERAS_BACKEND", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


@pytest.fixture(scope="module")
def coders() -> Iterator[ModuleType]:
    """The script, imported; what it does to the process ends with these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        for name in ENVIRONMENT:
            patch.setenv(name, os.environ.get(name, ""))
        os.environ["KERAS_BACKEND"] = "jax"
        yield importlib.import_module("coders")


@pytest.fixture(scope="module")
def peers(coders: ModuleType) -> ModuleType:
    return sys.modules["coders_peers"]


@pytest.fixture(scope="module")
def ideal(coders: ModuleType) -> ModuleType:
    return sys.modules["coders_ideal"]


def laplacian(shape: tuple[int, int, int], zero: int) -> np.ndarray:
    values = np.random.default_rng(5).laplace(0, 2, shape).round() + zero
    return values.clip(0, 255).astype(np.uint8)


def table(coders: ModuleType, *rows: tuple[Any, ...]) -> Any:
    made = [coders.Row(*row) for row in rows]
    return coders.Table("A", "photos", 2, 2000, 1000, 3, made, [])


@pytest.mark.parametrize("shape", [(1, 1, 1), (4, 7, 9), (16, 12, 19)])
@pytest.mark.parametrize("fill", ["laplacian", "zero", "largest"])
def test_every_coder_restores_the_symbols(
    peers: ModuleType, tiny: Path, shape: tuple[int, int, int], fill: str
) -> None:
    model = load_model(tiny)
    constant = np.full(shape, model.levels - 1 if fill == "largest" else model.zero, np.uint8)
    symbols = laplacian(shape, model.zero) if fill == "laplacian" else constant
    found, _ = peers.peers_of(model)
    for peer in found:
        assert np.array_equal(peer.decode(peer.encode(symbols), shape), symbols), peer.name


def test_absent_packages_are_named(
    peers: ModuleType, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("zstandard", "brotli"):
        monkeypatch.setitem(sys.modules, name, None)
    found, skipped = peers.peers_of(load_model(tiny))
    assert not [peer.name for peer in found if "zstd" in peer.name or "brotli" in peer.name]
    for name in ("zstandard", "brotli"):
        assert any(name in word and "edgecomp[eval]" in word for word in skipped)


def test_a_model_without_parameters_has_no_context_row(peers: ModuleType, tiny: Path) -> None:
    found, skipped = peers.peers_of(load_model(tiny))
    assert peers.CONTEXT not in [peer.name for peer in found]
    (word,) = (word for word in skipped if word.startswith(peers.CONTEXT))
    assert load_model(tiny).name in word
    assert str(tiny) not in word


def test_bytes_are_summed_over_the_pictures(
    coders: ModuleType, peers: ModuleType, tiny: Path
) -> None:
    model = load_model(tiny)
    shapes = ((3, 5, 8), (3, 9, 4))
    volumes = [coders.Volume("v", laplacian(shape, model.zero), 99) for shape in shapes]
    found, _ = peers.peers_of(model)
    rows = coders.measure(found, volumes, 2)
    for peer, row in zip(found, rows, strict=True):
        assert row.name == peer.name
        assert row.bytes == sum(len(peer.encode(volume.symbols)) for volume in volumes)
        assert 0 < row.both_ms < float("inf")


def test_a_coder_that_loses_symbols_is_refused(coders: ModuleType, peers: ModuleType) -> None:
    volume = coders.Volume("picture", laplacian((2, 3, 4), 128), 99)
    bad = peers.Peer("bad", lambda s: s.tobytes(), lambda d, shape: np.zeros(shape, np.uint8))
    with pytest.raises(coders.BenchmarkError, match="bad did not restore picture"):
        coders.measure([bad], [volume], 1)


def test_importance_maps_are_refused(coders: ModuleType, tiny_map: Path) -> None:
    with pytest.raises(coders.BenchmarkError, match="importance map"):
        coders.volumes_of(Codec.load(model=tiny_map), [])


def test_entropy_of_known_histograms(ideal: ModuleType) -> None:
    symbols = np.empty((2, 8, 16), np.uint8)
    symbols[0] = 7
    symbols[1].reshape(-1)[:] = np.arange(128) % 4
    assert ideal.entropy_bytes(symbols) == pytest.approx(128 * 2 / 8)
    # A header of three bytes each, and for the second four lengths of five bits and two-bit codes.
    assert ideal.huffman_bytes(symbols) == 3 + 3 + 3 + 32


def test_entropy_is_below_huffman(ideal: ModuleType) -> None:
    symbols = laplacian((4, 30, 30), 128)
    assert 0 < ideal.entropy_bytes(symbols) < ideal.huffman_bytes(symbols)


LZMA_ROWS = (
    ("packed + LZMA, 0", 1050, 1.0, 1.0),
    ("packed + LZMA, 3", 1019, 3.0, 1.0),
    ("packed + LZMA, 9e", 1000, 9.0, 1.0),
    ("int8 + LZMA, 0e", 900, 0.1, 0.1),
)


def test_the_reference_is_packed_lzma(coders: ModuleType) -> None:
    found = table(coders, *LZMA_ROWS)
    assert found.smallest_lzma().name == "packed + LZMA, 9e"
    assert found.fastest_lzma().name == "packed + LZMA, 3"
    assert found.goals() == []


@pytest.mark.parametrize(
    ("context", "met"),
    [
        (("context", 800, 1.9, 2.0), [True, True, True]),
        (("context", 880, 3.0, 1.5), [False, True, False]),
        (("context", 881, 2.0, 2.0), [False, False, True]),
    ],
)
def test_goals(coders: ModuleType, context: tuple[Any, ...], met: list[bool]) -> None:
    found = table(coders, *LZMA_ROWS, context, ("float context model", 798.0, None, 5.0))
    assert [goal.met for goal in found.goals()] == met
    text = coders.text_of(found)
    assert text.count(": reached") == sum(met)
    assert text.count(": missed") == 3 - sum(met)


def test_goals_without_the_float_model(coders: ModuleType) -> None:
    found = table(coders, *LZMA_ROWS, ("context", 870, 1.0, 1.0))
    assert [goal.met for goal in found.goals()] == [True, True]


def test_figures_of_a_row(coders: ModuleType) -> None:
    line = coders.text_of(table(coders, *LZMA_ROWS)).splitlines()[3]
    # 1019 bytes for 2000 pixels; 500 symbols a picture in 3 and 1 milliseconds.
    words = line.removeprefix("packed + LZMA, 3").split()
    assert words == ["1,019", "4.0760", "+1.90", "%", "0.17", "3.00", "0.50", "1.00"]


def test_no_float_row_without_the_export_extra(
    coders: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jax", None)
    volume = coders.Volume("picture", laplacian((4, 6, 5), 128), 99)
    rows, notes = coders.ideal_rows("A", 128, [volume])
    assert [row.name.split(",")[0] for row in rows] == ["order-0 Huffman", "order-0 entropy"]
    assert any("extra `export`" in note for note in notes)


def test_no_float_row_without_a_checkpoint(
    coders: ModuleType, ideal: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_export()
    monkeypatch.setattr(ideal, "CHECKPOINTS", tmp_path)
    volume = coders.Volume("picture", laplacian((4, 6, 5), 128), 99)
    rows, notes = coders.ideal_rows("A", 128, [volume])
    assert len(rows) == 2
    assert any("no usable checkpoint of A" in note for note in notes)
    assert not any(str(tmp_path) in note for note in notes)


@pytest.mark.filterwarnings("default")
def test_float_model_position_by_position(
    ideal: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_export()
    model = ideal.FloatContext("A", 128)
    symbols = laplacian((64, 5, 7), 128)
    assert model.seconds_by_position(symbols) > 0  # raises unless it agrees with ideal_bytes
    assert 0 < model.ideal_bytes(np.full_like(symbols, 128)) < model.ideal_bytes(symbols) / 10

    other = model._by_position(model._latents(symbols[:, :, ::-1]))
    monkeypatch.setattr(model, "_by_position", lambda latents: other)
    with pytest.raises(ValueError, match="position by position"):
        model.seconds_by_position(symbols)


def test_command(
    coders: ModuleType,
    photo: Image.Image,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "jax", None)
    folder, record = tmp_path / "photos", tmp_path / "table.json"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        photo.save(folder / name)
    options = ["--qualities", "B", "--limit", "1", "--rounds", "1", "--json", str(record)]
    assert coders.main([str(folder), *options]) == 0
    (found,) = json.loads(record.read_text())
    pixels = photo.width * photo.height
    assert (found["folder"], found["quality"], found["pictures"]) == ("photos", "B", 1)
    assert found["pixels"] == pixels
    codec = Codec.load("B", precision="int8")
    (volume,) = coders.volumes_of(codec, [folder / "a.png"])
    options_of = {"levels": codec.model.levels, "zero": codec.model.zero}
    expected = len(LzmaCoder().encode(volume.symbols, **options_of))
    sizes = {row["name"]: row["bytes"] for row in found["rows"]}
    assert sizes["packed + LZMA, 0e (shipped)"] == expected
    assert all(row["bpp"] == row["bytes"] * 8 / pixels for row in found["rows"])
    printed = capsys.readouterr().out
    assert all(name in printed for name in sizes)


def test_command_without_pictures(
    coders: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert coders.main([str(tmp_path)]) == 1
    assert "no PNG pictures" in capsys.readouterr().err


def test_command_names_a_bad_picture(
    coders: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    assert coders.main([str(tmp_path)]) == 1
    assert "broken.png" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--limit", "--rounds"])
def test_command_refuses_no_rounds(coders: ModuleType, tmp_path: Path, option: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        coders.main([str(tmp_path), option, "0"])
    assert stopped.value.code == 2


def need_export() -> None:
    for name in ("keras", "jax"):
        pytest.importorskip(name)
