"""Reading and writing picture files."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from edgecomp.picture_writer import write_image
from edgecomp.pictures import read_picture

if TYPE_CHECKING:
    from conftest import Sample


@pytest.mark.benchmark(group="read picture")
def test_read_png(benchmark: Any, sample: Sample) -> None:
    benchmark.extra_info["pixels"] = sample.pixels
    picture = benchmark(read_picture, sample.png, name="picture.png")
    assert (picture.width, picture.height) == (sample.picture.width, sample.picture.height)


@pytest.mark.benchmark(group="read picture")
def test_read_jpeg(benchmark: Any, sample: Sample) -> None:
    benchmark.extra_info["pixels"] = sample.pixels
    picture = benchmark(read_picture, sample.jpeg, name="picture.jpg")
    assert (picture.width, picture.height) == (sample.picture.width, sample.picture.height)


@pytest.mark.benchmark(group="write picture")
def test_write_png(benchmark: Any, sample: Sample) -> None:
    """Of the pixels of the original: those of a decoded picture are a little quicker to write."""
    benchmark.extra_info["pixels"] = sample.pixels
    image = Image.fromarray(sample.picture.rgb)

    def write() -> bytes:
        buffer = io.BytesIO()
        write_image(image, buffer)
        return buffer.getvalue()

    data = benchmark(write)
    assert data.startswith(b"\x89PNG")
    benchmark.extra_info["bytes"] = len(data)


@pytest.mark.benchmark(group="write picture")
@pytest.mark.parametrize("level", [1, 6])
def test_write_png_by_pillow(benchmark: Any, sample: Sample, level: int) -> None:
    """What `edgecomp.png_writer` is instead of; 6 is Pillow's default."""
    benchmark.extra_info["pixels"] = sample.pixels
    image = Image.fromarray(sample.picture.rgb)

    def write() -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, "PNG", compress_level=level)
        return buffer.getvalue()

    benchmark.extra_info["bytes"] = len(benchmark(write))
