"""Damaged, absurd and unsupported codestreams, each a file of its own."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from seed_makers.lzma_by_hand import lzma2
from seed_makers.seed import TINY, TINY_MAP, WITHOUT_CONTEXT, Seed, codec, parsed, picture

from edgecomp.varint import pack_varint as varint

# More than any test lets a reader allocate, and 2 KiB when it is coded.
BOMB_BYTES = 10 << 20
_ENDLESS = b"\xff" * 12
_LARGEST = b"\xff" * 8 + b"\x7f"  # 2^63 - 1, the largest number that a varint may be
_ORIGIN = struct.pack("<qI", 0, 0)
_EXIF = b"MM\0*\0\0\0\x08\0\0\0\0\0\0"

TILED, SECTIONS, TILE_HASHES = 0x02, 0x04, 0x10


def _crc(data: bytes) -> bytes:
    return struct.pack("<I", zlib.crc32(data))


@dataclass(frozen=True, slots=True)
class Raw:
    """A codestream field by field, any of which may lie; the header's checksum is right."""

    model_id: bytes
    symbol_hash: bytes
    payload: bytes
    flags: int = 0
    version: int = 1
    length: bytes | None = None
    coder_gain: int = 2
    size: bytes = varint(24) + varint(16)
    origin: bytes = b""
    tiles: bytes | None = None
    sections: bytes = b""
    tail: bytes = b""

    def data(self) -> bytes:
        tiles = varint(len(self.payload)) + _crc(self.payload)
        fields = bytes([self.flags, 0]) + self.model_id + bytes([self.coder_gain])
        fields += self.symbol_hash + self.size + self.origin
        fields += (tiles if self.tiles is None else self.tiles) + self.sections
        length = self.length
        if length is None:
            size = 4 + 1 + len(fields) + 4
            length = varint(size if size < 128 else size + 1)
        head = b"\xecEC" + bytes([self.version]) + length + fields
        return head + _crc(head) + self.payload + self.tail


def _plain(model: str = TINY) -> Raw:
    stream = parsed(model=model)
    return Raw(stream.model_id, stream.symbol_hash, stream.tiles[0].payload)


def _bad(
    name: str, data: bytes, about: str, says: str, *, info: int = 4, model: str = TINY
) -> Seed:
    """Damage that each command names; that of payloads, ``info`` does not look for."""
    file_name = f"bad-codestream-{name}.edge"
    return Seed(
        file_name, data, about, verify=4, list=1, info=info, decompress=4, says=says, model=model
    )


def seeds() -> Iterator[Seed]:
    """All of them."""
    yield from _absurd()
    yield from _headers()
    yield from _tile_tables()
    yield from _section_tables()
    yield from _payloads()
    yield from _unsupported()


def _absurd() -> Iterator[Seed]:
    raw = _plain()
    sides = {
        "2e31-pixels-square": (varint(1 << 31) * 2, "2^31 x 2^31 pixels"),
        "2e63-pixels-wide": (_LARGEST + varint(1), "2^63 - 1 pixels wide"),
        "zero-width": (varint(0) + varint(16), "no pixels wide"),
        "zero-height": (varint(24) + varint(0), "no pixels high"),
        "endless-width": (_ENDLESS, "a width without an end"),
        "width-not-minimal": (b"\x98\x00" + varint(16), "a width with a zero byte too many"),
    }
    words = {"endless-width": "too long", "width-not-minimal": "not minimal"}
    for name, (size, about) in sides.items():
        yield _bad(name, replace(raw, size=size).data(), about, words.get(name, "impossible"))
    for name, side in (("terapixel", 1 << 20), ("257-megapixels", 16032)):
        yield Seed(
            f"bad-codestream-{name}.edge",
            replace(raw, size=varint(side) * 2).data(),
            f"{side} x {side} pixels in one tile of some bytes: beyond the limit",
            verify=3,
            list=1,
            decompress=1,
            says="pixels",
        )


