"""Archives one of whose files is damaged, hostile or unsupported; the others must come back."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import replace

from seed_makers.codestreams import BOMB_BYTES
from seed_makers.lzma_by_hand import PROPERTIES, lzma_of_zip
from seed_makers.seed import Restored, Seed, coded, file, folder, picture
from seed_makers.structure import AROUND, FIRST, LAST, damaged
from seed_makers.zip_by_hand import (
    FOLDER_MODE,
    UTF8,
    Part,
    compressed,
    extra_field,
    kept,
    lay_out,
    picture_member,
)

_TEXT = b"a hundred bytes" + b"." * 85


def seeds() -> Iterator[Seed]:
    """All of them."""
    yield from _contents()
    yield from _compressed()
    yield from _headers()
    yield from _same_names()


def evil(
    name: str,
    part: Part,
    about: str,
    says: str,
    *,
    seen: bool = True,
    kind: str = "bad",
    restored: Restored | None = None,
    lost: tuple[str, ...] | None = None,
) -> Seed:
    """The member between two good ones; `seen` is whether its headers tell that it is damaged."""
    shown = part.name.decode()
    seed = damaged(
        name,
        lay_out([FIRST, part, LAST]).data(),
        about,
        {**AROUND, **(restored or {})},
        lost=(shown,) if lost is None else lost,
        says=says,
        kind=kind,
    )
    return seed if seen else replace(seed, list=0, info=0)


def _contents() -> Iterator[Seed]:
    wrong = replace(kept("wrong.txt"), crc=0x12345678)
    yield evil("checksum", wrong, "a file with another checksum", "checksum", seen=False)


def _compressed() -> Iterator[Seed]:
    size, crc = len(_TEXT), zlib.crc32(_TEXT)
    packed = lzma_of_zip(_TEXT)

    def seed(name: str, data: bytes, about: str, says: str, length: int = size) -> Seed:
        return evil(
            f"lzma-{name}", compressed("packed.txt", data, length, crc), about, says, seen=False
        )

    yield seed(
        "bomb",
        lzma_of_zip(bytes(BOMB_BYTES)),
        "an LZMA file of 100 bytes that expands to 10 MiB",
        "longer",
    )
    for length, words in (((1 << 31), "2^31"), ((1 << 64) - 1, "2^64 - 1")):
        name = "dictionary" if length == 1 << 31 else "2e64-bytes"
        data = lzma_of_zip(_TEXT, dictionary=0xFFFFFFFF)
        about = f"an LZMA file of {words} bytes with a dictionary of 4 GiB: it expands too far"
        yield replace(seed(name, data, about, "expands", length), verify=3, decompress=3)
    yield seed("longer", lzma_of_zip(_TEXT + b"!"), "a byte more than the headers say", "longer")
    yield seed("shorter", lzma_of_zip(_TEXT[1:]), "a byte less than the headers say", "shorter")
    yield seed("empty", b"", "no bytes of LZMA", "cut short")
    yield seed("cut", packed[:-9], "LZMA data without their end", "cut short")
    yield seed("cut-in-header", packed[:5], "LZMA data cut in their header", "cut short")
    yield seed("followed", packed + b"more", "bytes behind the end mark", "other bytes")
    yield seed(
        "checksum", lzma_of_zip(_TEXT.upper()), "another text of the same length", "checksum"
    )
    noise = lzma_of_zip(b"")[:9] + b"\0" + bytes(range(7, 250, 3))
    yield seed("noise", noise, "no LZMA data", "damaged")
    for name, properties in (("255", 255), ("lc-lp", 8 + 9 * 4), ("225", 225)):
        data = lzma_of_zip(_TEXT, properties=properties)
        yield seed(f"properties-{name}", data, "impossible properties", "properties")
    longer = packed[:2] + b"\x09" + packed[3:]
    yield seed("properties-of-9-bytes", longer, "properties of another length", "properties")
    assert packed[4] == PROPERTIES


def _headers() -> Iterator[Seed]:
    part = kept("odd.txt")
    for name, about, flags in (
        ("encrypted", "an encrypted member", UTF8 | 0x1),
        ("data-descriptor", "a member whose sizes follow it", UTF8 | 0x8),
        ("strong-encryption", "a strongly encrypted member with masked headers", UTF8 | 0x2041),
        ("patch-data", "a member that is a patch", UTF8 | 0x20),
    ):
        yield evil(
            name, replace(part, flags=flags), about, "unknown ZIP feature", kind="unsupported"
        )
    for method, about in (
        (8, "Deflate"),
        (12, "bzip2"),
        (93, "Zstandard"),
        (95, "XZ"),
        (99, "AES"),
    ):
        changed = replace(part, method=method)
        yield evil(
            f"method-{method}",
            changed,
            f"a member of another method: {about}",
            f"method {method}",
            kind="unsupported",
        )
    for version in (0, 2):
        changed = replace(part, extra=extra_field(part.name, version=version))
        yield evil(
            f"extra-version-{version}",
            changed,
            "an extra field of another version",
            "version",
            kind="unsupported",
        )
    other = extra_field(b"another name")
    for name, extra, about, says in (
        ("extra-kind", extra_field(part.name, kind=9), "an impossible kind", "extra field"),
        ("extra-name-check", other, "a name that does not fit its name check", "name check"),
        ("extra-short", b"\x45\x43\x02\x00\x01\x00", "an extra field cut short", "extra field"),
        (
            "extra-overlong",
            b"\x45\x43\xff\xff" + other[4:],
            "an extra field longer than there is",
            "damaged",
        ),
        ("extra-missing", b"", "a file without edgecomp's extra field", "not written by edgecomp"),
    ):
        yield evil(name, replace(part, extra=extra), about, says)
    for name, encoded, about, says in (
        ("name-empty", b"", "a member without a name", "empty"),
        ("name-slash", b"/", "a folder whose name is a slash", "empty"),
        ("folder-with-content", b"folder/", "a folder that has content", "content"),
    ):
        content = b"content" if name == "folder-with-content" else b""
        yield evil(name, kept(encoded, content), about, says)


def _same_names() -> Iterator[Seed]:
    stream = coded("same.png")
    whole, again = coded("same.png"), coded("same.png", suffix="")
    cases: dict[str, tuple[str, list[Part], Restored, tuple[str, ...]]] = {
        "same-name": (
            "two files of one name: the first comes back",
            [kept("same.txt", b"first"), kept("same.txt", b"second")],
            {"same.txt": file(b"first")},
            ("same.txt",),
        ),
        "file-that-is-a-folder": (
            "a file whose name is that of a folder of others",
            [kept("a/b.txt", b"b"), kept("a", b"a")],
            {"a/b.txt": file(b"b")},
            ("a",),
        ),
        "folder-that-is-a-file": (
            "a file below a file",
            [kept("a", b"a"), kept("a/b.txt", b"b"), kept("a/b/c/d", b"d")],
            {"a": file(b"a")},
            ("a/b.txt", "a/b/c/d"),
        ),
        "file-below-a-link": (
            "a symbolic link that leads out, by its Unix mode, and a file below it",
            [replace(kept("a", b"../.."), mode=0o120777 << 16), kept("a/evil.txt", b"evil")],
            {"a": file(b"../..")},
            ("a/evil.txt",),
        ),
        "empty-folder-that-is-a-file": (
            "a file, and an empty folder of its name",
            [kept("a", b"a"), replace(kept("a/", b""), mode=FOLDER_MODE)],
            {"a": file(b"a")},
            ("a/",),
        ),
        "file-that-is-an-empty-folder": (
            "an empty folder, and a file of its name",
            [replace(kept("a/", b""), mode=FOLDER_MODE), kept("a", b"a")],
            {"a": folder()},
            ("a",),
        ),
        "picture-and-file": (
            "a picture and a file of one source",
            [picture_member("same.edge", stream), kept("same.png", b"file")],
            {"same.png": picture(stream)},
            ("same.png",),
        ),
        "picture-twice": (
            "two members that say that they are of one source",
            [picture_member("same.edge", whole), picture_member("same.png.edge", again)],
            {"same.png": picture(whole)},
            ("same.png.edge",),
        ),
    }
    for name, (about, parts, restored, lost) in cases.items():
        data = lay_out([FIRST, *parts, LAST]).data()
        yield damaged(
            name, data, about, {**AROUND, **restored}, lost=lost, says="an earlier member"
        )
