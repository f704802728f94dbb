"""Pictures of any size and number, made of the four example photographs.

    python benchmarks/example_pictures.py picture.png --megapixels 12
    python benchmarks/example_pictures.py folder/ --pictures 100

Large pictures are mosaics of the photographs, mirrored and turned, so that they have as much detail
a pixel as the photographs themselves; the same size always gives the same pixels. Pictures of a
folder are single photographs, mirrored and turned: 16 different ones, then the same once more, as
further links to the same files. Nothing else of a size is in the repository, and measuring growth
must not mean other content.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

PHOTOS = Path(__file__).parent.parent / "examples" / "photos"
WIDTH, HEIGHT = 768, 512
# How the photographs are varied; these keep them 768 pixels wide and 512 high.
_TURNS = (
    None,
    Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.ROTATE_180,
)
# Pillow's own level: what most programs write. Level 1 is for those who are in a hurry.
PNG_LEVEL = 6
JPEG_QUALITY = 90
_SEED = 7


@cache
def photographs() -> tuple[Image.Image, ...]:
    """The example photographs, 768x512, upright ones turned."""
    found = []
    for path in sorted(PHOTOS.rglob("*.png")):
        with Image.open(path) as image:
            photo = image.convert("RGB")
        if photo.height > photo.width:
            photo = photo.transpose(Image.Transpose.ROTATE_90)
        if photo.size != (WIDTH, HEIGHT):
            raise ValueError(f"{path.name} is {photo.width}x{photo.height}")
        found.append(photo)
    return tuple(found)


def variants() -> int:
    """How many different pictures `kodak_sized` knows."""
    return len(photographs()) * len(_TURNS)


def kodak_sized(number: int) -> Image.Image:
    """Picture ``number`` of a folder, 768x512; neighbours are of different photographs."""
    photos = photographs()
    turn = _TURNS[number // len(photos) % len(_TURNS)]
    photo = photos[number % len(photos)]
    return photo.copy() if turn is None else photo.transpose(turn)


def mosaic(width: int, height: int) -> Image.Image:
    """A picture of that size in pixels; what does not fit of the last photographs is cut off."""
    picture = Image.new("RGB", (width, height))
    order = np.random.default_rng(_SEED)
    for top in range(0, height, HEIGHT):
        for left in range(0, width, WIDTH):
            picture.paste(kodak_sized(int(order.integers(variants()))), (left, top))
    return picture


def sides(megapixels: float) -> tuple[int, int]:
    """Width and height, 3 to 2, of a picture of about so many million pixels."""
    height = max(1, round(math.sqrt(megapixels * 1e6 / 1.5)))
    return max(1, round(megapixels * 1e6 / height)), height


def save(picture: Image.Image, path: Path, *, level: int = PNG_LEVEL) -> None:
    """Write a PNG or JPEG file, by the name's suffix.

    Raises:
        ValueError: another suffix.
    """
    suffix = path.suffix.lower()
    if suffix == ".png":
        picture.save(path, compress_level=level)
    elif suffix in (".jpg", ".jpeg"):
        picture.save(path, quality=JPEG_QUALITY)
    else:
        raise ValueError(f"{path.name}: neither PNG nor JPEG")


def fill(folder: Path, pictures: int, *, level: int = PNG_LEVEL) -> None:
    """Make a folder of so many Kodak-sized PNG files. It must be new or empty."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty")
    made: list[Path] = []
    for number in range(pictures):
        path = folder / f"picture{number:05}.png"
        if number < variants():
            save(kodak_sized(number), path, level=level)
            made.append(path)
        else:
            _same_file(made[number % variants()], path)


def _same_file(old: Path, new: Path) -> None:
    try:
        os.link(old, new)
    except OSError:  # a file system without links
        new.write_bytes(old.read_bytes())


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("output", type=Path, nargs="+", help="files (*.png, *.jpg), or a folder")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--megapixels", type=float, metavar="MP", help="of one large picture")
    which.add_argument("--pictures", type=int, metavar="N", help="of a folder, 768x512 each")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Make what is asked for and print its width and height; 1 if it cannot be."""
    arguments = _parse(argv)
    outputs: Iterable[Path] = arguments.output
    try:
        if arguments.pictures is not None:
            for folder in outputs:
                fill(folder, arguments.pictures)
            print(WIDTH, HEIGHT)
            return 0
        picture = mosaic(*sides(arguments.megapixels))
        for path in outputs:
            save(picture, path)
        print(*picture.size)
    except (OSError, ValueError) as error:
        print(f"example_pictures: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
