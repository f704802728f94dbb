"""Picture files in and out: formats, modes, metadata, and what is refused."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from edgecomp.constants import OUTPUT_FORMATS
from edgecomp.errors import UnsupportedPictureError
from edgecomp.picture_writer import image_from_picture, write_picture
from edgecomp.pictures import Picture, is_picture_name, read_picture

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
ICC = b"not a real profile, carried as it is " * 4


def _exif(orientation: int = 6) -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F] = "A maker"
    exif[0x0112] = orientation
    return exif


def _rgb(height: int = 20, width: int = 30) -> Image.Image:
    rng = np.random.default_rng(height * width)
    return Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8))


def _file(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def _png(depth: int, colour_type: int, samples: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", 4, 4, depth, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + bytes(4 * samples * depth // 8) for _ in range(4))
    signature = b"\x89PNG\r\n\x1a\n"
    return (
        signature + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("format", ["PNG", "BMP", "PPM", "TIFF", "GIF"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_lossless_files_are_read_exactly(format: str, mode: str) -> None:
    image = _rgb().convert(mode)
    if format == "GIF" and mode == "RGB":
        image = image.quantize(200)
    picture = read_picture(_file(image, format), name=f"a.{format.lower()}")
    assert np.array_equal(picture.rgb, np.asarray(image.convert("RGB")))
    assert picture.grey == (mode == "L")
    assert picture.alpha is None
    assert (picture.width, picture.height) == image.size


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_read_exactly(mode: str) -> None:
    image = _rgb().convert(mode)
    alpha = Image.fromarray(np.arange(600, dtype=np.uint8).reshape(20, 30))
    image.putalpha(alpha)
    picture = read_picture(_file(image, "PNG"), name="a.png")
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha, np.asarray(alpha))
    assert picture.grey == (mode == "LA")


def test_a_transparent_colour_becomes_alpha() -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 200, 10, 10])
    image.putpixel((2, 3), 0)
    picture = read_picture(_file(image, "PNG", transparency=0), name="a.png")
    assert picture.alpha is not None
    assert picture.alpha[3, 2] == 0
    assert picture.alpha.sum() == 63 * 255
    assert tuple(picture.rgb[0, 0]) == (200, 10, 10)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_metadata_is_read(format: str) -> None:
    options: dict[str, Any] = {"exif": _exif(), "icc_profile": ICC}
    if format != "PNG":
        options["xmp"] = XMP
    picture = read_picture(_file(_rgb(), format, **options), name="a")
    assert picture.exif is not None
    assert picture.exif[:2] in (b"MM", b"II")
    assert picture.icc == ICC
    assert picture.xmp == (None if format == "PNG" else XMP)
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + picture.exif)
    assert (exif[0x010F], exif[0x0112]) == ("A maker", 6)


def test_tiff_tags_that_describe_the_photograph_are_kept() -> None:
    picture = read_picture(_file(_rgb(), "TIFF", exif=_exif(1)), name="a.tif")
    assert picture.exif is not None
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + picture.exif)
    assert exif[0x010F] == "A maker"
    assert 0x0111 not in exif, "strip offsets mean nothing outside that file"


@pytest.mark.parametrize("format", OUTPUT_FORMATS)
@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("with_alpha", [False, True])
def test_written_files_read_back(format: str, grey: bool, with_alpha: bool) -> None:
    pixels = np.array(_rgb())
    if grey:
        pixels = np.repeat(pixels[..., :1], 3, axis=2)
    alpha = np.full((20, 30), 255, np.uint8) if with_alpha else None
    exif = _exif().tobytes().removeprefix(b"Exif\0\0")
    picture = Picture(pixels, alpha=alpha, grey=grey, exif=exif, icc=ICC, xmp=XMP)
    buffer = io.BytesIO()
    write_picture(picture, buffer, format=format)
    again = read_picture(buffer.getvalue(), name="a" + OUTPUT_FORMATS[format])
    if format in {"bmp", "ppm"}:
        # No metadata there: the picture is turned upright, here by a quarter.
        assert (again.exif, again.icc, again.xmp) == (None, None, None)
        assert np.array_equal(again.rgb, np.rot90(pixels, -1))
        return
    if format == "tiff":
        # Pillow turns TIFF pictures upright as it loads them, and drops the tag.
        assert np.array_equal(again.rgb, np.rot90(pixels, -1))
    elif format == "jpeg":
        assert again.rgb.shape == pixels.shape
    else:
        assert np.array_equal(again.rgb, pixels)
        assert again.exif == exif
    assert again.icc == ICC
    assert again.xmp == XMP
    assert (again.alpha is not None) == (with_alpha and format not in {"jpeg", "webp"}) or (
        format == "webp"
    )
    if format in {"png", "tiff"}:
        assert again.grey == grey


def test_transparent_parts_are_laid_on_white_where_there_is_no_alpha() -> None:
    alpha = np.zeros((8, 8), np.uint8)
    buffer = io.BytesIO()
    write_picture(Picture(np.zeros((8, 8, 3), np.uint8), alpha=alpha), buffer, format="bmp")
    assert read_picture(buffer.getvalue(), name="a.bmp").rgb.min() == 255


def test_grey_is_the_rounded_mean() -> None:
    values = np.array([[[0, 0, 1], [0, 1, 1], [255, 255, 254], [10, 20, 33]]], np.uint8)
    image = image_from_picture(Picture(values, grey=True))
    assert image.mode == "L"
    assert np.asarray(image).tolist() == [[0, 1, 255, 21]]


def test_orientation_shows_the_same_picture_before_and_after() -> None:
    source = _rgb()
    data = _file(source, "PNG", exif=_exif(8))
    buffer = io.BytesIO()
    write_picture(read_picture(data, name="a.png"), buffer)
    with Image.open(io.BytesIO(data)) as before, Image.open(buffer) as after:
        upright = ImageOps.exif_transpose(before)
        assert np.array_equal(np.asarray(upright), np.asarray(ImageOps.exif_transpose(after)))
        assert upright.size == (20, 30)


DEEP = np.arange(256, dtype=np.uint16).reshape(16, 16) * 256


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("text.jpg", b"this is no picture\n" * 20, "not a picture"),
        ("empty.png", b"", "not a picture"),
        ("cut.jpg", _file(_rgb(64, 64), "JPEG")[:-400], "cannot be decoded"),
        ("cut.png", _file(_rgb(64, 64), "PNG")[:3000], "cannot be decoded"),
        ("cut.webp", _file(_rgb(64, 64), "WEBP")[:200], "cannot be decoded"),
        ("cmyk.jpg", _file(_rgb().convert("CMYK"), "JPEG"), "CMYK"),
        ("lab.tif", _file(Image.new("LAB", (8, 8)), "TIFF"), "LAB"),
        ("bilevel.png", _file(_rgb().convert("1"), "PNG"), "bilevel"),
        ("deep-grey.png", _file(Image.fromarray(DEEP), "PNG"), "more than 8 bits"),
        ("deep-grey.tif", _file(Image.fromarray(DEEP), "TIFF"), "more than 8 bits"),
        ("deep-colour.png", _png(16, 2, 3), "more than 8 bits"),
        ("deep-alpha.png", _png(16, 6, 4), "more than 8 bits"),
        ("deep.ppm", b"P6 4 4 65535\n" + bytes(96), "more than 8 bits"),
        (
            "float.tif",
            _file(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF"),
            "more than 8 bits",
        ),
        (
            "animated.gif",
            _file(
                _rgb().quantize(9), "GIF", save_all=True, append_images=[Image.new("P", (30, 20))]
            ),
            "2 frames",
        ),
        ("large.png", _file(Image.new("L", (200, 300)), "PNG"), "limit of 50000"),
    ],
)
def test_what_cannot_be_represented_says_why(name: str, data: bytes, reason: str) -> None:
    with pytest.raises(UnsupportedPictureError, match=reason) as caught:
        read_picture(data, name=name, max_pixels=50_000)
    assert name in str(caught.value)


def test_damaged_files_never_raise_anything_else() -> None:
    rng = np.random.default_rng(3)
    for format in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM"):
        whole = _file(_rgb().convert("L") if format == "GIF" else _rgb(), format)
        for _ in range(60):
            data = bytearray(whole)
            for position in rng.integers(0, len(data), 4):
                data[position] = rng.integers(256)
            try:
                read_picture(bytes(data[: rng.integers(1, len(data))]), name="a")
            except UnsupportedPictureError:
                pass


def test_heic_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(UnsupportedPictureError, match=r"edgecomp\[heic\]"):
        read_picture(b"\0\0\0\x18ftypheic", name="a.heic")


def test_heic_is_read_when_its_package_is_there() -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    pillow_heif.register_heif_opener()
    data = _file(_rgb(64, 80), "HEIF", quality=90)
    picture = read_picture(data, name="a.heic")
    assert (picture.width, picture.height) == (80, 64)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jpg", True),
        ("a.JPEG", True),
        ("folder.png/notes.txt", False),
        ("a.heic", True),
        ("a.tar.gz", False),
        (".jpg", False),
        ("photo", False),
    ],
)
def test_picture_names(name: str, expected: bool) -> None:
    assert is_picture_name(name) is expected


def test_pictures_are_checked_when_made() -> None:
    with pytest.raises(ValueError, match="rgb must be"):
        Picture(np.zeros((4, 4), np.uint8))
    with pytest.raises(ValueError, match="impossible picture size"):
        Picture(np.zeros((0, 4, 3), np.uint8))
    with pytest.raises(ValueError, match="alpha must be"):
        Picture(np.zeros((4, 4, 3), np.uint8), alpha=np.zeros((4, 5), np.uint8))
    with pytest.raises(ValueError, match="unknown picture format"):
        write_picture(Picture(np.zeros((4, 4, 3), np.uint8)), io.BytesIO(), format="xcf")
