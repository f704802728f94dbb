"""Ctrl-C and requests to end: turned into exceptions, so that every ``finally`` cleans up."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

# While a stopped job cleans up, the same signal again (some tools send it twice) must not cut it
# short; after this long it is meant in earnest.
REPEAT_SECONDS = 2.0


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM, or its terminal went away; Ctrl-Break on Windows)."""


@dataclass
class Stopped:
    """The exception that a signal raised in the block, or None; it may have been swallowed."""

    by: KeyboardInterrupt | None = None


@contextmanager
def stop_signals() -> Iterator[Stopped]:
    """Within the block SIGINT raises `KeyboardInterrupt`, SIGTERM and SIGHUP raise `Terminated`.

    Windows has no SIGHUP; SIGBREAK is what it has for Ctrl-Break and for a console that is closed.

    A library whose start-up is hit turns that into an error of its own ("initialization failed");
    what the block is given tells that it was the signal.

    A signal that the process was started to ignore (``nohup``, a job in the background of a script)
    stays ignored. Does nothing outside the main thread, where Python allows no handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield Stopped()
        return

    stopped = Stopped()
    last = -REPEAT_SECONDS

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < REPEAT_SECONDS:
            return
        last = now
        stopped.by = KeyboardInterrupt() if number == signal.SIGINT else Terminated()
        raise stopped.by

    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {}
    for number in numbers:
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            before[number] = signal.signal(number, stop)
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
