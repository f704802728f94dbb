"""The codecs that edgecomp is compared with: what they return, refuse, and how they use threads."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from common import ROOT
from PIL import AvifImagePlugin, Image

from edgecomp.evaluation.methods import UnavailableError
from edgecomp.evaluation.pillow_codecs import PillowCodec, families, family, unavailable
from edgecomp.evaluation.results import CODEC_NAMES
from edgecomp.metrics import Reference, psnr


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    with Image.open(ROOT / "examples" / "photos" / "kodim05.png") as image:
        return np.array(image.convert("RGB"))


@pytest.fixture(params=CODEC_NAMES)
def codec(request: pytest.FixtureRequest) -> PillowCodec:
    """Each codec that works here; one that needs a plug-in may be missing, but not be broken."""
    found = family(request.param)
    reason = found.unavailable()
    if reason is not None:
        assert reason.startswith(("needs ", "this Pillow was built without"))
        pytest.skip(reason)
    return found


def test_every_codec_of_the_tables_is_there_once() -> None:
    assert tuple(codec.name for codec in families()) == CODEC_NAMES
    assert unavailable("jpeg") is None
    with pytest.raises(ValueError, match="no codec 'gif'; there are jpeg, jpeg2000"):
        family("gif")


def test_pictures_come_back(codec: PillowCodec, picture: np.ndarray) -> None:
    part = np.ascontiguousarray(picture[100:261, 50:257])
    before = part.copy()
    restored = codec.decode(codec.encode(part, codec.measured[2]))
    assert (restored.shape, restored.dtype) == (part.shape, np.uint8)
    assert restored.flags.c_contiguous
    assert restored.flags.writeable
    assert 27 < psnr(part, restored) < 50
    np.testing.assert_array_equal(part, before)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (11, 9), (65, 64)])
def test_small_and_odd_sizes_at_the_ends_of_the_scale(
    codec: PillowCodec, shape: tuple[int, int]
) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    for quality in (codec.qualities[0], codec.qualities[-1]):
        assert codec.decode(codec.encode(rgb, quality)).shape == rgb.shape


def test_a_higher_quality_is_larger_and_closer(codec: PillowCodec, picture: np.ndarray) -> None:
    part = np.ascontiguousarray(picture[:200, :200])
    assert list(codec.measured) == sorted(codec.measured)
    assert 5 <= len(codec.measured) <= 6
    assert all(quality in codec.qualities for quality in codec.measured)
    files = [codec.encode(part, quality) for quality in codec.measured]
    sizes = [len(data) for data in files]
    scores = [psnr(part, codec.decode(data)) for data in files]
    assert sizes == sorted(sizes)
    assert scores == sorted(scores)
    assert sizes[0] < sizes[-1] / 2
    assert scores[0] < scores[-1] - 4


def test_the_published_points_are_measured() -> None:
    for name, quality in (("jpeg", 75), ("webp", 75), ("avif", 45)):
        assert quality in family(name).measured


def test_a_rate_of_jpeg_2000_is_kept(picture: np.ndarray) -> None:
    data = family("jpeg2000").encode(picture, 60)
    assert 8 * len(data) / (picture.size / 3) == pytest.approx(0.60, abs=0.01)


def test_a_method_is_the_codec_at_one_quality(codec: PillowCodec, picture: np.ndarray) -> None:
    part = np.ascontiguousarray(picture[:64, :96])
    quality = codec.measured[1]
    method = codec.method(quality)
    assert (method.name, method.quality) == (codec.name, str(quality))
    assert method.settings == codec.settings(quality)
    data = method.encode(part)
    assert data == codec.encode(part, quality)
    np.testing.assert_array_equal(method.decode(data), codec.decode(data))


def test_settings_are_for_people() -> None:
    assert family("jpeg").settings(75) == "quality=75, optimize=True"
    assert family("avif").settings(45) == "quality=45, speed=6, max_threads=1"
    assert family("jpeg2000").settings(60).startswith("0.60 bits per pixel: quality_layers=[40]")
    assert "x265:pools=none" in family("heic").settings(50)


def test_the_library_is_named(codec: PillowCodec) -> None:
    library = codec.library()
    assert library is not None
    name, _, version = library.partition(" ")
    assert name[:3].lower() in ("lib", "ope", "pil")
    assert version[0].isdigit()


def test_other_qualities_are_refused(codec: PillowCodec, picture: np.ndarray) -> None:
    for quality in (codec.qualities[0] - 1, codec.qualities[-1] + 1):
        with pytest.raises(ValueError, match=f"{codec.title} has qualities .* not {quality}"):
            codec.encode(picture, quality)
        with pytest.raises(ValueError, match="has qualities"):
            codec.method(quality)


def test_damaged_files_are_refused(codec: PillowCodec, picture: np.ndarray) -> None:
    data = codec.encode(np.ascontiguousarray(picture[:80, :80]), codec.measured[2])
    for damaged in (b"", b"no picture" * 9, data[: len(data) // 2], data[:30]):
        with pytest.raises((OSError, SyntaxError)):
            codec.decode(damaged)


def test_the_format_of_another_codec_is_refused(codec: PillowCodec, picture: np.ndarray) -> None:
    other = family("webp" if codec.name == "jpeg" else "jpeg")
    data = other.encode(np.ascontiguousarray(picture[:32, :32]), 75)
    with pytest.raises((OSError, SyntaxError)):
        codec.decode(data)


def test_threads_share_a_codec(codec: PillowCodec, picture: np.ndarray) -> None:
    threads_of_avif = AvifImagePlugin.DEFAULT_MAX_THREADS
    parts = [np.ascontiguousarray(picture[i : i + 64, i : i + 80]) for i in range(12)]

    def both_ways(part: np.ndarray) -> tuple[bytes, bytes]:
        data = codec.encode(part, codec.measured[1])
        return data, codec.decode(data).tobytes()

    alone = [both_ways(part) for part in parts]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(both_ways, parts)) == alone
    assert AvifImagePlugin.DEFAULT_MAX_THREADS == threads_of_avif


# In a process of its own: in that of the tests, threads of pytest-xdist and of other tests come
# and go.
COUNT_THREADS = """
import os, sys, threading
import numpy as np
from PIL import Image
from edgecomp.evaluation.pillow_codecs import family

