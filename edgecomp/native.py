"""The one module that touches the compiled library: numpy arrays in, bytes and arrays out.

Every call releases the GIL. ``native/edgecomp_native.h`` says what each function does; this binding
checks shapes and types, hands over buffers and turns a status into an exception, and does nothing
else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
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

# What the most expensive symbol costs: a frequency of one in 2^24; and the end of the code.
_CONTEXT_BYTES_A_SYMBOL = 3
_CONTEXT_END_BYTES = 8


class Layout(IntEnum):
    """How a volume is packed; the first two are also the first byte of packed data."""

    DENSE = lib.EDGECOMP_LAYOUT_DENSE
    SORTED = lib.EDGECOMP_LAYOUT_SORTED
    AUTO = lib.EDGECOMP_LAYOUT_AUTO


class Kernels(IntEnum):
    """Which instructions the context coder uses; all give the same bytes."""

    AUTO = lib.EDGECOMP_KERNELS_AUTO
    PORTABLE = lib.EDGECOMP_KERNELS_PORTABLE
    AVX2 = lib.EDGECOMP_KERNELS_AVX2
    NEON = lib.EDGECOMP_KERNELS_NEON
    AVX512 = lib.EDGECOMP_KERNELS_AVX512


class Instructions(IntFlag):
    """Vector instructions of processors."""

    SSE41 = lib.EDGECOMP_PROCESSOR_SSE41
    AVX2 = lib.EDGECOMP_PROCESSOR_AVX2
    AVX512 = lib.EDGECOMP_PROCESSOR_AVX512
    NEON = lib.EDGECOMP_PROCESSOR_NEON
    DOT_PRODUCT = lib.EDGECOMP_PROCESSOR_DOT_PRODUCT
    I8MM = lib.EDGECOMP_PROCESSOR_I8MM


@dataclass(frozen=True, slots=True)
class ContextParameters:
    """The parameters of a context model, checked; made by :func:`context_parameters`.

    Attributes:
        data: as they stand in the file.
        channels, levels, zero: of the volumes that they code.
        prepared: the model laid out for this machine; only this module reads it.
    """

    data: bytes
    channels: int
    levels: int
    zero: int
    prepared: NDArray[np.uint8] = field(repr=False, compare=False)


_POINTER_TYPES: dict[np.dtype[Any], str] = {
    np.dtype(np.uint8): "uint8_t *",
    np.dtype(np.int8): "int8_t *",
    np.dtype(np.uint32): "uint32_t *",
}

_EXCEPTIONS: dict[int, type[Exception]] = {
    lib.EDGECOMP_BAD_ARGUMENT: ValueError,
    lib.EDGECOMP_OUTPUT_TOO_SMALL: ValueError,
    lib.EDGECOMP_CORRUPT_DATA: CorruptDataError,
    lib.EDGECOMP_LIMIT_EXCEEDED: LimitError,
    lib.EDGECOMP_OUT_OF_MEMORY: MemoryError,
}


def instructions() -> Instructions:
    """The vector instructions of this machine's processor; none where nothing is known of it."""
    return Instructions(lib.edgecomp_processor())


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


def context_parameters(data: bytes) -> ContextParameters:
    """Check the parameters of a context model and prepare them for coding.

    Raises:
        CorruptDataError: no such parameters, of another version, or beyond what is safe.
    """
    size = ffi.new("size_t *")
    what = "reading the parameters of the context coder"
    _check(what, lib.edgecomp_context_prepared_size(data, len(data), size))
    prepared = _aligned(int(size[0]))
    status = lib.edgecomp_context_prepare(data, len(data), _pointer(prepared), prepared.size)
    _check(what, status)
    prepared.flags.writeable = False
    numbers = ffi.new("unsigned[3]")
    _check(
        what,
        lib.edgecomp_context_describe(
            _pointer(prepared), prepared.size, numbers, numbers + 1, numbers + 2
        ),
    )
    channels, levels, zero = (int(number) for number in numbers)
    return ContextParameters(bytes(data), channels, levels, zero, prepared)


def context_encode(
    symbols: Symbols,
    *,
    parameters: ContextParameters,
    levels: int,
    zero: int,
    counts: Symbols | None = None,
    kernels: Kernels = Kernels.AUTO,
) -> bytes:
    """Code a (channels, height, width) volume of symbols with a context model.

    Args:
        symbols: each below ``levels``; equal to ``zero`` wherever ``counts`` leaves it out.
        parameters: of the model that made the symbols.
        levels, zero: as the parameters say.
        counts: the importance map, (height, width): how many channels are coded at each position.
        kernels: AUTO is the fastest; ValueError for those that this machine lacks.
    """
    volume = _contiguous(symbols, 3, "symbols")
    shape = (volume.shape[0], volume.shape[1], volume.shape[2])
    _agree(parameters, shape, levels, zero)
    mask = _mask(counts, shape[1:])
    workspace = _context_workspace(parameters, shape)
    out = np.empty(_CONTEXT_BYTES_A_SYMBOL * volume.size + _CONTEXT_END_BYTES, np.uint8)
    length = ffi.new("size_t *")
    status = lib.edgecomp_context_encode(
        _pointer(parameters.prepared), parameters.prepared.size, _pointer(volume), *shape[1:],
        _pointer(mask), int(kernels), _pointer(workspace), workspace.size, _pointer(out), out.size,
        length,
    )  # fmt: skip
    _check("coding symbols", status)
    return out[: length[0]].tobytes()


