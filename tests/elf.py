"""What ELF files (shared libraries of Linux) are for and need, read from their own records."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_MACHINES = {62: "x86_64", 183: "aarch64", 22: "s390x"}
_DYNAMIC = 6  # type of a section
_NEEDED = 1  # tag of an entry


def machine_of(data: bytes) -> str:
    """The processor that a 64-bit little-endian file is for, as Python calls it."""
    assert data[:6] == b"\x7fELF\x02\x01"
    (machine,) = struct.unpack_from("<H", data, 18)
    return _MACHINES.get(machine, str(machine))


def needed_by(data: bytes) -> set[str]:
    """Names of the libraries that the system has to have."""
    sections = list(_sections(data))
    found = set()
    for kind, offset, size, link in sections:
        if kind != _DYNAMIC:
            continue
        strings = sections[link][1]
        for at in range(offset, offset + size, 16):
            tag, value = struct.unpack_from("<QQ", data, at)
            if tag == _NEEDED:
                start = strings + value
                found.add(data[start : data.index(b"\0", start)].decode())
    return found


def _sections(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Type, offset, size and link of every section."""
    (table,) = struct.unpack_from("<Q", data, 40)
    entry, count = struct.unpack_from("<HH", data, 58)
    for number in range(count):
        at = table + number * entry
        (kind,) = struct.unpack_from("<I", data, at + 4)
        offset, size, link = struct.unpack_from("<QQI", data, at + 24)
        yield kind, offset, size, link
