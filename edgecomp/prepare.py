"""One member of an archive to be: what is planned for it, and the work that a thread does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from edgecomp.archive import ArchiveReader, Member
from edgecomp.archive_views import Kind
from edgecomp.codec import Codec
from edgecomp.codestream import Origin
from edgecomp.errors import CorruptDataError, UnsupportedPictureError, UsageError
from edgecomp.names import Note, Taken, member_names, name_check
from edgecomp.output import reason_of
from edgecomp.picture_coder import Coded, PictureCoder
from edgecomp.pictures import is_picture_name
from edgecomp.pipeline import Budget
from edgecomp.scan import Entry
from edgecomp.source_file import SourceChangedError, SourceFile
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
        old: a member with the same source of an archive that is there: the one to be brought up to
            date, or what an interrupted run has left.
        reader: of that archive.
        copy: whether the old member is to be taken over.
        instead: what is to be done if it proves damaged; None for what `anew` gives.
    """

    source: str
    entry: Entry | None
    member: str = ""
    suffix: str = ""
    old: Member | None = None
    reader: ArchiveReader | None = None
    copy: bool = False
    instead: Job | None = None

    @property
    def bytes(self) -> int:
        """Size of the source, 0 where there is none any more."""
        return 0 if self.entry is None else self.entry.size

    @property
    def path(self) -> str:
        """Where the source is or was: on disk, else in the archive."""
        return self.source if self.entry is None else self.entry.path

    def origin(self, mtime_ns: int) -> Origin:
        """What a codestream says of where it comes from; of a source changed at that time."""
        return Origin(self.suffix, mtime_ns, name_check(self.source))

    def anew(self) -> Job:
        """The same without the old archive."""
        return replace(self, old=None, reader=None, copy=False, instead=None)


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
        coded_here: why this machine coded a picture that others were asked to code.
    """

    job: Job
    kind: Kind = "file"
    codestream: bytes | None = None
    packed: Packed | None = None
    stream: SourceFile | None = None
    verbatim: str | None = None
    skipped: str | None = None
    size: int = 0
    mtime_ns: int = 0
    pixels: int = 0
    coded_here: str | None = None

    def close(self) -> None:
        """Close the stream, if there is one: it is not going to be read."""
        if self.stream is not None:
            self.stream.close()


@dataclass(frozen=True, slots=True)
class Sent:
    """What another machine has made of a job: codestream, kept, or neither.

    Attributes:
        job: the job.
        codestream: of the picture.
        pixels: of the picture.
        kept: why the picture is to be kept as it is.
        failed: why this machine has to code it.
        size: of the file that was sent, in bytes.
        mtime_ns: of that file, nanoseconds since the epoch.
    """

    job: Job
    codestream: bytes | None = None
    pixels: int = 0
    kept: str | None = None
    failed: str | None = None
    size: int = 0
    mtime_ns: int = 0

    def is_of(self, source: SourceFile) -> bool:
        """Whether what is open now is what was sent."""
        return (self.size, self.mtime_ns) == (source.size, source.mtime_ns)


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
        self._coder = None
        if codec is not None:
            self._coder = PictureCoder(codec, max_pixels, budget=budget, threads=threads)

    def prepare(self, item: Job | Sent) -> Ready:
        """Do all that can be done for a member before its turn to be written.

        Args:
            item: a job, or what another machine has made of it: the rest is done then.
        """
        sent = item if isinstance(item, Sent) else Sent(item)
        job, entry = sent.job, sent.job.entry
        if sent.codestream is not None:
            return Ready(
                job,
                kind="picture",
                codestream=sent.codestream,
                size=sent.size,
                mtime_ns=sent.mtime_ns,
                pixels=sent.pixels,
            )
        if job.copy or entry is None:
            return Ready(job)
        if entry.kind == "folder":
            return Ready(job, kind="folder", mtime_ns=entry.mtime_ns)
        try:
            try:
                return self._prepare_file(sent, entry)
            except SourceChangedError:
                return self._prepare_file(sent, entry)
        except OSError as error:
            return unreadable(job, error)

    def _prepare_file(self, sent: Sent, entry: Entry) -> Ready:
        job = sent.job
        source = SourceFile(entry)
        try:
            if not source.is_file:
                source.close()
                return Ready(job, skipped="no longer a file")
            picture = self._coder is not None and is_picture_name(entry.source)
            if source.size > (_MAX_PICTURE_BYTES if picture else SMALL_BYTES):
                # Passed on open: it is read when it is written, not held in memory.
                reason = f"the file is larger than {_MAX_PICTURE_BYTES >> 20} MiB"
                return Ready(
                    job,
                    kind="verbatim-picture" if picture else "file",
                    stream=source,
                    verbatim=reason if picture else None,
                    size=source.size,
                    mtime_ns=source.mtime_ns,
                )
            if picture:
                # A large file is read as it is decoded, others at once.
                if source.size <= _HELD_BYTES:
                    source.hold()
                return self._prepare_picture(sent, source)
            data = source.hold()
            packed = pack(data)
        except BaseException:
            source.close()
            raise
        return Ready(job, packed=packed, size=len(data), mtime_ns=source.mtime_ns)

    def _prepare_picture(self, sent: Sent, source: SourceFile) -> Ready:
        """Code a picture, or see why not; what is not coded is read again from the file."""
        job = sent.job
        if sent.kept is not None and sent.is_of(source):
            return _keep(job, source, sent.kept)
        assert self._coder is not None
        origin = job.origin(source.mtime_ns)
        size, check = source.size, source.check
        try:
            coded = self._coder.code(source.file, size, name=job.source, origin=origin, check=check)
        except UnsupportedPictureError as error:
            coded = Coded(kept=error.message)
        if coded.kept is not None:
            return _keep(job, source, coded.kept)
        # Of a large picture the pixels may be read from the file as they are coded.
        source.check()
        source.close()
        return Ready(
            job,
            kind="picture",
            codestream=coded.codestream,
            size=source.size,
            mtime_ns=source.mtime_ns,
            pixels=coded.pixels,
            coded_here=sent.failed,
        )


def unreadable(job: Job, error: OSError) -> Ready:
    """What comes of a source that cannot be read."""
    why = str(error)
    if not isinstance(error, SourceChangedError):
        why = f"cannot be read: {reason_of(error)}"
    return Ready(job, skipped=why)


def _keep(job: Job, source: SourceFile, reason: str) -> Ready:
    """A picture as it is."""
    source.file.seek(0)
    ready = Ready(
        job,
        kind="verbatim-picture",
        verbatim=reason,
        size=source.size,
        mtime_ns=source.mtime_ns,
    )
    if source.size > SMALL_BYTES:
        return replace(ready, stream=source)
    with source:
        return replace(ready, packed=pack(source.hold()))


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
    jobs = [job if job.old is None else replace(job, reader=old) for job in jobs]
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
    """All members of an archive in which nothing is known to be damaged or missing."""
    damaged = [Note(member.name, member.problem) for member in old.members if member.problem]
    for note in (*old.damage, *damaged):
        raise CorruptDataError(
            f"the archive is damaged ({note.path}: {note.reason}) and cannot be updated; repair "
            "it, or compress into a new one",
            path=old.shown,
        )
    return {member.source: member for member in old.members if member.source is not None}


def _job(entry: Entry, member: Member | None, codec: Codec | None, sources: Taken) -> Job:
    if member is None:
        return Job(entry.source, entry)
    if member.heading is None:
        return Job(entry.source, entry, old=member, copy=is_current(entry, member, codec))
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
        copy=is_current(entry, member, codec),
    )


def is_current(entry: Entry, member: Member, codec: Codec | None) -> bool:
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
