"""Checkpoints: one .npz file, arrays by "group/path" and a JSON record, no pickle, atomic writes.

A full checkpoint has the groups weights, ema, adam_m and adam_v in float32 and resumes bit for
bit. A released one has only the averaged weights ("ema") in float16 and starts a new run.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

META = "meta.json"
NAME = "state.npz"


class CheckpointError(RuntimeError):
    """A checkpoint that is missing, damaged, or of another network; the message names the file."""


@dataclass
class Checkpoint:
    """Groups of arrays by weight path, and the record: settings, step, seconds trained."""

    groups: dict[str, dict[str, np.ndarray]]
    meta: dict[str, Any]

    def averaged(self) -> dict[str, np.ndarray]:
        """The averaged weights as float32: what is evaluated and exported."""
        return {k: v.astype(np.float32) for k, v in self.groups["ema"].items()}


def save(path: str | Path, checkpoint: Checkpoint, *, compress: bool = False) -> None:
    """Write beside the target, sync, rename: an interrupted write leaves the old file whole."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    arrays = {
        f"{group}/{name}": value
        for group, values in checkpoint.groups.items()
        for name, value in values.items()
    }
    record = json.dumps(checkpoint.meta, sort_keys=True).encode()
    arrays[META] = np.frombuffer(record, np.uint8)
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    try:
        with partial.open("wb") as file:
            write = np.savez_compressed if compress else np.savez
            write(file, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def load(path: str | Path) -> Checkpoint:
    """Read a checkpoint file, or the one inside a run folder."""
    file = Path(path)
    if file.is_dir():
        file = file / NAME
    if not file.is_file():
        raise CheckpointError(f"no checkpoint at {file}")
    try:
        with np.load(file, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
        meta = json.loads(arrays.pop(META).tobytes())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"checkpoint {file} is damaged: {error}") from error
    groups: dict[str, dict[str, np.ndarray]] = {}
    for name, value in arrays.items():
        group, _, rest = name.partition("/")
        groups.setdefault(group, {})[rest] = value
    if "ema" not in groups or "settings" not in meta:
        raise CheckpointError(f"checkpoint {file} has no averaged weights or no settings")
    return Checkpoint(groups, meta)


def release(source: str | Path, target: str | Path) -> Path:
    """Write the averaged weights of a checkpoint as float16: small enough to commit. Ranges of
    bytes stay as they are: every weight of a quantised network is a multiple of one."""
    full = load(source)
    _save_half(full.groups["ema"], full.meta, source, target)
    return Path(target)


def release_mean(sources: Sequence[str | Path], target: str | Path) -> Path:
    """Write the mean of several checkpoints' averaged weights as `release` does: of states that a
    run at a constant learning rate has passed, it is better than each (export/README.md). The
    record is that of the last.

    Raises:
        CheckpointError: they are of different networks, or of one that is quantised.
        ValueError: there are none.
    """
    checkpoints = [load(source) for source in sources]
    if not checkpoints:
        raise ValueError("no checkpoints")
    last = checkpoints[-1]
    shapes = {name: value.shape for name, value in last.groups["ema"].items()}
    for source, one in zip(sources, checkpoints, strict=True):
        if {name: value.shape for name, value in one.groups["ema"].items()} != shapes:
            raise CheckpointError(f"checkpoint {source} has other weights than {sources[-1]}")
        if any(name.endswith("/range") for name in shapes):
            raise CheckpointError(f"checkpoint {source} is of a quantised network")
    weights = [one.averaged() for one in checkpoints]
    mean = {
        name: np.mean([each[name] for each in weights], axis=0, dtype=np.float64) for name in shapes
    }
    _save_half(mean, last.meta, sources[-1], target)
    return Path(target)


def _save_half(
    weights: dict[str, np.ndarray], meta: dict[str, Any], source: str | Path, target: str | Path
) -> None:
    half = {k: v if k.endswith("/range") else v.astype(np.float16) for k, v in weights.items()}
    if not all(np.isfinite(v).all() for v in half.values()):
        raise CheckpointError(f"checkpoint {source} has weights that float16 cannot hold")
    save(target, Checkpoint({"ema": half}, meta), compress=True)
