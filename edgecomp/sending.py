"""Pictures that other machines code: which ones are sent, and what has come of them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Final, Protocol

from edgecomp.codestream import Origin
from edgecomp.errors import UnsupportedPictureError
from edgecomp.picture_coder import Coded
from edgecomp.pictures import is_picture_name
from edgecomp.pipeline import Budget
from edgecomp.prepare import Job, Sent
from edgecomp.scan import Entry
from edgecomp.source_file import SourceChangedError, SourceFile

# Hundreds of pictures may be on their way; their files are open while they are read only.
_READ_AT_ONCE: Final = 8


class NotCodedError(Exception):
    """Another machine did not code a picture; this one has to."""


class Elsewhere(Protocol):
    """Other machines that code pictures."""

    @property
    def largest(self) -> int:
        """Size in bytes of the largest file that they are sent."""
        ...

    def room(self, size: int) -> AbstractContextManager[None]:
        """Within the block a file of so many bytes may be in memory; waits until it may."""
        ...

    def code(self, data: bytes, *, name: str, origin: Origin) -> Coded:
        """What `PictureCoder.code` gives for the bytes of a file.

        Raises:
            UnsupportedPictureError: this machine refuses the picture.
            NotCodedError: this machine has to code it; it says why.
            ClusterError: there is no going on.
        """
        ...

    def stop(self) -> None:
        """Let all threads that wait for room, or for an answer, give up."""
        ...


class Sender:
    """Sends pictures to other machines. Safe to use from several threads at once.

    All else is left to `Preparer.prepare`, to which what `send` gives is to be passed on in order:
    so no more than this machine works on is held open, or in memory, while a picture before it is
    on its way. Only codestreams wait here.

    Args:
        elsewhere: the other machines.
    """

    def __init__(self, elsewhere: Elsewhere) -> None:
        self._elsewhere = elsewhere
        self._reading = Budget(_READ_AT_ONCE)

    def stop(self) -> None:
        """Let all threads in `send` give up."""
        self._reading.stop()
        self._elsewhere.stop()

    def send(self, job: Job) -> Job | Sent:
        """What others make of a job; the job itself if it is none for them.

        Raises:
            ClusterError: there is no going on.
            CancelledError: `stop` was called.
        """
        entry = job.entry
        if job.copy or entry is None or not self._is_sent(entry):
            return job
        try:
            try:
                return self._send(job, entry)
            except SourceChangedError:
                return self._send(job, entry)
        except OSError as error:
            # Preparing it will tell, if it fails there too.
            return Sent(job, failed=str(error))

    def _is_sent(self, entry: Entry) -> bool:
        is_picture = entry.kind == "file" and is_picture_name(entry.source)
        return is_picture and entry.size <= self._elsewhere.largest

    def _send(self, job: Job, entry: Entry) -> Job | Sent:
        with self._elsewhere.room(entry.size):
            with self._reading.hold(1), SourceFile(entry) as source:
                if not source.is_file or source.size > entry.size:
                    return job  # there may be no room for what it has become
                data = source.hold()
            sent = Sent(job, size=source.size, mtime_ns=source.mtime_ns)
            return self._answered(sent, data)

    def _answered(self, sent: Sent, data: bytes) -> Sent:
        job = sent.job
        origin = job.origin(sent.mtime_ns)
        try:
            coded = self._elsewhere.code(data, name=job.source, origin=origin)
        except UnsupportedPictureError as error:
            return replace(sent, kept=error.message)
        except NotCodedError as error:
            return replace(sent, failed=str(error))
        return replace(sent, codestream=coded.codestream, pixels=coded.pixels, kept=coded.kept)
