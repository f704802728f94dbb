"""Codestreams to Pillow images: parts of pictures, and what is done about damage."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import edgecomp
from edgecomp.codec import Codec
from edgecomp.codestream import Codestream, Section, parse
from edgecomp.constants import SECTION_ALPHA, SECTION_EXIF, SECTION_ICC
from edgecomp.errors import CorruptDataError, UsageError
from edgecomp.pictures import Picture
from edgecomp.restore import restore


@pytest.fixture(scope="module")
def codec(tiny: Path) -> Codec:
    return Codec.load(model=tiny)


@pytest.fixture
def picture(photo: Image.Image) -> Picture:
    """With everything that can go with one."""
    rgb = np.array(photo)
    alpha = np.arange(rgb.shape[0] * rgb.shape[1], dtype=np.uint32).astype(np.uint8)
    return Picture(
        rgb=rgb, alpha=alpha.reshape(rgb.shape[:2]), exif=b"MM\0*exif", icc=b"icc" * 30, xmp=b"<x/>"
    )


def without(stream: Codestream, *kinds: int) -> Codestream:
    """With these sections damaged."""

    def torn(section: Section) -> Section:
        if section.kind not in kinds:
            return section
        return dataclasses.replace(section, crc=section.crc ^ 1)

    return dataclasses.replace(stream, sections=tuple(torn(s) for s in stream.sections))


def without_tiles(stream: Codestream, *indices: int) -> Codestream:
    tiles = [
        dataclasses.replace(tile, crc=tile.crc ^ (index in indices))
        for index, tile in enumerate(stream.tiles)
    ]
    return dataclasses.replace(stream, tiles=tuple(tiles))


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("tile", [None, 32])
def test_the_image_is_that_of_the_picture(
    codec: Codec, picture: Picture, grey: bool, tile: int | None
) -> None:
    stream = parse(codec.encode(dataclasses.replace(picture, grey=grey), tile=tile))
    restored = restore(codec, stream)
    image = restored.image
    assert image.mode == ("LA" if grey else "RGBA")
    assert np.array_equal(np.asarray(image)[..., -1], picture.alpha)
    colours = np.asarray(image)[..., :-1]
    decoded = codec.decode(stream).rgb
    if grey:
        decoded = np.round(decoded.mean(axis=2, keepdims=True))
    assert np.array_equal(colours, decoded)
    assert image.info == {"exif": b"Exif\0\0MM\0*exif", "icc_profile": b"icc" * 30, "xmp": b"<x/>"}
    assert (restored.damage, restored.is_partial) == (None, False)


@pytest.mark.parametrize("box", [(0, 0, 152, 96), (31, 32, 33, 96), (151, 95, 152, 96)])
@pytest.mark.parametrize("mode", ["RGB", "LA"])
def test_a_box_is_what_crop_would_give(
    tiny: Path, photo: Image.Image, mode: str, box: tuple[int, int, int, int]
) -> None:
    data = edgecomp.encode(photo.convert(mode), model=tiny)
    part = edgecomp.decode(data, box=box, model=tiny)
    whole = edgecomp.decode(data, model=tiny)
    assert part.mode == whole.mode == mode
    assert np.array_equal(np.asarray(part), np.asarray(whole.crop(box)))


@pytest.mark.parametrize("box", [(0, 0, 0, 5), (5, 5, 4, 9), (-1, 0, 5, 5), (0, 0, 153, 5)])
def test_boxes_that_cannot_be(
    tiny: Path, photo: Image.Image, box: tuple[int, int, int, int]
) -> None:
    data = edgecomp.encode(photo, model=tiny)
    with pytest.raises(UsageError, match="not within 152 x 96"):
        edgecomp.decode(data, box=box, model=tiny)


def test_damage_is_an_error_unless_it_is_tolerated(codec: Codec, picture: Picture) -> None:
    stream = parse(codec.encode(picture, tile=48))
    for torn in (without(stream, SECTION_EXIF), without(stream, SECTION_ICC)):
        with pytest.raises(CorruptDataError, match="section"):
            restore(codec, torn)
    with pytest.raises(CorruptDataError, match="1 of 8 tiles damaged"):
        restore(codec, without_tiles(stream, 3), tolerate="metadata")
    with pytest.raises(CorruptDataError, match="section 0x01"):
        restore(codec, without(stream, SECTION_ALPHA), tolerate="metadata")


def test_pictures_do_without_exif(codec: Codec, picture: Picture) -> None:
    stream = parse(codec.encode(picture))
    restored = restore(codec, without(stream, SECTION_EXIF), tolerate="metadata")
    assert not restored.is_partial
    assert restored.damage == "restored, but without its EXIF or XMP data, which are damaged"
    assert "exif" not in restored.image.info
    assert restored.image.info["icc_profile"] == picture.icc


@pytest.mark.parametrize(
    ("sections", "tiles", "damage"),
    [
        ((SECTION_ALPHA,), (), "its alpha plane, which is damaged"),
        ((SECTION_ICC,), (), "its ICC profile, which is damaged"),
        ((SECTION_ICC, SECTION_ALPHA), (), "its alpha plane and ICC profile, which are damaged"),
        ((), (0, 7), "its 2 of 8 tiles, which are damaged"),
        ((SECTION_EXIF,), (0,), "its 1 of 8 tiles and EXIF or XMP data, which are damaged"),
    ],
)
def test_what_is_seen_to_be_missing(
    codec: Codec,
    picture: Picture,
    sections: tuple[int, ...],
    tiles: tuple[int, ...],
    damage: str,
) -> None:
    stream = parse(codec.encode(picture, tile=48))
    torn = without_tiles(without(stream, *sections), *tiles)
    restored = restore(codec, torn, tolerate="tiles")
    assert restored.is_partial
    assert restored.damage == f"restored, but without {damage}"
    assert restored.lost_tiles == len(tiles)
    assert restored.image.mode == ("RGB" if SECTION_ALPHA in sections else "RGBA")
    if tiles:
        assert (np.asarray(restored.image)[:48, :48, :3] == 128).all()
    whole = np.asarray(restore(codec, stream).image)[48:, 48:96, :3]
    assert np.array_equal(np.asarray(restored.image)[48:, 48:96, :3], whole)


def test_a_picture_without_a_whole_tile_is_lost(codec: Codec, picture: Picture) -> None:
    for tile in (None, 48):
        stream = parse(codec.encode(picture, tile=tile))
        with pytest.raises(CorruptDataError, match="every tile is damaged"):
            restore(codec, without_tiles(stream, *range(8)), tolerate="tiles")
