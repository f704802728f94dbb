"""Archives one of whose pictures is damaged, hostile or unsupported; the others must come back."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import replace

from seed_makers.codestreams import TILED, Raw
from seed_makers.lzma_by_hand import lzma_of_zip
from seed_makers.members import evil
from seed_makers.seed import Restored, Seed, coded, parsed, picture
from seed_makers.zip_by_hand import LZMA, compressed, picture_member

from edgecomp import constants as k
from edgecomp.codestream import Section, Tile
from edgecomp.varint import pack_varint as varint


def seeds() -> Iterator[Seed]:
    """All of them."""
    yield from _pictures()
    yield from _damaged_pictures()
    yield from _unsupported_pictures()


def _pictures() -> Iterator[Seed]:
    stream = coded("p.png")
    yield evil(
        "picture-renamed",
        picture_member("q.edge", stream),
        "a picture under another name",
        "name check",
    )
    yield evil(
        "picture-without-origin",
        picture_member("p.edge", coded()),
        "a codestream that does not say where it came from",
        "where it came from",
    )
    for name, data, about, says in (
        ("empty", b"", "no bytes", "codestream"),
        ("noise", bytes(range(200)), "noise", "codestream"),
        ("cut", stream[:30], "a codestream cut in its header", "cut short"),
        (
            "header",
            stream[:12] + b"?" + stream[13:],
            "a codestream with a damaged header",
            "checksum",
        ),
    ):
        yield evil(f"picture-{name}", picture_member("p.edge", data), about, says)
    packed = lzma_of_zip(stream)
    part = replace(compressed("p.edge", packed, len(stream), zlib.crc32(stream)), extra=b"")
    yield evil("picture-compressed", part, "a codestream in LZMA", "compressed")
    assert part.method == LZMA
    for name, suffix in (
        ("leads-out", "/../../evil"),
        ("absolute", "//tmp/edgecomp-evil"),
        ("backslash", "\\..\\evil"),
        ("nul", "\0.png"),
        ("dot", "."),
        ("slash", ".png/"),
    ):
        made = coded("p" + suffix, suffix=suffix)
        yield evil(
            f"picture-suffix-{name}",
            picture_member("p.edge", made),
            "a suffix in the codestream that makes an unsafe name",
            "unsafe name",
            lost=("p.edge",),
        )
    for name, member, source in (
        ("leads-out", "../p.edge", "../p.png"),
        ("absolute", "/tmp/edgecomp-evil.edge", "/tmp/edgecomp-evil.png"),
        ("device", "con.edge", "con.png"),
    ):
        yield evil(
            f"picture-name-{name}",
            picture_member(member, coded(source)),
            "a picture with an unsafe name",
            "unsafe name",
        )


def _damaged_pictures() -> Iterator[Seed]:
    """Pictures whose headers are right: `list` sees nothing, `info` what the checksums tell."""
    plain, tiled = parsed("p.png"), parsed("p.png", tile=8)
    whole = plain.pack()
    back = {"p.png": picture(whole)}
    flipped = whole[:-1] + bytes([whole[-1] ^ 1])
    exif = Section(k.SECTION_EXIF, 0, 9, b"no EXIF..", 1)
    profile = replace(exif, kind=k.SECTION_ICC)
    second = Tile(b"?", 0, tiled.tiles[1].symbol_hash)
    lost_tile = replace(tiled, tiles=(tiled.tiles[0], second, *tiled.tiles[2:]))

    def seed(
        name: str, data: bytes, about: str, says: str, restored: Restored | None = None
    ) -> Seed:
        lost = () if restored else ("p.png",)
        part = picture_member("p.edge", data)
        if name in ("tile", "member-checksum"):
            part = replace(part, crc=zlib.crc32(whole) ^ (data == whole))
        made = evil(f"picture-{name}", part, about, says, lost=lost, restored=restored)
        return replace(made, list=0, info=4 if part.crc is not None else 0)

    yield seed("tile", flipped, "a picture with a flipped bit in its symbols", "checksum")
    about = "the same, the member's checksum made right"
    yield seed("tile-unnoticed", flipped, about, "checksum")
    about = "a whole picture with a wrong checksum of the member: it comes back"
    yield seed("member-checksum", whole, about, "checksum", back)
    about = "damaged EXIF: the picture comes back without it"
    yield seed("exif", replace(plain, sections=(exif,)).pack(), about, "damaged", back)
    data = replace(plain, sections=(profile,)).pack()
    yield seed("profile", data, "a damaged ICC profile", "section")
    yield seed("one-tile", lost_tile.pack(), "one of six tiles damaged", "1 of 6")


def _unsupported_pictures() -> Iterator[Seed]:
    stream = parsed("p.png")
    assert stream.origin is not None
    payload, origin = stream.tiles[0].payload, stream.origin.pack()
    raw = Raw(stream.model_id, stream.symbol_hash, payload, flags=1, origin=origin)

    def seed(name: str, changed: Raw, about: str, says: str, *, kind: str = "bad") -> Seed:
        """A picture whose header cannot be read."""
        part = picture_member("p.edge", changed.data())
        return evil(f"picture-{name}", part, about, says, kind=kind)

    def readable(made: Seed, *, code: int = 4, info: int = 0) -> Seed:
        """The same, where the header can be read, and tells the source."""
        return replace(made, lost=("p.png",), list=0, info=info, verify=code, decompress=code)

    newer = {
        "version-2": (replace(raw, version=2), "of a newer version", "version 2"),
        "flag": (replace(raw, flags=0x81), "with an unknown mandatory flag", "flags"),
        "coder-15": (replace(raw, coder_gain=15), "by an unknown coder", "coder 15"),
        "model": (replace(raw, model_id=b"no model"), "of a model that is nowhere", "6e6f206d6f64"),
    }
    for name, (changed, about, says) in newer.items():
        made = seed(name, changed, f"a picture {about}", says, kind="unsupported")
        if name in ("coder-15", "model"):
            made = readable(made, code=5 if name == "model" else 4)
        yield made
    huge = replace(raw, size=varint(1 << 20) * 2)
    yield readable(seed("terapixel", huge, "a picture of 2^20 x 2^20 pixels", "pixels"), code=3)
    tiles = varint(1) * 2 + varint(1) + bytes(4)
    absurd = replace(raw, flags=1 | TILED, size=varint(16000) * 2, tiles=tiles)
    yield readable(seed("tiles", absurd, "a picture of 256 million tiles", "tile table"), info=4)
    sides = replace(raw, size=varint(1 << 31) * 2)
    yield seed("2e31-pixels-square", sides, "a picture of 2^31 x 2^31 pixels", "impossible")
