"""Writes the frozen models with parameters of the coder `context`, and the vectors of its page.

The models are those of tests/data/models with random parameters (tests/context_parameters.py).
Golden files and docs/format-context.md depend on them: never write them anew, add another model
instead.

    PYTHONPATH=tests python tests/data/context/make_context.py NEW_FOLDER
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import textwrap
from pathlib import Path

import context_reference as reference
import numpy as np
from context_parameters import random_parameters, to_bytes

from edgecomp import native
from edgecomp.entropy import ContextCoder, encode_tile

MODELS = Path(__file__).parent.parent / "models"
# By channel, about as large as the symbols of the pictures of the golden files.
SPREADS = {
    "tiny": np.array([50, 14, 10, 32, 45, 5, 6, 4, 13, 10, 13, 8]),
    "tiny-map": np.array([0.7, 0.3, 0.2, 0.5, 0.5, 0.2, 0.2, 0.2]),
}


def build(name: str, folder: Path) -> reference.Parameters:
    """A frozen model with parameters beside its graphs."""
    shutil.copytree(MODELS / name, folder)
    manifest = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    form = {key: manifest[key] for key in ("channels", "levels", "zero")}
    rng = np.random.default_rng(len(name))
    parameters = random_parameters(
        rng,
        **form,
        reach=1 + manifest["importance_map"],
        spread=SPREADS[name],
        say=0.4 if manifest["importance_map"] else 1.0,
    )
    data = to_bytes(parameters)
    (folder / "context.bin").write_bytes(data)
    entry = {"file": "context.bin", "sha256": hashlib.sha256(data).hexdigest()}
    manifest |= {"name": f"{name}-context", "coders": {"context": entry, "lzma": {}}}
    text = json.dumps(manifest, sort_keys=True, indent=1, ensure_ascii=False) + "\n"
    (folder / "model.json").write_text(text, encoding="utf-8")
    return reference.read_parameters(data)


def vector(
    name: str, p: reference.Parameters, size: tuple[int, int], spread: float, counts: bool | None
) -> str:
    """A random volume, coded by the reference writer. counts: random, none, or all 0 (False)."""
    rng = np.random.default_rng(size[0] * 100 + size[1])
    shape = (p.channels, *size)
    symbols = np.clip(p.zero + np.rint(rng.laplace(0, spread, shape)), 0, p.levels - 1)
    chosen = None
    if counts is not None:
        chosen = (rng.integers(0, p.channels + 1, size) * counts).astype(np.uint8)
        symbols = np.where(np.arange(p.channels)[:, None, None] < chosen, symbols, p.zero)
    symbols = symbols.astype(np.uint8)
    code = reference.encode(symbols, p, chosen)
    trace: list[tuple[int, int]] = []
    reference.walk(reference.RangeDecoder(code), p, shape, chosen, trace)
    lines = [f"model {name}", f"shape {shape[0]} {shape[1]} {shape[2]}"]
    if chosen is not None:
        lines.append(f"counts {chosen.tobytes().hex()}")
    lines.append(f"symbols {symbols.tobytes().hex()}")
    if trace:
        lines.append("last " + " ".join(f"{mean},{scale}" for mean, scale in trace[-8:]))
    lines.append(f"code {code.hex()}")
    if chosen is not None:
        coder = ContextCoder(native.context_parameters(to_bytes(p)))
        tile = encode_tile(coder, symbols, levels=p.levels, zero=p.zero, counts=chosen)
        lines.append(f"tile {tile.hex()}")
    wrapped = [
        textwrap.fill(line.strip(), 104, subsequent_indent="    ", break_on_hyphens=False)
        for line in lines
    ]
    return "```vector\n" + "\n".join(wrapped) + "\n```\n"


def main(target: Path) -> None:
    tiny, tiny_map = (build(name, target / name) for name in SPREADS)
    for text in (
        vector("tiny", tiny, (3, 4), 6.0, None),
        vector("tiny-map", tiny_map, (4, 5), 0.4, True),
        vector("tiny-map", tiny_map, (3, 2), 0.8, None),
        vector("tiny-map", tiny_map, (2, 2), 0.8, False),
    ):
        print(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
