"""A bound of what packing a volume comes to, at a tenth of packing's time."""

from __future__ import annotations

from typing import Final

import numpy as np

from edgecomp import native
from edgecomp.entropy.coder import Symbols

# Of the sorted layout (docs/format-symbols.md, section 3.1).
_STREAMS: Final = 82
_UNARY_MAX: Final = 15


def least_packed(symbols: Symbols, *, levels: int, zero: int, counts: Symbols | None = None) -> int:
    """Bytes that no packing of a volume goes below (docs/format-symbols.md, section 2).

    The dense layout has one length. The sorted one begins with a byte a channel and one a stream;
    then each symbol other than zero takes the bits of its flag, its side and its magnitude. What
    the zeros and the runs take comes on top of that.

    Args:
        symbols, levels, zero, counts: as for :func:`edgecomp.native.pack`.
    """
    coded = symbols.size if counts is None else int(counts.sum(dtype=np.int64))
    dense = native.pack_bound((1, 1, coded), levels)
    values = np.arange(levels) - zero
    magnitudes = np.abs(values)
    last = np.minimum(np.where(values < 0, zero, levels - 1 - zero), _UNARY_MAX)
    more = np.where(magnitudes < last, magnitudes, last - 1)
    bits = np.where(values == 0, 0, 1 + (0 < zero < levels - 1) + more)
    histogram = np.bincount(symbols.ravel(), minlength=levels)
    sorted_: int = 1 + symbols.shape[0] + _STREAMS + -(-int(histogram @ bits) // 8)
    return min(dense, sorted_)
