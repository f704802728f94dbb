"""One member of an archive to be: what is planned for it, and the work that a thread does."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO, Final

from edgecomp.archive import ArchiveReader, Member
from edgecomp.archive_views import Kind
from edgecomp.codec import Codec
from edgecomp.codestream import Origin
from edgecomp.errors import CorruptDataError, UnsupportedPictureError, UsageError
from edgecomp.names import Taken, member_names, name_check
from edgecomp.output import reason_of
from edgecomp.pictures import is_picture_name, load_picture, memory_for, open_picture
from edgecomp.pipeline import Budget
from edgecomp.scan import Entry
from edgecomp.verbatim import SMALL_BYTES, Packed, pack

# A larger file is kept as it is, whatever it calls itself.
_MAX_PICTURE_BYTES: Final = 1 << 29
# Up to this size a picture's file is in memory while it is decoded.
_HELD_BYTES: Final = 1 << 24


@dataclass(frozen=True, slots=True)
class Job:
    """What is planned for one member.

    Attributes:
        source: its path in the archive.
        entry: its source on disk; None for a member whose source has vanished.
        member: name of the codestream's member, if it becomes one.
        suffix: what the codestream's origin says of it.
        old: the member of the old archive with the same source.
        copy: whether the old member is to be taken over.
    """

    source: str
    entry: Entry | None
    member: str = ""
    suffix: str = ""
    old: Member | None = None
    copy: bool = False

    @property
    def bytes(self) -> int:
        """Size of the source, 0 where there is none any more."""
        return 0 if self.entry is None else self.entry.size

    @property
    def path(self) -> str:
        """Where the source is or was: on disk, else in the archive."""
        return self.source if self.entry is None else self.entry.path

    def anew(self) -> Job:
        """The same without the old archive."""
        return replace(self, old=None, copy=False)


@dataclass(frozen=True, slots=True)
class Ready:
    """What a thread has made of a job: one of codestream, packed, stream, skipped, or a copy.

    Attributes:
        job: the job.
        kind: what the member is.
        codestream: of a coded picture.
        packed: a file, compressed or not.
        stream: a file too large to be held, open for reading.
        verbatim: why a picture is kept as it is.
        skipped: why the source is not in the archive.
        size: of the source in bytes, as read.
        mtime_ns: of the source, nanoseconds since the epoch.
        pixels: of a coded picture.
    """

    job: Job
    kind: Kind = "file"
    codestream: bytes | None = None
    packed: Packed | None = None
    stream: BinaryIO | None = None
    verbatim: str | None = None
    skipped: str | None = None
    size: int = 0
    mtime_ns: int = 0
    pixels: int = 0


class Preparer:
    """Reads, decodes and codes sources. Safe to use from several threads at once.

    Args:
        codec: for pictures; None if there are none.
        max_pixels: larger pictures are kept as they are; None for no limit.
        budget: memory that pictures side by side may take.
        threads: that a picture may use which leaves no room for another.
    """

    def __init__(
        self, codec: Codec | None, max_pixels: int | None, *, budget: Budget, threads: int
    ) -> None:
        self._codec = codec
        self._max_pixels = max_pixels
        self._budget = budget
        self._threads = threads

    def prepare(self, job: Job) -> Ready:
        """Do all that can be done for a member before its turn to be written."""
        entry = job.entry
        if job.copy or entry is None:
            return Ready(job)
        if entry.kind == "folder":
            return Ready(job, kind="folder", mtime_ns=entry.mtime_ns)
        try:
            return self._prepare_file(job, entry)
        except OSError as error:
            return Ready(job, skipped=f"cannot be read: {reason_of(error)}")

    def _prepare_file(self, job: Job, entry: Entry) -> Ready:
        file = _open(entry)
        try:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                file.close()
                return Ready(job, skipped="no longer a file")
            mtime_ns = status.st_mtime_ns
            picture = self._codec is not None and is_picture_name(entry.source)
            if status.st_size > (_MAX_PICTURE_BYTES if picture else SMALL_BYTES):
                # Passed on open: it is read when it is written, not held in memory.
                kind: Kind = "verbatim-picture" if picture else "file"
                reason = f"the file is larger than {_MAX_PICTURE_BYTES >> 20} MiB"
                return Ready(
                    job,
                    kind=kind,
                    stream=file,
                    verbatim=reason if picture else None,
                    size=status.st_size,
                    mtime_ns=mtime_ns,
                )
            if picture:
                # A large file is read as it is decoded, others at once.
                if status.st_size <= _HELD_BYTES:
                    with file:
                        file = io.BytesIO(file.read(status.st_size))
                return self._prepare_picture(job, file, mtime_ns)
            with file:
                data = file.read(status.st_size)
        except BaseException:
            file.close()
            raise
        return Ready(job, packed=pack(data), size=len(data), mtime_ns=mtime_ns)

    def _prepare_picture(self, job: Job, file: BinaryIO, mtime_ns: int) -> Ready:
        """Code a picture, or see why not; what is not coded is read again from the file."""
        codec = self._codec
        assert codec is not None
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        origin = Origin(job.suffix, mtime_ns, name_check(job.source))
        try:
            image = open_picture(file, name=job.source, max_pixels=self._max_pixels)
            pixels = image.width * image.height
            memory = memory_for(pixels)
            with self._budget.hold(memory):
                alone = self._budget.holds_only_one(memory)
                picture = load_picture(image, name=job.source)
                codestream = codec.encode(
                    picture, origin=origin, threads=self._threads if alone else None
                )
                del picture, image
        except UnsupportedPictureError as error:
            return _keep(job, file, size, mtime_ns, error.message)
        if len(codestream) > size:
            return _keep(
                job, file, size, mtime_ns, f"would grow from {size} to {len(codestream)} bytes"
            )
        file.close()
        return Ready(
            job,
            kind="picture",
            codestream=codestream,
            size=size,
            mtime_ns=mtime_ns,
            pixels=pixels,
        )


def _keep(job: Job, file: BinaryIO, size: int, mtime_ns: int, reason: str) -> Ready:
    """A picture as it is."""
    file.seek(0)
    ready = Ready(job, kind="verbatim-picture", verbatim=reason, size=size, mtime_ns=mtime_ns)
    if size > SMALL_BYTES:
        return replace(ready, stream=file)
    with file:
        return replace(ready, packed=pack(file.read(size)))


def _open(entry: Entry) -> BinaryIO:
    """Open a source; what has become a link or a pipe in the meantime neither leads nor blocks."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    if not entry.follow:
        flags |= os.O_NOFOLLOW
    return os.fdopen(os.open(entry.path, flags), "rb")


