"""Writing files so that a name is either absent, as it was, or complete.

Everything is written to ``NAME.partial-<pid>-<random>`` in the target's own folder, flushed,
synced and renamed. Folders are opened once and files created in them (`folders`).
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Container
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from edgecomp.errors import OutputError, OutputExistsError
from edgecomp.folders import Folder, close, lock, open_folder
from edgecomp.names import printable
from edgecomp.partial_files import partial_name

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_BUFFER_BYTES: Final = 1 << 18


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
        try:
            return os.lseek(self._descriptor, offset, whence)
        except OSError as error:
            raise cannot_write(self._shown, error) from error

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
    try:
        is_folder = target.is_dir()
    except OSError as error:
        raise cannot_write(shown, error) from error
    if is_folder:
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
        folder: the folder to write in, for ``OutputFolder``; ``target`` is then only shown, less
            its last component.
        ours: (device, inode) of files that are not to be replaced, be ``force`` given or not.
        settings: what the content depends on besides the sources, in 8 hexadecimal digits, for a
            later run to know whether it can go on from what this one leaves if it is killed.
        keep: leave what was written when the block ends badly.

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
        folder: Folder | None = None,
        ours: Container[tuple[int, int]] = (),
        settings: str | None = None,
        keep: bool = False,
    ) -> None:
        self._shown = printable(str(target))
        self._name = target.name
        self._force = force
        self._sync = sync
        self._parent = target.parent
        self._given_folder = folder
        self._ours = ours
        self._settings = settings
        self._keep = keep
        self._discarded = False
        self._descriptor: int | None = None
        self._closed_as: os.stat_result | None = None
        self._mtime_ns: int | None = None

    def __enter__(self) -> OutputFile:
        if not self._name:
            raise OutputError(f"{self._shown} is no name for a file", path=self._shown)
        try:
            if self._given_folder is None:
                self._folder = open_folder(self._parent)
            else:
                self._folder = self._given_folder.duplicate()
        except OSError as error:
            raise cannot_write(self._shown, error) from error
        try:
            self._check_target()
            self._open_partial()
        except BaseException:
            self._folder.close()
            raise
        return self

    def _check_target(self) -> None:
        try:
            found = self._folder.status(self._name)
        except FileNotFoundError:
            return
        except OSError as error:
            raise cannot_write(self._shown, error) from error
        if stat.S_ISDIR(found.st_mode):
            raise OutputError(f"{self._shown} is a folder", path=self._shown)
        if not self._force or (found.st_dev, found.st_ino) in self._ours:
            raise already_there(self._shown)

    def _open_partial(self) -> None:
        self._partial = partial_name(self._name, self._settings)
        try:
            self._descriptor = self._folder.create(self._partial)
            lock(self._descriptor)
            raw = _TargetFile(self._descriptor, self._shown)
            self.file = cast(BinaryIO, io.BufferedWriter(raw, _BUFFER_BYTES))
        except OSError as error:
            self._drop_partial()
            raise cannot_write(self._shown, error) from error
        except BaseException:
            # An interrupt may come when the file is there and its descriptor is not known yet.
            self._drop_partial()
            raise

    def _drop_partial(self) -> None:
        """Remove what was created, if it was, and close it, if it is known.

        While it has its name it is locked, so that nobody takes it for a leftover; but not where
        the system removes nothing that is open.
        """
        if not self._folder.moves_open_files:
            self._close()
        with contextlib.suppress(OSError):
            self._folder.remove(self._partial)
        self._close()

    def _close(self) -> None:
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            close(descriptor)

    def set_mtime(self, mtime_ns: int) -> None:
        """Give the finished file this modification time (nanoseconds since the epoch)."""
        self._mtime_ns = mtime_ns

    def discard(self) -> None:
        """When the block ends, leave everything as it was, whichever way it ends."""
        self._discarded = True

    @property
    def identity(self) -> tuple[int, int]:
        """(device, inode) of the file."""
        found = self._status()
        return found.st_dev, found.st_ino

    def size(self) -> int:
        """Bytes written so far."""
        self.file.flush()
        return self._status().st_size

    def _status(self) -> os.stat_result:
        if self._closed_as is not None:
            return self._closed_as
        assert self._descriptor is not None
        try:
            return os.fstat(self._descriptor)
        except OSError as error:
            raise cannot_write(self._shown, error) from error

    def reopen(self) -> BinaryIO:
        """What was written so far, for reading; the caller closes it."""
        self.file.flush()
        try:
            return os.fdopen(self._folder.open(self._partial), "rb")
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
            if kind is None and not self._discarded:
                self._complete()
                named = True
        except BaseException as failure:
            error = failure
            raise
        finally:
            with contextlib.suppress(OutputError, OSError, ValueError):
                self.file.close()
            if not named and not self._is_kept(error):
                self._drop_partial()
            self._close()
            self._folder.close()

    def _is_kept(self, error: BaseException | None) -> bool:
        """Whether what was written stays for a later run to go on from; the error then says so."""
        if error is None or not self._keep or self._discarded:
            return False
        with contextlib.suppress(OutputError):
            if not self._status().st_size:
                return False
        error.add_note("what was done is kept; the same command goes on from there")
        return True

    def _complete(self) -> None:
        self.file.flush()
        try:
            if self._folder.moves_open_files:
                self._set_time()
                self._sync_file()
            else:
                self._sync_file()
                self._closed_as = self._status()
                self._close()
                self._set_time()
            self._rename()
            if self._sync:
                self._folder.sync()
        except OSError as error:
            raise cannot_write(self._shown, error) from error

    def _sync_file(self) -> None:
        assert self._descriptor is not None
        os.fsync(self._descriptor)

    def _set_time(self) -> None:
        if self._mtime_ns is not None:
            # Some file systems cannot hold every time; the content matters more.
            with contextlib.suppress(OSError, OverflowError):
                self._folder.set_file_time(self._partial, self._descriptor, self._mtime_ns)

    def _rename(self) -> None:
        if self._ours:
            self._check_target()
        if not self._force:
            # Replacing would overwrite what appeared in the meantime.
            try:
                if self._folder.name_new(self._partial, self._name):
                    return
            except FileExistsError:
                raise already_there(self._shown) from None
            self._check_target()
        self._folder.replace(self._partial, self._name)
