"""``edgecomp evaluate``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edgecomp.cli.options import add_codec, add_printing, codec_options, path_name, positive
from edgecomp.cli.printing import Console, plural, table
from edgecomp.cli.progress import progress_bar
from edgecomp.errors import ExitCode

if TYPE_CHECKING:
    from edgecomp.evaluation.results import Evaluation

USAGE = "DIR [-o REPORT] [options]"
DESCRIPTION = """\
Measures edgecomp and its peers on the pictures of a folder: bits per pixel, MS-SSIM, PSNR and the
time both ways, all on the same cores. Prints four tables; with -o it also writes a folder with the
figures, the tables as CSV and JSON, and index.html, one page that holds everything and shows every
picture before and after. The pictures are only read.

What is compared beyond JPEG, JPEG 2000, WebP and AVIF needs packages and programs of its own
(pip install 'edgecomp[eval]'; tar, 7-Zip); a row that cannot be measured says why.
"""
EXAMPLES = """\
edgecomp evaluate photos/ -o report/
edgecomp evaluate photos/ -o report/ --cache measured/    # again, without measuring again
edgecomp evaluate photos/ --limit 4 --row avif --row jpeg
edgecomp evaluate photos/ --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``edgecomp evaluate``."""
    from edgecomp.evaluation.results import ROW_NAMES

    parser.add_argument(
        "folder", metavar="DIR", type=path_name, help="a folder of pictures, searched to its depth"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="REPORT",
        type=path_name,
        help="folder for the page, the figures and the tables; without it they are only printed",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="write into REPORT even if there are other things than an earlier report in it",
    )
    parser.add_argument(
        "--cache",
        metavar="FOLDER",
        type=path_name,
        help="keep what was measured there, and take from there what was measured before on the "
        "same pictures, models, qualities and number of cores",
    )
    parser.add_argument(
        "--limit", metavar="N", type=positive, help="only the first N pictures, by name"
    )
    parser.add_argument(
        "--row",
        action="append",
        dest="rows",
        metavar="NAME",
        choices=ROW_NAMES,
        help="only this row (may be repeated): " + ", ".join(ROW_NAMES),
    )
    parser.add_argument(
        "--context-model",
        action="append",
        default=[],
        dest="context_models",
        metavar="ONNX",
        type=path_name,
        help="float context model of a model's network, for the row of that name (may be "
        "repeated, one graph a quality); export/README.md says how they are made",
    )
    add_codec(parser)
    add_printing(parser)


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Measure, write the report, print the tables."""
    from edgecomp.evaluation.job import evaluate
    from edgecomp.evaluation.plan import Request
    from edgecomp.evaluation.record import document
    from edgecomp.evaluation.results import ROW_NAMES

    request = Request(
        folder=arguments.folder,
        rows=tuple(arguments.rows or ROW_NAMES),
        limit=arguments.limit,
        context_models=tuple(map(Path, arguments.context_models)),
        **codec_options(arguments),
    )
    with progress_bar(wanted=console.wants_progress, unit="steps") as progress:
        evaluation = evaluate(
            request,
            report=_path(arguments.output),
            force=arguments.force,
            cache=_path(arguments.cache),
            progress=progress,
            warn=console.warning,
        )
    code = ExitCode.SKIPPED if evaluation.left_out else ExitCode.DONE
    console.notes(evaluation.left_out, "left out of every row")
    if console.json:
        extra = {"report": arguments.output, "exit_code": int(code)}
        console.document({**document(evaluation), **extra})
        return code
    _print_tables(evaluation, console)
    console.line(_sum(evaluation, arguments.output))
    return code


def _print_tables(evaluation: Evaluation, console: Console) -> None:
    from edgecomp.evaluation.tables import tables

    for made in tables(evaluation):
        console.line(made.title)
        for line in table([made.header, *made.rows], right=made.right):
            console.line("  " + line)
        for note in made.notes:
            console.line("  " + note)
        console.line("")
    for note in evaluation.notes:
        console.line(note[0].upper() + note[1:] + ".")


def _sum(evaluation: Evaluation, report: str | None) -> str:
    text = f"{evaluation.folder}: {plural(len(evaluation.pictures), 'picture')}"
    text += f", {evaluation.pixels / 1e6:.1f} megapixels, {plural(evaluation.cores, 'core')}"
    if evaluation.left_out:
        text += f", {len(evaluation.left_out)} left out"
    if report is None:
        return text
    folder = Path(report)
    figures = sorted(path.name for path in folder.glob("*.png"))
    return f"{text}; {', '.join([str(folder / 'index.html'), *figures])}"


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
