"""The records of a ZIP file that an archive is made of (docs/format-archive.md, section 2).

Only what edgecomp writes is understood: stored and LZMA members, no encryption, no data
descriptors. Functions here look at bytes that the caller has read; they open nothing.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from edgecomp.constants import ARCHIVE_COMMENT, EXTRA_ID
from edgecomp.errors import CorruptDataError

STORED: Final = 0
LZMA: Final = 14
KIND_FILE: Final = 0
KIND_VERBATIM_PICTURE: Final = 1

LOCAL_SIGNATURE: Final = b"PK\x03\x04"
CENTRAL_SIGNATURE: Final = b"PK\x01\x02"
END_SIGNATURE: Final = b"PK\x05\x06"
_END64_SIGNATURE: Final = b"PK\x06\x06"
_LOCATOR_SIGNATURE: Final = b"PK\x06\x07"

_LOCAL: Final = struct.Struct("<4s5H3I2H")
_CENTRAL: Final = struct.Struct("<4s6H3I5H2I")
_END: Final = struct.Struct("<4s4H2IH")
_END64: Final = struct.Struct("<4sQ2H2I4Q")
_LOCATOR: Final = struct.Struct("<4sIQI")
_EXTRA: Final = struct.Struct("<BBqI")
LOCAL_BYTES: Final = _LOCAL.size
CENTRAL_BYTES: Final = _CENTRAL.size
END_BYTES: Final = _END.size
# ZIP64's end record and locator stand directly before the end record.
END64_BYTES: Final = _END64.size + _LOCATOR.size

_FLAG_UTF8: Final = 0x800
_FLAG_LZMA_END_MARK: Final = 0x002
_ZIP64_ID: Final = 1
_ZIP64_LOCAL: Final = struct.Struct("<HH2Q")
LIMIT32: Final = 0xFFFFFFFF
LIMIT16: Final = 0xFFFF
_MADE_BY: Final = 3 << 8 | 63  # Unix, so that the mode in the external attributes counts
_FILE_MODE: Final = 0o100644 << 16
_FOLDER_MODE: Final = 0o040755 << 16 | 0x10
_EXTRA_VERSION: Final = 1
_MAX_NAME_BYTES: Final = LIMIT16


@dataclass(frozen=True, slots=True)
class Extra:
    """What a file, verbatim picture or empty folder has in edgecomp's extra field.

    Attributes:
        kind: KIND_FILE (also for folders) or KIND_VERBATIM_PICTURE.
        mtime_ns: modification time, nanoseconds since the epoch (UTC).
    """

    kind: int
    mtime_ns: int

    def pack(self, name: bytes) -> bytes:
        """The extra field with its header, bound to the member's name by a CRC."""
        body = struct.pack("<BB", _EXTRA_VERSION, self.kind) + struct.pack("<q", self.mtime_ns)
        body += struct.pack("<I", zlib.crc32(name + body[1:]))
        return struct.pack("<HH", EXTRA_ID, len(body)) + body

    @classmethod
    def unpack(cls, extra: bytes, name: bytes) -> Extra | None:
        """Find and check the field among a member's extra fields; None if it is not there.

        Raises:
            CorruptDataError: it is there, but damaged or from the future.
        """
        offset = 0
        while offset + 4 <= len(extra):
            field_id, length = struct.unpack_from("<HH", extra, offset)
            body = extra[offset + 4 : offset + 4 + length]
            offset += 4 + length
            if field_id != EXTRA_ID:
                continue
            if len(body) != _EXTRA.size:
                raise CorruptDataError("its extra field has the wrong length")
            version, kind, mtime_ns, check = _EXTRA.unpack(body)
            if version != _EXTRA_VERSION or kind not in (KIND_FILE, KIND_VERBATIM_PICTURE):
                raise CorruptDataError("its extra field is damaged or of a newer version")
            if check != zlib.crc32(name + body[1:10]):
                raise CorruptDataError("its name or time is damaged (name check)")
            return cls(kind, mtime_ns)
        return None


