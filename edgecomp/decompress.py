"""Archives to folders. (`decompress_picture`, for one codestream, is at home in ``single``.)"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from edgecomp.archive import ArchiveReader, Member
from edgecomp.choices import best_threads
from edgecomp.codec import CodecCache
from edgecomp.constants import (
    DEFAULT_MAX_EXPANSION,
    DEFAULT_MAX_MEMBERS,
    DEFAULT_MAX_PIXELS,
    OUTPUT_FORMATS,
)
from edgecomp.errors import (
    ModelError,
    OutputError,
    OutputExistsError,
    SourceError,
    UsageError,
)
from edgecomp.machine import usable_memory
from edgecomp.names import Note, is_renamed, printable, restored_names
from edgecomp.output_folder import OutputFolder, twins_of
from edgecomp.pipeline import Budget, Progress, Silent, in_order
from edgecomp.restorer import Restored, Restorer
from edgecomp.single import StrPath, decompress_picture
from edgecomp.summary import DecompressSummary

__all__ = [
    "DecompressSummary",
    "Note",
    "Progress",
    "decompress_folder",
    "decompress_picture",
    "open_archive",
]


@dataclass
class _Tally:
    """What the summary says, summed up as members come back."""

    images: int = 0
    files: int = 0
    bytes_out: int = 0
    pixels: int = 0
    unchanged: int = 0
    moved: list[Member] = field(default_factory=list)
    damaged: list[Note] = field(default_factory=list)
    skipped: list[Note] = field(default_factory=list)
    model_error: ModelError | None = None

    def add(self, restored: Restored) -> None:
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
            self.unchanged += restored.there
        if restored.is_there and member.source is not None and is_renamed(member.source):
            self.moved.append(member)

    def renamed(self, names: dict[Member, str]) -> Iterator[Note]:
        """What came back under another name than it had, for want of such names here."""
        for member in self.moved:
            what = f"is restored as {printable(names[member])}; this system has no such names"
            yield Note(member.shown, what)


def open_archive(
    path: StrPath,
    *,
    max_pixels: int | None = DEFAULT_MAX_PIXELS,
    max_members: int | None = DEFAULT_MAX_MEMBERS,
    max_expansion: int | None = DEFAULT_MAX_EXPANSION,
) -> ArchiveReader:
    """Open an archive for reading; close it, or use it as a context manager.

    What is damaged is in the reader's ``damage`` and in its members' ``problem``.

    Raises:
        SourceError: it cannot be read.
        NotEdgecompError, UnsupportedVersionError: it is no archive, or was made by a newer
            edgecomp.
        LimitError: it has more members than ``max_members``.
    """
    return ArchiveReader(
        Path(path), max_pixels=max_pixels, max_members=max_members, max_expansion=max_expansion
    )


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
    resume: bool = False,
    max_pixels: int | None = DEFAULT_MAX_PIXELS,
    max_members: int | None = DEFAULT_MAX_MEMBERS,
    max_expansion: int | None = DEFAULT_MAX_EXPANSION,
    progress: Progress | None = None,
) -> DecompressSummary:
    """Restore an archive into a folder. What is damaged is named and left out.

    Args:
        archive: path of the archive.
        output: the folder, made if it is not there; None for ``dir`` beside ``dir.ecz``.
        backend: "onnx" or "tensorflow".
        model: folder of an exported model, instead of the ones that ship.
        precision: "auto", "int8" or "fp32".
        threads: members worked on side by side; None for the processors that may be used, or fewer
            where `edgecomp doctor` found that quicker.
        format: of the restored pictures, a key of ``constants.OUTPUT_FORMATS``.
        only: globs; only what matches by its path, its name or a folder that it is in.
        salvage: restore what is whole of damaged pictures, as ``NAME.partial.png``.
        force: replace files that are there.
        resume: go on from an interrupted run: files that it has restored, told by name and time,
            are left as they are, and what it has left unfinished is removed.
        max_pixels: larger pictures are skipped; None for no limit.
        max_members: archives with more are refused; None for no limit.
        max_expansion: bytes that files may have together which expand suspiciously much; those
            beyond are skipped. None for no limit.
        progress: hears how it goes.

    Raises:
        SourceError: the archive cannot be read, or nothing in it matches ``only``.
        NotEdgecompError, UnsupportedVersionError, LimitError: see `open_archive`.
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
        reader = stack.enter_context(
            open_archive(
                archive,
                max_pixels=max_pixels,
                max_members=max_members,
                max_expansion=max_expansion,
            )
        )
        names = restored_names(reader.members, OUTPUT_FORMATS[format])
        members = [m for m in reader.members if _is_chosen(m, names.get(m), only)]
        if only and not members:
            raise SourceError(f"nothing in it matches {' '.join(only)}", path=reader.shown)
        chosen = [m for m in members if m in names and m.kind != "folder"]
        folder = OutputFolder(root, force=force, twins=twins_of(names[m] for m in chosen))
        there = _restored_before(folder, chosen, names) if resume else None
        wanted = [names[m] for m in chosen if m not in (there or ())]
        _check_free(root, folder, wanted, force)
        if resume:
            # Of files that are complete too: a run may be killed when a file has both its names.
            folder.remove_unfinished(names[m] for m in chosen)
        workers = threads or best_threads(precision)
        pictures = max(1, sum(member.kind == "picture" for member in members))
        codecs = CodecCache(
            backend=backend,
            model=None if model is None else os.fspath(model),
            precision=precision,
            threads=max(1, workers // pictures),
        )
        budget = Budget(usable_memory() // 2)
        restorer = Restorer(
            reader,
            codecs,
            folder,
            names,
            format,
            there=there,
            salvage=salvage,
            budget=budget,
            threads=workers,
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
            unchanged=tally.unchanged,
            renamed=tuple(tally.renamed(names)),
            model_missing=tally.model_error is not None,
        )


def _is_chosen(member: Member, restored: str | None, only: Sequence[str]) -> bool:
    if not only:
        return True
    names = [member.shown, restored or member.name]
    candidates = {part for name in names for part in (name, name.rpartition("/")[2])}
    candidates.update(name[:at] for name in names for at, char in enumerate(name) if char == "/")
    return any(
        fnmatchcase(candidate, pattern.replace(os.sep, "/").rstrip("/"))
        for pattern in only
        for candidate in candidates
    )


def _restored_before(
    folder: OutputFolder, members: Sequence[Member], names: dict[Member, str]
) -> frozenset[Member]:
    """The members that an earlier run has restored into the folder."""
    return frozenset(
        member
        for member in members
        if member.mtime_ns is not None
        and folder.has(
            names[member],
            member.mtime_ns,
            None if member.kind == "picture" else member.original_size,
        )
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
