"""The coders of symbol volumes that `coders.py` compares: edgecomp's own and what else there is.

Each makes real bytes of a uint8 volume (channels, rows, columns) and restores it from them. None
stores the shape, but for pickle, whose bytes are counted as its users would store them.
"""

from __future__ import annotations

import importlib
import lzma
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecomp import native
from edgecomp.entropy import LzmaCoder, SymbolCoder
from edgecomp.evaluation.pickle_lzma import PickledSymbols
from edgecomp.model_coders import load_coder
from edgecomp.models import Model

Symbols = NDArray[np.uint8]
Shape = tuple[int, int, int]

CONTEXT = "context"
PACKED_LZMA = "packed + LZMA"  # how the names of all those rows begin
ZSTD_LEVEL, BROTLI_QUALITY = 19, 11
# Those of the coder `lzma`: every LZMA row but pickle's differs from it in the preset alone.
_OPTIONS: dict[str, int] = {"dict_size": 1 << 20, "lc": 0, "lp": 0, "pb": 0}
_PRESETS = {"0": 0, "3": 3, "6": 6, "9": 9, "9e": 9 | lzma.PRESET_EXTREME}


class AbsentError(Exception):
    """A coder that cannot take part, and why."""


@dataclass(frozen=True)
class Peer:
    """One coder: ``decode(encode(symbols), symbols.shape)`` is ``symbols`` again."""

    name: str
    encode: Callable[[Symbols], bytes]
    decode: Callable[[bytes, Shape], Symbols]


def peers_of(model: Model) -> tuple[list[Peer], list[str]]:
    """The coders to compare on a model's symbols, and why some of them cannot take part.

    Raises:
        ModelDamagedError: the model's parameters of the coder `context` are damaged.
        UnsupportedVersionError: the model has such parameters, but this edgecomp lacks the coder.
    """
    shipped = _of_edgecomp(f"{PACKED_LZMA}, 0e (shipped)", LzmaCoder(), model)
    peers = [
        _pickled("pickle + LZMA (the paper)", PickledSymbols()),
        _pickled("pickle + xz -9e", PickledSymbols(_PRESETS["9e"])),
        Peer("int8 + LZMA, 0e", partial(_int8_lzma, model.zero), partial(_lzma_int8, model.zero)),
        *(_packed_lzma(name, preset, model) for name, preset in _PRESETS.items()),
        shipped,
    ]
    skipped = []
    for make in (_zstd, _brotli, _context):
        try:
            peers.append(make(model))
        except AbsentError as error:
            skipped.append(str(error))
    return peers, skipped


def _pickled(name: str, pickled: PickledSymbols) -> Peer:
    return Peer(name, pickled.pack, lambda data, shape: pickled.restore_symbols(data))


def _filters(preset: int) -> list[dict[str, Any]]:
    return [{"id": lzma.FILTER_LZMA2, "preset": preset, **_OPTIONS}]


def _raw_lzma(data: bytes, preset: int) -> bytes:
    return lzma.compress(data, format=lzma.FORMAT_RAW, filters=_filters(preset))


def _unraw_lzma(data: bytes) -> bytes:
    return lzma.decompress(data, format=lzma.FORMAT_RAW, filters=_filters(0))


def _int8_lzma(zero: int, symbols: Symbols) -> bytes:
    latents = symbols - np.uint8(zero)  # modulo 256: the bytes of the int8 latents
    return _raw_lzma(latents.tobytes(), 0 | lzma.PRESET_EXTREME)


def _lzma_int8(zero: int, data: bytes, shape: Shape) -> Symbols:
    latents = np.frombuffer(_unraw_lzma(data), np.uint8).reshape(shape)
    return latents + np.uint8(zero)


def _packed(
    name: str, squeeze: Callable[[bytes], bytes], expand: Callable[[bytes], bytes], model: Model
) -> Peer:
    """A general compressor behind the packing of the coder `lzma`."""
    options = {"levels": model.levels, "zero": model.zero}

    def encode(symbols: Symbols) -> bytes:
        return squeeze(native.pack(symbols, **options))

    def decode(data: bytes, shape: Shape) -> Symbols:
        return native.unpack(expand(data), shape=shape, **options)

    return Peer(name, encode, decode)


def _packed_lzma(name: str, preset: int, model: Model) -> Peer:
    return _packed(f"{PACKED_LZMA}, {name}", partial(_raw_lzma, preset=preset), _unraw_lzma, model)


def _zstd(model: Model) -> Peer:
    zstandard = _package("zstandard")

    def squeeze(data: bytes) -> bytes:
        compressed: bytes = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(data)
        return compressed

    def expand(data: bytes) -> bytes:
        expanded: bytes = zstandard.ZstdDecompressor().decompress(data)
        return expanded

    return _packed(f"packed + zstd -{ZSTD_LEVEL}", squeeze, expand, model)


def _brotli(model: Model) -> Peer:
    brotli = _package("brotli")
    squeeze = partial(brotli.compress, quality=BROTLI_QUALITY)
    return _packed(f"packed + brotli {BROTLI_QUALITY}", squeeze, brotli.decompress, model)


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise AbsentError(f"{name} is not installed (pip install 'edgecomp[eval]')") from error


def _context(model: Model) -> Peer:
    if CONTEXT not in model.coders:
        raise AbsentError(f"{CONTEXT}: model {model.name} has no parameters for it")
    return _of_edgecomp(CONTEXT, load_coder(model, CONTEXT), model)


def _of_edgecomp(name: str, coder: SymbolCoder, model: Model) -> Peer:
    """A coder of edgecomp's own, as its codec calls it."""
    options = {"levels": model.levels, "zero": model.zero}

    def encode(symbols: Symbols) -> bytes:
        return coder.encode(symbols, **options)

    def decode(data: bytes, shape: Shape) -> Symbols:
        return coder.decode(data, shape=shape, **options)

    return Peer(name, encode, decode)
