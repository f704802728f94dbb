"""What the folder jobs report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgecomp.errors import ExitCode
from edgecomp.names import Note


def notes_to_json(notes: Sequence[Note]) -> list[dict[str, str]]:
    """Notes as plain values."""
    return [{"path": note.path, "reason": note.reason} for note in notes]


def worst_exit_code(*, damaged: object, model_missing: bool, left_out: object) -> ExitCode:
    """DAMAGED before MODEL before SKIPPED; DONE if nothing is true of an archive that was read."""
    if damaged:
        return ExitCode.DAMAGED
    if model_missing:
        return ExitCode.MODEL
    return ExitCode.SKIPPED if left_out else ExitCode.DONE


@dataclass(frozen=True, slots=True)
class CompressSummary:
    """How compressing went.

    Attributes:
        archive: path of what was written.
        images: pictures coded, those taken over unchanged included.
        files: everything in the archive, pictures included, empty folders not.
        bytes_in: of the sources.
        bytes_out: of the archive on disk.
        pixels: of the coded pictures.
        bpp: bits per pixel: what the coded pictures take in the archive, all but the share of
            the other files; 0.0 if there are none.
        seconds: that it took.
        verbatim: pictures kept as they are.
        skipped: what is not in the archive.
        unchanged: members taken over from the old archive.
        resumed: members taken over from interrupted runs.
        coded_here: pictures that a cluster was to code and this machine has coded, and why.
        unfinished: files that runs which were killed have left beside the archive; `resume` goes on
            from them, and they may be deleted.
    """

    archive: str
    images: int
    files: int
    bytes_in: int
    bytes_out: int
    pixels: int
    bpp: float
    seconds: float
    verbatim: tuple[Note, ...] = ()
    skipped: tuple[Note, ...] = ()
    unchanged: int = 0
    resumed: int = 0
    coded_here: tuple[Note, ...] = ()
    unfinished: tuple[str, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        """SKIPPED if something was left out, else DONE."""
        return ExitCode.SKIPPED if self.skipped else ExitCode.DONE

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return {
            "archive": self.archive,
            "images": self.images,
            "files": self.files,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "pixels": self.pixels,
            "bpp": round(self.bpp, 6),
            "seconds": round(self.seconds, 3),
            "verbatim": notes_to_json(self.verbatim),
            "skipped": notes_to_json(self.skipped),
            "unchanged": self.unchanged,
            "resumed": self.resumed,
            "coded_here": notes_to_json(self.coded_here),
            "unfinished": list(self.unfinished),
        }


@dataclass(frozen=True, slots=True)
class DecompressSummary:
    """How restoring went.

    Attributes:
        archive: path of what was read.
        output: path of the folder, or of the picture.
        images: pictures decoded.
        files: everything restored, pictures included, empty folders not.
        bytes_in: of the archive on disk.
        bytes_out: of the restored files.
        pixels: of the decoded pictures.
        seconds: that it took.
        damaged: what was not restored, or only thanks to a second copy, because of damage.
        skipped: what was not restored for another reason (a model that is not here, a limit).
        unchanged: files that an earlier run had restored.
        renamed: what came back under another name, since the system has none like its own.
        model_missing: whether a model that the archive needs is not here.
    """

    archive: str
    output: str
    images: int
    files: int
    bytes_in: int
    bytes_out: int
    pixels: int
    seconds: float
    damaged: tuple[Note, ...] = ()
    skipped: tuple[Note, ...] = ()
    unchanged: int = 0
    renamed: tuple[Note, ...] = ()
    model_missing: bool = False

    @property
    def exit_code(self) -> ExitCode:
        """DONE if everything came back; see `worst_exit_code`."""
        return worst_exit_code(
            damaged=self.damaged, model_missing=self.model_missing, left_out=self.skipped
        )

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return {
            "archive": self.archive,
            "output": self.output,
            "images": self.images,
            "files": self.files,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "pixels": self.pixels,
            "seconds": round(self.seconds, 3),
            "damaged": notes_to_json(self.damaged),
            "skipped": notes_to_json(self.skipped),
            "unchanged": self.unchanged,
            "renamed": notes_to_json(self.renamed),
        }
