"""Positional reading, with the system's own call for it and without (Windows has none)."""

from __future__ import annotations

import io
import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgecomp import byte_source as module
from edgecomp.byte_source import ByteSource
from edgecomp.errors import SourceError

DATA = random.Random(3).randbytes(200_000)


@pytest.fixture(params=["pread", "seek"])
def path(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if request.param == "seek":
        monkeypatch.setattr(module, "_descriptor_of", lambda file: None)
    (tmp_path / "a").write_bytes(DATA)
    return tmp_path / "a"


def test_threads_share_a_file(path: Path) -> None:
    with open(path, "rb") as file:
        source = ByteSource(file, "a")
        assert source.size == len(DATA)

        def read(at: int) -> bool:
            return source.read(at, 500) == DATA[at : at + 500]

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(read, random.Random(4).sample(range(len(DATA) - 100), 2000)))
        assert source.read(len(DATA) - 5, 10) == DATA[-5:]
        assert source.read(len(DATA), 10) == source.read(1 << 80, 10) == b""


def test_a_file_in_memory() -> None:
    assert ByteSource(io.BytesIO(DATA), "a").read(7, 3) == DATA[7:10]


def test_what_cannot_be_read_is_named(path: Path) -> None:
    file = open(path, "rb", buffering=0)
    source = ByteSource(file, "shown")
    os.close(file.fileno())
    with pytest.raises(SourceError, match="shown: cannot be read"):
        source.read(0, 10)
    with pytest.raises(OSError, match=r"."):
        file.close()
