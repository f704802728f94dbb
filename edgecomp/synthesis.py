"""Symbols to pixels: the decoder network, given a codestream's symbols in parts.

Tiles are decoded before a part first needs them, one ahead, and let go after the last part that
does, so memory grows with the width of a picture at most.
"""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgecomp.backends import Backend
from edgecomp.errors import CorruptDataError
from edgecomp.pipeline import side_by_side
from edgecomp.tiling import Rect, parts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgecomp.models import Model
    from edgecomp.tile_reader import TileReader

# What takes the place of lost pixels: nobody shall mistake it for a part of the photograph.
_LOST_GREY = 128


@dataclass(frozen=True, slots=True)
class Region:
    """Decoded pixels.

    Attributes:
        place: in the picture.
        rgb: uint8 (height, width, 3).
    """

    place: Rect
    rgb: NDArray[np.uint8]


class Synthesiser:
    """Decodes regions of one codestream.

    Args:
        backend, model: the network.
        reader: of the symbols.
        size: width and height of the picture in pixels.
        gain: gain index.
        salvage: whether damaged tiles are to be left grey instead of raising an error.

    Attributes:
        lost: indices of the damaged tiles met so far, when salvaging.
    """

    def __init__(
        self,
        backend: Backend,
        model: Model,
        reader: TileReader,
        size: tuple[int, int],
        gain: int,
        *,
        salvage: bool = False,
    ) -> None:
        self._backend = backend
        self._model = model
        self._reader = reader
        self._whole = Rect(0, 0, *size)
        self._gain = gain
        self._salvage = salvage
        self._halo = None if model.halo is None else model.halo["decoder"]
        self._tiles: dict[int, Future[NDArray[np.uint8] | None]] = {}
        self.lost: set[int] = set()

    def regions(self, box: Rect, *, threads: int) -> Generator[Region, None, None]:
        """The pixels of a box, as they are in the whole picture, a part at a time, row by row.

        With graphs of integers they are the same to the bit.

        Raises:
            CorruptDataError: a tile that they depend on is damaged, unless salvaging.
        """
        if not (self._reader.tiles_are_checked or self._salvage):
            # One hash for all symbols: they are decoded at once, and checked before any is used.
            whole = self._reader.whole().symbols
            for index, rect in enumerate(self._reader.rects):
                self._tiles[index] = Future()
                self._tiles[index].set_result(whole[:, rect.rows, rect.columns])
        grid = self._reader.grid
        wanted = box.positions(self._model.stride) if self._halo is not None else grid
        pieces = parts(wanted, self._halo)
        each = threads if len(pieces) == 1 else 1
        steps, last_use = self._plan(pieces)

        def run(step: int | Rect) -> Region | None:
            if isinstance(step, int):
                self._decode(step)
                return None
            return self._region(step, box, threads=each)

        with closing(side_by_side(run, steps, threads=threads)) as results:
            for step, region in zip(steps, results, strict=True):
                if region is not None:
                    yield region
                if isinstance(step, Rect):
                    for index in last_use[step]:
                        del self._tiles[index]

    def _plan(self, pieces: tuple[Rect, ...]) -> tuple[list[int | Rect], dict[Rect, list[int]]]:
        """Tiles and parts in an order in which every part comes after its tiles, so that a thread
        that waits for a tile never waits for one that nobody has begun; and the tiles that nobody
        needs after a part."""
        steps: list[int | Rect] = []
        last: dict[int, Rect] = {}
        early = 0  # where the latest tile's own place would be
        for piece in pieces:
            for index in self._reader.indices(self._seen(piece)):
                if index not in last and index not in self._tiles:
                    self._tiles[index] = Future()
                    # One tile ahead, so that no thread waits for another's.
                    steps.insert(early, index)
                    early = len(steps)
                last[index] = piece
            steps.append(piece)
        last_use: dict[Rect, list[int]] = {piece: [] for piece in pieces}
        for index, piece in last.items():
            last_use[piece].append(index)
        return steps, last_use

    def _seen(self, piece: Rect) -> Rect:
        return piece.grown(self._halo or 0).within(self._reader.grid)

    def _decode(self, index: int) -> None:
        future = self._tiles[index]
        try:
            future.set_result(self._reader.tile(index).symbols)
        except CorruptDataError as error:
            if self._salvage:
                future.set_result(None)
                return
            future.set_exception(error)
            raise
        except BaseException as error:
            future.set_exception(error)
            raise

    def _region(self, piece: Rect, box: Rect, *, threads: int) -> Region:
        model, seen = self._model, self._seen(piece)
        symbols = np.full((model.channels, seen.height, seen.width), model.zero, np.uint8)
        lost = []
        for index in self._reader.indices(seen):
            rect = self._reader.rects[index]
            part = rect.within(seen)
            tile = self._tiles[index].result()
            if tile is None:
                self.lost.add(index)
                lost.append(part)
                continue
            to, at = part.seen_from(seen), part.seen_from(rect)
            symbols[:, to.rows, to.columns] = tile[:, at.rows, at.columns]
        for part in lost:
            _extend(symbols, part.seen_from(seen))
        place = piece.scaled(model.stride).within(self._whole).within(box)
        if any(part.within(piece) == piece for part in lost):
            return Region(place, np.full((place.height, place.width, 3), _LOST_GREY, np.uint8))
        pixels = self._backend.synthesise(symbols, self._gain, threads=threads)
        inside = place.seen_from(seen.scaled(model.stride))
        rgb = pixels[inside.rows, inside.columns]
        for part in lost:
            grey = part.scaled(model.stride).within(place).seen_from(place)
            if not grey.is_empty:
                rgb[grey.rows, grey.columns] = _LOST_GREY
        return Region(place, rgb)


def _extend(symbols: NDArray[np.uint8], lost: Rect) -> None:
    """Put the nearest symbols around a rectangle where they were lost: what is next to a lost tile
    then looks as if the picture went on, instead of bordering on black or grey."""
    y, x = np.mgrid[lost.rows, lost.columns]
    _, height, width = symbols.shape
    sides = [
        (x - lost.left, y, np.full_like(x, lost.left - 1), lost.left > 0),
        (lost.right - 1 - x, y, np.full_like(x, lost.right), lost.right < width),
        (y - lost.top, np.full_like(y, lost.top - 1), x, lost.top > 0),
        (lost.bottom - 1 - y, np.full_like(y, lost.bottom), x, lost.bottom < height),
    ]
    there = [side[:3] for side in sides if side[3]]
    if not there:
        return
    nearest = np.argmin([distance for distance, _, _ in there], axis=0)
    rows = np.choose(nearest, [row for _, row, _ in there])
    columns = np.choose(nearest, [column for _, _, column in there])
    symbols[:, lost.rows, lost.columns] = symbols[:, rows, columns]
