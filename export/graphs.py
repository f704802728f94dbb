"""What the exports of all network families share: Keras to ONNX, names, half-precision storage.

Runs under Keras's TensorFlow backend. Graphs are whole: bytes of a picture in, bytes of symbols
out, and back; height and width are dynamic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from onnx import numpy_helper

OPSET = 17  # tf2onnx writes IR version 8 for it, which onnxruntime 1.20 reads
Weights = dict[str, np.ndarray]


@dataclass(frozen=True)
class Facts:
    """What the manifest says of a model; the last three by part, "encoder" and "decoder"."""

    stride: int
    channels: int
    levels: int
    zero: int
    scales: tuple[float, ...]  # values that the symbols stand for: one each, or one step for all
    importance_map: bool
    halo: dict[str, int]  # latent positions around its own that a result depends on, each side
    parameters: dict[str, int]
    multiply_adds_per_pixel: dict[str, float]


@dataclass(frozen=True)
class Exported:
    """One quality of a network, ready to be written: graphs by part, and a SavedModel's writer."""

    facts: Facts
    floats: dict[str, onnx.ModelProto]
    int8: dict[str, onnx.ModelProto]
    save_model: Callable[[Path], None]


def convert(function: Callable[[tf.Tensor], Any], spec: tf.TensorSpec) -> onnx.ModelProto:
    """The ONNX graph of a TensorFlow function of one tensor."""
    traced = tf.function(function, input_signature=[spec])
    model, _ = tf2onnx.convert.from_function(traced, input_signature=[spec], opset=OPSET)
    del model.metadata_props[:]
    model.doc_string = model.graph.doc_string = ""
    return model


def name_ends(
    model: onnx.ModelProto,
    first: str,
    sides: tuple[str, str],
    results: dict[str, tuple[int | str, ...]],
) -> None:
    """Give the graph's input and outputs their names and symbolic sizes, and check the graph."""
    graph = model.graph
    rename = {graph.input[0].name: first}
    rename |= {old.name: new for old, new in zip(graph.output, results, strict=True)}
    for node in graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                names[i] = rename.get(name, name)
    graph.name = f"{first} to {' and '.join(results)}"
    graph.input[0].name = first
    free = [d for d in graph.input[0].type.tensor_type.shape.dim if d.dim_value <= 0]
    for dim, name in zip(free, sides, strict=True):
        dim.dim_param = name
    for output, (name, sizes) in zip(graph.output, results.items(), strict=True):
        output.name = name
        shape = output.type.tensor_type.shape
        del shape.dim[:]
        for size in sizes:
            dim = shape.dim.add()
            if isinstance(size, int):
                dim.dim_value = size
            else:
                dim.dim_param = size
    onnx.checker.check_model(model)


def canonical(model: onnx.ModelProto) -> onnx.ModelProto:
    """Rename nodes and tensors after their place: converters count on from graph to graph, and one
    checkpoint should give one file. Inputs and outputs of the graph keep their names."""
    graph = model.graph
    names = {value.name: value.name for value in (*graph.input, *graph.output)}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    ordered = []
    for number, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{number}"
        for index, name in enumerate(node.input):
            if name in weights and name not in names:
                names[name] = f"{node.name}.in{index}"
                ordered.append(weights[name])
            node.input[index] = names.get(name, name)
        for index, name in enumerate(node.output):
            names.setdefault(name, f"{node.name}.out{index}" if index else node.name)
            node.output[index] = names[name]
    for tensor in ordered:
        tensor.name = names[tensor.name]
    copies = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in ordered]
    del graph.initializer[:], graph.value_info[:]
    graph.initializer.extend(copies)
    onnx.checker.check_model(model)
    return model


def halve_initialisers(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store large float weights as float16 behind a Cast, which onnxruntime folds at load."""
    out = onnx.ModelProto()
    out.CopyFrom(model)
    casts = []
    for tensor in out.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype != np.float32 or array.size < 256:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float16), f"{name}/half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}/half"], [name], f"{name}/cast", to=1))
    nodes = [*casts, *out.graph.node]
    del out.graph.node[:]
    out.graph.node.extend(nodes)
    onnx.checker.check_model(out)
    return out


def packed(model: keras.Model) -> tuple[tf.Variable, Any]:
    """All weights of ``model`` in one float16 variable, and the model computing from them."""
    values = [np.asarray(v) for v in model.trainable_variables]
    flat = np.concatenate([v.reshape(-1) for v in values]).astype(np.float16)
    stored = tf.Variable(flat, trainable=False, name=model.name)

    def run(x: tf.Tensor) -> tf.Tensor:
        parts = tf.split(tf.cast(stored, tf.float32), [v.size for v in values])
        wide = [tf.reshape(part, v.shape) for part, v in zip(parts, values, strict=True)]
        return model.stateless_call(wide, [], x)[0]

    return stored, run
