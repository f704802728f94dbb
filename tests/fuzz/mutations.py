"""Changes to inputs: to bytes, to numbers in them, to values of JSON; and checksums put right.

A changed input with the old checksums is refused early. So that what lies behind them is reached,
those of ZIP records, names and codestreams are computed anew in about half of the inputs.
"""

from __future__ import annotations

import json
import random
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from edgecomp.codestream import Tile, parse
from edgecomp.constants import CODESTREAM_MAGIC, EXTRA_ID
from edgecomp.errors import EdgecompError
from edgecomp.varint import pack_varint

MOST_BYTES = 1 << 16
_FORMATS = {1: "<B", 2: "<H", 4: "<I", 8: "<Q"}
_BYTES = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)
_TOKENS = {
    "archive": (b"PK\3\4", b"PK\1\2", b"PK\5\6", b"PK\6\6", b"PK\6\7", CODESTREAM_MAGIC + b"\1",
                b"edgecomp archive 1", b".edge", b"../", b"/", b"\x45\x43\x0e\0", b"\1\0\x10\0"),
    "codestream": (CODESTREAM_MAGIC + b"\1", b"\x81\0", b"\1\1", b"\xff\xff\xff\xff\x0f"),
    "model": (b"null", b"-1", b"1e999", b"NaN", b"Infinity", b'"../x"', b'"\\u0000"', b'"\\ud800"',
              b"[" * 3000, b"{}", b"9" * 400, b"\xef\xbb\xbf", b"/"),
    "names": (b"..", b"/", b"\\", b".edge", b".2", b"CON", b"C:", b"\0", b"\xfe", b" ", b".",
              b"\xcc\x81", b"\xed\xa0\x80", b"x" * 250, b"a/" * 200, b".png"),
    "roundtrip": (b"a/", b".png", b".edge", b".jpg", b"\0\5", b"PK\3\4", b"PK\1\2", b"PK\5\6",
                  b"PK\6\6", b"PK\6\7", b"edgecomp archive 1"),
    "symbols": (b"\0", b"\1", b"\xe0\0\0\0\0\x5d", b"\1\0\0", b"\x80\1"),
}  # fmt: skip


