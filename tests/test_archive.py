"""The archive: round trips, damage of every kind, hostile files."""

from __future__ import annotations

import io
import lzma
import random
import struct
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from common import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecomp import ziprecords as z
from edgecomp.archive import ArchiveReader, Member
from edgecomp.archive_writer import ArchiveWriter
from edgecomp.codestream import Codestream, Origin, Tile
from edgecomp.constants import ARCHIVE_COMMENT, DEFAULT_MAX_EXPANSION
from edgecomp.errors import (
    CorruptDataError,
    EdgecompError,
    FormatError,
    NotEdgecompError,
    SourceError,
    UnsupportedVersionError,
)
from edgecomp.names import Taken, member_names, name_check, unsafe_reason
from edgecomp.verbatim import SMALL_BYTES, pack

MTIME = 1_700_000_000_123_456_789
NOISE = random.Random(5).randbytes(3000)


def codestream(source: str, suffix: str, payload: bytes = b"symbols", mtime: int = MTIME) -> bytes:
    return Codestream(
        model_id=bytes(8),
        width=9,
        height=7,
        coder_id=1,
        gain=0,
        symbol_hash=bytes(4),
        tiles=(Tile.of(payload),),
        origin=Origin(suffix, mtime, name_check(source)),
    ).pack()


def build(contents: dict[str, tuple[str, bytes]]) -> bytes:
    """An archive of source -> (kind, payload or bytes)."""
    pictures = sorted(source for source, (kind, _) in contents.items() if kind == "picture")
    names = member_names(pictures, Taken(contents))
    file = io.BytesIO()
    writer = ArchiveWriter(file)
    for source, (kind, data) in sorted(contents.items()):
        if kind == "picture":
            name, suffix = names[source]
            writer.add_picture(name, codestream(source, suffix, data), MTIME)
        elif kind == "folder":
            writer.add_folder(source, MTIME)
        else:
            writer.add_file(source, io.BytesIO(data), len(data), MTIME, kind)
    assert writer.finish() == len(file.getvalue())
    return file.getvalue()


SMALL = {
    "a.jpg": ("picture", b"first"),
    "b/ü.png": ("picture", b"second"),
    "empty": ("folder", b""),
    "n.bin": ("file", NOISE[:60]),
    "t.txt": ("file", b"text " * 40),
    "v.gif": ("verbatim-picture", b"GIF89a"),
}


def contents_of(data: bytes) -> dict[str, tuple[str, bytes]]:
    """What can be read of an archive: sources to kind and bytes; damaged members are left out."""
    found = {}
    with ArchiveReader(io.BytesIO(data)) as reader:
        for member in reader.members:
            try:
                if member.kind == "picture":
                    stream = reader.codestream(member)
                    stream.check_tiles()
                    payload = stream.tiles[0].payload
                else:
                    payload = reader.read(member)
            except FormatError:
                continue
            assert member.source is not None
            assert member.mtime_ns == MTIME
            found[member.source] = member.kind, payload
    return found


def test_round_trip() -> None:
    data = build(SMALL)
    assert contents_of(data) == SMALL
    with ArchiveReader(io.BytesIO(data)) as reader:
        assert reader.damage == ()
        assert [m.source for m in reader.members] == sorted(SMALL)
        assert [m.name for m in reader.members][:3] == ["a.edge", "b/ü.edge", "empty/"]
        heading = reader.members[0].heading
        assert heading is not None
        assert (heading.width, heading.height, heading.coder_id) == (9, 7, 1)


def test_the_vector_in_the_specification() -> None:
    text = (ROOT / "docs" / "format-archive.md").read_text()
    vector = bytes.fromhex(text.split("```hex\n")[1].split("```")[0])
    contents = {"d": ("folder", b""), "f": ("file", b"hello"), "p.png": ("picture", b"symbols")}
    assert build(contents) == vector
    assert contents_of(vector) == contents


def test_the_same_members_give_the_same_bytes() -> None:
    assert build(SMALL) == build(dict(reversed(SMALL.items())))


