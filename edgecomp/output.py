"""Writing files so that a name is either absent, as it was, or complete.

Everything is written to ``NAME.partial-<pid>-<random>`` in the target's own folder, flushed,
synced and renamed. Folders are opened once and files created relative to them, so a symbolic link
that appears below an output folder is never followed.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import stat
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from edgecomp.errors import OutputError, OutputExistsError
from edgecomp.names import printable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_PARTIAL: Final = re.compile(r"\.partial-[0-9]+-[0-9a-f]{8}$")
_BUFFER_BYTES: Final = 1 << 18
_MAX_NAME_BYTES: Final = 255
_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# What link(2) says on file systems that have no hard links (FAT, some network file systems).
_NO_LINKS: Final = frozenset(
    {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES}
)


def is_partial_name(name: str) -> bool:
    """Whether a file of that name is an unfinished output of some run."""
    return _PARTIAL.search(name) is not None


def reason_of(error: OSError) -> str:
    """The system's words for an error, without number and path."""
    return error.strerror or str(error) or type(error).__name__


class _TargetFile(io.RawIOBase):
    """A file being written, whose errors name the target.

    It has no ``fileno`` on purpose: libraries that write past Python would raise errors that do
    not say which file they are about.
    """

    def __init__(self, descriptor: int, shown: str) -> None:
        self._descriptor = descriptor
        self._shown = shown

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return os.write(self._descriptor, data)
        except OSError as error:
            raise cannot_write(self._shown, error) from error

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return os.lseek(self._descriptor, offset, whence)

    def truncate(self, size: int | None = None, /) -> int:
        end = self.tell() if size is None else size
        try:
            os.ftruncate(self._descriptor, end)
        except OSError as error:
            raise cannot_write(self._shown, error) from error
        return end


def cannot_write(shown: str, error: OSError) -> OutputError:
    """The error for a target that the system refuses to write."""
    return OutputError(f"cannot write {shown}: {reason_of(error)}", path=shown)


def already_there(shown: str) -> OutputExistsError:
    """The error for an output that exists."""
    return OutputExistsError(f"{shown} is already there (force overwrites it)", path=shown)


def check_output(target: Path, *, replace: bool) -> None:
    """See early whether a file can be written.

    Raises:
        OutputExistsError: it is there, and is not to be replaced.
        OutputError: it is a folder.
    """
    shown = printable(str(target))
    if target.is_dir():
        raise OutputError(f"{shown} is a folder", path=shown)
    if not replace and os.path.lexists(target):
        raise already_there(shown)


class OutputFile:
    """A context manager that writes one file; it gets its name when the block ends well.

    Attributes:
        file: where to write; writing raises OutputError (disk full, ...).

    Args:
        target: the file's path.
        force: replace what is there. Without it, a file that is there, or that appears in the
            meantime, is left alone.
        sync: also sync the folder after renaming (the file itself is always synced).
        folder: descriptor of the folder to write in, for ``OutputFolder``; ``target`` is then
            only shown, less its last component.

    Raises:
        OutputExistsError: the target is there and ``force`` was not given.
        OutputError: the target cannot be written.
    """

    file: BinaryIO

    def __init__(
        self,
        target: Path,
        *,
        force: bool = False,
        sync: bool = True,
        folder: int | None = None,
    ) -> None:
        self._shown = printable(str(target))
        self._name = target.name
        self._force = force
        self._sync = sync
        self._parent = target.parent
        self._given_folder = folder
        self._mtime_ns: int | None = None

    def __enter__(self) -> OutputFile:
        if not self._name:
            raise OutputError(f"{self._shown} is no name for a file", path=self._shown)
        try:
            if self._given_folder is None:
                self._folder = os.open(self._parent, _FOLDER_FLAGS)
            else:
                self._folder = os.dup(self._given_folder)
        except OSError as error:
            raise cannot_write(self._shown, error) from error
        try:
            self._check_target()
            self._open_partial()
        except BaseException:
            os.close(self._folder)
            raise
        return self

    def _check_target(self) -> None:
        try:
            found = os.stat(self._name, dir_fd=self._folder, follow_symlinks=False)
        except FileNotFoundError:
            return
        except OSError as error:
            raise cannot_write(self._shown, error) from error
        if stat.S_ISDIR(found.st_mode):
            raise OutputError(f"{self._shown} is a folder", path=self._shown)
        if not self._force:
            raise already_there(self._shown)

    def _open_partial(self) -> None:
        ending = f".partial-{os.getpid()}-{os.urandom(4).hex()}"
        base = os.fsencode(self._name)[: _MAX_NAME_BYTES - len(ending)]
        self._partial = base.decode("utf-8", "ignore") + ending
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._descriptor = os.open(self._partial, flags, 0o666, dir_fd=self._folder)
        except OSError as error:
            raise cannot_write(self._shown, error) from error
        raw = _TargetFile(self._descriptor, self._shown)
        self.file = cast(BinaryIO, io.BufferedWriter(raw, _BUFFER_BYTES))

    def set_mtime(self, mtime_ns: int) -> None:
        """Give the finished file this modification time (nanoseconds since the epoch)."""
        self._mtime_ns = mtime_ns

    def size(self) -> int:
        """Bytes written so far."""
        self.file.flush()
        return os.fstat(self._descriptor).st_size

    def reopen(self) -> BinaryIO:
        """What was written so far, for reading; the caller closes it."""
        self.file.flush()
        try:
            descriptor = os.open(self._partial, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._folder)
            return os.fdopen(descriptor, "rb")
        except OSError as error:
            raise cannot_write(self._shown, error) from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        named = False
        try:
            if kind is None:
                self._complete()
                named = True
        finally:
            with contextlib.suppress(OutputError, OSError, ValueError):
                self.file.close()
            os.close(self._descriptor)
            if not named:
                with contextlib.suppress(OSError):
                    os.unlink(self._partial, dir_fd=self._folder)
            os.close(self._folder)

    def _complete(self) -> None:
        self.file.flush()
        try:
            if self._mtime_ns is not None:
                # Some file systems cannot hold every time; the content matters more.
                with contextlib.suppress(OSError, OverflowError):
                    os.utime(self._descriptor, ns=(self._mtime_ns, self._mtime_ns))
            os.fsync(self._descriptor)
            self._rename()
            if self._sync:
                sync_folder(self._folder)
        except OSError as error:
            raise cannot_write(self._shown, error) from error

    def _rename(self) -> None:
        folder = self._folder
        if not self._force:
            # A link fails where a rename would overwrite what appeared in the meantime.
            try:
                os.link(self._partial, self._name, src_dir_fd=folder, dst_dir_fd=folder)
            except FileExistsError:
                raise already_there(self._shown) from None
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                self._check_target()
            else:
                os.unlink(self._partial, dir_fd=folder)
                return
        os.replace(self._partial, self._name, src_dir_fd=folder, dst_dir_fd=folder)


