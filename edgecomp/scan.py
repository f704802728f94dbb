"""Sources to a list of what goes into the archive: walking, choosing, leaving out with a reason."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, Literal

from edgecomp.errors import SourceError, UsageError
from edgecomp.folders import leads_elsewhere
from edgecomp.names import Note, printable, unsafe_reason
from edgecomp.output import reason_of
from edgecomp.partial_files import is_partial_name

_SPECIAL: Final = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISCHR, "a device"),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One file or empty folder that goes into the archive.

    Attributes:
        path: where it is on disk.
        source: its path in the archive, "/" between components.
        kind: file or empty folder.
        size: in bytes when it was looked at.
        mtime_ns: nanoseconds since the epoch.
        below: the part of ``path`` below the folder that the user named, in which no symbolic link
            is followed; "" if the user named the file itself, which may be one.
    """

    path: str
    source: str
    kind: Literal["file", "folder"]
    size: int
    mtime_ns: int
    below: str = ""


@dataclass(frozen=True, slots=True)
class Scan:
    """What was found: entries sorted by their paths in the archive, and what was left out."""

    entries: tuple[Entry, ...]
    skipped: tuple[Note, ...]


@dataclass
class _Filter:
    include: Sequence[str]
    exclude: Sequence[str]
    avoid: frozenset[tuple[int, int] | str]

    def excludes(self, source: str) -> bool:
        return _matches(source, self.exclude)

    def includes(self, source: str) -> bool:
        return not self.include or _matches(source, self.include)


def _matches(source: str, patterns: Sequence[str]) -> bool:
    base = source.rpartition("/")[2]
    globs = [pattern.replace(os.sep, "/").rstrip("/") for pattern in patterns]
    return any(fnmatchcase(source, glob) or fnmatchcase(base, glob) for glob in globs)


@dataclass
class _Walk:
    chosen: _Filter
    entries: list[Entry] = field(default_factory=list)
    skipped: list[Note] = field(default_factory=list)

    def skip(self, path: str, reason: str) -> None:
        self.skipped.append(Note(printable(path), reason))

    def folder(self, path: str, prefix: str) -> None:
        """Walk a folder; recursion is a list, since trees may be deeper than Python's stack."""
        root = len(path)
        todo = [(path, prefix)]
        while todo:
            here, source = todo.pop()
            try:
                with os.scandir(here) as listing:
                    found = sorted(listing, key=lambda item: item.name)
                    mtime_ns = os.stat(here).st_mtime_ns
            except OSError as error:
                self.skip(here, f"cannot be read: {reason_of(error)}")
                continue
            # "Empty" is what would not come back without a member of its own.
            if not found and source and not self.chosen.include:
                self.entries.append(Entry(here, source, "folder", 0, mtime_ns))
            todo.extend(self._children(found, source, root))

    def _children(
        self, found: Sequence[os.DirEntry[str]], source: str, root: int
    ) -> Iterator[tuple[str, str]]:
        for item in found:
            name = f"{source}/{item.name}" if source else item.name
            if self.chosen.excludes(name):
                continue
            reason = unsafe_reason(name)
            if reason is not None:
                self.skip(item.path, reason)
                continue
            try:
                status = _status_of(item)
            except OSError as error:
                self.skip(item.path, f"cannot be read: {reason_of(error)}")
                continue
            if stat.S_ISDIR(status.st_mode) and not leads_elsewhere(status):
                yield item.path, name
            else:
                self.file(item.path, name, status, below=item.path[root:].lstrip(os.sep))

    def file(self, path: str, source: str, status: os.stat_result, *, below: str = "") -> None:
        """Take a file, if it is one and was chosen."""
        if not self.chosen.includes(source) or self._is_ours(path, status):
            return
        if leads_elsewhere(status):
            self.skip(path, "a symbolic link")
            return
        if not stat.S_ISREG(status.st_mode):
            what = next((what for test, what in _SPECIAL if test(status.st_mode)), "no file")
            self.skip(path, what)
            return
        self.entries.append(Entry(path, source, "file", status.st_size, status.st_mtime_ns, below))

    def _is_ours(self, path: str, status: os.stat_result) -> bool:
        """Whether it is the output, or the temporary file of some run."""
        return (
            is_partial_name(path)
            or (status.st_dev, status.st_ino) in self.chosen.avoid
            or _place(path) in self.chosen.avoid
        )