def context_encode_chosen(
    symbols: Symbols,
    *,
    parameters: ContextParameters,
    levels: int,
    zero: int,
    threshold: int,
    fractions: NDArray[np.int8] | None = None,
    counts: Symbols | None = None,
    kernels: Kernels = Kernels.AUTO,
) -> tuple[bytes, Symbols]:
    """Code a volume in which symbols of magnitude one may become zero to save bits.

    Args:
        symbols, parameters, levels, zero, counts, kernels: as for :func:`context_encode`.
        threshold: bits, in 256ths, that a loss of one must save.
        fractions: int8, shaped as ``symbols``: 256 times the latent less its symbol's value. The
            loss is then the squared error that is added to the latent; without them it is one.

    Returns:
        The code, and the symbols that it decodes to.
    """
    volume = _contiguous(symbols, 3, "symbols")
    shape = (volume.shape[0], volume.shape[1], volume.shape[2])
    _agree(parameters, shape, levels, zero)
    if fractions is not None:
        if fractions.dtype != np.int8 or fractions.shape != shape:
            raise ValueError(f"fractions: expected int8 of the shape {shape}")
        fractions = np.ascontiguousarray(fractions)
    mask = _mask(counts, shape[1:])
    workspace = _context_workspace(parameters, shape)
    chosen = np.empty(shape, np.uint8)
    out = np.empty(_CONTEXT_BYTES_A_SYMBOL * volume.size + _CONTEXT_END_BYTES, np.uint8)
    length = ffi.new("size_t *")
    status = lib.edgecomp_context_encode_chosen(
        _pointer(parameters.prepared), parameters.prepared.size, _pointer(volume),
        _pointer(fractions), *shape[1:], _pointer(mask), _uint(threshold), int(kernels),
        _pointer(workspace), workspace.size, _pointer(chosen), chosen.size, _pointer(out), out.size,
        length,
    )  # fmt: skip
    _check("choosing and coding symbols", status)
    return out[: length[0]].tobytes(), chosen


def context_decode(
    data: bytes | memoryview,
    *,
    parameters: ContextParameters,
    shape: tuple[int, int, int],
    levels: int,
    zero: int,
    counts: Symbols | None = None,
    kernels: Kernels = Kernels.AUTO,
) -> Symbols:
    """Restore what :func:`context_encode` was given; the arguments must be those of encoding.

    Raises:
        CorruptDataError: ``data`` is not the code of such a volume.
        LimitError: the shape is beyond what any volume may have.
    """
    pack_bound(shape, levels)  # refuses an absurd shape before memory is asked for
    _agree(parameters, shape, levels, zero)
    coded = np.frombuffer(data, np.uint8)
    symbols = np.empty(shape, np.uint8)
    workspace = _context_workspace(parameters, shape)
    mask = _mask(counts, shape[1:])
    status = lib.edgecomp_context_decode(
        _pointer(parameters.prepared), parameters.prepared.size, _pointer(coded), coded.size,
        *shape[1:], _pointer(mask), int(kernels), _pointer(workspace), workspace.size,
        _pointer(symbols), symbols.size,
    )  # fmt: skip
    _check("decoding symbols", status)
    return symbols


def _agree(
    parameters: ContextParameters, shape: tuple[int, int, int], levels: int, zero: int
) -> None:
    given = (shape[0], levels, zero)
    known = (parameters.channels, parameters.levels, parameters.zero)
    if given != known:
        raise ValueError(f"channels, levels, zero: {given}; the parameters are for {known}")


def _context_workspace(
    parameters: ContextParameters, shape: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """The scratch memory of context coding; none for an empty volume."""
    if 0 in shape:
        return np.empty(0, np.uint8)
    size = ffi.new("size_t *")
    prepared = parameters.prepared
    status = lib.edgecomp_context_workspace(_pointer(prepared), prepared.size, shape[2], size)
    _check("sizing the context coder's memory", status)
    return np.empty(int(size[0]), np.uint8)


def _aligned(size: int) -> NDArray[np.uint8]:
    """Memory at an address as prepared models need it."""
    spare = np.zeros(size + lib.EDGECOMP_CONTEXT_ALIGNMENT, np.uint8)
    start = -spare.ctypes.data % lib.EDGECOMP_CONTEXT_ALIGNMENT
    return spare[start : start + size]


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
    """The array's memory, valid while the caller holds the array; NULL for None and for nothing."""
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
