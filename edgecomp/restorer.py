"""One member of an archive to a file in the output folder: the work that a thread does."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from edgecomp.archive import ArchiveReader, Member
from edgecomp.codec import CodecCache
from edgecomp.errors import (
    CorruptDataError,
    EdgecompError,
    FormatError,
    LimitError,
    ModelError,
    OutputExistsError,
)
from edgecomp.names import Numbered, Taken, printable
from edgecomp.output_folder import OutputFolder
from edgecomp.picture_writer import write_image
from edgecomp.pictures import memory_for
from edgecomp.pipeline import Budget
from edgecomp.restore import Tolerance, restore
from edgecomp.verbatim import PIECE_BYTES


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of one member.

    Attributes:
        member: the member.
        size, pixels: of the restored file; size is 0 where none was written.
        there: whether an earlier run had restored it.
        damaged: what is damaged, be it restored in part or not at all.
        skipped: why it was not restored.
        model_error: for want of which model.
    """

    member: Member
    size: int = 0
    pixels: int = 0
    there: bool = False
    damaged: str | None = None
    skipped: str | None = None
    model_error: ModelError | None = None

    @property
    def is_there(self) -> bool:
        """Whether it was restored, be it in part."""
        return self.skipped is None and (self.damaged is None or self.size > 0)


class _UnfitError(Exception):
    """The output format cannot hold the picture (it is too wide, ...)."""


class Restorer:
    """Restores members; used by several threads at once."""

    def __init__(
        self,
        reader: ArchiveReader,
        codecs: CodecCache,
        folder: OutputFolder,
        names: dict[Member, str],
        format: str,
        *,
        there: frozenset[Member] | None,
        salvage: bool,
        budget: Budget,
        threads: int,
    ) -> None:
        self._tolerate: Tolerance = "tiles" if salvage else "metadata"
        self._resume = there is not None
        self._there = there or frozenset()
        self._budget = budget
        self._threads = threads
        self._names_left = Numbered(Taken(names.values()))
        self._lock = threading.Lock()
        self._reader = reader
        self._codecs = codecs
        self._folder = folder
        self._names = names
        self._format = format

    def restore(self, member: Member) -> Restored:
        """Restore one member, or say why not.

        Raises:
            OutputError: it cannot be written, and so nothing after it can.
        """
        try:
            if member.problem is not None:
                return Restored(member, damaged=member.problem)
            if member in self._there:
                return self._as_it_is(member)
            if member.kind == "picture":
                return self._picture(member)
            return self._verbatim(member)
        except ModelError as error:
            return Restored(member, skipped=error.message, model_error=error)
        except LimitError as error:
            return Restored(member, skipped=error.message)
        except FormatError as error:
            return Restored(member, damaged=error.message)
        except _UnfitError as error:
            return Restored(member, skipped=str(error))
        except OutputExistsError:
            return Restored(member, skipped="a file of its name has appeared in the output folder")

    def _picture(self, member: Member) -> Restored:
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
            # What a run before this one saved of the picture is saved again.
            again = (
                restored.is_partial
                and self._resume
                and self._folder.has(name, member.mtime_ns or 0)
            )
            with self._folder.file(name, replace=again) as out:
                try:
                    write_image(restored.image, out.file, format=self._format, threads=threads)
                except (EdgecompError, MemoryError):
                    raise  # a target that cannot be written is no fault of the picture's
                except Exception as error:
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
        return Restored(member, size, stream.width * stream.height, damaged=problem)

    def _as_it_is(self, member: Member) -> Restored:
        pixels = 0 if member.heading is None else member.heading.pixels
        return Restored(member, self._folder.size(self._names[member]), pixels, there=True)

    def _partial(self, name: str) -> str:
        """A name that no other member is restored under."""
        with self._lock:
            return self._names_left.take_partial(name)

    def _verbatim(self, member: Member) -> Restored:
        name = self._names[member]
        if member.kind == "folder":
            self._folder.folder(name, member.mtime_ns or 0)
            return Restored(member)
        with self._reader.open(member) as file, self._folder.file(name) as out:
            while piece := file.read(PIECE_BYTES):
                out.file.write(piece)
            if member.mtime_ns is not None:
                out.set_mtime(member.mtime_ns)
            size = out.size()
        return Restored(member, size)
