"""``edgecomp info``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from edgecomp.cli.options import add_max_members, add_model, add_printing, path_name
from edgecomp.cli.printing import Console, human_bytes, human_count, table
from edgecomp.errors import ExitCode

if TYPE_CHECKING:
    from edgecomp.reports import Info

USAGE = "FILE [options]"
DESCRIPTION = """\
Says what an archive or an .edge file is, what it holds, which model and coder made it, and what its
bytes are spent on. No picture is decoded.
"""
EXAMPLES = """\
edgecomp info photos.ecz
edgecomp info picture.edge --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``edgecomp info``."""
    parser.add_argument(
        "file", metavar="FILE", type=path_name, help="an archive (*.ecz) or an .edge file"
    )
    add_model(parser, "a model that is to be called by its name, besides those of edgecomp")
    add_max_members(parser)
    add_printing(parser, quiet=False)


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Print key and value, one a line."""
    from edgecomp.inspect import info

    report = info(arguments.file, model=arguments.model, max_members=arguments.max_members)
    code = ExitCode.DAMAGED if report.damaged else ExitCode.DONE
    console.notes(report.damaged, "damaged")
    if console.json:
        console.document({**report.to_json(), "exit_code": int(code)})
        return code
    for line in table([(f"{key}:", value) for key, value in _lines(report)]):
        console.line(line)
    return code


def _lines(report: Info) -> list[tuple[str, str]]:
    kind = "archive" if report.kind == "archive" else "one picture"
    lines = [("file", f"{report.path} ({kind})"), ("size", _bytes(report.bytes))]
    if report.kind == "archive":
        lines += [
            ("pictures", str(report.images)),
            ("kept pictures", str(report.verbatim)),
            ("other files", str(report.files)),
            ("empty folders", str(report.folders)),
        ]
    if report.images:
        lines += [
            ("pixels", human_count(report.pixels)),
            # What the damaged pictures take would count as the others'.
            ("bits per pixel", "-" if report.damaged else f"{report.bpp:.3f}"),
            ("models", ", ".join(f"{name or 'unknown'} ({i})" for i, name in report.models)),
            ("coders", ", ".join(report.coders)),
            ("symbols", _bytes(report.symbol_bytes)),
            ("metadata", _bytes(report.metadata_bytes)),
        ]
    if report.kind == "archive":
        lines.append(("kept files", _bytes(report.other_bytes)))
    overhead = _bytes(report.overhead_bytes)
    if report.images > 1 and not report.damaged:
        overhead += f", {report.overhead_per_image:.0f} a picture"
    lines.append(("overhead", overhead))
    return lines


def _bytes(count: int) -> str:
    return human_bytes(count) if count < 1000 else f"{human_bytes(count)} ({count} bytes)"
