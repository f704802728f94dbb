"""A Dask cluster, as far as edgecomp uses one: connect, ask workers, wait for what they say.

The package distributed is imported when a cluster is connected to. Whatever it raises becomes
`ClusterError` (there is no going on) or `RequestError` (one request has failed).
"""

from __future__ import annotations

import contextlib
import importlib
import threading
import time
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future
from functools import partial
from operator import methodcaller
from types import TracebackType
from typing import Any, Final

from edgecomp.errors import BackendUnavailableError, ClusterError, UsageError
from edgecomp.names import printable

# How long the scheduler may take to answer: at the start, and when it has work to do.
CONNECT_SECONDS: Final = 10.0
_BUSY_SECONDS: Final = 60.0
# How long a cluster without workers is waited for.
WORKERS_SECONDS: Final = 30.0
_CLOSE_SECONDS: Final = 5.0
# How often it is looked whether there are workers, and whether the connection is still there; and
# how often at the start.
_LOOK_SECONDS: Final = 5.0
_FIRST_LOOK_SECONDS: Final = 0.25
_SETTINGS: Final = {
    # Pictures are sent with their requests on purpose: a request outlives the worker that has it.
    "distributed.admin.large-graph-warning-threshold": "1 TiB",
}
_LOST: Final = "scheduler-connection-lost"


class RequestError(Exception):
    """A request has failed, or has been given up; the cluster may be well.

    Attributes:
        unknown: whether what was asked for is not installed there.
    """

    def __init__(self, message: str, *, unknown: bool = False) -> None:
        super().__init__(message)
        self.unknown = unknown


