"""``edgecomp repair``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from edgecomp.cli.options import (
    add_max_expansion,
    add_max_members,
    add_printing,
    add_threads,
    path_name,
)
from edgecomp.cli.paths import within_folder
from edgecomp.cli.printing import Console, human_bytes, human_seconds, plural
from edgecomp.cli.progress import progress_bar
from edgecomp.errors import ExitCode

if TYPE_CHECKING:
    from edgecomp.reports import RepairSummary

USAGE = "ARCHIVE [-o OUT] [options]"
DESCRIPTION = """\
Writes a new archive of everything that is whole in a damaged one: cut short, with bytes changed,
missing or added, or left by a run that was killed. What is lost is named. The damaged archive stays
as it is; keep it if pictures are lost, since 'edgecomp decompress --salvage' may still restore
parts of them. If nothing is damaged, nothing is written.

Without -o: photos.ecz gives photos.repaired.ecz.
"""
EXAMPLES = """\
edgecomp repair photos.ecz
edgecomp repair photos.ecz -o whole.ecz
edgecomp repair photos.ecz.partial-4711-0a1b2c3d -o photos.ecz
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``edgecomp repair``."""
    parser.add_argument(
        "archive", metavar="ARCHIVE", type=path_name, help="a damaged archive (*.ecz)"
    )
    parser.add_argument(
        "-o", "--output", metavar="OUT", type=path_name, help="the new archive (*.ecz)"
    )
    parser.add_argument(
        "--force", action="store_true", help="replace the output if it is there already"
    )
    group = parser.add_argument_group("how the work is done")
    add_threads(group)
    add_max_members(group)
    add_max_expansion(group)
    add_printing(parser)


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Repair, and print what came of it."""
    from edgecomp.repair import default_output, repair

    output = within_folder(arguments.output, default_output(arguments.archive).name)
    with progress_bar(wanted=console.wants_progress) as progress:
        summary = repair(
            arguments.archive,
            output,
            threads=arguments.threads,
            force=arguments.force,
            max_members=arguments.max_members,
            max_expansion=arguments.max_expansion,
            progress=progress,
        )
    console.notes(summary.damaged, "damaged")
    console.notes(summary.lost, "lost")
    console.notes(summary.mended, "mended")
    console.notes(summary.skipped, "skipped")
    code = ExitCode(summary.exit_code)
    if console.json:
        console.document({**summary.to_json(), "exit_code": int(code)})
    else:
        console.line(_final_line(summary))
    return code


def _final_line(summary: RepairSummary) -> str:
    contents = f"{plural(summary.members, 'file')}, {plural(summary.images, 'picture')}"
    if summary.output is None:
        return f"{summary.archive}: {contents}; no damage found, nothing was written"
    text = f"{summary.output}: {contents}, {human_bytes(summary.bytes_out)} out"
    text += f", {human_seconds(summary.seconds)}"
    if summary.lost:
        text += f"; {plural(len(summary.lost), 'file')} lost"
    elif not summary.complete:
        text += "; others may be lost"
    return text
