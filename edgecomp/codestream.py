"""The codestream: the bytes of one picture (docs/format.md, section 2).

`Codestream.pack` writes it, `parse` reads it. Parsing checks the header's CRC and every length
before use, and allocates nothing in proportion to an unchecked number. Payloads have checksums of
their own, checked when they are asked for, so that a damaged tile or section loses only itself.
"""

from __future__ import annotations

import lzma
import zlib
from dataclasses import dataclass

from edgecomp import constants as k
from edgecomp.errors import CorruptDataError, LimitError, UnsupportedVersionError
from edgecomp.heading import (
    CRC_BYTES,
    Heading,
    Origin,
    is_codestream,
    open_header,
    read_fields,
    read_side,
)
from edgecomp.lzma2 import expand
from edgecomp.varint import Cursor, pack_varint

__all__ = ["Codestream", "Origin", "Section", "Tile", "is_codestream", "parse", "tile_grid"]

_DICT_BYTES = 1 << 20
_LZMA2_FILTERS: list[dict[str, int]] = [
    {"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": _DICT_BYTES},
]
_ENCODINGS = (k.ENCODING_STORED, k.ENCODING_LZMA2)
_CRITICAL_SECTIONS = (k.SECTION_ALPHA, k.SECTION_ICC)


@dataclass(frozen=True, slots=True)
class Tile:
    """The coded symbols of one tile.

    Attributes:
        payload: the coded symbols.
        crc: their CRC32, as the tile table gives it.
        symbol_hash: 4 bytes of the tile's own symbols; None in codestreams without tile hashes.
    """

    payload: bytes
    crc: int
    symbol_hash: bytes | None = None

    @classmethod
    def of(cls, payload: bytes, symbol_hash: bytes | None = None) -> Tile:
        """A tile with its checksum."""
        return cls(payload, zlib.crc32(payload), symbol_hash)

    @property
    def is_whole(self) -> bool:
        """Whether the payload agrees with its checksum."""
        return zlib.crc32(self.payload) == self.crc


@dataclass(frozen=True, slots=True)
class Section:
    """Something that goes with the picture: alpha plane, ICC profile, EXIF, XMP.

    Attributes:
        kind: one of ``constants.SECTION_*``, or an unknown ancillary kind.
        encoding: one of ``constants.ENCODING_*``.
        length: bytes before encoding.
        payload: bytes as stored.
        crc: CRC32 of the payload.
    """

    kind: int
    encoding: int
    length: int
    payload: bytes
    crc: int

    @classmethod
    def of(cls, kind: int, data: bytes) -> Section:
        """Make a section of ``data``, compressed where that makes it smaller."""
        packed = lzma.compress(data, format=lzma.FORMAT_RAW, filters=_LZMA2_FILTERS)
        encoding, payload = k.ENCODING_LZMA2, packed
        if len(packed) >= len(data):
            encoding, payload = k.ENCODING_STORED, data
        return cls(kind, encoding, len(data), payload, zlib.crc32(payload))

    @property
    def is_whole(self) -> bool:
        """Whether the payload agrees with its checksum."""
        return zlib.crc32(self.payload) == self.crc

    def data(self) -> bytes:
        """The content, decoded; never more than ``length`` bytes are made.

        Raises:
            CorruptDataError: the payload is damaged.
        """
        if not self.is_whole:
            raise CorruptDataError(f"section {self.kind:#04x} is damaged (checksum)")
        if self.encoding == k.ENCODING_STORED:
            return self.payload
        what = f"section {self.kind:#04x}"
        data = expand(self.payload, limit=self.length, dict_size=_DICT_BYTES, what=what)
        if len(data) != self.length:
            raise CorruptDataError(f"{what} has the wrong length")
        return data


