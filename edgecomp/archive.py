"""The archive for reading: which members it has, and their bytes (docs/format-archive.md)."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from edgecomp.archive_layout import Slot, read_layout
from edgecomp.archive_views import Kind, View, shown_name
from edgecomp.byte_source import ByteSource
from edgecomp.codestream import Codestream, parse
from edgecomp.constants import (
    DEFAULT_MAX_EXPANSION,
    DEFAULT_MAX_MEMBERS,
    DEFAULT_MAX_PIXELS,
    FREE_EXPANSION,
)
from edgecomp.errors import CorruptDataError, EdgecompError, FormatError, LimitError, SourceError
from edgecomp.heading import Heading
from edgecomp.names import Note, path_hashes, printable
from edgecomp.verbatim import PIECE_BYTES, MemberStream, buffered, drain
from edgecomp.ziprecords import LOCAL_BYTES, Entry


@dataclass(frozen=True, slots=True)
class Member:
    """One thing in an archive.

    Attributes:
        name: in the ZIP directory, as shown to the user.
        source: path of the source, relative to the folder that was compressed; None if the
            member is damaged so that it cannot be told.
        kind: a coded picture, a picture kept as it is, another file, or an empty folder.
        size: bytes that its data take in the archive.
        original_size: bytes of the file that it restores; of the codestream for a picture.
        overhead: bytes of its local header and directory record.
        mtime_ns: of the source, nanoseconds since the epoch; None if it cannot be told.
        heading: of a picture, what its codestream's header says; None for others.
        problem: why it cannot be restored, as far as known without reading its data; or None.
        index: its place in the archive.
    """

    name: str
    source: str | None
    kind: Kind
    size: int
    original_size: int
    overhead: int
    mtime_ns: int | None
    heading: Heading | None
    problem: str | None
    index: int

    @property
    def shown(self) -> str:
        """What to call it in messages: its source, or its name where that is not known."""
        return self.source or self.name


class ArchiveReader:
    """An archive's members and their bytes. Safe to use from several threads at once.

    Args:
        source: path of the archive, or a binary file open for reading (left open by `close`).
        max_pixels: largest picture that `codestream` takes apart; None for no limit.
        max_members: archives with more are refused; None for no limit.
        max_expansion: bytes that members may have together which expand so much that hardly any
            real file does (`constants.FREE_EXPANSION`-fold); reading those beyond is refused.
            None for no limit.
        thorough: search all of a file that neither begins nor ends as an archive does.
        shown: what to call it in messages; None for the source's name.

    Attributes:
        members: in the order of the archive.
        damage: what is wrong with the archive's structure; members that could still be found
            by other means are in ``members`` all the same.
        complete: whether every member that the archive once had is in ``members``, as far as can
            be told.
        size: of the archive in bytes.
        shown: its name for messages.

    Raises:
        SourceError: it cannot be read.
        NotEdgecompError: it is no archive.
        UnsupportedVersionError: made by a newer edgecomp.
        LimitError: it has more members than ``max_members``.
    """

    members: tuple[Member, ...]
    damage: tuple[Note, ...]
    complete: bool

    def __init__(
        self,
        source: Path | str | BinaryIO,
        *,
        max_pixels: int | None = DEFAULT_MAX_PIXELS,
        max_members: int | None = DEFAULT_MAX_MEMBERS,
        max_expansion: int | None = DEFAULT_MAX_EXPANSION,
        thorough: bool = False,
        shown: str | None = None,
    ) -> None:
        self._max_pixels = max_pixels
        self._max_expansion = max_expansion
        self._opened: BinaryIO | None = None
        if isinstance(source, (str, Path)):
            self.shown = printable(str(source))
            self._opened = file = _open(source, self.shown)
        else:
            file = source
            self.shown = printable(str(getattr(source, "name", "archive")))
        if shown is not None:
            self.shown = shown
        try:
            self._bytes = ByteSource(file, self.shown)
            most = sys.maxsize if max_members is None else max_members
            layout = read_layout(self._bytes, max_members=most, thorough=thorough)
        except BaseException:
            self.close()
            raise
        self.size = self._bytes.size
        self.damage = layout.damage
        self.complete = layout.complete
        self._slots = layout.slots
        self.members = _members(layout.slots)
        self._refused = _expanding_too_far(self.members, max_expansion)

    def __enter__(self) -> ArchiveReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, if the reader opened it."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def read(self, member: Member) -> bytes:
        """All bytes of a member: the codestream of a picture, else the file.

        Raises:
            CorruptDataError: it is damaged.
            LimitError: it expands too far (``max_expansion``).
        """
        with self.open(member) as file:
            return file.read()

    def open(self, member: Member) -> BinaryIO:
        """The bytes of a member as a stream; reading it to the end checks them.

        Raises:
            CorruptDataError: it is damaged; reading raises it too.
            LimitError: it expands too far (``max_expansion``).
        """
        return self._stream(self._settled(member), member)

    def codestream(self, member: Member, *, checked: bool = True) -> Codestream:
        """A picture's codestream, taken apart.

        Args:
            member: a picture.
            checked: whether the member's checksum must be right. The codestream's own checksums
                tell which of its parts are whole when it is not.

        Raises:
            FormatError, LimitError: see ``codestream.parse``; ``path`` names the member.
        """
        try:
            if checked:
                data = self.read(member)
            else:
                view = self._slots[member.index].views[0]
                data = self._bytes.read(view.start, view.entry.stored)
            return parse(data, max_pixels=self._max_pixels)
        except (FormatError, LimitError) as error:
            error.path = error.path or member.shown
            raise

    def raw(self, member: Member) -> tuple[Entry, bool, Iterable[bytes]]:
        """A member as it stands in the archive, for copying; its data are checked first.

        Returns:
            Its description, whether its local header has room for sizes over 4 GiB, its data.

        Raises:
            CorruptDataError: it is damaged.
            LimitError: it expands too far (``max_expansion``).
        """
        view = self._settled(member, check=True)
        offset = self._slots[member.index].offset
        wide = view.start - offset > LOCAL_BYTES + len(view.entry.name) + len(view.entry.extra)
        starts = range(view.start, view.end, PIECE_BYTES)
        return (
            view.entry,
            wide,
            (self._bytes.read(start, min(PIECE_BYTES, view.end - start)) for start in starts),
        )

    def _stream(self, view: View, member: Member) -> BinaryIO:
        return buffered(MemberStream(self._bytes.read, view.start, view.entry, member.shown))

    def _settled(self, member: Member, *, check: bool = False) -> View:
        """The description of the member that its data agree with."""
        if member.problem is not None:
            raise CorruptDataError(f"is damaged: {member.problem}", path=member.shown)
        views = self._slots[member.index].views
        if len(views) == 1 and not check and member.index not in self._refused:
            return views[0]
        problems: list[EdgecompError] = []
        for view in views:
            try:
                self._check_expansion(view, member)
                with self._stream(view, member) as file:
                    drain(file)
                return view
            except (CorruptDataError, LimitError) as error:
                problems.append(error)
        raise problems[0]

    def _check_expansion(self, view: View, member: Member) -> None:
        entry, limit = view.entry, self._max_expansion
        if limit is None or entry.size <= FREE_EXPANSION * max(entry.stored, 1):
            return
        if member.index in self._refused or entry.size > limit:
            raise LimitError(
                f"expands from {entry.stored} to {entry.size} bytes (--max-expansion allows more)",
                path=member.shown,
            )


def _members(slots: Iterable[Slot]) -> tuple[Member, ...]:
    members = []
    # Hashes of paths: of files and empty folders, and of the folders above them.
    sources: set[int] = set()
    folders: set[int] = set()
    for index, slot in enumerate(slots):
        view = slot.views[0]
        problem = view.problem
        if view.source is not None and problem is None:
            *above, itself = path_hashes(view.source)
            if itself in sources or itself in folders or not sources.isdisjoint(above):
                problem = "an earlier member has its name"
            elif view.kind == "folder":
                # Files below it may follow, where an archive was made by several tools.
                folders.add(itself)
            else:
                sources.add(itself)
            folders.update(above)
        members.append(
            Member(
                name=shown_name(view.entry),
                source=view.source if problem is None else None,
                kind=view.kind,
                size=view.entry.stored,
                original_size=view.entry.size,
                overhead=view.start - slot.offset + len(view.entry.pack_central(slot.offset)),
                mtime_ns=view.mtime_ns,
                heading=view.heading,
                problem=problem,
                index=index,
            )
        )
    return tuple(members)


def _expanding_too_far(members: Iterable[Member], limit: int | None) -> frozenset[int]:
    """Which members would exceed the limit on what expands suspiciously much."""
    total = 0
    refused = set()
    for member in members:
        if limit is not None and member.original_size > FREE_EXPANSION * max(member.size, 1):
            if total + member.original_size > limit:
                refused.add(member.index)
            else:
                total += member.original_size
    return frozenset(refused)


def _open(path: Path | str, shown: str) -> BinaryIO:
    try:
        return open(path, "rb")
    except FileNotFoundError:
        raise SourceError("no such file", path=shown) from None
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror or error}", path=shown) from error
