"""A folder of pictures and other files."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image


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