def test_any_zip_program_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "a.ecz"
    path.write_bytes(build(SMALL))
    with zipfile.ZipFile(path) as archive:
        assert archive.comment == ARCHIVE_COMMENT
        assert archive.testzip() is None
        assert archive.read("t.txt") == b"text " * 40
        assert archive.getinfo("t.txt").compress_type == zipfile.ZIP_LZMA
        assert archive.getinfo("n.bin").compress_type == zipfile.ZIP_STORED
        assert archive.getinfo("empty/").is_dir()
        info = archive.getinfo("a.edge")
        assert info.date_time == (2023, 11, 14, 22, 13, 20)
        assert info.extra == b""
        assert info.external_attr >> 16 == 0o100644


def test_overhead_of_a_picture() -> None:
    size = 20_000
    pictures = {f"kodim{n:02}.png": ("picture", NOISE[:1] * size) for n in range(24)}
    assert (len(build(pictures)) - 24 * size) / 24 <= 150


names = st.lists(
    st.text(min_size=1, max_size=8).filter(lambda part: not unsafe_reason(part)), min_size=1,
    max_size=3,
).map("/".join)  # fmt: skip


kinds = st.sampled_from(["picture", "file", "verbatim-picture"])


@given(st.dictionaries(names, st.tuples(kinds, st.binary()), max_size=8))
def test_any_contents_round_trip(contents: dict[str, tuple[str, bytes]]) -> None:
    folders = {s[:at] for s in contents for at, char in enumerate(s) if char == "/"}
    contents = {s: c for s, c in contents.items() if s not in folders}
    assert contents_of(build(contents)) == contents


