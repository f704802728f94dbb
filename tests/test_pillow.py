"""The Pillow plug-in."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

import edgecomp
import edgecomp.pillow


def _saved(image: Image.Image, **options: Any) -> io.BytesIO:
    buffer = io.BytesIO()
    image.save(buffer, "EDGECOMP", **options)
    buffer.seek(0)
    return buffer


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA"])
def test_open_what_was_saved(tmp_path: Path, photo: Image.Image, mode: str) -> None:
    path = tmp_path / "x.edge"
    photo.convert(mode).save(path, quality="A")
    with Image.open(path) as image:
        assert (image.format, image.mode, image.size) == ("EDGECOMP", mode, photo.size)
        assert image.get_format_mimetype() == "image/x-edgecomp"
        pixels = np.asarray(image)
    assert np.array_equal(pixels, np.asarray(edgecomp.decode(path.read_bytes())))
    path.unlink()


def test_qualities_differ(photo: Image.Image) -> None:
    sizes = [len(_saved(photo, quality=q).getvalue()) for q in "ABC"]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 3


def test_metadata_is_kept_and_can_be_given(photo: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x010F] = "A maker"
    with Image.open(_saved(photo, exif=exif, icc_profile=b"icc", xmp=b"<x/>")) as image:
        assert image.getexif()[0x010F] == "A maker"
        assert (image.info["icc_profile"], image.info["xmp"]) == (b"icc", b"<x/>")
        again = _saved(image)
    with Image.open(again) as image:
        assert image.getexif()[0x010F] == "A maker"
    assert "exif" not in photo.info, "saving leaves the picture as it was"


def test_opening_decodes_nothing_yet(photo: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = _saved(photo)

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("edgecomp.api.decode", fail)
    with Image.open(buffer) as image:
        assert image.size == photo.size
        with pytest.raises(AssertionError, match="decoded"):
            image.load()


def test_damage_is_an_os_error_as_pillow_has_it(photo: Image.Image) -> None:
    data = bytearray(_saved(photo).getvalue())
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(bytes(data[:30])))
    data[-5] ^= 0xFF
    with Image.open(io.BytesIO(bytes(data))) as image, pytest.raises(OSError, match="checksum"):
        image.load()


def test_modes_that_cannot_be_saved() -> None:
    with pytest.raises(OSError, match="CMYK"):
        _saved(Image.new("CMYK", (8, 8)))
