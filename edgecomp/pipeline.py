"""Work side by side with results in order and a bounded number of items in flight."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# More than the threads, so that none waits while the results are written.
_AHEAD = 2


class Progress(Protocol):
    """Hears how a folder job goes on. All calls come from the thread that started the job."""

    def start(self, total_items: int, total_bytes: int, /) -> None:
        """The job begins; bytes are those of the sources or of the archive."""

    def advance(self, name: str, size: int, /) -> None:
        """One item of ``size`` bytes is done."""

    def finish(self) -> None:
        """The job is over, well or not."""


class Silent:
    """A Progress that says nothing."""

    def start(self, total_items: int, total_bytes: int, /) -> None:
        """Ignored."""

    def advance(self, name: str, size: int, /) -> None:
        """Ignored."""

    def finish(self) -> None:
        """Ignored."""


def usable_cpus() -> int:
    """How many processors this process may use: affinity and control group's quota counted."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quota = _cgroup_quota()
    return max(1, count if quota is None else min(count, quota))


def _cgroup_quota(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Whole processors of the control group's quota, rounded up; None if there is no quota."""
    try:
        limit, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            limit = (root / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu" / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if not limit.isdigit() or not period.isdigit() or int(period) == 0:
        return None  # "max" or -1: no quota
    return max(1, -(-int(limit) // int(period)))


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], *, threads: int
) -> Generator[Result, None, None]:
    """Like ``map``, on ``threads`` threads, with at most ``threads + 2`` items begun ahead.

    Close the generator (``contextlib.closing``) to cancel what has not begun and to wait for what
    has: an interrupt then leaves no thread behind.
    """
    pending: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="edgecomp")
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= threads + _AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