@pytest.mark.parametrize("mtime", [0, -1, 1, 10**19 // 2, -(10**18), 4_400_000_000 * 10**9])
def test_any_time_comes_back(mtime: int) -> None:
    file = io.BytesIO()
    writer = ArchiveWriter(file)
    writer.add_packed("f", pack(b"x"), mtime)
    writer.add_picture("p.edge", codestream("p.png", ".png", mtime=mtime), mtime)
    writer.finish()
    with ArchiveReader(file) as reader:
        assert [m.mtime_ns for m in reader.members] == [mtime, mtime]


@pytest.mark.parametrize("packs", [True, False])
def test_large_files_pass_in_pieces(packs: bool) -> None:
    size = SMALL_BYTES + 12_345
    data = b"0123456789" * (size // 10 + 1) if packs else random.Random(1).randbytes(size)
    data = data[:size]
    file = io.BytesIO()
    writer = ArchiveWriter(file)
    assert writer.add_file("big", io.BytesIO(data), size, MTIME) == size
    writer.finish()
    with ArchiveReader(file) as reader:
        (member,) = reader.members
        assert (member.size < size) == packs
        assert reader.read(member) == data
    with zipfile.ZipFile(file) as archive:
        assert archive.read("big") == data


def test_a_growing_file_is_read_to_its_first_size() -> None:
    file = io.BytesIO()
    writer = ArchiveWriter(file)
    source = io.BytesIO(bytes(SMALL_BYTES + 100))
    assert writer.add_file("big", source, SMALL_BYTES + 7, MTIME) == SMALL_BYTES + 7


class _Failing(io.BytesIO):
    """A file whose disk breaks after the first megabytes."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() > 3 << 20 and size == 1 << 20 and self.reads > 4:
            raise OSError(5, "Input/output error")
        self.reads += 1
        return super().read(size)

    reads = 0


def test_a_source_that_fails_in_the_middle_leaves_no_trace() -> None:
    file = io.BytesIO()
    writer = ArchiveWriter(file)
    writer.add_packed("first", pack(b"1"), MTIME)
    with pytest.raises(OSError, match="Input/output"):
        writer.add_file("bad", _Failing(NOISE * 2500), 3000 * 2500, MTIME)
    writer.add_packed("last", pack(b"2"), MTIME)
    writer.finish()
    with ArchiveReader(file) as reader:
        assert [m.source for m in reader.members] == ["first", "last"]
        assert reader.damage == ()


def test_zip64_in_headers() -> None:
    """Sizes over 4 GiB, without writing so much: the records alone."""
    big = 5 << 32
    entry = z.Entry.new("x", MTIME, crc=7, stored=big, size=big + 1, extra=z.Extra(0, MTIME))
    assert z.parse_local(entry.pack_local(wide=True)) == entry
    parsed = z.parse_central(entry.pack_central(big + 2), 0)
    assert parsed is not None
    assert parsed[:2] == (entry, big + 2)
    end = z.End(70_000, big, big, ARCHIVE_COMMENT)
    tail = end.pack()
    position = z.find_end(tail)
    assert position is not None
    assert z.parse_end(tail, position) == end
    assert z.end64_bytes(tail, position) == z.END64_BYTES == position


def test_a_zip64_directory() -> None:
    """As written for more than 65 534 members or 4 GiB: the end record has placeholders only."""
    data = build(SMALL)
    position = z.find_end(data)
    assert position is not None
    end = z.parse_end(data, position)
    wide = struct.pack(
        "<4sQ2H2I4Q", b"PK\x06\x06", 44, 831, 45, 0, 0, end.count, end.count, end.size, end.offset
    )
    wide += struct.pack("<4sIQI", b"PK\x06\x07", 0, position, 1)
    placeholders = z.End(z.LIMIT16, z.LIMIT32, z.LIMIT32, ARCHIVE_COMMENT).pack()[z.END64_BYTES :]
    data = data[:position] + wide + placeholders
    with ArchiveReader(io.BytesIO(data)) as reader:
        assert reader.damage == ()
    assert contents_of(data) == SMALL
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert len(archive.namelist()) == len(SMALL)


def test_copying_members() -> None:
    data = build(SMALL)
    file = io.BytesIO()
    writer = ArchiveWriter(file)
    with ArchiveReader(io.BytesIO(data)) as reader:
        for member in reader.members:
            writer.copy_from(reader, member)
    writer.finish()
    assert file.getvalue() == data


def test_copying_refuses_a_damaged_member() -> None:
    data = bytearray(build({"noise.bin": ("file", NOISE)}))
    data[500] ^= 1
    with (
        ArchiveReader(io.BytesIO(data)) as reader,
        pytest.raises(CorruptDataError, match=r"^noise\.bin: "),
    ):
        ArchiveWriter(io.BytesIO()).copy_from(reader, reader.members[0])


def test_a_picture_member_must_be_named_as_one() -> None:
    with pytest.raises(ValueError, match=r"\.edge"):
        ArchiveWriter(io.BytesIO()).add_picture("a.png", b"", MTIME)


def test_reading_from_several_threads(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    path = tmp_path / "a.ecz"
    path.write_bytes(build({f"{n}": ("file", NOISE + bytes([n])) for n in range(50)}))
    for source in (path, io.BytesIO(path.read_bytes())):
        with ArchiveReader(source) as reader, ThreadPoolExecutor(8) as pool:
            found = list(pool.map(reader.read, reader.members * 4))
        assert all(data[:-1] == NOISE for data in found)


# Damage.


def test_any_prefix_has_what_is_whole_and_says_that_it_is_cut_short() -> None:
    data = build(SMALL)
    with ArchiveReader(io.BytesIO(data)) as reader:
        ends = [slot.views[0].end for slot in reader._slots]
        sources = [member.source for member in reader.members]
    directory = ends[-1]
    for length in range(len(data)):
        whole = sum(end <= length for end in ends)
        try:
            found = contents_of(data[:length])
        except NotEdgecompError:
            assert length <= ends[0], length
            continue
        assert found == {source: SMALL[source] for source in sources[:whole] if source}
        with ArchiveReader(io.BytesIO(data[:length])) as reader:
            assert "cut short" in reader.damage[-1].reason
            assert reader.complete == (length >= directory + 4), length
            cut = [member for member in reader.members if member.problem is not None]
            assert len(reader.members) == whole + len(cut)
            # Of the member that is cut there is a name from where its header is whole.
            assert all("cut short" in str(member.problem) for member in cut)


@pytest.mark.parametrize("where", ["start", "middle", "between", "end"])
def test_missing_bytes_cost_what_they_are_missing_from(where: str) -> None:
    contents = {f"f{n:02}": ("file", NOISE[n : n + 700]) for n in range(12)}
    data = build(contents)
    starts = [data.index(b"PK\x03\x04")]
    while (following := data.find(b"PK\x03\x04", starts[-1] + 4)) >= 0:
        starts.append(following)
    ranges = {
        "start": (0, 300, {"f00"}),
        "middle": (starts[5] + 200, starts[5] + 300, {"f05"}),
        "between": (starts[5] + 200, starts[6] + 300, {"f05", "f06"}),
        "end": (starts[11] + 200, starts[11] + 300, {"f11"}),
    }
    start, end, lost = ranges[where]
    with ArchiveReader(io.BytesIO(data[:start] + data[end:])) as reader:
        named = {note.path for note in reader.damage}
        for member in reader.members:
            if member.problem is None and member.source not in lost:
                assert reader.read(member) == contents[str(member.source)][1]
            else:
                named.add(member.shown)
    assert lost <= named
    found = contents_of(data[:start] + data[end:])
    assert found.keys() == contents.keys() - lost
    # A copy of the bytes in the place of a hole costs no more.
    found = contents_of(data[:end] + data[start:])
    assert found.keys() >= contents.keys() - lost
    assert all(contents[source] == content for source, content in found.items())


def test_two_members_in_each_others_place_do_not_take_each_others_name() -> None:
    contents = {"a": ("file", NOISE[:50]), "b": ("file", NOISE[50:100]), "c": ("file", b"c")}
    data = bytearray(build(contents))
    first, second = data.index(b"PK\x03\x04"), data.index(b"PK\x03\x04", 4)
    length = second - first
    data[:length], data[length : 2 * length] = data[length : 2 * length], data[:length]
    assert contents_of(bytes(data)) == {"c": ("file", b"c")}
    with ArchiveReader(io.BytesIO(data)) as reader:
        assert [member.source for member in reader.members] == [None, None, "c"]
        assert "different files" in str(reader.members[0].problem)


def test_an_archive_within_an_archive_is_not_taken_for_a_part_of_it() -> None:
    inner = build({"x.txt": ("file", NOISE[:200]), "y.txt": ("file", NOISE[200:400])})
    data = assemble([file_entry("a", b"first"), file_entry("inner.ecz", inner + NOISE[:999])])
    start = data.index(b"x.txt")
    for length in range(start, start + len(inner)):
        assert contents_of(data[:length]).keys() == {"a"}


def test_what_a_writer_left_unfinished_is_no_empty_file() -> None:
    file = io.BytesIO()
    writer = ArchiveWriter(file)
    writer.add_packed("a", pack(b"first"), MTIME)
    size = SMALL_BYTES + 1

    class Killed(io.BytesIO):
        def read(self, count: int | None = -1, /) -> bytes:
            if self.tell() == 3 << 20:
                raise KeyboardInterrupt
            return super().read(count)

    inner = build({"x.txt": ("file", b"x" * 30)})
    with pytest.raises(KeyboardInterrupt):
        writer.add_file("b.ecz", Killed(inner + random.Random(1).randbytes(size)), size, MTIME)
    assert inner in file.getvalue()
    with ArchiveReader(io.BytesIO(file.getvalue())) as reader:
        first, second = reader.members
        assert (first.source, second.source) == ("a", None)
        assert "not finished" in str(second.problem)


def test_any_flipped_bit_is_noticed_harmless_or_costs_one_member() -> None:
    data = build(SMALL)
    lost_everything = 0
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            found = contents_of(damaged)
        except FormatError:
            lost_everything += 1
            continue
        assert all(SMALL[source] == content for source, content in found.items()), bit
        assert len(found) >= len(SMALL) - 1, (bit, bit // 8)
        if len(found) < len(SMALL):
            assert is_reported(damaged), bit
    # Only a bit of the version in the comment makes the whole archive look like something else.
    assert lost_everything <= 8


def is_reported(data: bytes) -> bool:
    with ArchiveReader(io.BytesIO(data)) as reader:
        if reader.damage:
            return True
        for member in reader.members:
            try:
                if member.kind == "picture":
                    reader.codestream(member).check_tiles()
                else:
                    reader.read(member)
            except FormatError:
                return True
    return False


@settings(max_examples=300)
@given(st.data())
def test_zeroed_or_swapped_blocks_cost_what_they_touch(data: st.DataObject) -> None:
    contents = {f"f{n:02}": ("file", NOISE[n : n + 700]) for n in range(12)}
    archive = bytearray(build(contents))
    start = data.draw(st.integers(0, len(archive) - 1))
    length = data.draw(st.integers(1, 1500))
    filling = data.draw(st.sampled_from([b"\0", b"\xff", b"PK\x03\x04", b"PK\x01\x02"]))
    end = min(start + length, len(archive))
    archive[start:end] = (filling * length)[: end - start]
    try:
        found = contents_of(archive)
    except FormatError:
        return
    assert all(contents[source] == content for source, content in found.items())
    offsets = range(0, 12 * 760, 760)
    untouched = sum(offset + 760 <= start or offset >= end for offset in offsets)
    if end < len(archive) - 12 * 80:
        assert len(found) >= untouched - 1


@settings(max_examples=300)
@given(st.binary(max_size=400), st.booleans())
def test_arbitrary_bytes_fail_cleanly(noise: bytes, with_end: bool) -> None:
    if with_end:
        noise += z.End(1, len(noise) // 2, len(noise) - len(noise) // 2, ARCHIVE_COMMENT).pack()
    try:
        contents_of(noise)
    except EdgecompError:
        pass


def test_a_renamed_member_does_not_come_back_under_a_wrong_name() -> None:
    data = build({"holiday.jpg": ("picture", b"x"), "notes.txt": ("file", b"y")})
    for old, new in ((b"holiday.edge", b"workday.edge"), (b"notes.txt", b"votes.txt")):
        with ArchiveReader(io.BytesIO(data.replace(old, new))) as reader:
            (member,) = [m for m in reader.members if m.name == new.decode()]
            assert member.source is None
            with pytest.raises(CorruptDataError, match="name check"):
                reader.read(member)


def test_one_damaged_name_is_mended_from_the_other() -> None:
    data = build({"holiday.jpg": ("picture", b"x")})
    for place in (data.index(b"holiday"), data.rindex(b"holiday")):
        damaged = bytearray(data)
        damaged[place] ^= 4
        with ArchiveReader(io.BytesIO(damaged)) as reader:
            assert reader.members[0].source == "holiday.jpg"
            assert "differ" in reader.damage[0].reason
            assert reader.codestream(reader.members[0]).width == 9


# Other files, hostile files.


def test_what_is_no_archive(tmp_path: Path) -> None:
    plain = io.BytesIO()
    with zipfile.ZipFile(plain, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("hello.txt", b"hello" * 100)
    empty = io.BytesIO()
    zipfile.ZipFile(empty, "w").close()
    for data, words in (
        (b"", "empty file"),
        (b"hello" * 100, "not an edgecomp archive"),
        (plain.getvalue(), "ZIP file, but not"),
        (empty.getvalue(), "ZIP file, but not"),
        (codestream("a.png", ".png"), "one picture's codestream"),
        (plain.getvalue()[:60], "not an edgecomp archive"),
    ):
        path = tmp_path / "x.ecz"
        path.write_bytes(data)
        with pytest.raises(NotEdgecompError, match=words) as caught:
            ArchiveReader(path)
        assert str(path) in str(caught.value)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        ArchiveReader(tmp_path / "x.ecz")
    with pytest.raises(SourceError, match=str(tmp_path)):
        ArchiveReader(tmp_path)


def test_a_newer_version() -> None:
    data = build(SMALL)[:-1] + b"2"
    with pytest.raises(UnsupportedVersionError, match="newer"):
        ArchiveReader(io.BytesIO(data))


def test_an_archive_that_was_touched_by_a_zip_program_still_opens() -> None:
    file = io.BytesIO(build(SMALL))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("added.txt", b"hello")
        archive.comment = b""
    with ArchiveReader(file) as reader:
        added = {m.name: m for m in reader.members}["added.txt"]
        assert added.problem is not None
        assert "not written by edgecomp" in added.problem
    found = contents_of(file.getvalue())
    assert found == SMALL


def assemble(entries: list[tuple[z.Entry, bytes]], patch: Callable[[int], int] = int) -> bytes:
    """An archive of handmade members; ``patch`` changes the offsets in the directory."""
    body, directory = b"", b""
    for entry, data in entries:
        directory += entry.pack_central(patch(len(body)))
        body += entry.pack_local() + data
    return body + directory + z.End(len(entries), len(directory), len(body), ARCHIVE_COMMENT).pack()


def file_entry(name: str, data: bytes, **changes: int) -> tuple[z.Entry, bytes]:
    fields = {"crc": zlib.crc32(data), "stored": len(data), "size": len(data)} | changes
    return z.Entry.new(name, MTIME, extra=z.Extra(0, MTIME), **fields), data


@pytest.mark.parametrize(
    "name",
    ["../evil", "/etc/evil", "C:/evil", "a/../../evil", "a\\..\\evil", "nul", "a\nb", "a//b"],
)
def test_hostile_names_are_damaged_members(name: str) -> None:
    data = assemble([file_entry("good", b"1"), file_entry(name, b"2")])
    with ArchiveReader(io.BytesIO(data)) as reader:
        good, evil = reader.members
        assert reader.read(good) == b"1"
        assert evil.source is None
        with pytest.raises(CorruptDataError, match="unsafe name"):
            reader.read(evil)


def test_a_hostile_suffix_in_a_codestream() -> None:
    for suffix in ("/../../evil", ".jpg/", "\0"):
        source = "a" + suffix
        data = codestream(source, suffix)
        entry = z.Entry.new("a.edge", 0, crc=zlib.crc32(data), stored=len(data), size=len(data))
        with ArchiveReader(io.BytesIO(assemble([(entry, data)]))) as reader:
            assert reader.members[0].source is None


def test_names_that_are_no_unicode() -> None:
    data = assemble([file_entry("good", b"1"), file_entry("evil", b"2")])
    with ArchiveReader(io.BytesIO(data.replace(b"evil", b"\xff\xfe\xfd\xfc"))) as reader:
        assert [m.source for m in reader.members] == ["good", None]
        assert reader.members[1].name == "\\xff\\xfe\\xfd\\xfc"


def test_duplicates_and_files_that_are_folders() -> None:
    data = assemble(
        [file_entry(name, name.encode()) for name in ("a", "a", "b/c", "b", "d", "d/e")]
    )
    with ArchiveReader(io.BytesIO(data)) as reader:
        assert [m.problem is None for m in reader.members] == [
            True,
            False,
            True,
            False,
            True,
            False,
        ]
        assert "earlier member" in str(reader.members[1].problem)


def test_overlapping_members() -> None:
    inner, data = file_entry("inner", b"x" * 50)
    inside = inner.pack_local() + data
    outer = file_entry("outer", inside + b"tail")
    head = outer[0].pack_local()
    body = head + outer[1]
    directory = outer[0].pack_central(0) + inner.pack_central(len(head))
    end = z.End(2, len(directory), len(body), ARCHIVE_COMMENT)
    with ArchiveReader(io.BytesIO(body + directory + end.pack())) as reader:
        # The outer member ends where the directory starts; the inner one is not a member.
        assert [m.source for m in reader.members] == ["outer"]
        assert reader.damage


def test_many_records_of_one_member() -> None:
    data = assemble([file_entry("a", NOISE)] * 1)
    entry, body = file_entry("a", NOISE)
    local = entry.pack_local() + body
    directory = entry.pack_central(0) * 1000
    end = z.End(1000, len(directory), len(local), ARCHIVE_COMMENT)
    with ArchiveReader(io.BytesIO(local + directory + end.pack())) as reader:
        assert len(reader.members) == 1
        assert reader.read(reader.members[0]) == NOISE
    assert contents_of(data) == {"a": ("file", NOISE)}


@pytest.mark.parametrize("size", [1 << 31, (1 << 32) - 2, 1 << 40, (1 << 63) - 1, (1 << 64) - 1])
def test_absurd_sizes(size: int) -> None:
    entry, data = file_entry("a", b"x", stored=size, size=size)
    local = entry.pack_local(wide=size >= z.LIMIT32) + data
    directory = entry.pack_central(0)
    end = z.End(1, len(directory), len(local), ARCHIVE_COMMENT)
    started = time.monotonic()
    with ArchiveReader(io.BytesIO(local + directory + end.pack())) as reader:
        assert reader.members[0].problem is not None
    assert time.monotonic() - started < 0.5


@pytest.mark.parametrize(
    "end",
    [
        z.End((1 << 64) - 1, 100, 10, ARCHIVE_COMMENT),
        z.End(1, (1 << 64) - 1, 0, ARCHIVE_COMMENT),
        z.End(1, 0, (1 << 64) - 1, ARCHIVE_COMMENT),
        z.End(65_535, 46, 0, ARCHIVE_COMMENT),
        z.End(1, 1 << 32, 1 << 32, ARCHIVE_COMMENT),
    ],
)
def test_absurd_end_records(end: z.End) -> None:
    entry, data = file_entry("a", b"x")
    tracemalloc.start()
    with ArchiveReader(io.BytesIO(entry.pack_local() + data + end.pack())) as reader:
        assert reader.damage
        assert [m.source for m in reader.members] == ["a"]
    assert tracemalloc.get_traced_memory()[1] < 50 << 20
    tracemalloc.stop()


def zip_lzma(data: bytes, *, properties: int = 0x5D, dictionary: int = 1 << 16) -> bytes:
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 16}]
    packed = lzma.compress(data, lzma.FORMAT_RAW, filters=filters)
    return struct.pack("<BBHBI", 9, 4, 5, properties, dictionary) + packed


def lzma_entry(packed: bytes, size: int, crc: int) -> bytes:
    entry = z.Entry.new(
        "a", MTIME, method=z.LZMA, crc=crc, stored=len(packed), size=size, extra=z.Extra(0, MTIME)
    )
    return assemble([(entry, packed)])


def read_only_member(data: bytes, max_expansion: int | None = DEFAULT_MAX_EXPANSION) -> bytes:
    with ArchiveReader(io.BytesIO(data), max_expansion=max_expansion) as reader:
        return reader.read(reader.members[0])


def test_an_lzma_bomb_stops_at_the_size_it_admits() -> None:
    bomb = zip_lzma(bytes(48 << 20))
    assert len(bomb) < 10_000
    tracemalloc.start()
    with pytest.raises(CorruptDataError, match="longer"):
        read_only_member(lzma_entry(bomb, 1000, 0))
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()


def test_a_huge_dictionary() -> None:
    text = b"abc" * 1000
    # It is never needed for a small member, so it is not allocated either.
    packed = zip_lzma(text, dictionary=0xFFFFFFFF)
    assert read_only_member(lzma_entry(packed, len(text), zlib.crc32(text))) == text
    with pytest.raises(CorruptDataError, match="memory"):
        read_only_member(lzma_entry(packed, 1 << 31, 0), max_expansion=None)


@pytest.mark.parametrize(
    ("packed", "words"),
    [
        (b"", "cut short"),
        (zip_lzma(b"x" * 99)[:8], "cut short"),
        (zip_lzma(b"x" * 99)[:-4], "cut short"),
        (zip_lzma(b"x" * 99) + b"more", "other bytes"),
        (zip_lzma(b"x" * 99, properties=255), "properties"),
        (zip_lzma(b"x" * 99, properties=8 + 9 * 4), "properties"),
        (zip_lzma(b"x" * 98), "shorter"),
        (zip_lzma(b"x" * 100), "longer"),
        (zip_lzma(b"y" * 99), "checksum"),
        (struct.pack("<BBHBI", 9, 4, 5, 0x5D, 4096) + NOISE, "damaged"),
        (struct.pack("<BBHBI", 9, 4, 9, 0x5D, 4096) + NOISE, "properties"),
    ],
)
def test_wrong_compressed_data(packed: bytes, words: str) -> None:
    with pytest.raises(CorruptDataError, match=words):
        read_only_member(lzma_entry(packed, 99, zlib.crc32(b"x" * 99)))


def test_unknown_methods_and_flags() -> None:
    good = file_entry("good", b"1")
    for position, value in ((8, 8), (8, 95), (6, 1), (6, 8)):
        entry, body = file_entry("evil", b"2")
        data = bytearray(assemble([good, (entry, body)]))
        local = data.index(b"PK\x03\x04", 4)
        central = data.rindex(b"PK\x01\x02")
        struct.pack_into("<H", data, local + position, value)
        struct.pack_into("<H", data, central + position + 2, value)
        with ArchiveReader(io.BytesIO(data)) as reader:
            assert [m.source for m in reader.members] == ["good", None]


def test_a_folder_with_content() -> None:
    with ArchiveReader(io.BytesIO(assemble([file_entry("d/", b"x")]))) as reader:
        assert reader.members[0].problem == "it is a folder with content"


def test_a_codestream_without_origin_or_not_one() -> None:
    bare = Codestream(
        model_id=bytes(8), width=1, height=1, coder_id=1, gain=0, symbol_hash=bytes(4),
        tiles=(Tile.of(b""),),
    ).pack()  # fmt: skip
    for data in (bare, b"hello", b"", bare[:20], b"\xecEC\x02" + bare[4:]):
        entry = z.Entry.new("a.edge", 0, crc=zlib.crc32(data), stored=len(data), size=len(data))
        with ArchiveReader(io.BytesIO(assemble([(entry, data)]))) as reader:
            member: Member = reader.members[0]
            assert (member.kind, member.source) == ("picture", None)
            with pytest.raises(CorruptDataError, match=r"a\.edge"):
                reader.codestream(member)
