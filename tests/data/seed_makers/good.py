"""Files that must be read without a word of complaint."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from unicodedata import normalize

from seed_makers.lzma_by_hand import lzma2, lzma_of_zip
from seed_makers.seed import (
    MTIME,
    TINY,
    TINY_MAP,
    WITHOUT_CONTEXT,
    Seed,
    codec,
    coded,
    file,
    folder,
    parsed,
    picture,
)
from seed_makers.zip_by_hand import LZMA, compressed, kept, lay_out, picture_member

from edgecomp import constants as k
from edgecomp import native
from edgecomp.archive_writer import ArchiveWriter
from edgecomp.codestream import Codestream, Section, Tile, parse
from edgecomp.names import Taken, member_names
from edgecomp.verbatim import Packed

TEXT = b"a text that packs: " + b"=" * 200 + b"\n"
NOTE = b"a short note\n"


def seeds() -> Iterator[Seed]:
    """All of them."""
    yield from _archives()
    yield from _names()
    yield from _codestreams()


def _written(fill: Callable[[ArchiveWriter], None]) -> bytes:
    """An archive by the package's own writer."""
    target = io.BytesIO()
    writer = ArchiveWriter(target)
    fill(writer)
    writer.finish()
    return target.getvalue()


def _add_file(writer: ArchiveWriter, source: str, content: bytes, mtime: int = MTIME) -> None:
    writer.add_packed(source, Packed(0, content, zlib.crc32(content), len(content)), mtime)


def _archives() -> Iterator[Seed]:
    yield Seed("good-archive-empty.ecz", _written(lambda writer: None), "no members at all")

    def files(writer: ArchiveWriter) -> None:
        writer.add_folder("empty", MTIME)
        _add_file(writer, "note.txt", NOTE)
        _add_file(writer, "nothing", b"")
        packed = Packed(LZMA, lzma_of_zip(TEXT), zlib.crc32(TEXT), len(TEXT))
        writer.add_packed("sub/text.txt", packed, MTIME)
        gif = Packed(0, b"GIF89a", zlib.crc32(b"GIF89a"), 6)
        writer.add_packed("sub/v.gif", gif, MTIME, "verbatim-picture")

    yield Seed(
        "good-archive-files.ecz",
        _written(files),
        "an empty folder, a stored and an LZMA file, an empty file, a picture kept as it is",
        {
            "empty": folder(),
            "note.txt": file(NOTE),
            "nothing": file(b""),
            "sub/text.txt": file(TEXT),
            "sub/v.gif": file(b"GIF89a"),
        },
    )
    yield _pictures()
    yield _restored_names()
    yield Seed(
        "good-archive-importance-map.ecz",
        lay_out([picture_member("a.edge", coded("a.png", model=TINY_MAP, gain=1))]).data(),
        "a picture of a model with an importance map",
        {"a.png": picture(coded("a.png", model=TINY_MAP, gain=1), TINY_MAP)},
        model=TINY_MAP,
    )
    parts = [kept("z.txt", b"z"), kept("a.txt", b"a"), kept("m/n.txt", b"n")]
    yield Seed(
        "good-archive-unordered.ecz",
        lay_out(parts).data(),
        "the members are in no order",
        {"z.txt": file(b"z"), "a.txt": file(b"a"), "m/n.txt": file(b"n")},
    )

    def times(writer: ArchiveWriter) -> None:
        for name, mtime in (("1902", -(1 << 31) * 10**9), ("1969", -1), ("2261", (1 << 63) - 1)):
            _add_file(writer, name, name.encode(), mtime)

    yield Seed(
        "good-archive-times.ecz",
        _written(times),
        "times before 1970 and beyond what ZIP has, to the nanosecond",
        {name: file(name.encode()) for name in ("1902", "1969", "2261")},
    )
    yield _wide()
    content = b"a file that ends as\nPK\6\6"
    yield Seed(
        "good-archive-like-zip64.ecz",
        lay_out([kept("like.txt", content)]).data(),
        "a file whose last bytes look like a ZIP64 end record, and stand where one would",
        {"like.txt": file(content)},
    )
    yield _large_dictionary()
    yield _edge_as_file()


