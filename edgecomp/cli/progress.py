"""The progress bar: on a terminal only, gone when the job ends."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edgecomp.cli.printing import is_terminal

_MAX_COLUMNS = 100
_FORMAT_START = "{desc}  {percentage:3.0f}% |{bar}|"
_FORMAT = "{desc}  {percentage:3.0f}% |{bar}| {n_fmt}B/{total_fmt}B, {rate_fmt}, {remaining} left"
_FORMAT_ITEMS = "{desc}  {percentage:3.0f}% |{bar}| {rate_fmt}, {remaining} left"


class Bar:
    """A `Progress` for the folder jobs: how far, how fast, how long to go.

    The time left comes from the bytes, because pictures differ in size; where their sizes are
    unknown, from the number of pictures. `advance` may be called from any thread.

    Args:
        unit: what is counted.
    """

    def __init__(self, unit: str = "files") -> None:
        self._unit = unit
        self._bar: Any = None
        self._lock = threading.Lock()
        self._items = 0
        self._done = 0
        self._by_bytes = False

    def start(self, total_items: int, total_bytes: int) -> None:
        """The job knows how much there is to do."""
        from tqdm import tqdm

        # tqdm's own defaults start a watching thread and a lock shared between processes.
        tqdm.monitor_interval = 0
        tqdm.set_lock(threading.RLock())
        self.finish()
        self._items, self._done = total_items, 0
        self._by_bytes = total_bytes > 0
        self._bar = tqdm(
            total=total_bytes if self._by_bytes else total_items,
            desc=self._count(),
            unit="B" if self._by_bytes else f" {self._unit}",
            unit_scale=self._by_bytes,
            unit_divisor=1000,
            bar_format=_FORMAT_START,
            leave=False,
            ncols=_columns(),
            file=sys.stderr,
        )

    def advance(self, name: str, size: int) -> None:
        """One more file is done; `name` is not shown, it would flicker."""
        with self._lock:
            if self._bar is None:
                return
            self._done += 1
            self._bar.ncols = _columns()
            self._bar.bar_format = _FORMAT if self._by_bytes else _FORMAT_ITEMS
            self._bar.set_description_str(self._count(), refresh=False)
            self._bar.update(size if self._by_bytes else 1)

    def finish(self) -> None:
        """Take the bar off the screen; harmless when it is not there."""
        with self._lock:
            if self._bar is not None:
                self._bar.close()
                self._bar = None

    def _count(self) -> str:
        return f"{self._done}/{self._items} {self._unit}"


@contextmanager
def progress_bar(*, wanted: bool, unit: str = "files") -> Iterator[Bar | None]:
    """A bar if it is wanted and standard error is a terminal, else None; never left behind."""
    if not wanted or not _on_terminal():
        yield None
        return
    bar = Bar(unit)
    try:
        yield bar
    finally:
        bar.finish()


def _columns() -> int:
    """Width of the bar; room is left for the ^C that a terminal shows behind it."""
    try:
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):
        columns = 80
    return min(_MAX_COLUMNS, (columns or 80) - 4)


def _on_terminal() -> bool:
    return sys.stderr is not None and is_terminal(sys.stderr)


@contextmanager
def waiting(text: str, *, wanted: bool) -> Iterator[None]:
    """Says on a terminal what takes a while; gone when the block ends.

    Args:
        text: one short line.
        wanted: whether to say it.
    """
    shown = wanted and _on_terminal()
    if shown:
        sys.stderr.write(text)
        sys.stderr.flush()
    try:
        yield
    finally:
        if shown:
            sys.stderr.write("\r" + " " * len(text) + "\r")
            sys.stderr.flush()
