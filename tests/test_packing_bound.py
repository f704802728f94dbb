"""edgecomp.entropy.packing_bound: a bound that holds, and that is worth knowing."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edgecomp import native
from edgecomp.backends import load_backend
from edgecomp.entropy.packing_bound import least_packed
from edgecomp.model_coders import load_coder
from edgecomp.models import shipped_model


@given(
    levels=st.sampled_from([2, 3, 5, 6, 7, 16, 17, 18, 31, 32, 255, 256]),
    side=st.sampled_from([0, 1, 2]),
    spread=st.sampled_from([0, 0.3, 2, 40, 1000]),
    masked=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_no_packing_goes_below_the_least(
    levels: int, side: int, spread: float, masked: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(0, 30, 3))
    zero = (0, levels // 2, levels - 1)[side]
    symbols = np.clip(zero + np.rint(rng.laplace(0, spread, shape)), 0, levels - 1)
    counts = None
    if masked:
        counts = rng.integers(0, shape[0] + 1, shape[1:]).astype(np.uint8)
        symbols = np.where(np.arange(shape[0])[:, None, None] < counts, symbols, zero)
    volume = symbols.astype(np.uint8)
    options = {"levels": levels, "zero": zero, "counts": counts}
    least = least_packed(volume, **options)
    assert least <= len(native.pack(volume, layout=native.Layout.DENSE, **options))
    try:
        by_order = native.pack(volume, layout=native.Layout.SORTED, **options)
    except ValueError:  # larger than dense
        return
    assert least <= len(by_order)


def test_the_least_is_worth_knowing(photo: Image.Image) -> None:
    """It spares the packing of pictures: their code is below it."""
    model = shipped_model("A")
    symbols = load_backend("onnx", model).analyse(np.array(photo), 0).symbols
    options = {"levels": 256, "zero": 128}
    packed, least = native.pack(symbols, **options), least_packed(symbols, **options)
    assert 0.5 * len(packed) < least <= len(packed)
    assert len(load_coder(model, "context").encode(symbols, **options)) < 0.8 * least
