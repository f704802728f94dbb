"""What several test modules share."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest

_EXHAUSTIVE = pytest.mark.exhaustive

ROOT = Path(__file__).parent.parent
DATA = Path(__file__).parent / "data"

# For programs that compute for long: on a busy machine they took 240 s where they take 30 on an
# idle one, so only what hangs takes so long.
HANG_SECONDS = 1200


def counted(usual: int, full: int) -> pytest.MarkDecorator:
    """Gives a test its argument ``count``: a usual one in every run, and the one that
    docs/reliability.md promises with ``-m exhaustive``."""
    return pytest.mark.parametrize("count", [usual, pytest.param(full, marks=_EXHAUSTIVE)])


def in_parts_as_whole(folder: Path, precision: str) -> tuple[bool, bool]:
    """Whether the networks of a model folder give in parts, with the halo of its manifest around
    each, what they give of the whole: symbols (and counts), pixels."""
    from edgecomp.backends import load_backend
    from edgecomp.models import load_model

    model = load_model(folder)
    assert model.halo is not None
    backend = load_backend("onnx", model, precision=precision)
    rng = np.random.default_rng(4)
    stride, (rows, columns) = model.stride, (2 * max(model.halo.values()) + 12, 22)
    picture = rng.integers(0, 256, (stride * rows, stride * columns, 3), dtype=np.uint8)
    latent = backend.analyse(picture, 0)
    pixels = backend.synthesise(latent.symbols, 0)
    half = rows // 2

    def seen(role: str) -> int:
        assert model.halo is not None
        return half + model.halo[role]

    top = backend.analyse(picture[: stride * seen("encoder")], 0)
    symbols = np.array_equal(top.symbols[:, :half], latent.symbols[:, :half])
    if latent.counts is not None and top.counts is not None:
        symbols &= np.array_equal(top.counts[:half], latent.counts[:half])
    above = backend.synthesise(np.ascontiguousarray(latent.symbols[:, : seen("decoder")]), 0)
    return symbols, np.array_equal(above[: stride * half], pixels[: stride * half])


def listening() -> None:
    """For a new process, before its program starts (``preexec_fn``): tests run in the background
    or under nohup would hand on that signals are ignored."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
