"""docs/format-context.md against the code: its vectors, and a second coder written from its text.

The second coder (context_reference.py) shares nothing with the C library, so a change of either
that the other does not follow is found. Every instruction set that this machine has takes part.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re

import context_reference as reference
import numpy as np
import pytest
from common import DATA, ROOT
from context_parameters import changed, extreme_parameters, random_parameters, to_bytes
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecomp import native
from edgecomp.entropy import ContextCoder, decode_tile, encode_tile
from edgecomp.errors import CorruptDataError

DOCUMENT = (ROOT / "docs" / "format-context.md").read_text(encoding="utf-8")


def vectors() -> list[dict[str, str]]:
    blocks = re.findall(r"```vector\n(.*?)```", DOCUMENT, re.S)
    lines = [re.sub(r"\n +", "", block).splitlines() for block in blocks]
    return [{key: value for key, _, value in (x.partition(" ") for x in some)} for some in lines]


def parameter_file(model: str) -> bytes:
    return (DATA / "context" / model / "context.bin").read_bytes()


def parsed(vector: dict[str, str]):
    """Symbols, counts, both readers' parameters."""
    channels, height, width = (int(size) for size in vector["shape"].split())
    shape = (channels, height, width)
    symbols = np.frombuffer(bytes.fromhex(vector["symbols"]), np.uint8).reshape(shape)
    counts = None
    if "counts" in vector:
        counts = np.frombuffer(bytes.fromhex(vector["counts"]), np.uint8).reshape(shape[1:])
    data = parameter_file(vector["model"])
    return symbols, counts, reference.read_parameters(data), native.context_parameters(data)


def own_kernels() -> list[native.Kernels]:
    """Those that this machine has."""
    found = []
    parameters = native.context_parameters(parameter_file("tiny"))
    for kernels in native.Kernels:
        try:
            native.context_encode(
                np.zeros((12, 0, 0), np.uint8),
                parameters=parameters,
                levels=256,
                zero=128,
                kernels=kernels,
            )
        except ValueError:
            continue
        found.append(kernels)
    return found


KERNELS = own_kernels()


def encoded(symbols, parameters: native.ContextParameters, counts) -> bytes:
    """What all kernels agree on."""
    codes = {
        native.context_encode(
            symbols,
            parameters=parameters,
            levels=parameters.levels,
            zero=parameters.zero,
            counts=counts,
            kernels=kernels,
        )
        for kernels in KERNELS
    }
    assert len(codes) == 1
    return codes.pop()


def decoded(code: bytes, parameters: native.ContextParameters, shape, counts):
    """What all kernels agree on; raises CorruptDataError where all of them refuse."""
    found: list[bytes | None] = []
    for kernels in KERNELS:
        try:
            symbols = native.context_decode(
                code,
                parameters=parameters,
                shape=shape,
                levels=parameters.levels,
                zero=parameters.zero,
                counts=counts,
                kernels=kernels,
            )
        except CorruptDataError:
            found.append(None)
        else:
            found.append(symbols.tobytes())
    assert len(set(found)) == 1
    if found[0] is None:
        raise CorruptDataError("refused by all")
    return np.frombuffer(found[0], np.uint8).reshape(shape)


def volume(rng: np.random.Generator, shape, levels: int, zero: int, spread: float, masked: bool):
    """Symbols and counts."""
    symbols = np.clip(zero + np.rint(rng.laplace(0, spread, shape)), 0, levels - 1)
    counts = None
    if masked:
        counts = rng.integers(0, shape[0] + 1, shape[1:]).astype(np.uint8)
        symbols = np.where(np.arange(shape[0])[:, None, None] < counts, symbols, zero)
    return symbols.astype(np.uint8), counts


def test_portable_kernels_are_always_there() -> None:
    assert native.Kernels.PORTABLE in KERNELS
    assert native.Kernels.AUTO in KERNELS


