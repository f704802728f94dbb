"""model.json: what a model folder holds, with the hash of every file; its own hash is the id."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import onnx

from export.networks.edge import EdgeConfig, Trunk

SCHEMA = 1
NAME = "model.json"


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def trunk_parameters(trunk: Trunk, first: int, last: int) -> int:
    """Weights and biases of one folded trunk and the linear path beside it. Each weight of a
    convolution is used once a position, so without the biases this is also the multiply-adds."""
    return (
        trunk_products(trunk, first, last)
        + trunk.width * (1 + len(trunk.blocks))
        + sum(reduced + inner for reduced, inner in trunk.blocks)
        + 2 * last
    )


def trunk_products(trunk: Trunk, first: int, last: int) -> int:
    """Multiply-adds a position of one folded trunk and the linear path beside it."""
    ends = first * trunk.width * trunk.head**2 + trunk.width * last * trunk.tail**2
    blocks = sum(trunk.width * (a + b) + 9 * a * b for a, b in trunk.blocks)
    return ends + blocks + first * last


def metadata(config: EdgeConfig, name: str, quality: str) -> dict[str, Any]:
    """The facts that the graphs' metadata repeats."""
    return {
        "name": f"{name}-{quality.lower()}",
        "quality": quality,
        "stride": config.patch,
        "channels": config.latents,
        "levels": 256,
        "zero": 128,
    }


def tag(model: onnx.ModelProto, facts: dict[str, Any]) -> None:
    """Put the facts into the graph's metadata_props."""
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {k: str(v) for k, v in sorted(facts.items())})


def write(folder: Path, config: EdgeConfig, network: str, quality: str) -> bytes:
    """Write model.json for the graphs and the SavedModel in ``folder``; returns the model id."""
    graphs = {
        part: {
            precision: {
                "file": f"{part}.{precision}.onnx",
                "sha256": digest(folder / f"{part}.{precision}.onnx"),
            }
            for precision in ("int8", "fp32")
        }
        for part in ("encoder", "decoder")
    }
    saved = sorted(p for p in (folder / "saved_model").rglob("*") if p.is_file())
    sizes = {
        "encoder": (config.encoder, config.values, config.latents),
        "decoder": (config.decoder, config.latents, config.values),
    }
    record = {
        "schema": SCHEMA,
        "network": network,
        **metadata(config, network, quality),
        "importance_map": False,
        "gains": 1,
        "coders": {"lzma": {}},
        "graphs": graphs,
        "saved_model": {p.relative_to(folder).as_posix(): digest(p) for p in saved},
        "parameters": {k: trunk_parameters(*v) for k, v in sizes.items()},
        "multiply_adds_per_pixel": {
            k: round(trunk_products(*v) / config.patch**2, 1) for k, v in sizes.items()
        },
    }
    text = json.dumps(record, sort_keys=True, indent=1, ensure_ascii=False) + "\n"
    (folder / NAME).write_bytes(text.encode("utf-8"))
    return hashlib.sha256(text.encode("utf-8")).digest()[:8]
