"""The codestream against its test vectors, and against damage."""

from __future__ import annotations

import json
import random
import zlib
from typing import Any

import pytest
from common import DATA
from hypothesis import given
from hypothesis import strategies as st

import edgecomp.errors as errors
from edgecomp import constants as k
from edgecomp.codestream import Codestream, Origin, Section, Tile, is_codestream, parse
from edgecomp.errors import CorruptDataError, EdgecompError, FormatError

VECTORS = json.loads((DATA / "vectors" / "codestream.json").read_text())

origins = st.builds(
    Origin,
    suffix=st.sampled_from(k.SUFFIX_CODES) | st.text("abc.Ωé", min_size=1, max_size=40),
    mtime_ns=st.integers(-(1 << 63), (1 << 63) - 1),
    name_check=st.integers(0, (1 << 32) - 1),
)


@st.composite
def codestreams(draw: st.DrawFn) -> Codestream:
    width, height = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    tile = draw(st.none() | st.sampled_from([8, 24, 64]))
    count = 1 if tile is None else -(-width // tile) * -(-height // tile)
    hashes = st.binary(min_size=4, max_size=4) if tile and draw(st.booleans()) else st.none()
    tiles = tuple(Tile.of(draw(st.binary(max_size=20)), draw(hashes)) for _ in range(count))
    kinds = draw(st.lists(st.sampled_from([0x02, 0x81, 0x82, 0xF0]), unique=True))
    sections = [Section.of(kind, draw(st.binary(max_size=300))) for kind in kinds]
    if draw(st.booleans()):
        sections.append(Section.of(k.SECTION_ALPHA, bytes(width * height)))
    return Codestream(
        model_id=draw(st.binary(min_size=8, max_size=8)),
        width=width,
        height=height,
        coder_id=draw(st.integers(0, 15)),
        gain=draw(st.integers(0, 15)),
        symbol_hash=draw(st.binary(min_size=4, max_size=4)),
        tiles=tiles,
        grey=draw(st.booleans()),
        origin=draw(st.none() | origins),
        tile_width=tile,
        tile_height=tile,
        sections=tuple(sections),
    )


@given(codestreams())
def test_round_trip(stream: Codestream) -> None:
    data = stream.pack()
    assert is_codestream(data)
    assert parse(data) == stream
    stream.check_tiles()
    stream.check_sections()


def _fields(stream: Codestream) -> dict[str, Any]:
    fields: dict[str, Any] = {
        name: getattr(stream, name)
        for name in ("width", "height", "coder_id", "gain", "grey", "tile_width", "tile_height")
    }
    fields["model_id"] = stream.model_id.hex()
    fields["symbol_hash"] = stream.symbol_hash.hex()
    fields["tiles"] = [tile.payload.hex() for tile in stream.tiles]
    fields["tile_hashes"] = [(tile.symbol_hash or b"").hex() for tile in stream.tiles]
    fields["sections"] = {str(s.kind): s.data().hex() for s in stream.sections}
    if stream.origin is not None:
        fields["suffix"] = stream.origin.suffix
        fields["mtime_ns"] = stream.origin.mtime_ns
        fields["name_check"] = stream.origin.name_check
    return fields


@pytest.mark.parametrize("name", VECTORS["good"])
def test_good_vectors(name: str) -> None:
    vector = VECTORS["good"][name]
    stream = parse(bytes.fromhex(vector["hex"]))
    fields = _fields(stream)
    assert {key: fields[key] for key in vector["fields"]} == vector["fields"]
    stream.check_tiles()
    stream.check_sections()
    if "ignored" not in name:
        assert stream.pack().hex() == vector["hex"]


@pytest.mark.parametrize("name", VECTORS["bad"])
def test_bad_vectors(name: str) -> None:
    vector = VECTORS["bad"][name]
    expected = getattr(errors, vector["error"])
    with pytest.raises(expected) as caught:
        parse(bytes.fromhex(vector["hex"])).check_tiles()
    assert type(caught.value) is expected


def test_the_document_shows_the_smallest_vector() -> None:
    document = (DATA.parent.parent / "docs" / "format.md").read_text(encoding="utf-8")
    section = document.split("## 6. Test vectors")[1].split("## 7.")[0]
    shown = ""
    for line in section.splitlines():
        if line.startswith("    "):
            shown += line[4:30].split("  ")[0].replace(" ", "")
    assert shown.lower() == VECTORS["good"]["smallest"]["hex"]


def _example() -> Codestream:
    return Codestream(
        model_id=b"8 bytes!",
        width=20,
        height=9,
        coder_id=1,
        gain=0,
        symbol_hash=b"hash",
        tiles=(Tile.of(b"first"), Tile.of(b"second"), Tile.of(b"third"), *[Tile.of(b"x")] * 3),
        origin=Origin(".jpg", 1_700_000_000_000_000_000, 77),
        tile_width=8,
        tile_height=8,
        sections=(
            Section.of(k.SECTION_ICC, b"profile" * 40),
            Section.of(k.SECTION_ALPHA, bytes(180)),
        ),
    )


def test_every_flipped_bit_is_detected() -> None:
    data = _example().pack()
    for position in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        with pytest.raises(FormatError):  # noqa: PT012 - any of the three may be what finds it
            stream = parse(bytes(flipped))
            stream.check_tiles()
            stream.check_sections()


def test_every_truncation_is_detected() -> None:
    data = _example().pack()
    for length in range(len(data)):
        with pytest.raises(FormatError):
            parse(data[:length])


def test_damage_is_confined_to_its_tile() -> None:
    data = bytearray(_example().pack())
    data[data.index(b"second")] ^= 0xFF
    stream = parse(bytes(data))
    assert stream.damaged_tiles() == (1,)
    assert stream.tiles[0].payload == b"first"
    stream.check_sections()
    with pytest.raises(CorruptDataError, match="1 of 6 tiles damaged"):
        stream.check_tiles()


@given(st.binary(max_size=200))
def test_random_bytes_behind_a_true_header_checksum(body: bytes) -> None:
    """Past the CRC, where fuzzing would otherwise never come."""
    fields = k.CODESTREAM_MAGIC + bytes([1, 5 + len(body) + 4 if len(body) < 119 else 0]) + body
    data = fields + zlib.crc32(fields).to_bytes(4, "little")
    try:
        parse(data)
    except EdgecompError:
        pass


def test_mutated_headers_with_true_checksums_fail_cleanly() -> None:
    rng = random.Random(5)
    data = _example().pack()
    length = data[4]
    for _ in range(3000):
        header = bytearray(data[: length - 4])
        for _ in range(rng.randint(1, 3)):
            header[rng.randrange(5, len(header))] = rng.randrange(256)
        mutated = bytes(header) + zlib.crc32(header).to_bytes(4, "little") + data[length:]
        try:
            stream = parse(mutated)
            stream.check_tiles()
            stream.check_sections()
        except EdgecompError:
            pass


def test_metadata_is_compressed_where_that_helps() -> None:
    small = Section.of(k.SECTION_EXIF, b"xyz")
    assert (small.encoding, small.payload) == (k.ENCODING_STORED, b"xyz")
    large = Section.of(k.SECTION_EXIF, b"abcdefgh" * 1000)
    assert large.encoding == k.ENCODING_LZMA2
    assert len(large.payload) < 200
    assert large.data() == b"abcdefgh" * 1000


def test_a_section_that_expands_too_far_stops_at_its_length() -> None:
    whole = Section.of(k.SECTION_EXIF, bytes(1 << 20))
    liar = Section(whole.kind, whole.encoding, 1000, whole.payload, whole.crc)
    with pytest.raises(CorruptDataError, match="wrong length"):
        liar.data()
    padded = whole.payload + b"\x00"
    longer = Section(whole.kind, whole.encoding, whole.length, padded, zlib.crc32(padded))
    with pytest.raises(CorruptDataError, match="wrong length"):
        longer.data()


@pytest.mark.parametrize(
    "change",
    [
        {"model_id": b"short"},
        {"width": 0},
        {"height": (1 << 20) + 1},
        {"coder_id": 16},
        {"gain": -1},
        {"tiles": ()},
    ],
)
def test_impossible_fields_are_refused_when_made(change: dict[str, Any]) -> None:
    stream = parse(bytes.fromhex(VECTORS["good"]["smallest"]["hex"]))
    fields = {name: getattr(stream, name) for name in stream.__slots__} | change
    with pytest.raises(ValueError, match=r"wrong length|impossible|four bits|tiles for"):
        Codestream(**fields)


@pytest.mark.parametrize(
    "origin",
    [("x" * 128, 0, 0), (".png", 1 << 63, 0), (".png", 0, 1 << 32)],
)
def test_impossible_origins_are_refused(origin: tuple[str, int, int]) -> None:
    with pytest.raises(ValueError, match=r"too long|out of range"):
        Origin(*origin)


def test_header_length_crosses_a_varint_boundary() -> None:
    """A header of 127, 128 and 129 bytes: the length field counts itself."""
    for extra in range(60, 110):
        suffix = "x" * extra
        stream = Codestream(
            b"8 bytes!", 1, 1, 1, 0, b"hash", (Tile.of(b""),), origin=Origin(suffix, 0, 0)
        )
        assert parse(stream.pack()) == stream


def test_overhead_of_a_usual_picture() -> None:
    """The header of a Kodak picture costs at most 50 bytes (docs/format-archive.md)."""
    payload = bytes(20_000)
    stream = Codestream(
        b"8 bytes!", 768, 512, 1, 0, b"hash", (Tile.of(payload),), origin=Origin(".png", 1, 2)
    )
    assert len(stream.pack()) - len(payload) <= 50
