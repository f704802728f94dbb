"""Picture to codestream and back, with the frozen models and those that ship."""

from __future__ import annotations

import dataclasses
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import DATA
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgecomp.backends import Latent, load_backend
from edgecomp.codec import Codec, CodecCache
from edgecomp.codestream import Origin, Section, Tile, parse
from edgecomp.constants import QUALITIES, SECTION_ALPHA
from edgecomp.errors import (
    CorruptDataError,
    ModelDamagedError,
    ModelNotFoundError,
    UnsupportedVersionError,
)
from edgecomp.model_coders import load_coder
from edgecomp.models import shipped_model
from edgecomp.pictures import Picture
from edgecomp.symbol_hash import hash_of_tiles, symbol_hash

MODELS = DATA / "models"


@pytest.fixture(scope="module")
def codec(tiny: Path) -> Codec:
    return Codec.load(model=tiny)


@pytest.fixture(scope="module")
def map_codec(tiny_map: Path) -> Codec:
    return Codec.load(model=tiny_map)


@pytest.fixture
def picture(photo: Image.Image) -> Picture:
    return Picture(np.array(photo))


def scene(width: int, height: int) -> np.ndarray:
    """The picture of the golden codestreams, tests/data/golden/make_golden.py."""
    y, x = np.mgrid[0:height, 0:width]
    planes = ((x * 5 + y) % 256, (x * y // 7) % 256, np.where((x - 40) ** 2 < y * 20, 230, 25))
    return np.dstack(planes).astype(np.uint8)


def _psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


@settings(max_examples=40)
@given(
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    tile=st.sampled_from([None, 8, 16, 4096]),
    name=st.sampled_from(["tiny", "tiny-map"]),
    gain=st.integers(0, 1),
)
def test_symbols_of_any_size_and_tiling_round_trip(
    width: int, height: int, tile: int | None, name: str, gain: int
) -> None:
    codec = _cached(name)
    gain = min(gain, codec.model.gains - 1)
    rng = np.random.default_rng(width * 100 + height)
    rgb = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    stream = parse(codec.encode(Picture(rgb), gain=gain, tile=tile))
    latent = codec.decode_symbols(stream)
    padded = np.pad(rgb, ((0, -height % 8), (0, -width % 8), (0, 0)), mode="edge")
    direct = codec.backend.analyse(padded, gain)
    assert np.array_equal(latent.symbols, direct.symbols)
    if tile is None:
        assert symbol_hash(latent) == symbol_hash(direct) == stream.symbol_hash
    else:
        assert stream.symbol_hash == hash_of_tiles(t.symbol_hash or b"" for t in stream.tiles)
    assert codec.decode(stream).rgb.shape == rgb.shape


_CODECS: dict[str, Codec] = {}


def _cached(name: str, folder: str = "models") -> Codec:
    key = f"{folder}/{name}"
    if key not in _CODECS:
        _CODECS[key] = Codec.load(model=DATA / folder / name)
    return _CODECS[key]


def test_pixels_do_not_depend_on_the_tiles(codec: Codec, picture: Picture) -> None:
    whole = codec.decode(parse(codec.encode(picture)))
    tiled = codec.decode(parse(codec.encode(picture, tile=64)))
    assert np.array_equal(whole.rgb, tiled.rgb)
    assert _psnr(whole.rgb, picture.rgb) > 20


def test_everything_that_goes_with_a_picture_comes_back(codec: Codec, picture: Picture) -> None:
    alpha = (np.arange(picture.height * picture.width) % 256).astype(np.uint8)
    full = dataclasses.replace(
        picture,
        alpha=alpha.reshape(picture.height, picture.width),
        grey=True,
        exif=b"MM\0*exif",
        icc=b"profile" * 100,
        xmp=b"<x/>",
    )
    origin = Origin(".jpg", 123, 456)
    stream = parse(codec.encode(full, origin=origin))
    assert stream.origin == origin
    again = codec.decode(stream)
    assert again.alpha is not None
    assert full.alpha is not None
    assert np.array_equal(again.alpha, full.alpha)
    assert (again.grey, again.exif, again.icc, again.xmp) == (True, full.exif, full.icc, full.xmp)


def test_golden_codestreams_decode_to_the_same_symbols_and_pixels() -> None:
    """Written by an earlier build: what once could be read must be readable for ever."""
    golden = json.loads((DATA / "golden" / "codestreams.json").read_text())
    for name, entry in golden.items():
        stream = parse((DATA / "golden" / f"{name}.edge").read_bytes())
        codec = _cached(entry["model"], entry.get("folder", "models"))
        latent = codec.decode_symbols(stream)
        assert symbol_hash(latent).hex() == entry["symbol_hash"], name
        pixels = codec.decode(stream).rgb
        assert [int(v) for v in pixels.sum(axis=(0, 1), dtype=np.int64)] == entry["sums"], name
        assert list(pixels.shape) == entry["shape"], name


@pytest.mark.parametrize(
    ("name", "model", "size", "chosen"),
    [
        ("v1-context", "tiny", (100, 75), {"origin": True}),
        ("v1-context-tile-hashes", "tiny", (61, 37), {"tile": 32}),
        ("v1-context-map", "tiny-map", (64, 128), {"gain": 1}),
        ("v1-context-map-tile-hashes", "tiny-map", (61, 37), {"gain": 1, "tile": 32}),
    ],
)
def test_golden_codestreams_by_context_are_written_byte_for_byte(
    name: str, model: str, size: tuple[int, int], chosen: dict[str, Any]
) -> None:
    """The coder is made of integers: every machine and every version writes the same."""
    golden = (DATA / "golden" / f"{name}.edge").read_bytes()
    options = chosen | ({"origin": parse(golden).origin} if "origin" in chosen else {})
    codec = _cached(model, "context")
    assert codec.encode(Picture(scene(*size)), **options) == golden
    assert parse(golden).coder_id == 2


def test_one_codec_serves_many_threads(codec: Codec, picture: Picture) -> None:
    def job(_: int) -> bytes:
        data = codec.encode(picture)
        codec.decode(parse(data))
        return data

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(job, range(12)))) == 1


