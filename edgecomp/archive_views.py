"""A member of an archive as one of its two descriptions has it (local header, directory record)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from edgecomp import ziprecords as z
from edgecomp.constants import CODESTREAM_SUFFIX
from edgecomp.errors import CorruptDataError, FormatError
from edgecomp.heading import Heading, read_heading
from edgecomp.names import printable, safe_relative_path, source_of

Reader = Callable[[int, int], bytes]
"""Up to so many bytes from an offset of the archive."""
Kind = Literal["picture", "verbatim-picture", "file", "folder"]

MAX_CODESTREAM_BYTES: Final = 1 << 30


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


def view_of(entry: z.Entry, start: int, read: Reader, *, limit: int) -> View:
    """What a description says, checked without reading the member's data beyond its header.

    Args:
        entry: the description.
        start: offset of the member's data.
        read: reads the archive.
        limit: where the members end.

    Raises:
        SourceError: the archive cannot be read.
    """
    kind: Kind = "picture" if entry.name.endswith(CODESTREAM_SUFFIX.encode()) else "file"
    problem = entry.problem()
    if problem is None and start + entry.stored > limit:
        problem = "it reaches past the last member"
    if problem is None:
        try:
            return _sound_view(entry, start, read)
        except UnicodeDecodeError:
            problem = "its name is not UTF-8"
        except FormatError as error:
            problem = error.message
    return View(entry, start, None, kind, None, None, problem)


def _sound_view(entry: z.Entry, start: int, read: Reader) -> View:
    name = entry.name.decode()
    extra = z.Extra.unpack(entry.extra, entry.name)
    if extra is not None:
        source = safe_relative_path(name.removesuffix("/"))
        return View(entry, start, source, _kind_of(entry, extra), extra.mtime_ns, None, None)
    if not name.endswith(CODESTREAM_SUFFIX):
        raise CorruptDataError("it was not written by edgecomp, or its header is damaged")
    if entry.method != z.STORED or entry.stored > MAX_CODESTREAM_BYTES:
        raise CorruptDataError("its codestream is compressed or impossibly long")

    def read_within(offset: int, count: int) -> bytes:
        return read(start + offset, min(count, entry.stored - offset))

    heading = read_heading(read_within)
    origin = heading.origin
    if origin is None:
        raise CorruptDataError("its codestream does not say where it came from")
    source = source_of(name, origin.suffix, origin.name_check)
    return View(entry, start, source, "picture", origin.mtime_ns, heading, None)


def _kind_of(entry: z.Entry, extra: z.Extra) -> Kind:
    if entry.is_folder:
        if entry.size or entry.stored:
            raise CorruptDataError("it is a folder with content")
        return "folder"
    return "verbatim-picture" if extra.kind == z.KIND_VERBATIM_PICTURE else "file"


def shown_name(entry: z.Entry) -> str:
    """The name in a description, fit for any output."""
    return printable(entry.name.decode("utf-8", "surrogateescape"))


def looks_ours(entry: z.Entry) -> bool:
    """Whether edgecomp is likely to have written the description."""
    try:
        has_extra = z.Extra.unpack(entry.extra, entry.name) is not None
    except CorruptDataError:
        has_extra = True
    return has_extra or entry.name.endswith(CODESTREAM_SUFFIX.encode())
