"""The folder into which an archive is restored: nothing in it is reached through a link.

Folders are opened one below the other and files created in them, so a symbolic link that appears
below the output folder is never followed (`folders` says how far that goes on Windows).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any, Final

from edgecomp.errors import OutputError
from edgecomp.folders import Folder, open_folder
from edgecomp.names import meeting_key, printable
from edgecomp.output import OutputFile, cannot_write
from edgecomp.partial_files import held, leftovers

# File systems round the times of files: FAT to two seconds, others to one.
_ROUNDING_NS: Final = 2_000_000_000


class OutputFolder:
    """The folder into which an archive is restored. Safe to use from several threads.

    Nothing below it is reached through a symbolic link; the folder itself may be one, since the
    user named it.

    Args:
        root: the folder; it is made, with those above it, when the first file is.
        force: replace files that are there.
        twins: names among which some may be one to the file system (``a.txt``, ``A.txt``): where
            they are, the second is refused, and does not replace the first.
    """

    def __init__(
        self, root: Path, *, force: bool = False, twins: Container[str] = frozenset()
    ) -> None:
        self._root = root
        self._force = force
        self._twins = twins
        self._written = _Written()
        # Folders in which names have appeared, which are to be on disk in the end.
        self._changed: set[str] = set()

    def find_conflict(self, relative: str) -> str | None:
        """The path, as shown, of what is there already under the name; None if nothing is.

        Raises:
            OutputError: a folder on the way is a symbolic link or a file.
        """
        return None if self._look(relative) is None else printable(str(self._root / relative))

    def has(self, relative: str, mtime_ns: int, size: int | None = None) -> bool:
        """Whether an earlier run has restored a file: one of its time, and its size, is there.

        Files get their names when they are complete, so what is there is whole.

        Raises:
            OutputError: a folder on the way is a symbolic link or a file.
        """
        found = self._look(relative)
        return (
            found is not None
            and stat.S_ISREG(found.st_mode)
            and abs(found.st_mtime_ns - mtime_ns) < _ROUNDING_NS
            and size in (None, found.st_size)
        )

    def size(self, relative: str) -> int:
        """Bytes of a file that is there; 0 if it has gone."""
        found = self._look(relative)
        return 0 if found is None else found.st_size

    def _look(self, relative: str) -> os.stat_result | None:
        """What is there under the name, links not followed.

        Raises:
            OutputError: a folder on the way is a symbolic link or a file.
        """
        *folders, name = relative.split("/")
        path = self._root
        try:
            folder = open_folder(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise cannot_write(printable(str(path)), error) from error
        # Step by step: the whole path may be longer than the system takes at once.
        try:
            for component in folders:
                path = path / component
                if _status_of(component, folder) is None:
                    return None
                inner = folder.enter(component)
                folder.close()
                folder = inner
            return _status_of(name, folder)
        except OSError as error:
            raise self._no_way(path, error) from error
        finally:
            folder.close()

    def remove_unfinished(self, names: Iterable[str]) -> None:
        """Remove what runs that were killed have left of files that were to get these names."""
        wanted: dict[Path, set[str]] = {}
        for name in names:
            path = self._root / name
            wanted.setdefault(path.parent, set()).add(path.name)
        for folder, targets in wanted.items():
            _remove_unfinished(folder, targets)

    def file(self, relative: str, *, replace: bool = False) -> OutputFile:
        """An OutputFile for a safe relative path; the folders above it are made.

        Args:
            relative: the path.
            replace: replace what is there, even where ``force`` was not given.

        Raises:
            OutputError: they cannot be made.
        """
        above, _, _ = relative.rpartition("/")
        folder = self._open(above)
        self._changed.add(above)
        try:
            output = _OwningOutputFile(
                self._root / relative,
                force=self._force or replace,
                sync=False,
                folder=folder,
                written=self._written if relative in self._twins else None,
            )
        except BaseException:
            folder.close()
            raise
        return output

    def folder(self, relative: str, mtime_ns: int) -> None:
        """Make an empty folder, and those above it; its time is in nanoseconds since the epoch.

        Raises:
            OutputError: it cannot be made.
        """
        folder = self._open(relative)
        self._changed.add(relative)
        try:
            with contextlib.suppress(OSError, OverflowError):
                folder.set_time(mtime_ns)
        finally:
            folder.close()

    def sync(self) -> None:
        """Sync the folders in which files have got their names, so that these are on disk.

        (Those in which folders were made were synced then.)

        Raises:
            OutputError: the system cannot.
        """
        for relative in sorted(self._changed):
            folder = self._open(relative)
            try:
                folder.sync()
            except OSError as error:
                raise cannot_write(printable(str(self._root / relative)), error) from error
            finally:
                folder.close()

    def _open(self, relative: str) -> Folder:
        path = self._root
        try:
            _make(path)
            folder = open_folder(path)
            for component in relative.split("/") if relative else ():
                path = path / component
                parent = folder
                try:
                    with contextlib.suppress(FileExistsError):
                        parent.make(component)
                        parent.sync()
                    folder = parent.enter(component)
                finally:
                    parent.close()
        except OSError as error:
            raise self._no_way(path, error) from error
        return folder

    @staticmethod
    def _no_way(path: Path, error: OSError) -> OutputError:
        """The error for a folder that cannot be entered."""
        shown = printable(str(path))
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            return cannot_write(shown, error)
        what = "not a folder"
        with contextlib.suppress(OSError):  # too long to be asked about
            what = "a symbolic link" if path.is_symlink() else what
        return OutputError(f"{shown} is {what}; nothing is written through it", path=shown)


class _Written:
    """Which files a run has written, told by device and inode, whatever they are called."""

    def __init__(self) -> None:
        self.files: set[tuple[int, int]] = set()
        self.lock = threading.Lock()


class _OwningOutputFile(OutputFile):
    """An OutputFile that closes the folder it was given.

    Args:
        written: files that it does not replace, and that it becomes one of; None if it may replace
            any.
        others: see OutputFile.
    """

    def __init__(self, target: Path, *, written: _Written | None, **others: Any) -> None:
        super().__init__(target, ours=() if written is None else written.files, **others)
        self._written = written

    def _complete(self) -> None:
        if self._written is None:
            super()._complete()
            return
        with self._written.lock:
            super()._complete()
            self._written.files.add(self.identity)

    def __enter__(self) -> OutputFile:
        try:
            return super().__enter__()
        finally:
            # The base class has its own copy by now, or has failed.
            assert self._given_folder is not None
            self._given_folder.close()


def _remove_unfinished(folder: Path, targets: set[str]) -> None:
    try:
        opened = open_folder(folder, follow=False)
    except OSError:
        return
    try:
        for leftover in leftovers(opened.names(), targets):
            with held(leftover, opened) as file:
                if file is not None:
                    file.remove()
    finally:
        opened.close()


def twins_of(names: Iterable[str]) -> frozenset[str]:
    """Those of the names that meet another one of them."""
    first: dict[str, str] = {}
    twins: set[str] = set()
    for name in names:
        known = first.setdefault(meeting_key(name), name)
        if known != name:
            twins |= {known, name}
    return frozenset(twins)


def _status_of(name: str, folder: Folder) -> os.stat_result | None:
    """What is there under a name in a folder, links not followed; None if there is nothing."""
    try:
        return folder.status(name)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _make(root: Path) -> None:
    """Make a folder, and those above it, if it is not there; its name is on disk then."""
    if root.is_dir():
        return
    root.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError, PermissionError):  # a folder that may not be read
        folder = open_folder(root.parent)
        try:
            folder.sync()
        finally:
            folder.close()
