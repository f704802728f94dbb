"""Pictures to symbols: the encoder network, given a picture in parts."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from edgecomp.backends import Backend, Latent
from edgecomp.pipeline import side_by_side
from edgecomp.tiling import Rect, parts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgecomp.models import Model
    from edgecomp.pictures import PixelSource


def analyse(
    backend: Backend,
    model: Model,
    picture: PixelSource,
    rect: Rect,
    gain: int,
    *,
    threads: int,
) -> Latent:
    """The latent of a rectangle of positions, as it is of the whole picture.

    With graphs of integers it is the same to the bit (docs/format.md, section 2.2).

    Args:
        backend, model: the network.
        picture: whose pixels are read, a part at a time.
        rect: of latent positions within the picture's.
        gain: gain index.
        threads: to use.
    """
    halo = None if model.halo is None else model.halo["encoder"]
    grid = Rect(0, 0, picture.width, picture.height).positions(model.stride)
    pieces = parts(rect if halo is not None else grid, halo)
    each = threads if len(pieces) == 1 else 1

    def run(piece: Rect) -> Latent:
        seen = piece.grown(halo or 0).within(grid)
        latent = backend.analyse(_pixels(picture, seen, model.stride), gain, threads=each)
        return part_of(latent, piece.seen_from(seen))

    if len(pieces) == 1:
        return part_of(run(pieces[0]), rect.seen_from(pieces[0]))
    whole: Latent | None = None
    with closing(side_by_side(run, pieces, threads=threads)) as results:
        for piece, latent in zip(pieces, results, strict=True):
            if whole is None:
                whole = _room_for(latent, rect)
            _put(latent, whole, piece.seen_from(rect))
    assert whole is not None
    return whole


def part_of(latent: Latent, rect: Rect) -> Latent:
    """A part of a latent, contiguous in memory; the latent itself where that is the whole."""
    if latent.symbols.shape[1:] == (rect.height, rect.width):
        return latent
    counts, fractions = latent.counts, latent.fractions
    return Latent(
        np.ascontiguousarray(latent.symbols[:, rect.rows, rect.columns]),
        None if counts is None else np.ascontiguousarray(counts[rect.rows, rect.columns]),
        None if fractions is None else np.ascontiguousarray(fractions[:, rect.rows, rect.columns]),
    )


def _pixels(picture: PixelSource, rect: Rect, stride: int) -> NDArray[np.uint8]:
    """The pixels of a rectangle of positions, extended beyond the picture's right and bottom by
    repeating its last column and row."""
    whole = Rect(0, 0, picture.width, picture.height)
    wanted = rect.scaled(stride)
    there = wanted.within(whole)
    pixels = picture.region(there)
    bottom, right = wanted.bottom - there.bottom, wanted.right - there.right
    if bottom or right:
        pixels = np.pad(pixels, ((0, bottom), (0, right), (0, 0)), mode="edge")
    return pixels


def _room_for(like: Latent, rect: Rect) -> Latent:
    """An empty latent of that size with the same arrays."""
    size = (rect.height, rect.width)
    return Latent(
        np.empty((like.symbols.shape[0], *size), like.symbols.dtype),
        None if like.counts is None else np.empty(size, like.counts.dtype),
        None
        if like.fractions is None
        else np.empty((like.fractions.shape[0], *size), like.fractions.dtype),
    )


def _put(latent: Latent, whole: Latent, place: Rect) -> None:
    rows, columns = place.rows, place.columns
    whole.symbols[:, rows, columns] = latent.symbols
    if whole.counts is not None and latent.counts is not None:
        whole.counts[rows, columns] = latent.counts
    if whole.fractions is not None and latent.fractions is not None:
        whole.fractions[:, rows, columns] = latent.fractions
