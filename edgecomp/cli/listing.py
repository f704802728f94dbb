"""``edgecomp list``."""

from __future__ import annotations

import argparse
import datetime
from typing import TYPE_CHECKING

from edgecomp.cli.options import add_max_members, add_model, add_printing, path_name
from edgecomp.cli.printing import Console, table
from edgecomp.errors import ExitCode

if TYPE_CHECKING:
    from edgecomp.reports import ListEntry

USAGE = "ARCHIVE [options]"
DESCRIPTION = """\
Lists what is in an archive: for each file its name, what it is kept as, the size of the picture,
the bytes that it takes, bits per pixel, the coder of its symbols, when it was last changed, and the
name that it comes back under. Nothing is decoded.
"""
EXAMPLES = """\
edgecomp list photos.ecz
edgecomp list photos.ecz --json
"""

_HEADER = ("name", "kind", "pixels", "bytes", "bpp", "coder", "modified", "restored as")
_KINDS = {"verbatim-picture": "kept picture"}
_NONE = "-"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``edgecomp list``."""
    parser.add_argument("archive", metavar="ARCHIVE", type=path_name, help="an archive (*.ecz)")
    add_model(parser, "a model that is to be called by its name, besides those of edgecomp")
    add_max_members(parser)
    add_printing(parser, quiet=False)


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Print the table; damage that can be seen without decoding is named."""
    from edgecomp.inspect import list_archive

    found = list_archive(
        arguments.archive, model=arguments.model, max_members=arguments.max_members
    )
    code = ExitCode(found.exit_code)
    console.notes(found.damaged, "damaged")
    if console.json:
        console.document({**found.to_json(), "exit_code": int(code)})
        return code
    for line in table([_HEADER, *(_row(entry) for entry in found.entries)], right=(2, 3, 4)):
        console.line(line)
    return code


def _row(entry: ListEntry) -> tuple[str, ...]:
    return (
        entry.name,
        _KINDS.get(entry.kind, entry.kind),
        _NONE if entry.width is None else f"{entry.width}x{entry.height}",
        str(entry.bytes),
        _NONE if entry.bpp is None else f"{entry.bpp:.3f}",
        entry.coder or _NONE,
        _time(entry.mtime_ns),
        "(damaged)" if entry.restored is None else entry.restored.rpartition("/")[2],
    )


def _time(mtime_ns: int | None) -> str:
    """Local time to the minute."""
    if mtime_ns is None:
        return _NONE
    try:
        time = datetime.datetime.fromtimestamp(mtime_ns // 1_000_000_000)
    except (OverflowError, OSError, ValueError):  # beyond what the calendar has
        return _NONE
    return time.isoformat(" ", "minutes")
