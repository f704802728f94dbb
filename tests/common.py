"""What several test modules share."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent
DATA = Path(__file__).parent / "data"
