"""Open folders: the one place that knows how files in them are opened, locked, named and removed.

There are two kinds. On POSIX systems a folder is a descriptor, and files are reached relative to it
(openat): whatever happens to the names above it, it stays the folder that was opened. Windows has
no such calls: there a folder is its path, and every component below the one that was opened first
is seen to be no link right before each use. What is open has to be closed there before it is
renamed or removed, and a folder cannot be synced.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Final

from edgecomp.windows_names import long_path, windows_name

if sys.platform != "win32":
    import fcntl

_WINDOWS: Final = sys.platform == "win32"


def _flags(*names: str) -> int:
    """Those of the flags of ``os`` that this system has."""
    return sum(getattr(os, name, 0) for name in names)


_READ: Final = os.O_RDONLY | _flags("O_CLOEXEC", "O_NONBLOCK", "O_BINARY")
_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | _flags("O_CLOEXEC", "O_NOFOLLOW", "O_BINARY")
_FOLDER: Final = os.O_RDONLY | _flags("O_CLOEXEC", "O_DIRECTORY")
_NO_LINK: Final = _flags("O_NOFOLLOW")
# What link(2) says on file systems that have no hard links (FAT, some network file systems).
_NO_LINKS: Final = frozenset(
    {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES}
    | {getattr(errno, "ENOTSUP", errno.EOPNOTSUPP)}
)
# What fsync(2) says on file systems that cannot sync a folder.
_NO_SYNC: Final = frozenset(
    {errno.EINVAL, errno.EBADF, getattr(errno, "ENOTSUP", errno.EOPNOTSUPP)}
)
# Windows marks with this bit of their tag the reparse points that stand for another file or folder
# (symbolic links, junctions), and without it those that are one (files kept in a cloud).
_NAME_SURROGATE: Final = 0x20000000
# Windows' words for a file that somebody else has open: access denied, a sharing violation.
_IN_USE: Final = frozenset({5, 32})
_PAUSES: Final = (0.01, 0.05, 0.2, 0.5)


def leads_elsewhere(found: os.stat_result) -> bool:
    """Whether what lstat found is a symbolic link, or a junction of Windows."""
    tag = getattr(found, "st_reparse_tag", 0)
    return stat.S_ISLNK(found.st_mode) or bool(tag & _NAME_SURROGATE)


def open_file(path: str | os.PathLike[str]) -> int:
    """A descriptor for reading a file; links are followed, a pipe is not waited for.

    Raises:
        OSError: it cannot be opened.
    """
    return os.open(path, _READ)


def close(descriptor: int) -> None:
    """Close what was only read, or has been synced: failing would have no meaning."""
    with contextlib.suppress(OSError):
        os.close(descriptor)


def lock(descriptor: int) -> bool:
    """Lock a file until it is closed; whether nobody else has locked it.

    File systems that have no locks are taken at their word that nobody else has one.
    """
    if sys.platform == "win32":
        from edgecomp import windows

        return windows.lock(descriptor)
    else:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True


class Folder(ABC):
    """A folder that is open. Names are single components; links under them are never followed.

    Every method but `close` raises OSError where the system cannot.

    Attributes:
        moves_open_files: whether what is open can be renamed and removed.
    """

    moves_open_files: ClassVar[bool]

    @abstractmethod
    def close(self) -> None:
        """Close it; what was opened in it stays open."""

    @abstractmethod
    def duplicate(self) -> Folder:
        """The same folder, to be closed by itself."""

    @abstractmethod
    def enter(self, name: str) -> Folder:
        """A folder in it."""

    @abstractmethod
    def make(self, name: str) -> None:
        """Make a folder in it."""

    @abstractmethod
    def names(self) -> list[str]:
        """What is in it."""

    @abstractmethod
    def status(self, name: str) -> os.stat_result:
        """What is there under a name, which may be a link."""

    @abstractmethod
    def open(self, name: str) -> int:
        """A descriptor for reading a file."""

    @abstractmethod
    def create(self, name: str) -> int:
        """A descriptor for writing and reading a new file."""

    @abstractmethod
    def replace(self, old: str, new: str) -> None:
        """Rename a file; what is there under the new name goes."""

    @abstractmethod
    def name_new(self, old: str, new: str) -> bool:
        """Rename a file if there is nothing under the new name.

        Returns:
            False where this file system can only `replace`; nothing was done then.

        Raises:
            FileExistsError: there is something.
        """

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file."""

    @abstractmethod
    def set_file_time(self, name: str, descriptor: int | None, mtime_ns: int) -> None:
        """Set a file's modification time, in nanoseconds since the epoch.

        Args:
            descriptor: of the file; None if `moves_open_files` is False, when it is closed.
        """

    @abstractmethod
    def set_time(self, mtime_ns: int) -> None:
        """Set its own modification time."""

    @abstractmethod
    def sync(self) -> None:
        """See that the names in it are on disk; file systems that cannot are left in peace."""


