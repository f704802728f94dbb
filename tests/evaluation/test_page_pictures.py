"""A picture, what edgecomp makes of it, and its peers at that rate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from page_samples import Peer, crop, jpeg, own, pixels, webp

from edgecomp.evaluation.methods import UnavailableError
from edgecomp.evaluation.page_pictures import (
    MOST_SHOWN,
    PagePicture,
    chosen,
    nearest_quality,
    picture_of,
)
from edgecomp.evaluation.pillow_codecs import family
from edgecomp.metrics import ms_ssim, psnr

if TYPE_CHECKING:
    from numpy.typing import NDArray


@pytest.fixture(scope="module")
def rgb() -> NDArray[np.uint8]:
    return crop("kodim23.png", 240, 168)


@pytest.fixture(scope="module")
def picture(rgb: NDArray[np.uint8]) -> PagePicture:
    return picture_of("parrots.png", rgb, own(), [jpeg(), webp()], lossless=True)


def test_groups(picture: PagePicture) -> None:
    assert (picture.name, picture.width, picture.height) == ("parrots.png", 240, 168)
    assert [(version.family, version.group) for version in picture.versions] == [
        (family, group) for group in "ABC" for family in ("edgecomp context", "jpeg", "webp")
    ]
    assert [version.label for version in picture.versions if version.own] == [
        "edgecomp A",
        "edgecomp B",
        "edgecomp C",
    ]
    assert picture.missing == []


def test_pixels_and_figures(picture: PagePicture, rgb: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(pixels(picture.original.data), rgb)
    methods = {method.quality: method for method in own()}
    for version in picture.versions:
        shown = pixels(version.embedded.data)
        assert version.embedded.lossless
        if version.own:
            method = methods[version.quality]
            data = method.encode(rgb)
            assert version.bytes == len(data)
            np.testing.assert_array_equal(shown, method.decode(data))
        else:
            assert version.bytes == len(version.embedded.data)
        assert version.bpp == 8 * version.bytes / (240 * 168)
        assert version.psnr == pytest.approx(psnr(rgb, shown))
        assert version.ms_ssim == pytest.approx(ms_ssim(rgb, shown))


def test_peers_are_at_the_rate(picture: PagePicture, rgb: NDArray[np.uint8]) -> None:
    targets = {version.group: version.bytes for version in picture.versions if version.own}
    families = {"jpeg": jpeg(), "webp": webp()}
    for version in picture.versions:
        if version.own:
            continue
        family = families[version.family]
        quality = int(version.quality)
        assert version.embedded.data == family.encode(rgb, quality)
        assert version.embedded.mime == family.mime
        target = targets[version.group]
        assert version.bytes <= 1.02 * target
        # No other setting is nearer, of those that are not above.
        if quality + 1 in family.qualities:
            above = len(family.encode(rgb, quality + 1))
            assert above > target
            assert above > 1.02 * target or above - target >= abs(version.bytes - target)


def test_the_codecs_that_are_measured_serve(rgb: NDArray[np.uint8]) -> None:
    """As JPEG does, so do the others that browsers show."""
    peers = [family(name) for name in ("jpeg", "webp", "avif")]
    there = [peer for peer in peers if peer.unavailable() is None]
    picture = picture_of("a", rgb, own()[:1], peers, lossless=True)
    assert [version.family for version in picture.versions[1:]] == [peer.name for peer in there]
    assert len(picture.missing) == len(peers) - len(there)
    for version, peer in zip(picture.versions[1:], there, strict=True):
        assert version.label == f"{peer.title} {version.quality}"
        assert 0.85 * picture.versions[0].bytes < version.bytes <= 1.02 * picture.versions[0].bytes


def test_a_model_without_a_quality(rgb: NDArray[np.uint8]) -> None:
    method = own()[0]
    method.quality = "-"
    (version,) = picture_of("a", rgb, [method], [], lossless=True).versions
    assert (version.label, version.group) == ("edgecomp", "-")


def test_settings_are_encoded_once(rgb: NDArray[np.uint8]) -> None:
    peer = jpeg()
    picture_of("a", rgb, own(), [peer], lossless=True)
    assert len(peer.encoded) == len(set(peer.encoded)) < 25


@pytest.mark.parametrize("error", [UnavailableError("needs x"), ValueError("too wide"), OSError()])
def test_a_peer_that_fails_is_left_out(rgb: NDArray[np.uint8], error: Exception) -> None:
    class Failing(Peer):
        def encode(self, rgb: NDArray[np.uint8], quality: int, /) -> bytes:
            if len(self.encoded) == 6:  # only after a while
                raise error
            return super().encode(rgb, quality)

    picture = picture_of(
        "a", rgb, own(), [Failing("jpeg", "Worse", range(1, 96)), webp()], lossless=True
    )
    assert picture.missing == [f"Worse: {error or 'OSError'}"]
    assert {version.family for version in picture.versions} == {"edgecomp context", "webp"}


def test_a_peer_that_restores_another_size_is_left_out(rgb: NDArray[np.uint8]) -> None:
    class Cropping(Peer):
        def decode(self, data: bytes, /) -> NDArray[np.uint8]:
            return super().decode(data)[1:]

    picture = picture_of(
        "a", rgb, own()[:1], [Cropping("jpeg", "Crop", range(1, 96))], lossless=True
    )
    assert "different shapes" in picture.missing[0]
    assert len(picture.versions) == 1


def test_memory_that_runs_out_is_no_fault_of_the_peer(rgb: NDArray[np.uint8]) -> None:
    class Greedy(Peer):
        def encode(self, rgb: NDArray[np.uint8], quality: int, /) -> bytes:
            raise MemoryError

    with pytest.raises(MemoryError):
        picture_of("a", rgb, own()[:1], [Greedy("jpeg", "Greedy", range(5))], lossless=True)


def test_lossy_page(rgb: NDArray[np.uint8]) -> None:
    picture = picture_of("a", rgb, own()[:1], [jpeg()], lossless=False)
    edgecomp, peer = picture.versions
    assert not picture.original.lossless
    assert not edgecomp.embedded.lossless
    assert peer.embedded.lossless
    restored = own()[0].decode(own()[0].encode(rgb))
    assert edgecomp.psnr == pytest.approx(psnr(rgb, restored))  # of the true pixels


def test_a_picture_too_small_for_ms_ssim() -> None:
    rgb = crop("kodim23.png", 9, 8)
    picture = picture_of("dot", rgb, own()[1:2], [jpeg()], lossless=True)
    assert [version.ms_ssim for version in picture.versions] == [None, None]
    assert all(math.isfinite(version.psnr) for version in picture.versions)


def test_nearest_quality() -> None:
    sizes = {quality: round(100 * 1.1**quality) for quality in range(1, 101)}

    def nearest(target: float) -> int:
        return nearest_quality(sizes.__getitem__, range(1, 101), round(target))

    for quality, size in sizes.items():
        assert nearest(size) == quality
        assert nearest(size + 1) == quality
    assert nearest(sizes[40] * 0.985) == 40  # above, but by less than 2 %, and nearer
    assert nearest(sizes[40] * 0.97) == 39  # above by more
    assert nearest(1) == 1  # nothing fits
    assert nearest(10**9) == 100


@pytest.mark.parametrize("step", [1, 5])
def test_nearest_quality_of_steps(step: int) -> None:
    """Sizes that stay the same for some qualities, and qualities that are not all whole."""
    qualities = range(0, 101, step)
    assert nearest_quality(lambda quality: 1000 + quality // 10, qualities, 1004) in range(40, 50)
    assert nearest_quality(lambda quality: 7, qualities, 7) == 100
    assert nearest_quality(lambda quality: 7, qualities, 6) == 0


def test_nearest_quality_is_quick() -> None:
    asked = []

    def size(quality: int) -> int:
        asked.append(quality)
        return round(2000 * math.exp(quality / 25))

    nearest_quality(size, range(0, 101), 9000)
    assert len(asked) <= 6


def test_chosen() -> None:
    assert chosen(3) == [0, 1, 2]
    assert chosen(MOST_SHOWN) == list(range(MOST_SHOWN))
    assert chosen(100, 4) == [12, 37, 62, 87]
    assert chosen(5, 1) == [2]
    for count in range(1, 200):
        indices = chosen(count)
        assert len(indices) == len(set(indices)) == min(count, MOST_SHOWN)
        assert indices == sorted(indices)
        assert indices[-1] < count
    assert chosen(0) == []
