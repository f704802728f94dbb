"""The first fields of a codestream, read without its payloads: enough to list an archive."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from edgecomp import constants as k
from edgecomp.codestream import Origin, is_codestream
from edgecomp.errors import CorruptDataError, UnsupportedVersionError
from edgecomp.varint import Cursor

# Of magic, version and header length.
_START_BYTES: Final = 13
_CRC_BYTES: Final = 4
# Room for the largest tile and section tables.
_MAX_HEADER_BYTES: Final = 1 << 21


@dataclass(frozen=True, slots=True)
class Heading:
    """What a codestream's header says about the picture; see ``codestream.Codestream``."""

    model_id: bytes
    coder_id: int
    width: int
    height: int
    origin: Origin | None

    @property
    def pixels(self) -> int:
        """Of the picture."""
        return self.width * self.height


def read_heading(read: Callable[[int, int], bytes]) -> Heading:
    """Read the fields, after the header's CRC was checked.

    Args:
        read: ``read(offset, count)`` gives up to ``count`` bytes of the codestream.

    Raises:
        CorruptDataError: it is no codestream, or its header is damaged.
        UnsupportedVersionError: made by a newer edgecomp.
    """
    first = read(0, _START_BYTES)
    if not is_codestream(first):
        raise CorruptDataError("it is no codestream")
    start = Cursor(first, "header")
    start.take(len(k.CODESTREAM_MAGIC))
    version = start.uint(1)
    length = start.varint()
    if not start.offset + _CRC_BYTES <= length <= _MAX_HEADER_BYTES:
        raise CorruptDataError("the length of its header is wrong")
    header = read(0, length)
    crc = int.from_bytes(header[length - _CRC_BYTES :], "little")
    if len(header) != length or zlib.crc32(header[: length - _CRC_BYTES]) != crc:
        raise CorruptDataError("its header is damaged (checksum)")
    if version != k.CODESTREAM_VERSION:
        raise UnsupportedVersionError(f"codestream version {version}")
    cursor = Cursor(header[: length - _CRC_BYTES], "header")
    cursor.offset = start.offset
    flags = cursor.uint(1)
    if flags & ~k.KNOWN_FLAGS:
        raise UnsupportedVersionError("unknown mandatory flags: made by a newer edgecomp")
    cursor.take(1)
    model_id = cursor.take(k.MODEL_ID_BYTES)
    coder_id = cursor.uint(1) & 0x0F
    cursor.take(k.SYMBOL_HASH_BYTES)
    width, height = cursor.varint(), cursor.varint()
    origin = Origin.unpack(cursor) if flags & k.FLAG_ORIGIN else None
    return Heading(model_id, coder_id, width, height, origin)
