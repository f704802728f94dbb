"""How far colours drift: blocks of restored pictures against those of the originals.

    python benchmarks/colours.py ORIGINALS RESTORED

Two folders of PNG files of the same names. Of every block of 16x16 pixels the mean colour is
compared, in CIE 1976 L*a*b* (sRGB, D65): grain and blur do not count, a drift does. Prints the mean
over the pictures of: mean and 95th percentile of Delta E, mean difference of lightness, and mean
chroma as a share of the original's.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BLOCK = 16
Floats = NDArray[np.float64]
TO_XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
)  # of linear sRGB
WHITE = np.array([0.9505, 1.0, 1.089])  # D65


def lab(bytes_: Floats) -> Floats:
    """sRGB values [..., 3] from 0 to 255 -> L*, a*, b*."""
    share = bytes_ / 255.0
    linear = np.where(share > 0.04045, ((share + 0.055) / 1.055) ** 2.4, share / 12.92)
    part = linear @ TO_XYZ.T / WHITE
    f = np.where(part > 216 / 24389, np.cbrt(part), (24389 / 27 * part + 16) / 116)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def blocks(path: Path) -> Floats:
    """Mean colours [rows, columns, 3] of the whole blocks of a picture, 0 to 255."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"), np.float64)
    rows, columns = (side // BLOCK for side in pixels.shape[:2])
    cut = pixels[: rows * BLOCK, : columns * BLOCK]
    means: Floats = cut.reshape(rows, BLOCK, columns, BLOCK, 3).mean((1, 3))
    return means


def drift(original: Path, restored: Path) -> tuple[float, float, float, float]:
    """Of one picture: Delta E mean and 95th percentile, lightness, share of the chroma."""
    before, after = lab(blocks(original)), lab(blocks(restored))
    apart = np.linalg.norm(after - before, axis=-1)
    chroma = [float(np.hypot(one[..., 1], one[..., 2]).mean()) for one in (before, after)]
    lightness = float((after - before)[..., 0].mean())
    return float(apart.mean()), float(np.percentile(apart, 95)), lightness, chroma[1] / chroma[0]


def main() -> int:
    """Entry point; returns the exit status."""
    originals, restored = (Path(folder) for folder in sys.argv[1:3])
    names = sorted(path.name for path in originals.glob("*.png") if (restored / path.name).exists())
    if not names:
        print(f"colours: {originals} and {restored} have no PNG files in common", file=sys.stderr)
        return 1
    mean = np.mean([drift(originals / name, restored / name) for name in names], axis=0)
    print("pictures  Delta E  95 %  lightness  chroma")
    print(f"{len(names):8d} {mean[0]:8.2f} {mean[1]:5.2f} {mean[2]:10.2f} {mean[3]:7.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
