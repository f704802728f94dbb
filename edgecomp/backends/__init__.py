"""Backends: what runs the networks.

A backend turns a padded picture into symbols (analysis transform) and symbols into a picture
(synthesis transform). It knows nothing of files, coders or cropping.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from edgecomp.constants import BACKENDS
from edgecomp.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgecomp.models import Model


@dataclass(frozen=True, slots=True)
class Latent:
    """The symbols of a picture.

    Attributes:
        symbols: uint8 (channels, rows, columns), values below the model's levels.
        counts: uint8 (rows, columns), coded channels of each position, for models with an
            importance map; else None.
        fractions: int8, shaped as the symbols: 256 times the latent less its symbol's value,
            rounded and clipped, for models that choose symbols; else None.
    """

    symbols: NDArray[np.uint8]
    counts: NDArray[np.uint8] | None = None
    fractions: NDArray[np.int8] | None = None


class Backend(Protocol):
    """Runs one model's networks. Safe to call from several threads at once."""

    name: str
    precision: str

    def analyse(self, rgb: NDArray[np.uint8], gain: int, *, threads: int | None = None) -> Latent:
        """Picture uint8 (height, width, 3), sides multiples of the stride -> symbols.

        `threads` is how many this call may use; None for the backend's own number.
        """
        ...

    def synthesise(
        self, symbols: NDArray[np.uint8], gain: int, *, threads: int | None = None
    ) -> NDArray[np.uint8]:
        """Symbols uint8 (channels, rows, columns) -> picture uint8 (height, width, 3).

        `threads` is as for `analyse`.
        """
        ...


def load_backend(name: str, model: Model, *, precision: str = "auto", threads: int = 1) -> Backend:
    """Make a backend for a model.

    Args:
        name: "onnx" or "tensorflow".
        model: which networks.
        precision: "int8", "fp32", or "auto".
        threads: that one call may use where it does not say itself.

    Raises:
        UsageError: unknown backend.
        BackendUnavailableError: its package is not installed.
        ModelError: the model lacks the graphs, or they are damaged.
    """
    # Imported here: onnxruntime takes a while to load, and tensorflow may not be installed.
    if name == "onnx":
        from edgecomp.backends.onnx import OnnxBackend

        return OnnxBackend(model, precision=precision, threads=threads)
    if name == "tensorflow":
        from edgecomp.backends.tensorflow import TensorflowBackend

        return TensorflowBackend(model, precision=precision, threads=threads)
    raise UsageError(f"unknown backend {name!r} (there are: {', '.join(BACKENDS)})")