@dataclass(frozen=True, slots=True)
class Codestream:
    """One picture's bytes, taken apart.

    Attributes:
        model_id: 8 bytes that name the model.
        width, height: of the picture, in pixels.
        coder_id: the symbol coder (1 ``lzma``, 2 ``context``).
        gain: gain index of the model.
        symbol_hash: 4 bytes of all symbols or, with tile hashes, of these (``symbol_hash.py``).
        grey: whether the picture is restored with one colour channel.
        origin: where it came from, if known.
        tile_width, tile_height: in pixels; None for one tile, the whole picture.
        tiles: row by row.
        sections: alpha plane and metadata.
    """

    model_id: bytes
    width: int
    height: int
    coder_id: int
    gain: int
    symbol_hash: bytes
    tiles: tuple[Tile, ...]
    grey: bool = False
    origin: Origin | None = None
    tile_width: int | None = None
    tile_height: int | None = None
    sections: tuple[Section, ...] = ()

    def __post_init__(self) -> None:
        if len(self.model_id) != k.MODEL_ID_BYTES or len(self.symbol_hash) != k.SYMBOL_HASH_BYTES:
            raise ValueError("model id or symbol hash has the wrong length")
        if not (1 <= self.width <= k.MAX_SIDE and 1 <= self.height <= k.MAX_SIDE):
            raise ValueError(f"impossible picture size {self.width} x {self.height}")
        if not (0 <= self.coder_id < 16 and 0 <= self.gain < 16):
            raise ValueError("coder id and gain index have four bits each")
        columns, rows = self.grid
        if len(self.tiles) != columns * rows:
            raise ValueError(f"{len(self.tiles)} tiles for a grid of {columns} x {rows}")
        hashes = {len(tile.symbol_hash or b"") for tile in self.tiles}
        if hashes not in ({0}, {k.SYMBOL_HASH_BYTES}):
            raise ValueError("tile hashes are missing, or have the wrong length")
        if self.has_tile_hashes and self.tile_width is None:
            raise ValueError("tile hashes without tiles")

    @property
    def grid(self) -> tuple[int, int]:
        """Columns and rows of the tile grid."""
        return tile_grid(self.width, self.height, self.tile_width, self.tile_height)

    @property
    def has_tile_hashes(self) -> bool:
        """Whether each tile has a hash of its own symbols."""
        return self.tiles[0].symbol_hash is not None

    @property
    def coded_bytes(self) -> int:
        """Bytes of the coded symbols alone."""
        return sum(len(tile.payload) for tile in self.tiles)

    def damaged_tiles(self) -> tuple[int, ...]:
        """Indices of the tiles whose payload disagrees with its checksum."""
        return tuple(i for i, tile in enumerate(self.tiles) if not tile.is_whole)

    def check_tiles(self) -> None:
        """Raises CorruptDataError, naming the tiles, if any tile is damaged."""
        damaged = self.damaged_tiles()
        if damaged:
            named = ", ".join(str(i) for i in damaged[:8])
            of = len(self.tiles)
            raise CorruptDataError(f"{len(damaged)} of {of} tiles damaged (checksum): {named}")

    def check_sections(self) -> None:
        """Raises CorruptDataError if any section is damaged."""
        for section in self.sections:
            section.data()

    def damaged_sections(self, *, critical: bool = False) -> frozenset[int]:
        """Kinds of the damaged ancillary sections (EXIF, XMP), without which a picture is still the
        same; with ``critical`` also of others (alpha plane, ICC profile)."""
        damaged = set()
        for section in self.sections:
            if critical or section.kind & k.SECTION_ANCILLARY_BIT:
                try:
                    section.data()
                except CorruptDataError:
                    damaged.add(section.kind)
        return frozenset(damaged)

    def section(self, kind: int) -> bytes | None:
        """The content of the section of that kind; None if there is none.

        Raises:
            CorruptDataError: it is damaged.
        """
        for section in self.sections:
            if section.kind == kind:
                return section.data()
        return None

    def pack(self) -> bytes:
        """The codestream's bytes."""
        flags = k.FLAG_GREY if self.grey else 0
        body = [
            self.model_id,
            bytes([self.coder_id | self.gain << 4]),
            self.symbol_hash,
            pack_varint(self.width),
            pack_varint(self.height),
        ]
        if self.origin is not None:
            flags |= k.FLAG_ORIGIN
            body.append(self.origin.pack())
        if self.tile_width is not None and self.tile_height is not None:
            flags |= k.FLAG_TILED
            body += [pack_varint(self.tile_width), pack_varint(self.tile_height)]
        if self.has_tile_hashes:
            flags |= k.FLAG_TILE_HASHES
        for tile in self.tiles:
            body += [pack_varint(len(tile.payload)), tile.crc.to_bytes(4, "little")]
            body.append(tile.symbol_hash or b"")
        if self.sections:
            flags |= k.FLAG_SECTIONS
            body.append(pack_varint(len(self.sections)))
            for section in self.sections:
                body += [
                    bytes([section.kind, section.encoding]),
                    pack_varint(section.length),
                    pack_varint(len(section.payload)),
                    section.crc.to_bytes(4, "little"),
                ]
        fields = bytes([flags, 0]) + b"".join(body)
        start = k.CODESTREAM_MAGIC + bytes([k.CODESTREAM_VERSION])
        header = start + _header_length(len(start) + len(fields) + CRC_BYTES) + fields
        payloads = [tile.payload for tile in self.tiles] + [s.payload for s in self.sections]
        return header + zlib.crc32(header).to_bytes(4, "little") + b"".join(payloads)


