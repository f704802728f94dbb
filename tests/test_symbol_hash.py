"""Hashes of symbols, put together here by hand."""

from __future__ import annotations

import hashlib

import numpy as np

from edgecomp.backends import Latent
from edgecomp.symbol_hash import hash_of_tiles, symbol_hash


def test_symbols_are_hashed_by_channel_row_column_and_counts_follow() -> None:
    symbols = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    counts = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert symbol_hash(Latent(symbols)) == hashlib.sha256(bytes(range(24))).digest()[:4]
    both = bytes(range(24)) + bytes(range(12))
    assert symbol_hash(Latent(symbols, counts)) == hashlib.sha256(both).digest()[:4]


def test_memory_order_does_not_matter() -> None:
    symbols = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    turned = np.asfortranarray(symbols)
    assert symbol_hash(Latent(turned)) == symbol_hash(Latent(symbols))
    part = np.arange(96, dtype=np.uint8).reshape(4, 6, 4)[:2, :3]
    assert symbol_hash(Latent(part)) == symbol_hash(Latent(part.copy()))


def test_the_hash_of_tiles_depends_on_each_and_on_their_order() -> None:
    one, two = b"ABCD", b"WXYZ"
    assert hash_of_tiles([one, two]) == hashlib.sha256(b"ABCDWXYZ").digest()[:4]
    assert len({hash_of_tiles(h) for h in ([one, two], [two, one], [one], [])}) == 4
