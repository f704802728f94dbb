"""The archive for writing: members one after another, then the directory."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import BinaryIO, Final

from edgecomp import ziprecords as z
from edgecomp.archive import ArchiveReader, Member
from edgecomp.constants import ARCHIVE_COMMENT, CODESTREAM_SUFFIX
from edgecomp.verbatim import (
    PIECE_BYTES,
    SMALL_BYTES,
    LzmaPacker,
    Packed,
    is_worth_packing,
    pack,
)

_KINDS: Final = {"file": z.KIND_FILE, "verbatim-picture": z.KIND_VERBATIM_PICTURE}
# LZMA may make data that it cannot compress a little longer: ZIP64 well before 4 GiB.
_WIDE_BYTES: Final = 0xF0000000


class ArchiveWriter:
    """Writes an archive. The same members in the same order give the same bytes.

    Args:
        file: an empty file, open for writing and able to seek.

    Attributes:
        picture_bytes, other_bytes: written so far for coded pictures and for everything else,
            local headers and directory records counted.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._place = 0
        self._directory: list[bytes] = []
        self.picture_bytes = 0
        self.other_bytes = 0

    def add_picture(self, name: str, codestream: bytes, mtime_ns: int) -> None:
        """Add a picture.

        Args:
            name: of the member (``names.member_names``), ending in ".edge".
            codestream: with an origin that fits the name.
            mtime_ns: of the source, nanoseconds since the epoch.
        """
        if not name.endswith(CODESTREAM_SUFFIX):
            raise ValueError(f"a picture's member must end in {CODESTREAM_SUFFIX}: {name!r}")
        size = len(codestream)
        entry = z.Entry.new(name, mtime_ns, crc=zlib.crc32(codestream), stored=size, size=size)
        self._write(entry, codestream, picture=True)

    def add_packed(self, source: str, packed: Packed, mtime_ns: int, kind: str = "file") -> None:
        """Add a file that `verbatim.pack` has packed; ``kind`` is "file" or "verbatim-picture"."""
        entry = z.Entry.new(
            source,
            mtime_ns,
            method=packed.method,
            crc=packed.crc,
            stored=len(packed.data),
            size=packed.size,
            extra=z.Extra(_KINDS[kind], mtime_ns),
        )
        self._write(entry, packed.data)

    def add_file(
        self,
        source: str,
        file: BinaryIO,
        size: int,
        mtime_ns: int,
        kind: str = "file",
        *,
        check: Callable[[], None] = lambda: None,
    ) -> int:
        """Add a file from a stream; large ones pass through in pieces.

        Args:
            source: the path in the archive.
            file: open for reading, able to seek.
            size: read at most so many bytes (the file may be growing).
            mtime_ns: nanoseconds since the epoch.
            kind: "file" or "verbatim-picture".
            check: called when all is read; raises OSError if it was not what it should be.

        Returns:
            The number of bytes that were read.

        Raises:
            OSError: ``file`` cannot be read, or ``check`` says so; the member is then not in the
                archive.
        """
        if size <= SMALL_BYTES:
            data = file.read(size)
            check()
            self.add_packed(source, pack(data), mtime_ns, kind)
            return len(data)
        packer = LzmaPacker(size) if is_worth_packing(file, size) else None
        extra = z.Extra(_KINDS[kind], mtime_ns)
        method = z.STORED if packer is None else z.LZMA
        wide = size >= _WIDE_BYTES
        # Sizes and CRC are known afterwards; the header is then written once more. Until then its
        # CRC is none that an empty file can have, so that what an interrupted run leaves shows.
        start = self._place
        unfinished = z.Entry.new(source, mtime_ns, method=method, crc=z.LIMIT32, extra=extra)
        self._put(unfinished.pack_local(wide=wide))
        data_start = self._place
        crc = read = 0
        try:
            while read < size and (piece := file.read(min(PIECE_BYTES, size - read))):
                crc = zlib.crc32(piece, crc)
                read += len(piece)
                self._put(piece if packer is None else packer.add(piece))
            check()
        except OSError:
            # The source fails in the middle: what there is of it is written over.
            self._place = self._file.seek(start)
            raise
        if packer is not None:
            self._put(packer.finish())
        stored = self._place - data_start
        entry = z.Entry.new(
            source, mtime_ns, method=method, crc=crc, stored=stored, size=read, extra=extra
        )
        self._file.seek(start)
        self._file.write(entry.pack_local(wide=wide))
        self._file.seek(self._place)
        self._record(entry, start, picture=False)
        return read

    def add_folder(self, source: str, mtime_ns: int) -> None:
        """Add an empty folder; ``source`` without a slash at its end."""
        extra = z.Extra(z.KIND_FILE, mtime_ns)
        self._write(z.Entry.new(source + "/", mtime_ns, extra=extra), b"")

    def copy_from(self, reader: ArchiveReader, member: Member) -> None:
        """Copy a member of another archive as it stands, once its checksum has proved right.

        Raises:
            CorruptDataError: it is damaged; nothing was written.
        """
        entry, wide, pieces = reader.raw(member)
        start = self._place
        self._put(entry.pack_local(wide=wide or max(entry.size, entry.stored) >= z.LIMIT32))
        for piece in pieces:
            self._put(piece)
        self._record(entry, start, picture=member.kind == "picture")

    def finish(self) -> int:
        """Write the directory and the end record.

        Returns:
            The archive's size in bytes.
        """
        offset = self._place
        for record in self._directory:
            self._put(record)
        end = z.End(len(self._directory), self._place - offset, offset, ARCHIVE_COMMENT)
        self._put(end.pack())
        self._file.truncate()
        self._file.flush()
        return self._place

    def _write(self, entry: z.Entry, data: bytes, *, picture: bool = False) -> None:
        start = self._place
        self._put(entry.pack_local(wide=max(entry.size, entry.stored) >= z.LIMIT32))
        self._put(data)
        self._record(entry, start, picture=picture)

    def _record(self, entry: z.Entry, start: int, *, picture: bool) -> None:
        record = entry.pack_central(start)
        self._directory.append(record)
        written = self._place - start + len(record)
        if picture:
            self.picture_bytes += written
        else:
            self.other_bytes += written

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._place += len(data)