class Mutator:
    """Makes inputs of others; the same random numbers give the same inputs.

    Args:
        rng: where they come from.
        corpus: what to begin with and to copy from.
        target: name of the target, which tells what is worth inserting and repairing.
    """

    def __init__(self, rng: random.Random, corpus: Sequence[bytes], target: str) -> None:
        self._rng = rng
        self._corpus = corpus
        self._tokens = _TOKENS.get(target, (b"\0",))
        self._target = target
        self._changes: tuple[Callable[[bytearray], None], ...] = (
            self._flip, self._flip, self._set, self._cut, self._insert, self._take_out,
            self._duplicate, self._swap, self._number, self._number, self._varint, self._token,
            self._splice,
        )  # fmt: skip

    def next(self) -> bytes:
        """One of the corpus, changed."""
        return self.changed(self._rng.choice(self._corpus))

    def changed(self, original: bytes) -> bytes:
        """An input with some changes, its checksums perhaps put right."""
        if self._target == "model" and self._rng.random() < 0.7:
            return _json_changed(original, self._rng)[:MOST_BYTES]
        data = bytearray(original)
        changes = 1
        while changes < 12 and self._rng.random() < 0.55:
            changes += 1
        for _ in range(changes):
            self._rng.choice(self._changes)(data)
        del data[MOST_BYTES:]
        return self.righted(data)

    def righted(self, data: bytearray) -> bytes:
        """The input, often with the checksums that it should have."""
        if self._rng.random() < 0.6:
            repair = {"archive": _right_archive, "codestream": _right_codestream}.get(self._target)
            if repair is not None:
                repair(data, self._rng)
        return bytes(data)

    def _at(self, data: bytearray) -> int:
        return self._rng.randrange(len(data)) if data else 0

    def _some(self) -> int:
        return self._rng.choice((1, 1, 2, 4, 8, 30, 200))

    def _flip(self, data: bytearray) -> None:
        if data:
            data[self._at(data)] ^= 1 << self._rng.randrange(8)

    def _set(self, data: bytearray) -> None:
        if data:
            data[self._at(data)] = self._rng.choice((*_BYTES, self._rng.randrange(256)))

    def _cut(self, data: bytearray) -> None:
        if self._rng.random() < 0.3:
            del data[self._at(data) :]

    def _insert(self, data: bytearray) -> None:
        at = self._at(data)
        data[at:at] = self._rng.randbytes(self._some())

    def _take_out(self, data: bytearray) -> None:
        at = self._at(data)
        del data[at : at + self._some()]

    def _duplicate(self, data: bytearray) -> None:
        start, to = self._at(data), self._at(data)
        data[to:to] = data[start : start + self._some()]

    def _swap(self, data: bytearray) -> None:
        """Copy a block over another."""
        start, to, count = self._at(data), self._at(data), self._some()
        block = data[start : start + count]
        data[to : to + len(block)] = block

    def _number(self, data: bytearray) -> None:
        """A number becomes extreme, or a little different."""
        width = self._rng.choice((1, 2, 4, 8))
        if len(data) < width:
            return
        at = self._rng.randrange(len(data) - width + 1)
        (value,) = struct.unpack_from(_FORMATS[width], data, at)
        top = 1 << 8 * width
        extreme = self._rng.choice((0, 1, top - 1, top - 2, top // 2, top // 2 - 1, len(data)))
        near = value + self._rng.randrange(-9, 10)
        struct.pack_into(_FORMATS[width], data, at, self._rng.choice((extreme, near)) % top)

    def _varint(self, data: bytearray) -> None:
        value = self._rng.choice((0, 127, 128, 1 << 14, 1 << 20, 1 << 31, 1 << 32, (1 << 63) - 1))
        at = self._at(data)
        data[at : at + self._rng.choice((0, 1, 2))] = pack_varint(value)

    def _token(self, data: bytearray) -> None:
        token, at = self._rng.choice(self._tokens), self._at(data)
        data[at : at + self._rng.choice((0, len(token)))] = token

    def _splice(self, data: bytearray) -> None:
        other = self._rng.choice(self._corpus)
        at, start = self._at(data), self._rng.randrange(len(other) + 1)
        data[at : at + self._rng.choice((0, len(other)))] = other[start : start + 4096]


# Checksums.


def _right_codestream(data: bytearray, rng: random.Random) -> None:
    """The header's checksum; often those of tiles and sections too."""
    _right_header(data, 0, len(data))
    if rng.random() < 0.6:
        try:
            stream = parse(bytes(data))
        except EdgecompError:
            return
        tiles = tuple(Tile.of(tile.payload, tile.symbol_hash) for tile in stream.tiles)
        sections = tuple(replace(s, crc=zlib.crc32(s.payload)) for s in stream.sections)
        data[:] = replace(stream, tiles=tiles, sections=sections).pack()


def _right_header(data: bytearray, start: int, end: int) -> None:
    if data[start : start + 3] != CODESTREAM_MAGIC:
        return
    length = shift = 0
    for place in range(start + 4, min(start + 8, end)):
        length |= (data[place] & 0x7F) << shift
        shift += 7
        if data[place] < 0x80:
            break
    crc = start + length - 4
    if start + 5 < crc <= end - 4:
        struct.pack_into("<I", data, crc, zlib.crc32(data[start:crc]))


def _right_archive(data: bytearray, rng: random.Random) -> None:
    """Checksums of members and names, offsets of records, the end record; each of them often."""
    wanted = {what: rng.random() < 0.8 for what in ("members", "names", "records", "end")}
    checksums: dict[int, int] = {}
    for place in _places(data, b"PK\3\4", 30):
        stored, _, name, extra = struct.unpack_from("<2I2H", data, place + 18)
        start = place + 30 + name + extra
        if wanted["names"]:
            _right_name(data, place + 30, name, extra)
        if wanted["members"] and start + stored <= len(data):
            _right_header(data, start, start + stored)
            checksums[place] = zlib.crc32(data[start : start + stored])
            if data[place + 8 : place + 10] == b"\0\0":
                struct.pack_into("<I", data, place + 14, checksums[place])
    records = _places(data, b"PK\1\2", 46)
    for place in records:
        name, extra = struct.unpack_from("<2H", data, place + 28)
        if wanted["names"]:
            _right_name(data, place + 46, name, extra)
        (offset,) = struct.unpack_from("<I", data, place + 42)
        if wanted["records"] and offset in checksums and data[place + 10 : place + 12] == b"\0\0":
            struct.pack_into("<I", data, place + 16, checksums[offset])
    ends = _places(data, b"PK\5\6", 22)
    if wanted["end"] and ends and records and records[0] < ends[-1]:
        end, count = ends[-1], len(records) & 0xFFFF
        numbers = (count, count, end - records[0], records[0])
        struct.pack_into("<2H2I", data, end + 8, *numbers)


def _right_name(data: bytearray, place: int, name: int, extra: int) -> None:
    """The name check in edgecomp's extra field."""
    end = place + name + extra
    at = data.find(struct.pack("<HH", EXTRA_ID, 14), place + name, end)
    if 0 <= at <= end - 18 and end <= len(data):
        checked = data[place : place + name] + data[at + 5 : at + 14]
        struct.pack_into("<I", data, at + 14, zlib.crc32(checked))


def _places(data: bytearray, signature: bytes, size: int) -> list[int]:
    """Where records of that size may begin; a hundred at most."""
    found: list[int] = []
    at = data.find(signature)
    while 0 <= at <= len(data) - size and len(found) < 100:
        found.append(at)
        at = data.find(signature, at + 1)
    return found


# Values of JSON.

_VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2, 255, 256, 1 << 31, 1 << 63, 10**400, -(10**400), 0.5, 1e308,
    float("inf"), float("-inf"), float("nan"), "", "x", "..", "../x", "/x", "a/b", "a\0b", "\ud800",
    "x" * 300, "decoder.int8.onnx", "model.json", [], [[]], {}, {"file": "x", "sha256": "x"},
)  # fmt: skip

_KEYS = ("halo", "choice", "threshold", "scales", "version", "context", "saved_model/x", "../x",
         "/x", "a\0b", "\ud800", "", "x" * 300, "a\\..\\..\\x")  # fmt: skip


def _json_changed(data: bytes, rng: random.Random) -> bytes:
    """A JSON document with other values; what is none is given back as it is."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return data
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        document = _changed(document, rng)
    return json.dumps(document).encode()


def _changed(value: Any, rng: random.Random) -> Any:
    """A copy in which one value, somewhere, is another, is gone or is new."""
    if not isinstance(value, (dict, list)) or not value or rng.random() < 0.05:
        return rng.choice(_VALUES)
    if isinstance(value, list):
        at = rng.randrange(len(value))
        return [*value[:at], _changed(value[at], rng), *value[at + 1 :]]
    key = rng.choice(sorted(value))
    what = rng.random()
    if what < 0.1:
        return {name: entry for name, entry in value.items() if name != key}
    if what < 0.2:
        return value | {rng.choice(_KEYS): rng.choice(_VALUES)}
    if what < 0.3:
        rest = {name: entry for name, entry in value.items() if name != key}
        return rest | {rng.choice(_KEYS): value[key]}
    if what < 0.35:
        return value | {key: value[rng.choice(sorted(value))]}
    return value | {key: _changed(value[key], rng)}