def sync_folder(descriptor: int) -> None:
    """Sync a folder; file systems that cannot are left in peace."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise


class OutputFolder:
    """The folder into which an archive is restored. Safe to use from several threads.

    Nothing below it is reached through a symbolic link; the folder itself may be one, since the
    user named it.

    Args:
        root: the folder; it is made, with those above it, when the first file is.
        force: replace files that are there.
    """

    def __init__(self, root: Path, *, force: bool = False) -> None:
        self._root = root
        self._force = force
        self._made: list[Path] = []

    def find_conflict(self, relative: str) -> str | None:
        """The path, as shown, of what is there already under the name; None if nothing is.

        Raises:
            OutputError: a folder on the way is a symbolic link or a file.
        """
        path = self._root
        components = relative.split("/")
        for component in components[:-1]:
            path = path / component
            found = _kind_of(path)
            if found is None:
                return None
            if not stat.S_ISDIR(found):
                raise self._no_folder(path)
        path = path / components[-1]
        return None if _kind_of(path) is None else printable(str(path))

    def file(self, relative: str) -> OutputFile:
        """An OutputFile for a safe relative path; the folders above it are made.

        Raises:
            OutputError: they cannot be made.
        """
        folder, _, _ = relative.rpartition("/")
        descriptor = self._open(folder)
        try:
            output = _OwningOutputFile(
                self._root / relative, force=self._force, sync=False, folder=descriptor
            )
        except BaseException:
            os.close(descriptor)
            raise
        return output

    def folder(self, relative: str, mtime_ns: int) -> None:
        """Make an empty folder, and those above it; its time is in nanoseconds since the epoch.

        Raises:
            OutputError: it cannot be made.
        """
        descriptor = self._open(relative)
        try:
            with contextlib.suppress(OSError, OverflowError):
                os.utime(descriptor, ns=(mtime_ns, mtime_ns))
        finally:
            os.close(descriptor)

    def sync(self) -> None:
        """Sync the root, so that the folders made below it are on disk too."""
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(self._root, _FOLDER_FLAGS)
            try:
                sync_folder(descriptor)
            finally:
                os.close(descriptor)

    def _open(self, relative: str) -> int:
        path = self._root
        try:
            path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, _FOLDER_FLAGS)
            for component in relative.split("/") if relative else ():
                path = path / component
                parent = descriptor
                try:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(component, dir_fd=parent)
                    descriptor = os.open(component, _FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=parent)
                finally:
                    os.close(parent)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise self._no_folder(path) from error
            raise cannot_write(printable(str(path)), error) from error
        return descriptor

    @staticmethod
    def _no_folder(path: Path) -> OutputError:
        shown = printable(str(path))
        what = "a symbolic link" if path.is_symlink() else "not a folder"
        return OutputError(f"{shown} is {what}; nothing is written through it", path=shown)


class _OwningOutputFile(OutputFile):
    """An OutputFile that closes the folder descriptor it was given."""

    def __enter__(self) -> OutputFile:
        try:
            return super().__enter__()
        finally:
            # The base class has its own copy by now, or has failed.
            assert self._given_folder is not None
            os.close(self._given_folder)


def _kind_of(path: Path) -> int | None:
    """The mode of what is at the path, links not followed; None if there is nothing."""
    try:
        return os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise cannot_write(printable(str(path)), error) from error