@dataclass(frozen=True, slots=True)
class Entry:
    """One member as its local header or its directory record describes it.

    Attributes:
        name: bytes of the name.
        method: STORED or LZMA.
        flags: general purpose flags.
        dos_time: date and time as ZIP has it, date in the high half.
        crc: CRC32 of the data before compression.
        stored: bytes in the archive.
        size: bytes before compression.
        extra: extra fields as found, without ZIP64's.
    """

    name: bytes
    method: int
    flags: int
    dos_time: int
    crc: int
    stored: int
    size: int
    extra: bytes

    @classmethod
    def new(
        cls,
        name: str,
        mtime_ns: int,
        *,
        method: int = STORED,
        crc: int = 0,
        stored: int = 0,
        size: int = 0,
        extra: Extra | None = None,
    ) -> Entry:
        """A member to be written.

        Raises:
            CorruptDataError: the name is longer than ZIP can have it.
        """
        encoded = name.encode()
        if len(encoded) > _MAX_NAME_BYTES:
            raise CorruptDataError("the name is too long for a ZIP file", path=name)
        return cls(
            name=encoded,
            method=method,
            flags=_FLAG_UTF8 | (_FLAG_LZMA_END_MARK if method == LZMA else 0),
            dos_time=_dos_time(mtime_ns),
            crc=crc,
            stored=stored,
            size=size,
            extra=b"" if extra is None else extra.pack(encoded),
        )

    @property
    def is_folder(self) -> bool:
        """Whether it stands for a folder."""
        return self.name.endswith(b"/")

    @property
    def is_unfinished(self) -> bool:
        """Whether it stands before data whose size was not known yet when the writer stopped."""
        return self.size == 0 and self.crc == LIMIT32

    def problem(self) -> str | None:
        """Why the member cannot be one that edgecomp wrote, or None."""
        if self.flags & ~(_FLAG_UTF8 | _FLAG_LZMA_END_MARK):
            return "it is encrypted or uses an unknown ZIP feature"
        if self.method not in (STORED, LZMA):
            return f"unknown compression method {self.method}"
        if self.method == STORED and self.stored != self.size:
            return "its stored and original sizes differ"
        if self.is_unfinished:
            return "it was not finished"
        return None

    @property
    def local_length(self) -> int:
        """Bytes of the local header that edgecomp writes for it, the sizes being known."""
        wide = _ZIP64_LOCAL.size if max(self.size, self.stored) >= LIMIT32 else 0
        return LOCAL_BYTES + len(self.name) + len(self.extra) + wide

    def pack_local(self, *, wide: bool = False) -> bytes:
        """The local header; ``wide`` makes room for sizes over 4 GiB that are not known yet."""
        extra, stored, size = self.extra, self.stored, self.size
        if wide:
            extra = _ZIP64_LOCAL.pack(_ZIP64_ID, 16, size, stored) + extra
            stored = size = LIMIT32
        header = _LOCAL.pack(
            LOCAL_SIGNATURE, self._needed(wide), self.flags, self.method, self.dos_time & LIMIT16,
            self.dos_time >> 16, self.crc, stored, size, len(self.name), len(extra),
        )  # fmt: skip
        return header + self.name + extra

    def pack_central(self, offset: int) -> bytes:
        """The directory record of a member whose local header is at ``offset``."""
        wide = b""
        shown = []
        for value in (self.size, self.stored, offset):
            if value >= LIMIT32:
                wide += struct.pack("<Q", value)
            shown.append(min(value, LIMIT32))
        extra = self.extra
        if wide:
            extra = struct.pack("<HH", _ZIP64_ID, len(wide)) + wide + extra
        header = _CENTRAL.pack(
            CENTRAL_SIGNATURE, _MADE_BY, self._needed(bool(wide)), self.flags, self.method,
            self.dos_time & LIMIT16, self.dos_time >> 16, self.crc, shown[1], shown[0],
            len(self.name), len(extra), 0, 0, 0,
            _FOLDER_MODE if self.is_folder else _FILE_MODE, shown[2],
        )  # fmt: skip
        return header + self.name + extra

    def _needed(self, wide: bool) -> int:
        return 63 if self.method == LZMA else 45 if wide else 20


def local_length(head: bytes) -> int | None:
    """Length of the local header at the start of ``head``; None if there is none."""
    if len(head) < LOCAL_BYTES or head[:4] != LOCAL_SIGNATURE:
        return None
    name_length, extra_length = struct.unpack_from("<2H", head, 26)
    return int(LOCAL_BYTES + name_length + extra_length)


def parse_local(header: bytes) -> Entry | None:
    """Take a whole local header apart; None if it is none or is cut short."""
    length = local_length(header)
    if length is None or len(header) < length:
        return None
    (_, _, flags, method, time, date, crc, stored, size, name_length, _) = _LOCAL.unpack_from(
        header
    )
    end_of_name = LOCAL_BYTES + name_length
    name, extra = header[LOCAL_BYTES:end_of_name], header[end_of_name:length]
    wide = [size, stored]
    extra = _widen(extra, wide)
    return Entry(name, method, flags, date << 16 | time, crc, wide[1], wide[0], extra)


