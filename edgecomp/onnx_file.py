"""What an ONNX file refers to, found without a package for it: data in other files.

A graph's weights may be said to be in another file, which no hash in a manifest covers; onnxruntime
would read it, wherever it is. The file is a Protocol Buffers message, of which only the nesting is
needed here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_DEPTH: Final = 32

# Messages by name: number of a field -> the message in it (onnx.proto3).
_INNER: Final[dict[str, dict[int, str]]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14


def check_self_contained(graph: bytes) -> None:
    """See that all of a graph's weights are in its own file.

    Raises:
        ValueError: some are elsewhere, or it is no ONNX file.
    """
    try:
        external = _has_external(memoryview(graph), "model", 0)
    except IndexError:
        raise ValueError("it ends within a number") from None
    if external:
        raise ValueError("its weights are in another file")


def _has_external(data: memoryview, message: str, depth: int) -> bool:
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    for field, content in _fields(data):
        if message == "tensor" and (
            field == _EXTERNAL_DATA or (field == _DATA_LOCATION and content != 0)
        ):
            return True
        inner = _INNER[message].get(field)
        if inner is not None:
            if isinstance(content, int):
                raise ValueError("a number where a message should be")
            if _has_external(content, inner, depth + 1):
                return True
    return False


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Number and content of each field of a message; numbers of fixed length are passed over."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        field, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield field, value
            continue
        if kind == _BYTES:
            length, at = _varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if length > len(data) - at:
            raise ValueError("a field is cut short")
        if kind == _BYTES:
            yield field, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """The number at an offset, and the offset behind it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than ten bytes")
