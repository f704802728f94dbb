"""Pictures for training: decoded once, kept as one flat uint8 array, cropped on the device."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".tif", ".tiff"}


class DataError(RuntimeError):
    """No usable training pictures; the message names the folder."""


@dataclass(frozen=True)
class Pool:
    """Pictures of several sizes end to end in ``pixels``; row i of ``table`` is (offset, H, W)."""

    pixels: np.ndarray  # uint8 [total]: rows of samples, all channels of one after the other
    table: np.ndarray  # int32 [count, 3]
    weights: np.ndarray  # float32 [count], sums to 1: how often a picture is drawn


def list_pictures(folders: Iterable[str | Path]) -> list[Path]:
    """Picture files of the folders, sorted by name so that every machine sees one order."""
    files: list[Path] = []
    for folder in folders:
        path = Path(folder)
        if not path.is_dir():
            raise DataError(f"data folder not found: {path}")
        found = [p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES]
        if not found:
            raise DataError(f"no pictures in data folder: {path}")
        files += found
    return sorted(files, key=lambda p: (p.name, str(p)))


def read_picture(path: Path) -> np.ndarray:
    """uint8 [H, W, 3]."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except OSError as error:
        raise DataError(f"cannot read picture {path}: {error}") from error


def held_back(files: list[Path], count: int, side: int) -> list[Path]:
    """The fixed pictures never trained on: of those with both sides large enough, the ones whose
    names hash lowest. Independent of where the folders lie; at most a fifth of the pictures."""
    large = []
    for path in files:
        with Image.open(path) as image:
            if min(image.size) >= side:
                large.append(path)
    large.sort(key=lambda p: hashlib.sha256(p.name.encode()).digest())
    return large[: min(count, len(files) // 5)]


def load_pool(files: list[Path], crop: int, scales: Sequence[float] = (1.0,)) -> Pool:
    """Decode every picture, and keep it at each of the scales at which it still holds a crop."""
    return pool_of(scaled(files, crop, scales), crop)


def scaled(files: list[Path], crop: int, scales: Sequence[float]) -> Iterator[np.ndarray]:
    """uint8 [H, W, 3]: every picture at each of the scales at which it still holds a crop.

    Smaller copies show the networks finer texture, and objects at other sizes.
    """
    for path in files:
        picture = read_picture(path)
        for scale in scales:
            height, width = (round(side * scale) for side in picture.shape[:2])
            if min(height, width) < crop:
                continue
            small = picture
            if scale != 1:
                small = np.asarray(
                    Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS)
                )
            yield small


def pool_of(pictures: Iterable[np.ndarray], crop: int) -> Pool:
    """Pictures of one number of channels, each large enough for a crop, end to end."""
    arrays = list(pictures)
    if not arrays:
        raise DataError(f"no training picture is at least {crop} pixels on both sides")
    sizes = [a.size for a in arrays]
    if sum(sizes) >= 2**31:
        raise DataError(f"{sum(sizes)} bytes of pixels; the crop index holds less than 2^31")
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    table = np.array([(o, *a.shape[:2]) for o, a in zip(offsets, arrays, strict=True)], np.int32)
    # A large picture has more to show, but not in proportion to its area: neighbours are alike.
    weights = np.sqrt(np.asarray(sizes, np.float64))
    return Pool(
        np.concatenate([a.reshape(-1) for a in arrays]),
        table,
        (weights / weights.sum()).astype(np.float32),
    )


def spread(folders: list[str], count: int, multiple: int, side: int = 512) -> list[np.ndarray]:
    """uint8 [1, H, W, 3] each: the middles of ``count`` pictures spread evenly over the sorted
    names, sides multiples of ``multiple`` up to ``side``. Ranges are calibrated on them."""
    files = list_pictures(folders)
    out = []
    for path in files[:: max(1, len(files) // count)][:count]:
        picture = read_picture(path)
        height, width = (min(s, side) // multiple * multiple for s in picture.shape[:2])
        if not height or not width:
            raise DataError(f"{path} is smaller than {multiple}x{multiple} pixels")
        top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
        out.append(np.ascontiguousarray(picture[None, top : top + height, left : left + width]))
    return out


def load_centres(files: list[Path], side: int) -> np.ndarray:
    """uint8 [n, side, side, 3]: the middle of each picture."""
    out = []
    for path in files:
        picture = read_picture(path)
        top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
        out.append(picture[top : top + side, left : left + side])
    return np.stack(out) if out else np.zeros((0, side, side, 3), np.uint8)


def sample_patches(pool: Pool, count: int, patch: int, seed: int) -> np.ndarray:
    """float32 [count, 3 patch^2] in the networks' input range, drawn evenly over the pictures."""
    rng = np.random.default_rng(seed)
    out = np.empty((count, 3 * patch * patch), np.float32)
    for row, index in enumerate(rng.choice(len(pool.table), count, p=None)):
        offset, height, width = (int(v) for v in pool.table[index])
        view = pool.pixels[offset : offset + height * width * 3].reshape(height, width, 3)
        top, left = rng.integers(height - patch + 1), rng.integers(width - patch + 1)
        out[row] = view[top : top + patch, left : left + patch].reshape(-1)
    return (out - 128.0) / 255.0
