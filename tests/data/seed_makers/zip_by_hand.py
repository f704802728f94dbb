"""Archives put together record by record, so that any field can lie (docs/format-archive.md)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from seed_makers.seed import MTIME

COMMENT = b"edgecomp archive 1"
FILE_MODE = 0o100644 << 16
FOLDER_MODE = 0o040755 << 16 | 0x10
UTF8 = 0x800
END_MARK = 0x2
LZMA = 14
_LIMIT32 = 0xFFFFFFFF
_DOS_TIME = 0x576EB1AA  # of MTIME


def extra_field(name: bytes, *, version: int = 1, kind: int = 0, mtime: int = MTIME) -> bytes:
    """edgecomp's extra field, its name check right."""
    body = struct.pack("<Bq", kind, mtime)
    check = zlib.crc32(name + body)
    return struct.pack("<HHB", 0x4345, 14, version) + body + struct.pack("<I", check)


@dataclass(frozen=True, slots=True)
class Part:
    """A member as its headers describe it, true or not; None is the truth."""

    name: bytes
    data: bytes
    extra: bytes
    method: int = 0
    flags: int = UTF8
    crc: int | None = None
    stored: int | None = None
    size: int | None = None
    mode: int = FILE_MODE

    def _sizes(self) -> tuple[int, int, int]:
        crc = zlib.crc32(self.data) if self.crc is None else self.crc
        stored = len(self.data) if self.stored is None else self.stored
        return crc, stored, stored if self.size is None else self.size

    def _needed(self, wide: bool) -> int:
        return 63 if self.method == LZMA else 45 if wide else 20

    def local(self) -> bytes:
        """The local header."""
        crc, stored, size = self._sizes()
        extra = self.extra
        wide = max(stored, size) >= _LIMIT32
        if wide:
            extra = struct.pack("<HH2Q", 1, 16, size, stored) + extra
            stored = size = _LIMIT32
        header = struct.pack(
            "<4s3HI3I2H", b"PK\3\4", self._needed(wide), self.flags, self.method, _DOS_TIME,
            crc, stored, size, len(self.name), len(extra),
        )  # fmt: skip
        return header + self.name + extra

    def whole(self) -> bytes:
        """The local header and the data."""
        return self.local() + self.data

    def record(self, offset: int) -> bytes:
        """The directory record."""
        crc, stored, size = self._sizes()
        wide, shown = b"", []
        for value in (size, stored, offset):
            wide += struct.pack("<Q", value) if value >= _LIMIT32 else b""
            shown.append(min(value, _LIMIT32))
        extra = (struct.pack("<HH", 1, len(wide)) + wide if wide else b"") + self.extra
        header = struct.pack(
            "<4s4HI3I5H2I", b"PK\1\2", 0x033F, self._needed(bool(wide)), self.flags, self.method,
            _DOS_TIME, crc, shown[1], shown[0], len(self.name), len(extra), 0, 0, 0, self.mode,
            shown[2],
        )  # fmt: skip
        return header + self.name + extra


def kept(name: str | bytes, data: bytes = b"content\n", *, kind: int = 0) -> Part:
    """A file as it is, described truly; `dataclasses.replace` makes it lie."""
    encoded = name.encode() if isinstance(name, str) else name
    return Part(encoded, data, extra_field(encoded, kind=kind))


def compressed(name: str, packed: bytes, size: int, crc: int) -> Part:
    """A file in ZIP's form of LZMA."""
    part = kept(name, packed)
    return replace(part, method=LZMA, flags=UTF8 | END_MARK, size=size, crc=crc)


def picture_member(name: str, codestream: bytes) -> Part:
    """A picture's codestream."""
    return Part(name.encode(), codestream, b"")


def end(count: int, size: int, offset: int, comment: bytes = COMMENT) -> bytes:
    """The end record; numbers that are too large for it are cut off."""
    count, size, offset = count & 0xFFFF, size & _LIMIT32, offset & _LIMIT32
    fields = (b"PK\5\6", 0, 0, count, count, size, offset, len(comment))
    return struct.pack("<4s4H2IH", *fields) + comment


def end64(count: int, size: int, offset: int, place: int) -> bytes:
    """ZIP64's end record, at ``place``, and its locator."""
    record = struct.pack(
        "<4sQ2H2I4Q", b"PK\6\6", 44, 0x033F, 45, 0, 0, count, count, size, offset
    )  # fmt: skip
    return record + struct.pack("<4sIQI", b"PK\6\7", 0, place, 1)


@dataclass(frozen=True, slots=True)
class Archive:
    """Members, directory and where they are; `data` puts an honest end behind them."""

    body: bytes
    offsets: tuple[int, ...]
    records: tuple[bytes, ...]

    @property
    def directory(self) -> bytes:
        return b"".join(self.records)

    @property
    def without_end(self) -> bytes:
        return self.body + self.directory

    def data(self, comment: bytes = COMMENT) -> bytes:
        """The whole file."""
        last = end(len(self.records), len(self.directory), len(self.body), comment)
        return self.without_end + last


def lay_out(parts: Sequence[Part], *, gap: bytes = b"") -> Archive:
    """Members one after another, and a record for each."""
    body, offsets = b"", []
    for part in parts:
        offsets.append(len(body))
        body += part.whole() + gap
    records = tuple(part.record(at) for part, at in zip(parts, offsets, strict=True))
    return Archive(body, tuple(offsets), records)


def pointing(parts: Sequence[Part], offsets: dict[int, int]) -> bytes:
    """An archive in whose directory some members (by index) stand at other offsets."""
    made = lay_out(parts)
    places = [offsets.get(index, at) for index, at in enumerate(made.offsets)]
    records = tuple(part.record(at) for part, at in zip(parts, places, strict=True))
    return replace(made, records=records).data()
