"""Pictures, peers and an evaluation that the tests of the page share."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from common import ROOT
from PIL import Image

from edgecomp.evaluation.own import OwnMethod, load_codecs, own_methods
from edgecomp.evaluation.results import Evaluation, PictureResult

if TYPE_CHECKING:
    from numpy.typing import NDArray

PHOTOS = ROOT / "examples" / "photos"


class Peer:
    """A codec of Pillow's; meets ``page_pictures.PeerFamily``. Counts what it encodes."""

    def __init__(self, name: str, title: str, qualities: range, **options: Any) -> None:
        self.name = name
        self.title = title
        self.mime = f"image/{name}"
        self.qualities = qualities
        self._options = options
        self.encoded: list[int] = []

    def encode(self, rgb: NDArray[np.uint8], quality: int, /) -> bytes:
        self.encoded.append(quality)
        buffer = io.BytesIO()
        Image.fromarray(rgb).save(buffer, self.name, quality=quality, **self._options)
        return buffer.getvalue()

    def decode(self, data: bytes, /) -> NDArray[np.uint8]:
        return pixels(data)


def jpeg() -> Peer:
    return Peer("jpeg", "JPEG", range(1, 96), optimize=True)


def webp() -> Peer:
    return Peer("webp", "WebP", range(0, 101), method=2)


def own() -> list[OwnMethod]:
    """edgecomp at its three qualities."""
    return own_methods(load_codecs(), "context")


def pixels(data: bytes) -> NDArray[np.uint8]:
    """Of a file that Pillow reads: uint8 (height, width, 3)."""
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image.convert("RGB"))


def crop(name: str, width: int, height: int) -> NDArray[np.uint8]:
    """The middle of an example photo: uint8 (height, width, 3)."""
    rgb = pixels((PHOTOS / name).read_bytes())
    top, left = (rgb.shape[0] - height) // 2, (rgb.shape[1] - width) // 2
    return np.ascontiguousarray(rgb[top : top + height, left : left + width])


def evaluation(pictures: Sequence[PictureResult], **more: Any) -> Evaluation:
    """An evaluation of these pictures, without rows."""
    facts: dict[str, Any] = {
        "folder": "photos",
        "kodak": False,
        "left_out": [],
        "rows": [],
        "stages": [],
        "commands": [],
        "cores": 1,
        "machine": {"processor": "x86-64"},
    }
    return Evaluation(pictures=pictures, **{**facts, **more})


def write(path: Path, *arguments: Any) -> None:
    """`write_page` to a file as the report does."""
    from edgecomp.evaluation.page import write_page

    with open(path, "w", encoding="utf-8", newline="\n") as file:
        write_page(file, *arguments)
