"""The coder `context`, with frozen parameters and with those that ship.

What all coders have in common is in test_entropy.py, the code itself in test_format_context.py.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from common import DATA
from PIL import Image

from edgecomp import native
from edgecomp.backends import load_backend
from edgecomp.constants import QUALITIES
from edgecomp.entropy import ContextCoder, LzmaCoder
from edgecomp.entropy.context_coder import METHOD_CONTEXT, METHOD_STORED
from edgecomp.errors import CorruptDataError
from edgecomp.model_coders import load_coder
from edgecomp.models import Model, load_model, shipped_model

CHANNELS = 12
OPTIONS = {"levels": 256, "zero": 128}


def of_model(model: Model) -> ContextCoder:
    made = load_coder(model, "context")
    assert isinstance(made, ContextCoder)
    return made


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(DATA / "context" / "tiny")


@pytest.fixture(scope="module")
def coder(model: Model) -> ContextCoder:
    return of_model(model)


@pytest.fixture
def latents(model: Model, photo: Image.Image) -> native.Symbols:
    """The symbols of the picture, (12, 12, 19)."""
    return load_backend("onnx", model).analyse(np.array(photo), 0).symbols


def noise(side: int = 12) -> native.Symbols:
    """A volume that no model foresees, (12, side, side)."""
    shape = (CHANNELS, side, side)
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize("quality", QUALITIES)
def test_latents_of_shipped_models_take_fewer_bytes_than_with_lzma(
    quality: str, photo: Image.Image
) -> None:
    model = shipped_model(quality)
    symbols = load_backend("onnx", model).analyse(np.array(photo), 0).symbols
    coder = of_model(model)
    data = coder.encode(symbols, **OPTIONS)
    assert data[0] == METHOD_CONTEXT
    assert len(data) < 0.9 * len(LzmaCoder().encode(symbols, **OPTIONS))
    assert np.array_equal(coder.decode(data, shape=symbols.shape, **OPTIONS), symbols)


def test_latents_are_coded_by_the_model(coder: ContextCoder, latents: native.Symbols) -> None:
    data = coder.encode(latents, **OPTIONS)
    code = native.context_encode(latents, parameters=coder.parameters, **OPTIONS)
    assert data == bytes([METHOD_CONTEXT]) + code
    assert np.array_equal(coder.decode(data, shape=latents.shape, **OPTIONS), latents)


def test_what_the_parameters_do_not_foresee_takes_a_byte_more_than_packed(
    coder: ContextCoder,
) -> None:
    symbols = noise()
    data = coder.encode(symbols, **OPTIONS)
    assert data == bytes([METHOD_STORED]) + native.pack(symbols, **OPTIONS)
    assert np.array_equal(coder.decode(data, shape=symbols.shape, **OPTIONS), symbols)


@pytest.mark.parametrize("kept", [0, 1, 6, 12])
def test_the_dense_length_of_what_is_coded_decides(coder: ContextCoder, kept: int) -> None:
    """Not that of the volume: what the map leaves out does not excuse a long code."""
    counts = np.full((12, 12), kept, np.uint8)
    symbols = np.where(np.arange(CHANNELS)[:, None, None] < counts, noise(), np.uint8(128))
    code = native.context_encode(symbols, parameters=coder.parameters, counts=counts, **OPTIONS)
    packed = native.pack(symbols, counts=counts, **OPTIONS)
    assert len(code) < native.pack_bound(symbols.shape, 256) or kept == 12
    data = coder.encode(symbols, counts=counts, **OPTIONS)
    if kept == 0:
        assert data == bytes([METHOD_CONTEXT])
    else:
        assert data == bytes([METHOD_STORED]) + packed
    assert np.array_equal(
        coder.decode(data, shape=symbols.shape, counts=counts, **OPTIONS), symbols
    )


@pytest.mark.parametrize("shape", [(12, 0, 0), (12, 0, 5), (12, 1, 1)])
def test_the_smallest_volumes(coder: ContextCoder, shape: tuple[int, int, int]) -> None:
    symbols = np.full(shape, 128, np.uint8)
    data = coder.encode(symbols, **OPTIONS)
    assert len(data) <= 1 + len(native.pack(symbols, **OPTIONS))
    assert np.array_equal(coder.decode(data, shape=shape, **OPTIONS), symbols)


def test_symbols_that_the_map_leaves_out_take_nothing(
    coder: ContextCoder, latents: native.Symbols
) -> None:
    counts = np.zeros(latents.shape[1:], np.uint8)
    counts[::2] = CHANNELS
    kept = np.where(np.arange(CHANNELS)[:, None, None] < counts, latents, np.uint8(128))
    data = coder.encode(kept, counts=counts, **OPTIONS)
    assert data[0] == METHOD_CONTEXT
    assert len(data) < 0.8 * len(coder.encode(latents, **OPTIONS))
    assert np.array_equal(coder.decode(data, shape=kept.shape, counts=counts, **OPTIONS), kept)


def test_threads_share_one_coder(coder: ContextCoder, latents: native.Symbols) -> None:
    def job(_: int) -> bytes:
        data = coder.encode(latents, **OPTIONS)
        assert np.array_equal(coder.decode(data, shape=latents.shape, **OPTIONS), latents)
        return data

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(job, range(12)))) == 1


@pytest.mark.parametrize("data", [b"", b"\2", b"\xff" * 40])
def test_unknown_methods_are_refused(coder: ContextCoder, data: bytes) -> None:
    with pytest.raises(CorruptDataError):
        coder.decode(data, shape=(CHANNELS, 2, 2), **OPTIONS)


@pytest.mark.parametrize("method", [METHOD_STORED, METHOD_CONTEXT])
def test_bodies_that_are_missing_or_too_long_are_refused(coder: ContextCoder, method: int) -> None:
    shape = (CHANNELS, 2, 2)
    room = native.pack_bound(shape, 256)
    for body in (b"", bytes(room + 1), bytes(1 << 20)):
        with pytest.raises(CorruptDataError):
            coder.decode(bytes([method]) + body, shape=shape, **OPTIONS)


def test_bytes_after_the_body_are_refused(coder: ContextCoder, latents: native.Symbols) -> None:
    for symbols, method in ((latents, METHOD_CONTEXT), (noise(), METHOD_STORED)):
        data = coder.encode(symbols, **OPTIONS)
        assert data[0] == method
        for more in (b"\0", b"\xff" * 9, bytes(9)):
            with pytest.raises(CorruptDataError):
                coder.decode(data + more, shape=symbols.shape, **OPTIONS)


@pytest.mark.parametrize(
    ("channels", "levels", "zero"), [(11, 256, 128), (12, 255, 128), (12, 256, 127), (0, 256, 128)]
)
def test_volumes_of_other_models_are_refused(
    coder: ContextCoder, channels: int, levels: int, zero: int
) -> None:
    shape = (channels, 2, 2)
    says = r"parameters are for .* = \(12, 256, 128\), not"
    with pytest.raises(ValueError, match=says):
        coder.encode(np.full(shape, zero, np.uint8), levels=levels, zero=zero)
    for method in (METHOD_STORED, METHOD_CONTEXT):
        with pytest.raises(ValueError, match=says):
            coder.decode(bytes([method, 0]), shape=shape, levels=levels, zero=zero)
