"""Pictures that other machines code: which ones are sent, and what has come of them."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from typing import Final, Protocol

from edgecomp.codestream import Origin
from edgecomp.errors import UnsupportedPictureError
from edgecomp.output import reason_of
from edgecomp.picture_coder import Coded
from edgecomp.pictures import is_picture_name
from edgecomp.pipeline import Budget, in_order
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

    @property
    def ahead(self) -> int:
        """How many pictures are best on their way at a time."""
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

    def check(self) -> None:
        """See that there is a going on.

        Raises:
            ClusterError: there is none.
        """
        ...

    def stop(self) -> None:
        """Let all threads that wait for room, or for an answer, give up."""
        ...


def sent_ahead(elsewhere: Elsewhere, jobs: Iterable[Job]) -> Generator[Job | Sent, None, None]:
    """What others make of jobs, in order; a job itself where it is none for them.

    All that is left to do is for `Preparer.prepare`, in its turn: so while a picture is waited for,
    no more of those after it are open or in memory than this machine works on, and only codestreams
    wait. To be closed, which lets what is on its way be forgotten.

    Raises:
        ClusterError: there is no going on. It does not wait for its turn.
    """
    sender = _Sender(elsewhere)
    work = in_order(sender.send, jobs, threads=elsewhere.ahead, stop=sender.stop)
    with closing(work) as results:
        for result in results:
            elsewhere.check()
            yield result


class _Sender:
    """Sends pictures to other machines. Safe to use from several threads at once."""

    def __init__(self, elsewhere: Elsewhere) -> None:
        self._elsewhere = elsewhere
        self._reading = Budget(_READ_AT_ONCE)

    def stop(self) -> None:
        """Let all threads in `send` give up, with CancelledError."""
        self._reading.stop()
        self._elsewhere.stop()

    def send(self, job: Job) -> Job | Sent:
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
            return Sent(job, failed=reason_of(error))

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
