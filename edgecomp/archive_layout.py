"""Where an archive's members are: end record, directory and local headers, compared.

Every member is described twice, by its local header and by its record in the directory, and
each description has a name check. Where the two differ, the one that proves right is used; where
the directory is damaged, the local headers, which stand one after the other, replace it.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from dataclasses import dataclass, replace
from typing import BinaryIO, Final, Literal

from edgecomp import ziprecords as z
from edgecomp.codestream import is_codestream
from edgecomp.constants import ARCHIVE_COMMENT, CODESTREAM_SUFFIX, MAX_MEMBERS
from edgecomp.errors import (
    CorruptDataError,
    FormatError,
    LimitError,
    NotEdgecompError,
    SourceError,
    UnsupportedVersionError,
)
from edgecomp.heading import Heading, read_heading
from edgecomp.names import Note, printable, safe_relative_path, source_of

Kind = Literal["picture", "verbatim-picture", "file", "folder"]

MAX_CODESTREAM_BYTES: Final = 1 << 30
_COMMENT_START: Final = ARCHIVE_COMMENT.rpartition(b" ")[0] + b" "
_TAIL_BYTES: Final = z.END64_BYTES + z.END_BYTES + z.LIMIT16
# Local headers with a usual name and a codestream's header come in one read.
_HEAD_BYTES: Final = 512


@dataclass(frozen=True, slots=True)
class View:
    """A member as one of its two descriptions has it.

    Attributes:
        entry: the description.
        start: offset of the member's data.
        source: path of the source; None where there is a problem.
        kind: what it is, as far as can be told.
        mtime_ns: of the source, nanoseconds since the epoch; None where there is a problem.
        heading: of a picture's codestream.
        problem: why this description cannot be right, or None.
    """

    entry: z.Entry
    start: int
    source: str | None
    kind: Kind
    mtime_ns: int | None
    heading: Heading | None
    problem: str | None

    @property
    def end(self) -> int:
        """Offset of the first byte after the member's data."""
        return self.start + self.entry.stored


