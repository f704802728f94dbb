"""Golden vectors: what a model makes of fixed inputs, known from where it was exported.

``golden.json`` in a model's folder holds SHA-256 of the symbols that its int8 encoder gives for a
fixed picture, of the codestream that the picture becomes, and of the pixels that its int8 decoder
gives for fixed symbols. They are the same on every machine, or something is wrong with it. The
file is beside the manifest, not named by it: it says nothing about how files are read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgecomp.backends import Backend, Latent, load_backend
from edgecomp.codec import Codec
from edgecomp.errors import EdgecompError
from edgecomp.model_coders import load_coder
from edgecomp.names import Note
from edgecomp.pictures import Picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgecomp.models import Model

GOLDEN: Final = "golden.json"
# Of latent positions; odd and even, no multiple of a vector's length.
ROWS: Final = 9
COLUMNS: Final = 14
_MAX_BYTES: Final = 1 << 16
# How far fp32 may be from int8 in the mean, in levels of a sample. (The fixed picture is hard: a
# third of it is noise. Models that ship are within 4 there.)
_FLOAT_DIFFERENCE: Final = 8.0


def scattered(shape: tuple[int, ...], levels: int) -> NDArray[np.uint8]:
    """uint8 values below ``levels`` by integer arithmetic, the same wherever they are made."""
    index = np.arange(np.prod(shape), dtype=np.uint64)
    mixed = index * np.uint64(2654435761) >> np.uint64(13)
    return (mixed % np.uint64(levels)).astype(np.uint8).reshape(shape)


def picture(height: int, width: int) -> NDArray[np.uint8]:
    """uint8 (height, width, 3): a gradient, squares, and noise, by integer arithmetic."""
    y, x = np.mgrid[0:height, 0:width]
    gradient = (5 * x + 3 * y) // 8 % 256
    squares = np.where((x // 12 + y // 20) % 2, 220, 35)
    noise = scattered((height, width), 256)
    return np.stack([gradient, squares, noise], axis=-1).astype(np.uint8)


def analyse(backend: Backend, model: Model, rows: int = ROWS, columns: int = COLUMNS) -> Latent:
    """What the encoder makes of the fixed picture, at the last gain."""
    rgb = picture(rows * model.stride, columns * model.stride)
    return backend.analyse(rgb, model.gains - 1)


def synthesise(
    backend: Backend, model: Model, rows: int = ROWS, columns: int = COLUMNS
) -> NDArray[np.uint8]:
    """What the decoder makes of the fixed symbols, at the last gain."""
    symbols = scattered((model.channels, rows, columns), model.levels)
    return backend.synthesise(symbols, model.gains - 1)


def digest(arrays: Iterable[NDArray[Any] | None]) -> str:
    """SHA-256 of the arrays' bytes, one behind the other."""
    found = hashlib.sha256()
    for array in arrays:
        if array is not None:
            found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def measure(model: Model) -> dict[str, str]:
    """What this machine makes of the fixed inputs, with the model's int8 graphs.

    Returns:
        SHA-256 in hexadecimal of ``symbols`` (with the counts and fractions that the encoder gives
        beside them), ``codestream`` and ``pixels``.

    Raises:
        ModelError, BackendUnavailableError: the model cannot be run.
    """
    backend = load_backend("onnx", model, precision="int8")
    latent = analyse(backend, model)
    codec = Codec(model, backend, load_coder(model, None))
    rgb = picture(ROWS * model.stride, COLUMNS * model.stride)
    codestream = codec.encode(Picture(rgb), gain=model.gains - 1)
    return {
        "symbols": digest([latent.symbols, latent.counts, latent.fractions]),
        "codestream": hashlib.sha256(codestream).hexdigest(),
        "pixels": digest([synthesise(backend, model)]),
    }


def record(model: Model) -> bytes:
    """The content of ``golden.json``, made on this machine.

    Raises:
        ModelError, BackendUnavailableError: the model cannot be run.
    """
    found = {"model_id": model.id_hex, **measure(model)}
    return (json.dumps(found, indent=1, sort_keys=True) + "\n").encode()


def check(model: Model) -> list[Note]:
    """Compare what this machine makes of the fixed inputs with the golden vectors.

    Returns:
        What differs; empty if nothing does. Errors (damaged graphs, say) are among it.
    """
    shown = f"model {model.name}"
    try:
        expected = _expected(model)
        found = measure(model)
        notes = [
            Note(shown, f"{what} are not those of other machines ({found[what][:12]}...)")
            for what in found
            if expected.get(what) != found[what]
        ]
        if "fp32" in model.precisions:
            notes += _check_float(model, shown)
    except (EdgecompError, OSError, ValueError) as error:
        return [Note(shown, f"cannot be checked: {error}")]
    return notes


def _expected(model: Model) -> dict[str, Any]:
    """The vectors in the model's folder.

    Raises:
        OSError, ValueError: there are none, or they are not the model's.
    """
    with open(model.path / GOLDEN, "rb") as file:
        expected = json.loads(file.read(_MAX_BYTES))
    if not isinstance(expected, dict) or expected.get("model_id") != model.id_hex:
        raise ValueError(f"{GOLDEN} is not of this model")
    return expected


def _check_float(model: Model, shown: str) -> list[Note]:
    """fp32 sums differ between processors; that they are sane is all that can be asked."""
    integers = load_backend("onnx", model, precision="int8")
    latent = analyse(integers, model)
    restored = [
        backend.synthesise(latent.symbols, model.gains - 1).astype(np.int16)
        for backend in (integers, load_backend("onnx", model, precision="fp32"))
    ]
    difference = float(np.abs(restored[0] - restored[1]).mean())
    if difference <= _FLOAT_DIFFERENCE:
        return []
    return [Note(shown, f"fp32 is {difference:.1f} levels from int8 in the mean")]
