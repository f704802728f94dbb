"""The contract that everything compared picture by picture meets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Method(Protocol):
    """One way to make bytes of a picture and a picture of them, at one quality.

    Both calls may come from several threads at once, use one core each, and touch no file.
    """

    name: str  # one of results.ROW_NAMES
    quality: str
    settings: str  # for people: "quality=75, optimize=True"

    def encode(self, rgb: NDArray[np.uint8], /) -> bytes:
        """Picture uint8 (height, width, 3), C-contiguous, to the bytes of a file."""
        ...

    def decode(self, data: bytes, /) -> NDArray[np.uint8]:
        """The bytes of a file to a picture uint8 (height, width, 3)."""
        ...


class UnavailableError(Exception):
    """A method that cannot be measured here; the message says why, for the user."""
