"""The fuzzing targets: each a function of bytes that raises only if a promise is broken."""

from __future__ import annotations

import io
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from fuzz.name_targets import names, roundtrip
from fuzz.promises import (
    DATA,
    MODEL_FOLDERS,
    look_at_symbols,
    models,
    promise,
    promise_safe,
    promise_within,
)

from edgecomp.archive import ArchiveReader, Member
from edgecomp.archive_writer import ArchiveWriter
from edgecomp.backends import load_backend
from edgecomp.codestream import Codestream, parse
from edgecomp.entropy import decode_tile, encode_tile
from edgecomp.errors import CorruptDataError, EdgecompError
from edgecomp.heading import read_heading
from edgecomp.model_coders import load_coder
from edgecomp.models import Model, load_model
from edgecomp.names import restored_names

# More of an archive's members is not read: bombs of honest sizes take their time.
MOST_BYTES = 1 << 24
MOST_MEMBERS = 60
_PIECE = 1 << 16


# Archives.


def archive(data: bytes) -> None:
    """An archive is read or refused; what reads well can be copied, and is whole in the copy."""
    try:
        reader = ArchiveReader(
            io.BytesIO(data),
            max_members=MOST_MEMBERS,
            max_expansion=MOST_BYTES,
            thorough=bool(len(data) & 1),
        )
    except EdgecompError:
        return
    with reader:
        for path in restored_names(reader.members, ".png").values():
            promise_safe(path)
        whole = [member for member in reader.members if _reads_well(reader, member)]
        whole.sort(key=lambda member: member.source or "")
        _copied(reader, whole)


def _reads_well(reader: ArchiveReader, member: Member) -> bool:
    """Read a member; whether it is whole."""
    promise((member.source is None) == (member.problem is not None), "neither source nor problem")
    if member.source is not None:
        promise_safe(member.source)
    crc = size = 0
    try:
        with reader.open(member) as file:
            while piece := file.read(_PIECE):
                crc, size = zlib.crc32(piece, crc), size + len(piece)
                if size > MOST_BYTES:
                    return False
    except EdgecompError:
        return False
    finally:
        if member.kind == "picture":
            _look_at_picture(reader, member)
    promise(member.problem is None, "a member with a problem can be read")
    promise(size == member.original_size or reader.damage, "a member of another size")
    return True


def _look_at_picture(reader: ArchiveReader, member: Member) -> None:
    for checked in (True, False):
        try:
            stream = reader.codestream(member, checked=checked)
        except EdgecompError:
            continue
        _look_into(stream)


def _copied(reader: ArchiveReader, whole: list[Member]) -> None:
    """The promise that `repair` stands on."""
    target = io.BytesIO()
    writer = ArchiveWriter(target)
    for member in whole:
        writer.copy_from(reader, member)
    writer.finish()
    with ArchiveReader(target, max_expansion=MOST_BYTES) as copy:
        promise(not copy.damage and copy.complete, f"a copy is damaged: {copy.damage}")
        sources = [member.source for member in copy.members]
        promise(sources == [member.source for member in whole], "a copy has other members")
        for old, new in zip(whole, copy.members, strict=True):
            with reader.open(old) as first, copy.open(new) as second:
                promise(first.read() == second.read(), "a copy has other bytes")


# Codestreams.


def codestream(data: bytes) -> None:
    """A codestream is taken apart or refused; taken apart, it can be put together again."""
    try:
        stream = parse(data)
    except EdgecompError:
        return
    heading = read_heading(lambda start, count: data[start : start + count])
    promise(
        (heading.width, heading.height, heading.coder_id, heading.gain, heading.origin)
        == (stream.width, stream.height, stream.coder_id, stream.gain, stream.origin),
        "a heading that says something else",
    )
    promise(parse(stream.pack(), max_pixels=None) == stream, "packed it is another codestream")
    _look_into(stream)


