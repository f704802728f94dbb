"""One picture of the page: the original, what edgecomp makes of it, and its peers at that rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from edgecomp.evaluation.embed import Embedded, shown, thumbnail
from edgecomp.metrics import Reference, bits_per_pixel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgecomp.evaluation.methods import Method

# More pictures than this would make a page that a phone cannot open.
MOST_SHOWN: Final = 48
# Pixels of all pictures together up to which they are shown without loss.
MOST_LOSSLESS_PIXELS: Final = 12_000_000
# A peer may be this much above edgecomp's bytes where that is nearer than its next setting below.
_ABOVE: Final = 0.02


class PeerFamily(Protocol):
    """A codec whose files browsers show, at any of its qualities.

    Attributes:
        name: one of ``results.CODEC_NAMES``.
        title: its name for people.
        mime: the media type of its files.
        qualities: lowest to highest; a higher one takes no fewer bytes.
    """

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def mime(self) -> str: ...
    @property
    def qualities(self) -> range: ...

    def encode(self, rgb: NDArray[np.uint8], quality: int, /) -> bytes:
        """Picture uint8 (height, width, 3) to the bytes of a file."""
        ...

    def decode(self, data: bytes, /) -> NDArray[np.uint8]:
        """The bytes of a file to a picture uint8 (height, width, 3)."""
        ...


@dataclass(frozen=True, slots=True)
class Version:
    """What one method made of a picture.

    Attributes:
        family: the method's name without its quality ("jpeg").
        label: name and quality for people ("JPEG 37", "edgecomp B").
        group: the quality of edgecomp at whose rate it is ("B").
        quality: the method's own quality ("37").
        own: whether it is edgecomp's.
        bytes: of the file.
        bpp: bits per pixel.
        ms_ssim: None where the picture is too small for it.
        psnr: dB; infinite where nothing was lost.
        embedded: what the page shows. Of a peer, its own file.
    """

    family: str
    label: str
    group: str
    quality: str
    own: bool
    bytes: int
    bpp: float
    ms_ssim: float | None
    psnr: float
    embedded: Embedded


@dataclass(frozen=True, slots=True)
class PagePicture:
    """A picture with its versions, edgecomp's first in each group.

    ``missing`` says which peers are not among them, and why.
    """

    name: str
    width: int
    height: int
    original: Embedded
    thumbnail: Embedded
    versions: Sequence[Version]
    missing: Sequence[str] = ()


def chosen(count: int, most: int = MOST_SHOWN) -> list[int]:
    """Indices of the pictures to show of ``count``: all, or ``most`` of them evenly spread."""
    if count <= most:
        return list(range(count))
    return [(2 * i + 1) * count // (2 * most) for i in range(most)]


def picture_of(
    name: str,
    rgb: NDArray[np.uint8],
    own: Sequence[Method],
    peers: Sequence[PeerFamily],
    *,
    lossless: bool,
) -> PagePicture:
    """A picture through edgecomp, and through its peers at the rates that edgecomp took.

    Args:
        name: of the picture.
        rgb: uint8 (height, width, 3), C-contiguous.
        own: edgecomp's methods, each of another quality.
        peers: codecs to compare with; one that fails on this picture is left out, with its reason.
        lossless: whether the original and edgecomp's pictures are embedded without loss.

    Raises:
        Exception: whatever an own method raises.
    """
    scorer = _Scorer(rgb)
    versions: dict[str, list[Version]] = {}
    for method in own:
        data = method.encode(rgb)
        restored = method.decode(data)
        versions[method.quality] = [
            scorer.version(
                restored,
                len(data),
                family=method.name,
                title="edgecomp",
                group=method.quality,
                quality=method.quality,
                own=True,
                embedded=shown(restored, lossless=lossless),
            )
        ]
    targets = {group: found[0].bytes for group, found in versions.items()}
    missing = []
    for peer in peers:
        try:
            matched = _at_rates(scorer, peer, targets)
        except MemoryError:
            raise
        except Exception as error:  # codecs raise nearly anything
            missing.append(f"{peer.title}: {error or type(error).__name__}")
        else:
            for version in matched:
                versions[version.group].append(version)
    return PagePicture(
        name=name,
        width=rgb.shape[1],
        height=rgb.shape[0],
        original=shown(rgb, lossless=lossless),
        thumbnail=thumbnail(rgb),
        versions=[version for found in versions.values() for version in found],
        missing=missing,
    )


class _Scorer:
    """Compares restored pictures with the original, whose part of the work is done once."""

    def __init__(self, rgb: NDArray[np.uint8]) -> None:
        self.rgb = rgb
        self._reference = Reference(rgb)

    def version(
        self,
        restored: NDArray[np.uint8],
        size: int,
        *,
        family: str,
        title: str,
        group: str,
        quality: str,
        own: bool,
        embedded: Embedded,
    ) -> Version:
        """A method's version; ``size`` is that of its file.

        Raises:
            ValueError: the restored picture is not of the original's shape.
        """
        ms_ssim, psnr = self._reference.score(restored)
        pixels = self.rgb.shape[0] * self.rgb.shape[1]
        return Version(
            family=family,
            label=f"{title} {quality}".removesuffix(" -"),  # the quality of a model without one
            group=group,
            quality=quality,
            own=own,
            bytes=size,
            bpp=bits_per_pixel(size, pixels),
            ms_ssim=ms_ssim,
            psnr=psnr,
            embedded=embedded,
        )


def _at_rates(scorer: _Scorer, peer: PeerFamily, targets: Mapping[str, int]) -> list[Version]:
    """A peer's version for each of the target bytes, which are given by group."""
    files: dict[int, bytes] = {}

    def size(quality: int) -> int:
        if quality not in files:
            files[quality] = peer.encode(scorer.rgb, quality)
        return len(files[quality])

    found = []
    for group, target in targets.items():
        quality = nearest_quality(size, peer.qualities, target)
        size(quality)
        data = files[quality]
        version = scorer.version(
            peer.decode(data),
            len(data),
            family=peer.name,
            title=peer.title,
            group=group,
            quality=str(quality),
            own=False,
            embedded=Embedded(peer.mime, data),
        )
        found.append(version)
    return found


def nearest_quality(size: Callable[[int], int], qualities: range, target: int) -> int:
    """The quality whose bytes come nearest to a target without being above it.

    The next quality up is taken instead where it is nearer and at most 2 % above, and the lowest
    where even that is above.

    Args:
        size: bytes at a quality, never fewer at a higher one; called for as few as the search
            needs.
        qualities: lowest to highest.
        target: bytes.
    """
    # Positions in ``qualities``: what is up to ``low`` fits, what is from ``high`` on does not.
    low, high = -1, len(qualities)
    sizes: dict[int, int] = {}
    while high - low > 1:
        middle = (low + high) // 2
        # Bytes grow about exponentially: once both ends are known, every other step looks where
        # the target should be.
        if low in sizes and high in sizes and len(sizes) % 2:
            part = math.log(target / sizes[low]) / math.log(sizes[high] / sizes[low])
            middle = min(max(round(low + part * (high - low)), low + 1), high - 1)
        sizes[middle] = size(qualities[middle])
        if sizes[middle] <= target:
            low = middle
        else:
            high = middle
    if low < 0:
        return qualities[0]
    if high < len(qualities):
        above = sizes[high] - target
        if above <= _ABOVE * target and above < target - sizes[low]:
            return qualities[high]
    return qualities[low]
