"""Symbols chosen for their rate: from a model's manifest to the codestream, and what does without.

What the C library chooses is in test_native_choice.py, the output of the graphs in
export/test_fractions.py.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from common import DATA

from edgecomp import native
from edgecomp.backends import Latent, load_backend
from edgecomp.codec import Codec, CodecCache
from edgecomp.codestream import parse
from edgecomp.entropy import ContextCoder, choose_tile, decode_tile
from edgecomp.entropy.context_coder import METHOD_CONTEXT, METHOD_STORED
from edgecomp.errors import ModelDamagedError
from edgecomp.model_coders import load_coder
from edgecomp.models import Model, load_model
from edgecomp.pictures import Picture
from edgecomp.symbol_hash import symbol_hash

TINY = DATA / "choice" / "tiny"
FORM = {"levels": 256, "zero": 128}
# Of a picture's codestreams, without tiles and with. Graph and coder are made of operations that
# every machine does alike: other bytes are other choices.
GOLDEN = {
    None: "23b7af0aa0b244c2",
    48: "81175315119b9d65",
}


def codec_of(model: Model, coder: str = "context") -> Codec:
    return Codec(model, load_backend("onnx", model), load_coder(model, coder))


def as_rounded(model: Model) -> Model:
    """The model, but for its threshold."""
    return dataclasses.replace(model, choice_threshold=None)


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(TINY)


@pytest.fixture
def picture() -> Picture:
    """96 rows of 152 columns, of whole numbers only."""
    y, x = np.mgrid[0:96, 0:152]
    planes = ((x * 3 + y) % 256, (x * y // 9) % 256, np.where((x - 70) ** 2 < y * 30, 230, 25))
    return Picture(np.dstack(planes).astype(np.uint8))


@pytest.fixture
def latent(model: Model, picture: Picture) -> Latent:
    """Its symbols as rounded, (12, 12, 19)."""
    return load_backend("onnx", model).analyse(picture.rgb, 0)


@pytest.mark.parametrize("tile", [None, 48, 8])
def test_a_chosen_codestream_decodes_and_is_smaller(
    model: Model, picture: Picture, latent: Latent, tile: int | None
) -> None:
    codec = codec_of(model)
    data = codec.encode(picture, tile=tile)
    stream = parse(data)
    reader = CodecCache(model=TINY).for_stream(stream)
    found = reader.decode_symbols(stream)  # compares with the hash
    assert (stream.symbol_hash == symbol_hash(found)) == (tile is None)
    assert symbol_hash(found) != symbol_hash(latent)
    moved = found.symbols != latent.symbols
    assert moved.any()
    assert (found.symbols[moved] == model.zero).all()
    assert (np.abs(latent.symbols[moved].astype(int) - model.zero) == 1).all()
    assert len(data) < len(codec_of(as_rounded(model)).encode(picture, tile=tile))
    assert reader.decode(stream).rgb.shape == picture.rgb.shape


def test_tiles_cut_fractions_as_they_cut_symbols(
    model: Model, picture: Picture, latent: Latent
) -> None:
    codec = codec_of(model)
    coder = load_coder(model, "context")
    assert isinstance(coder, ContextCoder)
    assert latent.fractions is not None
    tiles = iter(parse(codec.encode(picture, tile=48)).tiles)
    for rows in (slice(0, 6), slice(6, 12)):
        for columns in (slice(0, 6), slice(6, 12), slice(12, 18), slice(18, 19)):
            code, _ = native.context_encode_chosen(
                latent.symbols[:, rows, columns],
                fractions=latent.fractions[:, rows, columns],
                threshold=512,
                parameters=coder.parameters,
                **FORM,
            )
            assert next(tiles).payload == bytes([METHOD_CONTEXT]) + code
    assert next(tiles, None) is None


@pytest.mark.parametrize("tile", GOLDEN)
def test_every_machine_chooses_alike(model: Model, picture: Picture, tile: int | None) -> None:
    codec = codec_of(model)
    with ThreadPoolExecutor(4) as pool:
        data = set(pool.map(lambda _: codec.encode(picture, tile=tile), range(8)))
    assert [hashlib.sha256(one).hexdigest()[:16] for one in data] == [GOLDEN[tile]]


def test_a_model_without_a_threshold_has_its_symbols_as_rounded(
    model: Model, picture: Picture, latent: Latent
) -> None:
    other = as_rounded(model)
    assert load_backend("onnx", other).analyse(picture.rgb, 0).fractions is None
    stream = parse(codec_of(other).encode(picture, tile=48))
    assert symbol_hash(codec_of(other).decode_symbols(stream)) == symbol_hash(latent)


def test_lzma_codes_symbols_as_rounded(model: Model, picture: Picture, latent: Latent) -> None:
    stream = parse(codec_of(model, "lzma").encode(picture))
    assert stream.symbol_hash == symbol_hash(latent)
    assert np.array_equal(codec_of(model).decode_symbols(stream).symbols, latent.symbols)


def test_a_backend_without_fractions_leaves_symbols_as_rounded(
    model: Model, picture: Picture, latent: Latent
) -> None:
    backend = load_backend("onnx", as_rounded(model))  # gives none, like tensorflow's
    codec = Codec(model, backend, load_coder(model))
    assert parse(codec.encode(picture)).symbol_hash == symbol_hash(latent)


def test_a_higher_threshold_changes_less(model: Model, picture: Picture, latent: Latent) -> None:
    changed = []
    for threshold in (1, 512, 2**31 - 1):
        codec = codec_of(dataclasses.replace(model, choice_threshold=threshold))
        found = codec.decode_symbols(parse(codec.encode(picture)))
        changed.append(np.count_nonzero(found.symbols != latent.symbols))
    assert changed == sorted(changed, reverse=True)
    assert changed[0] > changed[1] > 0


def damaged(folder: Path, encoder: bytes) -> Model:
    """The model with another encoder."""
    shutil.copytree(TINY, folder)
    manifest = json.loads((folder / "model.json").read_text())
    manifest["graphs"]["encoder"]["int8"]["sha256"] = hashlib.sha256(encoder).hexdigest()
    (folder / "model.json").write_text(json.dumps(manifest))
    (folder / "encoder.int8.onnx").write_bytes(encoder)
    return load_model(folder)


def test_an_encoder_without_the_output_is_named(tmp_path: Path, picture: Picture) -> None:
    encoder = (DATA / "context" / "tiny" / "encoder.int8.onnx").read_bytes()
    model = damaged(tmp_path / "model", encoder)
    with pytest.raises(ModelDamagedError, match=r"encoder of model tiny-choice.*fractions"):
        codec_of(model).encode(picture)


def test_fractions_of_another_type_are_refused(tmp_path: Path, picture: Picture) -> None:
    onnx = pytest.importorskip("onnx", reason="the extra 'export' is not installed")
    graph = onnx.load(TINY / "encoder.int8.onnx")
    (cast,) = (node for node in graph.graph.node if node.output[0] == "fractions")
    cast.attribute[0].i = graph.graph.output[-1].type.tensor_type.elem_type = 6  # int32
    model = damaged(tmp_path / "model", graph.SerializeToString())
    with pytest.raises(ModelDamagedError, match=r"gives fractions .* of int32"):
        codec_of(model).encode(picture)


def context_coder(name: str) -> ContextCoder:
    made = load_coder(load_model(DATA / "context" / name), "context")
    assert isinstance(made, ContextCoder)
    return made


def test_what_no_model_foresees_is_stored_as_chosen() -> None:
    rng = np.random.default_rng(0)
    symbols = rng.integers(0, 256, (12, 12, 12)).astype(np.uint8)
    fractions = rng.integers(-128, 128, symbols.shape).astype(np.int8)
    coder = context_coder("tiny")
    data, chosen = coder.choose_and_encode(symbols, fractions=fractions, threshold=1, **FORM)
    assert data[0] == METHOD_STORED
    assert np.array_equal(coder.decode(data, shape=symbols.shape, **FORM), chosen)


def test_symbols_that_the_parameters_are_not_for_are_refused() -> None:
    symbols = np.full((11, 2, 2), 128, np.uint8)
    with pytest.raises(ValueError, match="parameters are for"):
        context_coder("tiny").choose_and_encode(
            symbols, fractions=np.zeros(symbols.shape, np.int8), threshold=1, **FORM
        )


def test_a_tile_with_an_importance_map() -> None:
    rng = np.random.default_rng(1)
    form = {"levels": 6, "zero": 2}
    counts = rng.integers(0, 9, (13, 14)).astype(np.uint8)
    symbols = np.clip(2 + np.rint(rng.laplace(0, 0.6, (8, 13, 14))), 0, 5).astype(np.uint8)
    symbols[np.arange(8)[:, None, None] >= counts] = 2
    fractions = rng.integers(-128, 128, symbols.shape).astype(np.int8)
    coder = context_coder("tiny-map")
    more = {"fractions": fractions, "counts": counts}
    tile, chosen = choose_tile(coder, symbols, threshold=64, **more, **form)
    found, found_counts = decode_tile(coder, tile, shape=symbols.shape, importance_map=True, **form)
    assert np.array_equal(found, chosen)
    assert np.array_equal(found_counts, counts)
    assert 0 < np.count_nonzero(chosen != symbols) < np.count_nonzero(symbols != 2)