def test_thread_counts_give_the_same_bytes_and_pixels(tiny: Path, picture: Picture) -> None:
    one, two = (Codec.load(model=tiny, threads=n) for n in (1, 2))
    data = one.encode(picture)
    assert two.encode(picture) == data
    assert np.array_equal(one.decode(parse(data)).rgb, two.decode(parse(data)).rgb)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"gain": 1}, "gain index 1"), ({"gain": -1}, "gain index"), ({"tile": 12}, "multiple of 8")],
)
def test_impossible_options_are_refused(
    codec: Codec, picture: Picture, options: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        codec.encode(picture, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"model_id": bytes(8)}, ModelNotFoundError, "made with model 0000000000000000"),
        ({"gain": 3}, CorruptDataError, "gain index 3 of 1"),
        ({"coder_id": 0}, UnsupportedVersionError, "coder 0"),
        ({"coder_id": 2}, ModelNotFoundError, "model tiny has no parameters for the coder context"),
        ({"coder_id": 9}, UnsupportedVersionError, "coder 9"),
        ({"symbol_hash": bytes(4)}, CorruptDataError, "not those that were coded"),
        ({"tile_width": 12, "tile_height": 4096}, CorruptDataError, "multiple of 8"),
    ],
)
def test_wrong_headers_are_refused(
    codec: Codec, picture: Picture, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    stream = parse(codec.encode(picture))
    count = 13 if "tile_width" in change else 1
    wrong = dataclasses.replace(stream, **change, tiles=stream.tiles * count)
    with pytest.raises(error, match=message):
        codec.decode(wrong)


def test_damaged_payloads_are_refused(codec: Codec, picture: Picture) -> None:
    stream = parse(codec.encode(picture))
    payload = bytearray(stream.tiles[0].payload)
    payload[9] ^= 1
    torn = dataclasses.replace(stream, tiles=(Tile(bytes(payload), stream.tiles[0].crc),))
    with pytest.raises(CorruptDataError, match="checksum"):
        codec.decode(torn)
    forged = dataclasses.replace(stream, tiles=(Tile.of(bytes(payload)),))
    with pytest.raises(CorruptDataError):
        codec.decode(forged)
    alpha = Section.of(SECTION_ALPHA, bytes(picture.width * picture.height))
    broken = dataclasses.replace(alpha, payload=alpha.payload[:-1])
    with pytest.raises(CorruptDataError, match="section 0x01"):
        codec.decode(dataclasses.replace(stream, sections=(broken,)))


def test_random_payloads_decode_or_fail_cleanly(map_codec: Codec, picture: Picture) -> None:
    stream = parse(map_codec.encode(picture))
    rng = np.random.default_rng(0)
    good = stream.tiles[0].payload
    for _ in range(400):
        payload = bytearray(good)
        for position in rng.integers(0, len(good), 3):
            payload[position] = rng.integers(256)
        payload = payload[: rng.integers(0, len(good) + 1)]
        with pytest.raises(CorruptDataError):
            map_codec.decode_symbols(
                dataclasses.replace(stream, tiles=(Tile.of(bytes(payload)),), symbol_hash=b"\0" * 4)
            )


def test_the_cache_finds_models_and_loads_each_once(
    tiny: Path, codec: Codec, map_codec: Codec, picture: Picture
) -> None:
    cache = CodecCache(model=tiny)
    stream = parse(codec.encode(picture))
    assert cache.for_stream(stream) is cache.for_stream(stream)
    with pytest.raises(ModelNotFoundError, match="another model"):
        cache.for_stream(parse(map_codec.encode(picture)))
    with pytest.raises(ModelNotFoundError, match="--model"):
        CodecCache().for_stream(stream)
    symbols_only = CodecCache(backend=None, model=tiny).for_stream(stream)
    assert isinstance(symbols_only.decode_symbols(stream), Latent)
    with pytest.raises(ModelNotFoundError, match="were not loaded"):
        symbols_only.decode(stream)


def test_unknown_coders_are_named(tiny: Path) -> None:
    with pytest.raises(ValueError, match="lzma"):
        Codec.load(model=tiny, coder="zip")


def test_a_coder_without_parameters_is_refused(tiny: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="model tiny has no parameters for the coder"):
        Codec.load(model=tiny, coder="context")


@pytest.fixture
def shipped_copy(tmp_path: Path) -> Path:
    """The model A that ships, alone, less its SavedModel."""
    source = shipped_model("A").path
    return Path(shutil.copytree(source, tmp_path / "A", ignore=lambda *_: {"saved_model"}))


@pytest.mark.parametrize("tile", [None, 64])
def test_coders_change_bytes_only(tile: int | None, picture: Picture) -> None:
    # A model that leaves symbols as they were rounded: `lzma` never chooses (test_choice.py).
    model = dataclasses.replace(shipped_model("A"), choice_threshold=None)
    backend = load_backend("onnx", model)
    default, lzma, context = (
        Codec(model, backend, load_coder(model, name)) for name in (None, "lzma", "context")
    )
    data, by_lzma = default.encode(picture, tile=tile), lzma.encode(picture, tile=tile)
    assert context.encode(picture, tile=tile) == data
    assert len(data) < len(by_lzma)
    stream, stream_by_lzma = parse(data), parse(by_lzma)
    assert (stream.coder_id, stream_by_lzma.coder_id) == (2, 1)
    assert stream.symbol_hash == stream_by_lzma.symbol_hash
    # Whatever a codec writes with, it reads both.
    assert np.array_equal(lzma.decode(stream).rgb, default.decode(stream_by_lzma).rgb)


def test_parameters_are_read_once(shipped_copy: Path, picture: Picture) -> None:
    codec = Codec.load(model=shipped_copy)
    data = codec.encode(picture)
    reader = CodecCache(backend=None, model=shipped_copy).for_stream(parse(data))
    reader.decode_symbols(parse(data))
    (shipped_copy / "context.bin").unlink()
    assert codec.encode(picture) == data
    with ThreadPoolExecutor(4) as pool:
        hashes = set(pool.map(lambda _: symbol_hash(reader.decode_symbols(parse(data))), range(8)))
    assert hashes == {parse(data).symbol_hash}


def test_damaged_parameters_hinder_only_what_needs_them(
    shipped_copy: Path, picture: Picture
) -> None:
    by_context = parse(Codec.load(model=shipped_copy).encode(picture))
    by_lzma = parse(Codec.load(model=shipped_copy, coder="lzma").encode(picture))
    (shipped_copy / "context.bin").write_bytes(b"no parameters")
    with pytest.raises(ModelDamagedError, match=r"context\.bin.*SHA-256"):
        Codec.load(model=shipped_copy)
    codec = CodecCache(backend=None, model=shipped_copy).for_stream(by_lzma)
    assert symbol_hash(codec.decode_symbols(by_lzma)) == by_lzma.symbol_hash
    with pytest.raises(ModelDamagedError, match=r"context\.bin.*SHA-256"):
        codec.decode_symbols(by_context)


@pytest.mark.parametrize("quality", QUALITIES)
def test_shipped_models_code_pictures(quality: str, photo: Image.Image) -> None:
    """Sane on a made-up picture; the figures on photographs are docs/results.md's."""
    codec = Codec.load(quality)
    picture = Picture(np.array(photo))
    stream = parse(codec.encode(picture))
    again = codec.decode(stream)
    assert _psnr(again.rgb, picture.rgb) > 24
    assert len(stream.pack()) < picture.rgb.size / 4


def test_better_qualities_are_closer_and_larger(photo: Image.Image) -> None:
    picture = Picture(np.array(photo))
    sizes, distances = [], []
    for quality in QUALITIES:
        codec = Codec.load(quality)
        data = codec.encode(picture)
        sizes.append(len(data))
        distances.append(_psnr(codec.decode(parse(data)).rgb, picture.rgb))
    assert sizes == sorted(sizes)
    assert distances == sorted(distances)
