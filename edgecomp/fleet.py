"""Pictures coded by the workers of a Dask cluster, to the bytes that this machine would make.

Files stay here: a worker is sent the bytes of one picture, and sends the codestream back. What it
cannot do is done here, and what is refused, this machine refuses.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

from edgecomp._version import VERSION
from edgecomp.choices import safe_precision
from edgecomp.cluster import Cluster, RequestError
from edgecomp.codec import Codec
from edgecomp.codestream import Origin, parse
from edgecomp.entropy import coder_name
from edgecomp.errors import ClusterError, EdgecompError, UsageError
from edgecomp.fleet_probe import probes
from edgecomp.fleet_task import Recipe, libraries
from edgecomp.machine import usable_memory
from edgecomp.models import load_model, shipped_model
from edgecomp.picture_coder import Coded, PictureCoder
from edgecomp.pictures import open_picture
from edgecomp.pipeline import Budget
from edgecomp.sending import NotCodedError

# Larger files are coded here: every machine on the way holds all of one.
SENT_BYTES: Final = 1 << 26
# How long workers may take to load the model, or to end what they do for others, at the start.
_CHECK_SECONDS: Final = 60.0
# Pictures on their way for each thread that codes: one is coded, one waits for its turn.
_PER_THREAD: Final = 2
_MAX_AHEAD: Final = 512
# While it is sent a file is here as it was read, as it is packed for sending, and as it is sent.
_COPIES: Final = 3


def check_options(address: str, backend: str) -> None:
    """See early whether a cluster can be used.

    Raises:
        UsageError: it cannot.
    """
    if not address.strip():
        raise UsageError("the address of the Dask cluster is empty")
    if backend != "onnx":
        raise UsageError(
            f"a Dask cluster runs the networks in onnx; the backend {backend} does not give the"
            " same bytes on every machine"
        )


def settled_precision(precision: str, quality: str, model: str | os.PathLike[str] | None) -> str:
    """The precision that all machines use: "auto" may be another on each.

    Raises:
        ModelError: no such model.
    """
    if precision != "auto":
        return precision
    chosen = shipped_model(quality) if model is None else load_model(os.fspath(model))
    return safe_precision(chosen.precisions)


class Fleet:
    """Workers that code pictures; a `sending.Elsewhere`. Safe to use from several threads.

    Args:
        cluster: connected.
        recipe: that its workers follow (`open_fleet` sees to it).
        threads: of all workers together.

    Attributes:
        largest: size in bytes of the largest file that workers are sent.
        ahead: how many pictures are best on their way at a time.
    """

    def __init__(self, cluster: Cluster, recipe: Recipe, threads: int) -> None:
        self._cluster = cluster
        self._recipe = recipe
        self._fields = recipe.to_wire()
        self._budget = Budget(usable_memory() // 4)
        self.largest = SENT_BYTES
        self.ahead = min(_MAX_AHEAD, _PER_THREAD * max(1, threads))

    def room(self, size: int) -> AbstractContextManager[None]:
        """Within the block a file of so many bytes may be in memory; waits until it may."""
        return self._budget.hold(_COPIES * size)

    def check(self) -> None:
        """See that there is a going on.

        Raises:
            ClusterError: there is none.
        """
        self._cluster.check()

    def stop(self) -> None:
        """Let all threads that wait for room, or for an answer, give up."""
        self._budget.stop()
        self._cluster.stop()

    def code(self, data: bytes, *, name: str, origin: Origin) -> Coded:
        """What `PictureCoder.code` gives for the bytes of a file.

        Raises:
            UnsupportedPictureError: this machine refuses the picture, without asking others.
            NotCodedError: this machine has to code it; it says why.
            ClusterError: there is no going on.
        """
        image = open_picture(io.BytesIO(data), name=name, max_pixels=self._recipe.max_pixels)
        pixels = image.width * image.height
        del image
        picture = {
            "name": "picture" + os.path.splitext(name)[1],  # names stay here
            "data": data,
            "suffix": origin.suffix,
            "mtime_ns": origin.mtime_ns,
            "name_check": origin.name_check,
        }
        try:
            reply = self._ask(picture)
        except RequestError as error:
            if error.unknown:
                self._check_again()
            raise NotCodedError(f"the cluster could not code it ({error})") from error
        if "kept" in reply:
            return Coded(kept=str(reply["kept"]))
        if "codestream" in reply and self._is_right(reply["codestream"], origin, pixels):
            return Coded(reply["codestream"], pixels)
        why = reply.get("refused", "it gave something else back")
        raise NotCodedError(f"worker {reply.get('worker')} could not code it ({why})")

    def _check_again(self) -> None:
        """A worker has joined that does not know edgecomp: which one, asking all of them tells.

        Raises:
            ClusterError: one does not fit. Nobody waits for the others then.
        """
        try:
            _check_workers(self._cluster, self._recipe)
        except ClusterError as failure:
            raise self._cluster.fail(failure) from failure

    def _ask(self, picture: dict[str, Any]) -> dict[str, Any]:
        """What a worker says of a picture.

        Raises:
            RequestError, ClusterError: see `Cluster.result`; ClusterError also where the worker
                would make other bytes.
        """
        asked = _submit(self._cluster, {"recipe": self._fields, "picture": picture})
        reply = self._cluster.result(asked)
        if not isinstance(reply, dict):
            raise RequestError("no answer that can be understood")
        if "unfit" in reply:
            raise self._cluster.fail(_unfit(reply.get("worker"), reply["unfit"]))
        return reply

    def _is_right(self, codestream: object, origin: Origin, pixels: int) -> bool:
        """Whether these are the bytes of a picture like that one, whole."""
        if not isinstance(codestream, bytes):
            return False
        try:
            stream = parse(codestream)
            stream.check_tiles()
            stream.check_sections()
        except EdgecompError:
            return False
        same_model = stream.model_id.hex() == self._recipe.model_id
        same_size = stream.width * stream.height == pixels
        return same_model and same_size and stream.origin == origin


@contextmanager
def open_fleet(
    address: str, codec: Codec, *, folder: str | None, max_pixels: int | None
) -> Iterator[Fleet]:
    """Connect to a cluster and see that its workers make the bytes that this machine would make.

    Args:
        address: of its scheduler.
        codec: that this machine codes with.
        folder: of its model, if that is none of those that ship.
        max_pixels: larger pictures are refused; None for no limit.

    Raises:
        BackendUnavailableError: the package distributed is not installed.
        UsageError: that is no address.
        ClusterError: the cluster cannot be reached, has no workers, or a worker does not fit.
    """
    with Cluster(address) as cluster:
        recipe = _recipe(codec, folder, max_pixels)
        _check_workers(cluster, recipe)
        yield Fleet(cluster, recipe, sum(cluster.threads().values()))


def _recipe(codec: Codec, folder: str | None, max_pixels: int | None) -> Recipe:
    precision = codec.backend.precision
    coder = PictureCoder(codec, None, budget=Budget(usable_memory() // 2))
    return Recipe(
        version=VERSION,
        model_id=codec.model_id.hex(),
        folder=None if folder is None else os.path.abspath(folder),
        coder=coder_name(codec.coder_id),
        precision=precision,
        max_pixels=max_pixels,
        # Sums of floats are rounded otherwise on other processors, and nobody promises the same.
        probes=probes(coder) if precision == "int8" else (),
    )


def _check_workers(cluster: Cluster, recipe: Recipe) -> None:
    """See that every worker can follow a recipe. Those that do not say so in time are left to it:
    each request asks again.

    Raises:
        ClusterError: one cannot, or none has answered.
    """
    request = {"recipe": recipe.to_wire(), "picture": None}
    asked = {w: _submit(cluster, request, worker=w) for w in sorted(cluster.threads())}
    until = time.monotonic() + _CHECK_SECONDS
    answered, failure = 0, ""
    for worker, question in asked.items():
        try:
            reply = cluster.result(question, until=until)
        except RequestError as error:
            if error.unknown:
                what = "edgecomp is missing there, or is older than --dask"
                raise _unfit(worker, f"{what} ({error})") from error
            failure = str(error)
            continue
        if not isinstance(reply, dict) or "ready" not in reply:
            why = reply.get("unfit") if isinstance(reply, dict) else None
            raise _unfit(worker, str(why or "it gives no answer that can be understood"))
        answered += 1
    if not answered:
        seconds = round(_CHECK_SECONDS)
        what = f"no worker has answered within {seconds} s ({failure})"
        raise ClusterError(what, path=cluster.address)


def _submit(cluster: Cluster, request: dict[str, Any], *, worker: str | None = None) -> Any:
    """Ask for `fleet_task.answer`."""
    return cluster.submit("edgecomp.fleet_task", "answer", request, worker=worker)


def _unfit(worker: object, why: object) -> ClusterError:
    return ClusterError(
        f"worker {worker} does not fit: {why}; this machine has edgecomp {VERSION}, {libraries()}",
        path=str(worker),
    )
