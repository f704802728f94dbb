"""Bytes of files kept as they are: whether LZMA pays, ZIP's form of LZMA, bounded decoding."""

from __future__ import annotations

import io
import lzma
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

from edgecomp.errors import CorruptDataError
from edgecomp.ziprecords import LZMA, STORED, Entry

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# Files up to this size are packed whole, larger ones pass through in pieces.
SMALL_BYTES: Final = 1 << 22
PIECE_BYTES: Final = 1 << 20
# LZMA must save one part in fifty to be worth the time that reading it takes.
_GAIN: Final = 50
_PRESET: Final = 6
_PRESET_LARGE: Final = 4
_MIN_DICTIONARY: Final = 1 << 12
_MAX_DICTIONARY: Final = 1 << 22
# What a reader agrees to allocate; nothing that edgecomp writes comes near it.
_DICTIONARY_LIMIT: Final = 1 << 26

_HEADER: Final = struct.Struct("<BBHBI")
_SDK_VERSION: Final = (9, 4)
_PROPERTIES_BYTES: Final = 5
_LC, _LP, _PB = 3, 0, 2
_PROPERTIES: Final = (_PB * 5 + _LP) * 9 + _LC


@dataclass(frozen=True, slots=True)
class Packed:
    """A file as it goes into the archive: ZIP method, bytes, CRC32 and size of the original."""

    method: int
    data: bytes
    crc: int
    size: int


def pack(data: bytes) -> Packed:
    """Compress a file's bytes, or keep them where that saves less than 2 %."""
    packer = LzmaPacker(len(data), _PRESET)
    packed = packer.add(data) + packer.finish()
    crc = zlib.crc32(data)
    if saves(len(packed), len(data)):
        return Packed(LZMA, packed, crc, len(data))
    return Packed(STORED, data, crc, len(data))


def saves(packed: int, size: int) -> bool:
    """Whether ``packed`` bytes instead of ``size`` are worth it."""
    return packed * _GAIN <= size * (_GAIN - 1)


def is_worth_packing(file: BinaryIO, size: int) -> bool:
    """Judge a large file by its first piece and one from its middle; the position is kept."""
    position = file.tell()
    sample = file.read(PIECE_BYTES)
    file.seek(position + size // 2)
    sample += file.read(PIECE_BYTES)
    file.seek(position)
    packer = LzmaPacker(len(sample), _PRESET_LARGE)
    return saves(len(packer.add(sample) + packer.finish()), len(sample))


class LzmaPacker:
    """Compresses a stream to ZIP's form of LZMA.

    Args:
        size: of the data in bytes; a hint that keeps memory small for small files.
        preset: of liblzma, 0 to 9.
    """

    def __init__(self, size: int, preset: int = _PRESET_LARGE) -> None:
        dictionary = _MIN_DICTIONARY
        while dictionary < min(size, _MAX_DICTIONARY):
            dictionary *= 2
        self._header = _HEADER.pack(*_SDK_VERSION, _PROPERTIES_BYTES, _PROPERTIES, dictionary)
        filters = [_filter(dictionary, _LC, _LP, _PB) | {"preset": preset}]
        self._compressor = lzma.LZMACompressor(lzma.FORMAT_RAW, filters=filters)

    def add(self, data: bytes) -> bytes:
        """Compress some more; returns what is ready."""
        header, self._header = self._header, b""
        return header + self._compressor.compress(data)

    def finish(self) -> bytes:
        """The rest, with the end mark."""
        return self._header + self._compressor.flush()


def _filter(dictionary: int, lc: int, lp: int, pb: int) -> dict[str, Any]:
    return {"id": lzma.FILTER_LZMA1, "dict_size": dictionary, "lc": lc, "lp": lp, "pb": pb}


class MemberStream(io.RawIOBase):
    """The original bytes of a member, checked: the last read fails if anything was wrong.

    Args:
        read: ``read(offset, count)`` of the archive's bytes.
        start: where the member's data starts in the archive.
        entry: the member's sizes, method and CRC.
        shown: its name for messages.
    """

    def __init__(
        self, read: Callable[[int, int], bytes], start: int, entry: Entry, shown: str
    ) -> None:
        self._shown = shown
        self._entry = entry
        self._pieces = self._decoded(read, start)
        self._rest = b""
        self._crc = 0
        self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                self._check_end()
                return 0
            self._crc = zlib.crc32(piece, self._crc)
            self._size += len(piece)
            if self._size > self._entry.size:
                raise self._damaged("it is longer than the archive says")
            self._rest = piece
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def _check_end(self) -> None:
        if self._size != self._entry.size:
            raise self._damaged("it is shorter than the archive says")
        if self._crc != self._entry.crc:
            raise self._damaged("its checksum is wrong")

    def _decoded(self, read: Callable[[int, int], bytes], start: int) -> Iterator[bytes]:
        pieces = self._stored(read, start)
        if self._entry.method == STORED:
            return pieces
        return self._unpacked(pieces)

    def _stored(self, read: Callable[[int, int], bytes], start: int) -> Iterator[bytes]:
        end = start + self._entry.stored
        while start < end:
            piece = read(start, min(PIECE_BYTES, end - start))
            if not piece:
                raise self._damaged("it is cut short")
            start += len(piece)
            yield piece

    def _unpacked(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        data = next(pieces, b"")
        decoder = self._decoder(data[: _HEADER.size])
        data = data[_HEADER.size :]
        try:
            while not decoder.eof:
                if decoder.needs_input and not data:
                    data = next(pieces, b"")
                    if not data:
                        raise self._damaged("its compressed data are cut short")
                yield decoder.decompress(data, max_length=PIECE_BYTES)
                data = b""
        except lzma.LZMAError as error:
            raise self._damaged("its compressed data are wrong") from error
        if decoder.unused_data or next(pieces, None) is not None:
            raise self._damaged("other bytes follow its compressed data")

    def _decoder(self, header: bytes) -> lzma.LZMADecompressor:
        if len(header) < _HEADER.size:
            raise self._damaged("its compressed data are cut short")
        _, _, length, properties, dictionary = _HEADER.unpack(header)
        lc, lp, pb = properties % 9, properties // 9 % 5, properties // 45
        if length != _PROPERTIES_BYTES or lc + lp > 4 or pb > 4:
            raise self._damaged("its compression properties are wrong")
        # Nothing can refer further back than to the member's first byte.
        dictionary = min(dictionary, max(self._entry.size, _MIN_DICTIONARY))
        if dictionary > _DICTIONARY_LIMIT:
            raise self._damaged(f"it needs {dictionary >> 20} MiB of memory to decompress")
        filters = [_filter(max(dictionary, _MIN_DICTIONARY), lc, lp, pb)]
        return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)

    def _damaged(self, what: str) -> CorruptDataError:
        return CorruptDataError(f"is damaged: {what}", path=self._shown)


def drain(stream: BinaryIO | MemberStream) -> None:
    """Read a stream to its end, for its checks alone.

    Raises:
        CorruptDataError: what it reads is damaged.
    """
    while stream.read(PIECE_BYTES):
        pass


def buffered(stream: MemberStream) -> BinaryIO:
    """The stream with a buffer."""
    return cast(BinaryIO, io.BufferedReader(stream, 1 << 16))
