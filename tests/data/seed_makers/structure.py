"""Archives whose end record, directory or offsets lie, that are cut short, or are no archives."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace

from seed_makers.seed import Restored, Seed, coded, file, picture
from seed_makers.zip_by_hand import (
    FILE_MODE,
    Archive,
    Part,
    end,
    end64,
    kept,
    lay_out,
    picture_member,
    pointing,
)

FIRST = kept("first.txt", b"the first file\n")
LAST = kept("last.txt", b"the last file\n")
AROUND: Restored = {"first.txt": file(FIRST.data), "last.txt": file(LAST.data)}
_2E64 = (1 << 64) - 1


def seeds() -> Iterator[Seed]:
    """All of them."""
    yield from _end_records()
    yield from _directories()
    yield from _offsets()
    yield from _overlaps()
    yield from _lengths()
    yield from _cut_short()
    yield from _foreign()


def damaged(
    name: str,
    data: bytes,
    about: str,
    restored: Restored | None = None,
    *,
    may_restore: Restored | None = None,
    lost: tuple[str, ...] = (),
    says: str = "",
    kind: str = "bad",
) -> Seed:
    """An archive whose damage every command sees."""
    return Seed(
        f"{kind}-archive-{name}.ecz",
        data,
        about,
        restored or {},
        lost,
        verify=4,
        list=4,
        info=4,
        decompress=4,
        says=says,
        may_restore=may_restore,
    )


def _end_records() -> Iterator[Seed]:
    made = lay_out([FIRST, LAST])
    count, size, offset = 2, len(made.directory), len(made.body)
    place = len(made.without_end)

    def wide(name: str, about: str, *numbers: int) -> Seed:
        claimed, length, start = numbers
        tail = end64(claimed, length, start, place) + end(_2E64, _2E64, _2E64)
        return damaged(name, made.without_end + tail, about, AROUND)

    yield wide("2e64-entries", "2^64 - 1 entries", _2E64, size, offset)
    about = "a directory of 2^64 - 1 bytes"
    yield wide("directory-of-2e64-bytes", about, count, _2E64, offset)
    yield wide("directory-at-2e64", "a directory at 2^64 - 1", count, size, _2E64)
    about = "offset and size whose sum is 2^64 and the right one"
    yield wide("end-wraps", about, count, place + 100, _2E64 - 99)
    tail = end64(_2E64, 46, 0, place) + end(count, size, offset)
    about = "a right end record, a ZIP64 one that lies"
    yield damaged("zip64-end-lies", made.without_end + tail, about, AROUND)
    for name, about, numbers in (
        ("65535-entries", "65535 entries, and no ZIP64", (65535, size, offset)),
        ("fewer-entries", "one entry fewer than there are", (1, size, offset)),
        ("directory-beyond-file", "a directory beyond the end", (count, size, (1 << 32) - 2)),
        ("directory-before-itself", "a directory where the first member is", (count, size, 0)),
        ("end-of-zeros", "an end record that says that there is nothing", (0, 0, 0)),
        ("end-at-end", "an end record that says that it is the directory", (0, 0, place)),
    ):
        yield damaged(name, made.without_end + end(*numbers), about, AROUND)


def _directories() -> Iterator[Seed]:
    made = lay_out([FIRST, LAST])
    for name, about, records in (
        ("directory-empty", "members, and no record in the directory", ()),
        ("record-missing", "a member that the directory does not have", made.records[:1]),
    ):
        yield damaged(name, replace(made, records=records).data(), about, may_restore=AROUND)
    twice = replace(made, records=(*made.records, made.records[1]))
    yield damaged("record-twice", twice.data(), "one record twice in the directory", AROUND)
    for name, about, old, new in (
        ("record-signature", "a record without its signature", b"PK\1\2", b"PK\1\3"),
        ("local-signature", "a local header without its signature", b"PK\3\4", b"PK\3\5"),
    ):
        data = made.data()
        at = data.rindex(old)
        yield damaged(name, data[:at] + new + data[at + 4 :], about, AROUND)
    yield damaged(
        "comment", made.data(b"another program's"), "the comment is another", AROUND, says="comment"
    )
    name_at = made.data().index(b"first.txt")
    renamed = made.data()[:name_at] + b"birst" + made.data()[name_at + 5 :]
    yield damaged(
        "local-name", renamed, "a name damaged in the local header: the other is right", AROUND
    )
    gap = lay_out([FIRST, LAST], gap=b"between")
    yield damaged("gaps", gap.data(), "bytes between the members", AROUND, says="no member")


def _offsets() -> Iterator[Seed]:
    parts = [FIRST, LAST]
    last = len(FIRST.whole())
    for name, about, offset in (
        ("offset-backward", "a record that points back to the member before", 0),
        ("offset-into-member", "a record that points into a member", last + 9),
        (
            "offset-into-directory",
            "a record that points into the directory",
            last + len(LAST.whole()),
        ),
        ("offset-2e31", "a record that points to 2^31", 1 << 31),
        ("offset-2e64", "a record that points to 2^64 - 1", _2E64),
    ):
        yield damaged(name, pointing(parts, {1: offset}), about, AROUND)
    swapped = pointing(parts, {0: last, 1: 0})
    yield damaged(
        "offsets-swapped",
        swapped,
        "two records that each point to the other's member",
        may_restore=AROUND,
    )


def _overlaps() -> Iterator[Seed]:
    inner = kept("inner.txt", b"inside\n")
    outer = kept("outer.bin", inner.whole() + b"tail")
    made = lay_out([FIRST, outer, LAST])
    at = made.offsets[1] + len(outer.local())
    record = inner.record(at)
    yield damaged(
        "overlapping-members",
        replace(made, records=(*made.records, record)).data(),
        "a member within the data of another",
        {**AROUND, "outer.bin": file(outer.data)},
    )
    long = replace(kept("long.txt", b"x" * 20), stored=20 + len(LAST.whole()))
    yield damaged(
        "member-over-the-next",
        lay_out([FIRST, long, LAST]).data(),
        "a member that goes on over the next one",
        AROUND,
        lost=("long.txt",),
    )
    content = b"a member that many records point to\n" * 20
    one = kept("one.txt", content)
    made = lay_out([one])
    yield damaged(
        "many-records-of-one-member",
        replace(made, records=made.records * 16).data(),
        "16 records of one member",
        {"one.txt": file(content)},
    )
    others = [kept(f"name-{n:02}.txt", content) for n in range(16)]
    yield damaged(
        "many-names-of-one-member",
        replace(made, records=(*made.records, *(part.record(0) for part in others))).data(),
        "17 records of one member, each with a name of its own: it comes back once, if at all",
        may_restore={part.name.decode(): file(content) for part in (one, *others)},
    )
    yield _nested()


def _nested() -> Seed:
    """A bomb by overlap: each member's data hold all members after it."""
    parts: list[Part] = [kept("m09.bin", b"core" * 16)]
    for number in range(8, -1, -1):
        parts.insert(0, kept(f"m{number:02}.bin", b"".join([parts[0].local(), parts[0].data])))
    offsets, at = [], 0
    for part in parts:
        offsets.append(at)
        at += len(part.local())
    records = tuple(p.record(o) for p, o in zip(parts, offsets, strict=True))
    return damaged(
        "nested-members",
        Archive(parts[0].whole(), tuple(offsets), records).data(),
        "ten members, each of which holds all that follow",
        {"m00.bin": file(parts[0].data)},
    )


