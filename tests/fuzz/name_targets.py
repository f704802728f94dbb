"""The fuzzing targets of names, and of whole folders: there and back."""

from __future__ import annotations

import io
import itertools
import struct
import zipfile
import zlib
from dataclasses import replace

from fuzz.promises import promise, promise_safe

from edgecomp.archive import ArchiveReader, Member
from edgecomp.archive_writer import ArchiveWriter
from edgecomp.codestream import Codestream, Origin, Tile
from edgecomp.errors import CorruptDataError
from edgecomp.names import (
    Numbered,
    Taken,
    meeting_key,
    member_names,
    name_check,
    restored_names,
    safe_relative_path,
    source_of,
    unsafe_reason,
)

MTIME = 1_700_000_000_123_456_789

# Names.

_BETWEEN_NAMES = b"\xfe"  # never in UTF-8


def names(data: bytes) -> None:
    """No name that is accepted leads out of the output folder; names of members lead back."""
    parts = [part.decode("utf-8", "surrogateescape") for part in data.split(_BETWEEN_NAMES)[:40]]
    for text in parts:
        _look_at_name(text)
    for stem, suffix in itertools.islice(itertools.permutations(parts, 2), 60):
        _look_at_source(stem, suffix)
    sources = _without_conflicts([text for text in parts if unsafe_reason(text) is None])
    _look_at_members(sources)


def _look_at_name(text: str) -> None:
    reason = unsafe_reason(text)
    try:
        promise(safe_relative_path(text) == text, "a safe name becomes another")
    except CorruptDataError:
        promise(reason is not None, f"{text!a} is refused without a reason")
        return
    promise(reason is None, f"{text!a} is not refused: {reason}")
    promise_safe(text)


def _look_at_source(stem: str, suffix: str) -> None:
    """A member's name and a suffix, with a name check that fits and one that does not."""
    for check in (zlib.crc32((stem + suffix).encode("utf-8", "surrogatepass")), 0):
        try:
            source = source_of(stem + ".edge", suffix, check)
        except CorruptDataError:
            continue
        except UnicodeEncodeError:
            # Members' names have been decoded from UTF-8, and so have suffixes.
            promise(not _is_unicode(stem + suffix), "a name that is Unicode cannot be checked")
            continue
        promise(source.startswith(stem) or not suffix, "a source that is not the member's")
        promise_safe(source)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _without_conflicts(sources: list[str]) -> list[str]:
    """Those that can be in one archive: no file is the folder of another."""
    found: list[str] = []
    folders: set[str] = set()
    for source in sources:
        above = {source[:at] for at, char in enumerate(source) if char == "/"}
        if source not in found and source not in folders and not above & set(found):
            found.append(source)
            folders |= above
    return found


def _look_at_members(sources: list[str]) -> None:
    """Every second source is a picture: names of members, and names that they come back under."""
    pictures = sorted(sources[::2])
    named = member_names(pictures, Taken(sources))
    promise(list(named) == pictures, "a picture without a member's name")
    for source, (name, suffix) in named.items():
        promise(
            source_of(name, suffix, name_check(source)) == source, "a name that leads elsewhere"
        )
    keys = {meeting_key(name) for name, _ in named.values()}
    keys |= {meeting_key(source) for source in sources}
    expected = len(named) + len({meeting_key(source) for source in sources})
    promise(len(keys) == expected, "names of members that meet")
    members = [_member(source, index, source in named) for index, source in enumerate(sources)]
    back = restored_names(members, ".png")
    promise(len(back) == len(members), "a member without a name to come back under")
    _look_at_restored({m: name for m, name in back.items() if m.kind == "picture"}, back)


def _look_at_restored(pictures: dict[Member, str], back: dict[Member, str]) -> None:
    others = Taken(name for member, name in back.items() if member not in pictures)
    for member, name in back.items():
        promise(member in pictures or name == member.source, "a file that changes its name")
        promise_safe(name)
    for name in pictures.values():
        promise(name not in others, f"the picture {name!a} would be where a file is")
        left = Numbered(Taken(back.values()))
        partial = [left.take_partial(name) for _ in range(3)]
        for other in partial:
            promise_safe(other)
        promise(len({*map(meeting_key, partial)}) == 3, "two partial pictures of one name")
        promise(unsafe_reason(name) is None or len(name.encode()) > 4096, "an unsafe new name")
    promise(len({meeting_key(name) for name in pictures.values()}) == len(pictures), "they meet")


def _member(source: str, index: int, picture: bool) -> Member:
    return Member(source, source, "picture" if picture else "file", 1, 1, 1, 0, None, None, index)


# Round trips.


def roundtrip(data: bytes) -> None:
    """A folder that goes into an archive comes out of it, and another ZIP program reads it too."""
    contents = _contents(data)
    packed = _packed(contents)
    promise(packed == _packed(contents), "the same folder gives other bytes")
    with ArchiveReader(io.BytesIO(packed)) as reader:
        promise(not reader.damage and reader.complete, f"damage: {reader.damage}")
        found = {}
        for member in reader.members:
            promise(member.source is not None, f"{member.name} is lost: {member.problem}")
            content = reader.read(member)
            if member.kind == "picture":
                content = reader.codestream(member).tiles[0].payload
            promise(member.mtime_ns == MTIME - len(content), "another time")
            found[member.source or ""] = member.kind, content
    promise(found == contents, "other contents come back")
    with zipfile.ZipFile(io.BytesIO(packed)) as other:
        promise(other.testzip() is None, "another ZIP program finds damage")
        promise(len(other.infolist()) == len(contents), "another ZIP program finds other members")


def _contents(data: bytes) -> dict[str, tuple[str, bytes]]:
    """Records of kind and lengths (u8, u8, u16), name, content; the impossible are left out."""
    kinds = ("file", "verbatim-picture", "picture", "folder")
    named: dict[str, tuple[str, bytes]] = {}
    at = 0
    while at + 4 <= len(data):
        kind, length, size = struct.unpack_from("<BBH", data, at)
        name = data[at + 4 : at + 4 + length].decode("utf-8", "replace")
        at += 4 + length + size
        content = data[at - size : at]
        if unsafe_reason(name) is None and name not in named:
            chosen = kinds[kind % 4]
            named[name] = chosen, b"" if chosen == "folder" else content
    return {name: named[name] for name in _without_conflicts(list(named))}


def _packed(contents: dict[str, tuple[str, bytes]]) -> bytes:
    file = io.BytesIO()
    writer = ArchiveWriter(file)
    pictures = sorted(source for source, (kind, _) in contents.items() if kind == "picture")
    named = member_names(pictures, Taken(contents))
    for source, (kind, content) in sorted(contents.items()):
        mtime = MTIME - len(content)
        if kind == "picture":
            name, suffix = named[source]
            writer.add_picture(name, _picture(source, suffix, content, mtime), mtime)
        elif kind == "folder":
            writer.add_folder(source, mtime)
        else:
            writer.add_file(source, io.BytesIO(content), len(content), mtime, kind)
    promise(writer.finish() == len(file.getvalue()), "another size than the writer says")
    return file.getvalue()


def _picture(source: str, suffix: str, payload: bytes, mtime: int) -> bytes:
    stream = Codestream(bytes(8), 9, 7, 1, 0, bytes(4), (Tile.of(payload),))
    return replace(stream, origin=Origin(suffix, mtime, name_check(source))).pack()
