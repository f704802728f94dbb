"""The C library and its binding: warnings, sanitizers, round trips, hostile bytes."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from common import ROOT
from compilers import COMPILERS, INCLUDES, SANITIZERS, SOURCES, WARNINGS, build, require_sanitizers
from hypothesis import given
from hypothesis import strategies as st

from edgecomp import native
from edgecomp._native import lib
from edgecomp.errors import CorruptDataError, LimitError

PROGRAMS = ["test_native", "test_context", "test_choice", "test_features"]
STATUSES = {
    name: getattr(lib, name)
    for name in dir(lib)
    if name.startswith("EDGECOMP_")
    and not re.match(r"EDGECOMP_(MIN|MAX|LAYOUT|KERNELS|CONTEXT|PROCESSOR)_", name)
}


@st.composite
def volumes(draw: st.DrawFn) -> tuple[native.Symbols, int, int, native.Symbols | None]:
    """Symbols, levels, zero, counts: any alphabet, odd and empty shapes, masks, skewed values."""
    shape = draw(st.tuples(st.integers(0, 7), st.integers(0, 9), st.integers(0, 9)))
    levels = draw(st.integers(2, 256))
    zero = draw(st.sampled_from([0, levels // 2, levels - 1]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(["constant", "sparse", "small", "uniform", "extreme"]))
    if kind == "constant":
        symbols = np.full(shape, draw(st.integers(0, levels - 1)))
    elif kind == "sparse":
        symbols = np.where(rng.random(shape) < 0.1, rng.integers(0, levels, shape), zero)
    elif kind == "small":
        symbols = np.clip(zero + np.rint(rng.laplace(0, 1.5, shape)), 0, levels - 1)
    elif kind == "uniform":
        symbols = rng.integers(0, levels, shape)
    else:
        symbols = rng.integers(0, 2, shape) * (levels - 1)
    counts = None
    if draw(st.booleans()):
        counts = rng.integers(0, shape[0] + 1, shape[1:]).astype(np.uint8)
        symbols = np.where(np.arange(shape[0])[:, None, None] < counts, symbols, zero)
    return symbols.astype(np.uint8), levels, zero, counts


@pytest.mark.skipif(not COMPILERS, reason="no C compiler")
@pytest.mark.parametrize("compiler", COMPILERS)
def test_compiles_without_warnings(compiler: str, tmp_path: Path) -> None:
    programs = [*(ROOT / "tests" / "native").glob("*.c"), *(ROOT / "native" / "fuzz").glob("*.c")]
    assert len(programs) >= len(PROGRAMS)
    for source in [*SOURCES, *programs]:
        command = [compiler, *WARNINGS, "-O2", *INCLUDES, "-c", source, "-o"]
        subprocess.run([*command, tmp_path / "out.o"], check=True)


@pytest.mark.skipif(not COMPILERS, reason="no C compiler")
def test_header_stands_alone_in_cpp(tmp_path: Path) -> None:
    source = tmp_path / "use.cpp"
    source.write_text(
        '#include "edgecomp_native.h"\nint main() { return edgecomp_status_text(0) == 0; }\n'
    )
    command = [
        COMPILERS[0],
        "-x",
        "c++",
        "-fsyntax-only",
        "-Wall",
        "-Wextra",
        "-Wpedantic",
        "-Werror",
    ]
    run = subprocess.run([*command, f"-I{ROOT / 'native'}", source], capture_output=True, text=True)
    if "cannot execute" in run.stderr or "error trying to exec" in run.stderr:
        return  # a C compiler without its C++ part
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("name", PROGRAMS)
def test_clean_under_sanitizers(name: str, tmp_path: Path) -> None:
    compiler = require_sanitizers(tmp_path)
    source = ROOT / "tests" / "native" / f"{name}.c"
    program = build(compiler, tmp_path / name, [source], *SANITIZERS)
    run = subprocess.run([program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout == f"{name}: all tests passed\n"


def test_header_and_binding_agree() -> None:
    """Every name that the header declares is in the compiled module, with the header's value."""
    spec = importlib.util.spec_from_file_location(
        "build_native", ROOT / "native" / "build_native.py"
    )
    assert spec is not None
    assert spec.loader is not None
    builder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builder)
    header = (ROOT / "native" / "edgecomp_native.h").read_text()
    declared = builder.declarations(header)
    functions = set(re.findall(r"\b(edgecomp_\w+)\(", declared))
    numbers = {
        name: int(value) for name, value in re.findall(r"(EDGECOMP_\w+)(?: = | )(\d+)", declared)
    }
    assert functions | set(numbers) == set(dir(lib))
    assert numbers == {name: getattr(lib, name) for name in numbers}
    # Nothing public in the sources that no header declares.
    internal = "".join(path.read_text() for path in (ROOT / "native").glob("*.h"))
    for source in SOURCES:
        defined = re.findall(r"^(?!static)[\w ]+\**?(edgecomp_\w+)\(", source.read_text(), re.M)
        assert all(name in functions or name in internal for name in defined), source
    assert {f"native/{path.name}" for path in SOURCES} == set(builder.SOURCES)


