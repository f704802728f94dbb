"""The coder ``lzma``: native packing, then raw LZMA2 with no container around it.

Coded data is one method byte and a body (docs/format-symbols.md, section 4):

====== ==============================================
method body
====== ==============================================
0      the packed volume as it is
1      the packed volume as an LZMA2 stream
====== ==============================================
"""

from __future__ import annotations

import lzma
from typing import Any, Final

from edgecomp import native
from edgecomp.entropy.coder import Symbols
from edgecomp.errors import CorruptDataError
from edgecomp.lzma2 import expand

METHOD_STORED: Final = 0
METHOD_LZMA2: Final = 1

# The decoder's dictionary; no encoder may use a larger one. It is a constant of the format, never
# read from a file.
DICTIONARY_BYTES: Final = 1 << 23

# Measured on the packed latents of the 24 Kodak pictures (benchmarks/packing_orders.py): lc = 0 is
# 1.2 % smaller than the usual lc = 3, because what the byte before would tell is already in the
# order; lp and pb above 0 cost up to 1 %. Preset 0 with EXTREME (the thorough match finder) comes
# to the bytes of 9e within 0.1 %, at a fifth of its time and a small part of its memory; presets 0
# to 3 without EXTREME are 5 % larger, 4 to 9 are in between.
_ENCODE_FILTERS: Final[list[dict[str, Any]]] = [
    {
        "id": lzma.FILTER_LZMA2,
        "preset": 0 | lzma.PRESET_EXTREME,
        "dict_size": 1 << 20,
        "lc": 0,
        "lp": 0,
        "pb": 0,
    }
]


class LzmaCoder:
    """Coder 1. See :class:`edgecomp.entropy.SymbolCoder` for the contract."""

    name: Final = "lzma"
    coder_id: Final = 1

    def encode(
        self,
        symbols: Symbols,
        *,
        levels: int,
        zero: int,
        counts: Symbols | None = None,
    ) -> bytes:
        """Code a volume; never more than one byte larger than its packed form."""
        packed = native.pack(symbols, levels=levels, zero=zero, counts=counts)
        squeezed = lzma.compress(packed, format=lzma.FORMAT_RAW, filters=_ENCODE_FILTERS)
        if len(squeezed) < len(packed):
            return bytes([METHOD_LZMA2]) + squeezed
        return bytes([METHOD_STORED]) + packed

    def decode(
        self,
        data: bytes | memoryview,
        *,
        shape: tuple[int, int, int],
        levels: int,
        zero: int,
        counts: Symbols | None = None,
    ) -> Symbols:
        """Restore a volume; ``CorruptDataError`` for anything that is none."""
        bound = native.pack_bound(shape, levels)
        view = memoryview(data)
        if not view:
            raise CorruptDataError("coded symbols are missing")
        method, body = view[0], view[1:]
        if method == METHOD_LZMA2:
            packed: bytes | memoryview = expand(
                body,
                limit=bound,
                dict_size=DICTIONARY_BYTES,
                what="the coded symbols' LZMA2 stream",
            )
        elif method == METHOD_STORED and len(body) <= bound:
            packed = body
        else:
            raise CorruptDataError("coded symbols begin with an unknown method or are too long")
        return native.unpack(packed, shape=shape, levels=levels, zero=zero, counts=counts)
