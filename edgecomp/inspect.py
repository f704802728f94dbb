"""Looking into archives and codestreams: list, info, verify. Nothing is ever changed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgecomp.archive import ArchiveReader, Member
from edgecomp.codestream import Codestream, is_codestream, parse
from edgecomp.constants import (
    CODER_NAMES,
    CODESTREAM_MAGIC,
    DEFAULT_MAX_EXPANSION,
    DEFAULT_MAX_MEMBERS,
    DEFAULT_MAX_PIXELS,
    OUTPUT_FORMATS,
)
from edgecomp.errors import (
    EdgecompError,
    FormatError,
    LimitError,
    ModelError,
    SourceError,
)
from edgecomp.machine import usable_cpus
from edgecomp.models import load_model, shipped_models
from edgecomp.names import Note, printable, restored_names
from edgecomp.output import reason_of
from edgecomp.pipeline import Progress, Silent, in_order
from edgecomp.reports import Info, ListEntry, Listing, VerifyReport
from edgecomp.verbatim import drain

if TYPE_CHECKING:
    from edgecomp.codec import CodecCache

__all__ = [
    "Info",
    "ListEntry",
    "Listing",
    "VerifyReport",
    "check_members",
    "info",
    "list_archive",
    "verify",
]

StrPath = str | os.PathLike[str]


def list_archive(
    path: StrPath,
    *,
    model: StrPath | None = None,
    format: str = "png",
    max_members: int | None = DEFAULT_MAX_MEMBERS,
) -> Listing:
    """The members of an archive, in its order, damaged ones included.

    Args:
        path: of the archive.
        model: folder of a model whose name is to be known besides those that ship.
        format: for the restored names, a key of ``constants.OUTPUT_FORMATS``.
        max_members: archives with more are refused; None for no limit.

    Raises:
        SourceError, NotEdgecompError, UnsupportedVersionError, LimitError: see ``ArchiveReader``.
    """
    names = _model_names(model)
    with ArchiveReader(Path(path), max_members=max_members) as reader:
        restored = restored_names(reader.members, OUTPUT_FORMATS[format])
        entries = [_list_entry(member, restored.get(member), names) for member in reader.members]
        damaged = [Note(m.shown, m.problem) for m in reader.members if m.problem is not None]
        return Listing(reader.shown, tuple(entries), (*reader.damage, *damaged))


def _list_entry(member: Member, restored: str | None, names: dict[bytes, str]) -> ListEntry:
    heading = member.heading
    size = member.size + member.overhead
    return ListEntry(
        name=member.shown,
        kind=member.kind,
        width=heading.width if heading else None,
        height=heading.height if heading else None,
        bytes=size,
        bpp=8 * size / heading.pixels if heading else None,
        mtime_ns=member.mtime_ns,
        model=names.get(heading.model_id, heading.model_id.hex()) if heading else None,
        coder=_coder_name(heading.coder_id) if heading else None,
        restored=restored,
        problem=member.problem,
    )


def _model_names(model: StrPath | None) -> dict[bytes, str]:
    models = shipped_models() + (() if model is None else (load_model(os.fspath(model)),))
    return {known.model_id: known.name for known in models}


def info(
    path: StrPath,
    *,
    model: StrPath | None = None,
    max_members: int | None = DEFAULT_MAX_MEMBERS,
) -> Info:
    """What an archive, or one codestream, holds.

    Raises:
        SourceError, NotEdgecompError, CorruptDataError, UnsupportedVersionError, LimitError: see
            ``ArchiveReader`` and ``codestream.parse``.
    """
    names = _model_names(model)
    if _is_codestream_file(path):
        return _info_codestream(path, names)
    with ArchiveReader(Path(path), max_pixels=None, max_members=max_members) as reader:
        streams = []
        damaged = list(reader.damage)
        counts = {"picture": 0, "verbatim-picture": 0, "file": 0, "folder": 0}
        other_bytes = 0
        for member in reader.members:
            counts[member.kind] += 1
            sound = False
            try:
                if member.problem is not None:
                    damaged.append(Note(member.shown, member.problem))
                elif member.kind == "picture":
                    streams.append(_Parts.of(reader.codestream(member)))
                    sound = True
            except FormatError as error:
                damaged.append(Note(member.shown, error.message))
            if not sound:
                # A damaged picture's pixels are not known: its bytes must not count per pixel.
                other_bytes += member.size + member.overhead
        return _info(
            reader.shown, "archive", reader.size, streams, counts, other_bytes, names, damaged
        )


@dataclass(frozen=True, slots=True)
class _Parts:
    """What `info` needs of a codestream, without its payloads."""

    model_id: bytes
    coder_id: int
    pixels: int
    symbol_bytes: int
    metadata_bytes: int

    @classmethod
    def of(cls, stream: Codestream) -> _Parts:
        return cls(
            stream.model_id,
            stream.coder_id,
            stream.width * stream.height,
            stream.coded_bytes,
            sum(len(section.payload) for section in stream.sections),
        )


def _info_codestream(path: StrPath, names: dict[bytes, str]) -> Info:
    stream, size = _read_codestream(path, None)
    counts = {"picture": 1, "verbatim-picture": 0, "file": 0, "folder": 0}
    shown = printable(os.fspath(path))
    return _info(shown, "codestream", size, [_Parts.of(stream)], counts, 0, names, [])


def _info(
    path: str,
    kind: Literal["archive", "codestream"],
    size: int,
    streams: Sequence[_Parts],
    counts: dict[str, int],
    other_bytes: int,
    names: dict[bytes, str],
    damaged: Sequence[Note],
) -> Info:
    pixels = sum(stream.pixels for stream in streams)
    symbol_bytes = sum(stream.symbol_bytes for stream in streams)
    metadata_bytes = sum(stream.metadata_bytes for stream in streams)
    ids = sorted({stream.model_id for stream in streams})
    return Info(
        path=path,
        kind=kind,
        bytes=size,
        images=counts["picture"],
        verbatim=counts["verbatim-picture"],
        files=counts["file"],
        folders=counts["folder"],
        pixels=pixels,
        bpp=8 * (size - other_bytes) / pixels if pixels else 0.0,
        symbol_bytes=symbol_bytes,
        metadata_bytes=metadata_bytes,
        other_bytes=other_bytes,
        overhead_bytes=size - other_bytes - symbol_bytes - metadata_bytes,
        models=tuple((model_id.hex(), names.get(model_id)) for model_id in ids),
        coders=tuple(_coder_name(c) for c in sorted({stream.coder_id for stream in streams})),
        damaged=tuple(damaged),
    )


def _coder_name(coder_id: int) -> str:
    known = 1 <= coder_id <= len(CODER_NAMES)
    return CODER_NAMES[coder_id - 1] if known else f"coder {coder_id}"


def verify(
    path: StrPath,
    *,
    level: Literal["checksums", "full"] = "full",
    model: StrPath | None = None,
    threads: int | None = None,
    max_pixels: int | None = DEFAULT_MAX_PIXELS,
    max_members: int | None = DEFAULT_MAX_MEMBERS,
    max_expansion: int | None = DEFAULT_MAX_EXPANSION,
    progress: Progress | None = None,
) -> VerifyReport:
    """Check everything in an archive, or one codestream, and report all that is wrong.

    Args:
        path: of the file.
        level: "checksums" reads every byte; "full" also decodes the symbols of every picture
            and compares them with their hash, where its model is here.
        model: folder of a model besides those that ship.
        threads: members looked at side by side; None for the processors that may be used.
        max_pixels: pictures with more are not decoded; None for no limit.
        max_members, max_expansion: see ``ArchiveReader``.
        progress: hears how it goes.

    Raises:
        SourceError, NotEdgecompError, UnsupportedVersionError, LimitError: see ``ArchiveReader``.
    """
    codecs = None
    if level == "full":
        # Imported here: it brings numpy and Pillow, which take longer to load than a list to print.
        from edgecomp.codec import CodecCache

        codecs = CodecCache(backend=None, model=None if model is None else os.fspath(model))
    if _is_codestream_file(path):
        return _verify_codestream(path, codecs, max_pixels)
    with ArchiveReader(
        Path(path), max_pixels=max_pixels, max_members=max_members, max_expansion=max_expansion
    ) as reader:
        report = check_members(reader, codecs, threads=threads or usable_cpus(), progress=progress)
        return replace(report, damaged=reader.damage + report.damaged)


def check_members(
    reader: ArchiveReader,
    codecs: CodecCache | None,
    *,
    threads: int,
    progress: Progress | None = None,
) -> VerifyReport:
    """Check all members of an open archive; what is wrong with its structure is not repeated.

    Args:
        reader: of the archive.
        codecs: for decoding symbols; None to look at checksums only.
        threads: members looked at side by side.
        progress: hears how it goes.
    """

    def check(member: Member) -> tuple[Member, EdgecompError | None]:
        try:
            _check_member(reader, member, codecs)
        except (FormatError, LimitError, ModelError) as error:
            return member, error
        return member, None

    outcome = _Outcome(decodes=codecs is not None)
    hears = progress or Silent()
    hears.start(len(reader.members), sum(member.size for member in reader.members))
    try:
        with closing(in_order(check, reader.members, threads=threads)) as results:
            for member, error in results:
                outcome.add(member.shown, error, picture=member.kind == "picture")
                hears.advance(member.shown, member.size)
    finally:
        hears.finish()
    return outcome.report(reader.shown)


@dataclass
class _Outcome:
    """What was found so far."""

    decodes: bool
    members: int = 0
    images: int = 0
    decoded: int = 0
    model_missing: bool = False
    damaged: list[Note] = field(default_factory=list)
    unchecked: list[Note] = field(default_factory=list)

    def add(self, shown: str, error: EdgecompError | None, *, picture: bool) -> None:
        """Count one member; ``error`` says what was wrong with it."""
        self.members += 1
        self.images += picture
        if error is None:
            self.decoded += picture and self.decodes
        elif isinstance(error, FormatError):
            self.damaged.append(Note(shown, error.message))
        else:
            self.unchecked.append(Note(shown, error.message))
            self.model_missing |= isinstance(error, ModelError)

    def report(self, shown: str) -> VerifyReport:
        return VerifyReport(
            archive=shown,
            members=self.members,
            images=self.images,
            decoded=self.decoded,
            damaged=tuple(self.damaged),
            unchecked=tuple(self.unchecked),
            model_missing=self.model_missing,
        )


def _check_member(reader: ArchiveReader, member: Member, codecs: CodecCache | None) -> None:
    """Returns if the member is right as far as could be seen, else raises what is wrong."""
    if member.kind == "picture" and member.problem is None:
        _check_codestream(reader.codestream(member), codecs)
        return
    with reader.open(member) as file:
        drain(file)


def _check_codestream(stream: Codestream, codecs: CodecCache | None) -> None:
    stream.check_tiles()
    stream.check_sections()
    if codecs is not None:
        codecs.for_stream(stream).check_symbols(stream)


def _verify_codestream(
    path: StrPath, codecs: CodecCache | None, max_pixels: int | None
) -> VerifyReport:
    shown = printable(os.fspath(path))
    outcome = _Outcome(decodes=codecs is not None)
    found: EdgecompError | None = None
    try:
        stream, _ = _read_codestream(path, max_pixels)
        _check_codestream(stream, codecs)
    except (FormatError, LimitError, ModelError) as error:
        found = error
    outcome.add(shown, found, picture=True)
    return outcome.report(shown)


def _is_codestream_file(path: StrPath) -> bool:
    shown = printable(os.fspath(path))
    try:
        with open(path, "rb") as file:
            return is_codestream(file.read(len(CODESTREAM_MAGIC)))
    except FileNotFoundError:
        raise SourceError("no such file", path=shown) from None
    except OSError as error:
        raise SourceError(f"cannot be read: {reason_of(error)}", path=shown) from error


def _read_codestream(path: StrPath, max_pixels: int | None) -> tuple[Codestream, int]:
    shown = printable(os.fspath(path))
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise SourceError(f"cannot be read: {reason_of(error)}", path=shown) from error
    try:
        return parse(data, max_pixels=max_pixels), len(data)
    except EdgecompError as error:
        error.path = shown
        raise
