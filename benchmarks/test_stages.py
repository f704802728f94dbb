"""Speed of the stages of one Kodak-sized picture.

    pytest benchmarks --benchmark-only --benchmark-enable

In the usual test run each stage runs once, untimed.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecomp.codec import Codec
from edgecomp.codestream import parse
from edgecomp.constants import CODER_NAMES, QUALITIES
from edgecomp.entropy import SymbolCoder, decode_tile, encode_tile
from edgecomp.model_coders import load_coder
from edgecomp.pictures import Picture, read_picture, write_picture

PHOTO = Path(__file__).parent.parent / "examples" / "photos" / "kodim05.png"


def in_groups_of_coders(stage: str) -> list[Any]:
    """Every coder's name, each in a group of its own ("lzma encode")."""
    return [
        pytest.param(name, marks=pytest.mark.benchmark(group=f"{name} {stage}"))
        for name in CODER_NAMES
    ]


@pytest.fixture(scope="module", params=QUALITIES)
def codec(request: pytest.FixtureRequest) -> Codec:
    return Codec.load(request.param, threads=2)


@pytest.fixture(scope="module")
def picture() -> Picture:
    return read_picture(PHOTO.read_bytes(), name=PHOTO.name)


@pytest.mark.benchmark(group="read picture")
def test_read_png(benchmark: Any) -> None:
    data = PHOTO.read_bytes()
    assert benchmark(read_picture, data, name=PHOTO.name).width == 768


@pytest.mark.benchmark(group="encoder network")
def test_encoder_network(benchmark: Any, codec: Codec, picture: Picture) -> None:
    latent = benchmark(codec.backend.analyse, picture.rgb, 0)
    assert latent.symbols.shape == (codec.model.channels, 64, 96)


@pytest.mark.benchmark(group="decoder network")
def test_decoder_network(benchmark: Any, codec: Codec, picture: Picture) -> None:
    symbols = codec.backend.analyse(picture.rgb, 0).symbols
    assert benchmark(codec.backend.synthesise, symbols, 0).shape == picture.rgb.shape


@pytest.mark.parametrize("name", in_groups_of_coders("encode"))
def test_encode_symbols(benchmark: Any, codec: Codec, picture: Picture, name: str) -> None:
    coder = _coder(codec, name)
    symbols, options = _symbols(codec, picture)
    assert len(benchmark(encode_tile, coder, symbols, **options)) > 0


@pytest.mark.parametrize("name", in_groups_of_coders("decode"))
def test_decode_symbols(benchmark: Any, codec: Codec, picture: Picture, name: str) -> None:
    coder = _coder(codec, name)
    symbols, options = _symbols(codec, picture)
    data = encode_tile(coder, symbols, **options)
    options |= {"shape": symbols.shape, "importance_map": False}
    decoded, _ = benchmark(decode_tile, coder, data, **options)
    assert np.array_equal(decoded, symbols)


@pytest.mark.benchmark(group="write picture")
def test_write_png(benchmark: Any, picture: Picture) -> None:
    def write() -> int:
        buffer = io.BytesIO()
        write_picture(picture, buffer)
        return buffer.tell()

    assert benchmark(write) > 0


@pytest.mark.benchmark(group="one picture")
def test_encode_and_decode(benchmark: Any, codec: Codec, picture: Picture) -> None:
    def both() -> Picture:
        return codec.decode(parse(codec.encode(picture)))

    assert benchmark(both).rgb.shape == picture.rgb.shape


def _coder(codec: Codec, name: str) -> SymbolCoder:
    if name not in codec.model.coders:
        pytest.skip(f"model {codec.model_name} has no parameters for the coder {name}")
    return load_coder(codec.model, name)


def _symbols(codec: Codec, picture: Picture) -> tuple[np.ndarray, dict[str, Any]]:
    symbols = codec.backend.analyse(picture.rgb, 0).symbols
    return symbols, {"levels": codec.model.levels, "zero": codec.model.zero}
