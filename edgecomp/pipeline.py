"""Work side by side with results in order and a bounded number of items in flight."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol, TypeVar

from edgecomp.machine import usable_cpus

__all__ = ["Budget", "Progress", "Silent", "in_order", "side_by_side", "usable_cpus"]

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


class Budget:
    """Something that threads share and that is scarce, such as memory.

    Args:
        limit: how much of it may be held at a time, in any unit.

    Raises:
        ValueError: the limit is negative.
    """

    def __init__(self, limit: int) -> None:
        if limit < 0:
            raise ValueError(f"a limit of {limit}")
        self.limit = limit
        self._held = 0
        self._waiting: deque[object] = deque()
        self._stopped = False
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, amount: int) -> Iterator[None]:
        """Hold an amount within the block; wait until there is so much.

        Who comes first is served first, so that a large amount waits no longer than those before it
        take. One above the limit is granted when nothing else is held. Nothing is held and nobody
        waits for an amount of 0. A thread that holds some must not ask for more: it would wait for
        itself.

        Raises:
            ValueError: the amount is negative.
            CancelledError: `stop` was called before the amount was granted.
        """
        if amount < 0:
            raise ValueError(f"an amount of {amount}")
        granted = 0
        try:
            if amount:
                self._wait_for(amount)
                granted = amount
            yield
        finally:
            with self._changed:
                self._held -= granted
                self._changed.notify_all()

    def holds_only_one(self, amount: int) -> bool:
        """Whether somebody who holds so much leaves no room for another of that amount."""
        return 2 * amount > self.limit

    def stop(self) -> None:
        """Turn away who waits and whoever comes; what is held stays so until it is given back."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _wait_for(self, amount: int) -> None:
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                self._changed.wait_for(lambda: self._stopped or self._is_next(ticket, amount))
                if self._stopped:
                    raise CancelledError("the job that this was held for has ended")
                self._held += amount
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()

    def _is_next(self, ticket: object, amount: int) -> bool:
        fits = self._held == 0 or self._held + amount <= self.limit
        return fits and self._waiting[0] is ticket


def in_order(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    threads: int,
    budget: Budget | None = None,
    stop: Callable[[], object] | None = None,
    discard: Callable[[Result], object] | None = None,
) -> Generator[Result, None, None]:
    """Like ``map``, on ``threads`` threads, with at most ``threads + 2`` items begun ahead.

    Close the generator (``contextlib.closing``) to cancel what has not begun and to wait for what
    has: an interrupt then leaves no thread behind. Where the items are such a generator, give its
    ``close`` as ``stop``.

    Args:
        function: called in the threads.
        items: taken in the calling thread.
        threads: how many.
        budget: that ``function`` holds something of, for this job alone. It is stopped in the end,
            so that after an interrupt nobody waits for a large amount only to work in vain.
        stop: called in the end too, when nothing begins any more, for whatever else ``function``
            may wait for.
        discard: is given each result that is not taken because the generator was closed.
    """
    pending: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="edgecomp")
    try:
        for item in items:
            pending.append(_submitted(pool, function, item))
            if len(pending) >= threads + _AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        # First, so that no thread that is let go begins another item.
        pool.shutdown(wait=False, cancel_futures=True)
        if budget is not None:
            budget.stop()
        if stop is not None:
            stop()
        pool.shutdown(wait=True)
        if discard is not None:
            for future in pending:
                if not future.cancelled() and future.exception() is None:
                    discard(future.result())


def _submitted(
    pool: ThreadPoolExecutor, function: Callable[[Item], Result], item: Item
) -> Future[Result]:
    try:
        return pool.submit(function, item)
    except RuntimeError as error:  # "can't start new thread": there is no memory for its stack
        raise MemoryError(str(error)) from error


def side_by_side(
    function: Callable[[Item], Result], items: Iterable[Item], *, threads: int
) -> Generator[Result, None, None]:
    """Like `in_order`; one thread is the caller's own. To be closed likewise."""
    if threads > 1:
        return in_order(function, items, threads=threads)
    return (function(item) for item in items)
