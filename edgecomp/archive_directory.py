"""The directory of an archive: found where the end record says, or elsewhere; read with bounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from edgecomp import ziprecords as z
from edgecomp.byte_source import ByteSource
from edgecomp.errors import LimitError

# Descriptions of one member that are looked at; more are hostile.
_MOST_AT_ONE_PLACE: Final = 4


@dataclass(slots=True)
class Directory:
    """What the directory says.

    Attributes:
        limit: where the members end: the directory's offset, or that of whatever stands behind
            the members.
        found: whether there is one.
        whole: whether all of it could be read.
        records: descriptions of the members by the offsets of their local headers; empty where
            the offsets are wrong.
        unplaced: the descriptions where the offsets are wrong, because bytes before the directory
            are missing or were added.
        problem: what is wrong with it or the end record, or None.
        end_is_there: whether there is an end record: without one the archive is cut short.
    """

    limit: int
    found: bool = True
    whole: bool = True
    records: dict[int, list[z.Entry]] = field(default_factory=dict)
    unplaced: set[z.Entry] = field(default_factory=set)
    problem: str | None = None
    end_is_there: bool = True

    @classmethod
    def missing(
        cls, limit: int, problem: str | None = None, *, end_is_there: bool = True
    ) -> Directory:
        """No directory; members end at ``limit`` at the latest."""
        return cls(limit, found=False, whole=False, problem=problem, end_is_there=end_is_there)

    @property
    def moved(self) -> bool:
        """Whether its offsets are wrong."""
        return bool(self.unplaced)

    def entries(self) -> Iterator[z.Entry]:
        """All descriptions."""
        for entries in self.records.values():
            yield from entries
        yield from self.unplaced


def find_directory(source: ByteSource, end: z.End, limit: int, max_members: int) -> Directory:
    """Find and read the directory.

    Args:
        source: bytes of the archive.
        end: the end record, which may be damaged.
        limit: offset of the end record.
        max_members: more are refused.

    Raises:
        SourceError: the archive cannot be read.
        LimitError: it has more records than members are allowed.
    """
    if end.offset + end.size == limit:
        directory = read_records(source, end.offset, limit, max_members)
        if directory.whole and _count(directory) != end.count:
            directory.whole = False
            directory.problem = "the directory is damaged"
        if directory.records or not end.count:
            return directory
    # Where bytes before the directory are missing, it ends at the end record all the same. Where
    # the end record itself is damaged, either its offset or its size may still be right.
    for start, moved in ((limit - end.size, True), (end.offset, False)):
        if 0 <= start < limit:
            directory = read_records(source, start, limit, max_members)
            if directory.whole and directory.records:
                if moved and _count(directory) == end.count:
                    return _without_offsets(directory)
                if not moved:
                    directory.problem = "the end record is damaged"
                    return directory
    return Directory.missing(limit, "the end record is damaged")


def read_records(source: ByteSource, start: int, limit: int, max_members: int) -> Directory:
    """The records that stand between two offsets; damaged ones are passed over.

    Raises:
        SourceError: the archive cannot be read.
        LimitError: there are more than members are allowed.
    """
    data = source.read(start, limit - start)
    directory = Directory(start)
    position = count = 0
    while position < len(data):
        parsed = z.parse_central(data, position)
        if parsed is None:
            directory.whole = False
            directory.problem = "the directory is damaged"
            position = data.find(z.CENTRAL_SIGNATURE, position + 1)
            if position < 0:
                break
            continue
        entry, offset, position = parsed
        entries = directory.records.setdefault(offset, [])
        if len(entries) < _MOST_AT_ONE_PLACE and entry not in entries:
            entries.append(entry)
        count += 1
        if count > max_members:
            raise too_many_members(max_members, source.shown)
    return directory


def too_many_members(limit: int, shown: str) -> LimitError:
    """The error for an archive with more members than it may have."""
    return LimitError(f"more than {limit} files (--max-members allows more)", path=shown)


def _count(directory: Directory) -> int:
    return sum(1 for _ in directory.entries())


def _without_offsets(directory: Directory) -> Directory:
    """The same directory, where its offsets are known to be wrong."""
    return Directory(
        directory.limit,
        unplaced=set(directory.entries()),
        problem="bytes are missing or were added before the directory",
    )
