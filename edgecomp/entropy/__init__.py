"""Symbol volumes to bytes and back, by coders that meet one interface."""

from __future__ import annotations

from edgecomp import constants
from edgecomp.entropy.coder import SymbolCoder
from edgecomp.entropy.lzma_coder import LzmaCoder
from edgecomp.entropy.tile import decode_tile, encode_tile
from edgecomp.errors import UnsupportedVersionError

__all__ = [
    "CODER_NAMES",
    "LzmaCoder",
    "SymbolCoder",
    "coder_by_name",
    "coder_name",
    "decode_tile",
    "encode_tile",
]

# Those that this version has.
CODER_NAMES: tuple[str, ...] = (LzmaCoder.name,)


def coder_by_name(name: str) -> SymbolCoder:
    """The coder that a user names.

    Raises:
        ValueError: there is none of that name.
        UnsupportedVersionError: there is one, but this version lacks it.
    """
    if name == LzmaCoder.name:
        return LzmaCoder()
    if name in constants.CODER_NAMES:
        raise UnsupportedVersionError(f"this version does not have the coder {name}")
    raise ValueError(f"unknown coder {name!r}; known: {', '.join(CODER_NAMES)}")


def coder_name(coder_id: int) -> str:
    """The name of the coder that a file names by its number.

    Raises:
        UnsupportedVersionError: this version knows no such coder.
    """
    if not 1 <= coder_id <= len(constants.CODER_NAMES):
        raise UnsupportedVersionError(
            f"the symbols are coded by coder {coder_id}, which this version does not have"
        )
    return constants.CODER_NAMES[coder_id - 1]
