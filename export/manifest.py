"""model.json: what a model folder holds, with the hash of every file; its own hash is the id."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx

from export.graphs import Facts

SCHEMA = 1
VERSION = 1  # of what the graphs take and give
NAME = "model.json"
PRECISIONS = ("int8", "fp32")
TAGGED = ("stride", "channels", "levels", "zero", "scales")


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def metadata(facts: Facts, name: str, quality: str) -> dict[str, Any]:
    """The facts that the graphs' metadata repeats; the runtime compares them at load."""
    named = {"name": f"{name}-{quality.lower()}", "quality": quality}
    tagged = {key: value for key, value in asdict(facts).items() if key in TAGGED}
    return named | {"version": VERSION} | tagged


def tag(model: onnx.ModelProto, entries: dict[str, Any]) -> None:
    """Put the entries into the graph's metadata_props."""
    del model.metadata_props[:]
    texts = {
        key: " ".join(map(repr, value)) if isinstance(value, tuple) else str(value)
        for key, value in sorted(entries.items())
    }
    onnx.helper.set_model_props(model, texts)


def write(
    folder: Path,
    facts: Facts,
    network: str,
    name: str,
    quality: str,
    precisions: tuple[str, ...] = PRECISIONS,
    *,
    choice: int | None = None,
) -> bytes:
    """Write model.json for the graphs and the SavedModel in ``folder``; returns the model id.
    ``choice``: the threshold for choosing symbols, of encoders with the output for it."""
    graphs = {
        part: {
            precision: {
                "file": f"{part}.{precision}.onnx",
                "sha256": digest(folder / f"{part}.{precision}.onnx"),
            }
            for precision in precisions
        }
        for part in ("encoder", "decoder")
    }
    saved = sorted(p for p in (folder / "saved_model").rglob("*") if p.is_file())
    record = {
        "schema": SCHEMA,
        "network": network,
        **metadata(facts, name, quality),
        **asdict(facts),
        "gains": 1,
        "coders": {"lzma": {}},
        "graphs": graphs,
        "saved_model": {p.relative_to(folder).as_posix(): digest(p) for p in saved},
    }
    if choice is not None:
        record["choice"] = {"threshold": choice}
    return save(folder, record)


def save(folder: Path, record: dict[str, Any]) -> bytes:
    """Write a manifest as it is; returns the model id."""
    text = json.dumps(record, sort_keys=True, indent=1, ensure_ascii=False) + "\n"
    (folder / NAME).write_bytes(text.encode("utf-8"))
    return hashlib.sha256(text.encode("utf-8")).digest()[:8]
