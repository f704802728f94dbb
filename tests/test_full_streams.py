"""Standard output and standard error on a full disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from processes import COMMAND, finished, make_pictures

from edgecomp.compress import compress_folder, compress_picture
from edgecomp.inspect import verify

pytestmark = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")

NO_SPACE = "No space left on device"


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    root = tmp_path_factory.mktemp("material")
    make_pictures(root / "in", 1, (300, 200))
    compress_folder(root / "in", root / "whole.ecz", model=tiny)
    compress_picture(root / "in" / "00.png", root / "one.edge", model=tiny)
    return root


@pytest.mark.parametrize("command", ["compress", "decompress"])
def test_a_picture_on_standard_output(material: Path, tiny: Path, command: str) -> None:
    source = {"compress": "in/00.png", "decompress": "one.edge"}[command]
    with open(material / source, "rb") as file, open("/dev/full", "wb") as full:
        done = finished([*COMMAND, command, "-", "--model", str(tiny)], stdin=file, stdout=full)
    assert done.returncode == 1
    assert done.stderr.decode() == (f"edgecomp: error: cannot write standard output: {NO_SPACE}\n")


@pytest.mark.parametrize("words", ["list", "verify --json"])
def test_reports_on_standard_output(material: Path, words: str) -> None:
    command = [*words.split(), str(material / "whole.ecz")]
    with open("/dev/full", "wb") as full:
        done = finished([*COMMAND, *command], stdout=full)
    assert done.returncode == 1
    last = done.stderr.decode().splitlines()[-1]
    assert last == f"edgecomp: error: standard output: {NO_SPACE}"


def test_words_that_cannot_be_written_are_no_failure(
    tmp_path: Path, material: Path, tiny: Path
) -> None:
    """Warnings and the final line go to standard error; the archive is what was asked for."""
    target = tmp_path / "x.ecz"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "broken.png").write_text("no picture: this will be told")
    with open("/dev/full", "wb") as full:
        done = finished([*COMMAND, "compress", str(tmp_path / "in"), "--model", str(tiny),
                         "-o", str(target)], stderr=full)  # fmt: skip
    assert done.returncode == 0
    assert verify(target).exit_code == 0
