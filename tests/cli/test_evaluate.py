"""``edgecomp evaluate`` on the command line: tables, JSON, endings."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from common import listening
from PIL import Image

from edgecomp.cli import main
from edgecomp.errors import ExitCode

FEW = ("--row", "jpeg", "--row", "edgecomp lzma")


@pytest.fixture
def pictures(tmp_path: Path, photo: Image.Image) -> Path:
    """Two pictures; one is too small for MS-SSIM over five scales."""
    folder = tmp_path / "photos"
    folder.mkdir()
    photo.save(folder / "small.png")
    photo.resize((180, 170)).save(folder / "large.png")
    return folder


def test_four_tables_and_a_line(
    pictures: Path, tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report"
    words = ["evaluate", str(pictures), "-o", str(report), "--model", str(tiny), *FEW]
    assert main(words) == ExitCode.DONE
    captured = capsys.readouterr()
    assert captured.err == ""
    out = captured.out
    for start in ("1. ", "2. ", "3. ", "4. "):
        assert sum(line.startswith(start) for line in out.splitlines()) == 1
    assert "side under 161 pixels" in out
    figures = "bubbles.png, rate-distortion.png, stages.png"
    assert out.splitlines()[-1].endswith(f"{report / 'index.html'}, {figures}")
    assert (report / "index.html").stat().st_size > 10_000
    # Columns line up: in a table every line of figures ends where the header does.
    lines = out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("2. "))
    widths = {len(line) for line in lines[at + 1 : at + 5]}
    assert len(widths) == 1


def test_json_is_one_document(
    pictures: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(pictures), "--model", str(tiny), "--json", *FEW]) == ExitCode.DONE
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert captured.err == ""
    assert (found["images"], found["exit_code"], found["report"]) == (2, 0, None)
    rows = {row["name"]: row for row in found["rows"]}
    assert rows["edgecomp lzma"]["skipped"] is None
    assert rows["avif"]["skipped"] == "not asked for"


def test_a_picture_left_out_is_named(
    pictures: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "broken.png").write_text("rubbish")
    words = ["evaluate", str(pictures), "--model", str(tiny), "--row", "jpeg"]
    assert main(words) == ExitCode.SKIPPED
    captured = capsys.readouterr()
    assert captured.err.startswith("edgecomp: warning: broken.png: left out of every row: not a")
    assert "2 pictures" in captured.out.splitlines()[-1]
    assert captured.out.splitlines()[-1].endswith("1 left out")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["missing"], ExitCode.FATAL, "missing: no such folder"),
        (["photos/small.png"], ExitCode.FATAL, "small.png: is no folder"),
        (["photos", "--row", "png"], ExitCode.USAGE, "invalid choice"),
        (["photos", "--limit", "0"], ExitCode.USAGE, "not a whole number of 1 or more"),
        (["photos", "--model", "nowhere"], ExitCode.MODEL, "nowhere"),
        (["photos", "--context-model", "none.onnx"], ExitCode.MODEL, "none.onnx"),
        (["photos", "--cache", "photos/small.png"], ExitCode.FATAL, "small.png"),
        (["photos", "-o", "photos"], ExitCode.FATAL, "--force overwrites"),
        ([], ExitCode.USAGE, "DIR"),
    ],
)
def test_errors(
    words: list[str],
    code: ExitCode,
    message: str,
    pictures: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(pictures.parent)
    before = {path: path.read_bytes() for path in pictures.iterdir()}
    assert main(["evaluate", *words]) == code
    assert message in capsys.readouterr().err
    assert {path: path.read_bytes() for path in pictures.iterdir()} == before


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing(sign: signal.Signals, tmp_path: Path, tiny: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(4):
        Image.effect_noise((900, 700), 50 + i).convert("RGB").save(folder / f"{i}.png")
    scratch, report = tmp_path / "scratch", tmp_path / "report"
    scratch.mkdir()
    words = ["evaluate", str(folder), "-o", str(report), "--model", str(tiny)]
    process = subprocess.Popen(
        [sys.executable, "-m", "edgecomp", *words],
        env={**os.environ, "TMPDIR": str(scratch)},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=listening,
    )
    while not list(scratch.iterdir()):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(sign)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + sign, err
    word = "interrupted" if sign == signal.SIGINT else "terminated"
    assert err.decode() == f"edgecomp: {word}\n"
    assert not list(scratch.iterdir())
    assert not report.exists()
