"""Writes the frozen model whose symbols are chosen: that of tests/data/context with latents sixteen
times smaller, so that there are ones to choose from, and the output `fractions`.

tests/test_choice.py holds the bytes that it codes a picture to: never write it anew, add another
model instead.

    PYTHONPATH=tests python tests/data/choice/make_choice.py NEW_FOLDER
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import onnx
from context_parameters import random_parameters, to_bytes
from onnx import numpy_helper

from export import fractions

SOURCE = Path(__file__).parent.parent / "context" / "tiny"
FINER = 16
# By channel, about as large as the symbols.
SPREAD = np.array([50, 14, 10, 32, 45, 5, 6, 4, 13, 10, 13, 8]) / FINER
LAMBDA = 0.5


def scaled(model: onnx.ModelProto, name: str, factor: float) -> None:
    """Multiply a constant."""
    (tensor,) = (t for t in model.graph.initializer if t.name == name)
    value = numpy_helper.to_array(tensor) * np.float32(factor)
    tensor.CopyFrom(numpy_helper.from_array(value, name))


def main(folder: Path) -> None:
    folder.mkdir()
    manifest = json.loads((SOURCE / "model.json").read_text(encoding="utf-8"))
    encoder = onnx.load(SOURCE / "encoder.int8.onnx")
    scaled(encoder, "scale", 1 / FINER)
    fractions.add(encoder, manifest["zero"])
    decoder = onnx.load(SOURCE / "decoder.int8.onnx")
    scaled(decoder, "unit", FINER)
    for role, model in (("encoder", encoder), ("decoder", decoder)):
        entry = manifest["graphs"][role]["int8"]
        data = model.SerializeToString(deterministic=True)
        (folder / entry["file"]).write_bytes(data)
        entry["sha256"] = hashlib.sha256(data).hexdigest()
    form = {key: manifest[key] for key in ("channels", "levels", "zero")}
    rng = np.random.default_rng(1)
    parameters = to_bytes(random_parameters(rng, **form, spread=SPREAD, say=0.3))
    (folder / "context.bin").write_bytes(parameters)
    manifest["coders"]["context"]["sha256"] = hashlib.sha256(parameters).hexdigest()
    manifest |= {"name": "tiny-choice", "choice": {"threshold": fractions.threshold(LAMBDA)}}
    text = json.dumps(manifest, sort_keys=True, indent=1, ensure_ascii=False) + "\n"
    (folder / "model.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