def _headers() -> Iterator[Seed]:
    raw = _plain()
    whole = raw.data()
    yield _bad("cut-in-header", whole[:20], "cut in its header", "cut short")
    yield _bad("magic-only", whole[:3], "three bytes", "cut short")
    yield _bad("cut-in-tile", whole[:-1], "the last byte is missing", "cut short")
    yield _bad("followed", whole + b"\0", "a byte too many", "followed by other bytes")
    flipped = bytearray(whole)
    flipped[12] ^= 4
    yield _bad("header-checksum", bytes(flipped), "a bit of the header flipped", "checksum")
    for name, length, about in (
        ("header-length-0", varint(0), "a header of no bytes"),
        ("header-length-5", varint(5), "a header that ends before its checksum"),
        ("header-length-2e63", _LARGEST, "a header of 2^63 - 1 bytes"),
    ):
        yield _bad(name, replace(raw, length=length).data(), about, "length of the header")
    too_long = replace(raw, length=varint(1 << 20)).data()
    yield _bad("header-beyond-file", too_long, "a header longer than the file", "cut short")
    spare = replace(raw, sections=b"\0" * 3).data()
    yield _bad("header-spare-bytes", spare, "bytes between table and checksum", "spare")
    for name, code, says in (
        ("suffix-code-16", b"\x10", "suffix code"),
        ("suffix-empty-literal", b"\x80", "suffix code"),
        ("suffix-not-utf8", b"\x82\xff\xfe", "UTF-8"),
        ("suffix-beyond-header", b"\xff.jpg", "cut short"),
    ):
        data = replace(raw, flags=1, origin=_ORIGIN + code).data()
        yield _bad(name, data, "an origin with an impossible suffix", says)


def _tile_tables() -> Iterator[Seed]:
    raw, table = _plain(), varint(1) + _crc(b"x")
    absurd = replace(raw, flags=TILED, size=varint(16000) * 2, tiles=varint(1) * 2 + table)
    yield _bad("256-million-tiles", absurd.data(), "tiles of one pixel", "tile table")
    many = replace(raw, flags=TILED, size=varint(2064) * 2, tiles=varint(8) * 2 + table * 9)
    yield _bad(
        "66564-tiles",
        many.data(),
        "more tiles than there may be, and few of them there",
        "tile table",
    )
    for name, side in (("zero-tile", varint(0)), ("2e31-tile", varint(1 << 31))):
        data = replace(raw, flags=TILED, tiles=side * 2 + table).data()
        yield _bad(name, data, "an impossible size of the tiles", "impossible tile")
    for name, length, says in (
        ("tile-of-2e63-bytes", _LARGEST, "cut short"),
        ("tile-of-no-bytes", varint(0), "followed by other bytes"),
        ("tile-length-endless", _ENDLESS, "too long"),
    ):
        data = replace(raw, tiles=length + _crc(raw.payload)).data()
        yield _bad(name, data, "a tile of an impossible length", says)
    wrap = replace(raw, flags=TILED, tiles=varint(16) * 2 + (_LARGEST + _crc(b"")) * 2)
    yield _bad("tile-lengths-overflow", wrap.data(), "lengths whose sum is 2^64 - 2", "cut short")
    odd = replace(
        raw, flags=TILED, tiles=varint(25) * 2 + varint(len(raw.payload)) + _crc(raw.payload)
    )
    yield _bad(
        "tile-not-of-the-stride",
        odd.data(),
        "tiles of 25 pixels, a stride of 8",
        "not a multiple",
        info=0,
    )
    hashes = replace(
        raw, flags=TILE_HASHES, tiles=varint(len(raw.payload)) + _crc(raw.payload) + b"hash"
    )
    yield _bad(
        "tile-hashes-without-tiles", hashes.data(), "hashes of tiles, but no tiles", "no tiles"
    )
    other = parsed(tile=8)
    yield _bad(
        "tile-hashes-contradict",
        replace(other, symbol_hash=b"hash").pack(),
        "the picture's hash is not that of the tiles' hashes",
        "hash",
        info=0,
    )


def _entry(kind: int, encoding: int, length: bytes, payload: bytes) -> bytes:
    return bytes([kind, encoding]) + length + varint(len(payload)) + _crc(payload)


