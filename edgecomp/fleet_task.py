"""What a worker of a cluster runs: one picture's bytes to its codestream.

Requests and replies are dictionaries of plain values, and `answer` is what every edgecomp calls and
is called by: so two versions that differ can tell each other so. What coding needs is imported when
the recipe is known to be one for this version.
"""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from edgecomp._version import VERSION

if TYPE_CHECKING:
    from edgecomp.picture_coder import PictureCoder
    from edgecomp.pipeline import Budget

_MAX_CODERS: Final = 4
_LOADING: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class Probe:
    """A picture that every machine has to code to the same bytes.

    Attributes:
        name: of which the suffix counts.
        data: the file.
        crc: of the codestream, CRC32.
    """

    name: str
    data: bytes
    crc: int


@dataclass(frozen=True, slots=True)
class Recipe:
    """How pictures are coded. Two machines with one recipe make the same bytes.

    Attributes:
        version: of edgecomp.
        model_id: in hexadecimal.
        folder: of the model, where it is none that ships; the same on every machine.
        coder: of symbols, by name.
        precision: "int8" or "fp32".
        max_pixels: larger pictures are refused; None for no limit.
        probes: what has to come out right before anything is coded.
    """

    version: str
    model_id: str
    folder: str | None
    coder: str
    precision: str
    max_pixels: int | None
    probes: tuple[Probe, ...] = ()

    def to_wire(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    @classmethod
    def from_wire(cls, fields: dict[str, Any]) -> Recipe:
        """Of what `to_wire` gave, in the same version."""
        return cls(**fields | {"probes": tuple(Probe(**probe) for probe in fields["probes"])})


class _Unfit(Exception):
    """This worker does not make the bytes that are asked for; it says why."""


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Do what a request asks for. Its name, argument and result never change.

    Args:
        request: ``recipe``; ``picture``: ``name`` (of which the suffix counts), ``data``, and
            ``suffix``, ``mtime_ns``, ``name_check`` of the codestream's origin; or None, which asks
            only whether the recipe can be followed.

    Returns:
        ``worker``: its address; and one of ``unfit``, ``refused``, ``kept``: why there is no
        codestream, ``codestream``: bytes, ``ready``: True where there was no picture.
    """
    reply: dict[str, Any] = {"worker": _address()}
    recipe = request["recipe"]
    if recipe["version"] != VERSION:
        theirs = recipe["version"]
        return reply | {"unfit": f"edgecomp {VERSION} is installed there, {theirs} here"}
    try:
        coder = _coder_for(Recipe.from_wire(recipe))
    except _Unfit as problem:
        return reply | {"unfit": str(problem)}
    picture = request["picture"]
    return reply | ({"ready": True} if picture is None else _coded(coder, picture))


def _coded(coder: PictureCoder, picture: dict[str, Any]) -> dict[str, Any]:
    import io

    from edgecomp.codestream import Origin
    from edgecomp.errors import UnsupportedPictureError

    data = picture["data"]
    origin = Origin(picture["suffix"], picture["mtime_ns"], picture["name_check"])
    try:
        coded = coder.code(io.BytesIO(data), len(data), name=picture["name"], origin=origin)
    except UnsupportedPictureError as error:
        return {"refused": error.message}
    if coded.kept is not None:
        return {"kept": coded.kept}
    return {"codestream": coded.codestream}


def _coder_for(recipe: Recipe) -> PictureCoder:
    """The coder of a recipe, loaded and tried once, however many threads ask for it at once."""
    with _LOADING:
        return _load(recipe)


@lru_cache(maxsize=_MAX_CODERS)
def _load(recipe: Recipe) -> PictureCoder:
    """Load a coder and see that it makes the bytes that it is to make.

    Raises:
        _Unfit: it does not, or cannot be loaded.
    """
    from edgecomp.codec import Codec
    from edgecomp.errors import BackendUnavailableError, ModelError, UsageError
    from edgecomp.models import find_model
    from edgecomp.picture_coder import PictureCoder

    model_id = bytes.fromhex(recipe.model_id)
    try:
        model = _shipped(model_id) or find_model(model_id, model=recipe.folder)
        codec = Codec.load(
            model=model.path, precision=recipe.precision, coder=recipe.coder, threads=1
        )
    except (ModelError, BackendUnavailableError, UsageError, ValueError) as error:
        raise _Unfit(f"model {recipe.model_id} cannot be used there ({error})") from error
    coder = PictureCoder(codec, recipe.max_pixels, budget=_budget())
    for probe in recipe.probes:
        if crc_of(coder, probe.name, probe.data) != probe.crc:
            raise _Unfit(f"it codes a test picture to other bytes; it has {libraries()}")
    return coder


def _shipped(model_id: bytes) -> Any:
    """The model of that id among those that ship, or None."""
    from edgecomp.models import shipped_models

    return next((model for model in shipped_models() if model.model_id == model_id), None)


def crc_of(coder: PictureCoder, name: str, data: bytes) -> int | None:
    """CRC32 of a picture's codestream; None where it is not coded."""
    import zlib

    picture = {"name": name, "data": data, "suffix": "", "mtime_ns": 0, "name_check": 0}
    codestream = _coded(coder, picture).get("codestream")
    return None if codestream is None else zlib.crc32(codestream)


def libraries() -> str:
    """The versions of what the bytes of pictures depend on besides edgecomp, for messages."""
    import platform

    import onnxruntime
    import PIL
    from PIL import features

    jpeg = features.version("libjpeg_turbo") or features.version("jpg")
    return (
        f"Pillow {PIL.__version__} with libjpeg {jpeg}, onnxruntime {onnxruntime.__version__},"
        f" Python {platform.python_version()} on {platform.machine()}"
    )


@lru_cache(maxsize=1)
def _budget() -> Budget:
    """The memory that all pictures of this process share."""
    from edgecomp.machine import usable_memory
    from edgecomp.pipeline import Budget

    limit = usable_memory()
    worker = _worker()
    # Dask ends a worker that takes more than it was started with (--memory-limit).
    granted = None if worker is None else worker.memory_manager.memory_limit
    return Budget(min(limit, granted or limit) // 2)


def _worker() -> Any:
    """Dask's worker that this thread belongs to, or None."""
    from distributed import get_worker

    try:
        return get_worker()
    except ValueError:  # not within a task
        return None


def _address() -> str:
    worker = _worker()
    return "this machine" if worker is None else str(worker.address)
