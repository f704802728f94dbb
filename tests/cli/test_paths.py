"""What the words on the command line stand for."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from edgecomp.cli.paths import (
    default_name,
    holds_one_picture,
    makes_archive,
    standard_input,
    standard_output,
    within_folder,
)
from edgecomp.errors import UsageError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dir").mkdir()
    (tmp_path / "a.png").write_bytes(b"a")
    return tmp_path


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("sources", "output", "archive"),
    [
        (["dir"], None, True),
        (["dir/"], "x", True),
        (["dir"], "x.ecz", True),
        (["missing/"], None, True),
        (["a.png"], None, False),
        (["a.png"], "x.edge", False),
        (["a.png"], "x", False),
        (["a.png"], "-", False),
        (["a.png"], "x.ECZ", True),
        (["a.png", "dir"], "x.ecz", True),
        (["-"], None, False),
        (["-"], "-", False),
        (["-"], "x.edge", False),
        (["missing.png"], None, False),
    ],
)
def test_archive_or_picture(sources: list[str], output: str | None, archive: bool) -> None:
    assert makes_archive(sources, output) is archive


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("sources", "output", "says"),
    [
        (["a.png", "dir"], None, "give -o NAME.ecz"),
        (["a.png", "b.png"], "-", "standard output takes one picture"),
        (["dir"], "-", "standard output takes one picture"),
        (["dir"], "x.edge", "for a folder give -o NAME.ecz"),
        (["a.png", "b.png"], "x.edge", "for several sources"),
        (["-", "a.png"], "x.ecz", "must be the only source"),
        (["-"], "x.ecz", "has no file name"),
    ],
)
def test_contradictions(sources: list[str], output: str | None, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        makes_archive(sources, output)


def test_the_first_bytes_tell_a_picture(here: Path) -> None:
    (here / "x.ecz").write_bytes(b"\xecEC\x01")
    (here / "x.edge").write_bytes(b"PK\x03\x04")
    (here / "empty.edge").write_bytes(b"")
    assert holds_one_picture("x.ecz")
    assert not holds_one_picture("x.edge")
    assert holds_one_picture("empty.edge")
    assert holds_one_picture("missing.edge")
    assert not holds_one_picture("missing.ecz")
    assert not holds_one_picture("dir")
    assert holds_one_picture("-")


def test_a_pipe_is_not_opened(here: Path) -> None:
    os.mkfifo(here / "pipe.edge")
    assert holds_one_picture("pipe.edge")  # opening it would wait for ever


@pytest.mark.usefixtures("here")
def test_an_output_folder_takes_the_default_name() -> None:
    assert within_folder("dir", "a.edge") == os.path.join("dir", "a.edge")
    assert within_folder("new/", "a.edge") == os.path.join("new", "a.edge")
    assert within_folder("x.edge", "a.edge") == "x.edge"
    assert within_folder("-", "a.edge") == "-"
    assert within_folder(None, "a.edge") is None
    assert default_name("some/a.tar.png", ".edge") == "a.tar.edge"
    assert default_name("dir/", ".ecz") == "dir.ecz"
    assert default_name(".", ".ecz") == Path.cwd().name + ".ecz"
    assert default_name("-", ".png") == "picture.png"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_no_bytes_from_or_to_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (_Terminal(), None):
        monkeypatch.setattr(sys, "stdin", stream)
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(UsageError, match="standard input is"):
            standard_input()
        with pytest.raises(UsageError, match=r"terminal|closed"):
            standard_output()
