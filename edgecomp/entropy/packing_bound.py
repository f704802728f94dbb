"""A bound of what packing a volume comes to, at a tenth of packing's time."""

from __future__ import annotations

from typing import Final

import numpy as np

from edgecomp import native
from edgecomp.entropy.coder import Symbols

# Of the sorted layout (docs/format-symbols.md, section 3.1).
_STREAMS: Final = 82
_UNARY_MAX: Final = 15
# Magnitudes are looked at up to here: what is beyond adds little, and time.
_LOOK: Final = 4


def least_packed(symbols: Symbols, *, levels: int, zero: int, counts: Symbols | None = None) -> int:
    """Bytes that no packing of a volume goes below (docs/format-symbols.md, section 2).

    The dense layout has one length. The sorted one begins with a byte a channel and one a stream;
    then each symbol other than zero takes a bit for its flag, one for its side if there are two,
    and as many as its magnitude, one less if that is the largest on its side. What the zeros and
    the runs take comes on top of that.

    Args:
        symbols, levels, zero, counts: as for :func:`edgecomp.native.pack`.
    """
    coded = symbols.size if counts is None else int(counts.sum(dtype=np.int64))
    dense = native.pack_bound((1, 1, coded), levels)
    sides = [side for side in (zero, levels - 1 - zero) if side]
    # Up to a magnitude that is the largest on neither side, each takes its bits in full.
    look = min(_LOOK, min(sides) - 1, _UNARY_MAX - 1)
    magnitudes = np.maximum(symbols, zero) - np.minimum(symbols, zero)
    bits = len(sides) * int(np.count_nonzero(magnitudes))
    bits += sum(int(np.count_nonzero(magnitudes >= k)) for k in range(1, look + 1))
    in_order: int = 1 + symbols.shape[0] + _STREAMS + -(-bits // 8)
    return min(dense, in_order)
