"""The symbols of a codestream, tile by tile, checked against their hashes. Integers only."""

from __future__ import annotations

import numpy as np

from edgecomp.backends import Latent
from edgecomp.codestream import Codestream
from edgecomp.entropy import SymbolCoder, decode_tile
from edgecomp.errors import CorruptDataError, ModelNotFoundError
from edgecomp.models import Model
from edgecomp.symbol_hash import hash_of_tiles, symbol_hash
from edgecomp.tiling import Rect, tile_rects

_DIFFERENT = "the symbols are not those that were coded (hash)"


def check_model(stream: Codestream, model: Model) -> None:
    """Raises what `TileReader` does for a codestream that is not this model's."""
    if stream.model_id != model.model_id:
        raise ModelNotFoundError(
            f"made with model {stream.model_id.hex()}, not with {model.name} ({model.id_hex})"
        )
    if stream.gain >= model.gains:
        raise CorruptDataError(f"gain index {stream.gain} of {model.gains}")
    for side in (stream.tile_width, stream.tile_height):
        if side is not None and side % model.stride:
            raise CorruptDataError(f"tile size {side} is not a multiple of {model.stride}")


class TileReader:
    """Decodes the tiles of one codestream. Safe to use from several threads at once.

    Attributes:
        rects: the latent positions of each tile.
        grid: all latent positions.

    Args:
        stream: the codestream.
        model: its model.
        coder: its symbol coder.

    Raises:
        ModelNotFoundError: the codestream was made with another model.
        CorruptDataError: it does not fit the model, or its hashes contradict each other.
    """

    def __init__(self, stream: Codestream, model: Model, coder: SymbolCoder) -> None:
        check_model(stream, model)
        self._stream = stream
        self._model = model
        self._coder = coder
        self.grid = Rect(0, 0, stream.width, stream.height).positions(model.stride)
        self.rects = tile_rects(
            stream.width, stream.height, stream.tile_width, stream.tile_height, model.stride
        )
        if stream.has_tile_hashes and stream.symbol_hash != hash_of_tiles(
            tile.symbol_hash or b"" for tile in stream.tiles
        ):
            raise CorruptDataError(_DIFFERENT)

    @property
    def tiles_are_checked(self) -> bool:
        """Whether there is a hash for what `tile` decodes: not for several tiles that share one."""
        return len(self.rects) == 1 or self._stream.has_tile_hashes

    def indices(self, rect: Rect) -> list[int]:
        """Of the tiles that have something of a rectangle of positions, in order."""
        stream, stride = self._stream, self._model.stride
        if stream.tile_width is None or stream.tile_height is None:
            return [0]
        columns, _ = stream.grid
        width, height = stream.tile_width // stride, stream.tile_height // stride
        return [
            row * columns + column
            for row in range(rect.top // height, -(-rect.bottom // height))
            for column in range(rect.left // width, -(-rect.right // width))
        ]

    def tile(self, index: int) -> Latent:
        """The symbols of one tile, compared with its hash if it has one.

        Raises:
            CorruptDataError: it is damaged.
        """
        tile, rect, model = self._stream.tiles[index], self.rects[index], self._model
        where = f"tile {index} of {len(self.rects)}: " if len(self.rects) > 1 else ""
        if not tile.is_whole:
            raise CorruptDataError(f"{where}damaged (checksum)")
        symbols, counts = decode_tile(
            self._coder,
            tile.payload,
            shape=(model.channels, rect.height, rect.width),
            levels=model.levels,
            zero=model.zero,
            importance_map=model.importance_map,
        )
        latent = Latent(symbols, counts)
        if self.tiles_are_checked:
            wanted = tile.symbol_hash or self._stream.symbol_hash
            if symbol_hash(latent) != wanted:
                raise CorruptDataError(where + _DIFFERENT)
        return latent

    def whole(self) -> Latent:
        """The symbols of all tiles.

        Raises:
            CorruptDataError: a tile is damaged; all those are named.
        """
        self._stream.check_tiles()
        if len(self.rects) == 1:
            return self.tile(0)
        model, rows, columns = self._model, self.grid.height, self.grid.width
        symbols = np.empty((model.channels, rows, columns), np.uint8)
        counts = np.empty((rows, columns), np.uint8) if model.importance_map else None
        for index, rect in enumerate(self.rects):
            part = self.tile(index)
            symbols[:, rect.rows, rect.columns] = part.symbols
            if counts is not None and part.counts is not None:
                counts[rect.rows, rect.columns] = part.counts
        latent = Latent(symbols, counts)
        if not self.tiles_are_checked and symbol_hash(latent) != self._stream.symbol_hash:
            raise CorruptDataError(_DIFFERENT)
        return latent

    def check(self) -> None:
        """Decode everything and keep nothing.

        Raises:
            CorruptDataError: as `whole`.
        """
        if not self.tiles_are_checked:
            self.whole()
            return
        self._stream.check_tiles()
        for index in range(len(self.rects)):
            self.tile(index)
