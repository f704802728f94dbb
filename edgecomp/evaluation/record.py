"""An evaluation as plain values: the JSON document and the CSV files."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from edgecomp.evaluation.equal_quality import comparisons, own_rows
from edgecomp.evaluation.results import Evaluation, row_record
from edgecomp.summary import notes_to_json


def document(evaluation: Evaluation) -> dict[str, Any]:
    """Everything but the pictures' own scores, which are in `pictures_csv`."""
    return {
        "folder": evaluation.folder,
        "kodak": evaluation.kodak,
        "images": len(evaluation.pictures),
        "pixels": evaluation.pixels,
        "png_bytes": evaluation.png_bytes,
        "cores": evaluation.cores,
        "machine": dict(evaluation.machine),
        "rows": [row_record(row) for row in evaluation.rows],
        "equal_quality": [
            asdict(compared) for compared in comparisons(evaluation, own_rows(evaluation))
        ],
        "stages": [
            {"label": s.label, "direction": s.direction, "milliseconds": dict(s.stages)}
            for s in evaluation.stages
        ],
        "commands": [asdict(command) for command in evaluation.commands],
        "left_out": notes_to_json(evaluation.left_out),
        "notes": list(evaluation.notes),
    }


def rows_csv(evaluation: Evaluation) -> str:
    """The rows; empty where there is no figure."""
    records = [row_record(row) for row in evaluation.rows]
    return _csv(list(records[0]), [list(record.values()) for record in records])


def pictures_csv(evaluation: Evaluation) -> str:
    """Every picture by every method: bytes, bits per pixel, MS-SSIM, PSNR."""
    header = ["picture", "width", "height", "png_bytes", "ms_ssim_scales", "method"]
    header += ["bytes", "bpp", "ms_ssim", "psnr"]
    lines: list[Sequence[Any]] = []
    for picture in evaluation.pictures:
        about = (picture.name, picture.width, picture.height, picture.png_bytes)
        for label, score in picture.scores.items():
            bpp = 8 * score.bytes / (picture.width * picture.height)
            found = (score.bytes, bpp, score.ms_ssim, score.psnr)
            lines.append((*about, picture.ms_ssim_scales, label, *found))
    return _csv(header, lines)


def _csv(header: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    return text.getvalue()