class DescriptorFolder(Folder):
    """A folder by its descriptor."""

    moves_open_files = True

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def at(cls, path: str | os.PathLike[str], *, follow: bool = True) -> Folder:
        """Open a folder; see `open_folder`."""
        return cls(os.open(path, _FOLDER if follow else _FOLDER | _NO_LINK))

    def close(self) -> None:
        close(self._descriptor)

    def duplicate(self) -> Folder:
        return DescriptorFolder(os.dup(self._descriptor))

    def enter(self, name: str) -> Folder:
        return DescriptorFolder(os.open(name, _FOLDER | _NO_LINK, dir_fd=self._descriptor))

    def make(self, name: str) -> None:
        os.mkdir(name, dir_fd=self._descriptor)

    def names(self) -> list[str]:
        return os.listdir(self._descriptor)

    def status(self, name: str) -> os.stat_result:
        return os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)

    def open(self, name: str) -> int:
        return os.open(name, _READ | _NO_LINK, dir_fd=self._descriptor)

    def create(self, name: str) -> int:
        return os.open(name, _CREATE, 0o666, dir_fd=self._descriptor)

    def replace(self, old: str, new: str) -> None:
        os.replace(old, new, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def name_new(self, old: str, new: str) -> bool:
        here = self._descriptor
        try:
            os.link(old, new, src_dir_fd=here, dst_dir_fd=here)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return False
        os.unlink(old, dir_fd=here)
        return True

    def remove(self, name: str) -> None:
        os.unlink(name, dir_fd=self._descriptor)

    def set_file_time(self, name: str, descriptor: int | None, mtime_ns: int) -> None:
        assert descriptor is not None
        os.utime(descriptor, ns=(mtime_ns, mtime_ns))

    def set_time(self, mtime_ns: int) -> None:
        os.utime(self._descriptor, ns=(mtime_ns, mtime_ns))

    def sync(self) -> None:
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            if error.errno not in _NO_SYNC:
                raise


class PathFolder(Folder):
    """A folder by its path, for systems that have nothing else.

    Args:
        path: of the folder.
        above: the folder in which it was entered; None for the first, which may be a link.
    """

    moves_open_files = False

    def __init__(self, path: str, above: PathFolder | None = None) -> None:
        self._path = path
        self._above = above

    @classmethod
    def at(cls, path: str | os.PathLike[str], *, follow: bool = True) -> Folder:
        """Open a folder; see `open_folder`."""
        place = _long(os.path.abspath(path))
        _require_folder(os.stat(place) if follow else os.lstat(place))
        return cls(place)

    def _at(self, name: str) -> str:
        """The path of a name, to which no link leads right now."""
        if os.path.basename(name) != name or (_WINDOWS and windows_name(name) != name):
            raise OSError(errno.EINVAL, "this system has no such names")
        return _long(os.path.join(self._here(), name))

    def _here(self) -> str:
        below: list[str] = []
        folder = self
        while folder._above is not None:
            below.append(folder._path)
            folder = folder._above
        for path in reversed(below):
            _require_folder(os.lstat(path))
        return self._path

    def close(self) -> None:
        pass

    def duplicate(self) -> Folder:
        return self

    def enter(self, name: str) -> Folder:
        path = self._at(name)
        _require_folder(os.lstat(path))
        return PathFolder(path, self)

    def make(self, name: str) -> None:
        os.mkdir(self._at(name))

    def names(self) -> list[str]:
        return os.listdir(self._here())

    def status(self, name: str) -> os.stat_result:
        return os.lstat(self._at(name))

    def open(self, name: str) -> int:
        path = self._at(name)
        if leads_elsewhere(os.lstat(path)):
            raise _link()
        return os.open(path, _READ)

    def create(self, name: str) -> int:
        return os.open(self._at(name), _CREATE, 0o666)

    def replace(self, old: str, new: str) -> None:
        _patiently(lambda: os.replace(self._at(old), self._at(new)))

    def name_new(self, old: str, new: str) -> bool:
        if sys.platform == "win32":  # where it never replaces anything
            _patiently(lambda: os.rename(self._at(old), self._at(new)))
        else:
            try:
                os.link(self._at(old), self._at(new))
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                return False
            self.remove(old)
        return True

    def remove(self, name: str) -> None:
        _patiently(lambda: os.unlink(self._at(name)))

    def set_file_time(self, name: str, descriptor: int | None, mtime_ns: int) -> None:
        os.utime(self._at(name), ns=(mtime_ns, mtime_ns))

    def set_time(self, mtime_ns: int) -> None:
        os.utime(self._here(), ns=(mtime_ns, mtime_ns))

    def sync(self) -> None:
        """Nothing: Windows opens no folder for that. Its file systems keep a journal of names."""


_KIND: type[DescriptorFolder | PathFolder] = (
    PathFolder if sys.platform == "win32" else DescriptorFolder
)


def open_folder(path: str | os.PathLike[str], *, follow: bool = True) -> Folder:
    """Open a folder, to be closed by the caller.

    Args:
        path: of the folder.
        follow: whether it may be reached through a link as its last component.

    Raises:
        OSError: there is none, or it cannot be opened.
    """
    return _KIND.at(path, follow=follow)


def _long(path: str) -> str:
    return long_path(path) if _WINDOWS else path


def _require_folder(found: os.stat_result) -> None:
    """Raises what open(2) says with O_DIRECTORY and O_NOFOLLOW."""
    if leads_elsewhere(found):
        raise _link()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))


def _link() -> OSError:
    return OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _patiently(call: Callable[[], None]) -> None:
    """Do it, several times if somebody has the file open: virus scanners and indexers look at
    every new file of Windows for a moment."""
    for pause in _PAUSES:
        try:
            return call()
        except OSError as error:
            if getattr(error, "winerror", None) not in _IN_USE:
                raise
        time.sleep(pause)
    call()
