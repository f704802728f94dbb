"""Folders to archives. (`compress_picture`, for one picture, is at home in ``single``.)"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from edgecomp.archive import ArchiveReader, Member
from edgecomp.archive_directory import too_many_members
from edgecomp.archive_writer import ArchiveWriter
from edgecomp.choices import best_threads
from edgecomp.codec import Codec, CodecCache
from edgecomp.constants import (
    ARCHIVE_SUFFIX,
    DEFAULT_MAX_MEMBERS,
    DEFAULT_MAX_PIXELS,
    DEFAULT_QUALITY,
)
from edgecomp.earlier_runs import (
    EarlierRuns,
    begun_precision,
    settings_of,
    unfinished_beside,
)
from edgecomp.errors import CorruptDataError, FormatError, SourceError, UsageError
from edgecomp.machine import usable_memory
from edgecomp.names import Note, printable
from edgecomp.output import OutputFile, already_there, check_output, reason_of
from edgecomp.pictures import is_picture_name
from edgecomp.pipeline import Budget, Progress, Silent, in_order
from edgecomp.prepare import Job, Preparer, Ready, plan_jobs, unreadable
from edgecomp.scan import Scan, scan
from edgecomp.single import StrPath, compress_picture
from edgecomp.source_file import SourceChangedError
from edgecomp.summary import CompressSummary
from edgecomp.verbatim import PIECE_BYTES

__all__ = ["CompressSummary", "Note", "Progress", "compress_folder", "compress_picture"]


@dataclass
class _Tally:
    """What the summary says, summed up as members are written."""

    images: int = 0
    files: int = 0
    bytes_in: int = 0
    pixels: int = 0
    unchanged: int = 0
    resumed: int = 0
    verbatim: list[Note] = field(default_factory=list)
    skipped: list[Note] = field(default_factory=list)
    coded_here: list[Note] = field(default_factory=list)


def compress_folder(
    sources: StrPath | Sequence[StrPath],
    output: StrPath | None = None,
    *,
    quality: str = DEFAULT_QUALITY,
    backend: str = "onnx",
    coder: str | None = None,
    model: StrPath | None = None,
    precision: str = "auto",
    threads: int | None = None,
    dask: str | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    update: bool = False,
    resume: bool = False,
    verify: bool = False,
    force: bool = False,
    dry_run: bool = False,
    max_pixels: int | None = DEFAULT_MAX_PIXELS,
    max_members: int | None = DEFAULT_MAX_MEMBERS,
    progress: Progress | None = None,
) -> CompressSummary:
    """Compress folders and files into one archive. The sources are never changed.

    Pictures are coded; those that cannot be, and all other files, are kept as they are. What
    cannot be read is skipped. Both are listed in the summary with reasons.

    Args:
        sources: a folder, or several folders and files.
        output: the archive; None for ``dir.ecz`` beside ``dir``.
        quality: "A" (smallest), "B" or "C" (best).
        backend: "onnx" or "tensorflow".
        coder: symbol coder, "context" or "lzma"; None for the first of them that the model has.
        model: folder of an exported model, instead of the ones that ship.
        precision: "auto", "int8" or "fp32".
        threads: pictures worked on side by side; None for the processors that may be used, or fewer
            where `edgecomp doctor` found that quicker.
        dask: address of the scheduler of a Dask cluster whose workers are to code the pictures
            (docs/fleet.md), to the same bytes; ``threads`` are then those of this machine, for what
            is left to it.
        include: globs; only files whose path or name matches one.
        exclude: globs of files and folders to leave out.
        update: take over from the existing archive what has not changed since; what is no
            longer among the sources is kept.
        resume: go on from what an interrupted run of the same call has left, and leave what is done
            for another one if this run is interrupted; the archive has the bytes of an unbroken
            run.
        verify: read everything back before the archive gets its name.
        force: replace an existing output.
        dry_run: look and report, write nothing.
        max_pixels: larger pictures are kept as they are; None for no limit.
        max_members: refuse to make an archive of more files; None for no limit.
        progress: hears how it goes.

    Raises:
        SourceError: a source is missing, or there is nothing to compress.
        OutputExistsError: the output is there, and neither ``force`` nor ``update`` was given.
        OutputError: the output cannot be written, or is being written by another run that this one
            was to go on from.
        LimitError: there are more files than ``max_members``.
        UsageError: the arguments contradict each other.
        ModelError, BackendUnavailableError: the model, the backend or Dask is not there.
        ClusterError: the cluster cannot be reached, is lost, or a worker would make other bytes.
        CorruptDataError: the archive to update is damaged, or verifying failed.
    """
    started = time.monotonic()
    if dask is not None:
        from edgecomp.fleet import check_options, open_fleet, settled_precision  # for nothing else

        check_options(dask, backend)
    names = [
        os.fspath(s) for s in ([sources] if isinstance(sources, (str, os.PathLike)) else sources)
    ]
    target = default_archive(names) if output is None else Path(output)
    check_output(target, replace=force or update or resume)
    found = scan(names, include=include, exclude=exclude, output=target)
    if not found.entries:
        raise _nothing(names, found)
    if max_members is not None and len(found.entries) > max_members:
        raise too_many_members(max_members, ", ".join(printable(name) for name in names))
    if dry_run:
        return _would_do(target, found, time.monotonic() - started)
    workers = threads or best_threads(precision)
    folder = None if model is None else os.fspath(model)
    pictures = sum(is_picture_name(entry.source) for entry in found.entries)
    # Where the target is there already, all that this run can do is find it complete.
    finished = resume and os.path.lexists(target) and not (force or update)
    codec = None
    if pictures:
        load = partial(
            Codec.load,
            quality,
            backend=backend,
            model=folder,
            coder=coder,
            threads=max(1, workers // pictures),
        )
        settled = precision if dask is None else settled_precision(precision, quality, folder)
        codec = load(precision=settled)
        if resume and precision == "auto" and not finished:
            codec = _as_begun(target, codec, load, max_pixels)
    hears = progress or Silent()
    tally = _Tally(skipped=list(found.skipped))
    settings = settings_of(codec, max_pixels)
    with ExitStack() as stack:
        old = None
        if update and os.path.lexists(target):
            old = stack.enter_context(ArchiveReader(target, max_members=None, max_expansion=None))
        jobs = plan_jobs(found.entries, codec, old)
        earlier = None
        if resume:
            earlier = stack.enter_context(EarlierRuns(target, settings, finished=finished))
            jobs = earlier.take_over(jobs, codec)
        fleet = None
        if dask is not None and codec is not None and any(_is_coded(job) for job in jobs):
            fleet = stack.enter_context(
                open_fleet(dask, codec, folder=folder, max_pixels=max_pixels)
            )
        hears.start(len(jobs), sum(job.bytes for job in jobs))
        stack.callback(hears.finish)
        replaces = force or update or finished
        file = OutputFile(target, force=replaces, settings=settings, keep=resume)
        with file as out:
            writer = ArchiveWriter(out.file)
            budget = Budget(usable_memory() // 2)
            preparer = Preparer(codec, max_pixels, budget=budget, threads=workers)
            sent = None
            if fleet is not None:
                from edgecomp.sending import sent_ahead

                sent = sent_ahead(fleet, jobs)
            work = in_order(
                preparer.prepare,
                jobs if sent is None else sent,
                threads=workers,
                budget=budget,
                stop=None if sent is None else sent.close,
                discard=Ready.close,
            )
            with closing(work) as results:
                for ready in results:
                    with closing(ready):
                        _add(writer, preparer, ready, tally)
                    hears.advance(ready.job.source, ready.job.bytes)
            bytes_out = writer.finish()
            if finished:
                _check_same(out, target)
            if verify:
                _verify(out, target, model, workers)
            if old is not None:
                old.close()  # Windows replaces nothing that is open
        if earlier is not None:
            earlier.remove()
    picture_bits = 8 * (bytes_out - writer.other_bytes)
    return CompressSummary(
        archive=printable(str(target)),
        images=tally.images,
        files=tally.files,
        bytes_in=tally.bytes_in,
        bytes_out=bytes_out,
        pixels=tally.pixels,
        bpp=picture_bits / tally.pixels if tally.pixels else 0.0,
        seconds=time.monotonic() - started,
        verbatim=tuple(tally.verbatim),
        skipped=tuple(tally.skipped),
        unchanged=tally.unchanged,
        resumed=tally.resumed,
        coded_here=tuple(tally.coded_here),
        unfinished=unfinished_beside(target),
    )


def _as_begun(
    target: Path, codec: Codec, load: Callable[..., Codec], max_pixels: int | None
) -> Codec:
    """The codec, or one of the precision that the interrupted run had: what "auto" stands for may
    have changed since."""
    begun = begun_precision(target, codec, max_pixels)
    return codec if begun is None else load(precision=begun)


def _is_coded(job: Job) -> bool:
    """Whether a job may be one for a codec."""
    return not job.copy and job.entry is not None and is_picture_name(job.source)


def _add(
    writer: ArchiveWriter, preparer: Preparer, ready: Ready, tally: _Tally, *, again: bool = True
) -> None:
    """Write one member, or note why not; what changed while it was read is read ``again``, once."""
    job = ready.job
    if ready.skipped is None and ready.stream is not None:
        try:
            with ready.stream as source:
                size = writer.add_file(
                    job.source,
                    source.file,
                    ready.size,
                    ready.mtime_ns,
                    ready.kind,
                    check=source.check,
                )
        except OSError as error:
            if again and isinstance(error, SourceChangedError):
                _add(writer, preparer, preparer.prepare(job), tally, again=False)
                return
            ready = unreadable(job, error)
        else:
            tally.bytes_in += size
            tally.files += 1
            if ready.verbatim is not None:
                tally.verbatim.append(Note(printable(job.path), ready.verbatim))
            return
    if ready.skipped is not None:
        tally.skipped.append(Note(printable(job.path), ready.skipped))
        if job.old is None:
            return
    if job.old is not None and job.reader is not None and (job.copy or ready.skipped is not None):
        try:
            writer.copy_from(job.reader, job.old)
        except CorruptDataError as error:
            if not job.copy or job.entry is None:
                raise CorruptDataError(
                    f"the archive is damaged ({error}) and cannot be updated; repair it, or "
                    "compress into a new one",
                    path=job.reader.shown,
                ) from error
            _add(writer, preparer, preparer.prepare(job.instead or job.anew()), tally)
            return
        _count_copied(job.old, job, tally)
        return
    _add_new(writer, ready, tally)


def _count_copied(member: Member, job: Job, tally: _Tally) -> None:
    if job.instead is None:
        tally.unchanged += 1
    else:
        tally.resumed += 1
    tally.bytes_in += job.bytes
    tally.files += member.kind != "folder"
    if member.heading is not None:
        tally.images += 1
        tally.pixels += member.heading.pixels


def _add_new(writer: ArchiveWriter, ready: Ready, tally: _Tally) -> None:
    source = ready.job.source
    if ready.kind == "folder":
        writer.add_folder(source, ready.mtime_ns)
        return
    if ready.codestream is not None:
        writer.add_picture(ready.job.member, ready.codestream, ready.mtime_ns)
        tally.images += 1
        tally.pixels += ready.pixels
        if ready.coded_here is not None:
            tally.coded_here.append(Note(printable(ready.job.path), ready.coded_here))
    else:
        assert ready.packed is not None
        writer.add_packed(source, ready.packed, ready.mtime_ns, ready.kind)
        if ready.verbatim is not None:
            tally.verbatim.append(Note(printable(ready.job.path), ready.verbatim))
    tally.files += 1
    tally.bytes_in += ready.size


def _check_same(out: OutputFile, target: Path) -> None:
    """See whether what is there under the target's name is what was written now, and keep it.

    Raises:
        OutputExistsError: it is something else.
    """
    out.discard()
    shown = printable(str(target))
    try:
        with out.reopen() as made, open(target, "rb") as there:
            while True:
                piece = made.read(PIECE_BYTES)
                if piece != there.read(PIECE_BYTES):
                    raise already_there(shown)
                if not piece:
                    return
    except OSError as error:
        raise SourceError(f"cannot be read: {reason_of(error)}", path=shown) from error


def _verify(out: OutputFile, target: Path, model: StrPath | None, workers: int) -> None:
    """Read back what was written.

    Raises:
        CorruptDataError: it is not what it should be.
    """
    from edgecomp.inspect import check_members  # for nothing but this

    codecs = CodecCache(backend=None, model=None if model is None else os.fspath(model))
    shown = printable(str(target))
    try:
        with (
            out.reopen() as file,
            ArchiveReader(
                file, max_pixels=None, max_members=None, max_expansion=None, shown=shown
            ) as reader,
        ):
            report = check_members(reader, codecs, threads=workers)
            damaged = reader.damage + report.damaged
            if not report.model_missing:
                # Members that an update took over may be of a model that is not here any more.
                damaged += report.unchecked
    except FormatError as error:
        damaged = (Note(shown, error.message),)
    if damaged:
        out.discard()
        raise CorruptDataError(
            f"verifying failed, nothing was written: {damaged[0].reason}", path=damaged[0].path
        )


def _would_do(target: Path, found: Scan, seconds: float) -> CompressSummary:
    files = [entry for entry in found.entries if entry.kind == "file"]
    return CompressSummary(
        archive=printable(str(target)),
        images=sum(is_picture_name(entry.source) for entry in files),
        files=len(files),
        bytes_in=sum(entry.size for entry in files),
        bytes_out=0,
        pixels=0,
        bpp=0.0,
        seconds=seconds,
        skipped=found.skipped,
    )


def _nothing(names: Sequence[str], found: Scan) -> SourceError:
    shown = ", ".join(printable(name) for name in names)
    if found.skipped:
        first = found.skipped[0]
        return SourceError(
            f"nothing to compress: {len(found.skipped)} found, all skipped"
            f" ({first.path}: {first.reason})",
            path=shown,
        )
    return SourceError("nothing to compress: no files, or none that were chosen", path=shown)


def default_archive(names: Sequence[str]) -> Path:
    """What the archive is called if nothing is said: ``dir.ecz`` beside ``dir``.

    Raises:
        UsageError: there are several sources, or the only one has no name.
    """
    if len(names) != 1:
        raise UsageError("several sources: say what the archive is to be called")
    path = names[0].rstrip(os.sep + (os.altsep or ""))
    if os.path.basename(path) in ("", ".", ".."):
        # "." and "..": beside the folder that they stand for.
        path = os.path.realpath(names[0])
        with suppress(ValueError):  # on another drive of Windows
            path = os.path.relpath(path)
        if os.path.basename(path) in ("", ".", ".."):
            path = os.path.realpath(names[0])
    if not os.path.basename(path):
        raise UsageError(f"{names[0]} has no name: say what the archive is to be called")
    name = path if os.path.isdir(path) else os.path.splitext(path)[0]
    return Path(name + ARCHIVE_SUFFIX)
