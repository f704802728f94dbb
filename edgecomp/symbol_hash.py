"""Hashes of symbols (docs/format.md, section 3): what tells that they are those that were coded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from edgecomp.backends import Latent
from edgecomp.constants import SYMBOL_HASH_BYTES


def symbol_hash(latent: Latent) -> bytes:
    """4 bytes that tell the symbols of a picture, or of one tile, from others."""
    digest = hashlib.sha256(np.ascontiguousarray(latent.symbols).data)
    if latent.counts is not None:
        digest.update(np.ascontiguousarray(latent.counts).data)
    return digest.digest()[:SYMBOL_HASH_BYTES]


def hash_of_tiles(hashes: Iterable[bytes]) -> bytes:
    """4 bytes for a picture whose tiles have hashes of their own, in the order of the tiles."""
    return hashlib.sha256(b"".join(hashes)).digest()[:SYMBOL_HASH_BYTES]