def test_constants() -> None:
    assert (native.MIN_LEVELS, native.MAX_LEVELS, native.MAX_SYMBOLS) == (2, 256, 2**31 - 1)
    assert [layout.value for layout in native.Layout] == [0, 1, 2]
    assert [kernels.value for kernels in native.Kernels] == [0, 1, 2, 3, 4]


def test_every_status_is_mapped() -> None:
    assert sorted(STATUSES.values()) == list(range(len(STATUSES)))
    expected = {
        "EDGECOMP_BAD_ARGUMENT": ValueError,
        "EDGECOMP_OUTPUT_TOO_SMALL": ValueError,
        "EDGECOMP_CORRUPT_DATA": CorruptDataError,
        "EDGECOMP_LIMIT_EXCEEDED": LimitError,
        "EDGECOMP_OUT_OF_MEMORY": MemoryError,
    }
    assert set(expected) == set(STATUSES) - {"EDGECOMP_OK"}
    for name, error in expected.items():
        text = native.status_text(STATUSES[name])
        with pytest.raises(error, match=f"^testing: {text}$"):
            native.raise_status(STATUSES[name], "testing")
    with pytest.raises(RuntimeError, match="unknown status"):
        native.raise_status(77, "testing")


@given(volumes(), st.sampled_from([native.Layout.AUTO, native.Layout.DENSE]))
def test_round_trip(volume, layout) -> None:
    symbols, levels, zero, counts = volume
    packed = native.pack(symbols, levels=levels, zero=zero, counts=counts, layout=layout)
    assert len(packed) <= native.pack_bound(symbols.shape, levels)
    restored = native.unpack(packed, shape=symbols.shape, levels=levels, zero=zero, counts=counts)
    assert restored.dtype == np.uint8
    assert np.array_equal(restored, symbols)


@pytest.mark.parametrize("levels", range(2, 257))
def test_dense_is_base_l(levels: int) -> None:
    """Against a plain reading of the specification, for every alphabet."""
    symbols = np.random.default_rng(levels).integers(0, levels, (3, 5, 7)).astype(np.uint8)
    k = max(k for k in range(1, 9) if levels**k <= 256)
    flat = [int(s) for s in symbols.ravel()]
    expected = [
        sum(digit * levels**i for i, digit in enumerate(flat[at : at + k]))
        for at in range(0, len(flat), k)
    ]
    packed = native.pack(symbols, levels=levels, zero=0, layout=native.Layout.DENSE)
    assert packed == bytes([native.Layout.DENSE, *expected])
    assert len(packed) == native.pack_bound((3, 5, 7), levels)


