"""An ONNX graph whose int8 weights are Huffman coded: Han, Mao and Dally, "Deep Compression", 2016.

Every weight tensor has a code of its own. A coded graph is, one after another: the graph without
those weights, as ONNX, its length before it; and for each tensor, in the graph's order, the length
of its coded symbols and these (export/huffman.py). Lengths are LEB128 numbers. Scales, biases,
zero points and nodes are in the graph as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from edgecomp.errors import CorruptDataError
from edgecomp.varint import Cursor, pack_varint
from export import huffman


@dataclass(frozen=True)
class Tally:
    """What a coded graph is made of; bytes, except for the first and the last.

    ``entropy`` is that of the weights under their tensors' own frequencies, in bits altogether.
    """

    weights: int
    total: int
    codes: int
    tables: int
    entropy: float

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.weights + other.weights,
            self.total + other.total,
            self.codes + other.codes,
            self.tables + other.tables,
            self.entropy + other.entropy,
        )

    @property
    def rest(self) -> int:
        """Bytes that are not coded: all but codes and their tables."""
        return self.total - self.codes - self.tables


def pack(model: onnx.ModelProto) -> tuple[bytes, Tally]:
    """The coded form of a graph."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    streams, weights, tables, entropy = [], 0, 0, 0.0
    for tensor in bare.graph.initializer:
        if tensor.data_type != onnx.TensorProto.INT8 or not tensor.raw_data:
            continue
        values = numpy_helper.to_array(tensor)
        coded = huffman.encode(values)
        if len(coded) >= values.size:
            continue
        tensor.ClearField("raw_data")
        streams.append(coded)
        weights += values.size
        tables += huffman.table_bytes(coded)
        entropy += huffman.entropy(values) * values.size
    parts = [bare.SerializeToString(deterministic=True), *streams]
    data = b"".join(pack_varint(len(part)) + part for part in parts)
    codes = sum(map(len, streams)) - tables
    return data, Tally(weights, len(data), codes, tables, entropy)


def unpack(data: bytes) -> onnx.ModelProto:
    """The graph of a coded form.

    Raises:
        CorruptDataError, HuffmanError: ``data`` is damaged.
    """
    cursor = Cursor(data, "coded graph")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(cursor.take(cursor.varint()))
    except DecodeError as error:
        raise CorruptDataError(f"the coded graph is damaged: {error}") from error
    for tensor in model.graph.initializer:
        held = tensor.raw_data or tensor.int32_data or 0 in tensor.dims
        if tensor.data_type != onnx.TensorProto.INT8 or held:
            continue
        coded = cursor.take(cursor.varint())
        symbols = huffman.decode(coded, int(np.prod(tensor.dims)))
        if symbols.min() < -128 or symbols.max() > 127:
            raise huffman.HuffmanError("a weight outside 8 bits")
        tensor.raw_data = symbols.astype(np.int8).tobytes()
    if cursor.remaining:
        raise huffman.HuffmanError("bytes after the coded graph")
    return model
