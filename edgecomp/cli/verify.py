"""``edgecomp verify``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from edgecomp.cli.options import (
    add_max_expansion,
    add_max_members,
    add_max_pixels,
    add_model,
    add_printing,
    add_threads,
    path_name,
)
from edgecomp.cli.printing import Console, plural, told
from edgecomp.cli.progress import progress_bar
from edgecomp.errors import ExitCode

if TYPE_CHECKING:
    from edgecomp.reports import VerifyReport

USAGE = "FILE [options]"
DESCRIPTION = """\
Reads every byte of an archive or an .edge file, decodes the symbols of every picture and compares
them with their checksums. Everything that is damaged is named. The file is not changed.
"""
EXAMPLES = """\
edgecomp verify photos.ecz
edgecomp verify photos.ecz --quick    # checksums of the bytes only
edgecomp verify photos.ecz --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``edgecomp verify``."""
    parser.add_argument(
        "file", metavar="FILE", type=path_name, help="an archive (*.ecz) or an .edge file"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="compare the checksums of the bytes and leave the symbols alone; needs no model",
    )
    add_model(parser, "the model that the pictures were made with, if it is none of edgecomp's")
    add_threads(parser)
    add_max_pixels(parser)
    add_max_members(parser)
    add_max_expansion(parser)
    add_printing(parser)


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Print what is damaged, and the sum of it."""
    from edgecomp.inspect import verify

    with progress_bar(wanted=console.wants_progress) as progress:
        report = verify(
            arguments.file,
            level="checksums" if arguments.quick else "full",
            model=arguments.model,
            threads=arguments.threads,
            max_pixels=arguments.max_pixels,
            max_members=arguments.max_members,
            max_expansion=arguments.max_expansion,
            progress=progress,
        )
    console.notes(report.unchecked, "not fully checked")
    code = ExitCode(report.exit_code)
    if console.json:
        console.document({**report.to_json(), "exit_code": int(code)})
    elif console.quiet:
        console.notes(report.damaged, "damaged")
    else:
        for note in report.damaged:
            console.line(told(note, "damaged"))
        console.line(_sum(report))
    return code


def _sum(report: VerifyReport) -> str:
    checked = f"{plural(report.members, 'file')} checked"
    if report.decoded:
        checked += f", {plural(report.decoded, 'picture')} decoded"
    if report.damaged:
        return f"{report.archive}: {checked}, {len(report.damaged)} damaged"
    if report.unchecked:
        left = plural(len(report.unchecked), "picture")
        return f"{report.archive}: {checked}, no damage found, {left} not fully checked"
    return f"{report.archive}: {checked}, no damage found"
