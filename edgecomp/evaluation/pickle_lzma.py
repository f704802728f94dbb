"""The paper's storage of latents, pickle and LZMA: the only module here that pickles.

Johnson and Avasthi, *Faster Image Compression Using Network Compression*, put the array of symbols
through ``pickle`` and ``lzma`` in the place of an arithmetic coder. Pickle runs whatever the bytes
that it reads tell it to, so these are never files: only what an object of this module made itself,
in this process, is read back.
"""

from __future__ import annotations

import hashlib
import lzma
import pickle
import threading
from typing import TYPE_CHECKING

import numpy as np

from edgecomp.evaluation.results import PICKLE_LZMA
from edgecomp.pictures import Picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgecomp.codec import Codec

# Symbols uint8 (channels, rows, columns), and the picture's height and width in pixels.
Stored = tuple["NDArray[np.uint8]", int, int]


class PickledSymbols:
    """``lzma.compress(pickle.dumps(...))``, and back for bytes that this object made.

    Both calls may come from several threads at once.

    Args:
        preset: of LZMA; None for the default of `lzma.compress`, as in the paper.
    """

    def __init__(self, preset: int | None = None) -> None:
        self._preset = preset
        self._made: set[bytes] = set()  # SHA-256 of all bytes that this object made
        self._lock = threading.Lock()

    def pack(self, value: NDArray[np.uint8] | Stored) -> bytes:
        """The bytes that are counted: those of the value's pickle as an .xz file."""
        data = lzma.compress(pickle.dumps(value), preset=self._preset)
        digest = hashlib.sha256(data).digest()
        with self._lock:
            self._made.add(digest)
        return data

    def restore_symbols(self, data: bytes) -> NDArray[np.uint8]:
        """The array that `pack` was given.

        Raises:
            ValueError: this object did not make these bytes, or not of an array.
        """
        value = self._restore(data)
        if not isinstance(value, np.ndarray):
            raise ValueError("these bytes hold no array alone")
        return value

    def restore_stored(self, data: bytes) -> Stored:
        """The symbols, height and width that `pack` was given.

        Raises:
            ValueError: this object did not make these bytes, or of an array alone.
        """
        value = self._restore(data)
        if not isinstance(value, tuple):
            raise ValueError("these bytes hold an array alone")
        return value

    def _restore(self, data: bytes) -> NDArray[np.uint8] | Stored:
        with self._lock:
            known = hashlib.sha256(data).digest() in self._made
        if not known:
            raise ValueError("these bytes were not pickled here, and are not unpickled")
        value: NDArray[np.uint8] | Stored = pickle.loads(lzma.decompress(data))
        return value


class PickleLzma:
    """edgecomp's networks with the paper's pickle and LZMA behind them; meets `methods.Method`.

    What is pickled, and counted, is the tuple (symbols as the network rounds them, height, width):
    the sizes stand for what a file needs to cut the padding off again, and cost about 10 bytes.
    `decode` takes only what the same object's `encode` made; the digest that proves it takes under
    a thousandth of the time.

    Args:
        codec: whose model and backend; its symbol coder is not used.
        quality: for the row.
    """

    name = PICKLE_LZMA

    def __init__(self, codec: Codec, quality: str) -> None:
        self.quality = quality
        self.settings = (
            f"{codec.model_name}, {codec.backend.name}, {codec.backend.precision},"
            f" pickle protocol {pickle.DEFAULT_PROTOCOL}, lzma preset {lzma.PRESET_DEFAULT}"
        )
        self._codec = codec
        self._pickled = PickledSymbols()

    def encode(self, rgb: NDArray[np.uint8], /) -> bytes:
        """Picture uint8 (height, width, 3) to its pickled and compressed symbols.

        Raises:
            ModelDamagedError, LimitError: the encoder network cannot be run.
        """
        symbols = self._codec.analyse(Picture(rgb=rgb)).symbols
        return self._pickled.pack((symbols, rgb.shape[0], rgb.shape[1]))

    def decode(self, data: bytes, /) -> NDArray[np.uint8]:
        """What `encode` made to a picture uint8 (height, width, 3).

        Raises:
            ValueError: this object's `encode` did not make these bytes.
            ModelDamagedError, LimitError: the decoder network cannot be run.
        """
        symbols, height, width = self._pickled.restore_stored(data)
        padded = self._codec.backend.synthesise(symbols, 0)
        return np.ascontiguousarray(padded[:height, :width])