def _pictures() -> Seed:
    sources = ["a.png", "holiday/b.jpg", "holiday/c.JPG", "holiday/c.jpg"]
    names = member_names(sources, Taken(sources))
    made = {
        source: coded(source, suffix=names[source][1], grey=source == "holiday/c.jpg")
        for source in sources
    }

    def fill(writer: ArchiveWriter) -> None:
        for source in sources:
            writer.add_picture(names[source][0], made[source], MTIME)

    restored = ["a.png", "holiday/b.png", "holiday/c.png", "holiday/c.jpg.png"]
    return Seed(
        "good-archive-pictures.ecz",
        _written(fill),
        "pictures, one of them grey, two of which would meet in one name",
        {name: picture(made[s]) for name, s in zip(restored, sources, strict=True)},
    )


def _restored_names() -> Seed:
    """Pictures whose restored names are those of files, of folders, and of members."""
    jpeg, other = coded("a.jpg"), coded("b.jpg", suffix=".jpg")
    numbered = coded("a.png", suffix="")
    parts = [
        picture_member("a.edge", jpeg),
        picture_member("a.png.2.edge", numbered),
        kept("a.png.edge", b"a file of that name"),
        picture_member("b.edge", other),
        kept("b.png/c", b"below a folder of that name"),
    ]
    return Seed(
        "good-archive-restored-names.ecz",
        lay_out(parts).data(),
        "pictures that cannot come back under the first name that fits, and a numbered member",
        {
            "a.png": picture(numbered),
            "a.jpg.png": picture(jpeg),
            "a.png.edge": file(b"a file of that name"),
            "b.jpg.png": picture(other),
            "b.png/c": file(b"below a folder of that name"),
        },
    )


def _wide() -> Seed:
    """A large file that was streamed: ZIP64 in the local header, though it turned out small."""
    part = kept("streamed.bin", NOTE)
    sizes = struct.pack("<HH2Q", 1, 16, len(NOTE), len(NOTE))
    header = bytearray(part.local())
    header[18:26] = b"\xff" * 8
    struct.pack_into("<H", header, 28, len(sizes) + len(part.extra))
    name_end = 30 + len(part.name)
    body = bytes(header[:name_end]) + sizes + part.extra + NOTE
    made = replace(lay_out([part]), body=body)
    return Seed(
        "good-archive-zip64-sizes.ecz",
        made.data(),
        "ZIP64 sizes in a local header that would not need them",
        {"streamed.bin": file(NOTE)},
    )


def _large_dictionary() -> Seed:
    """What a reader need not allocate: nothing can refer beyond the member's first byte."""
    packed = lzma_of_zip(TEXT, dictionary=0xFFFFFFFF)
    return Seed(
        "good-archive-lzma-large-dictionary.ecz",
        lay_out([compressed("text.txt", packed, len(TEXT), zlib.crc32(TEXT))]).data(),
        "a small LZMA member that says that its dictionary has 4 GiB",
        {"text.txt": file(TEXT)},
    )


def _edge_as_file() -> Seed:
    stream = coded("x.png")
    return Seed(
        "good-archive-codestream-as-file.ecz",
        lay_out([kept("x.edge", stream)]).data(),
        "an .edge file that was among the sources, kept as it is",
        {"x.edge": file(stream)},
    )


def _names() -> Iterator[Seed]:
    names = [
        "лето/夏/été.txt",
        " leading space",
        ".hidden",
        "-o",
        "'quotes' \"and\" $(command) `too` %s",
        "a" * 255,
        "👩\u200d🚀.txt",
        "con1.txt",
        "console/com10",
        "nul-.txt",
        "..a/...b",
        "~root",
    ]
    yield Seed(
        "good-archive-names.ecz",
        lay_out([kept(name, name.encode()) for name in names]).data(),
        "names that look unusual and are safe",
        {name: file(name.encode()) for name in names},
    )
    twins = ["Twin.txt", "twin.txt", normalize("NFC", "é.txt"), normalize("NFD", "é.txt")]
    yield Seed(
        "good-archive-twins.ecz",
        lay_out([kept(name, str(n).encode()) for n, name in enumerate(twins)]).data(),
        "names that differ in case, or in Unicode's form, only: all of them come back, or are"
        " named where the file system takes them for one",
        {name: file(str(n).encode()) for n, name in enumerate(twins)},
    )
    link = replace(kept("link", b"../outside"), mode=0o120777 << 16)
    setuid = replace(kept("setuid", b"#!/bin/sh\n"), mode=0o106755 << 16)
    device = replace(kept("device", b""), mode=0o020666 << 16)
    yield Seed(
        "good-archive-modes.ecz",
        lay_out([link, setuid, device]).data(),
        "Unix modes of a symbolic link, of a setuid program and of a device: ordinary files come"
        " back, whatever the modes say",
        {"link": file(b"../outside"), "setuid": file(b"#!/bin/sh\n"), "device": file(b"")},
    )


