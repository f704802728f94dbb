"""The binding of choosing: what an encoder may change, and that a decoder restores it."""

from __future__ import annotations

import numpy as np
import pytest
from context_volumes import FORMS, KERNELS, masked, options, parameters_of, symbols_of

from edgecomp import native
from edgecomp.native import ContextParameters, Symbols


def chosen_of(
    symbols: Symbols, parameters: ContextParameters, threshold: int, **more: object
) -> tuple[bytes, Symbols]:
    code, chosen = native.context_encode_chosen(
        symbols, threshold=threshold, **options(parameters) | more
    )
    counts = more.get("counts")
    restored = native.context_decode(code, shape=symbols.shape, **options(parameters, counts))
    assert np.array_equal(restored, chosen)
    return code, chosen


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_chosen_volume_is_what_decodes_and_differs_in_ones_only(form: tuple[int, ...]) -> None:
    parameters = parameters_of(form)
    rng = np.random.default_rng(2)
    symbols = symbols_of(rng, "latents", (form[0], 9, 11), parameters.levels, parameters.zero)
    fractions = rng.integers(-128, 128, symbols.shape, np.int8)
    symbols, counts = masked(rng, symbols, parameters.zero)
    for more in ({}, {"fractions": fractions}, {"counts": counts}):
        code, chosen = chosen_of(symbols, parameters, 0, **more)
        moved = chosen != symbols
        assert (np.abs(symbols[moved].astype(int) - parameters.zero) == 1).all()
        assert (chosen[moved] == parameters.zero).all()
        for kernels in KERNELS:
            again, _ = chosen_of(symbols, parameters, 0, kernels=kernels, **more)
            assert again == code


def test_a_threshold_that_nothing_saves_changes_nothing() -> None:
    parameters = parameters_of(FORMS[6])
    symbols = symbols_of(np.random.default_rng(3), "latents", (9, 12, 13), 256, 0)
    code, chosen = chosen_of(symbols, parameters, 25 * 256)
    assert np.array_equal(chosen, symbols)
    assert code == native.context_encode(symbols, **options(parameters))


def test_a_lower_threshold_makes_more_zeros() -> None:
    parameters = parameters_of(FORMS[9])
    symbols = symbols_of(np.random.default_rng(4), "latents", (24, 12, 13), 256, 128)
    zeros = [
        np.count_nonzero(chosen_of(symbols, parameters, threshold)[1] == 128)
        for threshold in (25 * 256, 0)
    ]
    assert zeros[0] < zeros[1]


def test_a_symbol_nearer_to_zero_goes_first() -> None:
    parameters = parameters_of(FORMS[9])
    symbols = symbols_of(np.random.default_rng(5), "latents", (24, 12, 13), 256, 128)
    away = np.where(symbols > 128, 127, -128).astype(np.int8)  # at the far edge of its interval
    near = np.where(symbols > 128, -128, 127).astype(np.int8)
    kept = [
        np.count_nonzero(chosen_of(symbols, parameters, 64, fractions=f)[1] != 128)
        for f in (away, near)
    ]
    assert kept[0] > kept[1]


def test_fractions_of_another_shape_or_type_are_refused() -> None:
    parameters = parameters_of(FORMS[6])
    symbols = np.zeros((9, 3, 4), np.uint8)
    for fractions in (np.zeros((9, 4, 3), np.int8), np.zeros((9, 3, 4), np.int16)):
        with pytest.raises(ValueError, match="fractions"):
            native.context_encode_chosen(
                symbols, threshold=0, fractions=fractions, **options(parameters)
            )


def test_choosing_in_an_empty_volume() -> None:
    code, chosen = chosen_of(np.zeros((9, 0, 4), np.uint8), parameters_of(FORMS[6]), 0)
    assert code == b""
    assert chosen.shape == (9, 0, 4)