def tasks():
    return set(os.listdir("/proc/self/task"))

codec = family(sys.argv[1])
with Image.open(sys.argv[2]) as image:
    picture = np.concatenate([np.array(image.convert("RGB"))] * 2)
assert codec.unavailable() is None
seen, done, watching = set(), threading.Event(), threading.Event()

def watch():
    watching.set()
    while not done.is_set():
        seen.update(tasks())

watcher = threading.Thread(target=watch)
watcher.start()
watching.wait()
before = tasks()
data = codec.encode(picture, codec.measured[0])
to_encode = len(seen - before)
codec.decode(data)
both = len(seen - before)
done.set()
watcher.join()
print(to_encode, both - to_encode)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads in /proc")
def test_one_core_is_enough(codec: PillowCodec) -> None:
    source = ROOT / "examples" / "photos" / "kodim05.png"
    counting = [sys.executable, "-c", COUNT_THREADS, codec.name, str(source)]
    done = subprocess.run(counting, capture_output=True, text=True, check=True)
    # HEIC works in one other thread, each way, while the caller waits.
    allowed = 1 if codec.name == "heic" else 0
    started_to_encode, started_to_decode = map(int, done.stdout.split())
    assert started_to_encode <= allowed
    assert started_to_decode <= allowed


def test_a_missing_plug_in_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module, package in (
        ("jpeg-xl", "pillow_jxl", "pillow-jxl-plugin"),
        ("heic", "pillow_heif", "pillow-heif"),
    ):
        monkeypatch.setitem(sys.modules, module, None)
        assert unavailable(name) == f"needs {package}: pip install 'edgecomp[eval]'"
        assert family(name).library() is None
        with pytest.raises(UnavailableError, match=package):
            family(name).method(50)


def test_a_plug_in_that_cannot_be_imported_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pillow_heif.py").write_text("raise AttributeError('made for another Pillow')\n")
    monkeypatch.delitem(sys.modules, "pillow_heif", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    reason = unavailable("heic")
    assert reason == "pillow-heif cannot be imported: AttributeError: made for another Pillow"


def test_a_pillow_without_the_library_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.features.check", lambda feature: feature != "avif")
    assert unavailable("avif") == "this Pillow was built without AVIF"
    with pytest.raises(UnavailableError, match="built without AVIF"):
        family("avif").method(45)


def test_a_codec_that_fails_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_encoder(*_: object) -> None:
        raise OSError("no encoder in this build")

    Image.init()
    monkeypatch.setitem(Image.SAVE, "AVIF", no_encoder)
    assert unavailable("avif") == "AVIF does not work here: OSError: no encoder in this build"


def test_plug_ins_are_imported_when_asked_for() -> None:
    script = (
        "import sys; from edgecomp.evaluation.pillow_codecs import families, family\n"
        "[codec.settings(codec.measured[0]) for codec in families()]\n"
        "assert family('jpeg').unavailable() is None\n"
        "print([name for name in ('pillow_jxl', 'pillow_heif') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout.split() == [b"[]"]


@pytest.mark.skipif("EDGECOMP_KODAK" not in os.environ, reason="EDGECOMP_KODAK names no folder")
@pytest.mark.parametrize(
    ("name", "quality", "bpp", "similarity", "decibel"),
    [
        ("jpeg", 75, 1.344, 0.9866, 34.52),
        ("webp", 75, 0.939, 0.9829, None),
        ("avif", 45, 0.494, 0.9765, None),
    ],
)
def test_known_figures_of_the_kodak_pictures(
    name: str, quality: int, bpp: float, similarity: float, decibel: float | None
) -> None:
    codec = family(name)
    count = pixels = 0
    scores = []
    for path in sorted(Path(os.environ["EDGECOMP_KODAK"]).glob("*.png")):
        with Image.open(path) as image:
            rgb = np.array(image.convert("RGB"))
        data = codec.encode(rgb, quality)
        count += len(data)
        pixels += rgb.size // 3
        scores.append(Reference(rgb).score(codec.decode(data)))
    assert len(scores) == 24
    assert 8 * count / pixels == pytest.approx(bpp, abs=0.003)
    assert np.mean([score[0] for score in scores]) == pytest.approx(similarity, abs=0.001)
    if decibel is not None:
        assert np.mean([score[1] for score in scores]) == pytest.approx(decibel, abs=0.01)
