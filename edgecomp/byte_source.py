"""Positional reading of a file that several threads share."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import BinaryIO, Final

from edgecomp.errors import SourceError

_MOST_AT_ONCE: Final = 1 << 30


class ByteSource:
    """A file's bytes by their offsets. Safe to use from several threads at once.

    Args:
        file: open for reading; it is not closed.
        shown: its name for messages.

    Attributes:
        size: of the file in bytes.
        shown: its name for messages.

    Raises:
        SourceError: the system cannot read the file.
    """

    def __init__(self, file: BinaryIO, shown: str) -> None:
        self._file = file
        self.shown = shown
        self._lock = threading.Lock()
        self._descriptor = _descriptor_of(file)
        try:
            self.size = file.seek(0, os.SEEK_END)
        except OSError as error:
            raise self._unreadable(error) from error

    def read(self, offset: int, count: int) -> bytes:
        """Up to ``count`` bytes; fewer at the end of the file only.

        Raises:
            SourceError: the system cannot read the file.
        """
        parts: list[bytes] = []
        if offset >= self.size:  # a lie may be more than the system has a number for
            return b""
        while count > 0:
            try:
                if sys.platform != "win32" and self._descriptor is not None:
                    part = os.pread(self._descriptor, min(count, _MOST_AT_ONCE), offset)
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


def _descriptor_of(file: BinaryIO) -> int | None:
    """What can be read at any offset without moving the file's position; None if there is no such
    thing: for a file in memory, and on Windows."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError):  # io.UnsupportedOperation
            return file.fileno()
    return None