def _section_tables() -> Iterator[Seed]:
    raw = replace(_plain(), flags=SECTIONS)
    exif = _entry(0x81, 0, varint(len(_EXIF)), _EXIF)

    def made(table: bytes, tail: bytes = b"", count: int = 1, size: bytes = raw.size) -> bytes:
        return replace(raw, sections=varint(count) + table, tail=tail, size=size).data()

    for count, about in ((0, "no"), (65, "65"), ((1 << 63) - 1, "2^63 - 1")):
        name = {0: "no-sections", 65: "65-sections"}.get(count, "2e63-sections")
        yield _bad(
            name, made(exif, _EXIF, count), f"a table of {about} sections", "number of sections"
        )
    yield _bad("section-twice", made(exif * 2, _EXIF * 2, 2), "EXIF twice", "not allowed")
    yield _bad(
        "section-kind-0", made(b"\0" + exif[1:], _EXIF), "a section of kind 0", "not allowed"
    )
    for name, kind, length, about in (
        ("section-of-2e63-bytes", 0x81, _LARGEST, "EXIF of 2^63 - 1 bytes"),
        ("section-beyond-64-mib", 0x82, varint((1 << 26) + 1), "XMP of 64 MiB and a byte"),
        ("alpha-of-another-size", 1, varint(24 * 16 + 1), "an alpha plane larger than the picture"),
    ):
        data = made(_entry(kind, 1, length, lzma2(b"short")), lzma2(b"short"))
        yield _bad(name, data, about, "impossible length")
    stored = _entry(0x81, 0, varint(len(_EXIF) + 1), _EXIF)
    yield _bad(
        "section-stored-longer",
        made(stored, _EXIF),
        "a stored section longer than it is",
        "impossible length",
    )
    bomb, short = lzma2(bytes(BOMB_BYTES)), lzma2(b"short")
    for name, kind, claimed, payload, about in (
        ("section-bomb", 0x81, 1000, bomb, "EXIF of 1000 bytes that expands to 10 MiB"),
        ("alpha-bomb", 1, 24 * 16, bomb, "an alpha plane that expands to 10 MiB"),
        ("section-lzma-short", 2, 1000, short, "an ICC profile shorter than it says"),
        ("section-lzma-followed", 2, 5, short + b"more", "bytes behind the LZMA2 stream"),
        ("section-lzma-wrong", 2, 1000, b"\x03" + b"noise" * 9, "no LZMA2 stream"),
    ):
        data = made(_entry(kind, 1, varint(claimed), payload), payload)
        yield _section_payload(name, data, about, kind)
    large = _entry(1, 1, varint(16000 * 16000), lzma2(b"short"))
    yield _bad(
        "alpha-of-256-megapixels",
        made(large, lzma2(b"short"), size=varint(16000) * 2),
        "an alpha plane of 256 000 000 bytes made of five",
        "wrong length",
        info=0,
    )


def _section_payload(name: str, data: bytes, about: str, kind: int) -> Seed:
    """A damaged section: without EXIF the picture comes back, without the others it does not."""
    seed = _bad(name, data, about, "section", info=0)
    if kind < 0x80:
        return seed
    plain = picture(parsed().pack())
    restored = {seed.name.replace(".edge", ".png"): plain}
    return replace(seed, restored=restored, says="")


