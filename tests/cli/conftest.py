"""A folder of pictures, and the command line as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import edgecomp

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]

ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(Path(edgecomp.__file__).parents[1]),
    "PYTHONUTF8": "1",
    "COLUMNS": "100",
}
ENVIRONMENT.pop("PYTHONWARNINGS", None)
COMMAND = [sys.executable, "-m", "edgecomp"]


@pytest.fixture
def process(tmp_path: Path) -> Run:
    """Run ``python -m edgecomp`` in the test's folder and wait for it."""

    def run(
        *words: str, stdin: bytes | None = None, **variables: str
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*COMMAND, *words],
            cwd=tmp_path,
            env={**ENVIRONMENT, **variables},
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=60,
        )

    return run


@pytest.fixture
def folder(tmp_path: Path, photo: Image.Image) -> Path:
    """Two pictures, one of them in a folder with an unusual name, a text, a broken picture."""
    root = tmp_path / "my photos"
    (root / "лето 夏").mkdir(parents=True)
    photo.save(root / "a.png")
    photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(root / "лето 夏" / "дом №1.png")
    (root / "notes.txt").write_text("where we were\n" * 50)
    (root / "broken.jpg").write_text("this is no picture\n")
    return root
