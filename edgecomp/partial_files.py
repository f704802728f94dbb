"""Unfinished outputs: what they are called, whether a process still writes them, which are there.

An output is written as ``NAME.partial-<pid>-<random>``, and renamed when it is complete. Where a
later run may go on from it, the name ends in ``-<settings>``, a hash of what its content depends
on besides the sources. The writer holds an exclusive lock on it, which ends with the process.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from edgecomp.folders import Folder, close, lock

_PARTIAL: Final = re.compile(r"\.partial-(\d+)-[0-9a-f]{8}(?:-([0-9a-f]{8}))?$", re.ASCII)
_MAX_NAME_BYTES: Final = 255
# So soon after creating a file its writer has locked it.
_SETTLING_SECONDS: Final = 10.0
_LONGEST_CHARACTER: Final = 4  # bytes in UTF-8


@dataclass(frozen=True, slots=True)
class Leftover:
    """The unfinished output of a run.

    Attributes:
        name: of the file, within its folder.
        process: number of the process that wrote it.
        settings: what its content depends on besides the sources; None where it cannot be gone on
            from.
    """

    name: str
    process: int
    settings: str | None


def is_partial_name(name: str) -> bool:
    """Whether a file of that name is an unfinished output of some run."""
    return _PARTIAL.search(name) is not None


def partial_name(target: str, settings: str | None = None) -> str:
    """A new name for the unfinished output that is to become ``target``.

    Args:
        target: name of the output, without folders.
        settings: 8 hexadecimal digits.
    """
    ending = f".partial-{os.getpid()}-{os.urandom(4).hex()}"
    if settings is not None:
        ending += f"-{settings}"
    return _stem(target, ending) + ending


def target_of(name: str) -> str | None:
    """The name that an unfinished output was to get, cut if it is long; None if it is none."""
    match = _PARTIAL.search(name)
    return None if match is None else name[: match.start()]


def leftovers(names: Iterable[str], targets: Collection[str]) -> list[Leftover]:
    """Which of the names in a folder are unfinished outputs that were to get one of these names."""
    found = []
    for name in names:
        match = _PARTIAL.search(name)
        if match is None:
            continue
        stem = name[: match.start()]
        # Only of a long target is the name cut.
        is_cut = len(os.fsencode(name)) > _MAX_NAME_BYTES - _LONGEST_CHARACTER
        if stem in targets or (is_cut and any(_stem(t, match[0]) == stem for t in targets)):
            found.append(Leftover(name, int(match[1]), match[2]))
    return sorted(found, key=lambda leftover: leftover.name)


class Held:
    """A leftover, locked and open for reading.

    Attributes:
        descriptor: of the file, until it is removed.
    """

    def __init__(self, leftover: Leftover, folder: Folder, descriptor: int) -> None:
        self.descriptor = descriptor
        self._leftover = leftover
        self._folder = folder
        self._is_open = True

    def remove(self) -> None:
        """Remove the file, if the system lets us. Nobody else may have it open on Windows."""
        if not self._folder.moves_open_files:
            self.close()
        with contextlib.suppress(OSError):
            self._folder.remove(self._leftover.name)

    def close(self) -> None:
        """Close it, which ends the lock."""
        if self._is_open:
            self._is_open = False
            close(self.descriptor)


@contextlib.contextmanager
def held(leftover: Leftover, folder: Folder) -> Iterator[Held | None]:
    """A leftover in a folder, locked and open for reading within the block.

    None if a process is still writing it, or it has gone.
    """
    try:
        descriptor = folder.open(leftover.name)
    except OSError:
        yield None
        return
    file = Held(leftover, folder, descriptor)
    try:
        yield file if lock(descriptor) and _is_left(descriptor, leftover, folder) else None
    finally:
        file.close()


def _is_left(descriptor: int, leftover: Leftover, folder: Folder) -> bool:
    """Whether a file that nobody has locked is a leftover.

    Its writer may have given it its name or removed it in this moment; or it may have just created
    it, and not locked it yet.
    """
    found = os.fstat(descriptor)
    try:
        named = folder.status(leftover.name)
    except OSError:
        return False
    is_new = not found.st_size and time.time() - found.st_mtime < _SETTLING_SECONDS
    return os.path.samestat(found, named) and not (is_new and _is_running(leftover.process))


def _is_running(process: int) -> bool:
    """Whether there is a process of that number, on this machine."""
    if sys.platform == "win32":
        from edgecomp import windows

        return windows.is_running(process)
    else:
        try:
            os.kill(process, 0)
        except (ProcessLookupError, OverflowError):
            return False
        except OSError:
            pass  # another user's
        return True


def _stem(target: str, ending: str) -> str:
    """The target's name, cut so that the ending fits behind it."""
    base = os.fsencode(target)[: _MAX_NAME_BYTES - len(ending)]
    return base.decode("utf-8", "ignore")
