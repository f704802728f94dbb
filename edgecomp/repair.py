"""A damaged archive to a whole one with everything that is whole in it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

from edgecomp.archive import ArchiveReader, Member
from edgecomp.archive_writer import ArchiveWriter
from edgecomp.constants import (
    ARCHIVE_SUFFIX,
    DEFAULT_MAX_EXPANSION,
    DEFAULT_MAX_MEMBERS,
)
from edgecomp.errors import EdgecompError, FormatError, LimitError
from edgecomp.inspect import StrPath, check_members
from edgecomp.machine import usable_cpus
from edgecomp.names import Note, printable, split_suffix
from edgecomp.output import OutputFile, check_output
from edgecomp.partial_files import target_of
from edgecomp.pipeline import Progress
from edgecomp.reports import RepairSummary

__all__ = ["RepairSummary", "repair"]

_SUFFIX: Final = ".repaired"


def repair(
    archive: StrPath,
    output: StrPath | None = None,
    *,
    threads: int | None = None,
    force: bool = False,
    max_members: int | None = DEFAULT_MAX_MEMBERS,
    max_expansion: int | None = DEFAULT_MAX_EXPANSION,
    progress: Progress | None = None,
) -> RepairSummary:
    """Write a new archive of all that is whole in a damaged one, which stays as it is.

    Members whose bytes are right are copied as they stand, whether or not the damaged archive still
    has a directory. Of pictures of which only metadata are damaged, everything else is kept. No
    model is needed: checksums tell what is whole. If nothing is damaged, nothing is written.

    Args:
        archive: path of the damaged archive, or of what an interrupted run has left.
        output: the new archive; None for ``dir.repaired.ecz`` beside ``dir.ecz``.
        threads: members looked at side by side; None for the processors that may be used.
        force: replace an existing output.
        max_members, max_expansion: see ``ArchiveReader``.
        progress: hears how it goes.

    Raises:
        SourceError: the archive cannot be read.
        NotEdgecompError: it is no archive, and nothing of one is in it.
        UnsupportedVersionError: made by a newer edgecomp.
        OutputExistsError: the output is there and ``force`` was not given.
        OutputError: it cannot be written.
        LimitError: it has more members than ``max_members``.
    """
    started = time.monotonic()
    target = default_output(archive) if output is None else Path(output)
    check_output(target, replace=force)
    with ExitStack() as stack:
        reader = stack.enter_context(
            ArchiveReader(
                Path(archive),
                max_pixels=None,
                max_members=max_members,
                max_expansion=max_expansion,
                thorough=True,
            )
        )
        report = check_members(reader, None, threads=threads or usable_cpus(), progress=progress)
        if not (report.damaged or reader.damage):
            return RepairSummary(
                archive=reader.shown,
                output=None,
                members=len(reader.members),
                images=sum(member.kind == "picture" for member in reader.members),
                bytes_in=reader.size,
                bytes_out=0,
                seconds=time.monotonic() - started,
                skipped=report.unchecked,
            )
        out = stack.enter_context(OutputFile(target, force=force))
        copier = _Copier(reader, ArchiveWriter(out.file))
        for member in _in_order(reader.members):
            copier.copy(member)
        bytes_out = copier.writer.finish()
        reader.close()  # Windows replaces nothing that is open
    return RepairSummary(
        archive=reader.shown,
        output=printable(str(target)),
        members=copier.members,
        images=copier.images,
        bytes_in=reader.size,
        bytes_out=bytes_out,
        seconds=time.monotonic() - started,
        damaged=reader.damage,
        lost=tuple(copier.lost),
        mended=tuple(copier.mended),
        skipped=tuple(copier.skipped),
        complete=reader.complete,
    )


def default_output(archive: StrPath) -> Path:
    """Where a repaired archive goes if nothing is said: ``a.repaired.ecz`` beside ``a.ecz``."""
    path = Path(os.fspath(archive))
    name = target_of(path.name) or path.name
    return path.with_name(split_suffix(name)[0] + _SUFFIX + ARCHIVE_SUFFIX)


class _Copier:
    """Copies members, and takes notes of what came of each."""

    def __init__(self, reader: ArchiveReader, writer: ArchiveWriter) -> None:
        self._reader = reader
        self.writer = writer
        self.members = 0
        self.images = 0
        self.lost: list[Note] = []
        self.mended: list[Note] = []
        self.skipped: list[Note] = []

    def copy(self, member: Member) -> None:
        """Copy a member if it is whole, or what is whole of it if that makes a member."""
        try:
            problem = self._copy(member)
        except LimitError as error:
            self.skipped.append(Note(member.shown, error.message))
            return
        except FormatError as error:
            self.lost.append(Note(member.shown, error.message.removeprefix("is damaged: ")))
            return
        self.members += 1
        self.images += member.kind == "picture"
        if problem is not None:
            self.mended.append(Note(member.shown, problem))

    def _copy(self, member: Member) -> str | None:
        """What of the member was left out, or None.

        Raises:
            FormatError: it cannot be kept.
        """
        if member.kind != "picture" or member.problem is not None:
            self.writer.copy_from(self._reader, member)
            return None
        try:
            stream = self._reader.codestream(member)
            stream.check_tiles()
            stream.check_sections()
        except FormatError as error:
            codestream, problem = _mended(self._reader, member, error)
            assert member.mtime_ns is not None
            self.writer.add_picture(member.name, codestream, member.mtime_ns)
            return problem
        self.writer.copy_from(self._reader, member)
        return None


def _mended(reader: ArchiveReader, member: Member, error: FormatError) -> tuple[bytes, str]:
    """A picture's codestream without its damaged metadata, and what is to be said of it.

    Raises:
        FormatError: more than that is damaged.
    """
    try:
        stream = reader.codestream(member, checked=False)
        gone = stream.damaged_sections()
        whole = tuple(section for section in stream.sections if section.kind not in gone)
        stream = replace(stream, sections=whole)
        stream.check_tiles()
        stream.check_sections()
    except EdgecompError:
        raise error from None
    if gone:
        return stream.pack(), "kept without its EXIF or XMP data, which are damaged"
    return stream.pack(), f"kept whole, although it {error.message}"


def _in_order(members: Sequence[Member]) -> list[Member]:
    """As an archive has them: by their sources."""
    return sorted(members, key=lambda member: member.source or member.name)
