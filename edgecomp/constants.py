"""Numbers and names of the file formats and their limits; docs/format.md explains each.

They stand here once. The C header repeats those that it needs, and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

# The codestream (one picture).
CODESTREAM_SUFFIX: Final = ".edge"
CODESTREAM_MAGIC: Final = b"\xecEC"
CODESTREAM_VERSION: Final = 1

FLAG_ORIGIN: Final = 0x01
FLAG_TILED: Final = 0x02
FLAG_SECTIONS: Final = 0x04
FLAG_GREY: Final = 0x08
FLAG_TILE_HASHES: Final = 0x10
KNOWN_FLAGS: Final = FLAG_ORIGIN | FLAG_TILED | FLAG_SECTIONS | FLAG_GREY | FLAG_TILE_HASHES

SECTION_ALPHA: Final = 0x01
SECTION_ICC: Final = 0x02
SECTION_EXIF: Final = 0x81
SECTION_XMP: Final = 0x82
SECTION_ANCILLARY_BIT: Final = 0x80

ENCODING_STORED: Final = 0
ENCODING_LZMA2: Final = 1

MODEL_ID_BYTES: Final = 8
SYMBOL_HASH_BYTES: Final = 4

# Source suffixes that cost one byte in a codestream. The order is part of the format: append only.
SUFFIX_CODES: Final[tuple[str, ...]] = (
    "",
    ".png",
    ".jpg",
    ".jpeg",
    ".webp",
    ".tif",
    ".tiff",
    ".bmp",
    ".ppm",
    ".gif",
    ".heic",
    ".heif",
    ".avif",
    ".JPG",
    ".JPEG",
    ".PNG",
)
SUFFIX_LITERAL: Final = 0x80

# The archive (a ZIP file).
ARCHIVE_SUFFIX: Final = ".ecz"
ARCHIVE_COMMENT: Final = b"edgecomp archive 1"
EXTRA_ID: Final = 0x4345

# Limits. A well-formed file may be refused by them; they are raised by explicit options only.
MAX_SIDE: Final = 1 << 20
DEFAULT_MAX_PIXELS: Final = 256_000_000
MAX_TILES: Final = 1 << 16
MAX_SECTIONS: Final = 64
# Room for the largest tile and section tables.
MAX_HEADER_BYTES: Final = 1 << 21
MAX_SECTION_BYTES: Final = 1 << 26
DEFAULT_MAX_MEMBERS: Final = 1_000_000
# Files kept as they are may expand so many times without being counted; those that expand further
# (blank disk images, and bombs) may have so many bytes together.
FREE_EXPANSION: Final = 1000
DEFAULT_MAX_EXPANSION: Final = 1 << 30

# The longest side of a tile that edgecomp writes, in pixels: a larger picture is coded in several.
MAX_TILE_SIDE: Final = 2048

# The most threads that anybody may ask for, or be told to.
MAX_THREADS: Final = 1024

# Qualities: points A, B and C of the paper, Table 1.
QUALITIES: Final = ("A", "B", "C")
DEFAULT_QUALITY: Final = "B"
# Names of the formats that a restored picture can be written in, with their suffixes.
OUTPUT_FORMATS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "png": ".png",
        "jpeg": ".jpg",
        "webp": ".webp",
        "tiff": ".tif",
        "bmp": ".bmp",
        "ppm": ".ppm",
    }
)
BACKENDS: Final = ("onnx", "tensorflow")
PRECISIONS: Final = ("auto", "int8", "fp32")

# Symbol coders. The number of a coder in codestreams is its place here, from 1 on: append only.
CODER_NAMES: Final = ("lzma", "context")
# Those whose parameters are a file of the model.
CODERS_WITH_PARAMETERS: Final = ("context",)
