"""The head of a codestream: what is read before tiles and sections (docs/format.md, section 2.1).

It can be read without the payloads, which is enough to list an archive.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from edgecomp import constants as k
from edgecomp.errors import CorruptDataError, NotEdgecompError, UnsupportedVersionError
from edgecomp.varint import MAX_VARINT_BYTES, Cursor

CRC_BYTES: Final = 4
_START_BYTES: Final = len(k.CODESTREAM_MAGIC) + 1 + MAX_VARINT_BYTES
_SUFFIXES: Final = frozenset(k.SUFFIX_CODES)

# ``read(offset, count)`` gives up to ``count`` bytes of a codestream.
Reader = Callable[[int, int], bytes | memoryview]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a picture came from.

    Attributes:
        suffix: what completes the archive member's name, less ``.edge``, to the source's path.
        mtime_ns: modification time of the source, nanoseconds since the epoch (UTC).
        name_check: CRC32 of the source's relative path in UTF-8.
    """

    suffix: str
    mtime_ns: int
    name_check: int

    def __post_init__(self) -> None:
        if self.suffix not in _SUFFIXES and not 1 <= len(self.suffix.encode()) <= 127:
            raise ValueError(f"suffix too long: {self.suffix!r}")
        if not -(1 << 63) <= self.mtime_ns < 1 << 63:
            raise ValueError(f"modification time out of range: {self.mtime_ns}")
        if not 0 <= self.name_check < 1 << 32:
            raise ValueError(f"name check out of range: {self.name_check}")

    def pack(self) -> bytes:
        """The bytes of the origin fields."""
        fixed = self.mtime_ns.to_bytes(8, "little", signed=True)
        fixed += self.name_check.to_bytes(4, "little")
        if self.suffix in _SUFFIXES:
            return fixed + bytes([k.SUFFIX_CODES.index(self.suffix)])
        text = self.suffix.encode()
        return fixed + bytes([k.SUFFIX_LITERAL | len(text)]) + text

    @classmethod
    def unpack(cls, cursor: Cursor) -> Origin:
        """Read the origin fields.

        Raises:
            CorruptDataError: a field is cut short or out of range.
        """
        mtime_ns = cursor.int64()
        name_check = cursor.uint(4)
        code = cursor.uint(1)
        if code < len(k.SUFFIX_CODES):
            return cls(k.SUFFIX_CODES[code], mtime_ns, name_check)
        if code <= k.SUFFIX_LITERAL:
            raise CorruptDataError(f"the header has an unknown suffix code {code}")
        try:
            suffix = cursor.take(code - k.SUFFIX_LITERAL).decode()
        except UnicodeDecodeError:
            raise CorruptDataError("the suffix in the header is not UTF-8") from None
        return cls(suffix, mtime_ns, name_check)


@dataclass(frozen=True, slots=True)
class Heading:
    """What a codestream's header says about the picture; see ``codestream.Codestream``."""

    flags: int
    model_id: bytes
    coder_id: int
    gain: int
    symbol_hash: bytes
    width: int
    height: int
    origin: Origin | None

    @property
    def pixels(self) -> int:
        """Of the picture."""
        return self.width * self.height

    @property
    def grey(self) -> bool:
        """Whether the picture is restored with one colour channel."""
        return bool(self.flags & k.FLAG_GREY)


def is_codestream(data: bytes | memoryview) -> bool:
    """Whether the data starts as a codestream does (the rest may still be damaged)."""
    return bytes(data[: len(k.CODESTREAM_MAGIC)]) == k.CODESTREAM_MAGIC


def open_header(read: Reader) -> tuple[Cursor, int]:
    """Check magic, length, CRC and version, in this order.

    Args:
        read: where the codestream is.

    Returns:
        A cursor on the flags that ends where the header's CRC begins, and the header's length.

    Raises:
        NotEdgecompError: it is something else.
        CorruptDataError: the header is cut short or damaged.
        UnsupportedVersionError: a version from the future.
    """
    first = read(0, _START_BYTES)
    if not is_codestream(first):
        raise NotEdgecompError("not an edgecomp codestream")
    start = Cursor(first, "header")
    start.take(len(k.CODESTREAM_MAGIC))
    version = start.uint(1)
    length = start.varint()
    if not start.offset + CRC_BYTES <= length <= k.MAX_HEADER_BYTES:
        raise CorruptDataError("the length of the header is wrong")
    whole = memoryview(read(0, length))
    if len(whole) != length:
        raise CorruptDataError("the header is cut short")
    header = whole[: length - CRC_BYTES]
    if zlib.crc32(header) != int.from_bytes(whole[length - CRC_BYTES :], "little"):
        raise CorruptDataError("the header is damaged (checksum)")
    if version != k.CODESTREAM_VERSION:
        raise UnsupportedVersionError(
            f"codestream version {version}; this edgecomp reads version {k.CODESTREAM_VERSION}"
        )
    cursor = Cursor(header, "header")
    cursor.offset = start.offset
    return cursor, length


def read_fields(cursor: Cursor) -> Heading:
    """Read the fields from the flags to the origin.

    Raises:
        CorruptDataError: a field is cut short or out of range.
        UnsupportedVersionError: a mandatory flag from the future.
    """
    flags = cursor.uint(1)
    if flags & ~k.KNOWN_FLAGS:
        raise UnsupportedVersionError(
            f"unknown mandatory flags {flags & ~k.KNOWN_FLAGS:#04x}: made by a newer edgecomp"
        )
    cursor.take(1)  # optional flags: none is known, all may be ignored
    model_id = cursor.take(k.MODEL_ID_BYTES)
    coder_and_gain = cursor.uint(1)
    return Heading(
        flags=flags,
        model_id=model_id,
        coder_id=coder_and_gain & 0x0F,
        gain=coder_and_gain >> 4,
        symbol_hash=cursor.take(k.SYMBOL_HASH_BYTES),
        width=read_side(cursor, "width"),
        height=read_side(cursor, "height"),
        origin=Origin.unpack(cursor) if flags & k.FLAG_ORIGIN else None,
    )


def read_heading(read: Reader) -> Heading:
    """Check a header and read its first fields.

    Raises:
        NotEdgecompError, CorruptDataError, UnsupportedVersionError: see `open_header`.
    """
    return read_fields(open_header(read)[0])


def read_side(cursor: Cursor, what: str) -> int:
    """A side of the picture or of a tile, in pixels.

    Raises:
        CorruptDataError: it is out of range.
    """
    side = cursor.varint()
    if not 1 <= side <= k.MAX_SIDE:
        raise CorruptDataError(f"impossible {what}: {side}")
    return side