class Cluster:
    """A connection to a scheduler; to be used as a context manager. Safe to use from several
    threads at once.

    Args:
        address: of the scheduler, "tcp://host:port" or "tls://host:port".

    Raises:
        BackendUnavailableError: the package distributed is not installed.
        UsageError: that is no address.
        ClusterError: the cluster cannot be reached, or has no workers.
    """

    def __init__(self, address: str) -> None:
        self.address = printable(address)
        self._name = address
        self._stack = contextlib.ExitStack()
        self._lock = threading.Lock()
        self._open: set[Future[Any]] = set()
        self._stopped = False
        self._failure: ClusterError | None = None

    def __enter__(self) -> Cluster:
        try:
            import dask
            import distributed
        except ImportError as error:
            raise BackendUnavailableError(
                f"a Dask cluster needs the package distributed ({error}); install it with:"
                " pip install 'edgecomp[dask]'"
            ) from error
        with self._stack as stack:
            stack.enter_context(dask.config.set(_SETTINGS))
            self._greet(distributed)
            try:
                self._client: Any = distributed.Client(
                    self._name, timeout=CONNECT_SECONDS, set_as_default=False
                )
            except Exception as error:
                raise self._unreachable(error) from error
            stack.callback(self._close)
            self._wait_for_workers()
            self._client.loop.add_callback(self._watch)
            self._stack = stack.pop_all()
        return self

    def _greet(self, distributed: Any) -> None:
        """See that a scheduler answers, before a client is made: one whose connecting fails in an
        unforeseen way (anything may be at an address) cannot be closed properly."""
        from tornado.ioloop import IOLoop

        async def ask() -> dict[str, Any]:
            arguments = distributed.Security().get_connection_args("client")
            async with distributed.rpc(
                self._name, timeout=CONNECT_SECONDS, connection_args=arguments
            ) as scheduler:
                told: dict[str, Any] = await scheduler.identity()
            return told

        told: Future[dict[str, Any]] = Future()

        def run() -> None:
            loop = IOLoop(make_current=False)
            try:
                told.set_result(loop.run_sync(ask, timeout=CONNECT_SECONDS + 1))
            except BaseException as error:
                told.set_exception(error)
            finally:
                loop.close(all_fds=True)

        # A thread that runs a loop already, as that of a notebook does, could not run another.
        threading.Thread(target=run, name="edgecomp-greeting", daemon=True).start()
        try:
            found = told.result()
        except ValueError as error:
            raise UsageError(
                f"{self.address!r} is no address of a Dask scheduler, such as tcp://host:8786"
                f" ({error})"
            ) from error
        except Exception as error:  # whatever is made of what answers
            raise self._unreachable(error) from error
        if not isinstance(found, dict) or found.get("type") != "Scheduler":
            raise ClusterError("this is no Dask scheduler", path=self.address)

    def _wait_for_workers(self) -> None:
        until = time.monotonic() + WORKERS_SECONDS
        while not self.threads():
            if time.monotonic() > until:
                raise self._no_workers()
            time.sleep(_FIRST_LOOK_SECONDS)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        self._stack.close()

    def _close(self) -> None:
        # What was asked for and is not done yet is forgotten with the client.
        with contextlib.suppress(Exception):
            self._client.close(timeout=_CLOSE_SECONDS)

    def stop(self) -> None:
        """Let whoever waits for an answer give up, with CancelledError."""
        with self._lock:
            self._stopped = True
        self._give_up()

    def fail(self, failure: ClusterError) -> ClusterError:
        """Let whoever waits for an answer give up for this reason; the first that was given."""
        with self._lock:
            self._failure = first = self._failure or failure
        self._give_up()
        return first

    def _give_up(self) -> None:
        with self._lock:
            open_ones = list(self._open)
        for told in open_ones:
            told.cancel()

    def check(self) -> None:
        """See that there is a going on.

        Raises:
            ClusterError: the connection is lost, there are no workers, or `fail` was called.
            CancelledError: `stop` was called.
        """
        if self._stopped:
            raise CancelledError("the job that this was asked for has ended")
        if self._failure is not None:
            raise self._failure

    def threads(self) -> dict[str, int]:
        """How many threads each worker has, by its address.

        Raises:
            ClusterError: the scheduler does not answer.
            CancelledError: `stop` was called.
        """
        found: dict[str, int] = self.result(self._begin(self._count))
        return found

    async def _count(self) -> dict[str, int]:
        import asyncio  # Dask has loaded it by now; without a cluster nobody needs it

        try:
            asked = self._client.scheduler.ncores(workers=None)
            found = await asyncio.wait_for(asked, _BUSY_SECONDS)
        except Exception as error:
            raise self._lost(error) from error
        return {str(address): int(count) for address, count in found.items()}

    async def _watch(self) -> None:
        """From time to time see whether the scheduler answers and whether there are workers. On the
        client's own loop, since a thread in a call of Dask cannot be told to give up."""
        import asyncio

        empty_since = None
        while not (self._stopped or self._failure):
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                found = await self._count()
            except ClusterError:  # all know it already
                return
            now = time.monotonic()
            if found:
                empty_since = None
            elif empty_since is None:
                empty_since = now
            elif now - empty_since > WORKERS_SECONDS:
                self.fail(self._no_workers())

    def submit(
        self,
        module: str,
        function: str,
        request: dict[str, Any],
        *,
        worker: str | None = None,
    ) -> Future[Any]:
        """Ask for something; see `result`.

        Args:
            module: of edgecomp. Its name is sent, and the worker imports it: were the function
                itself sent, a scheduler without edgecomp could not pass it on, and a worker without
                it would break down where it now says so.
            function: of that module.
            request: its argument, of plain values.
            worker: which is to answer; None for any.

        Raises:
            ClusterError: the connection is lost, or `fail` was called.
            CancelledError: `stop` was called.
        """
        import toolz  # which comes with Dask

        self.check()
        try:
            asked = self._client.submit(
                toolz.compose(methodcaller(function, request), importlib.import_module),
                module,
                key=f"edgecomp-{uuid.uuid4().hex}",
                workers=None if worker is None else [worker],
                allow_other_workers=False,
                pure=False,
            )
        except Exception as error:
            raise self._lost(error) from error
        # From the worker that has the answer; Dask asks for it again if that worker is lost. (A
        # blocking call would hear of nothing else all the time.)
        return self._begin(partial(self._client.gather, asked, asynchronous=True))

    def _begin(self, work: Callable[[], Awaitable[Any]]) -> Future[Any]:
        """Let the client's loop do something; each who waits for it is woken by that alone."""
        told: Future[Any] = Future()
        with self._lock:
            ended = self._stopped or self._failure is not None
            if not ended:
                self._open.add(told)
        if ended:
            told.cancel()
            return told
        told.add_done_callback(self._forget)
        try:
            self._client.loop.add_callback(_settle, work, told)
        except Exception as error:
            raise self._lost(error) from error
        return told

    def _forget(self, told: Future[Any]) -> None:
        with self._lock:
            self._open.discard(told)

    def result(self, told: Future[Any], *, until: float | None = None) -> Any:
        """Wait for the answer to what was submitted.

        Args:
            told: what `submit` gave.
            until: when to give up, in the time of ``time.monotonic``; None for never.

        Raises:
            RequestError: it has failed, or was given up.
            ClusterError: the connection is lost, or there are no workers any more, or `fail` was
                called.
            CancelledError: `stop` was called.
        """
        left = None if until is None else max(0.0, until - time.monotonic())
        with contextlib.suppress(CancelledError, TimeoutError):
            told.exception(left)
        self.check()
        if not told.done():
            raise RequestError("no answer in time")
        return self._outcome(told)

    def _outcome(self, told: Future[Any]) -> Any:
        try:
            return told.result()
        except CancelledError as error:
            if self._client.status != "running" or getattr(error, "reason", _LOST) == _LOST:
                raise self._lost(error) from error
            raise RequestError(f"it was cancelled ({error})") from error
        except Exception as error:  # of the task, or of Dask
            if self._client.status != "running":
                raise self._lost(error) from error
            what = f"{type(error).__name__}: {_words(error)}"
            raise RequestError(what, unknown=isinstance(error, ImportError)) from error

    def _no_workers(self) -> ClusterError:
        seconds = round(WORKERS_SECONDS)
        return ClusterError(f"the cluster has had no workers for {seconds} s", path=self.address)

    def _lost(self, error: Exception) -> ClusterError:
        what = f"the connection to the cluster is lost ({_words(error)})"
        return self.fail(ClusterError(what, path=self.address))

    def _unreachable(self, error: Exception) -> ClusterError:
        return ClusterError(f"the cluster cannot be reached ({_words(error)})", path=self.address)


async def _settle(work: Callable[[], Awaitable[Any]], told: Future[Any]) -> None:
    answer, problem = None, None
    try:
        answer = await work()
    except BaseException as error:
        problem = error
    if not told.set_running_or_notify_cancel():
        return  # whoever asked has given up
    if problem is None:
        told.set_result(answer)
    else:
        told.set_exception(problem)


def _words(error: BaseException) -> str:
    """What an error says, on one line, fit for any output."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text.encode("utf-8", "backslashreplace").decode()
