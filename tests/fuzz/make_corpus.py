"""Writes the inputs that the fuzzing targets begin with, besides the kept files of tests/data.

    python tests/fuzz/make_corpus.py [FOLDER]

What showed a fault, ``fault-...``, is written here too where it can be said in a line.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from fuzz.promises import DATA, MODEL_FOLDERS, models

from edgecomp import native
from edgecomp.archive_writer import ArchiveWriter
from edgecomp.codestream import Codestream, Section, Tile, parse
from edgecomp.entropy import ContextCoder
from edgecomp.model_coders import load_coder
from edgecomp.models import Model
from edgecomp.verbatim import Packed

MTIME = 1_700_000_000_123_456_789
Inputs = Iterator[tuple[str, bytes]]


def _stored(content: bytes) -> Packed:
    return Packed(0, content, zlib.crc32(content), len(content))


def _archive(*files: tuple[str, bytes]) -> bytes:
    target = io.BytesIO()
    writer = ArchiveWriter(target)
    for name, content in files:
        writer.add_packed(name, _stored(content), MTIME)
    writer.finish()
    return target.getvalue()


def archive() -> Inputs:
    inner = _archive(("x.txt", b"within"), ("y.txt", b"within, too"))
    outer = _archive(("a.txt", b"before"), ("inner.ecz", inner), ("z.txt", b"behind"))
    yield "seed-archive-within", outer
    yield "seed-archive-within-cut", outer[: outer.index(b"x.txt") + 90]
    yield "seed-bytes-missing", outer[:60] + outer[75:]
    yield "seed-bytes-added", outer[:60] + b"added" + outer[60:]
    cut = bytearray(_archive(("a.txt", b"before"), ("b.txt", b"unfinished")))
    at = cut.index(b"PK\3\4", 4)
    struct.pack_into("<3I", cut, at + 14, 0xFFFFFFFF, 0, 0)
    yield "seed-unfinished", bytes(cut[: cut.index(b"PK\1\2")])
    huge = _archive(("a.txt", b"whole"), ("huge.bin", b"huge"))
    at = huge.index(b"PK\3\4", 4)
    wide = struct.pack("<HH2Q", 1, 16, (1 << 64) - 1, (1 << 64) - 1)
    head = bytearray(huge[at : at + 30])
    struct.pack_into("<2I2H", head, 18, 0xFFFFFFFF, 0xFFFFFFFF, 8, 18 + len(wide))
    rest = huge[at + 30 : huge.index(b"PK\1\2")]
    yield (
        "fault-member-of-2e64-bytes-without-directory",
        huge[:at] + head + rest[:8] + wide + rest[8:],
    )


def codestream() -> Inputs:
    tiles = [Tile.of(bytes([n]), bytes([n] * 4)) for n in range(60)]
    sections = (Section(0x81, 0, 4, b"MM\0*", zlib.crc32(b"MM\0*")),)
    stream = Codestream(
        bytes(8), 80, 48, 1, 0, bytes(4), tuple(tiles), tile_width=8, tile_height=8,
        sections=sections,
    )  # fmt: skip
    yield "seed-sixty-tiles", stream.pack()


def _manifest(**changes: object) -> bytes:
    """That of the model whose files the target has, with changes."""
    fields = json.loads((DATA / MODEL_FOLDERS[0] / "model.json").read_text(encoding="utf-8"))
    return (json.dumps(fields | changes, indent=1) + "\n").encode()


def model() -> Inputs:
    digest = hashlib.sha256(b"x").hexdigest()
    yield (
        "seed-everything",
        _manifest(
            halo={"encoder": 4, "decoder": 6},
            saved_model={"saved_model/x": digest},
            choice={"threshold": 5120},
            scales=[0.5],
            version=1,
        ),
    )
    yield "seed-saved-model", _manifest(saved_model={"saved_model/x": digest})
    yield "seed-leads-out", _manifest(saved_model={"../x": digest})
    yield "seed-no-object", b"[]"
    yield "seed-no-json", b"\xff\xfe{\0}\0"
    yield "fault-number-beyond-float", _manifest(multiply_adds_per_pixel={"encoder": 10**400})
    yield "fault-infinite-parameters", _manifest(parameters={"encoder": float("inf")})
    yield "fault-scale-beyond-float", _manifest(scales=[10**400])
    yield "fault-name-with-zero-byte", _manifest(saved_model={"a\0b": digest})
    yield "fault-name-no-unicode", _manifest(saved_model={"\ud800": digest})
    yield "fault-deep-brackets", b"[" * 3000


def names() -> Inputs:
    for number, parts in enumerate(
        (
            ["a.png", "a.jpg", "a.edge", "a.png.edge", "a.jpg.2.edge", "A.PNG"],
            ["d", "d/e.png", "d.png/f", "d/e.jpg", "D/E.JPG"],
            ["../evil", "/evil", "C:/evil", "a\\b", "a//b", "./a", "a/..", ""],
            ["CON", "nul.txt", "com1 .x", "LPT¹", "conin$", "console"],
            ["é.png", "e\u0301.png", "É.jpg", "ß.png", "SS.png", "\u1e9e.png"],
            ["x" * 251 + ".png", "x" * 250 + ".jpeg", "ω" * 127, "/".join(["y" * 200] * 20)],
            ["a.", "a ", "a\n", "a\x7f", "a\x85", "a\0", "\u202egnp.exe"],
            ["holiday/a", ".jpg", "/../../evil", ".2", ".png", "a.2"],
        )
    ):
        yield f"seed-{number:02}", b"\xfe".join(part.encode() for part in parts)
    yield "seed-no-unicode", b"\xff\xfe\xed\xa0\x80\xfe\xc0\xae\xfea\xcc\x81"


def roundtrip() -> Inputs:
    def records(*entries: tuple[int, str, bytes]) -> bytes:
        return b"".join(
            struct.pack("<BBH", kind, len(name.encode()), len(content)) + name.encode() + content
            for kind, name, content in entries
        )

    yield "seed-00", records((0, "a.txt", b"text"), (2, "a.png", b"symbols"), (3, "empty", b""))
    yield "seed-01", records((2, "a.png", b"1"), (2, "a.jpg", b"2"), (0, "a.edge", b"3"))
    yield "seed-02", records((0, "d/e/f", b"=" * 900), (1, "d/v.gif", b"GIF89a"), (0, "d/g", b""))
    yield "seed-03", records((0, "PK", b"PK\3\4" * 9), (0, "PL", _archive(("x", b"x"))))
    # The file's last bytes stand where ZIP64's end record would.
    yield "fault-content-like-zip64", records((0, "last.txt", b"the last fPK\6\6"))
    yield "seed-04", records((2, "é.ω", b"a"), (2, "É.ω", b"b"), (2, "e\u0301.png", b"c"))


def symbols() -> Inputs:
    """Payloads of every model and coder, as the target takes them."""
    rng = random.Random(6)
    for place, found in enumerate(models().values()):
        shape = (found.channels, 5, 7)
        noise = (
            np.frombuffer(rng.randbytes(found.channels * 35), np.uint8).astype(int).reshape(shape)
        )
        # Mostly zero and its neighbours, now and then anything.
        near = found.zero + noise % 3 - 1
        volume = np.where(noise < 230, near, noise % found.levels).astype(np.uint8)
        counts = None
        if found.importance_map:
            counts = (noise[0] % (found.channels + 1)).astype(np.uint8)
            volume[np.arange(found.channels)[:, None, None] >= counts] = found.zero
        for number, name in enumerate(found.coders):
            head = bytes([place + 3 * number, shape[1] - 1, shape[2] - 1])
            yield f"seed-{place}-{name}", head + _payload(found, name, volume, counts)
    for name in ("v1-context", "v1-context-map"):
        stream = parse((DATA / "golden" / f"{name}.edge").read_bytes())
        place = list(models()).index(stream.model_id)
        number = models()[stream.model_id].coders.index("context")
        head = bytes([place + 3 * number, -(-stream.height // 8) - 1, -(-stream.width // 8) - 1])
        yield f"seed-{name}", head + stream.tiles[0].payload


def _payload(found: Model, name: str, volume: np.ndarray, counts: np.ndarray | None) -> bytes:
    """Of `lzma`, the packed volume as it is: what liblzma makes of it depends on its version."""
    coder = load_coder(found, name)
    levels, zero = found.levels, found.zero
    if isinstance(coder, ContextCoder):
        packed = coder.encode(volume, levels=levels, zero=zero, counts=counts)
    else:
        packed = b"\0" + native.pack(volume, levels=levels, zero=zero, counts=counts)
    if counts is None:
        return packed
    steps = found.channels + 1
    residual = native.map_residual(counts, steps)[None]
    coded_map = b"\0" + native.pack(residual, levels=steps, zero=steps // 2)
    return bytes([len(coded_map)]) + coded_map + packed


def main(target: Path) -> None:
    """Write all of them, a folder a target."""
    for make in (archive, codestream, model, names, roundtrip, symbols):
        folder = target / make.__name__
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in make():
            (folder / name).write_bytes(data)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "corpus")
