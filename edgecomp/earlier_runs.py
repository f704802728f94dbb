"""What interrupted runs have left of an archive, for a run to go on from."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from edgecomp._version import VERSION
from edgecomp.archive import ArchiveReader, Member
from edgecomp.codec import Codec
from edgecomp.errors import EdgecompError, OutputError
from edgecomp.folders import Folder, open_folder
from edgecomp.names import printable
from edgecomp.output import cannot_write
from edgecomp.partial_files import Held, Leftover, held, leftovers
from edgecomp.prepare import Job, is_current


def settings_of(
    codec: Codec | None, max_pixels: int | None, *, precision: str | None = None
) -> str:
    """What an archive depends on besides its sources, as 8 hexadecimal digits.

    Args:
        codec: for pictures; None if there are none.
        max_pixels: larger pictures are kept as they are.
        precision: of a codec that is like this one otherwise; None for its own.
    """
    parts = [VERSION, str(max_pixels)]
    if codec is not None:
        name, precision = codec.backend.name, precision or codec.backend.precision
        parts += [codec.model_id.hex(), str(codec.coder_id), name, precision]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def begun_precision(target: Path, codec: Codec, max_pixels: int | None) -> str | None:
    """The precision of an interrupted run that differs from this one in it alone.

    Returns:
        None if there is no such run, or one that has this one's precision.

    Raises:
        OutputError: the folder of the target cannot be read.
    """
    folder = _open_folder(target)
    if folder is None:
        return None
    try:
        begun = {leftover.settings for leftover in leftovers(folder.names(), (target.name,))}
    except OSError as error:
        raise cannot_write(printable(str(target)), error) from error
    finally:
        folder.close()
    if settings_of(codec, max_pixels) in begun:
        return None
    for precision in codec.model.precisions:
        if settings_of(codec, max_pixels, precision=precision) in begun:
            return precision
    return None


class EarlierRuns:
    """The unfinished archives that earlier runs have left beside their target, opened and locked.

    To be used as a context manager. Members are taken over only where they are what this run would
    make, so that the archive has the bytes of an unbroken run.

    Args:
        target: the archive to be.
        settings: of this run (`settings_of`); what was begun with others is left alone.
        finished: whether the target itself is taken for a run's result too, if it is there.

    Raises:
        OutputError: another process is writing the archive at this moment.
    """

    def __init__(self, target: Path, settings: str, *, finished: bool) -> None:
        self._target = target
        self._settings = settings
        self._finished = finished
        self._readers: list[ArchiveReader] = []
        self._held: list[Held] = []
        self._reading = ExitStack()
        self._stack = ExitStack()

    def __enter__(self) -> EarlierRuns:
        with self._stack as stack:
            stack.callback(lambda: self._reading.close())
            if self._finished:
                # Before what others have left: of the target's own members it is made again.
                with contextlib.suppress(EdgecompError):
                    reader = ArchiveReader(self._target, max_members=None, max_expansion=None)
                    self._readers.append(stack.enter_context(reader))
            folder = _open_folder(self._target)
            if folder is not None:
                stack.callback(folder.close)
                for leftover in leftovers(folder.names(), (self._target.name,)):
                    if leftover.settings == self._settings:
                        self._open(leftover, folder, stack)
            self._stack = stack.pop_all()
        return self

    def _open(self, leftover: Leftover, folder: Folder, stack: ExitStack) -> None:
        file = stack.enter_context(held(leftover, folder))
        if file is None:
            shown = printable(str(self._target))
            what = f"process {leftover.process} is writing {shown} at this moment"
            raise OutputError(what, path=shown)
        self._held.append(file)
        data = self._reading.enter_context(open(os.dup(file.descriptor), "rb"))
        with contextlib.suppress(EdgecompError):
            # Only what has the right checksum is taken over, so nothing else needs to be whole.
            reader = ArchiveReader(data, max_members=None, max_expansion=None)
            self._readers.append(self._reading.enter_context(reader))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def take_over(self, jobs: Sequence[Job], codec: Codec | None) -> list[Job]:
        """The jobs, those that an earlier run has done turned into copies."""
        done: dict[str, list[tuple[ArchiveReader, Member]]] = {}
        for reader in self._readers:
            for member in reader.members:
                if member.source is not None:
                    done.setdefault(member.source, []).append((reader, member))
        return [self._taken_over(job, done.get(job.source, ()), codec) for job in jobs]

    @staticmethod
    def _taken_over(
        job: Job, done: Sequence[tuple[ArchiveReader, Member]], codec: Codec | None
    ) -> Job:
        for reader, member in done:
            if _is_same(job, member, codec):
                return replace(job, old=member, reader=reader, copy=True, instead=job)
        return job

    def remove(self) -> None:
        """Remove what the earlier runs have left, now that it is not needed any more."""
        self._reading.close()
        for file in self._held:
            file.remove()


def _is_same(job: Job, member: Member, codec: Codec | None) -> bool:
    """Whether an earlier run's member is what the job would make."""
    if job.entry is None or job.copy or not is_current(job.entry, member, codec):
        return False
    if member.heading is None:
        # Whether a picture is kept as it is, and why, is found out anew.
        return member.kind != "verbatim-picture"
    origin = member.heading.origin
    return member.name == job.member and origin is not None and origin.suffix == job.suffix


def unfinished_beside(target: Path) -> tuple[str, ...]:
    """What runs that were killed have left of an archive: the files, as shown."""
    folder = _open_folder(target)
    if folder is None:
        return ()
    found = []
    try:
        for leftover in leftovers(folder.names(), (target.name,)):
            with held(leftover, folder) as file:
                if file is not None:
                    found.append(printable(str(target.parent / leftover.name)))
    except OSError:
        pass
    finally:
        folder.close()
    return tuple(found)


def _open_folder(target: Path) -> Folder | None:
    """The folder of the target; None if it is not there, which writing will say."""
    try:
        return open_folder(target.parent)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise cannot_write(printable(str(target)), error) from error
