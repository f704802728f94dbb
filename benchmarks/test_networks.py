"""The two networks; quantising is in the encoder's graph, dequantising in the decoder's.

Large pictures go through them in parts, as they do when they are coded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgecomp.backends import Latent
from edgecomp.model_coders import load_coder
from edgecomp.synthesis import Synthesiser
from edgecomp.tile_reader import TileReader
from edgecomp.tiling import Rect

if TYPE_CHECKING:
    from conftest import Coded


class Decoded(TileReader):
    """A codestream's tiles, decoded beforehand: what is left to time is the network."""

    def __init__(self, coded: Coded) -> None:
        model = coded.codec.model
        super().__init__(coded.stream, model, load_coder(model))
        self._latents = coded.chosen

    def tile(self, index: int) -> Latent:
        """The symbols of one tile."""
        return self._latents[index]


@pytest.mark.benchmark(group="encoder network")
def test_encoder_network(benchmark: Any, coded: Coded) -> None:
    benchmark.extra_info["pixels"] = coded.sample.pixels
    latent = benchmark(coded.codec.analyse, coded.sample.picture)
    for tile, rect in zip(coded.rounded, coded.reader.rects, strict=True):
        assert np.array_equal(latent.symbols[:, rect.rows, rect.columns], tile.symbols)


@pytest.mark.benchmark(group="decoder network")
def test_decoder_network(benchmark: Any, coded: Coded) -> None:
    stream, codec = coded.stream, coded.codec
    benchmark.extra_info["pixels"] = coded.sample.pixels
    whole, reader = Rect(0, 0, stream.width, stream.height), Decoded(coded)

    def decode() -> int:
        synthesiser = Synthesiser(
            codec.backend, codec.model, reader, (whole.width, whole.height), stream.gain
        )
        return sum(region.rgb.size for region in synthesiser.regions(whole, threads=1))

    assert benchmark(decode) == 3 * coded.sample.pixels
