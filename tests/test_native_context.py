"""The binding of the context coder: any volume with any parameters, hostile codes, hostile files.

What the format promises is in test_format_context.py, what the C library alone promises in
native/test_context.c.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator

import context_reference as reference
import numpy as np
import pytest
from context_volumes import (
    FORMS,
    KERNELS,
    KINDS,
    SMALL,
    file_of,
    masked,
    options,
    parameters_of,
    symbols_of,
)
from hypothesis import given
from hypothesis import strategies as st

from edgecomp import native
from edgecomp._native import lib
from edgecomp.entropy import ContextCoder
from edgecomp.errors import CorruptDataError, LimitError
from edgecomp.native import ContextParameters, Kernels, Symbols

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
# Generated volumes that must come back: all of them in the long run only.
VOLUMES = 100_000 if LONG else 3000


@st.composite
def cases(draw: st.DrawFn) -> tuple[Symbols, ContextParameters, Symbols | None]:
    """Symbols, parameters, counts."""
    form = draw(st.sampled_from(FORMS))
    parameters = parameters_of(form, draw(st.integers(0, 7)), draw(st.booleans()))
    shape = (form[0], draw(st.integers(0, 9)), draw(st.integers(0, 9)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(KINDS))
    symbols = symbols_of(rng, kind, shape, parameters.levels, parameters.zero)
    if draw(st.booleans()):
        return symbols, parameters, None
    symbols, counts = masked(rng, symbols, parameters.zero)
    return symbols, parameters, counts


def check_outcome(
    data: bytes, shape: tuple[int, int, int], parameters: ContextParameters, counts: Symbols | None
) -> bool:
    """Whether hostile bytes make a volume, which must be of the form asked for; else they are
    CorruptDataError. All kernels must agree."""
    found = []
    for kernels in KERNELS:
        try:
            symbols = native.context_decode(
                data, shape=shape, kernels=kernels, **options(parameters, counts)
            )
        except CorruptDataError:
            found.append(None)
            continue
        assert symbols.shape == shape
        assert symbols.size == 0 or symbols.max() < parameters.levels
        if counts is not None:
            left_out = np.arange(shape[0])[:, None, None] >= counts
            assert (symbols[left_out] == parameters.zero).all()
        found.append(symbols.tobytes())
    assert len(set(found)) == 1
    return found[0] is not None


def test_there_are_kernels() -> None:
    assert {Kernels.AUTO, Kernels.PORTABLE} <= set(KERNELS)
    missing = set(Kernels) - set(KERNELS)
    for kernels in missing:
        with pytest.raises(ValueError, match=r"."):
            native.context_decode(
                b"", shape=(1, 0, 0), kernels=kernels, **options(parameters_of(FORMS[0]))
            )


@given(cases())
def test_round_trip_with_every_kernel(case) -> None:
    symbols, parameters, counts = case
    codes = {
        native.context_encode(symbols, kernels=kernels, **options(parameters, counts))
        for kernels in KERNELS
    }
    (code,) = codes
    coded = symbols.size if counts is None else int(counts.sum())
    assert len(code) <= 3 * coded + 8
    for kernels in KERNELS:
        restored = native.context_decode(
            code, shape=symbols.shape, kernels=kernels, **options(parameters, counts)
        )
        assert restored.dtype == np.uint8
        assert np.array_equal(restored, symbols)


@pytest.mark.parametrize("form", [*FORMS[1:5], FORMS[6], FORMS[7]], ids=str)
def test_long_rows_by_the_second_coder(form: tuple[int, ...]) -> None:
    """Rows above are added up for many positions at once: rows must be longer than that."""
    parameters = parameters_of(form)
    rng = np.random.default_rng(7)
    for width in (31, 32, 33, 70):
        shape = (form[0], 3, width)
        symbols = symbols_of(rng, "latents", shape, parameters.levels, parameters.zero)
        expected = reference.encode(symbols, reference.read_parameters(parameters.data), None)
        for kernels in KERNELS:
            code = native.context_encode(symbols, kernels=kernels, **options(parameters))
            assert code == expected


@pytest.mark.parametrize("before", [1, 13, 31, 32, 60, 65_490, 131_050])
def test_where_in_a_row_symbols_stand_does_not_matter(before: int) -> None:
    """What is not coded costs nothing and changes nothing, far beyond 2^16 columns too."""
    rng = np.random.default_rng(before)
    for form in FORMS:
        parameters = parameters_of(form)
        channels, zero = form[0], parameters.zero
        part = symbols_of(rng, "latents", (channels, 3, 50), parameters.levels, zero)
        whole = np.pad(part, ((0, 0), (0, 0), (before, 5)), constant_values=zero)
        counts = np.zeros(whole.shape[1:], np.uint8)
        counts[:, before : before + 50] = channels
        expected = native.context_encode(part, **options(parameters))
        for kernels in KERNELS:
            chosen = options(parameters, counts) | {"kernels": kernels}
            code = native.context_encode(whole, **chosen)
            assert code == expected
            restored = native.context_decode(code, shape=whole.shape, **chosen)
            assert np.array_equal(restored, whole)


@pytest.mark.parametrize("form", [SMALL, FORMS[2], FORMS[6]], ids=str)
@pytest.mark.parametrize("extreme", [False, True])
def test_every_cut_and_every_flipped_bit(form: tuple[int, ...], extreme: bool) -> None:
    parameters = parameters_of(form, 1, extreme)
    rng = np.random.default_rng(1)
    shape = (form[0], 4, 5)
    symbols = symbols_of(rng, "latents", shape, parameters.levels, parameters.zero)
    for counts in (None, masked(rng, symbols, parameters.zero)[1]):
        if counts is not None:
            left_out = np.arange(form[0])[:, None, None] >= counts
            symbols = np.where(left_out, np.uint8(parameters.zero), symbols)
        code = native.context_encode(symbols, **options(parameters, counts))
        refused = 0
        for cut in range(len(code)):
            refused += not check_outcome(code[:cut], shape, parameters, counts)
        # A cut may be the code of another volume: rarely where the parameters fit, and often where
        # they say that the zero bytes beyond the end are likely.
        assert refused >= (0 if extreme else len(code) - 8)
        for bit in range(8 * len(code)):
            damaged = bytearray(code)
            damaged[bit // 8] ^= 1 << bit % 8
            check_outcome(bytes(damaged), shape, parameters, counts)
        for more in (b"\0" * 9, b"\0" * 1000):
            assert not check_outcome(code + more, shape, parameters, counts)


@given(
    data=st.one_of(
        st.binary(max_size=300),
        st.integers(0, 400).map(bytes),
        st.integers(0, 400).map(b"\xff".__mul__),
    ),
    form=st.sampled_from(FORMS),
    extreme=st.booleans(),
    height=st.integers(0, 6),
    width=st.integers(0, 6),
    seed=st.integers(0, 2**32),
)
def test_any_bytes(data, form, extreme, height, width, seed) -> None:
    parameters = parameters_of(form, seed % 8, extreme)
    counts = np.random.default_rng(seed).integers(0, form[0] + 1, (height, width)).astype(np.uint8)
    for mask in (None, counts):
        check_outcome(data, (form[0], height, width), parameters, mask)


def test_an_empty_volume_has_an_empty_code() -> None:
    parameters = parameters_of(SMALL)
    for shape in ((3, 0, 0), (3, 0, 7), (3, 7, 0), (3, 0, 2**31 - 1)):
        assert native.context_encode(np.zeros(shape, np.uint8), **options(parameters)) == b""
        assert check_outcome(b"", shape, parameters, None)
        assert not check_outcome(b"\0", shape, parameters, None)


def test_misuse() -> None:
    parameters = parameters_of(SMALL)
    volume = np.full((3, 2, 4), 2, np.uint8)
    good = options(parameters)
    full = np.full((2, 4), 3, np.uint8)
    left_out = volume.copy()
    left_out[2, 1, 3] = 1
    without = full.copy()
    without[1, 3] = 2
    for symbols, arguments in (
        (volume[0], good),
        (volume[:2], good),
        (volume.astype(np.int8), good),
        (volume, good | {"levels": 7}),
        (volume, good | {"zero": 3}),
        (volume, good | {"kernels": 9}),
        (volume, good | {"kernels": -1}),
        (volume + np.uint8(4), good),
        (volume + np.uint8(253), good),
        (left_out, good | {"counts": without}),
        (volume, good | {"counts": full + np.uint8(1)}),
        (volume, good | {"counts": full.T}),
        (volume, good | {"counts": full.astype(np.int64)}),
    ):
        with pytest.raises(ValueError, match=r"."):
            native.context_encode(symbols, **arguments)
    assert native.context_encode(left_out, **good | {"counts": full})
    for arguments in (
        good | {"shape": (2, 2, 4)},
        good | {"shape": (3, 2, 4), "levels": 5},
        good | {"shape": (3, 2, 4), "zero": 1},
        good | {"shape": (3, 2, 4), "kernels": 5},
        good | {"shape": (3, -2, 4)},
        good | {"shape": (3, 2, 4), "counts": full + np.uint8(1)},
        good | {"shape": (3, 2, 4), "counts": full.T},
    ):
        with pytest.raises(ValueError, match=r"."):
            native.context_decode(b"", **arguments)


@pytest.mark.parametrize("shape", [(3, 2**31, 1), (3, 2**15, 2**15), (3, 1, 2**64), (3, 0, 2**70)])
def test_absurd_shapes(shape: tuple[int, int, int]) -> None:
    with pytest.raises(LimitError):
        native.context_decode(b"", shape=shape, **options(parameters_of(SMALL)))


def test_slices_need_not_be_contiguous() -> None:
    parameters = parameters_of(SMALL)
    whole = np.random.default_rng(0).integers(0, 6, (6, 8, 8)).astype(np.uint8)
    part = whole[::2, ::-1, 1:7]
    code = native.context_encode(part, **options(parameters))
    restored = native.context_decode(code, shape=part.shape, **options(parameters))
    assert np.array_equal(restored, part)


def test_parameters_say_what_they_are_and_stay_so() -> None:
    data = file_of(SMALL, 0, False)
    parameters = native.context_parameters(data)
    assert (parameters.channels, parameters.levels, parameters.zero) == (3, 6, 2)
    assert parameters.data == data
    assert parameters.prepared.ctypes.data % lib.EDGECOMP_CONTEXT_ALIGNMENT == 0
    assert parameters == native.context_parameters(data)
    with pytest.raises(dataclasses.FrozenInstanceError):
        parameters.levels = 7  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        parameters.prepared[0] = 0


def is_accepted(data: bytes, symbols: Symbols) -> bool:
    """Whether these are parameters; then they must code a volume, alike with every kernel."""
    try:
        parameters = native.context_parameters(data)
    except CorruptDataError:
        return False
    if parameters.channels != len(symbols):
        symbols = np.resize(symbols, (parameters.channels, *symbols.shape[1:]))
    symbols = np.minimum(symbols, np.uint8(parameters.levels - 1))
    codes = {
        native.context_encode(symbols, kernels=kernels, **options(parameters))
        for kernels in KERNELS
    }
    (code,) = codes
    restored = native.context_decode(code, shape=symbols.shape, **options(parameters))
    assert np.array_equal(restored, symbols)
    return True


@pytest.mark.parametrize("extreme", [False, True])
def test_every_byte_of_the_parameters(extreme: bool) -> None:
    """Some changes make other parameters; of sizes, and in the largest sums, they are refused."""
    data = file_of((2, 6, 2, 1, 32, 32), 3, extreme)
    rng = np.random.default_rng(3)
    symbols = rng.integers(0, 6, (2, 3, 4)).astype(np.uint8)
    outcomes = []
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= int(rng.integers(1, 256))
        outcomes.append(is_accepted(bytes(changed), symbols))
    assert not any(outcomes[:6])  # magic, version, reach
    assert not any(outcomes[10:12] + outcomes[14:20])  # sizes, reserved
    assert 0.01 < np.mean(outcomes) < 0.99


def test_every_cut_of_the_parameters() -> None:
    data = file_of(SMALL, 0, False)
    for cut in range(len(data)):
        with pytest.raises(CorruptDataError):
            native.context_parameters(data[:cut])
    for more in (b"\0", b"\xff" * 64, data):
        with pytest.raises(CorruptDataError):
            native.context_parameters(data + more)


@given(head=st.binary(max_size=24), size=st.integers(0, 40_000), seed=st.integers(0, 2**32))
def test_random_parameters(head: bytes, size: int, seed: int) -> None:
    noise = np.random.default_rng(seed).bytes(size)
    for data in (head + noise, file_of(SMALL, 0, False)[:20] + noise, b"ECCP\1" + head + noise):
        is_accepted(data, np.full((3, 2, 2), 1, np.uint8))


@given(
    form=st.sampled_from(FORMS),
    extreme=st.booleans(),
    seed=st.integers(0, 2**32),
    changes=st.integers(1, 40),
)
def test_changed_parameters(form, extreme, seed, changes) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray(file_of(form, seed % 8, extreme))
    for at in rng.integers(20, len(data), changes):
        data[at] = rng.integers(0, 256)
    symbols = symbols_of(rng, "extremes", (form[0], 3, 3), form[1], form[2])
    is_accepted(bytes(data), symbols)


def generated(count: int) -> Iterator[tuple[Symbols, ContextParameters, Symbols | None]]:
    """Volumes of all kinds and sizes, the same in every run."""
    for number in range(count):
        rng = np.random.default_rng(number)
        form = FORMS[number % len(FORMS)]
        parameters = parameters_of(form, int(rng.integers(8)), bool(rng.integers(2)))
        sides = {0: (0, int(rng.integers(5))), 1: (1, 1)}.get(
            int(rng.integers(12)), tuple(rng.integers(1, 9, 2).tolist())
        )
        kind = KINDS[int(rng.integers(len(KINDS)))]
        symbols = symbols_of(rng, kind, (form[0], *sides), parameters.levels, parameters.zero)
        if rng.integers(4):
            yield symbols, parameters, None
        else:
            symbols, counts = masked(rng, symbols, parameters.zero)
            yield symbols, parameters, counts


def test_generated_volumes_come_back_and_none_grows() -> None:
    growth = 0
    kinds = set()
    for symbols, parameters, counts in generated(VOLUMES):
        coder = ContextCoder(parameters)
        form = {"levels": parameters.levels, "zero": parameters.zero, "counts": counts}
        data = coder.encode(symbols, **form)
        assert np.array_equal(coder.decode(data, shape=symbols.shape, **form), symbols)
        coded = symbols.size if counts is None else int(counts.sum())
        growth = max(growth, len(data) - native.pack_bound((1, 1, coded), parameters.levels))
        kinds.add(data[0])
    assert growth <= 64
    assert kinds == {0, 1}, "both methods were needed"