@pytest.mark.parametrize("vector", vectors())
def test_vectors(vector: dict[str, str]) -> None:
    symbols, counts, by_page, by_library = parsed(vector)
    code = bytes.fromhex(vector["code"])
    assert np.array_equal(decoded(code, by_library, symbols.shape, counts), symbols)
    assert np.array_equal(reference.decode(code, by_page, symbols.shape, counts), symbols)
    assert encoded(symbols, by_library, counts) == code
    assert reference.encode(symbols, by_page, counts) == code


@pytest.mark.parametrize("vector", [v for v in vectors() if "last" in v])
def test_vectors_of_distributions(vector: dict[str, str]) -> None:
    symbols, counts, by_page, _ = parsed(vector)
    trace: list[tuple[int, int]] = []
    code = reference.RangeDecoder(bytes.fromhex(vector["code"]))
    reference.walk(code, by_page, symbols.shape, counts, trace)
    assert " ".join(f"{mean},{scale}" for mean, scale in trace[-8:]) == vector["last"]


@pytest.mark.parametrize("vector", [v for v in vectors() if "tile" in v])
def test_tile_vectors(vector: dict[str, str]) -> None:
    symbols, counts, by_page, by_library = parsed(vector)
    coder = ContextCoder(by_library)
    form = {"levels": by_page.levels, "zero": by_page.zero}
    tile = bytes.fromhex(vector["tile"])
    assert encode_tile(coder, symbols, counts=counts, **form) == tile
    restored, restored_counts = decode_tile(
        coder, tile, shape=symbols.shape, importance_map=True, **form
    )
    assert np.array_equal(restored, symbols)
    assert np.array_equal(restored_counts, counts)
    assert tile.endswith(b"\1" + bytes.fromhex(vector["code"]))


def test_the_table_of_models_is_true() -> None:
    rows = re.findall(r"^\| (\S+) \| (\d+) \| (\d+) \| (\d+) \| (\d) .*`(\w{64})`", DOCUMENT, re.M)
    assert {row[0] for row in rows} == {vector["model"] for vector in vectors()}
    for model, *numbers, digest in rows:
        data = parameter_file(model)
        p = reference.read_parameters(data)
        assert [int(n) for n in numbers] == [p.channels, p.levels, p.zero, p.reach]
        assert (p.width, p.hidden) == (32, 32)
        assert hashlib.sha256(data).hexdigest() == digest


def test_vectors_use_all_of_the_model() -> None:
    """Each array of the first one's file, changed a little, makes another code."""
    vector = vectors()[0]
    symbols, counts, p, _ = parsed(vector)
    more = {"mean_shift": 1, "rows": 40, "dense": 40, "within": 40, "out": 40, "inverse": 1}
    for name, array in p.arrays.items():
        if name == "order":
            other = array[::-1]
        elif name == "feature":
            other = array + (np.arange(256) > 0)
        elif name == "table":
            other = np.minimum(array + 1, (1 << 24) - p.levels)
        else:
            other = array + more.get(name, 100_000)
        different = changed(p, **{name: other})
        assert reference.encode(symbols, different, counts) != bytes.fromhex(vector["code"]), name


