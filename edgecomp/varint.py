"""Unsigned LEB128 numbers and a cursor that stays within its buffer (docs/format.md, section 1)."""

from __future__ import annotations

from edgecomp.errors import CorruptDataError

MAX_VARINT_BYTES = 9


def pack_varint(value: int) -> bytes:
    """Encode ``value`` (0 to 2**63 - 1) in as few bytes as it takes.

    Raises:
        ValueError: the value is out of range.
    """
    if not 0 <= value < 1 << (7 * MAX_VARINT_BYTES):
        raise ValueError(f"varint out of range: {value}")
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class Cursor:
    """Reads fields one after another from a buffer; every read is checked against its end.

    Args:
        data: the buffer.
        what: what it holds, for messages ("header").
    """

    __slots__ = ("_data", "_what", "offset")

    def __init__(self, data: bytes | memoryview, what: str) -> None:
        self._data = memoryview(data)
        self._what = what
        self.offset = 0

    @property
    def remaining(self) -> int:
        """Bytes not yet read."""
        return len(self._data) - self.offset

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes.

        Raises:
            CorruptDataError: fewer are left.
        """
        if count > self.remaining:
            raise CorruptDataError(f"the {self._what} is cut short")
        start = self.offset
        self.offset += count
        return bytes(self._data[start : self.offset])

    def uint(self, size: int) -> int:
        """A little-endian unsigned integer of ``size`` bytes."""
        return int.from_bytes(self.take(size), "little")

    def int64(self) -> int:
        """A little-endian two's complement integer of 8 bytes."""
        return int.from_bytes(self.take(8), "little", signed=True)

    def varint(self) -> int:
        """A minimal LEB128 number.

        Raises:
            CorruptDataError: cut short, longer than 9 bytes, or not minimal.
        """
        value = 0
        for i in range(MAX_VARINT_BYTES):
            byte = self.uint(1)
            value |= (byte & 0x7F) << (7 * i)
            if byte < 0x80:
                if byte == 0 and i > 0:
                    raise CorruptDataError(f"a number in the {self._what} is not minimal")
                return value
        raise CorruptDataError(f"a number in the {self._what} is too long")
