"""Where an archive's members are: end record, directory and local headers, compared.

Every member is described twice, by its local header and by its record in the directory, and
each description has a name check. Where the two differ, the one that proves right is used; where
the directory is damaged, moved or missing, the local headers, which stand one after the other,
replace it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from edgecomp import ziprecords as z
from edgecomp.archive_directory import (
    Directory,
    find_directory,
    read_records,
    too_many_members,
)
from edgecomp.archive_search import Search
from edgecomp.archive_views import View, looks_ours, shown_name, view_of
from edgecomp.byte_source import ByteSource
from edgecomp.codestream import is_codestream
from edgecomp.constants import ARCHIVE_COMMENT
from edgecomp.errors import (
    CorruptDataError,
    NotEdgecompError,
    UnsupportedVersionError,
)
from edgecomp.names import Note, printable
from edgecomp.verbatim import MemberStream, drain

_COMMENT_START: Final = ARCHIVE_COMMENT.rpartition(b" ")[0] + b" "
_TAIL_BYTES: Final = z.END64_BYTES + z.END_BYTES + z.LIMIT16
# Local headers with a usual name and a codestream's header come in one read.
_HEAD_BYTES: Final = 512


@dataclass(frozen=True, slots=True)
class Slot:
    """A member's place: the offset of its local header, and its descriptions, best first."""

    offset: int
    views: tuple[View, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """All members in the order of the archive.

    Attributes:
        slots: the members that were found.
        damage: what is wrong with the archive's structure; members that it names and that are
            gone are among it.
        complete: whether every member that the archive once had is among ``slots``, be it
            damaged.
    """

    slots: tuple[Slot, ...]
    damage: tuple[Note, ...]
    complete: bool


def read_layout(source: ByteSource, *, max_members: int, thorough: bool = False) -> Layout:
    """Find all members of an archive.

    Args:
        source: its bytes.
        max_members: more are refused.
        thorough: search all of a file that neither begins nor ends as an archive does.

    Raises:
        SourceError: it cannot be read.
        NotEdgecompError: it is no archive.
        UnsupportedVersionError: made by a newer edgecomp.
        LimitError: it has more members than it may have.
    """
    tail_start = max(0, source.size - _TAIL_BYTES)
    tail = source.read(tail_start, source.size - tail_start)
    position = z.find_end(tail)
    reader = _LayoutReader(source, max_members)
    if position is None:
        return reader.read_without_end(thorough=thorough)
    end = z.parse_end(tail, position)
    if _is_newer(end.comment):
        raise UnsupportedVersionError(
            f"made by a newer edgecomp ({printable(end.comment.decode('latin-1'))})",
            path=source.shown,
        )
    return reader.read(end, tail_start + position - z.end64_bytes(tail, position))


def _is_newer(comment: bytes) -> bool:
    """Whether a comment states another version; a damaged one does not look like that."""
    version = comment.removeprefix(_COMMENT_START)
    return comment != ARCHIVE_COMMENT and version != comment and version.isdigit()


class _LayoutReader:
    """Collects slots, and notes what is wrong on the way."""

    def __init__(self, source: ByteSource, max_members: int) -> None:
        self._source = source
        self._max_members = max_members
        self._damage: list[Note] = []
        self._complete = True

    def read(self, end: z.End, limit: int) -> Layout:
        """The members of an archive whose end record stands at ``limit``."""
        directory = find_directory(self._source, end, limit, self._max_members)
        if directory.problem is not None:
            self._note(directory.problem)
        slots = self._walk(directory, Search(self._source, directory, directory.limit))
        if end.comment != ARCHIVE_COMMENT:
            if not any(looks_ours(slot.views[0].entry) for slot in slots):
                what = "a ZIP file, but not an edgecomp archive"
                raise NotEdgecompError(what, path=self._source.shown)
            self._note("the archive's comment is damaged")
        if directory.found:
            self._note_lost(directory, slots)
        else:
            self._note_lost_by_name(slots, limit)
        return Layout(slots, tuple(self._damage), self._complete)

    def read_without_end(self, *, thorough: bool) -> Layout:
        """The members of an archive that has lost its end."""
        source = self._source
        directory = Directory.missing(source.size, end_is_there=False)
        search = Search(source, directory, source.size)
        head = source.read(0, _HEAD_BYTES)
        if is_codestream(head):
            what = "one picture's codestream, not an archive of several"
            raise NotEdgecompError(what, path=source.shown)
        local = z.parse_local(head)
        ours = local is not None and looks_ours(local)
        if not ours and not (thorough and search.next_header(0, source.size) < source.size):
            what = "not an edgecomp archive" if source.size else "an empty file, not an archive"
            raise NotEdgecompError(what, path=source.shown)
        slots = self._walk(directory, search)
        advice = "'edgecomp repair' makes a whole archive of what is left"
        if self._note_lost_by_name(slots, source.size):
            what = f"it is cut short within its directory; {advice}"
        else:
            self._complete = False
            what = f"it is cut short, so that its last files may be missing; {advice}"
        self._damage.insert(0, Note(source.shown, what))
        return Layout(slots, tuple(self._damage), self._complete)

    def _note(self, reason: str) -> None:
        """Something is wrong with the archive as a whole."""
        self._damage.append(Note(self._source.shown, reason))

    def _walk(self, directory: Directory, search: Search) -> tuple[Slot, ...]:
        """Go from local header to local header, guided by the directory's records."""
        slots: list[Slot] = []
        known = _KnownHeaders(directory, self._is_header)
        place = 0
        while place < directory.limit:
            views = self._views_at(place, directory)
            if not views:
                if not directory.found and self._at_directory(place):
                    break
                following = self._next_place(known, place, directory, search)
                if directory.end_is_there or following < directory.limit:
                    self._note(f"the bytes from {place} to {following} belong to no member")
                self._complete &= directory.found
                place = following
                continue
            following = self._following(views[0], known, place, directory, search)
            if views[0].end > following:
                views = (replace(views[0], problem=_misfit(views[0], directory)),)
            if directory.whole and not directory.moved and place not in directory.records:
                what = "the directory does not have it"
                self._damage.append(Note(shown_name(views[0].entry), what))
            slots.append(Slot(place, views))
            if len(slots) > self._max_members:
                raise too_many_members(self._max_members, self._source.shown)
            place = following
        return tuple(slots)

    def _following(
        self, view: View, known: _KnownHeaders, place: int, directory: Directory, search: Search
    ) -> int:
        """Where to look for the next member after the one at ``place``."""
        after = view.end
        if after in directory.records:
            return after
        if after == directory.limit:
            # A member may not reach over others to the end, unless its data prove that they are it.
            following = known.next(place)
            return after if following == after or self._is_whole(view, search) else following
        if directory.records:
            following = known.next(place)
            return following if after > following else after
        leads_on = self._is_header(after) or self._at_directory(after)
        if leads_on and after < directory.limit and not view.entry.is_unfinished:
            return after
        if view.entry.is_unfinished or self._begins_with_header(view):
            # Nothing followed, or its data are an archive, whose members are not this one's.
            return directory.limit
        # No offsets are known, and this member does not lead to the next one: bytes may be missing
        # in it. If its own are right, the next one comes later, else perhaps within.
        if view.problem is None and after < directory.limit and self._is_whole(view, search):
            return after
        return search.next_header(place + 1, directory.limit)

    def _next_place(
        self, known: _KnownHeaders, place: int, directory: Directory, search: Search
    ) -> int:
        """The next member after a gap."""
        following = known.next(place)
        if directory.whole and directory.records:
            return following
        return search.next_header(place + 1, following)

    def _is_header(self, offset: int) -> bool:
        return self._source.read(offset, len(z.LOCAL_SIGNATURE)) == z.LOCAL_SIGNATURE

    def _begins_with_header(self, view: View) -> bool:
        return view.end > view.start and self._is_header(view.start)

    def _at_directory(self, offset: int) -> bool:
        """Whether a directory begins there; with the end records it is all that follows members."""
        return self._source.read(offset, len(z.CENTRAL_SIGNATURE)) == z.CENTRAL_SIGNATURE

    def _is_whole(self, view: View, search: Search) -> bool:
        """Whether a member's data have the checksum that its description states."""
        if not search.may_read(max(view.entry.stored, view.entry.size)):
            return False
        try:
            drain(MemberStream(self._source.read, view.start, view.entry, ""))
        except CorruptDataError:
            return False
        return True

    def _views_at(self, place: int, directory: Directory) -> tuple[View, ...]:
        """The descriptions of the member whose local header is at ``place``, best first."""
        limit = directory.limit
        head = self._source.read(place, _HEAD_BYTES)
        length = z.local_length(head)
        if length is not None and length > len(head):
            head = self._source.read(place, length)
        local = z.parse_local(head)
        views = []
        for entry in directory.records.get(place, ()):
            if local is not None and length is not None and _agree(local, entry):
                start = place + length
            else:
                # The local header's own lengths may be what is damaged.
                start = place + entry.local_length
            views.append(view_of(entry, start, self._source.read, limit=limit))
        known = any(view.entry == local for view in views)
        if local is not None and length is not None and not known:
            views.append(view_of(local, place + length, self._source.read, limit=limit))
        if len(views) == 1 and local is not None:
            return tuple(views)
        if views:
            name = shown_name(views[0].entry)
            self._damage.append(Note(name, "its local header and its directory record differ"))
        sound = [view for view in views if view.problem is None]
        agreed = [view for view in sound if known and view.entry == local]
        if agreed:
            # Other records point here too; this one and the local header are two against them.
            return (agreed[0],)
        if len({view.source for view in sound}) > 1:
            # Both names prove right: one of the headers belongs to another member.
            what = "its local header and its directory record name different files"
            return (replace(sound[0], source=None, heading=None, mtime_ns=None, problem=what),)
        # Of descriptions that both look right, one that leads to the next member is better.
        sound.sort(
            key=lambda v: (v.end != limit and not self._is_header(v.end), v.end, v.entry.size)
        )
        return tuple(sound or views[:1])

    def _note_lost_by_name(self, slots: tuple[Slot, ...], limit: int) -> bool:
        """Whether a directory, or the start of one, follows the last member; what it names besides
        is lost."""
        place = slots[-1].views[0].end if slots else 0
        if not self._at_directory(place):
            return False
        self._note_lost(read_records(self._source, place, limit, self._max_members), slots)
        return True

    def _note_lost(self, directory: Directory, slots: tuple[Slot, ...]) -> None:
        """Name the members that the directory has and the archive no longer."""
        there = {slot.offset for slot in slots}
        if directory.records and directory.records.keys() <= there:
            return
        found = {view.entry.name for slot in slots for view in slot.views}
        lost = {entry.name: entry for entry in directory.entries() if entry.name not in found}
        for entry in lost.values():
            self._damage.append(Note(shown_name(entry), "its bytes are no longer there"))
            self._complete = False
        if directory.found and directory.records and not lost:
            self._note("the directory has records that point to no member")


class _KnownHeaders:
    """Offsets at which the directory has a member and the archive a local header.

    They are asked for from the start of the archive to its end, so that each is looked at once,
    however many there are that lead nowhere.
    """

    def __init__(self, directory: Directory, is_header: Callable[[int], bool]) -> None:
        self._offsets = sorted(offset for offset in directory.records if offset < directory.limit)
        self._limit = directory.limit
        self._is_header = is_header
        self._at = 0
        self._is_right = False  # whether the offset that is next has been looked at

    def next(self, place: int) -> int:
        """The first after ``place``, which is not before that of the last call; else the limit."""
        offsets = self._offsets
        while self._at < len(offsets):
            if offsets[self._at] > place:
                self._is_right = self._is_right or self._is_header(offsets[self._at])
                if self._is_right:
                    return offsets[self._at]
            self._at += 1
            self._is_right = False
        return self._limit


def _misfit(view: View, directory: Directory) -> str:
    if directory.records:
        return "it overlaps the next member"
    if view.end > directory.limit:
        return "it is cut short"
    return view.problem or "some of its bytes are missing"


def _agree(local: z.Entry, record: z.Entry) -> bool:
    return local.name == record.name and local.extra == record.extra
