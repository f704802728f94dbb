"""A picture file to its codestream, or the reason why it stays as it is: the one place that decides
so, for pictures that are coded here and for those that another machine codes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from edgecomp.codec import Codec
from edgecomp.codestream import Origin
from edgecomp.pictures import load_picture, memory_for, open_picture
from edgecomp.pipeline import Budget


@dataclass(frozen=True, slots=True)
class Coded:
    """What became of a picture file: one of codestream and kept.

    Attributes:
        codestream: of the picture.
        pixels: of the picture.
        kept: why the file is kept as it is.
    """

    codestream: bytes | None = None
    pixels: int = 0
    kept: str | None = None


class PictureCoder:
    """Codes picture files. Safe to use from several threads at once.

    Args:
        codec: what codes.
        max_pixels: larger pictures are refused; None for no limit.
        budget: memory that pictures side by side may take.
        threads: that a picture may use which leaves no room for another; None for the codec's own
            number.
    """

    def __init__(
        self, codec: Codec, max_pixels: int | None, *, budget: Budget, threads: int | None = None
    ) -> None:
        self._codec = codec
        self._max_pixels = max_pixels
        self._budget = budget
        self._threads = threads

    def code(
        self,
        file: BinaryIO,
        size: int,
        *,
        name: str,
        origin: Origin,
        check: Callable[[], object] | None = None,
    ) -> Coded:
        """Code one.

        Args:
            file: open for reading at its start, able to seek.
            size: of the file in bytes.
            name: of which the suffix counts.
            origin: for the codestream.
            check: is called when the picture was read, and raises if that was a mixture.

        Raises:
            UnsupportedPictureError: it cannot be decoded, or not be represented; it says why.
        """
        image = open_picture(file, name=name, max_pixels=self._max_pixels)
        pixels = image.width * image.height
        memory = memory_for(pixels)
        with self._budget.hold(memory):
            alone = self._budget.holds_only_one(memory)
            picture = load_picture(image, name=name)
            if check is not None:
                check()
            codestream = self._codec.encode(
                picture, origin=origin, threads=self._threads if alone else None
            )
            del picture, image
        if len(codestream) > size:
            return Coded(kept=f"would grow from {size} to {len(codestream)} bytes")
        return Coded(codestream, pixels)
