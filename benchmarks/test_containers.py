"""Codestreams and archives, written and read; the symbols in them stay coded."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from edgecomp.archive import ArchiveReader
from edgecomp.archive_writer import ArchiveWriter
from edgecomp.codestream import Codestream, Origin, parse
from edgecomp.names import name_check

if TYPE_CHECKING:
    from conftest import Coded

MEMBERS = 24
MTIME_NS = 1_700_000_000 * 10**9


def members(stream: Codestream) -> dict[str, bytes]:
    """As many codestreams as the Kodak suite has pictures, by their names in an archive."""
    found = {}
    for number in range(MEMBERS):
        name = f"picture{number:02}"
        origin = Origin(".png", MTIME_NS, name_check(name + ".png"))
        found[name + ".edge"] = replace(stream, origin=origin).pack()
    return found


def archive(pictures: dict[str, bytes]) -> io.BytesIO:
    """An archive of codestreams."""
    file = io.BytesIO()
    writer = ArchiveWriter(file)
    for name, data in pictures.items():
        writer.add_picture(name, data, MTIME_NS)
    writer.finish()
    return file


@pytest.mark.benchmark(group="codestream")
def test_codestream_pack(benchmark: Any, coded: Coded) -> None:
    benchmark.extra_info["pixels"] = coded.sample.pixels
    assert benchmark(coded.stream.pack) == coded.data


@pytest.mark.benchmark(group="codestream")
def test_codestream_parse(benchmark: Any, coded: Coded) -> None:
    """With the checksums of the tiles, which reading compares before anything is decoded."""
    benchmark.extra_info["pixels"] = coded.sample.pixels

    def read() -> int:
        stream = parse(coded.data)
        stream.check_tiles()
        return stream.width

    assert benchmark(read) == coded.sample.picture.width


@pytest.mark.benchmark(group="archive of 24 pictures")
def test_archive_write(benchmark: Any, coded: Coded) -> None:
    pictures = members(coded.stream)
    assert benchmark(archive, pictures).tell() > MEMBERS * coded.stream.coded_bytes


@pytest.mark.benchmark(group="archive of 24 pictures")
def test_archive_read(benchmark: Any, coded: Coded) -> None:
    pictures = members(coded.stream)
    file = archive(pictures)

    def read() -> list[bytes]:
        file.seek(0)
        with ArchiveReader(file) as reader:
            return [reader.read(member) for member in reader.members]

    assert benchmark(read) == list(pictures.values())
