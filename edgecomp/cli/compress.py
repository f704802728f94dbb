"""``edgecomp compress``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecomp.cli.options import (
    add_codec,
    add_max_members,
    add_printing,
    codec_options,
    path_name,
    pattern,
)
from edgecomp.cli.paths import (
    STANDARD_STREAM,
    default_name,
    makes_archive,
    standard_input,
    standard_output,
    within_folder,
)
from edgecomp.cli.printing import Console
from edgecomp.cli.progress import progress_bar
from edgecomp.cli.summary import contents, figures, finish
from edgecomp.constants import (
    ARCHIVE_SUFFIX,
    CODER_NAMES,
    CODESTREAM_SUFFIX,
    DEFAULT_QUALITY,
    QUALITIES,
)
from edgecomp.errors import ExitCode, UnsupportedPictureError, UsageError

if TYPE_CHECKING:
    from edgecomp.compress import CompressSummary

USAGE = "SRC... [-o OUT] [-q A|B|C] [options]"
DESCRIPTION = """\
Compresses pictures. Folders, several sources, or an output called *.ecz make an archive: every
picture in it becomes small, every other file is kept unchanged, and folders, names and times come
back. One picture makes one .edge file. The sources are never changed.

Without -o: photos/ gives photos.ecz, picture.jpg gives picture.edge.
"""
EXAMPLES = """\
edgecomp compress photos/
edgecomp compress photos/ -q A -o small.ecz       # the smallest files
edgecomp compress photos/ --update                # only what is new or changed
edgecomp compress photos/ --resume                # goes on from where it was interrupted
edgecomp compress a.png b.png trip/ -o all.ecz
edgecomp compress camera/ --include '*.jpg' --exclude 'private/*'
edgecomp compress picture.jpg                     # makes picture.edge
edgecomp compress - < picture.png > picture.edge
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``edgecomp compress``."""
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SRC",
        type=path_name,
        help="a folder or a picture; - is one picture from standard input",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        type=path_name,
        help="the archive (*.ecz) or, for one picture, the .edge file; - is standard output",
    )
    parser.add_argument(
        "-q",
        "--quality",
        type=str.upper,
        choices=QUALITIES,
        default=DEFAULT_QUALITY,
        help="A is the smallest, C the closest to the original (default: %(default)s)",
    )
    parser.add_argument(
        "--force", action="store_true", help="replace the output if it is there already"
    )
    parser.add_argument(
        "--update",
        action="store_true",
        help="if the archive is there already, compress only what is new or has changed since; "
        "what is no longer among the sources stays in it",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on from what an interrupted run has left beside the archive, and leave what is "
        "done if this run is interrupted; the archive is that of an unbroken run to the byte",
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="decode every picture once more before the archive gets its name",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be done and write nothing"
    )
    which = parser.add_argument_group("which files of a folder")
    which.add_argument(
        "--include",
        action="append",
        default=[],
        type=pattern,
        metavar="GLOB",
        help="only files whose path matches, such as '*.jpg' (in quotes; may be repeated)",
    )
    which.add_argument(
        "--exclude",
        action="append",
        default=[],
        type=pattern,
        metavar="GLOB",
        help="no files or folders whose path matches (may be repeated)",
    )
    how = add_codec(parser)
    add_max_members(how)
    how.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="let the workers of a Dask cluster code the pictures, to the same bytes: the address "
        "of its scheduler, such as tcp://host:8786 (docs/fleet.md)",
    )
    parser.add_argument(
        "--coder",
        choices=CODER_NAMES,
        help="how symbols become bytes: 'context' makes the smallest files and is the default where"
        " the model has parameters for it, 'lzma' works with every model",
    )
    add_printing(parser)


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Compress and print how it went."""
    archive = makes_archive(arguments.sources, arguments.output)
    summary = _archive(arguments, console) if archive else _picture(arguments, console)
    console.notes(summary.verbatim, "kept as it is", mild=True)
    console.notes(summary.coded_here, "coded here", mild=True)
    console.notes(summary.skipped, "skipped")
    finish(summary, console, _final_line(summary, dry_run=arguments.dry_run))
    return ExitCode(summary.exit_code)


def _final_line(summary: CompressSummary, *, dry_run: bool) -> str:
    if dry_run:
        return f"would make {summary.archive}: {contents(summary)}, nothing was written"
    text = f"{summary.archive}: {figures(summary, summary.bpp if summary.pixels else None)}"
    taken_over = [
        f"{count} {what}"
        for count, what in ((summary.unchanged, "unchanged"), (summary.resumed, "resumed"))
        if count
    ]
    if taken_over:
        text += f" ({', '.join(taken_over)})"
    return text


def _archive(arguments: argparse.Namespace, console: Console) -> CompressSummary:
    from edgecomp.compress import compress_folder, default_archive
    from edgecomp.earlier_runs import unfinished_beside

    output = arguments.output
    if len(arguments.sources) == 1:
        output = within_folder(output, default_name(arguments.sources[0], ARCHIVE_SUFFIX))
    if not arguments.resume:
        target = default_archive(arguments.sources) if output is None else output
        for name in unfinished_beside(Path(target)):
            console.warning(f"{name}: left by a run that was killed; --resume goes on from it")
    with progress_bar(wanted=console.wants_progress) as progress:
        return compress_folder(
            arguments.sources,
            output,
            progress=progress,
            dask=arguments.dask,
            **_options(arguments),
        )


def _picture(arguments: argparse.Namespace, console: Console) -> CompressSummary:
    from edgecomp.single import compress_picture  # all that one picture needs

    if arguments.dask is not None:
        raise UsageError(
            f"--dask is for archives (-o NAME{ARCHIVE_SUFFIX}); a single picture is coded here"
        )
    (source,) = arguments.sources
    output = within_folder(arguments.output, default_name(source, CODESTREAM_SUFFIX))
    to_stdout = output == STANDARD_STREAM or (output is None and source == STANDARD_STREAM)
    console.data_on_stdout = to_stdout
    if to_stdout and console.json:
        raise UsageError("--json and the picture cannot both go to standard output; give -o FILE")
    try:
        with progress_bar(wanted=console.wants_progress) as progress:
            return compress_picture(
                standard_input() if source == STANDARD_STREAM else source,
                standard_output() if to_stdout else output,
                progress=progress,
                **_options(arguments),
            )
    except UnsupportedPictureError as problem:
        problem.message += f" (an archive, -o NAME{ARCHIVE_SUFFIX}, keeps any file)"
        raise


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "quality": arguments.quality,
        "coder": arguments.coder,
        "include": tuple(arguments.include),
        "exclude": tuple(arguments.exclude),
        "update": arguments.update,
        "resume": arguments.resume,
        "verify": arguments.verify,
        "force": arguments.force,
        "dry_run": arguments.dry_run,
        "max_members": arguments.max_members,
        **codec_options(arguments),
    }
