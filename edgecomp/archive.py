"""The archive for reading: which members it has, and their bytes (docs/format-archive.md)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from edgecomp.archive_layout import ByteSource, Kind, Slot, View, read_layout
from edgecomp.codestream import Codestream, parse
from edgecomp.constants import DEFAULT_MAX_PIXELS
from edgecomp.errors import CorruptDataError, FormatError, LimitError, SourceError
from edgecomp.heading import Heading
from edgecomp.names import Note, printable
from edgecomp.verbatim import PIECE_BYTES, MemberStream, buffered
from edgecomp.ziprecords import Entry


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

    Attributes:
        members: in the order of the archive.
        damage: what is wrong with the archive's structure; members that could still be found
            by other means are in ``members`` all the same.
        size: of the archive in bytes.
        shown: its name for messages.

    Raises:
        SourceError: it cannot be read.
        NotEdgecompError: it is no archive.
        CorruptDataError: it is cut short, so that it has no directory.
        UnsupportedVersionError: made by a newer edgecomp.
        LimitError: it has more members than any archive may have.
    """

    members: tuple[Member, ...]
    damage: tuple[Note, ...]

    def __init__(
        self,
        source: Path | str | BinaryIO,
        *,
        max_pixels: int | None = DEFAULT_MAX_PIXELS,
    ) -> None:
        self._max_pixels = max_pixels
        self._opened: BinaryIO | None = None
        if isinstance(source, (str, Path)):
            self.shown = printable(str(source))
            self._opened = file = _open(source, self.shown)
        else:
            file = source
            self.shown = printable(str(getattr(source, "name", "archive")))
        try:
            self._bytes = ByteSource(file, self.shown)
            layout = read_layout(self._bytes)
        except BaseException:
            self.close()
            raise
        self.size = self._bytes.size
        self.damage = layout.damage
        self._slots = layout.slots
        self.members = _members(layout.slots)

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
        """
        with self.open(member) as file:
            return file.read()

    def open(self, member: Member) -> BinaryIO:
        """The bytes of a member as a stream; reading it to the end checks them.

        Raises:
            CorruptDataError: it is damaged; reading raises it too.
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

    def raw(self, member: Member) -> tuple[Entry, Iterable[bytes]]:
        """A member as it stands in the archive, for copying; its data are checked first.

        Raises:
            CorruptDataError: it is damaged.
        """
        view = self._settled(member, check=True)
        starts = range(view.start, view.end, PIECE_BYTES)
        return view.entry, (
            self._bytes.read(start, min(PIECE_BYTES, view.end - start)) for start in starts
        )

    def _stream(self, view: View, member: Member) -> BinaryIO:
        return buffered(MemberStream(self._bytes.read, view.start, view.entry, member.shown))

    def _settled(self, member: Member, *, check: bool = False) -> View:
        """The description of the member that its data agree with."""
        if member.problem is not None:
            raise CorruptDataError(f"is damaged: {member.problem}", path=member.shown)
        views = self._slots[member.index].views
        if len(views) == 1 and not check:
            return views[0]
        problems = []
        for view in views:
            try:
                with self._stream(view, member) as file:
                    while file.read(PIECE_BYTES):
                        pass
                return view
            except CorruptDataError as error:
                problems.append(error)
        raise problems[0]


def _members(slots: Iterable[Slot]) -> tuple[Member, ...]:
    members = []
    sources: set[str] = set()
    folders: set[str] = set()
    for index, slot in enumerate(slots):
        view = slot.views[0]
        problem = view.problem
        if view.source is not None and problem is None:
            above = {view.source[:at] for at, char in enumerate(view.source) if char == "/"}
            if view.source in sources or view.source in folders or above & sources:
                problem = "an earlier member has its name"
            elif view.kind == "folder":
                # Files below it may follow, where an archive was made by several tools.
                folders.add(view.source)
            else:
                sources.add(view.source)
            folders |= above
        members.append(
            Member(
                name=printable(view.entry.name.decode("utf-8", "surrogateescape")),
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


def _open(path: Path | str, shown: str) -> BinaryIO:
    try:
        return open(path, "rb")
    except FileNotFoundError:
        raise SourceError("no such file", path=shown) from None
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror or error}", path=shown) from error
