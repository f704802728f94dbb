"""Symbol arrays of every kind come back exactly and never take more than they hold, and 64 bytes.

What is bounded more tightly, and what damage does, is in test_entropy.py and
test_packing_bound.py; here is the number of arrays that is promised.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
from common import DATA, counted
from context_volumes import FORMS, KINDS, masked, parameters_of, symbols_of

from edgecomp import native
from edgecomp.entropy import ContextCoder, LzmaCoder, SymbolCoder, decode_tile, encode_tile
from edgecomp.model_coders import load_coder
from edgecomp.models import load_model
from edgecomp.native import Symbols

ROOM = 64
BATCH = 50
# Levels and zero symbol of arrays that `lzma` takes: each number of symbols to a byte, each side.
LZMA_FORMS = [
    (2, 0), (2, 1), (3, 1), (4, 0), (5, 4), (6, 2), (7, 3), (16, 8), (17, 8), (255, 0), (256, 128),
    (256, 255),
]  # fmt: skip


@dataclass(frozen=True)
class Form:
    """A coder, and the arrays that it takes: channels (None: any), levels, zero symbol."""

    coder: SymbolCoder
    channels: int | None
    levels: int
    zero: int


def _context(coder: SymbolCoder) -> Form:
    assert isinstance(coder, ContextCoder)
    known = coder.parameters
    return Form(coder, known.channels, known.levels, known.zero)


# `context` with the parameters of the small models, with ones that foresee nothing of what comes,
# and with the largest that there may be.
FORMS_OF_CODERS = [
    *(Form(LzmaCoder(), None, levels, zero) for levels, zero in LZMA_FORMS),
    *(
        _context(load_coder(load_model(DATA / "context" / name), "context"))
        for name in ("tiny", "tiny-map")
    ),
    *(
        _context(ContextCoder(parameters_of(form, 9, extreme)))
        for form in FORMS
        for extreme in (False, True)
    ),
]


def check(form: Form, symbols: Symbols, counts: Symbols | None = None) -> None:
    """There and back; with the bound."""
    options = {"levels": form.levels, "zero": form.zero}
    data = encode_tile(form.coder, symbols, counts=counts, **options)
    raw = symbols.size + (0 if counts is None else counts.size)
    assert len(data) <= raw + ROOM
    if counts is None:
        assert len(data) <= 1 + native.pack_bound(symbols.shape, form.levels)
    found, found_counts = decode_tile(
        form.coder, data, shape=symbols.shape, importance_map=counts is not None, **options
    )
    assert found.dtype == np.uint8
    assert found.shape == symbols.shape
    assert found.tobytes() == symbols.tobytes()
    if counts is not None:
        assert found_counts is not None
        assert found_counts.tobytes() == counts.tobytes()


def arrays(rng: np.random.Generator, form: Form, count: int) -> Iterator[Symbols]:
    """So many arrays of one shape and kind, most of a few symbols, made at once."""
    height, width = (int(side) for side in rng.geometric(0.35, 2) - 1)
    channels = int(rng.geometric(0.3)) if form.channels is None else form.channels
    kind = KINDS[rng.integers(len(KINDS))]
    made = symbols_of(rng, kind, (count * channels, height, width), form.levels, form.zero)
    if rng.random() < 0.3:  # one symbol throughout an array, another one in the next
        made = np.repeat(made[::channels, :1, :1], height, 1).repeat(width, 2).repeat(channels, 0)
    yield from np.ascontiguousarray(made).reshape(count, channels, height, width)


@counted(3000, 1_000_000)
def test_random_arrays(count: int) -> None:
    rng = np.random.default_rng(9)
    done, sizes = 0, set()
    while done < count:
        form = FORMS_OF_CODERS[done // BATCH % len(FORMS_OF_CODERS)]
        with_map = rng.random() < 0.3
        for symbols in arrays(rng, form, min(BATCH, count - done)):
            if with_map and symbols.shape[0] < native.MAX_LEVELS:
                check(form, *masked(rng, symbols, form.zero))
            else:
                check(form, symbols)
            sizes.add(symbols.size)
            done += 1
    assert done == count
    assert {0, 1} < sizes, "some are empty, some are one symbol"
    assert max(sizes) > 300


@pytest.mark.parametrize("kind", KINDS)
def test_every_small_shape(kind: str) -> None:
    rng = np.random.default_rng(10)
    lzma = [form for form in FORMS_OF_CODERS if form.channels is None]
    for number, (channels, height, width) in enumerate(product(range(5), repeat=3)):
        form = lzma[number % len(lzma)]
        shape = (channels, height, width)
        check(form, symbols_of(rng, kind, shape, form.levels, form.zero))
    context = [form for form in FORMS_OF_CODERS if form.channels is not None]
    for number, (height, width) in enumerate(product(range(7), repeat=2)):
        form = context[number % len(context)]
        assert form.channels is not None
        shape = (form.channels, height, width)
        check(form, symbols_of(rng, kind, shape, form.levels, form.zero))


@pytest.mark.parametrize("levels", [2, 3])
def test_every_array_there_can_be(levels: int) -> None:
    """All arrays of two symbols up to 9 of them, of three up to 5."""
    parameters = parameters_of((1, 2, 1, 3, 64, 32))
    forms = [Form(LzmaCoder(), None, levels, levels - 1)]
    if levels == 2:
        forms.append(_context(ContextCoder(parameters)))
    for size in range(10 if levels == 2 else 6):
        for values in product(range(levels), repeat=size):
            array = np.array(values, np.uint8).reshape(1, 1, size)
            for form in forms:
                check(form, array)
                if size == 9:
                    check(form, array.reshape(1, 3, 3))


@pytest.mark.parametrize("kind", KINDS)
def test_large_arrays(kind: str) -> None:
    rng = np.random.default_rng(11)
    for number, form in enumerate(FORMS_OF_CODERS):
        shape = (form.channels or 1 + number, 40 - number, 17 + number)
        check(form, symbols_of(rng, kind, shape, form.levels, form.zero))


def test_the_bound_is_one_that_an_array_can_miss() -> None:
    """The control: a coder that adds a header of its own would be found."""

    class Wordy(LzmaCoder):
        def encode(
            self, symbols: Symbols, *, levels: int, zero: int, counts: Symbols | None = None
        ) -> bytes:
            return super().encode(symbols, levels=levels, zero=zero, counts=counts) + bytes(64)

    noise = symbols_of(np.random.default_rng(12), "noise", (3, 9, 9), 256, 128)
    with pytest.raises(AssertionError, match="243"):
        check(Form(Wordy(), None, 256, 128), noise)
