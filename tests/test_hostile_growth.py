"""Hostile archives that are too large to keep: work and memory grow no faster than they do."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from edgecomp import names
from edgecomp import ziprecords as z
from edgecomp.archive import ArchiveReader, Member
from edgecomp.archive_writer import ArchiveWriter
from edgecomp.cli import main
from edgecomp.constants import ARCHIVE_COMMENT
from edgecomp.names import restored_names
from edgecomp.verbatim import pack

MEMORY = 50 << 20


class Counting(io.BytesIO):
    """A file that counts how often it is read."""

    reads = 0

    def read(self, count: int | None = -1, /) -> bytes:
        self.reads += 1
        return super().read(count)


def reads_of(count: int) -> int:
    """Reads that finding the members of an archive takes: as many files without a record as there
    are records that point to nothing."""
    target = io.BytesIO()
    writer = ArchiveWriter(target)
    for number in range(count):
        writer.add_folder(f"f{number:05}", 0)
    end = writer.finish()
    directory = target.getvalue().index(b"PK\1\2")
    body = target.getvalue()[:directory] + bytes(count + 1)
    entry = z.Entry.new("nothing", 0, extra=z.Extra(0, 0))
    records = b"".join(entry.pack_central(directory + 1 + number) for number in range(count))
    data = body + records + z.End(count, len(records), len(body), ARCHIVE_COMMENT).pack()
    assert len(data) < 2 * end
    file = Counting(data)
    with ArchiveReader(file) as reader:
        assert len(reader.members) in (0, count)
    return file.reads


def test_records_that_point_to_nothing_are_looked_at_once() -> None:
    assert reads_of(400) < 3 * reads_of(200)


def test_members_deep_down_take_little_memory() -> None:
    target = io.BytesIO()
    writer = ArchiveWriter(target)
    for number in range(40):
        writer.add_folder(f"{number:04}/" + "a/" * 2044 + "a", 0)
    writer.finish()
    tracemalloc.start()
    try:
        with ArchiveReader(target) as reader:
            assert len(restored_names(reader.members, ".png")) in (0, 40)
        memory = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert memory < MEMORY


def test_pictures_of_one_long_stem_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def tries(count: int) -> int:
        """Names that are compared until that many pictures have one to come back under."""
        made = 0

        def counted_key(path: str, _key: Callable[[str], str] = names.meeting_key) -> str:
            nonlocal made
            made += 1
            return _key(path)

        sources = [f"{'x' * 250}{number:05}" for number in range(count)]
        members = [Member(s, s, "picture", 1, 1, 1, 0, None, None, 0) for s in sources]
        with monkeypatch.context() as patch:
            patch.setattr(names, "meeting_key", counted_key)
            assert len(restored_names(members, ".png")) == count
        return made

    assert tries(400) < 3 * tries(200)


def test_the_longest_path_can_be_restored_again(tmp_path: Path) -> None:
    archive, output = tmp_path / "a.ecz", tmp_path / "out"
    source = "/".join(["p" * 240] * 17)
    assert len(source) == names.MAX_PATH_BYTES
    with archive.open("wb") as file:
        writer = ArchiveWriter(file)
        writer.add_packed("first.txt", pack(b"first"), 0)
        writer.add_packed(source, pack(b"deep"), 0)
        writer.finish()
    words = ["decompress", str(archive), "-o", str(output), "--quiet"]
    assert main(words) == 0
    assert main([*words, "--force"]) == 0