def tile_grid(
    width: int, height: int, tile_width: int | None, tile_height: int | None
) -> tuple[int, int]:
    """Columns and rows of the grid of tiles; all arguments in pixels, None for no tiling."""
    if tile_width is None or tile_height is None:
        return 1, 1
    return -(-width // tile_width), -(-height // tile_height)


def _header_length(rest: int) -> bytes:
    """The header length field, which counts itself: ``rest`` is everything but the field."""
    size = 1
    while len(pack_varint(rest + size)) != size:
        size += 1
    return pack_varint(rest + size)


def parse(data: bytes | memoryview, *, max_pixels: int | None = k.DEFAULT_MAX_PIXELS) -> Codestream:
    """Take a codestream apart.

    The header is checked whole; payloads are cut out but their checksums are not compared yet.

    Args:
        data: the whole codestream, nothing before or after it.
        max_pixels: refuse pictures with more pixels than this; None for no limit.

    Raises:
        NotEdgecompError: the data is something else.
        CorruptDataError: damaged.
        UnsupportedVersionError: a version, mandatory flag or critical section from the future.
        LimitError: more than ``max_pixels`` pixels.
    """
    view = memoryview(data)
    cursor, header_length = open_header(lambda start, count: view[start : start + count])
    head = read_fields(cursor)
    if max_pixels is not None and head.pixels > max_pixels:
        raise LimitError(
            f"the picture has {head.width} x {head.height} pixels,"
            f" more than the limit of {max_pixels}"
        )
    return _parse_tables(head, cursor, view[header_length:])


def _parse_tables(head: Heading, cursor: Cursor, payloads: memoryview) -> Codestream:
    tile_width = tile_height = None
    if head.flags & k.FLAG_TILED:
        tile_width, tile_height = read_side(cursor, "tile width"), read_side(cursor, "tile height")
    hashes = bool(head.flags & k.FLAG_TILE_HASHES)
    if hashes and tile_width is None:
        raise CorruptDataError("hashes of tiles, but no tiles")
    grid = tile_grid(head.width, head.height, tile_width, tile_height)
    tile_table = _tile_table(cursor, grid, hashes=hashes)
    section_table = []
    if head.flags & k.FLAG_SECTIONS:
        section_table = _section_table(cursor, head.pixels)
    if cursor.remaining:
        raise CorruptDataError("the header has bytes to spare")

    total = sum(entry[0] for entry in tile_table) + sum(entry[3] for entry in section_table)
    if total != len(payloads):
        problem = "cut short" if total > len(payloads) else "followed by other bytes"
        raise CorruptDataError(f"the codestream is {problem} ({len(payloads)} of {total} bytes)")
    body = Cursor(payloads, "codestream")
    tiles = tuple(Tile(body.take(length), crc, digest) for length, crc, digest in tile_table)
    sections = tuple(
        Section(kind, encoding, length, body.take(stored), crc)
        for kind, encoding, length, stored, crc in section_table
    )
    return Codestream(
        model_id=head.model_id,
        width=head.width,
        height=head.height,
        coder_id=head.coder_id,
        gain=head.gain,
        symbol_hash=head.symbol_hash,
        tiles=tiles,
        grey=head.grey,
        origin=head.origin,
        tile_width=tile_width,
        tile_height=tile_height,
        sections=sections,
    )


def _tile_table(
    cursor: Cursor, grid: tuple[int, int], *, hashes: bool
) -> list[tuple[int, int, bytes | None]]:
    count = grid[0] * grid[1]
    least = 5 + k.SYMBOL_HASH_BYTES * hashes
    # Each entry takes that many bytes: an absurd grid is refused before anything is allocated.
    if count > k.MAX_TILES or count * least > cursor.remaining:
        raise CorruptDataError(f"the tile table is cut short or too long ({count} tiles)")
    return [
        (
            cursor.varint(),
            cursor.uint(4),
            cursor.take(k.SYMBOL_HASH_BYTES) if hashes else None,
        )
        for _ in range(count)
    ]


def _section_table(cursor: Cursor, pixels: int) -> list[tuple[int, int, int, int, int]]:
    count = cursor.varint()
    if not 1 <= count <= k.MAX_SECTIONS:
        raise CorruptDataError(f"impossible number of sections: {count}")
    table: list[tuple[int, int, int, int, int]] = []
    for _ in range(count):
        kind, encoding = cursor.uint(1), cursor.uint(1)
        length, stored, crc = cursor.varint(), cursor.varint(), cursor.uint(4)
        if kind == 0 or kind in {entry[0] for entry in table}:
            raise CorruptDataError(f"section kind {kind:#04x} is not allowed here")
        if kind < k.SECTION_ANCILLARY_BIT and kind not in _CRITICAL_SECTIONS:
            raise UnsupportedVersionError(
                f"unknown critical section {kind:#04x}: made by a newer edgecomp"
            )
        if encoding not in _ENCODINGS:
            raise UnsupportedVersionError(f"unknown encoding {encoding} of section {kind:#04x}")
        if kind == k.SECTION_ALPHA:
            wrong = length != pixels
        else:
            wrong = length > k.MAX_SECTION_BYTES
        if wrong or (encoding == k.ENCODING_STORED and stored != length):
            raise CorruptDataError(f"section {kind:#04x} has an impossible length")
        table.append((kind, encoding, length, stored, crc))
    return table
