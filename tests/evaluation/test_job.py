"""evaluation.job: a whole evaluation of a small folder, and its report."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from common import DATA
from PIL import Image

from edgecomp.errors import OutputError, OutputExistsError, SourceError
from edgecomp.evaluation.job import evaluate
from edgecomp.evaluation.plan import Request
from edgecomp.evaluation.results import (
    CONTEXT_MODEL,
    NOT_ASKED_FOR,
    OWN_NAMES,
    PICKLE_LZMA,
    ROW_NAMES,
    TIMED_ESTIMATE,
    Evaluation,
)
from edgecomp.pipeline import Silent

ROWS = (*OWN_NAMES, PICKLE_LZMA, "tar", "jpeg")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures of 192x168, a grey one, a file that is no picture, and a broken one."""
    folder = tmp_path_factory.mktemp("evaluate") / "my photos"
    (folder / "below").mkdir(parents=True)
    y, x = np.mgrid[0:168, 0:192].astype(float)
    for i, name in enumerate(("a.png", "below/b & <c>.png")):
        planes = (128 + 90 * np.sin(x / (9 + i)), 2 * y % 256, 255 * x / 192)
        grain = np.random.default_rng(i).normal(0, 8, (168, 192, 3))
        rgb = (np.stack(planes, -1) + grain).clip(0, 255).astype(np.uint8)
        Image.fromarray(rgb).save(folder / name)
    Image.fromarray((x + grain[..., 0]).clip(0, 255).astype(np.uint8)).save(folder / "grey.png")
    (folder / "notes.txt").write_text("no picture")
    (folder / "broken.jpg").write_text("no picture either")
    return folder


@pytest.fixture(scope="module")
def request_of(photos: Path) -> Request:
    """The frozen models have no parameters for `context`: the shipped ones, two cores, few rows."""
    return Request(folder=str(photos), rows=ROWS, threads=2)


@pytest.fixture(scope="module")
def done(request_of: Request, tmp_path_factory: pytest.TempPathFactory) -> tuple[Evaluation, Path]:
    """The evaluation and the folder of its report."""
    report = tmp_path_factory.mktemp("report") / "report"
    return evaluate(request_of, report=report), report


def test_every_row_is_there(done: tuple[Evaluation, Path]) -> None:
    found, _ = done
    assert {row.name for row in found.rows} == set(ROW_NAMES)
    for row in found.rows:
        if row.name not in ROWS:
            assert row.skipped == NOT_ASKED_FOR
        elif row.skipped is None:
            assert row.images == 3
            assert row.bytes is not None
            assert row.bpp == pytest.approx(8 * row.bytes / (3 * 192 * 168))
            assert row.compression_rate == pytest.approx(found.png_bytes / row.bytes)
            assert row.seconds is not None
            assert row.seconds > 0
            assert row.cores == found.cores
    assert [row.quality for row in found.measured("edgecomp context")] == ["A", "B", "C"]
    assert "75" in [row.quality for row in found.measured("jpeg")]


def test_bytes_and_scores_are_those_of_the_product(
    done: tuple[Evaluation, Path], photos: Path, tmp_path: Path
) -> None:
    """What `compress` makes of the pictures is what the row says, to the byte."""
    from edgecomp import compress_folder

    found, _ = done
    folder = tmp_path / "pictures"
    (folder / "below").mkdir(parents=True)
    for name in ("a.png", "below/b & <c>.png"):
        shutil.copyfile(photos / name, folder / name)
    with Image.open(photos / "grey.png") as grey:
        grey.convert("RGB").save(folder / "grey.png.png")
    for coder in ("context", "lzma"):
        summary = compress_folder(folder, tmp_path / f"{coder}.ecz", quality="B", coder=coder)
        row = next(r for r in found.measured(f"edgecomp {coder}") if r.quality == "B")
        assert row.bytes == summary.bytes_out
        assert not row.note


def test_the_same_latents_have_the_same_scores(done: tuple[Evaluation, Path]) -> None:
    """pickle+lzma restores what `lzma` restores, and takes more bytes for it."""
    found, _ = done
    for packed, pickled in zip(
        found.measured("edgecomp lzma"), found.measured(PICKLE_LZMA), strict=True
    ):
        assert packed.ms_ssim == pytest.approx(pickled.ms_ssim, abs=1e-12)
        assert packed.psnr == pytest.approx(pickled.psnr, abs=1e-12)


def test_what_was_left_out_is_named(done: tuple[Evaluation, Path]) -> None:
    found, _ = done
    assert [note.path for note in found.left_out] == ["broken.jpg"]
    names = [picture.name for picture in found.pictures]
    assert names == ["a.png", "below/b & <c>.png", "grey.png"]
    assert any("1 of the 3 files" in note for note in found.notes)


