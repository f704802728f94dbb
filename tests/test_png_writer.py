"""PNG files, read back by Pillow and by the words of the standard."""

from __future__ import annotations

import io
import struct
import threading
import zlib
from typing import Any

import numpy as np
import pytest
from common import ROOT
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from edgecomp import png_writer
from edgecomp.png_writer import MODES, write_png

BANDS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}
PHOTO = ROOT / "examples" / "photos" / "kodim05.png"


def image_of(mode: str, width: int, height: int, seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, BANDS[mode]), np.uint8)
    return Image.frombytes(mode, (width, height), values.tobytes())


def png_of(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    write_png(image, file, **options)
    return file.getvalue()


def chunks_of(data: bytes) -> list[tuple[bytes, bytes]]:
    """Names and contents; checksums are compared."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, found = 8, []
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        name, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        (checksum,) = struct.unpack_from(">I", data, at + 8 + length)
        assert checksum == zlib.crc32(name + content)
        found.append((name, content))
        at += 12 + length
    assert at == len(data)
    return found


def test_bands_of_all_modes_are_known() -> None:
    assert set(BANDS) == MODES


@given(
    mode=st.sampled_from(sorted(BANDS)),
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    strip=st.integers(1, 3000),
    threads=st.integers(1, 3),
    seed=st.integers(0, 9),
)
def test_pixels_come_back(
    mode: str, width: int, height: int, strip: int, threads: int, seed: int
) -> None:
    image = image_of(mode, width, height, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(png_writer, "_STRIP_BYTES", strip)
        data = png_of(image, threads=threads)
        assert png_of(image, threads=1) == data
    with Image.open(io.BytesIO(data)) as again:
        assert (again.mode, again.size) == (mode, (width, height))
        assert again.tobytes() == image.tobytes()
    chunks = chunks_of(data)
    assert chunks[0][0] == b"IHDR"
    assert chunks[-1] == (b"IEND", b"")
    # One zlib stream with a checksum that is right, or this raises.
    inflated = zlib.decompress(b"".join(content for name, content in chunks if name == b"IDAT"))
    assert len(inflated) == height * (1 + width * BANDS[mode])


def test_metadata_are_those_that_pillow_writes() -> None:
    exif = Image.Exif()
    exif[0x010F] = "A maker"
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", "<x/>")
    metadata = {"exif": exif.tobytes(), "icc_profile": b"a profile" * 20, "pnginfo": text}
    image = image_of("RGB", 30, 20)
    by_pillow = io.BytesIO()
    image.save(by_pillow, "PNG", **metadata)
    ours = chunks_of(png_of(image, **metadata))
    theirs = chunks_of(by_pillow.getvalue())
    assert [c for c in ours if c[0] != b"IDAT"] == [c for c in theirs if c[0] != b"IDAT"]
    assert {name for name, _ in ours} >= {b"eXIf", b"iCCP", b"iTXt"}


def test_what_pillow_remembers_of_an_image_is_not_written() -> None:
    image = image_of("L", 5, 5)
    image.info.update(transparency=3, gamma=0.5, dpi=(72, 72), icc_profile=b"of the source")
    assert [name for name, _ in chunks_of(png_of(image))] == [b"IHDR", b"IDAT", b"IDAT", b"IEND"]


@pytest.mark.parametrize("mode", ["1", "P", "I;16", "CMYK", "F"])
def test_other_modes_are_refused(mode: str) -> None:
    file = io.BytesIO()
    with pytest.raises(ValueError, match=mode):
        write_png(Image.new(mode, (4, 4)), file)
    assert file.getvalue() == b""


@pytest.mark.parametrize("threads", [1, 2])
def test_a_full_disk_ends_it(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png_writer, "_STRIP_BYTES", 500)

    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            if self.tell() > 2000:
                raise OSError(28, "No space left on device")
            return super().write(data)

    before = threading.active_count()
    with pytest.raises(OSError, match="No space left"):
        write_png(image_of("RGB", 50, 50), Full(), threads=threads)
    assert threading.active_count() == before


def test_a_photograph_is_hardly_larger_than_pillow_makes_it() -> None:
    with Image.open(PHOTO) as image:
        image.load()
    by_pillow = io.BytesIO()
    image.save(by_pillow, "PNG", compress_level=1)
    assert len(png_of(image)) < 1.05 * len(by_pillow.getvalue())
