"""Raw LZMA2 within bounds."""

from __future__ import annotations

import lzma

import pytest

from edgecomp.errors import CorruptDataError
from edgecomp.lzma2 import expand

FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 1}]
CONTENT = b"some content, some more content, " * 9
DATA = lzma.compress(CONTENT, lzma.FORMAT_RAW, filters=FILTERS)


def _expand(data: bytes, limit: int = len(CONTENT)) -> bytes:
    return expand(data, limit=limit, dict_size=1 << 20, what="the test")


@pytest.mark.parametrize("limit", [len(CONTENT), 1 << 30])
def test_the_content_comes_back(limit: int) -> None:
    assert _expand(DATA, limit) == CONTENT
    assert _expand(lzma.compress(b"", lzma.FORMAT_RAW, filters=FILTERS), 0) == b""


def test_no_more_is_made_than_is_allowed() -> None:
    bomb = lzma.compress(bytes(1 << 26), lzma.FORMAT_RAW, filters=FILTERS)
    with pytest.raises(CorruptDataError, match="the test has the wrong length"):
        _expand(bomb)


@pytest.mark.parametrize("data", [b"", *(DATA[:n] for n in range(len(DATA))), DATA + b"\0"])
def test_cut_or_followed_streams_are_damage(data: bytes) -> None:
    with pytest.raises(CorruptDataError, match="the test"):
        _expand(data)


def test_flipped_bytes_are_damage_or_other_content_of_bounded_length() -> None:
    for position in range(len(DATA)):
        flipped = bytearray(DATA)
        flipped[position] ^= 0xFF
        try:
            content = _expand(bytes(flipped))
        except CorruptDataError:
            continue
        assert len(content) <= len(CONTENT)
