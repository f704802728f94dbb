"""evaluation.sources: which pictures, as what, and the Kodak suite."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecomp.errors import SourceError
from edgecomp.evaluation.sources import Source, chunks, copy_to, find_sources, is_kodak


def png(seed: int = 0, size: tuple[int, int] = (40, 30)) -> Image.Image:
    random = np.random.default_rng(seed)
    return Image.fromarray(random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two plain pictures, one of them below, and a file that is none."""
    (tmp_path / "in" / "below").mkdir(parents=True)
    png(1).save(tmp_path / "in" / "a.png")
    png(2, (50, 20)).save(tmp_path / "in" / "below" / "b.png")
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    return tmp_path / "in"


def find(folder: Path, tmp_path: Path, **options: object) -> tuple[list[Source], list[str]]:
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    sources, left_out = find_sources(str(folder), scratch, **options)  # type: ignore[arg-type]
    return sources, [f"{note.path}: {note.reason}" for note in left_out]


def test_plain_pictures_are_taken_as_they_are(folder: Path, tmp_path: Path) -> None:
    sources, left_out = find(folder, tmp_path)
    assert [s.name for s in sources] == ["a.png", "below/b.png"]
    assert [s.png for s in sources] == [folder / "a.png", folder / "below" / "b.png"]
    assert [(s.width, s.height) for s in sources] == [(40, 30), (50, 20)]
    assert sources[0].png_bytes == (folder / "a.png").stat().st_size
    assert np.array_equal(sources[0].load(), np.asarray(png(1)))
    assert not left_out
    assert not list((tmp_path / "scratch").iterdir())


@pytest.mark.parametrize("kind", ["jpeg", "grey", "alpha", "palette", "exif"])
def test_others_are_saved_as_plain_png(kind: str, folder: Path, tmp_path: Path) -> None:
    image, name, options = png(3), "c.png", {}
    if kind == "jpeg":
        name = "c.jpg"
    elif kind == "grey":
        image = image.convert("L")
    elif kind == "alpha":
        image.putalpha(100)
    elif kind == "palette":
        image = image.quantize(16)
    else:
        exif = Image.Exif()
        exif[0x010E] = "a description"
        options = {"exif": exif}
    image.save(folder / name, **options)
    before = (folder / name).read_bytes()
    sources, _ = find(folder, tmp_path)
    source = sources[-1]
    assert (source.name, source.inside) == (name, f"{name}.png")
    assert source.png.parent == tmp_path / "scratch"
    with Image.open(source.png) as saved:
        assert (saved.mode, saved.format) == ("RGB", "PNG")
        assert not saved.info.get("exif")
        with Image.open(folder / name) as original:
            assert np.array_equal(np.asarray(saved), np.asarray(original.convert("RGB")))
    assert (folder / name).read_bytes() == before


def test_what_cannot_be_read_is_named(folder: Path, tmp_path: Path) -> None:
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:100])
    (folder / "text.jpg").write_text("no picture at all")
    Image.new("CMYK", (30, 30)).save(folder / "print.tif")
    png(4, (100, 100)).save(folder / "large.png")
    sources, left_out = find(folder, tmp_path, max_pixels=5000)
    assert [s.name for s in sources] == ["a.png", "below/b.png"]
    assert [line.split(":")[0] for line in left_out] == [
        "broken.png",
        "large.png",
        "print.tif",
        "text.jpg",
    ]
    assert "CMYK" in left_out[2]


def test_no_pictures(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such folder"):
        find(tmp_path / "missing", tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SourceError, match="is no folder"):
        find(tmp_path / "file", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no pictures that can be evaluated"):
        find(tmp_path / "empty", tmp_path)
    (tmp_path / "empty" / "x.png").write_text("rubbish")
    with pytest.raises(SourceError, match=r"x\.png: not a picture"):
        find(tmp_path / "empty", tmp_path)


def test_limit(folder: Path, tmp_path: Path) -> None:
    assert [s.name for s in find(folder, tmp_path, limit=1)[0]] == ["a.png"]


def test_a_picture_that_changes_meanwhile(folder: Path, tmp_path: Path) -> None:
    source = find(folder, tmp_path)[0][0]
    png(9).save(folder / "a.png")
    with pytest.raises(SourceError, match=r"a\.png: has changed"):
        source.load()
    (folder / "a.png").unlink()
    with pytest.raises(SourceError, match=r"a\.png: can no longer be read"):
        source.load()


def test_chunks_hold_so_many_pixels(folder: Path, tmp_path: Path) -> None:
    for i in range(4):
        png(i).save(folder / f"z{i}.png")
    sources, _ = find(folder, tmp_path)
    found = list(chunks(sources, 2500))
    assert [len(chunk) for chunk in found] == [2, 2, 2]
    assert [source for chunk in found for source in chunk] == sources
    assert [len(chunk) for chunk in chunks(sources, 1)] == [1] * 6
    assert list(chunks([], 10)) == []


def test_copies_are_the_files(folder: Path, tmp_path: Path) -> None:
    sources, _ = find(folder, tmp_path)
    names = copy_to(tmp_path / "copies", sources)
    assert names == ["a.png", "below/b.png"]
    for name in names:
        assert (tmp_path / "copies" / name).read_bytes() == (folder / name).read_bytes()


def test_kodak_is_known_by_its_pixels_alone(folder: Path, tmp_path: Path) -> None:
    from edgecomp.evaluation import sources as module

    sources, _ = find(folder, tmp_path)
    assert not is_kodak(sources)
    twelve = sources * 12
    assert not is_kodak(twelve)
    # The same pixels in other files are the same pictures.
    digests = [source.digest for source in sources]
    buffer = io.BytesIO()
    png(1).save(buffer, "png", compress_level=0)
    (folder / "a.png").write_bytes(buffer.getvalue())
    assert [source.digest for source in find(folder, tmp_path)[0]] == digests
    assert len(module._KODAK) == 64
