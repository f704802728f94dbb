"""The symbol coders: one contract, checked alike for each; then what is particular to `lzma`.

What is particular to `context` is in test_context_coder.py.
"""

from __future__ import annotations

import lzma
import re

import numpy as np
import pytest
from common import DATA, ROOT
from hypothesis import given
from hypothesis import strategies as st

from edgecomp import constants, entropy, native
from edgecomp.entropy import ContextCoder, LzmaCoder, SymbolCoder, lzma_coder
from edgecomp.errors import CorruptDataError, LimitError, UnsupportedVersionError
from edgecomp.model_coders import load_coder
from edgecomp.models import load_model
from edgecomp.varint import Cursor


@pytest.fixture(scope="module", params=entropy.CODER_NAMES)
def coder(request: pytest.FixtureRequest) -> SymbolCoder:
    """Each of the coders; `context` with frozen parameters."""
    return load_coder(load_model(DATA / "context" / "tiny"), request.param)


def form(coder: SymbolCoder) -> tuple[int, int, int]:
    """Channels, levels and zero symbol of volumes that a coder takes."""
    if isinstance(coder, ContextCoder):
        return coder.parameters.channels, coder.parameters.levels, coder.parameters.zero
    return 3, 6, 2


@st.composite
def tiles(draw: st.DrawFn, coder: SymbolCoder):
    """Symbols, levels, zero, counts."""
    if isinstance(coder, ContextCoder):
        channels, levels, zero = form(coder)
    else:
        channels = draw(st.integers(1, 9))
        levels = draw(st.sampled_from([2, 3, 5, 6, 7, 16, 17, 255, 256]))
        zero = draw(st.sampled_from([0, levels // 2, levels - 1]))
    shape = (channels, draw(st.integers(0, 17)), draw(st.integers(0, 17)))
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
    for kind in (LzmaCoder, ContextCoder):
        assert entropy.coder_name(kind.coder_id) == kind.name
    assert isinstance(entropy.coder_by_name("lzma"), LzmaCoder)
    with pytest.raises(ValueError, match=r"'zip'.*known: lzma, context"):
        entropy.coder_by_name("zip")
    with pytest.raises(ValueError, match="context needs the parameters of a model"):
        entropy.coder_by_name("context")
    for number in (0, 3, 15, 255):
        with pytest.raises(UnsupportedVersionError, match=f"coder {number}"):
            entropy.coder_name(number)


@given(data=st.data())
def test_round_trip(coder, data) -> None:
    symbols, levels, zero, counts = data.draw(tiles(coder))
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


@given(data=st.data(), random=st.randoms(use_true_random=False))
def test_damage(coder, data, random) -> None:
    symbols, levels, zero, counts = data.draw(tiles(coder))
    payload = bytearray(
        entropy.encode_tile(coder, symbols, levels=levels, zero=zero, counts=counts)
    )
    arguments = {
        "shape": symbols.shape,
        "levels": levels,
        "zero": zero,
        "importance_map": counts is not None,
    }

    def is_refused(damaged: bytes) -> bool:
        """Whether it is; if not, what comes of it must be a volume of the form asked for."""
        try:
            restored, _ = entropy.decode_tile(coder, damaged, **arguments)
        except CorruptDataError:
            return True
        assert restored.shape == symbols.shape
        assert restored.size == 0 or restored.max() < levels
        return False

    assert is_refused(b"")
    assert is_refused(bytes(payload) + b"\0")
    for cut in (1, random.randrange(len(payload)), len(payload) - 1):
        # An arithmetic code goes on with zeros where it ends.
        if cut < len(payload):
            assert is_refused(bytes(payload[:cut])) or isinstance(coder, ContextCoder)
    for _ in range(4):
        payload[random.randrange(len(payload))] ^= 1 << random.randrange(8)
        is_refused(bytes(payload))


@given(data=st.binary(max_size=300), importance_map=st.booleans())
def test_any_bytes(coder, data, importance_map) -> None:
    channels, levels, zero = form(coder)
    try:
        symbols, counts = entropy.decode_tile(
            coder,
            data,
            shape=(channels, 4, 5),
            levels=levels,
            zero=zero,
            importance_map=importance_map,
        )
    except CorruptDataError:
        return
    assert symbols.max() < levels
    assert (counts is not None) == importance_map
    assert counts is None or counts.max() <= channels


def test_absurd_shape(coder) -> None:
    channels, levels, zero = form(coder)
    for side in (2**40, 2**20):
        with pytest.raises(LimitError):
            coder.decode(b"\0\0", shape=(channels, side, side), levels=levels, zero=zero)


def test_map_needs_room_in_a_byte() -> None:
    symbols = np.zeros((256, 1, 1), np.uint8)
    with pytest.raises(ValueError, match="256 channels"):
        entropy.encode_tile(LzmaCoder(), symbols, levels=6, zero=0, counts=symbols[0])


def test_the_map_is_coded_by_lzma_whatever_codes_the_symbols(coder) -> None:
    symbols = latents(channels=12)[:, :8, :8]
    counts = np.add.outer(np.arange(8), np.arange(8)).astype(np.uint8) % 13
    symbols = np.where(np.arange(12)[:, None, None] < counts, symbols, np.uint8(128))
    payload = entropy.encode_tile(coder, symbols, levels=256, zero=128, counts=counts)
    cursor = Cursor(payload, "tile")
    coded_map = cursor.take(cursor.varint())
    residual = LzmaCoder().decode(coded_map, shape=(1, 8, 8), levels=13, zero=6)
    assert np.array_equal(native.map_restore(residual[0], 13), counts)
    rest = cursor.take(cursor.remaining)
    assert rest == coder.encode(symbols, levels=256, zero=128, counts=counts)


def test_prefixes_of_a_tile_are_refused(coder) -> None:
    """All of them with `lzma`; with `context` those that lack more than the code's last words."""
    symbols = latents(channels=12)[:, :8, :8]
    counts = np.full((8, 8), 12, np.uint8)
    payload = entropy.encode_tile(coder, symbols, levels=256, zero=128, counts=counts)
    for cut in range(len(payload) - 8 * isinstance(coder, ContextCoder)):
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
