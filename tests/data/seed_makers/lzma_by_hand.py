"""A small LZMA encoder, so that kept files do not depend on the version of liblzma.

It knows literals and runs of one byte, no more: enough for bombs, which are runs, and for what
needs to be right and not to be small.
"""

from __future__ import annotations

import struct

PROPERTIES = 0x5D  # lc 3, lp 0, pb 2
_LC, _PB = 3, 2
_TOP = 1 << 24
_LONGEST = 273
_NO_DISTANCE = 0xFFFFFFFF  # of the end mark


class _RangeEncoder:
    """LZMA's range coder, with its adaptive bits."""

    def __init__(self) -> None:
        self._low = 0
        self._range = 0xFFFFFFFF
        self._cache, self._waiting = 0, 1
        self.out = bytearray()

    def bit(self, odds: list[int], index: int, bit: int) -> None:
        probability = odds[index]
        bound = (self._range >> 11) * probability
        if bit:
            self._low += bound
            self._range -= bound
            odds[index] = probability - (probability >> 5)
        else:
            self._range = bound
            odds[index] = probability + ((2048 - probability) >> 5)
        while self._range < _TOP:
            self._range = self._range << 8 & 0xFFFFFFFF
            self._shift()

    def tree(self, odds: list[int], start: int, bits: int, value: int) -> None:
        node = 1
        for place in range(bits - 1, -1, -1):
            bit = value >> place & 1
            self.bit(odds, start + node, bit)
            node = node << 1 | bit

    def direct(self, value: int, bits: int) -> None:
        for place in range(bits - 1, -1, -1):
            self._range >>= 1
            if value >> place & 1:
                self._low += self._range
            while self._range < _TOP:
                self._range = self._range << 8 & 0xFFFFFFFF
                self._shift()

    def finish(self) -> bytes:
        for _ in range(5):
            self._shift()
        return bytes(self.out)

    def _shift(self) -> None:
        if self._low < 0xFF000000 or self._low > 0xFFFFFFFF:
            carry = self._low >> 32
            self.out.append(self._cache + carry & 0xFF)
            self.out.extend([0xFF + carry & 0xFF] * (self._waiting - 1))
            self._waiting = 0
            self._cache = self._low >> 24 & 0xFF
        self._waiting += 1
        self._low = (self._low & 0x00FFFFFF) << 8


def _even(count: int) -> list[int]:
    return [1024] * count


class _Encoder:
    """Codes bytes as literals and as repetitions of the byte before."""

    def __init__(self) -> None:
        self._coder = _RangeEncoder()
        self._state = 0
        self._is_match = _even(12 << 4)
        self._is_rep, self._is_rep0, self._is_rep0_long = _even(12), _even(12), _even(12 << 4)
        self._literal = _even(0x300 << _LC)
        self._slots = _even(4 << 6)
        self._align = _even(16)
        # Choices, then low and middle lengths by position, then high ones; of matches and of reps.
        self._lengths = {"match": _even(2 + 2 * (16 << 3) + 256), "rep": _even(2 + 256 + 256)}
        self._matched = False  # whether a match has set the distance to 1

    def encode(self, data: bytes, *, end_mark: bool) -> bytes:
        place = 0
        while place < len(data):
            run = self._run(data, place)
            if run < 2:
                self._put_literal(data, place)
                place += 1
            else:
                self._put_run(place, run)
                place += run
        if end_mark:
            self._put_match(place, 2, _NO_DISTANCE)
        return self._coder.finish()

    @staticmethod
    def _run(data: bytes, place: int) -> int:
        if place == 0:
            return 0
        ahead = data[place : place + _LONGEST]
        return len(ahead) - len(ahead.lstrip(data[place - 1 : place]))

    def _context(self, place: int) -> int:
        return self._state << 4 | place & (1 << _PB) - 1

    def _put_literal(self, data: bytes, place: int) -> None:
        byte = data[place]
        before = data[place - 1] if place else 0
        start = 0x300 * (before >> 8 - _LC)
        self._coder.bit(self._is_match, self._context(place), 0)
        node = 1
        # After a match the byte at its distance, here always the one before, guides the coder.
        guided = self._state >= 7
        for shift in range(7, -1, -1):
            bit, guide = byte >> shift & 1, before >> shift & 1
            offset = (1 + guide << 8) if guided else 0
            self._coder.bit(self._literal, start + offset + node, bit)
            node = node << 1 | bit
            guided = guided and guide == bit
        self._state = max(self._state - 3, 0) if self._state < 10 else self._state - 6

    def _put_run(self, place: int, length: int) -> None:
        if not self._matched:
            self._put_match(place, length, 0)
            self._matched = True
            return
        self._coder.bit(self._is_match, self._context(place), 1)
        self._coder.bit(self._is_rep, self._state, 1)
        self._coder.bit(self._is_rep0, self._state, 0)
        self._coder.bit(self._is_rep0_long, self._context(place), 1)
        self._put_length("rep", place, length)
        self._state = 8 if self._state < 7 else 11

    def _put_match(self, place: int, length: int, distance: int) -> None:
        """A match at ``distance`` + 1: 0, or that of the end mark."""
        self._coder.bit(self._is_match, self._context(place), 1)
        self._coder.bit(self._is_rep, self._state, 0)
        self._put_length("match", place, length)
        group = min(length - 2, 3) << 6
        if distance == 0:
            self._coder.tree(self._slots, group, 6, 0)
        else:
            self._coder.tree(self._slots, group, 6, 63)
            self._coder.direct((1 << 26) - 1, 26)
            for node in (1, 3, 7, 15):
                self._coder.bit(self._align, node, 1)
        self._state = 7 if self._state < 7 else 10

    def _put_length(self, kind: str, place: int, length: int) -> None:
        odds, value = self._lengths[kind], length - 2
        at = (place & (1 << _PB) - 1) << 3
        self._coder.bit(odds, 0, value >= 8)
        if value < 8:
            self._coder.tree(odds, 2 + at, 3, value)
            return
        self._coder.bit(odds, 1, value >= 16)
        if value < 16:
            self._coder.tree(odds, 2 + 128 + at, 3, value - 8)
        else:
            self._coder.tree(odds, 2 + 256, 8, value - 16)


def lzma_of_zip(data: bytes, *, properties: int = PROPERTIES, dictionary: int = 1 << 12) -> bytes:
    """The data of a ZIP member of method 14, with an end mark."""
    header = struct.pack("<BBHBI", 9, 4, 5, properties, dictionary)
    return header + _Encoder().encode(data, end_mark=True)


def lzma2(data: bytes) -> bytes:
    """A raw LZMA2 stream; each chunk stands for itself."""
    chunks = []
    made: dict[bytes, bytes] = {}  # the chunks of a bomb are all the same
    for start in range(0, len(data), 1 << 21):
        piece = data[start : start + (1 << 21)]
        if piece not in made:
            made[piece] = _chunk(piece)
        chunks.append(made[piece])
    return b"".join(chunks) + b"\0"


def _chunk(piece: bytes) -> bytes:
    coded = _Encoder().encode(piece, end_mark=False)
    last, coded_last = len(piece) - 1, len(coded) - 1
    if coded_last >> 16:
        raise ValueError("a chunk's code is too long")
    control = 0xE0 | last >> 16
    return struct.pack(">BHHB", control, last & 0xFFFF, coded_last, PROPERTIES) + coded
