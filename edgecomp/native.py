"""The one module that touches the compiled library: numpy arrays in, bytes and arrays out.

Every call releases the GIL. ``native/edgecomp_native.h`` says what each function does; this binding
checks shapes and types, hands over buffers and turns a status into an exception, and does nothing
else.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from edgecomp.errors import CorruptDataError, LimitError

try:
    from edgecomp._native import ffi, lib
except ImportError as error:
    raise ImportError(
        f"edgecomp's compiled library cannot be loaded ({error}); in a source tree, build it with:"
        " pip install -e ."
    ) from error

Symbols = NDArray[np.uint8]

MIN_LEVELS: int = lib.EDGECOMP_MIN_LEVELS
MAX_LEVELS: int = lib.EDGECOMP_MAX_LEVELS
MAX_SYMBOLS: int = lib.EDGECOMP_MAX_SYMBOLS


class Layout(IntEnum):
    """How a volume is packed; the first two are also the first byte of packed data."""

    DENSE = lib.EDGECOMP_LAYOUT_DENSE
    SORTED = lib.EDGECOMP_LAYOUT_SORTED
    AUTO = lib.EDGECOMP_LAYOUT_AUTO


_POINTER_TYPES: dict[np.dtype[Any], str] = {
    np.dtype(np.uint8): "uint8_t *",
    np.dtype(np.uint32): "uint32_t *",
}

_EXCEPTIONS: dict[int, type[Exception]] = {
    lib.EDGECOMP_BAD_ARGUMENT: ValueError,
    lib.EDGECOMP_OUTPUT_TOO_SMALL: ValueError,
    lib.EDGECOMP_CORRUPT_DATA: CorruptDataError,
    lib.EDGECOMP_LIMIT_EXCEEDED: LimitError,
    lib.EDGECOMP_OUT_OF_MEMORY: MemoryError,
}


def status_text(status: int) -> str:
    """The library's own words for a status."""
    text: bytes = ffi.string(lib.edgecomp_status_text(status))
    return text.decode("ascii")


def raise_status(status: int, what: str) -> NoReturn:
    """Raise the exception that stands for a status other than OK.

    Args:
        status: what a function of the library returned.
        what: what was being done ("packing symbols").
    """
    error = _EXCEPTIONS.get(status, RuntimeError)
    raise error(f"{what}: {status_text(status)}")


def pack_bound(shape: tuple[int, int, int], levels: int) -> int:
    """The most bytes that :func:`pack` returns for a volume of this shape.

    Raises:
        ValueError: levels is out of range.
        LimitError: the volume is too large.
    """
    size = ffi.new("size_t *")
    _check("sizing packed symbols", lib.edgecomp_pack_bound(*_sizes(shape), _uint(levels), size))
    return int(size[0])


def pack(
    symbols: Symbols,
    *,
    levels: int,
    zero: int,
    counts: Symbols | None = None,
    layout: Layout = Layout.AUTO,
) -> bytes:
    """Pack a (channels, height, width) volume of symbols for LZMA.

    Args:
        symbols: each below ``levels``; equal to ``zero`` wherever ``counts`` leaves it out.
        levels: the size of the alphabet, 2 to 256.
        zero: the symbol of the latent 0.
        counts: the importance map, (height, width): how many channels are coded at each position.
        layout: AUTO takes the smaller one. SORTED fails with ValueError where it is larger than
        DENSE could be.
    """
    volume = _contiguous(symbols, 3, "symbols")
    mask = _mask(counts, volume.shape[1:])
    shape = (volume.shape[0], volume.shape[1], volume.shape[2])
    out = np.empty(pack_bound(shape, levels), np.uint8)
    workspace = _workspace(shape)
    length = ffi.new("size_t *")
    status = lib.edgecomp_pack(
        _pointer(volume), *shape, levels, _uint(zero), _pointer(mask), int(layout),
        _pointer(workspace), workspace.size, _pointer(out), out.size, length,
    )  # fmt: skip
    _check("packing symbols", status)
    return out[: length[0]].tobytes()


def unpack(
    data: bytes | memoryview,
    *,
    shape: tuple[int, int, int],
    levels: int,
    zero: int,
    counts: Symbols | None = None,
) -> Symbols:
    """Restore what :func:`pack` was given; the other arguments must be those of packing.

    Raises:
        CorruptDataError: ``data`` is not packed data of such a volume.
    """
    pack_bound(shape, levels)  # refuses an absurd shape before memory is asked for
    packed = np.frombuffer(data, np.uint8)
    symbols = np.empty(shape, np.uint8)
    workspace = _workspace(shape)
    mask = _mask(counts, shape[1:])
    status = lib.edgecomp_unpack(
        _pointer(packed), packed.size, *shape, levels, _uint(zero), _pointer(mask),
        _pointer(workspace), workspace.size, _pointer(symbols), symbols.size,
    )  # fmt: skip
    _check("unpacking symbols", status)
    return symbols


def map_residual(counts: Symbols, levels: int) -> Symbols:
    """An importance map as differences to its prediction; ``levels // 2`` is "as predicted"."""
    return _map(lib.edgecomp_map_residual, counts, levels, "predicting an importance map")


def map_restore(residual: Symbols, levels: int) -> Symbols:
    """The inverse of :func:`map_residual`."""
    return _map(lib.edgecomp_map_restore, residual, levels, "restoring an importance map")


def _map(function: Any, plane: Symbols, levels: int, what: str) -> Symbols:
    source = _contiguous(plane, 2, "an importance map")
    out = np.empty_like(source)
    _check(what, function(_pointer(source), *source.shape, _uint(levels), _pointer(out)))
    return out


def _check(what: str, status: int) -> None:
    if status != lib.EDGECOMP_OK:
        raise_status(status, what)


def _contiguous(array: Symbols, dimensions: int, what: str) -> Symbols:
    if array.dtype != np.uint8 or array.ndim != dimensions:
        raise ValueError(f"{what}: expected {dimensions} dimensions of uint8")
    return np.ascontiguousarray(array)


def _mask(counts: Symbols | None, shape: tuple[int, ...]) -> Symbols | None:
    if counts is None:
        return None
    mask = _contiguous(counts, 2, "counts")
    if mask.shape != tuple(shape):
        raise ValueError(f"counts: expected the shape {tuple(shape)}, not {mask.shape}")
    return mask


def _workspace(shape: tuple[int, int, int]) -> NDArray[np.uint32]:
    """The scratch memory of packing and unpacking; none for an empty volume."""
    channels, height, width = shape
    return np.empty(height * width if channels else 0, np.uint32)


def _pointer(array: NDArray[Any] | None) -> Any:
    """The array's memory, valid while the caller holds the array; NULL for None."""
    if array is None:
        return ffi.NULL
    return ffi.cast(_POINTER_TYPES[array.dtype], array.ctypes.data)


def _uint(value: int) -> int:
    """A number that fits into C's unsigned; the library checks the rest."""
    if not 0 <= value < 1 << 32:
        raise ValueError(f"{value} is out of range")
    return value


def _sizes(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    if len(shape) != 3 or min(shape) < 0:
        raise ValueError(f"not the shape of a symbol volume: {shape}")
    if max(shape) > MAX_SYMBOLS:  # also of an empty volume; numpy and size_t would object
        raise LimitError(f"a symbol volume of shape {shape} is too large")
    return shape
