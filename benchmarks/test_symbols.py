"""From symbols to bytes and back: packing, importance maps, the symbol coders, the hash.

A large picture's tiles are worked on one after another, each by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgecomp import native
from edgecomp.backends import Latent
from edgecomp.entropy import ContextCoder, LzmaCoder
from edgecomp.model_coders import load_coder
from edgecomp.symbol_hash import symbol_hash

if TYPE_CHECKING:
    from conftest import Coded
    from numpy.typing import NDArray

    Plane = NDArray[np.uint8]


@pytest.fixture
def context(coded: Coded) -> ContextCoder:
    """The coder that the model's pictures are coded with."""
    coder = load_coder(coded.codec.model, "context")
    assert isinstance(coder, ContextCoder)
    return coder


@pytest.fixture
def volumes(coded: Coded) -> list[Plane]:
    """The symbols as the network rounds them."""
    return [latent.symbols for latent in coded.rounded]


@pytest.fixture
def counts(coded: Coded, volumes: list[Plane]) -> list[Plane]:
    """Importance maps that leave out only the zeros behind a position's last other symbol.

    The models that ship have no map of their own; these are of a real picture.
    """
    return [_last_used(volume != coded.codec.model.zero) for volume in volumes]


def _last_used(used: NDArray[np.bool_]) -> Plane:
    last = used.shape[0] - used[::-1].argmax(axis=0)
    return np.where(used.any(axis=0), last, 0).astype(np.uint8)


def same(found: list[Plane], wanted: list[Plane]) -> bool:
    """Whether arrays are equal in pairs."""
    return all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))


@pytest.mark.benchmark(group="importance map")
def test_map_residual(benchmark: Any, coded: Coded, counts: list[Plane]) -> None:
    levels = coded.codec.model.channels + 1
    found = benchmark(lambda: [native.map_residual(plane, levels) for plane in counts])
    assert same([native.map_restore(plane, levels) for plane in found], counts)


@pytest.mark.benchmark(group="importance map")
def test_map_restore(benchmark: Any, coded: Coded, counts: list[Plane]) -> None:
    levels = coded.codec.model.channels + 1
    residuals = [native.map_residual(plane, levels) for plane in counts]
    found = benchmark(lambda: [native.map_restore(plane, levels) for plane in residuals])
    assert same(found, counts)


@pytest.mark.benchmark(group="pack")
def test_pack(benchmark: Any, coded: Coded, volumes: list[Plane]) -> None:
    packed = benchmark(lambda: [native.pack(volume, **coded.alphabet) for volume in volumes])
    assert 0 < sum(map(len, packed)) < sum(volume.size for volume in volumes)


@pytest.mark.benchmark(group="pack")
def test_pack_masked(
    benchmark: Any, coded: Coded, volumes: list[Plane], counts: list[Plane]
) -> None:
    """Symbols that an importance map leaves out are not packed."""
    pairs = list(zip(volumes, counts, strict=True))
    packed = benchmark(
        lambda: [native.pack(volume, counts=plane, **coded.alphabet) for volume, plane in pairs]
    )
    assert 0 < sum(map(len, packed)) < sum(volume.size for volume in volumes)


@pytest.mark.benchmark(group="pack")
def test_unpack(benchmark: Any, coded: Coded, volumes: list[Plane]) -> None:
    packed = [(native.pack(volume, **coded.alphabet), volume.shape) for volume in volumes]
    found = benchmark(
        lambda: [native.unpack(data, shape=shape, **coded.alphabet) for data, shape in packed]
    )
    assert same(found, volumes)


@pytest.mark.benchmark(group="LZMA encode")
def test_lzma_encode(benchmark: Any, coded: Coded, volumes: list[Plane]) -> None:
    """Packing is in it, as in decoding unpacking is."""
    coder = LzmaCoder()
    data = benchmark(lambda: [coder.encode(volume, **coded.alphabet) for volume in volumes])
    assert min(map(len, data)) > 1


@pytest.mark.benchmark(group="LZMA decode")
def test_lzma_decode(benchmark: Any, coded: Coded, volumes: list[Plane]) -> None:
    coder = LzmaCoder()
    tiles = [(coder.encode(volume, **coded.alphabet), volume.shape) for volume in volumes]
    found = benchmark(
        lambda: [coder.decode(data, shape=shape, **coded.alphabet) for data, shape in tiles]
    )
    assert same(found, volumes)


@pytest.mark.benchmark(group="context encode")
def test_choose_and_encode(benchmark: Any, coded: Coded, context: ContextCoder) -> None:
    """As shipped: symbols that are not worth their bits become zero on the way."""
    benchmark.extra_info["pixels"] = coded.sample.pixels
    threshold = coded.codec.model.choice_threshold
    assert threshold is not None

    def encode(latent: Latent) -> Plane:
        assert latent.fractions is not None
        _, chosen = context.choose_and_encode(
            latent.symbols, fractions=latent.fractions, threshold=threshold, **coded.alphabet
        )
        return chosen

    found = benchmark(lambda: [encode(latent) for latent in coded.rounded])
    assert same(found, [latent.symbols for latent in coded.chosen])


@pytest.mark.benchmark(group="context encode")
def test_context_encode(
    benchmark: Any, coded: Coded, context: ContextCoder, volumes: list[Plane]
) -> None:
    """Symbols as the network rounds them."""
    data = benchmark(lambda: [context.encode(volume, **coded.alphabet) for volume in volumes])
    assert min(map(len, data)) > 1


@pytest.mark.benchmark(group="context decode")
def test_context_decode(benchmark: Any, coded: Coded, context: ContextCoder) -> None:
    """Of the symbols that were chosen."""
    benchmark.extra_info["pixels"] = coded.sample.pixels
    wanted = [latent.symbols for latent in coded.chosen]
    tiles = [
        (tile.payload, latent.shape)
        for tile, latent in zip(coded.stream.tiles, wanted, strict=True)
    ]
    found = benchmark(
        lambda: [context.decode(data, shape=shape, **coded.alphabet) for data, shape in tiles]
    )
    assert same(found, wanted)


@pytest.mark.benchmark(group="symbol hash")
def test_symbol_hash(benchmark: Any, coded: Coded) -> None:
    """Taken when a picture is coded and once more when it is decoded."""
    benchmark.extra_info["pixels"] = coded.sample.pixels
    found = benchmark(lambda: [symbol_hash(latent) for latent in coded.chosen])
    stream = coded.stream
    wanted = [tile.symbol_hash or stream.symbol_hash for tile in stream.tiles]
    assert found == wanted
