"""A source being read, of which it is noticed if somebody changes it meanwhile."""

from __future__ import annotations

import io
import os
import stat
from types import TracebackType
from typing import BinaryIO

from edgecomp.folders import open_file, open_folder
from edgecomp.scan import Entry

State = tuple[int, int, int]


class SourceChangedError(OSError):
    """The source was changed while it was read: what was read is a mixture."""

    def __init__(self) -> None:
        super().__init__("changed while it was read")


class SourceFile:
    """A source, open for reading; to be used as a context manager, or closed.

    A change is told by size and the times of modification and status change, as precisely as the
    file system keeps them: who sets a modification time back changes the other. (On Windows that
    other is the time of creation, and tells nothing.)

    Args:
        entry: what to open. What has become a link or a pipe since neither leads nor blocks.

    Attributes:
        file: positioned at the start; able to seek.
        size: in bytes when it was opened.
        mtime_ns: when it was opened, nanoseconds since the epoch.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, entry: Entry) -> None:
        self.file: BinaryIO = os.fdopen(_open(entry), "rb")
        found = os.fstat(self.file.fileno())
        self.size = found.st_size
        self.mtime_ns = found.st_mtime_ns
        self.is_file = stat.S_ISREG(found.st_mode)
        self._state = state_of(found)
        self._is_held = False

    def __enter__(self) -> SourceFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def hold(self) -> bytes:
        """Read all of it into memory, where nobody changes it any more.

        Raises:
            OSError, SourceChangedError: it cannot be read, or was changed.
        """
        data = self.file.read(self.size)
        self.check()
        self.file.close()
        self.file = io.BytesIO(data)
        self._is_held = True
        return data

    def check(self) -> None:
        """See that what was read so far was not changed.

        Raises:
            SourceChangedError: it was.
        """
        if self._is_held:
            return
        found = os.fstat(self.file.fileno())
        if state_of(found) != self._state:
            raise SourceChangedError


def _open(entry: Entry) -> int:
    """A descriptor of a source; below the folder that the user named no link is followed."""
    if not entry.below:
        return open_file(entry.path)
    root = entry.path[: len(entry.path) - len(entry.below)] or os.curdir
    *folders, name = entry.below.split(os.sep)
    folder = open_folder(root)
    try:
        for component in folders:
            inner = folder.enter(component)
            folder.close()
            folder = inner
        return folder.open(name)
    finally:
        folder.close()


def state_of(found: os.stat_result) -> State:
    """What tells whether a file was changed: size, times of modification and of status change."""
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns
