"""The contract of a symbol coder.

A coder turns a (channels, height, width) volume of uint8 symbols into bytes that do not say their
own length, and back. It is a pure function of its arguments: one coder object serves any number of
threads. Whatever bytes a coder is given to decode, it returns a volume of the stated shape with
every symbol below ``levels``, or raises ``CorruptDataError``; it uses no more time and memory than
a volume of that shape calls for.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Symbols = NDArray[np.uint8]


class SymbolCoder(Protocol):
    """One way to code symbols."""

    @property
    def name(self) -> str:
        """What users call it."""

    @property
    def coder_id(self) -> int:
        """What codestreams call it: 1 is ``lzma``, 2 is ``context``."""

    def encode(
        self,
        symbols: Symbols,
        *,
        levels: int,
        zero: int,
        counts: Symbols | None = None,
    ) -> bytes:
        """Code a volume.

        Args:
            symbols: each below ``levels``; equal to ``zero`` wherever ``counts`` leaves it out.
            levels: the size of the alphabet, 2 to 256.
            zero: the symbol of the latent 0.
            counts: the importance map, (height, width): how many channels are coded at each
            position.
        """

    def decode(
        self,
        data: bytes | memoryview,
        *,
        shape: tuple[int, int, int],
        levels: int,
        zero: int,
        counts: Symbols | None = None,
    ) -> Symbols:
        """Restore the volume; the other arguments must be those of encoding.

        Raises:
            CorruptDataError: ``data`` is no volume of that shape.
            LimitError: the shape is beyond what any volume may have.
        """
