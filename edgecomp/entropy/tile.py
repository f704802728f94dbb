"""The payload of one tile: the importance map, where the model has one, and the symbols.

The symbols are coded by the coder that the codestream names, the map always by ``lzma``: a coder
with parameters has them for a model's symbols, not for its map.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgecomp import native
from edgecomp.entropy.coder import SymbolCoder, Symbols
from edgecomp.entropy.context_coder import ContextCoder
from edgecomp.entropy.lzma_coder import LzmaCoder
from edgecomp.varint import Cursor, pack_varint

_MAP_CODER: Final = LzmaCoder()


def encode_tile(
    coder: SymbolCoder,
    symbols: Symbols,
    *,
    levels: int,
    zero: int,
    counts: Symbols | None = None,
) -> bytes:
    """Code a tile.

    Args:
        coder: of the symbols.
        symbols, levels, zero, counts: as for :meth:`SymbolCoder.encode`.
    """
    coded = coder.encode(symbols, levels=levels, zero=zero, counts=counts)
    return _with_map(coded, symbols.shape[0], counts)


def choose_tile(
    coder: ContextCoder,
    symbols: Symbols,
    *,
    levels: int,
    zero: int,
    fractions: NDArray[np.int8],
    threshold: int,
    counts: Symbols | None = None,
) -> tuple[bytes, Symbols]:
    """Code a tile in which symbols of magnitude one may become zero to save bits.

    Args:
        coder: of the symbols, which chooses.
        symbols, levels, zero, fractions, threshold, counts: as for
            :meth:`ContextCoder.choose_and_encode`.

    Returns:
        The tile, and the symbols that it decodes to.
    """
    coded, chosen = coder.choose_and_encode(
        symbols, levels=levels, zero=zero, fractions=fractions, threshold=threshold, counts=counts
    )
    return _with_map(coded, symbols.shape[0], counts), chosen


def decode_tile(
    coder: SymbolCoder,
    data: bytes | memoryview,
    *,
    shape: tuple[int, int, int],
    levels: int,
    zero: int,
    importance_map: bool,
) -> tuple[Symbols, Symbols | None]:
    """Restore a tile's symbols and, where the model has one, its importance map.

    Raises:
        CorruptDataError: ``data`` is not the payload of such a tile.
    """
    if not importance_map:
        return coder.decode(data, shape=shape, levels=levels, zero=zero), None
    channels, height, width = shape
    map_levels = _map_levels(channels)
    cursor = Cursor(data, "tile")
    coded_map = cursor.take(cursor.varint())
    residual = _MAP_CODER.decode(
        coded_map, shape=(1, height, width), levels=map_levels, zero=map_levels // 2
    )
    counts = native.map_restore(residual[0], map_levels)
    rest = cursor.take(cursor.remaining)
    return coder.decode(rest, shape=shape, levels=levels, zero=zero, counts=counts), counts


def _with_map(coded: bytes, channels: int, counts: Symbols | None) -> bytes:
    """Coded symbols behind their importance map, where there is one."""
    if counts is None:
        return coded
    map_levels = _map_levels(channels)
    residual = native.map_residual(counts, map_levels)
    coded_map = _MAP_CODER.encode(residual[None], levels=map_levels, zero=map_levels // 2)
    return pack_varint(len(coded_map)) + coded_map + coded


def _map_levels(channels: int) -> int:
    """An importance map counts from 0 to the number of channels, in one byte."""
    if not 1 <= channels < native.MAX_LEVELS:
        raise ValueError(f"an importance map cannot count {channels} channels")
    return channels + 1
