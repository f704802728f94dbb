"""Symbol volumes to bytes and back, by coders that meet one interface."""

from __future__ import annotations

from edgecomp.entropy.coder import SymbolCoder
from edgecomp.entropy.lzma_coder import LzmaCoder
from edgecomp.entropy.tile import decode_tile, encode_tile
from edgecomp.errors import UnsupportedVersionError

__all__ = [
    "CODER_NAMES",
    "SymbolCoder",
    "coder_by_id",
    "coder_by_name",
    "decode_tile",
    "encode_tile",
]

_CODERS: tuple[SymbolCoder, ...] = (LzmaCoder(),)

CODER_NAMES: tuple[str, ...] = tuple(coder.name for coder in _CODERS)


def coder_by_name(name: str) -> SymbolCoder:
    """The coder that a user names.

    Raises:
        ValueError: there is none of that name.
    """
    for coder in _CODERS:
        if coder.name == name:
            return coder
    raise ValueError(f"unknown coder {name!r}; known: {', '.join(CODER_NAMES)}")


def coder_by_id(coder_id: int) -> SymbolCoder:
    """The coder that a file names.

    Raises:
        UnsupportedVersionError: this version has no such coder.
    """
    for coder in _CODERS:
        if coder.coder_id == coder_id:
            return coder
    raise UnsupportedVersionError(
        f"the symbols are coded by coder {coder_id}, which this version does not have"
    )
