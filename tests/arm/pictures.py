"""The folder of pictures that both machines are given: small, since emulation is slow."""

from __future__ import annotations

import os
from pathlib import Path

from common import ROOT
from PIL import Image, ImageCms

PHOTOS = ROOT / "examples" / "photos"
NAMES = ("kodim04.png", "kodim05.png", "kodim23.png", "trip to Zürich/kodim20.png")
SECOND = 10**9
FIRST_TIME = 1_700_000_000 * SECOND + 123_456_789
ORIENTATION, MAKER = 0x0112, 0x010F
ICC_DATE = slice(24, 36)
TILES_SIZE = (2072, 43)  # a side above 2048 pixels is divided


def _crop(number: int, left: int, top: int, width: int, height: int) -> Image.Image:
    with Image.open(PHOTOS / NAMES[number]) as image:
        return image.convert("RGB").crop((left, top, left + width, top + height))


def _profile() -> bytes:
    """An sRGB profile that does not say when it was made."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[ICC_DATE] = bytes(12)
    return bytes(profile)


def _alpha() -> Image.Image:
    image = _crop(2, 300, 200, 97, 80)
    image.putalpha(Image.radial_gradient("L").resize(image.size))
    return image


def _wide() -> Image.Image:
    """Crops side by side."""
    image = Image.new("RGB", TILES_SIZE)
    for number in range(len(NAMES)):
        image.paste(_crop(number, 0, 230, 512, TILES_SIZE[1]), (512 * number, 0))
    image.paste(_crop(0, 100, 100, 24, TILES_SIZE[1]), (2048, 0))
    return image


def make_pictures(folder: Path, *, quick: bool) -> None:
    """Writes the pictures, and a text among them; the same in every run with one Pillow.

    Args:
        quick: three of the smallest only.
    """
    (folder / "trip to Zürich").mkdir(parents=True)
    (folder / "notes.txt").write_text("Crops of the pictures in examples/photos.\n" * 40)
    _alpha().save(folder / "alpha.png")
    _crop(3, 301, 140, 121, 90).convert("L").save(folder / "grey.png")
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKER] = 6, "edgecomp"
    _crop(1, 250, 200, 131, 97).save(
        folder / "trip to Zürich" / "metadata.jpg",
        quality=95,
        exif=exif,
        icc_profile=_profile(),
    )
    if not quick:
        _crop(2, 120, 60, 200, 137).save(folder / "colour.png")
        _crop(0, 200, 333, 41, 7).save(folder / "narrow.png")
        _wide().save(folder / "tiles.png")
    for number, path in enumerate(sorted(p for p in folder.rglob("*") if p.is_file())):
        time = FIRST_TIME + number * SECOND
        os.utime(path, ns=(time, time))