def _lengths() -> Iterator[Seed]:
    for name, about, size in (
        ("member-of-2e31-bytes", "a member of 2^31 bytes", 1 << 31),
        ("member-of-2e63-bytes", "a member of 2^63 - 1 bytes", (1 << 63) - 1),
        ("member-of-2e64-bytes", "a member of 2^64 - 1 bytes", _2E64),
        (
            "member-into-directory",
            "a member that goes on into the directory",
            8 + len(LAST.whole()) + 1,
        ),
    ):
        huge = replace(kept("huge.bin"), stored=size)
        yield damaged(name, lay_out([FIRST, huge, LAST]).data(), about, AROUND, lost=("huge.bin",))
    sizes = replace(kept("sizes.bin"), size=9)
    yield damaged(
        "stored-sizes-differ",
        lay_out([FIRST, sizes, LAST]).data(),
        "a stored member with two sizes",
        AROUND,
        lost=("sizes.bin",),
        says="sizes differ",
    )
    for name, length in (("name-beyond-header", 26), ("extra-beyond-header", 28)):
        made = lay_out([FIRST, kept("long-name.txt"), LAST])
        body = bytearray(made.body)
        struct.pack_into("<H", body, made.offsets[1] + length, 0xFFFF)
        restored = {**AROUND, "long-name.txt": file(b"content\n")}
        yield damaged(
            name,
            replace(made, body=bytes(body)).data(),
            "a local header that says that it has 65535 bytes more",
            restored,
        )


