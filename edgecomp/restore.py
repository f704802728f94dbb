"""Codestreams to Pillow images: what `decompress` writes and `edgecomp.decode` gives.

The pixels go straight into Pillow's image, a region at a time, so that a large picture is in memory
once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from edgecomp import constants as k
from edgecomp.codec import Codec
from edgecomp.codestream import Codestream
from edgecomp.errors import CorruptDataError, UsageError
from edgecomp.picture_writer import add_metadata, colours_of
from edgecomp.tiling import Rect

Box = tuple[int, int, int, int]
# What may be damaged: nothing; what pixels do without; tiles too, and all that goes with them.
Tolerance = Literal["nothing", "metadata", "tiles"]
_METADATA = {k.SECTION_ALPHA: "alpha plane", k.SECTION_ICC: "ICC profile"}


@dataclass(frozen=True, slots=True)
class Restored:
    """A decoded picture.

    Attributes:
        image: L, LA, RGB or RGBA, the metadata in ``info``.
        lost_tiles: how many tiles were damaged and are grey now.
        tiles: how many there are.
        lost_sections: kinds of the sections that were damaged and left out.
    """

    image: Image.Image
    lost_tiles: int
    tiles: int
    lost_sections: frozenset[int]

    @property
    def is_partial(self) -> bool:
        """Whether something that is seen is missing: pixels, transparency, the colour profile."""
        return self.lost_tiles > 0 or not self.lost_sections.isdisjoint(_METADATA)

    @property
    def damage(self) -> str | None:
        """What is missing, in words; None if nothing is."""
        missing = [name for kind, name in _METADATA.items() if kind in self.lost_sections]
        if not self.lost_sections <= _METADATA.keys():
            missing.append("EXIF or XMP data")
        if self.lost_tiles:
            missing.insert(0, f"{self.lost_tiles} of {self.tiles} tiles")
        if not missing:
            return None
        verb = "is" if missing == [missing[0]] and missing[0] in _METADATA.values() else "are"
        return f"restored, but without its {' and '.join(missing)}, which {verb} damaged"


def restore(
    codec: Codec,
    stream: Codestream,
    *,
    box: Box | None = None,
    tolerate: Tolerance = "nothing",
    threads: int | None = None,
) -> Restored:
    """Decode a picture, or a part of it.

    Args:
        codec: for the codestream's model.
        stream: what to decode.
        box: left, upper, right and lower edge in pixels, as Pillow counts them; None for all.
        tolerate: what may be damaged without an error. Damaged tiles become grey, as long as one
            is whole; damaged sections are left out.
        threads: to use; None for the codec's own number.

    Raises:
        CorruptDataError: a tile that is needed, or a section, is damaged.
        ModelError, UnsupportedVersionError: see ``Codec.decode_symbols``.
        UsageError: the box is empty or not within the picture.
    """
    place = _place(stream, box)
    salvage = tolerate == "tiles"
    lost: frozenset[int] = frozenset()
    if tolerate != "nothing":
        lost = stream.damaged_sections(critical=salvage)
    alpha, icc, exif, xmp = (
        None if kind in lost else stream.section(kind)
        for kind in (k.SECTION_ALPHA, k.SECTION_ICC, k.SECTION_EXIF, k.SECTION_XMP)
    )
    if box is None and not salvage:
        stream.check_tiles()
    synthesiser = codec.synthesiser(stream, salvage=salvage)
    image: Image.Image | None = None
    for region in synthesiser.regions(place, threads=threads or codec.threads):
        part = Image.fromarray(colours_of(region.rgb, grey=stream.grey))
        if region.place == place:
            image = part
            continue
        if image is None:
            image = Image.new(part.mode, (place.width, place.height))
        image.paste(part, (region.place.left - place.left, region.place.top - place.top))
    assert image is not None
    if synthesiser.lost and len(synthesiser.lost) == len(stream.tiles):
        raise CorruptDataError("every tile is damaged")
    if alpha is not None:
        plane = np.frombuffer(alpha, np.uint8).reshape(stream.height, stream.width)
        image.putalpha(Image.fromarray(plane[place.rows, place.columns]))
    add_metadata(image, exif=exif, icc=icc, xmp=xmp)
    return Restored(image, len(synthesiser.lost), len(stream.tiles), lost)


def _place(stream: Codestream, box: Box | None) -> Rect:
    whole = Rect(0, 0, stream.width, stream.height)
    if box is None:
        return whole
    place = Rect(*box)
    if place.is_empty or place.within(whole) != place:
        raise UsageError(
            f"the box {tuple(box)} is empty or not within {stream.width} x {stream.height} pixels"
        )
    return place