def scan(
    sources: Sequence[str],
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    output: Path | None = None,
) -> Scan:
    """List what goes into an archive.

    A single folder is taken as the root: paths are relative to it. Of several sources, each
    keeps its own name as the first component. Symbolic links within folders are not followed.

    Args:
        sources: files and folders.
        include: globs; only files match whose path in the archive, or name, matches one.
        exclude: globs; what matches is left out, folders with all that is in them.
        output: the archive to be written, which never goes into itself.

    Raises:
        SourceError: a source is missing.
        UsageError: two sources have the same path in the archive.
    """
    walk = _Walk(_Filter(include, exclude, _identities(output)))
    for source in sources:
        try:
            status = os.stat(source)
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            what = "no such file or folder" if missing else f"cannot be read: {reason_of(error)}"
            raise SourceError(what, path=printable(source)) from None
        name = _base_name(source)
        if len(sources) == 1 and stat.S_ISDIR(status.st_mode):
            _check_readable(source)
            walk.folder(source, "")
            continue
        reason = unsafe_reason(name)
        if reason is not None:
            walk.skip(source, reason)
        elif stat.S_ISDIR(status.st_mode):
            walk.folder(source, name)
        elif not walk.chosen.excludes(name):
            walk.file(source, name, status)
    entries = sorted(walk.entries, key=lambda entry: entry.source)
    _check_distinct(entries)
    return Scan(tuple(entries), tuple(sorted(walk.skipped, key=lambda note: note.path)))


def _check_readable(folder: str) -> None:
    try:
        os.scandir(folder).close()
    except OSError as error:
        what = f"cannot be read: {reason_of(error)}"
        raise SourceError(what, path=printable(folder)) from None


def _identities(output: Path | None) -> frozenset[tuple[int, int] | str]:
    if output is None:
        return frozenset()
    identities: set[tuple[int, int] | str] = {_place(output)}
    try:
        status = os.stat(output)
    except OSError:
        pass
    else:
        identities.add((status.st_dev, status.st_ino))
    return frozenset(identities)


def _status_of(item: os.DirEntry[str]) -> os.stat_result:
    """What is there, links not followed. (What a folder of Windows says of the files in it lacks
    their numbers, and may be old.)"""
    status = item.stat(follow_symlinks=False)
    return status if status.st_ino else os.stat(item.path, follow_symlinks=False)


def _place(path: str | Path) -> str:
    """Equal for paths that the system takes for one, as far as their spelling tells."""
    return os.path.normcase(os.path.abspath(path))


def _base_name(source: str) -> str:
    """The last component, also of ``.``, ``dir/`` and ``dir/..``."""
    name = os.path.basename(source.rstrip(os.sep + (os.altsep or "")))
    if name in ("", ".", ".."):
        name = os.path.basename(os.path.realpath(source))
    return name


def _check_distinct(entries: Sequence[Entry]) -> None:
    """Entries are sorted, so equal paths are neighbours; a file's path may be a folder's too."""
    files: dict[str, str] = {}
    for entry in entries:
        if entry.source in files:
            _refuse(files[entry.source], entry)
        files[entry.source] = entry.path
    for entry in entries:
        at = entry.source.rfind("/")
        while at > 0:
            above = entry.source[:at]
            if above in files:
                _refuse(files[above], entry)
            at = entry.source.rfind("/", 0, at)


def _refuse(first: str, second: Entry) -> None:
    raise UsageError(
        f"{printable(first)} and {printable(second.path)} would both be {second.source} in the"
        " archive; compress them separately, or a folder that holds both"
    )