def test_the_report(done: tuple[Evaluation, Path]) -> None:
    found, report = done
    assert {path.name for path in report.iterdir()} == {
        "index.html",
        "results.json",
        "rows.csv",
        "pictures.csv",
        "tables.md",
        *(f"{name}.{kind}" for name in ("rate-distortion", "bubbles", "stages")
          for kind in ("png", "svg")),
    }  # fmt: skip
    record = json.loads((report / "results.json").read_bytes())
    assert record["made_by"] == "edgecomp evaluate"
    assert len(record["rows"]) == len(found.rows)
    with (report / "rows.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(found.rows)
    for name in ("rate-distortion", "bubbles", "stages"):
        with Image.open(report / f"{name}.png") as figure:
            assert figure.width >= 800
    page = (report / "index.html").read_text()
    assert "b &amp; &lt;c&gt;.png" in page or "b \\u0026 \\u003cc\\u003e.png" in page
    assert "<c>" not in page
    assert page.count("data-picture=") == 3


def test_stages_and_commands_of_every_row(done: tuple[Evaluation, Path]) -> None:
    found, _ = done
    labels = {row.label for row in found.measured(*OWN_NAMES)}
    assert {stage.label for stage in found.stages} == labels
    assert {command.label for command in found.commands} == labels
    for stage in found.stages:
        assert all(ms > 0 for ms in stage.stages.values())


def test_a_second_run_measures_nothing(request_of: Request, photos: Path, tmp_path: Path) -> None:
    class Counter(Silent):
        labels: list[str]

        def __init__(self) -> None:
            self.labels = []

        def advance(self, name: str, size: int, /) -> None:
            self.labels.append(name)

    few = replace(request_of, rows=("jpeg", OWN_NAMES[0]), limit=1)
    cache = tmp_path / "cache"
    first = evaluate(few, cache=cache)
    files = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    again = evaluate(few, cache=cache)
    assert again.rows == first.rows
    assert again.pictures == first.pictures
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == files


def test_another_model(request_of: Request, tiny: Path) -> None:
    found = evaluate(replace(request_of, rows=OWN_NAMES, model=str(tiny), limit=1))
    context, lzma = (found.rows[0], found.rows[1])
    assert context.skipped is not None
    assert "no parameters" in context.skipped
    assert lzma.skipped is None
    assert lzma.bytes


def test_the_ideal_of_a_float_context_model(request_of: Request, tiny: Path) -> None:
    """Its symbols are those of the row `lzma`, and so are its scores."""
    graph = DATA / "context-onnx" / "tiny.onnx"
    asked = replace(
        request_of, rows=(CONTEXT_MODEL,), model=str(tiny), limit=2, context_models=(graph,)
    )
    found = evaluate(asked)
    (ideal,) = found.measured(CONTEXT_MODEL)
    (packed,) = found.measured("edgecomp lzma")
    assert (ideal.ms_ssim, ideal.psnr) == (packed.ms_ssim, packed.psnr)
    assert ideal.bytes
    assert ideal.timed == TIMED_ESTIMATE
    assert "a.png alone takes" in ideal.note


def test_a_graph_of_another_network_has_no_row(request_of: Request) -> None:
    graph = DATA / "context-onnx" / "tiny.onnx"
    asked = replace(request_of, rows=(CONTEXT_MODEL,), limit=1, context_models=(graph,))
    rows = [row for row in evaluate(asked).rows if row.name == CONTEXT_MODEL]
    assert [row.quality for row in rows] == ["A", "B", "C"]
    for row in rows:
        assert row.skipped is not None
        assert "none of the graphs given is of model edge-" in row.skipped


def test_reports_replace_reports_only(request_of: Request, tmp_path: Path) -> None:
    few = replace(request_of, rows=("jpeg",), limit=1)
    report = tmp_path / "report"
    report.mkdir()
    (report / "index.html").write_text("my own page")
    with pytest.raises(OutputExistsError, match="other things"):
        evaluate(few, report=report)
    assert (report / "index.html").read_text() == "my own page"
    evaluate(few, report=report, force=True)
    assert "my own page" not in (report / "index.html").read_text()
    evaluate(few, report=report)
    with pytest.raises(OutputError, match="not a folder"):
        evaluate(few, report=report / "index.html")


def test_nothing_to_evaluate(request_of: Request, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such folder"):
        evaluate(replace(request_of, folder=str(tmp_path / "missing")))
    (tmp_path / "x.png").write_text("rubbish")
    with pytest.raises(SourceError, match="no pictures that can be evaluated"):
        evaluate(replace(request_of, folder=str(tmp_path)))
