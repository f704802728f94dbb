"""``edgecomp compress`` and ``edgecomp decompress`` of a folder, as whole processes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edgecomp.evaluation.methods import UnavailableError


@dataclass(frozen=True, slots=True)
class Command:
    """How the command is called for a row: quality and coder, and what is the same for all rows."""

    quality: str
    coder: str
    threads: int
    model: str | None = None
    backend: str = "onnx"
    precision: str = "auto"


@dataclass(frozen=True, slots=True)
class CommandResult:
    """Bytes of the archive on disk, pictures that were kept as they are, seconds each way."""

    bytes: int
    verbatim: int
    seconds_compress: float
    seconds_decompress: float


def run_commands(command: Command, folder: Path, scratch: Path) -> CommandResult:
    """Compress a folder and restore it.

    Args:
        command: at which quality, by which coder.
        folder: of pictures, and nothing else.
        scratch: where archive and restored pictures are written for a while.

    Raises:
        UnavailableError: one of the commands failed; its own words say why.
    """
    with TemporaryDirectory(dir=scratch) as work:
        archive = Path(work, "pictures.ecz")
        common = ["--backend", command.backend, "--precision", command.precision]
        common += ["--threads", str(command.threads), "--max-pixels", "1000000"]
        if command.model is not None:
            common += ["--model", command.model]
        words = ["compress", str(folder), "-o", str(archive), "--coder", command.coder, *common]
        if command.model is None:
            words += ["-q", command.quality]
        summary, seconds_compress = _edgecomp(words)
        words = ["decompress", str(archive), "-o", str(Path(work, "restored")), *common]
        _, seconds_decompress = _edgecomp(words)
        return CommandResult(
            bytes=archive.stat().st_size,
            verbatim=len(summary["verbatim"]),
            seconds_compress=seconds_compress,
            seconds_decompress=seconds_decompress,
        )


def _edgecomp(words: Sequence[str]) -> tuple[dict[str, Any], float]:
    """What a command reports, and its seconds from start to end."""
    start = time.perf_counter()
    # The interpreter that runs this, in a process of its own: -m finds the same package.
    done = subprocess.run(
        [sys.executable, "-m", "edgecomp", *words, "--json"], capture_output=True, check=False
    )
    seconds = time.perf_counter() - start
    try:
        summary = json.loads(done.stdout)
    except ValueError:
        summary = {}
    if done.returncode != 0 or not isinstance(summary, dict):
        said = summary.get("error") if isinstance(summary, dict) else None
        told = said or done.stderr.decode(errors="replace").strip() or f"exit {done.returncode}"
        raise UnavailableError(f"edgecomp {words[0]} failed: {told}")
    return summary, seconds