@settings(max_examples=40)
@given(
    channels=st.sampled_from([1, 3, 8, 9, 20]),
    levels=st.sampled_from([2, 3, 6, 17, 256]),
    side=st.sampled_from([0, 1, 2]),
    reach=st.integers(1, 3),
    size=st.tuples(st.integers(0, 6), st.integers(0, 9)),
    layers=st.sampled_from([(32, 32), (64, 32), (32, 96)]),
    shifts=st.tuples(st.integers(4, 8), st.integers(4, 8)),
    spread=st.sampled_from([0.2, 1, 12, 1000]),
    masked=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_second_coder(
    channels: int,
    levels: int,
    side: int,
    reach: int,
    size: tuple[int, int],
    layers: tuple[int, int],
    shifts: tuple[int, int],
    spread: float,
    masked: bool,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    zero = (0, levels // 2, levels - 1)[side]
    shape = (channels, *size)
    p = random_parameters(
        rng, channels=channels, levels=levels, zero=zero, reach=reach, width=layers[0],
        hidden=layers[1], spread=min(spread, 40),
    )  # fmt: skip
    # Eight is where activations seldom reach their limit, four where most do.
    p = dataclasses.replace(p, shift0=shifts[0], shift1=shifts[1])
    agree(p, *volume(rng, shape, levels, zero, spread, masked))


@settings(max_examples=30)
@given(
    channels=st.sampled_from([1, 8, 11]),
    levels=st.sampled_from([2, 6, 256]),
    reach=st.integers(1, 3),
    masked=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_second_coder_at_the_bounds(
    channels: int, levels: int, reach: int, masked: bool, seed: int
) -> None:
    """Sums up to 2^30, every shift, any table: the second coder asserts that nothing overflows."""
    rng = np.random.default_rng(seed)
    zero = int(rng.integers(levels))
    p = extreme_parameters(rng, channels=channels, levels=levels, zero=zero, reach=reach)
    agree(p, *volume(rng, (channels, 4, 5), levels, zero, 1000, masked))


@pytest.mark.parametrize("sign", [1, -1])
def test_second_coder_at_the_limits_of_means(sign: int) -> None:
    """Where the last fractional bit of a mean makes another code."""
    rng = np.random.default_rng(5)
    zero = 0 if sign > 0 else 255
    p = random_parameters(rng, channels=8, levels=256, zero=zero)
    out_bias = np.where(np.arange(16) < 8, sign << 28, p.arrays["out_bias"])
    # So wide that the mean's distance stays within the table.
    inverse = rng.integers(700, 1300, 128)
    p = changed(
        p, out_bias=out_bias, inverse=inverse, mean_shift=np.zeros(8, np.int64),
        table=np.arange(2049) * 4000,
    )  # fmt: skip
    symbols = rng.integers(0, 256, (8, 5, 6)).astype(np.uint8)
    trace: list[tuple[int, int]] = []
    code = reference.RangeDecoder(encoded(symbols, native.context_parameters(to_bytes(p)), None))
    reference.walk(code, p, symbols.shape, None, trace)
    assert {mean for mean, _ in trace} == {sign * 32767}
    agree(p, symbols, None)


def agree(p: reference.Parameters, symbols, counts) -> None:
    """Both coders read the file and write and read the same code."""
    data = to_bytes(p)
    by_page, by_library = reference.read_parameters(data), native.context_parameters(data)
    stated = (by_library.channels, by_library.levels, by_library.zero)
    assert stated == (p.channels, p.levels, p.zero)
    code = encoded(symbols, by_library, counts)
    assert len(code) <= 3 * symbols.size + 8
    assert reference.encode(symbols, by_page, counts) == code
    assert np.array_equal(reference.decode(code, by_page, symbols.shape, counts), symbols)
    assert np.array_equal(decoded(code, by_library, symbols.shape, counts), symbols)


@pytest.fixture(scope="module")
def coded():
    """Symbols, their code, both readers' parameters."""
    data = parameter_file("tiny")
    by_page, by_library = reference.read_parameters(data), native.context_parameters(data)
    symbols, _ = volume(np.random.default_rng(3), (12, 4, 5), 256, 128, 12, False)
    return symbols, encoded(symbols, by_library, None), by_page, by_library


def both(code: bytes, by_page, by_library, shape) -> np.ndarray | None:
    """What both readers restore, None if they refuse. Once a code is no writer's, a reader may
    refuse it at once, as the second coder does, or go on."""
    try:
        found = decoded(code, by_library, shape, None)
    except CorruptDataError:
        found = None
    rule = None
    try:
        by_page = reference.decode(code, by_page, shape, None)
    except reference.InvalidError as error:
        rule = str(error)
    if rule is not None:
        assert found is None or rule == "no writer's code"
        return None
    assert np.array_equal(found, by_page)
    return found


def test_any_number_of_the_last_interval_ends_a_code(coded) -> None:
    symbols, code, by_page, by_library = coded
    order = by_page.arrays["order"]
    told = reference.RangeEncoder(symbols[order].transpose(1, 2, 0).ravel().tolist())
    reference.walk(told, by_page, symbols.shape, None)
    size = 4 * told.words + 8
    assert len(code) < size
    for number in (told.lower | 1, told.lower + told.r // 3 | 1, (told.lower + told.r - 3) | 1):
        other = number.to_bytes(size, "big")
        found = both(other, by_page, by_library, symbols.shape)
        assert np.array_equal(found, symbols)
    for number in (told.lower - 1 | 1, told.lower + told.r | 1):
        found = both(number.to_bytes(size, "big"), by_page, by_library, symbols.shape)
        assert found is None or not np.array_equal(found, symbols)


def test_numbers_above_the_last_symbol_are_refused() -> None:
    """All symbols come out, but the code is beyond what is left of the interval."""
    data = parameter_file("tiny")
    by_page, by_library = reference.read_parameters(data), native.context_parameters(data)
    order, tried = by_page.arrays["order"], 0
    for seed in range(20):
        symbols, _ = volume(np.random.default_rng(seed), (12, 2, 2), 256, 128, 12, False)
        symbols[order[-1], -1, -1] = 255
        told = reference.RangeEncoder(symbols[order].transpose(1, 2, 0).ravel().tolist())
        reference.walk(told, by_page, symbols.shape, None)
        last = (told.lower + told.r - 1).to_bytes(4 * told.words + 8, "big")
        if last[-1] != 0:
            assert np.array_equal(both(last, by_page, by_library, symbols.shape), symbols)
        if told.spare < 4:
            continue
        tried += 1
        beyond = (told.lower + told.r + told.spare // 2) | 1
        code = beyond.to_bytes(4 * told.words + 8, "big")
        assert both(code, by_page, by_library, symbols.shape) is None
        with pytest.raises(CorruptDataError):
            decoded(code, by_library, symbols.shape, None)
    assert tried > 0


def test_other_numbers_of_bytes_are_refused(coded) -> None:
    symbols, code, by_page, by_library = coded
    for other in (code + b"\0", code + b"\0" * 9, code + b"\1" * 9, code[:-9], code[:3], b""):
        assert both(other, by_page, by_library, symbols.shape) is None


def test_codes_beyond_all_symbols(coded) -> None:
    symbols, _, by_page, by_library = coded
    for code in (b"\xff" * 8, b"\xff" * 100, b"\xff" * 1000):
        assert both(code, by_page, by_library, symbols.shape) is None


@given(data=st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    file = parameter_file("tiny-map")
    by_page, by_library = reference.read_parameters(file), native.context_parameters(file)
    found = both(data, by_page, by_library, (8, 2, 3))
    assert found is None or found.max() < 6


@given(seed=st.integers(0, 2**32))
def test_damaged_codes_are_read_alike(coded, seed: int) -> None:
    symbols, code, by_page, by_library = coded
    rng = np.random.default_rng(seed)
    other = bytearray(code)
    other[rng.integers(len(code))] ^= int(rng.integers(1, 256))
    found = both(bytes(other), by_page, by_library, symbols.shape)
    assert found is None or not np.array_equal(found, symbols)


@pytest.mark.parametrize("shape", [(12, 0, 0), (12, 0, 3), (12, 3, 0)])
def test_volumes_without_positions_have_no_code(coded, shape: tuple[int, int, int]) -> None:
    _, _, by_page, by_library = coded
    assert encoded(np.zeros(shape, np.uint8), by_library, None) == b""
    assert both(b"", by_page, by_library, shape) is not None
    assert both(b"\0", by_page, by_library, shape) is None