def _codestreams() -> Iterator[Seed]:
    for name, about, stream, model in _plain_streams():
        yield _codestream(name, about, stream, model)
    yield _codestream(
        "optional-flags",
        "all optional flags: they are ignored",
        _with_optional_flags(coded()),
    )
    bare = parsed()
    sections = (
        Section(k.SECTION_ALPHA, 1, 24 * 16, lzma2(_ALPHA), zlib.crc32(lzma2(_ALPHA))),
        _stored(k.SECTION_ICC, b"no profile, but kept"),
        _stored(k.SECTION_EXIF, b"MM\0*\0\0\0\x08\0\0\0\0\0\0"),
        _stored(k.SECTION_XMP, b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"),
    )
    yield _codestream(
        "sections", "alpha plane, ICC profile, EXIF and XMP", replace(bare, sections=sections)
    )
    unknown = _stored(0xF0, b"from the future")
    yield _codestream(
        "unknown-ancillary-section",
        "a section of an unknown kind that may be ignored",
        replace(bare, sections=(unknown,)),
    )
    tiled = parsed(tile=8)
    yield _codestream("tile-hashes", "six tiles with hashes", tiled)
    whole = codec(WITHOUT_CONTEXT).decode_symbols(_by_lzma(stored=True))
    places = [(row, column) for row in range(2) for column in range(3)]
    tiles = [whole.symbols[:, row : row + 1, column : column + 1] for row, column in places]
    yield _codestream(
        "tiles-without-hashes",
        "six tiles without hashes, as writers made them before tiles had any",
        replace(
            _by_lzma(stored=True),
            tile_width=8,
            tile_height=8,
            tiles=tuple(Tile.of(b"\0" + native.pack(t, levels=256, zero=128)) for t in tiles),
        ),
        WITHOUT_CONTEXT,
    )


_ALPHA = bytes(range(0, 240, 10)) * 16


def _stored(kind: int, data: bytes) -> Section:
    return Section(kind, k.ENCODING_STORED, len(data), data, zlib.crc32(data))


def _plain_streams() -> Iterator[tuple[str, str, Codestream, str]]:
    yield "plain", "a picture, nothing else", parsed(), TINY
    yield "one-pixel", "one pixel", parsed(size=(1, 1)), TINY
    yield "grey", "a grey picture", parsed(grey=True), TINY
    yield "origin", "with its source's time, suffix and name check", parsed("a.png"), TINY
    yield (
        "literal-suffix",
        "its source had a suffix that is in no table",
        parsed("a.ω", suffix=".ω"),
        TINY,
    )
    yield (
        "importance-map",
        "a model with an importance map, the second gain",
        parsed(model=TINY_MAP, gain=1),
        TINY_MAP,
    )
    yield "lzma", "the coder lzma, an LZMA2 stream", _by_lzma(stored=False), WITHOUT_CONTEXT
    yield (
        "lzma-stored",
        "the coder lzma, packed symbols as they are",
        _by_lzma(stored=True),
        WITHOUT_CONTEXT,
    )
    yield (
        "context-stored",
        "the coder context, packed symbols as they are",
        _repacked(b"\0" + _packed()),
        TINY,
    )


def _packed() -> bytes:
    latent = codec(TINY).decode_symbols(parsed())
    return native.pack(latent.symbols, levels=256, zero=128)


def _repacked(payload: bytes) -> Codestream:
    return replace(parsed(), tiles=(Tile.of(payload),))


def _by_lzma(*, stored: bool) -> Codestream:
    """The plain picture by the coder `lzma`, as a model without parameters for another has it."""
    body = b"\0" + _packed() if stored else b"\1" + lzma2(_packed())
    model_id = codec(WITHOUT_CONTEXT).model_id
    return replace(_repacked(body), coder_id=1, model_id=model_id)


def _with_optional_flags(data: bytes) -> bytes:
    header_length = data[4]
    head = data[:6] + b"\xff" + data[7 : header_length - 4]
    return head + struct.pack("<I", zlib.crc32(head)) + data[header_length:]


def _codestream(name: str, about: str, stream: Codestream | bytes, model: str = TINY) -> Seed:
    data = stream if isinstance(stream, bytes) else stream.pack()
    assert parse(data)
    return Seed(
        f"good-codestream-{name}.edge",
        data,
        about,
        {f"good-codestream-{name}.png": picture(data, model)},
        list=1,
        says="one picture's codestream",
        model=model,
    )
