"""export.report on a tiny run and its model: the rows, their order, what it writes, errors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from .conftest import Command

FLOAT, INT8, CODED = "pruned", "pruned, int8", "pruned, int8, Huffman coded"


@pytest.fixture(scope="module")
def measured(
    command: Command, trained: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """Folder with report.md and report.json of quality B, and what was printed. The run stands as
    the pruned stage and is exported as `exported` was."""
    out = tmp_path_factory.mktemp("report")
    args = ("--kodak", pictures, "--data", pictures, "--calibrate", 3, "--limit", 3)
    args = (*args, "--stages", "B", "-", trained)
    files = ("--out", out / "docs" / "report.md", "--json", out / "report.json")
    done = command("export.report", *args, *files)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


@pytest.fixture(scope="module")
def rows(measured: tuple[Path, str]) -> dict[str, dict[str, Any]]:
    record = json.loads((measured[0] / "report.json").read_text())
    assert list(record["qualities"]) == ["B"]
    found = {row["name"]: row for row in record["qualities"]["B"]["rows"]}
    assert list(found) == [FLOAT, INT8, CODED]
    return found


def test_sizes(rows: dict[str, dict[str, Any]], exported: Path) -> None:
    manifest = json.loads((exported / "model.json").read_text())
    assert {row["parameters"] for row in rows.values()} == {sum(manifest["parameters"].values())}
    assert rows[FLOAT]["bytes"] == 4 * rows[FLOAT]["parameters"]
    graphs = [exported / f"{part}.int8.onnx" for part in ("encoder", "decoder")]
    # The names of nodes, and so the size, are not the same in every export.
    assert rows[INT8]["bytes"] == pytest.approx(sum(p.stat().st_size for p in graphs), rel=0.01)
    assert rows[CODED]["bytes"] < rows[INT8]["bytes"]


def test_figures(rows: dict[str, dict[str, Any]], exported: Path, pictures: Path) -> None:
    """Those of the int8 graphs are what the package itself gives, and the float ones are near."""
    import edgecomp
    from edgecomp import metrics

    bpp, similarity, psnr = [], [], []
    for path in sorted(pictures.iterdir())[:3]:
        with Image.open(path) as image:
            coded = edgecomp.encode(image, model=exported, precision="int8")
            picture = np.asarray(image)
        restored = np.asarray(edgecomp.decode(coded, model=exported, precision="int8"))
        bpp.append(8 * len(coded) / (picture.shape[0] * picture.shape[1]))
        similarity.append(metrics.ms_ssim(picture, restored))
        psnr.append(metrics.psnr(picture, restored))
    for name in (INT8, CODED):
        assert rows[name]["bpp"] == pytest.approx(np.mean(bpp))
        assert rows[name]["ms_ssim"] == pytest.approx(np.mean(similarity))
        assert rows[name]["psnr"] == pytest.approx(np.mean(psnr))
        assert rows[name]["precision"] == "int8"
    assert rows[FLOAT]["precision"] == "fp32"
    assert rows[FLOAT]["psnr"] == pytest.approx(np.mean(psnr), abs=0.5)
    for row in rows.values():
        assert 0 < max(row["encoder_seconds"], row["decoder_seconds"]) <= row["seconds"]


def test_float_row_has_the_weights_as_trained(
    command: Command, trained: Path, pictures: Path, tmp_path: Path
) -> None:
    """Not those that export.to_onnx rounds: the fp32 graphs agree with the network under JAX."""
    import onnxruntime

    from export.measure import Meter, load_pictures

    done = command("export.float_model", trained, "--quality", "B", "--out", tmp_path / "model")
    assert done.returncode == 0, done.stderr
    (picture,) = load_pictures(str(pictures), 8, 1)
    latents, restored = Meter(str(trained)).float_pass(picture, np.array([1], np.int32))
    for part, value, wanted in (
        ("encoder", picture, latents.transpose(0, 3, 1, 2) + 128),
        ("decoder", (latents.transpose(0, 3, 1, 2) + 128).astype(np.uint8), restored),
    ):
        path = str(tmp_path / "model" / f"{part}.fp32.onnx")
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (result,) = session.run(None, {session.get_inputs()[0].name: value})
        assert np.mean(result != wanted) < 1e-3  # places that lie on the edge of a rounding


def test_text(measured: tuple[Path, str], rows: dict[str, dict[str, Any]]) -> None:
    out, printed = measured
    text = (out / "docs" / "report.md").read_text()
    section = text[text.index("## Quality B") : text.index("## How")].strip()
    assert section in printed
    lines = [line for line in section.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [line[0] for line in cells[2:]] == list(rows)
    assert len({len(line) for line in cells}) == 1
    for line, row in zip(cells[2:], rows.values(), strict=True):
        assert int(line[3].replace("\u00a0", "")) == row["bytes"]
        assert float(line[7]) == pytest.approx(row["ms_ssim"], abs=5e-5)
    assert "python -m export.report --kodak $KODAK --data $TRAIN \\\n" in text
    assert "--stages B - unbroken \\\n" in text
    assert str(out) not in text
    assert "3 pictures of the Kodak suite" in text


def test_graph_comes_back_from_its_codes(exported: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from edgecomp.errors import CorruptDataError
    from export import coded_graph, huffman

    model = onnx.load(exported / "decoder.int8.onnx")
    data, tally = coded_graph.pack(model)
    assert coded_graph.unpack(data) == model
    assert tally.total == len(data) == tally.codes + tally.tables + tally.rest
    assert tally.entropy <= 8 * tally.codes < tally.entropy + tally.weights
    with pytest.raises(CorruptDataError, match="cut short"):
        coded_graph.unpack(data[:-1])
    with pytest.raises(CorruptDataError, match="coded graph is damaged"):
        coded_graph.unpack(data[:3] + b"\xff" * 30 + data[33:])
    with pytest.raises(huffman.HuffmanError, match="after the coded graph"):
        coded_graph.unpack(data + b"\0")


def test_coded_graph_that_differs_is_found(exported: Path, monkeypatch: Any) -> None:
    from edgecomp.models import load_model
    from export import coded_graph, huffman, report

    decode = huffman.decode
    monkeypatch.setattr(
        coded_graph.huffman, "decode", lambda data, count: decode(data, count)[::-1]
    )
    with pytest.raises(report.ReportError, match="is not the one that was coded"):
        report.coded(load_model(exported))


def test_all_rows(exported: Path, pictures: Path) -> None:
    from edgecomp.models import load_model
    from export import report

    model = load_model(exported)
    floats = {"float checkpoint": model, "pruned": model}
    shown, tally = report.measure_quality(
        floats, model, report.read_pictures(str(pictures), 1), "lzma", 1
    )
    assert [row.name for row in shown] == ["float checkpoint", FLOAT, INT8, CODED]
    assert [row.precision for row in shown] == ["fp32", "fp32", "int8", "int8"]
    assert shown[0].bytes == shown[1].bytes == 4 * shown[0].parameters
    assert shown[2].bytes > shown[3].bytes == tally.total


def test_int8_and_codes_are_smaller() -> None:
    """Of a network of real size; a tiny one's nodes take more than its weights."""
    from edgecomp.models import shipped_model
    from export import report

    model = shipped_model("A")
    tally = report.coded(model)
    assert tally.total < 0.9 * model.size("int8") < 0.4 * 4 * sum(model.parameters.values())
    assert tally.rest < 0.25 * tally.total


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--kodak", "nowhere"], "data folder not found: nowhere"),
        (["--kodak", "{empty}"], "no pictures in data folder"),
        (["--kodak", "{small}"], "MS-SSIM needs sides of at least 161 pixels"),
        (["--stages", "A", "nowhere"], "no run, checkpoint or model at nowhere"),
        (["--stages", "A", "{empty}"], "is neither a run nor a model"),
        (["--stages", "A", "-"], "every stage is left out"),
        (["--stages", "A"], "QUALITY FLOAT [PRUNED [QUANTISED]]"),
        (["--stages", "A", *"wxyz"], "QUALITY FLOAT [PRUNED [QUANTISED]]"),
        (["--stages", "B", "-", "-", "{run}", "--stages", "B", "{run}"], "once a quality"),
        (["--stages", "B", "{model}"], "the float stage needs a run or a checkpoint"),
        (["--stages", "B", "-", "-", "{model}@1.5"], "it has no position 1.5"),
        (["--stages", "A", "-", "-", "{model}"], "is a model of quality B, not A"),
        (["--stages", "A", "-", "-", "{run}"], "is to be quantised, which needs --data"),
        (["--threads", "0"], "--threads must be above zero"),
        (["--out", "{file}/x.md"], "cannot write"),
        (["--json", "{empty}"], "it is a folder"),
    ],
)
def test_refusals(
    argv: list[str],
    message: str,
    trained: Path,
    exported: Path,
    pictures: Path,
    tmp_path: Path,
    capsys: Any,
) -> None:
    from export import report

    for name in ("empty", "small"):
        (tmp_path / name).mkdir()
    Image.new("RGB", (300, 160)).save(tmp_path / "small" / "p.png")
    (tmp_path / "file").touch()
    places = {"run": trained, "model": exported}
    places |= {name: tmp_path / name for name in ("empty", "small", "file")}
    usual = {"--kodak": [str(pictures)], "--stages": ["B", "-", "-", str(exported)]}
    usual["--limit"] = ["1"]
    given = [word.format(**places) for word in argv]
    for option, values in usual.items():
        if option not in given:
            given += [option, *values]
    assert report.main(given) == 1
    error = capsys.readouterr().err
    assert error.startswith("export.report: ")
    assert message in error
    assert error.count("\n") == 1


def test_damaged_stages(
    trained: Path, exported: Path, pictures: Path, tmp_path: Path, capsys: Any
) -> None:
    from export import report

    run, model = tmp_path / "run", tmp_path / "model"
    run.mkdir()
    (run / "state.npz").write_bytes((trained / "state.npz").read_bytes()[:1000])
    shutil.copytree(exported, model)
    graph = model / "decoder.int8.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"\xff")
    for stages, message in (
        ([str(run)], "could not be exported: export.float_model: checkpoint"),
        (["-", "-", str(model)], "a file of the model is damaged"),
    ):
        argv = ["--kodak", str(pictures), "--limit", "1", "--stages", "B", *stages]
        assert report.main(argv) == 1
        assert message in capsys.readouterr().err
