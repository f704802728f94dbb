"""``edgecomp decompress``."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from edgecomp.cli.options import (
    add_codec,
    add_max_expansion,
    add_max_members,
    add_printing,
    codec_options,
    path_name,
    pattern,
)
from edgecomp.cli.paths import (
    STANDARD_STREAM,
    default_name,
    holds_one_picture,
    standard_input,
    standard_output,
    within_folder,
)
from edgecomp.cli.printing import Console
from edgecomp.cli.progress import progress_bar
from edgecomp.cli.summary import figures, finish
from edgecomp.constants import OUTPUT_FORMATS
from edgecomp.errors import ExitCode, ModelError, UsageError

if TYPE_CHECKING:
    from edgecomp.decompress import DecompressSummary

USAGE = "ARCHIVE [-o DIR] [options]"
DESCRIPTION = """\
Restores what 'edgecomp compress' made: an archive gives a folder, an .edge file gives a picture.
Pictures come back as PNG files unless --format says otherwise; other files, folders, names and
times come back as they were. What is damaged is named and left out, the rest is restored.

Without -o: photos.ecz gives photos/, picture.edge gives picture.png.
"""
EXAMPLES = """\
edgecomp decompress photos.ecz
edgecomp decompress photos.ecz -o back/ --format jpeg
edgecomp decompress photos.ecz --only 'summer/*'
edgecomp decompress picture.edge -o picture.webp
edgecomp decompress - < picture.edge > picture.png
"""

_DEFAULT_FORMAT = "png"
# Suffixes that stand for a format besides those that the formats are written with.
_OTHER_SUFFIXES = {".jpeg": "jpeg", ".tiff": "tiff"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``edgecomp decompress``."""
    parser.add_argument(
        "source",
        metavar="ARCHIVE",
        type=path_name,
        help="an archive (*.ecz) or an .edge file; - is an .edge file from standard input",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        type=path_name,
        help="the folder to restore into or, for an .edge file, the picture; - is standard output",
    )
    parser.add_argument(
        "--format",
        type=_format_name,
        choices=tuple(OUTPUT_FORMATS),
        help="what pictures are written as (default: png, or what the output's name says)",
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        type=pattern,
        metavar="GLOB",
        help="only what matches by its name in the archive (in quotes; may be repeated)",
    )
    parser.add_argument(
        "--salvage",
        action="store_true",
        help="restore what is whole of damaged pictures, as NAME.partial.png, with lost tiles grey",
    )
    parser.add_argument("--force", action="store_true", help="replace files that are there already")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on from an interrupted run: files that it has restored are left as they are",
    )
    group = add_codec(parser)
    add_max_members(group)
    add_max_expansion(group)
    add_printing(parser)


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Restore and print how it went."""
    one = holds_one_picture(arguments.source)
    summary = _picture(arguments, console) if one else _archive(arguments, console)
    console.notes(summary.damaged, "damaged")
    console.notes(summary.skipped, "skipped")
    console.notes(summary.renamed, "restored as", mild=True)
    # Of pictures only: other files, and members that were not chosen, take bytes without pixels.
    left_out = arguments.only or summary.skipped or summary.damaged
    whole = summary.images == summary.files and not left_out
    bits = 8 * summary.bytes_in / summary.pixels if whole and summary.pixels else None
    text = f"{summary.output}: {figures(summary, bits)}"
    if summary.unchanged:
        text += f" ({summary.unchanged} already there)"
    finish(summary, console, text)
    return ExitCode(summary.exit_code)


def _archive(arguments: argparse.Namespace, console: Console) -> DecompressSummary:
    from edgecomp.decompress import decompress_folder

    if arguments.output == STANDARD_STREAM:
        raise UsageError("standard output takes one picture; for an archive give -o DIR")
    try:
        with progress_bar(wanted=console.wants_progress) as progress:
            return decompress_folder(
                arguments.source,
                arguments.output,
                format=arguments.format or _DEFAULT_FORMAT,
                only=tuple(arguments.only),
                salvage=arguments.salvage,
                force=arguments.force,
                resume=arguments.resume,
                max_members=arguments.max_members,
                max_expansion=arguments.max_expansion,
                progress=progress,
                **codec_options(arguments),
            )
    except ModelError as problem:
        problem.path = problem.path or arguments.source
        raise


def _picture(arguments: argparse.Namespace, console: Console) -> DecompressSummary:
    from edgecomp.single import decompress_picture  # all that one picture needs

    if arguments.only:
        raise UsageError("--only chooses from an archive; this is one picture")
    if arguments.resume:
        raise UsageError("--resume is for archives; this is one picture")
    source, output = arguments.source, arguments.output
    to_stdout = output == STANDARD_STREAM or (output is None and source == STANDARD_STREAM)
    console.data_on_stdout = to_stdout
    if to_stdout and console.json:
        raise UsageError("--json and the picture cannot both go to standard output; give -o FILE")
    format = _format_of(None if to_stdout else output, arguments.format)
    output = within_folder(output, default_name(source, OUTPUT_FORMATS[format]))
    with progress_bar(wanted=console.wants_progress) as progress:
        return decompress_picture(
            standard_input() if source == STANDARD_STREAM else source,
            standard_output() if to_stdout else output,
            format=format,
            salvage=arguments.salvage,
            force=arguments.force,
            progress=progress,
            **codec_options(arguments),
        )


def _format_name(text: str) -> str:
    """The value of ``--format``, by any of its usual names."""
    name = text.lower()
    return _OTHER_SUFFIXES.get(f".{name}", {"jpg": "jpeg", "tif": "tiff"}.get(name, name))


def _format_of(output: str | None, asked: str | None) -> str:
    """The format to write one picture in: what was asked for, else what its name says."""
    if output is None or os.path.isdir(output):
        return asked or _DEFAULT_FORMAT
    by_suffix = {suffix: name for name, suffix in OUTPUT_FORMATS.items()} | _OTHER_SUFFIXES
    suffix = os.path.splitext(output)[1].lower()
    named = by_suffix.get(suffix)
    if asked is None and named is None and suffix:
        known = " ".join(by_suffix)
        raise UsageError(
            f"{output}: no picture format is called {suffix} (known: {known}); give --format",
            path=output,
        )
    if asked is not None and named is not None and asked != named:
        raise UsageError(f"{output}: the name says {named}, --format says {asked}", path=output)
    return asked or named or _DEFAULT_FORMAT