def parse_central(directory: bytes, position: int) -> tuple[Entry, int, int] | None:
    """Take a directory record apart.

    Returns:
        The member, the offset of its local header and the position of the next record; None if
        there is no whole record at ``position``.
    """
    if len(directory) - position < CENTRAL_BYTES:
        return None
    (
        signature, _, _, flags, method, time, date, crc, stored, size,
        name_length, extra_length, comment_length, _, _, _, offset,
    ) = _CENTRAL.unpack_from(directory, position)  # fmt: skip
    start = position + CENTRAL_BYTES
    end = start + name_length + extra_length + comment_length
    if signature != CENTRAL_SIGNATURE or end > len(directory):
        return None
    name = directory[start : start + name_length]
    wide = [size, stored, offset]
    extra = _widen(directory[start + name_length : start + name_length + extra_length], wide)
    entry = Entry(name, method, flags, date << 16 | time, crc, wide[1], wide[0], extra)
    return entry, wide[2], end


def _widen(extra: bytes, values: list[int]) -> bytes:
    """Replace 32-bit placeholders in ``values`` by ZIP64's; the other extra fields are returned."""
    rest = []
    offset = 0
    while offset + 4 <= len(extra):
        field_id, length = struct.unpack_from("<HH", extra, offset)
        field = extra[offset : offset + 4 + length]
        offset += 4 + length
        if field_id != _ZIP64_ID:
            rest.append(field)
            continue
        position = 4
        for index, value in enumerate(values):
            if value == LIMIT32 and position + 8 <= len(field):
                (values[index],) = struct.unpack_from("<Q", field, position)
                position += 8
    return b"".join([*rest, extra[offset:]])


@dataclass(frozen=True, slots=True)
class End:
    """The end record: where the directory is.

    Attributes:
        count: of directory records.
        size: of the directory in bytes.
        offset: of the directory.
        comment: the archive's comment.
    """

    count: int
    size: int
    offset: int
    comment: bytes

    def pack(self) -> bytes:
        """ZIP64's records where they are needed, then the end record and the comment."""
        out = b""
        if self.count >= LIMIT16 or self.size >= LIMIT32 or self.offset >= LIMIT32:
            out = _END64.pack(
                _END64_SIGNATURE, _END64.size - 12, _MADE_BY, 45, 0, 0, self.count, self.count,
                self.size, self.offset,
            ) + _LOCATOR.pack(_LOCATOR_SIGNATURE, 0, self.offset + self.size, 1)  # fmt: skip
        count = min(self.count, LIMIT16)
        out += _END.pack(
            END_SIGNATURE, 0, 0, count, count, min(self.size, LIMIT32),
            min(self.offset, LIMIT32), len(self.comment),
        )  # fmt: skip
        return out + self.comment


def find_end(tail: bytes) -> int | None:
    """Position of the end record in a file's last bytes, None if the file does not end with one."""
    position = tail.rfind(END_SIGNATURE, 0, max(0, len(tail) - END_BYTES + 4))
    while position >= 0:
        (length,) = struct.unpack_from("<H", tail, position + END_BYTES - 2)
        if position + END_BYTES + length == len(tail):
            return position
        position = tail.rfind(END_SIGNATURE, 0, position + 3)
    if tail.endswith(ARCHIVE_COMMENT) and len(tail) >= END_BYTES + len(ARCHIVE_COMMENT):
        # The comment is ours, so the file is whole and its end record is damaged.
        return len(tail) - END_BYTES - len(ARCHIVE_COMMENT)
    return None


def parse_end(tail: bytes, position: int) -> End:
    """The end record at ``position``, with ZIP64's numbers where they stand before it."""
    (_, _, _, _, count, size, offset, _) = _END.unpack_from(tail, position)
    start64 = position - END64_BYTES
    if end64_bytes(tail, position):
        fields = _END64.unpack_from(tail, start64)
        count, size, offset = fields[7], fields[8], fields[9]
    return End(count, size, offset, tail[position + END_BYTES :])


def end64_bytes(tail: bytes, position: int) -> int:
    """Bytes that ZIP64's records take directly before the end record: END64_BYTES or 0."""
    start64 = position - END64_BYTES
    locator = position - _LOCATOR.size
    if start64 < 0 or tail[start64 : start64 + 4] != _END64_SIGNATURE:
        return 0
    return END64_BYTES if tail[locator : locator + 4] == _LOCATOR_SIGNATURE else 0


def _dos_time(mtime_ns: int) -> int:
    """Date and time as ZIP has them, in UTC, clipped to the years 1980 to 2107."""
    # Python's own range of years is wider than ZIP's, but narrower than that of 64-bit numbers.
    seconds = min(max(mtime_ns // 1_000_000_000, 315_532_800), 4_354_819_198)
    moment = datetime.fromtimestamp(seconds, tz=UTC)
    date = (moment.year - 1980) << 9 | moment.month << 5 | moment.day
    return date << 16 | moment.hour << 11 | moment.minute << 5 | moment.second // 2
