"""What looking into an archive finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from edgecomp.errors import ExitCode
from edgecomp.names import Note
from edgecomp.summary import notes_to_json, worst_exit_code


@dataclass(frozen=True, slots=True)
class ListEntry:
    """One member of an archive, for people.

    Attributes:
        name: path of the source, or the member's name where that is not known.
        kind: "picture", "verbatim-picture", "file" or "folder".
        width, height: of a coded picture in pixels, else None.
        bytes: that it takes in the archive, ZIP's records included.
        bpp: bits per pixel of a coded picture, else None.
        mtime_ns: of the source, nanoseconds since the epoch; None if not known.
        model: name of a coded picture's model, or its id in hexadecimal, else None.
        coder: name of a coded picture's symbol coder, or its number where it is not known,
            else None.
        restored: the name under which `decompress` restores it; None if it is damaged.
        problem: what is wrong with it, as far as can be seen without reading its data.
    """

    name: str
    kind: str
    width: int | None
    height: int | None
    bytes: int
    bpp: float | None
    mtime_ns: int | None
    model: str | None
    coder: str | None
    restored: str | None
    problem: str | None

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return {
            "name": self.name,
            "kind": self.kind,
            "width": self.width,
            "height": self.height,
            "bytes": self.bytes,
            "bpp": None if self.bpp is None else round(self.bpp, 6),
            "mtime_ns": self.mtime_ns,
            "model": self.model,
            "coder": self.coder,
            "restored": self.restored,
            "problem": self.problem,
        }


@dataclass(frozen=True, slots=True)
class Listing:
    """The members of an archive.

    Attributes:
        archive: path of the file.
        entries: in the order of the archive, damaged ones included.
        damaged: what is wrong, as far as can be seen without reading the members' data.
    """

    archive: str
    entries: tuple[ListEntry, ...]
    damaged: tuple[Note, ...]

    @property
    def exit_code(self) -> ExitCode:
        """DAMAGED or DONE."""
        return worst_exit_code(damaged=self.damaged, model_missing=False, left_out=False)

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return {
            "archive": self.archive,
            "entries": [entry.to_json() for entry in self.entries],
            "damaged": notes_to_json(self.damaged),
        }


@dataclass(frozen=True, slots=True)
class Info:
    """What an archive or a codestream holds and what its bytes are spent on.

    Attributes:
        path: of the file.
        kind: "archive" or "codestream".
        bytes: on disk.
        images: coded pictures.
        verbatim: pictures kept as they are.
        files: other files.
        folders: empty folders that are kept.
        pixels: of the coded pictures.
        bpp: bits per pixel of the coded pictures, the ZIP's records for them included.
        symbol_bytes: coded symbols.
        metadata_bytes: alpha planes, ICC profiles, EXIF, XMP as stored.
        other_bytes: files and pictures kept as they are, and damaged members, as stored, with
            their ZIP records.
        overhead_bytes: everything else: headers, ZIP's records for pictures, the end record.
        models: (id in hexadecimal, name or None) of each model, in order of their ids.
        coders: names of the symbol coders, or their numbers where they are not known.
        damaged: members that could not be looked into.
    """

    path: str
    kind: Literal["archive", "codestream"]
    bytes: int
    images: int
    verbatim: int
    files: int
    folders: int
    pixels: int
    bpp: float
    symbol_bytes: int
    metadata_bytes: int
    other_bytes: int
    overhead_bytes: int
    models: tuple[tuple[str, str | None], ...]
    coders: tuple[str, ...]
    damaged: tuple[Note, ...]

    @property
    def overhead_per_image(self) -> float:
        """Bytes a picture beyond its coded symbols and metadata; 0.0 if there are none."""
        return self.overhead_bytes / self.images if self.images else 0.0

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return {
            "path": self.path,
            "kind": self.kind,
            "bytes": self.bytes,
            "images": self.images,
            "verbatim": self.verbatim,
            "files": self.files,
            "folders": self.folders,
            "pixels": self.pixels,
            "bpp": round(self.bpp, 6),
            "symbol_bytes": self.symbol_bytes,
            "metadata_bytes": self.metadata_bytes,
            "other_bytes": self.other_bytes,
            "overhead_bytes": self.overhead_bytes,
            "overhead_per_image": round(self.overhead_per_image, 2),
            "models": [{"id": model_id, "name": name} for model_id, name in self.models],
            "coders": list(self.coders),
            "damaged": notes_to_json(self.damaged),
        }


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What verifying has found.

    Attributes:
        archive: path of the file.
        members: that were looked at.
        images: coded pictures among them.
        decoded: pictures whose symbols were decoded and agree with their hash.
        damaged: everything that is wrong.
        unchecked: pictures whose checksums are right, but whose symbols could not be decoded
            because their model is not here, or for a limit.
        model_missing: whether a model is the reason for any of these.
    """

    archive: str
    members: int
    images: int
    decoded: int
    damaged: tuple[Note, ...]
    unchecked: tuple[Note, ...]
    model_missing: bool = False

    @property
    def exit_code(self) -> ExitCode:
        """DONE if all was checked and is right; see `worst_exit_code`."""
        return worst_exit_code(
            damaged=self.damaged, model_missing=self.model_missing, left_out=self.unchecked
        )

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return {
            "archive": self.archive,
            "members": self.members,
            "images": self.images,
            "decoded": self.decoded,
            "damaged": notes_to_json(self.damaged),
            "unchecked": notes_to_json(self.unchecked),
        }


@dataclass(frozen=True, slots=True)
class RepairSummary:
    """How repairing an archive went.

    Attributes:
        archive: path of the damaged archive.
        output: path of the new one; None if nothing was damaged, and so nothing was written.
        members, images: in the new archive, or in the old one where there is no new one.
        bytes_in, bytes_out: of the two on disk.
        seconds: that it took.
        damaged: what was wrong with the archive's structure.
        lost: members that are not in the new archive because they are damaged.
        mended: members that are in it, but not all that they had.
        skipped: members that are not in it for a limit.
        complete: whether every member that the damaged archive once had was found in it, whole or
            not, as far as can be told.
    """

    archive: str
    output: str | None
    members: int
    images: int
    bytes_in: int
    bytes_out: int
    seconds: float
    damaged: tuple[Note, ...] = ()
    lost: tuple[Note, ...] = ()
    mended: tuple[Note, ...] = ()
    skipped: tuple[Note, ...] = ()
    complete: bool = True

    @property
    def exit_code(self) -> ExitCode:
        """DAMAGED if something of what was in the archive is, or may be, lost."""
        lost = self.lost or self.mended or not self.complete
        return worst_exit_code(damaged=lost, model_missing=False, left_out=self.skipped)

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return {
            "archive": self.archive,
            "output": self.output,
            "members": self.members,
            "images": self.images,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "seconds": round(self.seconds, 3),
            "damaged": notes_to_json(self.damaged),
            "lost": notes_to_json(self.lost),
            "mended": notes_to_json(self.mended),
            "skipped": notes_to_json(self.skipped),
            "complete": self.complete,
        }
