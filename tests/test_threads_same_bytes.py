"""Archives and restored files are the same bytes with any number of threads.

That the networks compute the same with any number of threads, and on other processors, is in
test_determinism.py; here pictures share threads, or have them all to themselves, from files to
files.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from common import DATA, ROOT
from PIL import Image

from edgecomp import compress as compress_module
from edgecomp import decompress as decompress_module
from edgecomp import pipeline
from edgecomp.archive import ArchiveReader
from edgecomp.compress import compress_folder, compress_picture
from edgecomp.constants import MAX_TILE_SIDE
from edgecomp.decompress import decompress_folder, decompress_picture
from edgecomp.models import shipped_model

THREADS = (1, 2, 4)
MODELS = {"tiny": DATA / "models" / "tiny", "A": shipped_model("A").path}
MAPPED = {"tiny-map": DATA / "models" / "tiny-map"}


def of_each(models: dict[str, Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("model", models.values(), ids=models)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More pictures than threads, one of several tiles and parts, with alpha, grey, and files."""
    root = tmp_path_factory.mktemp("threads") / "in"
    (root / "sub").mkdir(parents=True)
    sources = sorted((ROOT / "examples" / "photos").glob("*.png"))
    assert len(sources) >= 3
    for number, path in enumerate(sources[:3]):
        with Image.open(path) as image:
            left, top = 100 + 40 * number, 60 + 30 * number
            part = image.convert("RGB").crop((left, top, left + 200 - number, top + 120 + number))
        part.save(root / f"{number}.png")
        part.convert("L").save(root / "sub" / f"grey {number}.jpg", quality=95)
    part.putalpha(part.convert("L"))
    part.save(root / "sub" / "clear.png")
    with Image.open(sources[0]) as image:
        wide = image.convert("RGB").resize((MAX_TILE_SIDE + 200, 200), Image.Resampling.BICUBIC)
    wide.save(root / "wide.png")
    (root / "no picture.jpg").write_bytes(b"kept as it is")
    (root / "notes.txt").write_bytes(b"a file\n" * 500)
    for path in root.rglob("*"):
        os.utime(path, ns=(0, 1_700_000_000_123_456_789))
    return root


def digest(folder: Path) -> dict[str, str]:
    """Every file's bytes and time."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        + f" {path.stat().st_mtime_ns}"
        for path in folder.rglob("*")
        if path.is_file()
    }


def there_and_back(photos: Path, model: Path, threads: int, place: Path) -> tuple[bytes, object]:
    """An archive, and what comes back of it."""
    archive, back = place / "o.ecz", place / "back"
    place.mkdir()
    compress_folder(photos, archive, model=model, threads=threads)
    decompress_folder(archive, back, model=model, threads=threads)
    found = digest(back)
    shutil.rmtree(back)
    return archive.read_bytes(), found


@of_each(MODELS | MAPPED)
def test_folders(photos: Path, model: Path, tmp_path: Path) -> None:
    one, *others = (
        there_and_back(photos, model, threads, tmp_path / str(threads)) for threads in THREADS
    )
    with ArchiveReader(tmp_path / "1" / "o.ecz") as reader:
        kinds = [member.kind for member in reader.members]
        tiles = {len(reader.codestream(m).tiles) for m in reader.members if m.kind == "picture"}
    assert (kinds.count("picture"), len(kinds)) == (8, 10)
    assert tiles == {1, 2}
    for other in others:
        assert other[0] == one[0]
        assert other[1] == one[1]


@of_each(MODELS)
def test_pictures_that_have_the_threads_to_themselves(
    photos: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine with little memory one picture goes after another, with all of the threads."""
    plenty = there_and_back(photos, model, 4, tmp_path / "plenty")
    for module in (compress_module, decompress_module):
        monkeypatch.setattr(module, "usable_memory", lambda: 1 << 20)
    for threads in THREADS:
        assert there_and_back(photos, model, threads, tmp_path / f"{threads}") == plenty


@of_each(MODELS)
def test_one_picture(photos: Path, model: Path, tmp_path: Path) -> None:
    codestreams, restored = set(), set()
    for threads in THREADS:
        edge, back = tmp_path / f"{threads}.edge", tmp_path / f"{threads}.png"
        compress_picture(photos / "wide.png", edge, model=model, threads=threads)
        decompress_picture(edge, back, model=model, threads=threads)
        codestreams.add(edge.read_bytes())
        restored.add(back.read_bytes())
    assert (len(codestreams), len(restored)) == (1, 1)


@pytest.mark.parametrize("change", ["pixels", "order"])
def test_what_would_differ_is_seen(
    photos: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """The control: another pixel, or pictures in the order in which threads are done."""
    one = there_and_back(photos, tiny, 2, tmp_path / "one")
    copy = Path(shutil.copytree(photos, tmp_path / "copy"))
    if change == "pixels":
        with Image.open(copy / "wide.png") as image:
            image.load()
        box = (MAX_TILE_SIDE + 100, 100, MAX_TILE_SIDE + 140, 140)
        image.paste((255, 0, 0), box)
        image.save(copy / "wide.png")
    else:
        real: Callable[..., object] = pipeline.in_order
        monkeypatch.setattr(
            compress_module,
            "in_order",
            lambda work, jobs, **options: real(work, list(reversed(jobs)), **options),
        )
    os.utime(copy / "wide.png", ns=(0, 1_700_000_000_123_456_789))
    other = there_and_back(copy, tiny, 2, tmp_path / "other")
    assert other[0] != one[0]
    assert (other[1] == one[1]) == (change == "order")
