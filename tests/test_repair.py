"""Repairing: everything that is whole, in a whole archive."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from common import counted
from PIL import Image

from edgecomp.archive import ArchiveReader
from edgecomp.compress import compress_folder
from edgecomp.decompress import decompress_folder
from edgecomp.errors import (
    ExitCode,
    LimitError,
    NotEdgecompError,
    OutputExistsError,
    SourceError,
    UnsupportedVersionError,
)
from edgecomp.inspect import verify
from edgecomp.repair import RepairSummary, default_output, repair

MIB = 1 << 20


@pytest.fixture
def archive(tmp_path: Path, tiny: Path, photo: Image.Image) -> Path:
    """Pictures and files, so that there is something before and after everything."""
    root = tmp_path / "in"
    (root / "empty").mkdir(parents=True)
    for number in range(3):
        photo.rotate(7 * number).save(root / f"p{number}.png")
    exif = Image.Exif()
    exif[0x010E] = "described"
    photo.save(root / "q.jpg", exif=exif, quality=95)
    (root / "noise.bin").write_bytes(random.Random(2).randbytes(3000))
    (root / "text.txt").write_text("text " * 200)
    compress_folder(root, tmp_path / "a.ecz", model=tiny)
    return tmp_path / "a.ecz"


@pytest.fixture
def whole(archive: Path, tiny: Path) -> dict[str, bytes]:
    """What the archive restores: bytes of all files by their names."""
    return restored(archive, tiny)


def restored(archive: Path, model: Path) -> dict[str, bytes]:
    target = archive.with_name(f"{archive.name} back")
    decompress_folder(archive, target, model=model, force=True)
    return {
        path.relative_to(target).as_posix(): path.read_bytes()
        for path in sorted(target.rglob("*"))
        if path.is_file()
    }


def members(archive: Path) -> list[str]:
    with ArchiveReader(archive) as reader:
        assert reader.damage == ()
        return [str(member.source) for member in reader.members if member.problem is None]


def spans(archive: Path) -> dict[str, tuple[int, int, int]]:
    """Where each member is: its local header, its data, its end."""
    with ArchiveReader(archive) as reader:
        return {
            str(member.source): (slot.offset, slot.views[0].start, slot.views[0].end)
            for member, slot in zip(reader.members, reader._slots, strict=True)
        }


def mend(archive: Path, **options: object) -> RepairSummary:
    return repair(archive, archive.with_name("new.ecz"), force=True, **options)  # type: ignore[arg-type]


def test_a_whole_archive_needs_no_repair(archive: Path, tmp_path: Path) -> None:
    summary = repair(archive)
    assert (summary.output, summary.bytes_out, summary.exit_code) == (None, 0, ExitCode.DONE)
    assert (summary.members, summary.images) == (7, 4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ecz", "in"]


def test_a_lost_directory_is_made_anew(archive: Path) -> None:
    data = archive.read_bytes()
    directory = data.index(b"PK\x01\x02")
    for length in (directory + 4, directory + 100, len(data) - 1):
        archive.write_bytes(data[:length])
        summary = mend(archive)
        assert archive.with_name("new.ecz").read_bytes() == data
        assert (summary.complete, summary.exit_code) == (True, ExitCode.DONE)
        assert archive.read_bytes() == data[:length], "the damaged archive stays as it is"


@counted(250, 1 << 20)
def test_every_truncation(archive: Path, whole: dict[str, bytes], tiny: Path, count: int) -> None:
    """Of an archive cut at so many places, in the full count at every byte, all whole members are
    in the repaired one."""
    data = archive.read_bytes()
    places = spans(archive)
    expected = {source: end for source, (_, _, end) in places.items()}
    first = min(expected.values())
    edges = {end + step for end in expected.values() for step in (-1, 0, 1, 4)}
    cuts = edges | set(random.Random(1).sample(range(len(data)), min(count, len(data))))
    for length in sorted(cuts | {len(data) - 1}):
        archive.write_bytes(data[:length])
        there = [source for source, end in expected.items() if end <= length]
        try:
            summary = mend(archive)
        except NotEdgecompError:
            assert length <= first
            continue
        assert members(archive.with_name("new.ecz")) == there, length
        assert summary.members == len(there)
        assert summary.exit_code == (ExitCode.DONE if summary.complete else ExitCode.DAMAGED)
        assert summary.complete == (length >= max(expected.values()) + 4)
    assert restored(archive.with_name("new.ecz"), tiny) == whole


@counted(60, 2000)
def test_blocks_missing_added_and_zeroed(archive: Path, tiny: Path, count: int) -> None:
    """What was not touched is there, what was lost is named, nothing comes back changed."""
    data = archive.read_bytes()
    places = spans(archive)
    directory = max(end for _, _, end in places.values())
    with ArchiveReader(archive) as reader:
        contents = {m.source: reader.read(m) for m in reader.members if m.kind != "folder"}
    rng = random.Random(3)
    for number in range(count):
        start = rng.randrange(directory)
        length = rng.choice((1, 16, 512, 512, 2000))
        end = min(start + length, directory)
        kind = number % 4
        if kind == 0:
            damaged = data[:start] + data[end:]
        elif kind == 1:
            damaged = data[:end] + data[start:]
        elif kind == 2:
            start, end = start // 512 * 512, min(start // 512 * 512 + 512, directory)
            damaged = data[:start] + bytes(end - start) + data[end:]
        else:
            damaged = data[:start] + rng.randbytes(end - start) + data[end:]
        archive.write_bytes(damaged)
        summary = mend(archive)
        new = archive.with_name("new.ecz")
        if summary.output is None:
            # Of a local header nobody needs to know which version of ZIP reads it.
            unread = {head + byte for head, _, _ in places.values() for byte in (4, 5)}
            assert {at for at in range(len(data)) if damaged[at] != data[at]} <= unread
            assert len(damaged) == len(data)
            continue
        kept = set(members(new))
        touched = {s for s, (head, _, last) in places.items() if head < end and last > start}
        assert kept >= places.keys() - touched, (number, start, end)
        named = {note.path for note in summary.lost + summary.damaged + summary.mended}
        for source in places.keys() - kept:
            assert any(source.rpartition(".")[0] in path for path in named), (number, source, named)
        with ArchiveReader(new) as reader:
            for member in reader.members:
                if member.kind != "folder" and member.source not in {
                    note.path for note in summary.mended
                }:
                    assert reader.read(member) == contents[member.source]
        assert verify(new, model=tiny).exit_code == ExitCode.DONE


def test_a_damaged_picture_is_lost_and_named(archive: Path, whole: dict[str, bytes]) -> None:
    data = bytearray(archive.read_bytes())
    _, start, end = spans(archive)["p1.png"]
    data[(start + end) // 2] ^= 1
    archive.write_bytes(data)
    summary = mend(archive)
    assert [note.path for note in summary.lost] == ["p1.png"]
    assert (summary.members, summary.exit_code) == (6, ExitCode.DAMAGED)
    assert "p1.png" not in members(archive.with_name("new.ecz"))


def test_damaged_metadata_are_left_out(archive: Path, whole: dict[str, bytes], tiny: Path) -> None:
    data = bytearray(archive.read_bytes())
    _, _, end = spans(archive)["q.jpg"]
    data[end - 1] ^= 1
    archive.write_bytes(data)
    summary = mend(archive)
    (note,) = summary.mended
    assert note.path == "q.jpg"
    assert "EXIF" in note.reason
    assert summary.exit_code == ExitCode.DAMAGED
    new = archive.with_name("new.ecz")
    assert verify(new, model=tiny).exit_code == ExitCode.DONE
    with Image.open(restored_file(new, tiny, "q.png")) as image:
        assert 0x010E not in image.getexif()
        pixels = image.tobytes()
    archive.with_name("exif.png").write_bytes(whole["q.png"])
    with Image.open(archive.with_name("exif.png")) as image:
        assert image.getexif()[0x010E] == "described"
        assert image.tobytes() == pixels


def test_the_archives_checksums_alone_are_not_believed(archive: Path, tiny: Path) -> None:
    """A picture that was damaged before it came into the archive has the right CRC32 there."""
    data = bytearray(archive.read_bytes())
    for source, place in (("p1.png", 200), ("q.jpg", -1)):
        head, start, end = spans(archive)[source]
        data[(start if place > 0 else end) + place] ^= 1
        crc = zlib.crc32(data[start:end]).to_bytes(4, "little")
        name = source.rpartition(".")[0].encode() + b".edge"
        central = data.index(name, data.index(b"PK\x01\x02")) - 46
        data[head + 14 : head + 18] = data[central + 16 : central + 20] = crc
    archive.write_bytes(data)
    summary = mend(archive)
    assert [note.path for note in summary.lost] == ["p1.png"]
    assert [note.path for note in summary.mended] == ["q.jpg"]
    assert verify(archive.with_name("new.ecz"), model=tiny).exit_code == ExitCode.DONE


def restored_file(archive: Path, model: Path, name: str) -> Path:
    restored(archive, model)
    return archive.with_name(f"{archive.name} back") / name


def test_a_wrong_checksum_alone_costs_nothing(archive: Path, tiny: Path) -> None:
    data = bytearray(archive.read_bytes())
    head, _, _ = spans(archive)["p1.png"]
    central = data.index(b"p1.edge", data.index(b"PK\x01\x02")) - 46
    for place in (head + 14, central + 16):
        data[place] ^= 1
    archive.write_bytes(data)
    summary = mend(archive)
    assert [note.path for note in summary.mended] == ["p1.png"]
    assert verify(archive.with_name("new.ecz"), model=tiny).exit_code == ExitCode.DONE


def test_what_neither_begins_nor_ends_as_an_archive_is_searched(archive: Path) -> None:
    data = archive.read_bytes()
    archive.write_bytes(bytes(MIB) + data[:-50])
    with pytest.raises(NotEdgecompError):
        ArchiveReader(archive)
    mend(archive)
    assert len(members(archive.with_name("new.ecz"))) == 7


def test_what_expands_too_far_is_left_out(archive: Path, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "in" / "blank").write_bytes(bytes(3 * MIB))
    compress_folder(tmp_path / "in", archive, model=tiny, update=True)
    data = archive.read_bytes()
    archive.write_bytes(data[:-1])
    summary = mend(archive, max_expansion=MIB)
    assert [note.path for note in summary.skipped] == ["blank"]
    assert summary.exit_code == ExitCode.SKIPPED
    assert mend(archive).exit_code == ExitCode.DONE
    with pytest.raises(LimitError, match="--max-members"):
        mend(archive, max_members=3)


def test_what_cannot_be_repaired(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        repair(tmp_path / "nowhere.ecz")
    noise: Callable[[int], bytes] = random.Random(4).randbytes
    for data in (b"", b"hello", noise(5000), b"PK\x03\x04" * 2000):
        (tmp_path / "x.ecz").write_bytes(data)
        with pytest.raises(NotEdgecompError):
            repair(tmp_path / "x.ecz")
    (tmp_path / "x.ecz").write_bytes(archive.read_bytes()[:-1] + b"2")
    with pytest.raises(UnsupportedVersionError):
        repair(tmp_path / "x.ecz")
    with pytest.raises(OutputExistsError):
        repair(archive, archive)
    assert not (tmp_path / "x.repaired.ecz").exists()


def test_default_names(tmp_path: Path) -> None:
    assert default_output("d/a.ecz") == Path("d/a.repaired.ecz")
    assert default_output("d/a.ecz.partial-4711-0a1b2c3d") == Path("d/a.repaired.ecz")
    assert default_output("d/a.ecz.partial-4711-0a1b2c3d-01234567") == Path("d/a.repaired.ecz")
    assert default_output("a") == Path("a.repaired.ecz")


def test_json(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-1])
    document = mend(archive).to_json()
    assert document["output"] == str(archive.with_name("new.ecz"))
    assert document["complete"] is True
    assert "cut short" in document["damaged"][0]["reason"]
