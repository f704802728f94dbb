"""The symbol coders: one contract, checked alike for each; then what is particular to `lzma`."""

from __future__ import annotations

import lzma
import re

import numpy as np
import pytest
from common import ROOT
from hypothesis import given
from hypothesis import strategies as st

from edgecomp import constants, entropy, native
from edgecomp.entropy import LzmaCoder, lzma_coder
from edgecomp.errors import CorruptDataError, LimitError, UnsupportedVersionError
from edgecomp.varint import Cursor

CODERS = [entropy.coder_by_name(name) for name in entropy.CODER_NAMES]
every_coder = pytest.mark.parametrize("coder", CODERS, ids=entropy.CODER_NAMES)


@st.composite
def tiles(draw: st.DrawFn):
    """Symbols, levels, zero, counts."""
    shape = draw(st.tuples(st.integers(1, 9), st.integers(0, 17), st.integers(0, 17)))
    levels = draw(st.sampled_from([2, 3, 5, 6, 7, 16, 17, 255, 256]))
    zero = draw(st.sampled_from([0, levels // 2, levels - 1]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    spread = draw(st.sampled_from([0, 0.3, 2, 40, 1000]))
    symbols = np.clip(zero + np.rint(rng.laplace(0, spread, shape)), 0, levels - 1)
    counts = None
    if draw(st.booleans()):
        counts = rng.integers(0, shape[0] + 1, shape[1:]).astype(np.uint8)
        symbols = np.where(np.arange(shape[0])[:, None, None] < counts, symbols, zero)
    return symbols.astype(np.uint8), levels, zero, counts


def latents(seed: int = 5, channels: int = 24) -> native.Symbols:
    """A volume like a network's: fewer and smaller values from channel to channel."""
    rng = np.random.default_rng(seed)
    scales = 3 * 0.8 ** np.arange(channels)[:, None, None]
    return (128 + np.rint(rng.laplace(0, 1, (channels, 24, 32)) * scales)).astype(np.uint8)


def test_names_and_numbers() -> None:
    assert constants.CODER_NAMES == ("lzma", "context")
    assert entropy.CODER_NAMES[0] == "lzma"
    assert [entropy.coder_name(number) for number in (1, 2)] == ["lzma", "context"]
    for coder in CODERS:
        assert entropy.coder_name(coder.coder_id) == coder.name
    with pytest.raises(ValueError, match=r"'zip'.*known: lzma"):
        entropy.coder_by_name("zip")
    for number in (0, 3, 15, 255):
        with pytest.raises(UnsupportedVersionError, match=f"coder {number}"):
            entropy.coder_name(number)


@every_coder
@given(tile=tiles())
def test_round_trip(coder, tile) -> None:
    symbols, levels, zero, counts = tile
    payload = entropy.encode_tile(coder, symbols, levels=levels, zero=zero, counts=counts)
    # The symbols grow by no more than a few bytes, whatever they are; so does the map.
    room = native.pack_bound(symbols.shape, levels) + 64
    if counts is not None:
        room += native.pack_bound((1, *counts.shape), len(symbols) + 1)
    assert len(payload) <= room
    restored, restored_counts = entropy.decode_tile(
        coder,
        memoryview(payload),
        shape=symbols.shape,
        levels=levels,
        zero=zero,
        importance_map=counts is not None,
    )
    assert np.array_equal(restored, symbols)
    assert (restored_counts is None) == (counts is None)
    assert counts is None or np.array_equal(restored_counts, counts)


@every_coder
@given(tile=tiles(), random=st.randoms(use_true_random=False))
def test_damage(coder, tile, random) -> None:
    symbols, levels, zero, counts = tile
    payload = bytearray(
        entropy.encode_tile(coder, symbols, levels=levels, zero=zero, counts=counts)
    )
    arguments = {
        "shape": symbols.shape,
        "levels": levels,
        "zero": zero,
        "importance_map": counts is not None,
    }
    for cut in (0, 1, random.randrange(len(payload)), len(payload) - 1):
        if cut < len(payload):
            with pytest.raises(CorruptDataError):
                entropy.decode_tile(coder, bytes(payload[:cut]), **arguments)
    with pytest.raises(CorruptDataError):
        entropy.decode_tile(coder, bytes(payload) + b"\0", **arguments)
    for _ in range(4):
        payload[random.randrange(len(payload))] ^= 1 << random.randrange(8)
        try:
            restored, _ = entropy.decode_tile(coder, bytes(payload), **arguments)
        except CorruptDataError:
            continue
        assert restored.shape == symbols.shape
        assert restored.size == 0 or restored.max() < levels


@every_coder
@given(data=st.binary(max_size=300), importance_map=st.booleans())
def test_any_bytes(coder, data, importance_map) -> None:
    try:
        symbols, counts = entropy.decode_tile(
            coder, data, shape=(3, 4, 5), levels=6, zero=2, importance_map=importance_map
        )
    except CorruptDataError:
        return
    assert symbols.max() < 6
    assert (counts is not None) == importance_map
    assert counts is None or counts.max() <= 3


@every_coder
def test_absurd_shape(coder) -> None:
    for shape in ((1, 2**40, 2**40), (64, 2**20, 2**20)):
        with pytest.raises(LimitError):
            coder.decode(b"\0\0", shape=shape, levels=6, zero=2)


@every_coder
def test_map_needs_room_in_a_byte(coder) -> None:
    symbols = np.zeros((256, 1, 1), np.uint8)
    with pytest.raises(ValueError, match="256 channels"):
        entropy.encode_tile(coder, symbols, levels=6, zero=0, counts=symbols[0])


@every_coder
def test_the_map_is_coded_by_lzma_whatever_codes_the_symbols(coder) -> None:
    symbols = latents(channels=4)[:, :8, :8]
    counts = np.add.outer(np.arange(8), np.arange(8)).astype(np.uint8) % 5
    symbols = np.where(np.arange(4)[:, None, None] < counts, symbols, np.uint8(128))
    payload = entropy.encode_tile(coder, symbols, levels=256, zero=128, counts=counts)
    cursor = Cursor(payload, "tile")
    coded_map = cursor.take(cursor.varint())
    residual = LzmaCoder().decode(coded_map, shape=(1, 8, 8), levels=5, zero=2)
    assert np.array_equal(native.map_restore(residual[0], 5), counts)
    rest = cursor.take(cursor.remaining)
    assert rest == coder.encode(symbols, levels=256, zero=128, counts=counts)


@every_coder
def test_every_prefix_of_a_tile_is_refused(coder) -> None:
    symbols = latents(channels=4)[:, :8, :8]
    counts = np.full((8, 8), 4, np.uint8)
    payload = entropy.encode_tile(coder, symbols, levels=256, zero=128, counts=counts)
    for cut in range(len(payload)):
        with pytest.raises(CorruptDataError):
            entropy.decode_tile(
                coder,
                payload[:cut],
                shape=symbols.shape,
                levels=256,
                zero=128,
                importance_map=True,
            )


def test_latents_are_packed_sorted_and_below_plain_lzma() -> None:
    symbols = latents()
    coder = entropy.coder_by_name("lzma")
    assert native.pack(symbols, levels=256, zero=128)[0] == native.Layout.SORTED
    plain = lzma.compress(
        symbols.tobytes(), format=lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "preset": 9}]
    )
    assert len(coder.encode(symbols, levels=256, zero=128)) < 0.95 * len(plain)


def test_noise_is_stored_at_two_bytes_more() -> None:
    symbols = np.random.default_rng(0).integers(0, 256, (8, 9, 10)).astype(np.uint8)
    data = entropy.coder_by_name("lzma").encode(symbols, levels=256, zero=128)
    assert data == bytes([lzma_coder.METHOD_STORED, native.Layout.DENSE]) + symbols.tobytes()


@pytest.mark.parametrize("preset", [0, 6, 9 | lzma.PRESET_EXTREME])
@pytest.mark.parametrize(("lc", "lp", "pb"), [(0, 0, 0), (3, 0, 2), (0, 4, 4), (4, 0, 0)])
def test_decodes_any_lzma2_within_the_dictionary(preset: int, lc: int, lp: int, pb: int) -> None:
    """Nothing of the encoder's choice is fixed but the largest dictionary."""
    symbols = latents()
    chain = {"id": lzma.FILTER_LZMA2, "preset": preset, "lc": lc, "lp": lp, "pb": pb}
    chain["dict_size"] = lzma_coder.DICTIONARY_BYTES
    packed = native.pack(symbols, levels=256, zero=128)
    stream = lzma.compress(packed, format=lzma.FORMAT_RAW, filters=[chain])
    data = bytes([lzma_coder.METHOD_LZMA2]) + stream
    coder = entropy.coder_by_name("lzma")
    restored = coder.decode(data, shape=symbols.shape, levels=256, zero=128)
    assert np.array_equal(restored, symbols)


def test_stream_of_exactly_the_bound() -> None:
    """The limit on the output does not cut off a packed volume of the largest size."""
    symbols = np.arange(240).astype(np.uint8).reshape(1, 15, 16)
    packed = native.pack(symbols, levels=256, zero=0, layout=native.Layout.DENSE)
    assert len(packed) == native.pack_bound((1, 15, 16), 256)
    chain = [{"id": lzma.FILTER_LZMA2, "preset": 6}]
    stream = lzma.compress(packed, format=lzma.FORMAT_RAW, filters=chain)
    coder = entropy.coder_by_name("lzma")
    restored = coder.decode(b"\1" + stream, shape=(1, 15, 16), levels=256, zero=0)
    assert np.array_equal(restored, symbols)


def test_bomb_stops_at_the_bound() -> None:
    """A small stream that would expand to 64 MB is refused after what the volume could take."""
    chain = [{"id": lzma.FILTER_LZMA2, "preset": 6}]
    bomb = b"\1" + lzma.compress(bytes(1 << 26), format=lzma.FORMAT_RAW, filters=chain)
    with pytest.raises(CorruptDataError, match="too long"):
        entropy.coder_by_name("lzma").decode(bomb, shape=(2, 3, 4), levels=6, zero=2)


def test_constants_agree_with_the_sources() -> None:
    """The layout numbers of native/sorted_model.h are the documented ones."""
    source = (ROOT / "native" / "sorted_model.h").read_text()
    found = dict(re.findall(r"^#define (\w+) (\d+)u$", source, re.M))
    document = (ROOT / "docs" / "format-symbols.md").read_text()
    documented = dict(re.findall(r"^\| `([A-Z_]+)` \| (\d+) \|", document, re.M))
    assert len(documented) == 8
    assert documented == {name: found[name] for name in documented}
    dictionary = re.search(r"dictionary of 2\^(\d+) bytes", document)
    assert dictionary is not None
    assert 1 << int(dictionary[1]) == lzma_coder.DICTIONARY_BYTES
