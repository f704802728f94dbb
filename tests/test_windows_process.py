"""Whole commands on Windows; elsewhere in a process that lacks all that Windows lacks
(windows_process.py)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from common import ROOT
from PIL import Image

from edgecomp.archive import ArchiveReader
from edgecomp.archive_writer import ArchiveWriter
from edgecomp.codec import Codec
from edgecomp.codestream import Origin, parse
from edgecomp.compress import compress_folder, compress_picture
from edgecomp.decompress import decompress_folder, decompress_picture
from edgecomp.earlier_runs import settings_of
from edgecomp.errors import ExitCode
from edgecomp.names import name_check
from edgecomp.verbatim import pack

if sys.platform == "win32":
    COMMAND = [sys.executable, "-m", "edgecomp"]
elif os.path.isdir("/proc/self/fd"):
    COMMAND = [sys.executable, str(ROOT / "tests" / "windows_process.py")]
else:
    pytest.skip("what is open cannot be told here", allow_module_level=True)

TIME_NS = 1_600_000_000_000_000_000


@pytest.fixture
def sources(tmp_path: Path, photo: Image.Image) -> Path:
    folder = tmp_path / "in"
    (folder / "sub" / "写真").mkdir(parents=True)
    (folder / "empty").mkdir()
    photo.save(folder / "a.png")
    photo.convert("L").save(folder / "sub" / "写真" / "b.png")
    (folder / "sub" / "notes.txt").write_bytes(b"line\n\x1a\r\nline\n" * 50)
    return folder


def start(folder: Path, *words: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run a command in a folder, to its end."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONIOENCODING"}
    command = [*COMMAND, *map(str, words)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=600)


def run(folder: Path, *words: str | Path, code: ExitCode = ExitCode.DONE) -> dict[str, Any]:
    """The JSON document of a command."""
    done = start(folder, *words, "--json")
    assert done.returncode == code, done.stderr.decode()
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_there_and_back(sources: Path, tmp_path: Path, tiny: Path) -> None:
    model = ("--model", tiny)
    run(tmp_path, "compress", "in", "-o", "o.ecz", "--verify", *model)
    compress_folder(sources, tmp_path / "here.ecz", model=tiny)
    assert (tmp_path / "o.ecz").read_bytes() == (tmp_path / "here.ecz").read_bytes()
    assert run(tmp_path, "decompress", "o.ecz", "-o", "out", *model)["files"] == 3
    decompress_folder(tmp_path / "here.ecz", tmp_path / "here", model=tiny)
    assert contents(tmp_path / "out") == contents(tmp_path / "here")
    assert (tmp_path / "out" / "empty").is_dir()
    notes = Path("sub", "notes.txt")
    times = [(root / notes).stat().st_mtime_ns for root in (sources, tmp_path / "out")]
    assert times[0] == times[1]
    code = ExitCode.FATAL
    assert (
        "already there"
        in run(tmp_path, "compress", "in", "-o", "o.ecz", *model, code=code)["error"]
    )
    names = {"here", "here.ecz", "in", "o.ecz", "out"}
    assert set(os.listdir(tmp_path)) == names


def test_going_on_and_bringing_up_to_date(sources: Path, tmp_path: Path, tiny: Path) -> None:
    compress_folder(sources, tmp_path / "whole.ecz", model=tiny)
    whole = (tmp_path / "whole.ecz").read_bytes()
    words = ("compress", "in", "-o", "o.ecz", "--model", tiny)
    # What a run has left that was killed.
    settings = settings_of(Codec.load("B", model=tiny), 256_000_000)
    (tmp_path / f"o.ecz.partial-999999-0123abcd-{settings}").write_bytes(whole[:-30])
    document = run(tmp_path, *words, "--resume")
    assert (document["resumed"], document["unfinished"]) == (4, [])
    assert (tmp_path / "o.ecz").read_bytes() == whole
    (sources / "new.txt").write_text("new")
    assert run(tmp_path, *words, "--update")["unchanged"] == 4
    with ArchiveReader(tmp_path / "o.ecz") as reader:
        assert "new.txt" in [member.source for member in reader.members]
    assert set(os.listdir(tmp_path)) == {"in", "o.ecz", "whole.ecz"}


def test_names_that_windows_does_not_have(sources: Path, tmp_path: Path, tiny: Path) -> None:
    compress_picture(sources / "a.png", tmp_path / "a.edge", model=tiny)
    codestream = parse((tmp_path / "a.edge").read_bytes(), max_pixels=None)
    name = 'a?/say "x".png'
    origin = Origin(".png", TIME_NS, name_check(name))
    with open(tmp_path / "o.ecz", "wb") as file:
        writer = ArchiveWriter(file)
        picture = replace(codestream, origin=origin).pack()
        writer.add_picture('a?/say "x".edge', picture, TIME_NS)
        writer.add_packed("sub/12:30.txt", pack(b"half past twelve"), TIME_NS)
        writer.add_packed("sub/12_30.txt", pack(b"its own name"), TIME_NS)
        writer.finish()
    words = ("decompress", "o.ecz", "-o", "out", "--model", tiny)
    document = run(tmp_path, *words)
    assert {note["path"]: note["reason"] for note in document["renamed"]} == {
        'a?/say "x".png': "is restored as a_/say _x_.png; this system has no such names",
        "sub/12:30.txt": "is restored as sub/12_30.2.txt; this system has no such names",
    }
    assert (tmp_path / "out" / "sub" / "12_30.2.txt").read_text() == "half past twelve"
    assert (tmp_path / "out" / "sub" / "12_30.txt").read_text() == "its own name"
    assert (tmp_path / "out" / "a_" / "say _x_.png").is_file()
    assert run(tmp_path, *words, "--resume")["unchanged"] == 3
    printed = start(tmp_path, *words, "--force", "-v").stderr.decode()
    assert "warning: sub/12:30.txt: is restored as sub/12_30.2.txt; this system" in printed


def test_one_picture_and_pipes(sources: Path, tmp_path: Path, tiny: Path) -> None:
    model = ("--model", tiny)
    done = start(tmp_path, "compress", sources / "a.png", "-o", "-", *model)
    compress_picture(sources / "a.png", tmp_path / "here.edge", model=tiny)
    assert done.stdout == (tmp_path / "here.edge").read_bytes()
    run(tmp_path, "decompress", "here.edge", "-o", "a.png", *model)
    decompress_picture(tmp_path / "here.edge", tmp_path / "b.png", model=tiny)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_what_is_printed_is_utf8(sources: Path, tmp_path: Path, tiny: Path) -> None:
    compress_folder(sources, tmp_path / "o.ecz", model=tiny)
    done = start(tmp_path, "list", "o.ecz")
    assert done.returncode == 0, done.stderr.decode()
    assert "写真" in done.stdout.decode("utf-8")


def test_a_damaged_archive(sources: Path, tmp_path: Path, tiny: Path) -> None:
    compress_folder(sources, tmp_path / "o.ecz", model=tiny)
    data = bytearray((tmp_path / "o.ecz").read_bytes())
    with ArchiveReader(tmp_path / "o.ecz") as reader:
        data[reader._slots[-1].views[0].end - 1] ^= 1
    (tmp_path / "o.ecz").write_bytes(data)
    found = run(tmp_path, "verify", "o.ecz", "--model", tiny, code=ExitCode.DAMAGED)
    assert len(found["damaged"]) == 1
    document = run(tmp_path, "repair", "o.ecz", "-o", "o.ecz", "--force", code=ExitCode.DAMAGED)
    assert document["members"] == 3
    with ArchiveReader(tmp_path / "o.ecz") as reader:
        assert (reader.damage, len(reader.members)) == ((), 3)