def _payloads() -> Iterator[Seed]:
    raw, mapped = _plain(), _plain(TINY_MAP)
    flipped = bytes([raw.payload[0] ^ 1]) + raw.payload[1:]
    old_table = varint(len(flipped)) + _crc(raw.payload)
    noise = bytes(range(1, 60))
    wrong = "symbols that are not those that were coded"
    for name, changed, about, says in (
        ("tile-checksum", replace(raw, payload=flipped, tiles=old_table), wrong, "checksum"),
        ("symbol-hash", replace(raw, symbol_hash=b"hash"), wrong, "hash"),
        ("empty-tile", replace(raw, payload=b""), "a tile without a byte", "missing"),
        ("method-7", replace(raw, payload=b"\7" + noise), "an unknown method", "unknown method"),
        ("context-noise", replace(raw, payload=b"\1" + noise), "noise for a code", "symbols"),
        ("context-cut", replace(raw, payload=raw.payload[:9]), "a code cut short", "symbols"),
        ("packed-noise", replace(raw, payload=b"\0" + noise), "noise, not packed", "symbols"),
        ("gain-15", replace(raw, coder_gain=0xF2), "a gain that the model does not have", "gain"),
    ):
        yield _bad(name, changed.data(), about, says, info=0)
    model_id = codec(WITHOUT_CONTEXT).model_id
    bomb = b"\1" + lzma2(bytes(BOMB_BYTES))
    for name, payload, about in (
        ("lzma-bomb", bomb, "a tile of 72 symbols that expands to 10 MiB"),
        ("lzma-noise", b"\1\3" + noise, "no LZMA2 stream"),
        ("lzma-short", b"\1" + lzma2(b"\0short"), "fewer symbols than there must be"),
        ("lzma-stored-long", b"\0" + bytes(1000), "more bytes than such a tile can have"),
    ):
        made = replace(raw, payload=payload, coder_gain=1, model_id=model_id)
        yield _bad(name, made.data(), about, "symbols", info=0, model=WITHOUT_CONTEXT)
    beyond = _LARGEST + mapped.payload[1:]
    for name, payload, about in (
        ("map-beyond-tile", beyond, "an importance map of 2^63 - 1 bytes"),
        ("map-bomb", varint(len(bomb)) + bomb + b"\0", "a map that expands to 10 MiB"),
        ("map-noise", varint(9) + b"\1noise..." + mapped.payload, "no importance map"),
    ):
        says = "cut short" if payload is beyond else "symbols"
        made = replace(mapped, payload=payload)
        yield _bad(name, made.data(), about, says, info=0, model=TINY_MAP)


def _unsupported() -> Iterator[Seed]:
    raw = _plain()

    def seed(
        name: str, data: bytes, about: str, says: str, *, info: int = 4, code: int = 4
    ) -> Seed:
        made = _bad(name, data, about, says, info=info)
        new_name = f"unsupported-codestream-{name}.edge"
        return replace(made, name=new_name, verify=code, decompress=code)

    yield seed("version-2", replace(raw, version=2).data(), "a newer version", "version 2")
    yield seed("version-0", replace(raw, version=0).data(), "a version that never was", "version 0")
    future = replace(raw, version=255, size=b"another header altogether").data()
    yield seed(
        "version-255", future, "a newer version whose fields mean something else", "version 255"
    )
    for bit in (0x20, 0x40, 0x80):
        data = replace(raw, flags=bit).data()
        yield seed(
            f"mandatory-flag-{bit:02x}", data, "an unknown mandatory flag", "mandatory flags"
        )
    for coder in (0, 3, 15):
        data = replace(raw, coder_gain=coder).data()
        yield seed(f"coder-{coder}", data, "an unknown coder of symbols", f"coder {coder}", info=0)
    sections = replace(raw, flags=SECTIONS, tail=_EXIF)
    critical = varint(1) + _entry(0x7F, 0, varint(len(_EXIF)), _EXIF)
    yield seed(
        "critical-section",
        replace(sections, sections=critical).data(),
        "an unknown section that must not be ignored",
        "critical section",
    )
    encoding = varint(1) + _entry(0x81, 9, varint(len(_EXIF)), _EXIF)
    yield seed(
        "section-encoding",
        replace(sections, sections=encoding).data(),
        "an unknown encoding of a section",
        "unknown encoding",
    )
    yield seed(
        "model",
        replace(raw, model_id=b"no model").data(),
        "a model that is nowhere",
        "6e6f206d6f64656c",
        info=0,
        code=5,
    )
    without = replace(raw, model_id=codec(WITHOUT_CONTEXT).model_id)
    lacking = seed(
        "coder-of-model",
        without.data(),
        "a coder that the model has no parameters for",
        "no parameters for the coder",
        info=0,
        code=5,
    )
    yield replace(lacking, model=WITHOUT_CONTEXT)
