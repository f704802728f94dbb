"""`decompress --salvage`: what is whole of a damaged picture comes back, and its name says so."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecomp.archive import ArchiveReader
from edgecomp.cli import main
from edgecomp.compress import compress_folder, compress_picture
from edgecomp.decompress import decompress_folder, decompress_picture
from edgecomp.errors import CorruptDataError, ExitCode, OutputExistsError

WIDE = (2100, 24)  # two tiles of 1056 and 1044 pixels


@pytest.fixture
def folder(tmp_path: Path, photo: Image.Image) -> Path:
    root = tmp_path / "in"
    root.mkdir()
    photo.resize(WIDE).save(root / "wide.png")
    photo.save(root / "small.png")
    return root


@pytest.fixture
def archive(folder: Path, tmp_path: Path, tiny: Path) -> Path:
    path = tmp_path / "a.ecz"
    compress_folder(folder, path, model=tiny)
    return path


def pixels_of(path: Path | str) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def flip_in_tile(archive: Path, source: str, tile: int) -> None:
    """Change a byte in the middle of a tile's payload."""
    with ArchiveReader(archive) as reader:
        member = next(m for m in reader.members if m.source == source)
        payload = reader.codestream(member).tiles[tile].payload
    data = bytearray(archive.read_bytes())
    assert data.count(payload) == 1
    data[data.index(payload) + len(payload) // 2] ^= 0x10
    archive.write_bytes(data)


@pytest.mark.parametrize(("tile", "grey"), [(0, slice(0, 1056)), (1, slice(1056, 2100))])
def test_a_lost_tile_is_grey_and_the_rest_is_what_it_was(
    archive: Path, tmp_path: Path, tiny: Path, tile: int, grey: slice
) -> None:
    decompress_folder(archive, tmp_path / "whole", model=tiny)
    flip_in_tile(archive, "wide.png", tile)
    summary = decompress_folder(archive, tmp_path / "out", model=tiny, salvage=True)
    assert summary.exit_code == ExitCode.DAMAGED
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["small.png", "wide.partial.png"]
    (note,) = summary.damaged
    assert note.path == "wide.png"
    assert note.reason == (
        "restored, but without its 1 of 2 tiles, which are damaged (as wide.partial.png)"
    )
    pixels = pixels_of(tmp_path / "out" / "wide.partial.png")
    whole = pixels_of(tmp_path / "whole" / "wide.png")
    lost = np.zeros(WIDE[0], bool)
    lost[grey] = True
    assert (pixels[:, lost] == 128).all()
    assert np.array_equal(pixels[:, ~lost], whole[:, ~lost])


def test_without_salvage_a_damaged_picture_is_left_out(
    archive: Path, tmp_path: Path, tiny: Path
) -> None:
    flip_in_tile(archive, "wide.png", 1)
    summary = decompress_folder(archive, tmp_path / "out", model=tiny)
    assert summary.exit_code == ExitCode.DAMAGED
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["small.png"]
    assert "1 of 2 tiles damaged (checksum): 1" in summary.damaged[0].reason


def test_a_picture_of_one_tile_cannot_be_salvaged(
    archive: Path, tmp_path: Path, tiny: Path
) -> None:
    flip_in_tile(archive, "small.png", 0)
    summary = decompress_folder(archive, tmp_path / "out", model=tiny, salvage=True)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["wide.png"]
    assert summary.damaged[0].reason == "every tile is damaged"


def test_partial_names_that_are_taken(folder: Path, tmp_path: Path, tiny: Path) -> None:
    (folder / "wide.partial.png").write_bytes((folder / "small.png").read_bytes())
    archive = tmp_path / "b.ecz"
    compress_folder(folder, archive, model=tiny)
    flip_in_tile(archive, "wide.png", 0)
    decompress_folder(archive, tmp_path / "out", model=tiny, salvage=True)
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == ["small.png", "wide.partial.2.png", "wide.partial.png"]
    assert pixels_of(tmp_path / "out" / "wide.partial.2.png").shape[1::-1] == WIDE


def test_a_partial_picture_that_is_there_stays(archive: Path, tmp_path: Path, tiny: Path) -> None:
    flip_in_tile(archive, "wide.png", 0)
    there = tmp_path / "out" / "wide.partial.png"
    there.parent.mkdir()
    there.write_text("mine")
    summary = decompress_folder(archive, tmp_path / "out", model=tiny, salvage=True)
    assert there.read_text() == "mine"
    assert [note.path for note in summary.skipped] == ["wide.png"]
    decompress_folder(archive, tmp_path / "out", model=tiny, salvage=True, force=True)
    assert pixels_of(there).shape[1::-1] == WIDE


@pytest.fixture
def edge(folder: Path, tmp_path: Path, tiny: Path) -> Path:
    """A codestream whose second tile is damaged, beside the picture it was made of."""
    path = tmp_path / "wide.edge"
    compress_picture(folder / "wide.png", path, model=tiny)
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(data)
    (tmp_path / "wide.png").write_text("the original")
    return path


def test_one_picture(edge: Path, tmp_path: Path, tiny: Path) -> None:
    summary = decompress_picture(edge, model=tiny, salvage=True)
    assert summary.output == str(tmp_path / "wide.partial.png")
    assert summary.exit_code == ExitCode.DAMAGED
    assert (pixels_of(summary.output)[:, 1056:] == 128).all()
    assert (tmp_path / "wide.png").read_text() == "the original"
    with pytest.raises(OutputExistsError, match=r"wide\.partial\.png"):
        decompress_picture(edge, model=tiny, salvage=True)
    decompress_picture(edge, tmp_path / "b.webp", model=tiny, salvage=True, force=True)
    assert pixels_of(tmp_path / "b.partial.webp").shape[1::-1] == WIDE


def test_standard_output_never_gets_a_part(edge: Path, tiny: Path) -> None:
    stream = io.BytesIO()
    with pytest.raises(CorruptDataError, match="1 of 2 tiles damaged"):
        decompress_picture(edge, stream, model=tiny, salvage=True)
    assert not stream.getvalue()


def test_a_sound_picture_needs_no_salvaging(folder: Path, tmp_path: Path, tiny: Path) -> None:
    compress_picture(folder / "wide.png", tmp_path / "wide.edge", model=tiny)
    (tmp_path / "wide.png").write_text("the original")
    with pytest.raises(OutputExistsError, match=r"wide\.png is already there"):
        decompress_picture(tmp_path / "wide.edge", model=tiny, salvage=True)
    summary = decompress_picture(tmp_path / "wide.edge", model=tiny, salvage=True, force=True)
    assert summary.exit_code == ExitCode.DONE
    assert pixels_of(tmp_path / "wide.png").shape[1::-1] == WIDE


@pytest.mark.parametrize("one", [False, True])
def test_the_command(
    one: bool,
    archive: Path,
    edge: Path,
    tmp_path: Path,
    tiny: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flip_in_tile(archive, "wide.png", 0)
    output = tmp_path / "back.png" if one else tmp_path / "out"
    words = ["decompress", str(edge if one else archive), "--salvage", "--json", "-o", str(output)]
    assert main([*words, "--model", str(tiny)]) == ExitCode.DAMAGED
    document = json.loads(capsys.readouterr().out)
    assert [note["path"] for note in document["damaged"]] == [str(edge) if one else "wide.png"]
    written = tmp_path / ("back.partial.png" if one else "out/wide.partial.png")
    assert pixels_of(written).shape[1::-1] == WIDE
