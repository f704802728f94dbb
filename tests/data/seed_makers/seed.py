"""What a kept file is, and what must come of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from edgecomp.codec import Codec
from edgecomp.codestream import Codestream, Origin, parse
from edgecomp.names import name_check
from edgecomp.picture_writer import colours_of
from edgecomp.pictures import Picture

DATA = Path(__file__).parent.parent
MTIME = 1_700_000_000_123_456_789
# Folders of models below tests/data. Pictures are coded by `context`, whose code is pinned.
TINY, TINY_MAP = "context/tiny", "context/tiny-map"
WITHOUT_CONTEXT = "models/tiny"

COMMANDS = ("verify", "list", "info", "decompress")

Restored = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Seed:
    """A file of tests/data and what must come of it.

    Attributes:
        name: of the file; what it begins with says what kind it is.
        data: its bytes.
        about: one line for people.
        restored: path in the output folder -> what must be there (`file`, `folder`, `picture`).
        may_restore: what may be there instead of `restored`; all of it or some, but nothing else.
        lost: what must be named, and not be restored.
        verify, list, info, decompress: exit codes of the commands.
        says: words that each command must print that does not end with 0.
        model: folder of the model, below tests/data.
    """

    name: str
    data: bytes = field(repr=False)
    about: str
    restored: Restored = field(default_factory=dict)
    lost: tuple[str, ...] = ()
    verify: int = 0
    list: int = 0
    info: int = 0
    decompress: int = 0
    says: str = ""
    model: str = TINY
    may_restore: Restored | None = None

    def to_json(self) -> dict[str, Any]:
        """The entry of seeds.json."""
        entry: dict[str, Any] = {
            "about": self.about,
            "model": self.model,
            "exit_codes": {command: getattr(self, command) for command in COMMANDS},
        }
        if self.says:
            entry["says"] = self.says
        if self.may_restore is None:
            entry["restored"] = self.restored
        else:
            entry["may_restore"] = self.may_restore
        if self.lost:
            entry["lost"] = list(self.lost)
        return entry


def file(content: bytes) -> dict[str, Any]:
    """What is expected of a restored file: its text or, where it is none, its hash."""
    if len(content) <= 64 and content.decode("latin-1").replace("\n", "").isascii():
        return {"kind": "file", "text": content.decode()}
    return {"kind": "file", "sha256": hashlib.sha256(content).hexdigest()}


def folder() -> dict[str, Any]:
    """What is expected of a restored empty folder."""
    return {"kind": "folder"}


def picture(codestream: bytes, model: str = TINY) -> dict[str, Any]:
    """What is expected of a restored picture: pixels as Pillow has them, and symbols."""
    stream = parse(codestream)
    latent = codec(model).decode_symbols(stream)
    decoded = codec(model).decode(stream)
    pixels = colours_of(decoded.rgb, grey=decoded.grey)
    mode = "L" if decoded.grey else "RGB"
    if decoded.alpha is not None:
        pixels = np.dstack([pixels, decoded.alpha])
        mode += "A"
    symbols = hashlib.sha256(latent.symbols.tobytes())
    if latent.counts is not None:
        symbols.update(latent.counts.tobytes())
    return {
        "kind": "picture",
        "mode": mode,
        "width": stream.width,
        "height": stream.height,
        "pixels": hashlib.sha256(pixels.tobytes()).hexdigest(),
        "symbols": symbols.hexdigest(),
    }


@cache
def codec(model: str) -> Codec:
    """The codec of a model below tests/data."""
    return Codec.load(model=DATA / model)


def scene(width: int, height: int) -> np.ndarray:
    """uint8 (height, width, 3): gradients and an edge, in whole numbers."""
    y, x = np.mgrid[0:height, 0:width]
    planes = ((x * 5 + y) % 256, (x * y // 7) % 256, np.where((x - 12) ** 2 < y * 9, 230, 25))
    return np.dstack(planes).astype(np.uint8)


def coded(
    source: str | None = None,
    *,
    size: tuple[int, int] = (24, 16),
    model: str = TINY,
    grey: bool = False,
    gain: int = 0,
    tile: int | None = None,
    suffix: str | None = None,
) -> bytes:
    """A codestream; with a source it says that it comes from there."""
    origin = None
    if source is not None:
        ending = Path(source).suffix if suffix is None else suffix
        origin = Origin(ending, MTIME, name_check(source))
    pixels = scene(*size)
    if grey:
        pixels = np.repeat(pixels[..., :1], 3, axis=2)
    made = codec(model).encode(Picture(pixels, grey=grey), origin=origin, gain=gain, tile=tile)
    assert isinstance(made, bytes)
    return made


def parsed(source: str | None = None, **options: Any) -> Codestream:
    """`coded`, taken apart."""
    return parse(coded(source, **options))
