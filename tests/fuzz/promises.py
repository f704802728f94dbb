"""What the fuzzing targets share: how a broken promise shows, models, and which paths are safe."""

from __future__ import annotations

import ntpath
import posixpath
from functools import cache
from pathlib import Path

from edgecomp.codec import Codec
from edgecomp.codestream import Codestream
from edgecomp.entropy import LzmaCoder
from edgecomp.errors import EdgecompError
from edgecomp.models import Model, load_model

DATA = Path(__file__).parent.parent / "data"
# The only models of the targets: those that the kept files were made with.
MODEL_FOLDERS = ("context/tiny", "context/tiny-map", "models/tiny")
# Pictures with more are not decoded: whether they are within limits is another question.
MOST_PIXELS = 1 << 18

_POSIX_ROOT, _WINDOWS_ROOT = "/some/folder", "C:\\some\\folder"


class BrokenPromiseError(AssertionError):
    """What must hold for every input does not hold for this one."""


def promise(kept: object, what: str) -> None:
    """Raises BrokenPromiseError unless ``kept`` is true."""
    if not kept:
        raise BrokenPromiseError(what)


def promise_safe(path: str) -> None:
    """A path under which something may be restored never leads out of the output folder."""
    shown = ascii(path)
    encoded = path.encode()  # a name that is no Unicode would fail here
    promise(path and "\0" not in path, f"no file can be called {shown}")
    joined = posixpath.normpath(posixpath.join(_POSIX_ROOT, path))
    promise(joined == f"{_POSIX_ROOT}/{path}", f"{shown} leads to {joined}")
    # Python takes any character before a colon for a drive, Windows and the format letters only.
    if path[1:2] != ":":
        joined = ntpath.normpath(ntpath.join(_WINDOWS_ROOT, path))
        promise(joined.startswith(_WINDOWS_ROOT + "\\"), f"{shown} leads to {joined} on Windows")
        promise(joined.count("\\") == path.count("/") + 3, f"{shown} is deeper on Windows")
    longest = max(len(component) for component in encoded.split(b"/"))
    promise(longest <= 255, f"{shown} has a component of {longest} bytes")


def promise_within(path: str) -> None:
    """A file that a manifest names is in the model's folder, or below it."""
    joined = posixpath.normpath(posixpath.join(_POSIX_ROOT, path))
    promise(joined.startswith(_POSIX_ROOT + "/"), f"{path!a} leads to {joined!a}")


@cache
def models() -> dict[bytes, Model]:
    """The targets' models by their ids."""
    loaded = [load_model(DATA / folder) for folder in MODEL_FOLDERS]
    return {model.model_id: model for model in loaded}


@cache
def _codec(model_id: bytes) -> Codec:
    """A codec that decodes symbols only."""
    return Codec(models()[model_id], None, LzmaCoder())


def look_at_symbols(stream: Codestream) -> None:
    """Decode a small picture's symbols, if its model is here, and see that they are as promised."""
    if stream.model_id not in models() or stream.width * stream.height > MOST_PIXELS:
        return
    model = models()[stream.model_id]
    codec = _codec(stream.model_id)
    try:
        latent = codec.decode_symbols(stream)
    except EdgecompError:
        latent = None
    try:
        codec.check_symbols(stream)
    except EdgecompError:
        promise(latent is None, "symbols that can be decoded are not those that can be checked")
        return
    if latent is None:
        raise BrokenPromiseError("symbols that are right cannot be decoded")
    rows, columns = -(-stream.height // model.stride), -(-stream.width // model.stride)
    promise(latent.symbols.shape == (model.channels, rows, columns), "another number of symbols")
    promise(int(latent.symbols.max()) < model.levels, "a symbol beyond the levels")
