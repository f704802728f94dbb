"""Writes codestream.json: codestreams put together field by field, without edgecomp's own writer.

python tests/data/vectors/make_codestreams.py > tests/data/vectors/codestream.json
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib

MODEL = bytes.fromhex("0123456789abcdef")
HASH = bytes.fromhex("deadbeef")


def varint(value: int) -> bytes:
    groups = []
    while True:
        groups.append(value & 0x7F)
        value >>= 7
        if not value:
            break
    return bytes(g | 0x80 for g in groups[:-1]) + bytes(groups[-1:])


def crc(data: bytes) -> bytes:
    return struct.pack("<I", zlib.crc32(data))


def header(fields: bytes, *, version: int = 1, length: bytes | None = None) -> bytes:
    if length is None:
        size = 4 + 1 + len(fields) + 4
        length = varint(size if size < 128 else size + 1)
    head = b"\xecEC" + bytes([version]) + length + fields
    return head + crc(head)


def picture(
    payload: bytes = b"\x00\x01\x02",
    *,
    flags: int = 0,
    optional: int = 0,
    coder_gain: int = 0x01,
    digest: bytes = HASH,
    size: bytes = varint(3) + varint(200),
    origin: bytes = b"",
    tiles: bytes | None = None,
    sections: bytes = b"",
    tail: bytes = b"",
    **keywords,
) -> bytes:
    if tiles is None:
        tiles = varint(len(payload)) + crc(payload)
    fields = bytes([flags, optional]) + MODEL + bytes([coder_gain]) + digest + size
    return header(fields + origin + tiles + sections, **keywords) + payload + tail


ORIGIN = struct.pack("<qI", 1_700_000_000_123_456_789, zlib.crc32(b"a/b.png"))
EXIF = b"MM\x00*\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00"
EXIF_ENTRY = b"\x81\x00" + varint(14) + varint(14) + crc(EXIF)

good = {
    "smallest": (
        picture(),
        {
            "width": 3,
            "height": 200,
            "coder_id": 1,
            "gain": 0,
            "grey": False,
            "tiles": ["000102"],
            "model_id": MODEL.hex(),
            "symbol_hash": HASH.hex(),
        },
    ),
    "origin": (
        picture(flags=1, origin=ORIGIN + b"\x01"),
        {
            "suffix": ".png",
            "mtime_ns": 1_700_000_000_123_456_789,
            "name_check": zlib.crc32(b"a/b.png"),
        },
    ),
    "origin-literal-suffix": (picture(flags=1, origin=ORIGIN + b"\x84.PnG"), {"suffix": ".PnG"}),
    "before-1970": (
        picture(flags=1, origin=struct.pack("<qI", -5, 7) + b"\x00"),
        {"suffix": "", "mtime_ns": -5, "name_check": 7},
    ),
    "grey-gain": (picture(flags=8, coder_gain=0x21), {"grey": True, "gain": 2, "coder_id": 1}),
    "optional-flags-ignored": (picture(optional=0xFF), {"width": 3}),
    "tiled": (
        picture(
            b"abc",
            flags=2,
            tiles=varint(8) + varint(128) + varint(2) + crc(b"ab") + varint(1) + crc(b"c"),
        ),
        {"tile_width": 8, "tile_height": 128, "tiles": ["6162", "63"]},
    ),
    "tile-hashes": (
        picture(
            b"abc",
            flags=0x12,
            digest=hashlib.sha256(b"ABCDWXYZ").digest()[:4],
            tiles=varint(8)
            + varint(128)
            + varint(2)
            + crc(b"ab")
            + b"ABCD"
            + varint(1)
            + crc(b"c")
            + b"WXYZ",
        ),
        {
            "tiles": ["6162", "63"],
            "tile_hashes": [b"ABCD".hex(), b"WXYZ".hex()],
            "symbol_hash": hashlib.sha256(b"ABCDWXYZ").digest()[:4].hex(),
        },
    ),
    "exif": (
        picture(flags=4, sections=varint(1) + EXIF_ENTRY, tail=EXIF),
        {"sections": {"129": EXIF.hex()}},
    ),
    "unknown-ancillary-section": (
        picture(flags=4, sections=varint(1) + b"\xfe" + EXIF_ENTRY[1:], tail=EXIF),
        {"sections": {"254": EXIF.hex()}},
    ),
}

whole = picture()
bad = {
    "empty": (b"", "NotEdgecompError"),
    "png": (b"\x89PNG\r\n\x1a\n", "NotEdgecompError"),
    "magic-only": (whole[:3], "CorruptDataError"),
    "cut-in-header": (whole[:20], "CorruptDataError"),
    "cut-in-tile": (whole[:-1], "CorruptDataError"),
    "followed": (whole + b"\x00", "CorruptDataError"),
    "header-flip": (whole[:10] + bytes([whole[10] ^ 1]) + whole[11:], "CorruptDataError"),
    "version-2": (picture(version=2), "UnsupportedVersionError"),
    "unknown-mandatory-flag": (picture(flags=0x80), "UnsupportedVersionError"),
    "zero-width": (picture(size=varint(0) + varint(5)), "CorruptDataError"),
    "side-too-long": (picture(size=varint((1 << 20) + 1) + varint(1)), "CorruptDataError"),
    "too-many-pixels": (picture(size=varint(1 << 20) + varint(1 << 20)), "LimitError"),
    "not-minimal": (picture(size=b"\x83\x00" + varint(5)), "CorruptDataError"),
    "endless-number": (picture(size=b"\xff" * 12), "CorruptDataError"),
    "spare-bytes-in-header": (picture(sections=b"\x00"), "CorruptDataError"),
    "suffix-code-16": (picture(flags=1, origin=ORIGIN + b"\x10"), "CorruptDataError"),
    "suffix-code-128": (picture(flags=1, origin=ORIGIN + b"\x80"), "CorruptDataError"),
    "suffix-not-utf8": (picture(flags=1, origin=ORIGIN + b"\x81\xff"), "CorruptDataError"),
    "tile-width-zero": (picture(flags=2, tiles=varint(0) + varint(8)), "CorruptDataError"),
    "grid-absurd": (
        picture(flags=2, size=varint(16000) + varint(16000), tiles=varint(1) + varint(1)),
        "CorruptDataError",
    ),
    "tile-hashes-without-tiles": (
        picture(flags=0x10, tiles=varint(3) + crc(b"\x00\x01\x02") + b"ABCD"),
        "CorruptDataError",
    ),
    "tile-hashes-cut-short": (
        picture(b"a", flags=0x12, tiles=varint(8) + varint(256) + varint(1) + crc(b"a") + b"AB"),
        "CorruptDataError",
    ),
    "section-twice": (
        picture(flags=4, sections=varint(2) + EXIF_ENTRY * 2, tail=EXIF * 2),
        "CorruptDataError",
    ),
    "section-kind-zero": (
        picture(flags=4, sections=varint(1) + b"\x00" + EXIF_ENTRY[1:], tail=EXIF),
        "CorruptDataError",
    ),
    "unknown-critical-section": (
        picture(flags=4, sections=varint(1) + b"\x7f" + EXIF_ENTRY[1:], tail=EXIF),
        "UnsupportedVersionError",
    ),
    "alpha-of-another-size": (
        picture(flags=4, sections=varint(1) + b"\x01" + EXIF_ENTRY[1:], tail=EXIF),
        "CorruptDataError",
    ),
    "section-bomb": (
        picture(
            flags=4,
            sections=varint(1) + b"\x81\x01" + varint(1 << 40) + varint(14) + crc(EXIF),
            tail=EXIF,
        ),
        "CorruptDataError",
    ),
    "no-sections": (picture(flags=4, sections=varint(0)), "CorruptDataError"),
}

if __name__ == "__main__":
    document = {
        "good": {n: {"hex": d.hex(), "fields": f} for n, (d, f) in good.items()},
        "bad": {n: {"hex": d.hex(), "error": e} for n, (d, e) in bad.items()},
    }
    print(json.dumps(document, indent=1))
