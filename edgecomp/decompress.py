"""Archives to folders. (`decompress_picture`, for one codestream, is at home in ``single``.)"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from edgecomp.archive import ArchiveReader, Member
from edgecomp.codec import CodecCache
from edgecomp.constants import DEFAULT_MAX_PIXELS, OUTPUT_FORMATS
from edgecomp.errors import (
    CorruptDataError,
    FormatError,
    LimitError,
    ModelError,
    OutputError,
    OutputExistsError,
    SourceError,
    UsageError,
)
from edgecomp.machine import usable_cpus, usable_memory
from edgecomp.names import Note, Taken, partial_names, printable, restored_names
from edgecomp.output import OutputFolder
from edgecomp.picture_writer import write_image
from edgecomp.pictures import memory_for
from edgecomp.pipeline import Budget, Progress, Silent, in_order
from edgecomp.restore import Tolerance, restore
from edgecomp.single import StrPath, decompress_picture
from edgecomp.summary import DecompressSummary
from edgecomp.verbatim import PIECE_BYTES

__all__ = [
    "DecompressSummary",
    "Note",
    "Progress",
    "decompress_folder",
    "decompress_picture",
    "open_archive",
]


@dataclass(frozen=True, slots=True)
class _Restored:
    """What became of one member.

    Attributes:
        member: the member.
        size, pixels: of the restored file; size is 0 where none was written.
        damaged: what is damaged, be it restored in part or not at all.
        skipped: why it was not restored.
        model_error: for want of which model.
    """

    member: Member
    size: int = 0
    pixels: int = 0
    damaged: str | None = None
    skipped: str | None = None
    model_error: ModelError | None = None

    @property
    def is_there(self) -> bool:
        """Whether it was restored, be it in part."""
        return self.skipped is None and (self.damaged is None or self.size > 0)


@dataclass
class _Tally:
    """What the summary says, summed up as members come back."""

    images: int = 0
    files: int = 0
    bytes_out: int = 0
    pixels: int = 0
    damaged: list[Note] = field(default_factory=list)
    skipped: list[Note] = field(default_factory=list)
    model_error: ModelError | None = None

    def add(self, restored: _Restored) -> None:
        member = restored.member
        if restored.damaged is not None:
            self.damaged.append(Note(member.shown, restored.damaged))
        if restored.skipped is not None:
            self.skipped.append(Note(member.shown, restored.skipped))
            self.model_error = self.model_error or restored.model_error
        if restored.is_there and member.kind != "folder":
            self.files += 1
            self.images += member.kind == "picture"
            self.bytes_out += restored.size
            self.pixels += restored.pixels


def open_archive(path: StrPath, *, max_pixels: int | None = DEFAULT_MAX_PIXELS) -> ArchiveReader:
    """Open an archive for reading; close it, or use it as a context manager.

    Raises:
        SourceError: it cannot be read.
        NotEdgecompError, CorruptDataError, UnsupportedVersionError: it is no archive, is cut
            short, or was made by a newer edgecomp.
    """
    return ArchiveReader(Path(path), max_pixels=max_pixels)


def decompress_folder(
    archive: StrPath,
    output: StrPath | None = None,
    *,
    backend: str = "onnx",
    model: StrPath | None = None,
    precision: str = "auto",
    threads: int | None = None,
    format: str = "png",
    only: Sequence[str] = (),
    salvage: bool = False,
    force: bool = False,
    max_pixels: int | None = DEFAULT_MAX_PIXELS,
    progress: Progress | None = None,
) -> DecompressSummary:
    """Restore an archive into a folder. What is damaged is named and left out.

    Args:
        archive: path of the archive.
        output: the folder, made if it is not there; None for ``dir`` beside ``dir.ecz``.
        backend: "onnx" or "tensorflow".
        model: folder of an exported model, instead of the ones that ship.
        precision: "auto", "int8" or "fp32".
        threads: members worked on side by side; None for the processors that may be used.
        format: of the restored pictures, a key of ``constants.OUTPUT_FORMATS``.
        only: globs; only what matches by its path, its name or a folder that it is in.
        salvage: restore what is whole of damaged pictures, as ``NAME.partial.png``.
        force: replace files that are there.
        max_pixels: larger pictures are skipped; None for no limit.
        progress: hears how it goes.

    Raises:
        SourceError: the archive cannot be read, or nothing in it matches ``only``.
        NotEdgecompError, CorruptDataError, UnsupportedVersionError: see `open_archive`.
        OutputExistsError: a file to be written is there; nothing was written.
        OutputError: a file cannot be written; those before it stay.
        ModelNotFoundError: nothing could be restored, for want of a model.
        UsageError: the arguments contradict each other.
    """
    started = time.monotonic()
    if format not in OUTPUT_FORMATS:
        raise UsageError(f"unknown picture format {format!r}; known: {', '.join(OUTPUT_FORMATS)}")
    root = _default_folder(archive) if output is None else Path(output)
    with ExitStack() as stack:
        reader = stack.enter_context(open_archive(archive, max_pixels=max_pixels))
        names = restored_names(reader.members, OUTPUT_FORMATS[format])
        members = [m for m in reader.members if _is_chosen(m, names.get(m), only)]
        if only and not members:
            raise SourceError(f"nothing in it matches {' '.join(only)}", path=reader.shown)
        folder = OutputFolder(root, force=force)
        _check_free(
            root, folder, [names[m] for m in members if m in names and m.kind != "folder"], force
        )
        workers = threads or usable_cpus()
        pictures = max(1, sum(member.kind == "picture" for member in members))
        codecs = CodecCache(
            backend=backend,
            model=None if model is None else os.fspath(model),
            precision=precision,
            threads=max(1, workers // pictures),
        )
        budget = Budget(usable_memory() // 2)
        restorer = _Restorer(
            reader, codecs, folder, names, format, salvage=salvage, budget=budget, threads=workers
        )
        tally = _Tally(damaged=list(reader.damage))
        hears = progress or Silent()
        hears.start(len(members), sum(member.size for member in members))
        stack.callback(hears.finish)
        work = in_order(restorer.restore, members, threads=workers, budget=budget)
        with closing(work) as results:
            for restored in results:
                tally.add(restored)
                hears.advance(restored.member.shown, restored.member.size)
        folder.sync()
        if tally.model_error is not None and not tally.files and not tally.damaged:
            raise tally.model_error
        return DecompressSummary(
            archive=reader.shown,
            output=printable(str(root)),
            images=tally.images,
            files=tally.files,
            bytes_in=reader.size,
            bytes_out=tally.bytes_out,
            pixels=tally.pixels,
            seconds=time.monotonic() - started,
            damaged=tuple(tally.damaged),
            skipped=tuple(tally.skipped),
            model_missing=tally.model_error is not None,
        )


class _UnfitError(Exception):
    """The output format cannot hold the picture (it is too wide, ...)."""


class _Restorer:
    """Restores members; used by several threads at once."""

    def __init__(
        self,
        reader: ArchiveReader,
        codecs: CodecCache,
        folder: OutputFolder,
        names: dict[Member, str],
        format: str,
        *,
        salvage: bool,
        budget: Budget,
        threads: int,
    ) -> None:
        self._tolerate: Tolerance = "tiles" if salvage else "metadata"
        self._budget = budget
        self._threads = threads
        self._taken = Taken(names.values())
        self._lock = threading.Lock()
        self._reader = reader
        self._codecs = codecs
        self._folder = folder
        self._names = names
        self._format = format

    def restore(self, member: Member) -> _Restored:
        """Restore one member, or say why not.

        Raises:
            OutputError: it cannot be written, and so nothing after it can.
        """
        try:
            if member.problem is not None:
                return _Restored(member, damaged=member.problem)
            if member.kind == "picture":
                return self._picture(member)
            return self._verbatim(member)
        except ModelError as error:
            return _Restored(member, skipped=error.message, model_error=error)
        except LimitError as error:
            return _Restored(member, skipped=error.message)
        except FormatError as error:
            return _Restored(member, damaged=error.message)
        except _UnfitError as error:
            return _Restored(member, skipped=str(error))
        except OutputExistsError:
            return _Restored(member, skipped="a file of its name has appeared in the output folder")

    def _picture(self, member: Member) -> _Restored:
        problem = None
        try:
            stream = self._reader.codestream(member)
        except CorruptDataError as error:
            # Where pixels and what they need are whole, they come back all the same.
            stream, problem = self._reader.codestream(member, checked=False), error.message
        codec = self._codecs.for_stream(stream)
        memory = memory_for(stream.width * stream.height)
        with self._budget.hold(memory):
            alone = self._budget.holds_only_one(memory)
            threads = self._threads if alone else codec.threads
            restored = restore(codec, stream, tolerate=self._tolerate, threads=threads)
            name = self._names[member]
            if restored.is_partial:
                name = self._partial(name)
            with self._folder.file(name) as out:
                try:
                    write_image(restored.image, out.file, format=self._format, threads=threads)
                except (OSError, ValueError) as error:
                    # Pillow's: a target that cannot be written raises an OutputError of its own.
                    raise _UnfitError(f"cannot be written as {self._format}: {error}") from error
                if member.mtime_ns is not None:
                    out.set_mtime(member.mtime_ns)
                size = out.size()
        if restored.damage is not None:
            problem = restored.damage
            if restored.is_partial:
                problem += f" (as {printable(name)})"
        elif problem is not None:
            problem = f"restored whole, although it {problem}"
        return _Restored(member, size, stream.width * stream.height, problem)

    def _partial(self, name: str) -> str:
        """A name that no other member is restored under."""
        with self._lock:
            partial = next(name for name in partial_names(name) if name not in self._taken)
            self._taken.add(partial)
            return partial

    def _verbatim(self, member: Member) -> _Restored:
        name = self._names[member]
        if member.kind == "folder":
            self._folder.folder(name, member.mtime_ns or 0)
            return _Restored(member)
        with self._reader.open(member) as file, self._folder.file(name) as out:
            while piece := file.read(PIECE_BYTES):
                out.file.write(piece)
            if member.mtime_ns is not None:
                out.set_mtime(member.mtime_ns)
            size = out.size()
        return _Restored(member, size)


def _is_chosen(member: Member, restored: str | None, only: Sequence[str]) -> bool:
    if not only:
        return True
    names = [member.shown, restored or member.name]
    candidates = {part for name in names for part in (name, name.rpartition("/")[2])}
    candidates.update(name[:at] for name in names for at, char in enumerate(name) if char == "/")
    return any(
        fnmatchcase(candidate, pattern.rstrip("/")) for pattern in only for candidate in candidates
    )


def _check_free(root: Path, folder: OutputFolder, names: Sequence[str], force: bool) -> None:
    """See that everything can be written before anything is."""
    shown = printable(str(root))
    if os.path.lexists(root) and not root.is_dir():
        raise OutputError(f"{shown} is not a folder", path=shown)
    conflicts = [path for name in names if (path := folder.find_conflict(name)) is not None]
    if conflicts and not force:
        more = f" and {len(conflicts) - 1} more" if len(conflicts) > 1 else ""
        verb = "are" if more else "is"
        raise OutputExistsError(
            f"{conflicts[0]}{more} {verb} already there; nothing was written (force overwrites)",
            path=conflicts[0],
        )


def _default_folder(archive: StrPath) -> Path:
    path = Path(archive)
    if not path.suffix:
        raise UsageError(
            "its name has no suffix to take away: say where to restore to",
            path=printable(str(path)),
        )
    return path.with_suffix("")
