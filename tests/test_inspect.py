"""Looking into archives: list, info, verify."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from edgecomp.archive import ArchiveReader
from edgecomp.codestream import parse
from edgecomp.compress import compress_folder, compress_picture
from edgecomp.errors import ExitCode, LimitError, NotEdgecompError, SourceError
from edgecomp.inspect import info, list_archive, verify


@pytest.fixture
def archive(tmp_path: Path, tiny: Path, photo: Image.Image) -> Path:
    root = tmp_path / "in"
    (root / "empty").mkdir(parents=True)
    photo.save(root / "a.png")
    photo.save(root / "b.jpg", exif=b"Exif\0\0" + Image.Exif().tobytes(), quality=95)
    (root / "b.png").write_text("no picture")
    (root / "c.txt").write_text("text" * 99)
    compress_folder(root, tmp_path / "a.ecz", model=tiny)
    return tmp_path / "a.ecz"


def flip(archive: Path, source: str) -> None:
    with ArchiveReader(archive) as reader:
        (member,) = [m for m in reader.members if m.source == source]
        data = reader.read(member)
    content = bytearray(archive.read_bytes())
    content[content.index(data) + len(data) - 1] ^= 1
    archive.write_bytes(content)


def test_list(archive: Path, tiny: Path) -> None:
    entries = list_archive(archive, model=tiny).entries
    assert [(e.name, e.kind, e.restored) for e in entries] == [
        ("a.png", "picture", "a.png"),
        ("b.jpg", "picture", "b.jpg.png"),
        ("b.png", "verbatim-picture", "b.png"),
        ("c.txt", "file", "c.txt"),
        ("empty", "folder", "empty"),
    ]
    picture = entries[0]
    assert (picture.width, picture.height, picture.model) == (152, 96, "tiny")
    assert (picture.coder, entries[3].coder) == ("lzma", None)
    assert picture.to_json()["coder"] == "lzma"
    assert picture.bpp == 8 * picture.bytes / (152 * 96)
    assert picture.mtime_ns == (archive.parent / "in" / "a.png").stat().st_mtime_ns
    assert entries[3].width is entries[3].model is entries[3].bpp is None
    # All that is not in a member is the end record.
    assert sum(entry.bytes for entry in entries) == archive.stat().st_size - 40
    assert entries[0].to_json()["name"] == "a.png"
    assert len(str(list_archive(archive).entries[0].model)) == 16
    assert list_archive(archive, format="jpeg").entries[1].restored == "b.jpg"


def test_list_shows_damaged_members(archive: Path) -> None:
    data = archive.read_bytes()
    archive.write_bytes(data.replace(b"c.txt", b"d.txt"))
    found = list_archive(archive)
    entry = found.entries[3]
    assert (entry.name, entry.restored) == ("d.txt", None)
    assert "name check" in str(entry.problem)
    assert [note.path for note in found.damaged] == ["d.txt"]
    assert found.exit_code == ExitCode.DAMAGED


def test_looking_into_an_archive_that_is_cut_short(archive: Path, tiny: Path) -> None:
    data = archive.read_bytes()
    archive.write_bytes(data[: data.index(b"c.txt") + 3])
    listed = list_archive(archive)
    assert [entry.name for entry in listed.entries] == ["a.png", "b.jpg", "b.png"]
    assert listed.exit_code == ExitCode.DAMAGED
    for report in (listed, info(archive), verify(archive, model=tiny)):
        assert "cut short" in report.damaged[0].reason
    assert verify(archive, model=tiny).decoded == 2


def test_limits(archive: Path, tiny: Path) -> None:
    for look in (list_archive, info, verify):
        with pytest.raises(LimitError, match="--max-members"):
            look(archive, max_members=4)
        look(archive, max_members=5)
    (archive.parent / "in" / "blank").write_bytes(bytes(3 << 20))
    compress_folder(archive.parent / "in", archive, model=tiny, update=True)
    report = verify(archive, model=tiny, max_expansion=3 << 20)
    assert report.exit_code == ExitCode.DONE
    report = verify(archive, model=tiny, max_expansion=(3 << 20) - 1)
    assert [note.path for note in report.unchecked] == ["blank"]
    assert report.exit_code == ExitCode.SKIPPED


def test_info(archive: Path, tiny: Path) -> None:
    found = info(archive, model=tiny)
    assert (found.kind, found.path, found.bytes) == (
        "archive", str(archive), archive.stat().st_size
    )  # fmt: skip
    assert (found.images, found.verbatim, found.files, found.folders) == (2, 1, 1, 1)
    assert found.pixels == 2 * 152 * 96
    assert [name for _, name in found.models] == ["tiny"]
    assert found.coders == ("lzma",)
    assert found.damaged == ()
    parts = found.symbol_bytes + found.metadata_bytes + found.other_bytes + found.overhead_bytes
    assert parts == found.bytes
    assert 0 < found.overhead_per_image < 170  # two pictures share the end record
    assert found.to_json()["models"][0]["name"] == "tiny"


def test_info_of_a_codestream(tmp_path: Path, tiny: Path, photo: Image.Image) -> None:
    photo.save(tmp_path / "a.png")
    compress_picture(tmp_path / "a.png", model=tiny)
    found = info(tmp_path / "a.edge", model=tiny)
    assert (found.kind, found.images, found.other_bytes) == ("codestream", 1, 0)
    assert found.bytes == (tmp_path / "a.edge").stat().st_size
    assert 0 < found.overhead_bytes < 80


def test_info_of_a_damaged_archive(archive: Path, tiny: Path) -> None:
    before = info(archive, model=tiny)
    flip(archive, "a.png")
    archive.write_bytes(archive.read_bytes().replace(b"c.txt", b"d.txt"))
    found = info(archive, model=tiny)
    assert [note.path for note in found.damaged] == ["a.png", "d.txt"]
    assert found.bpp < 1.5 * before.bpp, "what is damaged does not count per pixel"


def test_verify(archive: Path, tiny: Path) -> None:
    before = archive.read_bytes()
    report = verify(archive, model=tiny)
    assert (report.members, report.images, report.decoded) == (5, 2, 2)
    assert (report.damaged, report.unchecked, report.exit_code) == ((), (), ExitCode.DONE)
    assert report.to_json()["decoded"] == 2
    assert verify(archive, level="checksums").exit_code == ExitCode.DONE
    assert archive.read_bytes() == before


def test_verify_names_everything_that_is_damaged(archive: Path, tiny: Path) -> None:
    flip(archive, "a.png")
    flip(archive, "b.png")
    for level in ("full", "checksums"):
        report = verify(archive, model=tiny, level=level)  # type: ignore[arg-type]
        assert [note.path for note in report.damaged] == ["a.png", "b.png"]
        assert report.exit_code == ExitCode.DAMAGED


def test_verify_reports_a_damaged_structure(archive: Path, tiny: Path) -> None:
    data = archive.read_bytes()
    archive.write_bytes(data[: data.rindex(b"c.txt")] + b"C" + data[data.rindex(b"c.txt") + 1 :])
    report = verify(archive, model=tiny)
    assert [note.reason for note in report.damaged] == [
        "its local header and its directory record differ"
    ]


def test_verify_without_the_model(archive: Path, tiny_map: Path) -> None:
    report = verify(archive, model=tiny_map)
    assert report.exit_code == ExitCode.MODEL
    assert [note.path for note in report.unchecked] == ["a.png", "b.jpg"]
    flip(archive, "a.png")
    assert verify(archive, model=tiny_map).exit_code == ExitCode.DAMAGED


def test_verify_under_a_limit(archive: Path, tiny: Path) -> None:
    report = verify(archive, model=tiny, max_pixels=10)
    assert len(report.unchecked) == 2
    assert report.exit_code == ExitCode.SKIPPED


def test_verify_a_codestream(tmp_path: Path, tiny: Path, photo: Image.Image) -> None:
    photo.save(tmp_path / "a.png")
    compress_picture(tmp_path / "a.png", model=tiny)
    path = tmp_path / "a.edge"
    assert verify(path, model=tiny).decoded == 1
    assert verify(path, model=tiny, max_pixels=10).exit_code == ExitCode.SKIPPED
    assert verify(path).exit_code == ExitCode.MODEL
    data = path.read_bytes()
    for damaged in (data[:-1], data + b"x", data[:30] + b"?" + data[31:]):
        path.write_bytes(damaged)
        report = verify(path, model=tiny)
        assert report.exit_code == ExitCode.DAMAGED
        assert report.damaged[0].path == str(path)


def test_pictures_coded_by_context(tmp_path: Path, photo: Image.Image) -> None:
    photo.save(tmp_path / "a.png")
    compress_folder(tmp_path / "a.png", tmp_path / "a.ecz", quality="A", verify=True)
    assert info(tmp_path / "a.ecz").coders == ("context",)
    assert [entry.coder for entry in list_archive(tmp_path / "a.ecz").entries] == ["context"]
    report = verify(tmp_path / "a.ecz")
    assert (report.decoded, report.exit_code) == (1, ExitCode.DONE)
    compress_folder(tmp_path / "a.png", tmp_path / "a.ecz", quality="A", coder="lzma", update=True)
    assert info(tmp_path / "a.ecz").coders == ("lzma",), "another coder is another file"


@pytest.mark.parametrize(
    ("coder_id", "name", "exit_code", "says"),
    [
        (2, "context", ExitCode.MODEL, "model tiny has no parameters for the coder context"),
        (9, "coder 9", ExitCode.DAMAGED, "coder 9, which this version does not have"),
    ],
)
def test_coders_that_cannot_be_used_here(
    tmp_path: Path,
    tiny: Path,
    photo: Image.Image,
    coder_id: int,
    name: str,
    exit_code: ExitCode,
    says: str,
) -> None:
    photo.save(tmp_path / "a.png")
    compress_picture(tmp_path / "a.png", model=tiny)
    path = tmp_path / "a.edge"
    path.write_bytes(replace(parse(path.read_bytes()), coder_id=coder_id).pack())
    assert info(path, model=tiny).coders == (name,)
    report = verify(path, model=tiny)
    assert report.exit_code == exit_code
    (note,) = report.unchecked + report.damaged
    assert says in note.reason
    assert verify(path, level="checksums").exit_code == ExitCode.DONE


@pytest.mark.parametrize("look", [list_archive, info, verify])
def test_what_cannot_be_looked_into(tmp_path: Path, look: object) -> None:
    (tmp_path / "a.txt").write_text("hello")
    assert callable(look)
    with pytest.raises(NotEdgecompError, match=r"a\.txt"):
        look(tmp_path / "a.txt")
    with pytest.raises(SourceError, match=r"b\.txt: no such file"):
        look(tmp_path / "b.txt")
    with pytest.raises(SourceError, match=os.path.basename(tmp_path)):
        look(tmp_path)
