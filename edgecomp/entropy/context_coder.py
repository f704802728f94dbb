"""The coder ``context``: range coding with a model's trained parameters, integers only.

Coded data is one method byte and a body (docs/format-symbols.md, section 4):

====== ==============================================
method body
====== ==============================================
0      the packed volume as it is
1      the range code (docs/format-context.md)
====== ==============================================
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgecomp import native
from edgecomp.entropy.coder import Symbols
from edgecomp.entropy.packing_bound import least_packed
from edgecomp.errors import CorruptDataError

METHOD_STORED: Final = 0
METHOD_CONTEXT: Final = 1


class ContextCoder:
    """Coder 2, for the volumes of one model. See :class:`edgecomp.entropy.SymbolCoder`.

    Args:
        parameters: of the model. They state the number of channels, the levels and the zero symbol;
            for any other volume coding and decoding raise ValueError.
    """

    name: Final = "context"
    coder_id: Final = 2

    def __init__(self, parameters: native.ContextParameters) -> None:
        self.parameters: Final = parameters

    def encode(
        self,
        symbols: Symbols,
        *,
        levels: int,
        zero: int,
        counts: Symbols | None = None,
    ) -> bytes:
        """Code a volume; never more than one byte larger than its packed form."""
        self._check(symbols.shape, levels, zero)
        code = native.context_encode(
            symbols, parameters=self.parameters, levels=levels, zero=zero, counts=counts
        )
        return _with_method(code, symbols, levels, zero, counts)

    def choose_and_encode(
        self,
        symbols: Symbols,
        *,
        levels: int,
        zero: int,
        fractions: NDArray[np.int8],
        threshold: int,
        counts: Symbols | None = None,
    ) -> tuple[bytes, Symbols]:
        """Code a volume in which symbols of magnitude one may become zero to save bits.

        Args:
            symbols, levels, zero, counts: as for :meth:`encode`.
            fractions: int8, shaped as ``symbols``: 256 times the latent less its symbol's value.
            threshold: 256ths of a bit that must be saved for a squared error of one.

        Returns:
            The coded data, and the symbols that it decodes to.
        """
        self._check(symbols.shape, levels, zero)
        code, chosen = native.context_encode_chosen(
            symbols,
            parameters=self.parameters,
            levels=levels,
            zero=zero,
            threshold=threshold,
            fractions=fractions,
            counts=counts,
        )
        return _with_method(code, chosen, levels, zero, counts), chosen

    def decode(
        self,
        data: bytes | memoryview,
        *,
        shape: tuple[int, int, int],
        levels: int,
        zero: int,
        counts: Symbols | None = None,
    ) -> Symbols:
        """Restore a volume; ``CorruptDataError`` for anything that is none."""
        self._check(shape, levels, zero)
        bound = native.pack_bound(shape, levels)
        view = memoryview(data)
        if not view:
            raise CorruptDataError("coded symbols are missing")
        method, body = view[0], view[1:]
        if len(body) > bound or method not in (METHOD_STORED, METHOD_CONTEXT):
            raise CorruptDataError("coded symbols begin with an unknown method or are too long")
        if method == METHOD_STORED:
            return native.unpack(body, shape=shape, levels=levels, zero=zero, counts=counts)
        return native.context_decode(
            body,
            parameters=self.parameters,
            shape=shape,
            levels=levels,
            zero=zero,
            counts=counts,
        )

    def _check(self, shape: tuple[int, ...], levels: int, zero: int) -> None:
        """Both methods refuse what the parameters are not for, not just the one that uses them."""
        given = (shape[0] if shape else 0, levels, zero)
        wanted = (self.parameters.channels, self.parameters.levels, self.parameters.zero)
        if given != wanted:
            raise ValueError(
                f"the coder's parameters are for (channels, levels, zero) = {wanted}, not {given}"
            )


def _with_method(
    code: bytes, symbols: Symbols, levels: int, zero: int, counts: Symbols | None
) -> bytes:
    """The range code of a volume behind its method; the packed volume where that is shorter."""
    if len(code) >= least_packed(symbols, levels=levels, zero=zero, counts=counts):
        packed = native.pack(symbols, levels=levels, zero=zero, counts=counts)
        if len(packed) <= len(code):
            return bytes([METHOD_STORED]) + packed
    return bytes([METHOD_CONTEXT]) + code
