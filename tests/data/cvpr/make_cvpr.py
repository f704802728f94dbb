"""Writes the frozen model of the network `cvpr` (needs the packages of the extra `export`).

It is a small one with random weights, as `export.to_onnx` makes it of a checkpoint: strided and
polyphase convolutions, residual groups, an importance map, six levels, int8 and fp32 graphs; beside
them random parameters of the coder `context`. The SavedModel, which only TensorFlow needs, is left
out. What other machines have made with it is compared by its hashes (docs/arm-proof.log): never
write it anew, add another model instead.

    PYTHONPATH=.:tests:tests/export python tests/data/cvpr/make_cvpr.py NEW_FOLDER
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from context_parameters import random_parameters, to_bytes
from PIL import Image

ROOT = Path(__file__).resolve().parents[3]
PHOTOS = ROOT / "examples" / "photos"
NETWORK = {
    "kind": "cvpr",
    "bottleneck": 6,
    "encoder": {"first": 8, "width": 12, "groups": [[12, 12], [12]], "last": 12},
    "decoder": {"first": 8, "width": 12, "groups": [[12], [12]], "last": 12},
    "context": {"width": 4},
}


def write_run(folder: Path) -> None:
    """A checkpoint of the network with random weights."""
    os.environ["KERAS_BACKEND"] = "jax"
    from tests.export.test_cvpr_export import write_run as write

    write(NETWORK, folder)


def write_pictures(folder: Path) -> None:
    """Crops of photographs, to calibrate on."""
    folder.mkdir()
    for path in sorted(PHOTOS.glob("*.png")):
        Image.open(path).crop((200, 150, 376, 334)).save(folder / path.name)


def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        write_run(scratch / "run")
        write_pictures(scratch / "pictures")
        command = [sys.executable, "-m", "export.to_onnx", scratch / "run", "--out", scratch / "M",
                   "--data", scratch / "pictures", "--calibrate", "3"]  # fmt: skip
        subprocess.run(
            command, cwd=ROOT, env=os.environ | {"KERAS_BACKEND": "tensorflow"}, check=True
        )
        shutil.rmtree(scratch / "M" / "saved_model")
        shutil.copytree(scratch / "M", folder)
    manifest = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    form = {key: manifest[key] for key in ("channels", "levels", "zero")}
    parameters = to_bytes(random_parameters(np.random.default_rng(6), **form, reach=2, spread=1.0))
    (folder / "context.bin").write_bytes(parameters)
    entry = {"file": "context.bin", "sha256": hashlib.sha256(parameters).hexdigest()}
    manifest |= {"name": "tiny-cvpr", "coders": {"context": entry, "lzma": {}}, "saved_model": {}}
    text = json.dumps(manifest, sort_keys=True, indent=1, ensure_ascii=False) + "\n"
    (folder / "model.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
