"""Whether a graph's weights are all in its own file."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from common import DATA, ROOT

from edgecomp.onnx_file import check_self_contained

GRAPHS = sorted(ROOT.glob("edgecomp/models/*/*.onnx")) + sorted(DATA.glob("models/*/*.onnx"))


def field(number: int, content: bytes | int) -> bytes:
    """A field of a Protocol Buffers message, its numbers below 128."""
    if isinstance(content, int):
        return (
            bytes([number << 3 & 0x7F | (0x80 if number > 15 else 0)])
            + (bytes([number >> 4]) if number > 15 else b"")
            + bytes([content])
        )
    key = number << 3 | 2
    head = bytes([key]) if key < 128 else bytes([key & 0x7F | 0x80, key >> 7])
    size = len(content)
    length = bytes([size]) if size < 128 else bytes([size & 0x7F | 0x80, size >> 7])
    return head + length + content


EXTERNAL = {
    "location": field(14, 1),
    "data": field(13, field(1, b"location") + field(2, b"weights.bin")),
}
# Where a tensor may be: fields from the model down to it.
PLACES = {
    "initializer": (7, 5),
    "sparse values": (7, 15, 1),
    "sparse indices": (7, 15, 2),
    "attribute": (7, 1, 5, 5),
    "attributes": (7, 1, 5, 10),
    "sparse attribute": (7, 1, 5, 22, 1),
    "sparse attributes": (7, 1, 5, 23, 2),
    "subgraph": (7, 1, 5, 6, 5),
    "subgraphs": (7, 1, 5, 11, 5),
    "function": (25, 7, 5, 5),
    "default of a function": (25, 11, 5),
    "training": (20, 1, 5),
}


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_graphs_that_are_whole(graph: Path) -> None:
    check_self_contained(graph.read_bytes())


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("sign", EXTERNAL)
def test_weights_elsewhere_are_found_wherever_they_are(place: str, sign: str) -> None:
    harmless, message = field(2, 1) + field(14, 0), EXTERNAL[sign]
    for number in reversed(PLACES[place]):
        harmless, message = (
            field(number, harmless),
            field(1 + number % 2, b"") + field(number, message),
        )
    check_self_contained(harmless)
    with pytest.raises(ValueError, match="in another file"):
        check_self_contained(message)


def test_what_is_no_graph() -> None:
    rng = random.Random(1)
    graph = GRAPHS[0].read_bytes()
    deep = b""
    for _ in range(40):
        deep = field(1, field(5, field(6, deep))) if len(deep) < 16_000 else deep
    for data in (
        b"\x80",
        b"\x80" * 20,
        b"\x3a\x05ab",
        b"\x3b",
        b"\x38\x01",
        graph[: len(graph) // 2],
        b"hello world",
        field(7, deep),
    ):
        with pytest.raises(ValueError, match=r"."):
            check_self_contained(data)
    for _ in range(3000):
        data = bytearray(graph[:4000])
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        try:
            check_self_contained(rng.choice((bytes(data), rng.randbytes(40))))
        except ValueError:
            pass
