"""What the benchmarks work on: pictures of two sizes, and what becomes of them on the way.

    pytest benchmarks --benchmark-only
    pytest benchmarks --benchmark-only --benchmark-json=new.json
    python benchmarks/compare.py old.json new.json

In the usual test run every benchmark runs once, untimed, and the large picture is a small one, just
wide enough to be cut into tiles. Everything is measured on one thread, except where a benchmark's
name says otherwise.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

sys.path.append(str(Path(__file__).parent))  # for what the scripts in this folder share

import example_pictures

from edgecomp.analysis import part_of
from edgecomp.backends import Latent
from edgecomp.codec import Codec
from edgecomp.codestream import Codestream, parse
from edgecomp.model_coders import load_coder
from edgecomp.pictures import PixelSource, picture_from_image
from edgecomp.tile_reader import TileReader

# kodim05 is a dense picture: at A it takes half as many bytes again as a mean one of Kodak.
KODAK = example_pictures.PHOTOS / "kodim05.png"
SIDES_12MP = (4000, 3000)
SIDES_UNTIMED = (2112, 264)
SIZES = ("kodak", "12mp")


@dataclass(frozen=True, eq=False)
class Sample:
    """A picture of one size: its files' bytes, and what the codec sees of it."""

    size: str
    png: bytes
    jpeg: bytes
    picture: PixelSource

    @property
    def pixels(self) -> int:
        """How many it has."""
        return self.picture.width * self.picture.height


@dataclass(frozen=True, eq=False)
class Coded:
    """A sample at one quality.

    Attributes:
        sample, codec: which picture, and which model.
        rounded: the latents of its tiles as the network rounds them; a small picture is one tile.
        chosen: those that its codestream stands for.
        data: the codestream.
        stream: the codestream, taken apart.
        reader: of its tiles.
    """

    sample: Sample
    codec: Codec
    rounded: list[Latent]
    chosen: list[Latent]
    data: bytes
    stream: Codestream
    reader: TileReader

    @property
    def alphabet(self) -> dict[str, int]:
        """What every symbol coder wants to be told."""
        return {"levels": self.codec.model.levels, "zero": self.codec.model.zero}


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """``--benchmark-only`` is enough to have benchmarks timed, which by default they are not."""
    if config.getoption("benchmark_only", default=False):
        config.option.benchmark_enable = True


def _is_timed(config: pytest.Config) -> bool:
    return bool(config.getoption("benchmark_enable") or not config.getoption("benchmark_disable"))


def _file(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


@pytest.fixture(scope="session")
def samples(request: pytest.FixtureRequest) -> Callable[[str], Sample]:
    """The sample of a size, made when first asked for."""
    sides = SIDES_12MP if _is_timed(request.config) else SIDES_UNTIMED
    made: dict[str, Sample] = {}

    def of(size: str) -> Sample:
        if size not in made:
            if size == "kodak":
                png = KODAK.read_bytes()
                with Image.open(io.BytesIO(png)) as image:
                    image.load()
            else:
                image = example_pictures.mosaic(*sides)
                png = _file(image, "PNG", compress_level=1)
            jpeg = _file(image, "JPEG", quality=example_pictures.JPEG_QUALITY)
            made[size] = Sample(size, png, jpeg, picture_from_image(image))
        return made[size]

    return of


@pytest.fixture(scope="session", params=SIZES)
def sample(request: pytest.FixtureRequest, samples: Callable[[str], Sample]) -> Sample:
    """A picture of each size."""
    return samples(request.param)


@pytest.fixture(scope="session", params=("kodak-A", "kodak-B", "kodak-C", "12mp-A"))
def coded(request: pytest.FixtureRequest, samples: Callable[[str], Sample]) -> Coded:
    """A Kodak-sized picture at every quality, the large one at A."""
    size, quality = request.param.split("-")
    sample, codec = samples(size), Codec.load(quality)
    data = codec.encode(sample.picture)
    stream = parse(data)
    reader = TileReader(stream, codec.model, load_coder(codec.model))
    latent = codec.analyse(sample.picture)
    return Coded(
        sample,
        codec,
        [part_of(latent, rect) for rect in reader.rects],
        [reader.tile(index) for index in range(len(reader.rects))],
        data,
        stream,
        reader,
    )
