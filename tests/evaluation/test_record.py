"""evaluation.record: the JSON document and the CSV files."""

from __future__ import annotations

import csv
import io
import json

from evaluations import evaluation

from edgecomp.evaluation.record import document, pictures_csv, rows_csv
from edgecomp.evaluation.results import ROW_NAMES

FIELDS = {
    "name",
    "quality",
    "images",
    "bytes",
    "bpp",
    "compression_rate",
    "ms_ssim",
    "psnr",
    "seconds_compress",
    "seconds_decompress",
    "skipped",
}


def test_the_document_is_json_with_every_row() -> None:
    found = json.loads(json.dumps(document(evaluation()), allow_nan=False))
    assert [r["name"] for r in found["rows"]] == [r.name for r in evaluation().rows]
    assert {r["name"] for r in found["rows"]} == set(ROW_NAMES)
    for r in found["rows"]:
        assert r.keys() >= FIELDS
        if r["skipped"] is None:
            assert r["bytes"] > 0
            assert r["images"] == found["images"] == 2
        else:
            assert r["bytes"] is r["bpp"] is r["ms_ssim"] is None
    assert found["left_out"] == [{"path": "broken.png", "reason": "cannot be decoded (truncated)"}]
    assert found["pixels"] == 2 * 512 * 768
    assert found["cores"] == 2
    avif = next(c for c in found["equal_quality"] if c["name"] == "avif")
    assert len(avif["bpp"]) == 3
    assert avif["bd_rate_ms_ssim"] is not None


def test_rows_as_csv() -> None:
    lines = list(csv.DictReader(io.StringIO(rows_csv(evaluation()))))
    assert len(lines) == len(evaluation().rows)
    first = lines[0]
    assert (first["name"], first["quality"], float(first["bpp"])) == ("edgecomp context", "A", 0.5)
    assert first["skipped"] == ""
    skipped = next(line for line in lines if line["name"] == "heic")
    assert (skipped["bytes"], skipped["skipped"]) == ("", "heic is not installed")


def test_pictures_as_csv() -> None:
    lines = list(csv.DictReader(io.StringIO(pictures_csv(evaluation()))))
    labels = {line["method"] for line in lines}
    assert len(lines) == 2 * len(labels)
    assert "edgecomp context A" in labels
    assert {line["picture"] for line in lines} == {"first.png", "below/second.png"}
    assert float(lines[0]["bpp"]) == 8 * int(lines[0]["bytes"]) / (768 * 512)