@given(volumes(), st.randoms(use_true_random=False))
def test_damage_is_refused_or_another_volume(volume, random) -> None:
    symbols, levels, zero, counts = volume
    packed = bytearray(native.pack(symbols, levels=levels, zero=zero, counts=counts))
    arguments = {"shape": symbols.shape, "levels": levels, "zero": zero, "counts": counts}
    for cut in {0, len(packed) // 2, len(packed) - 1}:
        with pytest.raises(CorruptDataError):
            native.unpack(bytes(packed[:cut]), **arguments)
    with pytest.raises(CorruptDataError):
        native.unpack(bytes(packed) + b"\0", **arguments)
    packed[random.randrange(len(packed))] ^= 1 << random.randrange(8)
    try:
        restored = native.unpack(bytes(packed), **arguments)
    except CorruptDataError:
        return
    assert restored.shape == symbols.shape
    assert restored.size == 0 or restored.max() < levels


@given(st.binary(max_size=400), st.integers(2, 256))
def test_any_bytes(data: bytes, levels: int) -> None:
    for layout in (b"\0", b"\1"):
        try:
            restored = native.unpack(layout + data, shape=(2, 5, 6), levels=levels, zero=levels - 1)
        except CorruptDataError:
            continue
        assert restored.max() < levels


def test_dense_padding_must_be_zero() -> None:
    packed = native.pack(
        np.zeros((1, 1, 4), np.uint8), levels=6, zero=0, layout=native.Layout.DENSE
    )
    assert packed == bytes([0, 0, 0])
    for bad in (bytes([0, 216, 0]), bytes([0, 0, 6])):
        with pytest.raises(CorruptDataError):
            native.unpack(bad, shape=(1, 1, 4), levels=6, zero=0)


@pytest.mark.parametrize(
    "shape", [(2**31, 1, 1), (2**16, 2**16, 1), (2**40, 2**40, 2**40), (1, 2**64, 1), (0, 2**70, 1)]
)
def test_absurd_shapes(shape: tuple[int, int, int]) -> None:
    with pytest.raises(LimitError):
        native.pack_bound(shape, 6)
    with pytest.raises(LimitError):
        native.unpack(b"\0", shape=shape, levels=6, zero=0)


def test_misuse() -> None:
    volume = np.zeros((2, 3, 4), np.uint8)
    good = {"levels": 6, "zero": 2}
    for symbols, arguments in (
        (volume[0], good),
        (volume.astype(np.int8), good),
        (volume, good | {"levels": 1}),
        (volume, good | {"levels": 257}),
        (volume, good | {"levels": -1}),
        (volume, good | {"zero": 6}),
        (volume, good | {"zero": -1}),
        (volume, good | {"zero": 1 << 40}),
        (volume + np.uint8(6), good),
        (volume, good | {"counts": np.zeros((3, 4), np.uint8)}),  # drops symbols that are not zero
        (volume, good | {"counts": np.full((3, 4), 3, np.uint8)}),
        (volume, good | {"counts": np.zeros((4, 3), np.uint8)}),
        (volume, good | {"counts": np.zeros((3, 4), np.int64)}),
    ):
        with pytest.raises(ValueError, match=r"."):
            native.pack(symbols, **arguments)
    with pytest.raises(ValueError, match="shape"):
        native.pack_bound((-1, 2, 3), 6)


def test_slices_need_not_be_contiguous() -> None:
    whole = np.random.default_rng(0).integers(0, 6, (4, 6, 8)).astype(np.uint8)
    part = whole[::2, ::-1, 1:7]
    packed = native.pack(part, levels=6, zero=2)
    assert np.array_equal(native.unpack(packed, shape=part.shape, levels=6, zero=2), part)


@given(st.integers(2, 256), st.integers(0, 9), st.integers(0, 9), st.integers(0, 2**32))
def test_map_round_trip(levels: int, height: int, width: int, seed: int) -> None:
    plane = np.random.default_rng(seed).integers(0, levels, (height, width)).astype(np.uint8)
    residual = native.map_residual(plane, levels)
    assert residual.size == 0 or residual.max() < levels
    assert np.array_equal(native.map_restore(residual, levels), plane)


def test_smooth_map_becomes_its_middle() -> None:
    plane = np.full((12, 16), 5, np.uint8)
    plane[:, 7:] = 20  # an upright edge
    residual = native.map_residual(plane, 33)
    assert (residual == 16).sum() == plane.size - 2