def plan_jobs(
    entries: Sequence[Entry], codec: Codec | None, old: ArchiveReader | None
) -> list[Job]:
    """What to do for each member, in the order of the archive.

    Args:
        entries: what the scan has found.
        codec: for pictures; None if there are none.
        old: the archive to bring up to date, if any.

    Raises:
        CorruptDataError: the old archive is damaged, so that something could be lost.
        UsageError: a member whose source has vanished is in the way of a new one.
    """
    members = {} if old is None else _sound_members(old)
    sources = Taken(entry.source for entry in entries)
    jobs = [_job(entry, members.pop(entry.source, None), codec, sources) for entry in entries]
    jobs += _vanished(members, {entry.source for entry in entries}, sources)
    jobs.sort(key=lambda job: job.source)
    taken = Taken(job.source for job in jobs)
    for job in jobs:
        if job.member:
            taken.add(job.member)
    pictures = [
        job.source
        for job in jobs
        if not job.member and job.entry and job.entry.kind == "file" and is_picture_name(job.source)
    ]
    names = member_names(pictures, taken)
    return [
        replace(job, member=names[job.source][0], suffix=names[job.source][1])
        if job.source in names
        else job
        for job in jobs
    ]


def _sound_members(old: ArchiveReader) -> dict[str, Member]:
    for member in old.members:
        if member.problem is not None:
            raise CorruptDataError(
                f"the archive is damaged ({member.name}: {member.problem}) and cannot be updated; "
                "compress into a new one",
                path=old.shown,
            )
    return {member.source: member for member in old.members if member.source is not None}


def _job(entry: Entry, member: Member | None, codec: Codec | None, sources: Taken) -> Job:
    if member is None:
        return Job(entry.source, entry)
    if member.heading is None:
        return Job(entry.source, entry, old=member, copy=_is_current(entry, member, codec))
    origin = member.heading.origin
    if origin is None or member.name in sources:
        # Its name in the archive is now that of another file.
        return Job(entry.source, entry)
    return Job(
        entry.source,
        entry,
        member=member.name,
        suffix=origin.suffix,
        old=member,
        copy=_is_current(entry, member, codec),
    )


def _is_current(entry: Entry, member: Member, codec: Codec | None) -> bool:
    """Whether the old member is what compressing the source again would give."""
    if member.mtime_ns != entry.mtime_ns or (member.kind == "folder") != (entry.kind == "folder"):
        return False
    if member.kind == "folder":
        return True
    if member.heading is not None:
        return (
            codec is not None
            and member.heading.model_id == codec.model_id
            and member.heading.coder_id == codec.coder_id
        )
    is_picture = is_picture_name(entry.source)
    return member.original_size == entry.size and is_picture == (member.kind != "file")


def _vanished(members: dict[str, Member], present: set[str], sources: Taken) -> Iterator[Job]:
    """Members whose sources are gone: they are kept, since people delete what they have packed."""
    folders = {source for path in present for source in _above(path)}
    for source, member in members.items():
        # A folder where the file was, or a file where the folder was, replaces it.
        if source in folders or not present.isdisjoint(_above(source)):
            continue
        if member.heading is not None and member.name in sources:
            raise UsageError(
                f"{source} is in the archive as {member.name}, which is now the name of another "
                "file; compress into a new archive"
            )
        name = "" if member.heading is None else member.name
        yield Job(source, None, member=name, old=member, copy=True)


def _above(source: str) -> list[str]:
    """The folders that a path is in."""
    return [source[:at] for at, char in enumerate(source) if char == "/"]