@dataclass(frozen=True, slots=True)
class Slot:
    """A member's place: the offset of its local header, and its descriptions, best first."""

    offset: int
    views: tuple[View, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """All members in the order of the archive, and what is wrong with its structure."""

    slots: tuple[Slot, ...]
    damage: tuple[Note, ...]


class ByteSource:
    """Positional reading of a file that several threads may share.

    Attributes:
        size: of the file in bytes.
        shown: its name for messages.
    """

    def __init__(self, file: BinaryIO, shown: str) -> None:
        self._file = file
        self.shown = shown
        self._lock = threading.Lock()
        try:
            self._descriptor: int | None = file.fileno()
        except OSError:  # io.UnsupportedOperation: a file in memory
            self._descriptor = None
        try:
            self.size = file.seek(0, os.SEEK_END)
        except OSError as error:
            raise self._unreadable(error) from error

    def read(self, offset: int, count: int) -> bytes:
        """Up to ``count`` bytes; fewer at the end of the file only.

        Raises:
            SourceError: the system cannot read the file.
        """
        parts = []
        while count > 0:
            try:
                if self._descriptor is not None:
                    part = os.pread(self._descriptor, min(count, 1 << 30), offset)
                else:
                    with self._lock:
                        self._file.seek(offset)
                        part = self._file.read(count)
            except OSError as error:
                raise self._unreadable(error) from error
            if not part:
                break
            parts.append(part)
            offset += len(part)
            count -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _unreadable(self, error: OSError) -> SourceError:
        return SourceError(f"cannot be read: {error.strerror or error}", path=self.shown)


def read_layout(source: ByteSource) -> Layout:
    """Find all members of an archive.

    Raises:
        SourceError: it cannot be read.
        NotEdgecompError: it is no archive.
        CorruptDataError: it is cut short, so that it has no directory.
        UnsupportedVersionError: made by a newer edgecomp.
        LimitError: it has more members than any archive may have.
    """
    tail_start = max(0, source.size - _TAIL_BYTES)
    tail = source.read(tail_start, source.size - tail_start)
    position = z.find_end(tail)
    if position is None:
        raise _without_end(source)
    end = z.parse_end(tail, position)
    if end.comment.startswith(_COMMENT_START) and end.comment != ARCHIVE_COMMENT:
        raise UnsupportedVersionError(
            f"made by a newer edgecomp ({printable(end.comment.decode('latin-1'))})",
            path=source.shown,
        )
    reader = _LayoutReader(source)
    slots = reader.read(end, tail_start + position - z.end64_bytes(tail, position))
    if end.comment != ARCHIVE_COMMENT:
        if not any(_looks_ours(slot.views[0].entry) for slot in slots):
            raise NotEdgecompError("a ZIP file, but not an edgecomp archive", path=source.shown)
        reader.note("the archive's comment is damaged")
    return Layout(slots, tuple(reader.damage))


def _without_end(source: ByteSource) -> FormatError:
    head = source.read(0, _HEAD_BYTES)
    if is_codestream(head):
        what = "one picture's codestream, not an archive of several"
        return NotEdgecompError(what, path=source.shown)
    local = z.parse_local(head)
    if local is not None and _looks_ours(local):
        what = "the archive is cut short: its directory is missing"
        return CorruptDataError(what, path=source.shown)
    what = "not an edgecomp archive" if source.size else "an empty file, not an archive"
    return NotEdgecompError(what, path=source.shown)


class _LayoutReader:
    """Collects slots, and notes what is wrong on the way."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self.damage: list[Note] = []

    def note(self, reason: str) -> None:
        """Something is wrong with the archive as a whole."""
        self.damage.append(Note(self._source.shown, reason))

    def read(self, end: z.End, limit: int) -> tuple[Slot, ...]:
        """The members; ``limit`` is the offset of the end record."""
        if end.offset + end.size != limit or end.count * z.CENTRAL_BYTES > end.size:
            # The members end where no local header follows.
            self.note("the end record is damaged")
            return self._walk({}, limit, stop_at_gap=True)
        return self._walk(self._records(end), end.offset, stop_at_gap=False)

    def _records(self, end: z.End) -> dict[int, list[z.Entry]]:
        """The directory: what it says of the member whose local header is at each offset."""
        directory = self._source.read(end.offset, end.size)
        records: dict[int, list[z.Entry]] = {}
        position = count = 0
        while (parsed := z.parse_central(directory, position)) is not None:
            entry, offset, position = parsed
            records.setdefault(offset, []).append(entry)
            count += 1
            self._check_count(count)
        if position != end.size or count != end.count:
            self.note("the directory is damaged")
        return records

    def _check_count(self, count: int) -> None:
        if count > MAX_MEMBERS:
            raise LimitError(f"more than {MAX_MEMBERS} members", path=self._source.shown)

    def _walk(
        self, records: dict[int, list[z.Entry]], limit: int, *, stop_at_gap: bool
    ) -> tuple[Slot, ...]:
        """Go from local header to local header, guided by the directory's records."""
        slots: list[Slot] = []
        known = sorted(offset for offset in records if offset < limit)
        used = place = 0
        while place < limit:
            found = records.get(place, [])
            views = self._views_at(place, found, limit)
            if not views:
                if stop_at_gap:
                    break
                following = self._next_header(known, place, limit)
                self.note(f"the bytes from {place} to {following} belong to no member")
                place = following
                continue
            used += bool(found)
            after = views[0].end
            if after != limit and after not in records:
                following = self._next_header(known, place, limit)
                if after > following:
                    views = (replace(views[0], problem="it overlaps the next member"),)
                    after = following
            slots.append(Slot(place, views))
            self._check_count(len(slots))
            place = after
        if used != len(records):
            self.note("the directory has records that point to no member")
        return tuple(slots)

    def _next_header(self, known: list[int], place: int, limit: int) -> int:
        """The next offset at which the directory has a member and the archive a local header."""
        for index in range(bisect_right(known, place), len(known)):
            if self._is_header(known[index]):
                return known[index]
        return limit

    def _is_header(self, offset: int) -> bool:
        return self._source.read(offset, len(z.LOCAL_SIGNATURE)) == z.LOCAL_SIGNATURE

    def _views_at(self, place: int, records: list[z.Entry], limit: int) -> tuple[View, ...]:
        """The descriptions of the member whose local header is at ``place``, best first."""
        head = self._source.read(place, _HEAD_BYTES)
        length = z.local_length(head)
        if length is not None and length > len(head):
            head = self._source.read(place, length)
        local = z.parse_local(head)
        views = []
        for entry in records:
            if local is not None and length is not None and _agree(local, entry):
                start = place + length
            else:
                # The local header's own lengths may be what is damaged.
                start = place + z.LOCAL_BYTES + len(entry.name) + len(entry.extra)
            views.append(self._view(entry, start, limit))
        if local is not None and length is not None and local not in records:
            views.append(self._view(local, place + length, limit))
        if len(views) == 1 and local is not None:
            return tuple(views)
        if views:
            name = _shown_name(views[0].entry)
            self.damage.append(Note(name, "its local header and its directory record differ"))
        sound = [view for view in views if view.problem is None]
        # Of descriptions that both look right, one that leads to the next member is better.
        sound.sort(key=lambda v: (v.end != limit and not self._is_header(v.end), v.end))
        return tuple(sound or views[:1])

    def _view(self, entry: z.Entry, start: int, limit: int) -> View:
        kind: Kind = "picture" if entry.name.endswith(CODESTREAM_SUFFIX.encode()) else "file"
        problem = entry.problem()
        if problem is None and start + entry.stored > limit:
            problem = "it reaches past the last member"
        if problem is None:
            try:
                return self._sound_view(entry, start)
            except UnicodeDecodeError:
                problem = "its name is not UTF-8"
            except FormatError as error:
                problem = error.message
        return View(entry, start, None, kind, None, None, problem)

    def _sound_view(self, entry: z.Entry, start: int) -> View:
        name = entry.name.decode()
        extra = z.Extra.unpack(entry.extra, entry.name)
        if extra is not None:
            source = safe_relative_path(name.removesuffix("/"))
            return View(entry, start, source, _kind_of(entry, extra), extra.mtime_ns, None, None)
        if not name.endswith(CODESTREAM_SUFFIX):
            raise CorruptDataError("it was not written by edgecomp, or its header is damaged")
        if entry.method != z.STORED or entry.stored > MAX_CODESTREAM_BYTES:
            raise CorruptDataError("its codestream is compressed or impossibly long")

        def read(offset: int, count: int) -> bytes:
            return self._source.read(start + offset, min(count, entry.stored - offset))

        heading = read_heading(read)
        origin = heading.origin
        if origin is None:
            raise CorruptDataError("its codestream does not say where it came from")
        source = source_of(name, origin.suffix, origin.name_check)
        return View(entry, start, source, "picture", origin.mtime_ns, heading, None)


def _shown_name(entry: z.Entry) -> str:
    return printable(entry.name.decode("utf-8", "surrogateescape"))


def _agree(local: z.Entry, record: z.Entry) -> bool:
    return local.name == record.name and local.extra == record.extra


def _kind_of(entry: z.Entry, extra: z.Extra) -> Kind:
    if entry.is_folder:
        if entry.size or entry.stored:
            raise CorruptDataError("it is a folder with content")
        return "folder"
    return "verbatim-picture" if extra.kind == z.KIND_VERBATIM_PICTURE else "file"


def _looks_ours(entry: z.Entry) -> bool:
    try:
        has_extra = z.Extra.unpack(entry.extra, entry.name) is not None
    except CorruptDataError:
        has_extra = True
    return has_extra or entry.name.endswith(CODESTREAM_SUFFIX.encode())
