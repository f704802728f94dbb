"""Symbol volumes to bytes and back, by coders that meet one interface."""

from __future__ import annotations

from edgecomp import native
from edgecomp.constants import CODER_NAMES
from edgecomp.entropy.coder import SymbolCoder
from edgecomp.entropy.context_coder import ContextCoder
from edgecomp.entropy.lzma_coder import LzmaCoder
from edgecomp.entropy.tile import choose_tile, decode_tile, encode_tile
from edgecomp.errors import UnsupportedVersionError

__all__ = [
    "CODER_NAMES",
    "ContextCoder",
    "LzmaCoder",
    "SymbolCoder",
    "choose_tile",
    "coder_by_name",
    "coder_name",
    "decode_tile",
    "encode_tile",
]


def coder_by_name(
    name: str, parameters: native.ContextParameters | None = None
) -> ContextCoder | LzmaCoder:
    """The coder that a user names.

    Args:
        name: one of ``CODER_NAMES``.
        parameters: a model's, for ``context``; not looked at by ``lzma``.

    Raises:
        ValueError: there is none of that name, or its parameters are not given.
    """
    if name == LzmaCoder.name:
        return LzmaCoder()
    if name != ContextCoder.name:
        raise ValueError(f"unknown coder {name!r}; known: {', '.join(CODER_NAMES)}")
    if parameters is None:
        raise ValueError(f"the coder {name} needs the parameters of a model")
    return ContextCoder(parameters)


def coder_name(coder_id: int) -> str:
    """The name of the coder that a file names by its number.

    Raises:
        UnsupportedVersionError: this version has no such coder.
    """
    if not 1 <= coder_id <= len(CODER_NAMES):
        raise UnsupportedVersionError(
            f"the symbols are coded by coder {coder_id}, which this version does not have"
        )
    return CODER_NAMES[coder_id - 1]
