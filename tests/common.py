"""What several test modules share."""

from __future__ import annotations

import signal
from pathlib import Path

ROOT = Path(__file__).parent.parent
DATA = Path(__file__).parent / "data"


def listening() -> None:
    """For a new process, before its program starts (``preexec_fn``): tests run in the background
    or under nohup would hand on that signals are ignored."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
