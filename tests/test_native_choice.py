"""The binding of choosing: what an encoder may change, and that a decoder restores it."""

from __future__ import annotations

from collections.abc import Iterable

import context_reference as reference
import numpy as np
import pytest
from context_volumes import (
    FORMS,
    KERNELS,
    file_of,
    masked,
    options,
    parameters_of,
    symbols_of,
)

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


class Chooser(reference.RangeEncoder):
    """The rule of docs/context-coder.md, written from its text: logarithms are those of 256th
    powers, rounded down.

    Args:
        symbols: with 256 times the latent less the symbol's value, in the order of coding.
    """

    def __init__(self, symbols: Iterable[tuple[int, int]], zero: int, threshold: int) -> None:
        super().__init__(())
        self.given = iter(symbols)
        self.zero, self.threshold = zero, threshold

    def symbol(self, f: list[int]) -> int:
        symbol, fraction = next(self.given)
        value = symbol - self.zero
        if abs(value) == 1:
            logs = [((f[s + 1] - f[s]) ** 256).bit_length() for s in (self.zero, symbol)]
            loss = 1 + 2 * value * fraction / 256
            if logs[0] - logs[1] > self.threshold * loss:
                symbol = self.zero
        self.symbols = iter((symbol,))
        return super().symbol(f)


@pytest.mark.parametrize("form", [FORMS[3], FORMS[4], FORMS[6], FORMS[8], FORMS[9]], ids=str)
@pytest.mark.parametrize("threshold", [1, 60, 512])
@pytest.mark.parametrize("with_counts", [False, True])
def test_the_rule_is_that_of_the_page(
    form: tuple[int, ...], threshold: int, with_counts: bool
) -> None:
    p = reference.read_parameters(file_of(form, 0, False))
    parameters = parameters_of(form)
    rng = np.random.default_rng(threshold)
    shape = (p.channels, 6, 7)
    symbols = np.clip(p.zero + np.rint(rng.laplace(0, 1, shape)), 0, p.levels - 1).astype(np.uint8)
    symbols, counts = masked(rng, symbols, p.zero) if with_counts else (symbols, None)
    fractions = rng.integers(-128, 128, shape, np.int8)
    code = Chooser(
        (
            (int(symbols[c, y, x]), int(fractions[c, y, x]))
            for y in range(shape[1])
            for x in range(shape[2])
            for c in p.arrays["order"]
            if counts is None or c < counts[y, x]
        ),
        p.zero,
        threshold,
    )
    wanted = reference.walk(code, p, shape, counts)
    data, chosen = chosen_of(symbols, parameters, threshold, fractions=fractions, counts=counts)
    assert np.array_equal(chosen, wanted)
    assert data == code.end()
    assert (chosen != symbols).any()
