"""Members among the bytes of a damaged archive that no other member leads to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from edgecomp import ziprecords as z
from edgecomp.archive_directory import Directory
from edgecomp.archive_views import view_of
from edgecomp.byte_source import ByteSource
from edgecomp.names import MAX_PATH_BYTES

_CHUNK: Final = 1 << 20
# edgecomp's extra field and ZIP64's, with room; other programs' members are not searched for.
_MAX_EXTRA_BYTES: Final = 64
_MAX_HEADER: Final = z.LOCAL_BYTES + MAX_PATH_BYTES + _MAX_EXTRA_BYTES
# A searched archive is read a few times over at most, and so many headers are tried, however many
# false ones it has.
_PASSES: Final = 4
_ALLOWANCE: Final = 1 << 24
_MAX_TRIED: Final = 100_000
# Signature, version needed (20, 45, 63), flags (names are UTF-8, LZMA has an end mark), method.
_HEADER: Final = re.compile(rb"PK\x03\x04[\x14\x2d\x3f]\x00[\x00\x02]\x08[\x00\x0e]\x00")
_HEADER_BYTES: Final = 10


class Search:
    """Finds local headers by their signature and proves each by its name check.

    Args:
        source: bytes of the archive.
        directory: where it was found but its offsets are wrong, only members that it has are
            taken, so that an archive kept within the archive is not mistaken for a part of it.
        limit: where the members end.
    """

    def __init__(self, source: ByteSource, directory: Directory, limit: int) -> None:
        self._source = source
        self._wanted = directory.unplaced if directory.moved else None
        self._limit = limit
        self._left = _PASSES * source.size + _ALLOWANCE
        self._tries = _MAX_TRIED

    def may_read(self, count: int) -> bool:
        """Whether so many bytes more may be read for a proof; they are counted."""
        self._left -= count
        return self._left >= 0

    def next_header(self, start: int, stop: int) -> int:
        """The offset of the next local header that proves right; ``stop`` if there is none.

        Raises:
            SourceError: the archive cannot be read.
        """
        for place in self._headers(start, stop):
            self._tries -= 1
            if self._left < 0 or self._tries < 0:
                break
            if self._is_member(place):
                return place
        return stop

    def _headers(self, start: int, stop: int) -> Iterator[int]:
        """Offsets of what may be a header that edgecomp wrote."""
        while start < stop:
            chunk = self._source.read(start, min(_CHUNK, stop - start) + _HEADER_BYTES - 1)
            for found in _HEADER.finditer(chunk):
                yield start + found.start()
            start += _CHUNK

    def _is_member(self, place: int) -> bool:
        head = self._metered(place, z.LOCAL_BYTES)
        length = z.local_length(head)
        if length is None or length > _MAX_HEADER:
            return False
        entry = z.parse_local(self._metered(place, length))
        if entry is None or (self._wanted is not None and entry not in self._wanted):
            return False
        start = place + length
        # A member that is cut off still has a name.
        limit = max(self._limit, start + entry.stored)
        return view_of(entry, start, self._metered, limit=limit).problem is None

    def _metered(self, offset: int, count: int) -> bytes:
        """Read what a proof needs; what states its own length may lie."""
        return self._source.read(offset, count) if self.may_read(count) else b""