def _cut_short() -> Iterator[Seed]:
    stream = coded("b.png")
    made = lay_out([FIRST, picture_member("b.edge", stream), LAST])
    whole, directory = made.data(), len(made.body)
    there = {**AROUND, "b.png": picture(stream)}
    for name, length, about in (
        ("in-end-record", len(whole) - 5, "in the end record"),
        ("before-end-record", len(made.without_end), "between directory and end record"),
        ("in-directory", directory + 60, "in the directory"),
        ("before-directory", directory, "before the directory"),
        ("in-picture", made.offsets[1] + 60, "in a picture"),
        ("in-local-header", made.offsets[2] + 12, "in a local header"),
    ):
        yield damaged(
            f"cut-{name}", whole[:length], f"cut short {about}", says="cut short", may_restore=there
        )
    huge = replace(kept("huge.bin"), stored=_2E64)
    yield damaged(
        "cut-after-2e64-bytes",
        lay_out([FIRST, huge]).body,
        "a member of 2^64 - 1 bytes, and no directory",
        says="cut short",
        may_restore=AROUND,
    )
    yield damaged(
        "followed",
        whole + bytes(64),
        "followed by zeros, so that it does not end as it must",
        says="cut short",
        may_restore=there,
    )


def _foreign() -> Iterator[Seed]:
    foreign = Part(b"hello.txt", b"hello", b"", flags=0, mode=FILE_MODE)
    for name, data, about, says in (
        ("empty-file", b"", "no bytes at all", "empty file"),
        ("text", b"this is no archive\n" * 9, "a text", "not an edgecomp archive"),
        (
            "foreign",
            lay_out([foreign]).data(b""),
            "a ZIP file of another program",
            "ZIP file, but not",
        ),
        (
            "foreign-empty",
            end(0, 0, 0, b""),
            "an empty ZIP file of another program",
            "ZIP file, but not",
        ),
        (
            "foreign-cut",
            lay_out([foreign]).data(b"")[:50],
            "a ZIP file of another program, cut short",
            "not an edgecomp archive",
        ),
    ):
        yield Seed(
            f"bad-archive-{name}.ecz",
            data,
            about,
            verify=1,
            list=1,
            info=1,
            decompress=1,
            says=says,
        )
    made = lay_out([FIRST, LAST])
    for version in (b"2", b"10"):
        yield damaged(
            f"version-{version.decode()}",
            made.data(b"edgecomp archive " + version),
            "a newer version, by the comment",
            says="newer",
            kind="unsupported",
        )
    prefix = b"#!/bin/sh\nexit 0\n"
    yield damaged(
        "prefix",
        prefix + made.data(),
        "something stands before the first member",
        may_restore=AROUND,
    )