def _look_into(stream: Codestream) -> None:
    """Payloads, sections and symbols of a codestream: whole, or named as damaged."""
    damaged = stream.damaged_tiles()
    try:
        stream.check_tiles()
        promise(not damaged, "damaged tiles are not named")
    except CorruptDataError:
        promise(damaged, "tiles are named that are not damaged")
    lost = stream.damaged_sections(critical=True)
    promise(stream.damaged_sections() <= lost, "fewer sections are damaged than ancillary ones")
    try:
        stream.check_sections()
        promise(not lost, "damaged sections are not found")
    except CorruptDataError:
        promise(lost, "sections are found damaged that are not")
    for section in stream.sections:
        try:
            content = stream.section(section.kind)
        except CorruptDataError:
            promise(section.kind in lost, "a damaged section is not named")
        else:
            promise(section.kind not in lost, "a section is named that is not damaged")
            promise(len(content or b"") == section.length, "a section of another length")
    look_at_symbols(stream)


# Models.

_folders: list[tempfile.TemporaryDirectory[str]] = []


def _folder() -> Path:
    """A folder with the files of a model, for manifests to be written into."""
    if not _folders:
        _folders.append(tempfile.TemporaryDirectory(prefix="edgecomp-fuzz-"))
        for file in (DATA / MODEL_FOLDERS[0]).iterdir():
            Path(_folders[0].name, file.name).write_bytes(file.read_bytes())
        (Path(_folders[0].name) / "saved_model").mkdir()
        (Path(_folders[0].name) / "saved_model" / "x").write_bytes(b"x")
    return Path(_folders[0].name)


def model(data: bytes) -> None:
    """A manifest is refused, or describes a model whose files are in its folder; those are used or
    refused."""
    folder = _folder()
    (folder / "model.json").write_bytes(data)
    try:
        found = load_model(folder)
    except EdgecompError:
        return
    named = [graph.file for graph in found.graphs.values()]
    named += [entry.file for entry in found.coder_files.values()]
    for path in [*named, *found.saved_model]:
        promise_within(path)
    uses: list[Callable[[], object]] = [
        found.size,
        found.check_saved_model,
        lambda: found.precisions,
        lambda: _run(found),
        *(lambda role=role, p=p: found.read_graph(role, p) for role, p in found.graphs),
        *(lambda name=name: load_coder(found, name) for name in (*found.coders, None)),
    ]
    for use in uses:
        try:
            use()
        except EdgecompError:
            pass


def _run(found: Model) -> None:
    """A small picture through the networks, if they can be loaded with this manifest."""
    if found.stride > 64:
        return
    backend = load_backend("onnx", found)
    latent = backend.analyse(np.zeros((found.stride, found.stride, 3), np.uint8), 0)
    promise(latent.symbols.shape == (found.channels, 1, 1), "a latent of another shape")
    pixels = backend.synthesise(latent.symbols, 0)
    promise(pixels.shape == (found.stride, found.stride, 3), "a picture of another size")


# Symbols.


def symbols(data: bytes) -> None:
    """A tile's payload gives symbols of the right shape and range, or an error.

    The first three bytes choose model and coder, rows, and columns.
    """
    if len(data) < 3:
        return
    found = list(models().values())[data[0] % 3]
    name = found.coders[data[0] // 3 % len(found.coders)]
    shape = (found.channels, 1 + data[1] % 24, 1 + data[2] % 24)
    form = {"levels": found.levels, "zero": found.zero}
    coder = load_coder(found, name)
    try:
        decoded, counts = decode_tile(
            coder, data[3:], shape=shape, importance_map=found.importance_map, **form
        )
    except CorruptDataError:
        return
    promise(decoded.shape == shape and decoded.dtype == np.uint8, "symbols of another shape")
    promise(int(decoded.max()) < found.levels, "a symbol beyond the levels")
    promise((counts is not None) == found.importance_map, "a map, or none, where there is one")
    if counts is not None:
        promise(counts.shape == shape[1:], "a map of another shape")
        promise(int(counts.max()) <= found.channels, "a map that counts too far")
        left_out = np.arange(found.channels)[:, None, None] >= counts
        promise((decoded[left_out] == found.zero).all(), "a symbol where none is coded")
    again = encode_tile(coder, decoded, counts=counts, **form)
    back, back_counts = decode_tile(
        coder, again, shape=shape, importance_map=found.importance_map, **form
    )
    promise(np.array_equal(decoded, back), "symbols that do not come back")
    if counts is not None and back_counts is not None:
        promise(np.array_equal(counts, back_counts), "a map that does not come back")


TARGETS: dict[str, Callable[[bytes], None]] = {
    "archive": archive,
    "codestream": codestream,
    "model": model,
    "names": names,
    "roundtrip": roundtrip,
    "symbols": symbols,
}
