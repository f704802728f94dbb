"""What the words on the command line stand for: standard streams, folders, pictures, archives."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from edgecomp.constants import ARCHIVE_SUFFIX, CODESTREAM_MAGIC, CODESTREAM_SUFFIX
from edgecomp.errors import UsageError

STANDARD_STREAM = "-"


def makes_archive(sources: Sequence[str], output: str | None) -> bool:
    """Whether `compress` is to make an archive, and not the codestream of one picture.

    Raises:
        UsageError: the sources and the output contradict each other.
    """
    if STANDARD_STREAM in sources:
        if len(sources) > 1:
            raise UsageError("- (standard input) is one picture and must be the only source")
        if _is_archive_name(output):
            raise UsageError(
                "standard input has no file name to keep in an archive; "
                f"give -o NAME{CODESTREAM_SUFFIX}, or no -o for standard output"
            )
        return False
    folder = any(os.path.isdir(source) or _ends_in_separator(source) for source in sources)
    if len(sources) == 1 and not folder:
        return _is_archive_name(output)
    what = "several sources" if len(sources) > 1 else "a folder"
    if output is None and len(sources) > 1:
        raise UsageError(f"several sources need a name: give -o NAME{ARCHIVE_SUFFIX}")
    if output == STANDARD_STREAM:
        raise UsageError(
            f"standard output takes one picture; for {what} give -o NAME{ARCHIVE_SUFFIX}"
        )
    if output is not None and output.lower().endswith(CODESTREAM_SUFFIX):
        raise UsageError(
            f"{output}: holds one picture; for {what} give -o NAME{ARCHIVE_SUFFIX}", path=output
        )
    return True


def holds_one_picture(path: str) -> bool:
    """Whether `decompress` is given one picture's codestream; its first bytes tell, not its name.

    What cannot be read is judged by its name: whoever opens it next says what is wrong with it.
    """
    if path == STANDARD_STREAM:
        return True
    try:
        # Opening a pipe or a device could wait for ever, and would take the bytes away.
        if stat.S_ISREG(os.stat(path).st_mode):
            with open(path, "rb") as file:
                start = file.read(len(CODESTREAM_MAGIC))
            if start:
                return start == CODESTREAM_MAGIC
    except OSError:
        pass
    return path.lower().endswith(CODESTREAM_SUFFIX)


def within_folder(output: str | None, name: str) -> str | None:
    """`output`, or the file called `name` in it where `output` is a folder that exists."""
    if output is None or output == STANDARD_STREAM:
        return output
    if os.path.isdir(output) or _ends_in_separator(output):
        return os.path.join(output, name)
    return output


def default_name(source: str, suffix: str) -> str:
    """The name of `source`, without folders, its suffix exchanged; of a folder, lengthened."""
    if source == STANDARD_STREAM:
        return "picture" + suffix
    path = Path(source)
    if path.is_dir():
        return path.resolve().name + suffix
    return path.with_suffix(suffix).name


def standard_input() -> BinaryIO:
    """Standard input as bytes.

    Raises:
        UsageError: it is the keyboard, or closed.
    """
    if sys.stdin is None:
        raise UsageError("standard input is closed")
    if sys.stdin.isatty():
        raise UsageError("standard input is a terminal; redirect a file to it: < FILE")
    return sys.stdin.buffer


def standard_output() -> BinaryIO:
    """Standard output as bytes.

    Raises:
        UsageError: it is a screen, or closed.
    """
    if sys.stdout is None:
        raise UsageError("standard output is closed")
    if sys.stdout.isatty():
        raise UsageError("a picture's bytes are not for a terminal; redirect them: > FILE")
    return sys.stdout.buffer


def _is_archive_name(output: str | None) -> bool:
    return output is not None and output.lower().endswith(ARCHIVE_SUFFIX)


def _ends_in_separator(path: str) -> bool:
    return path.endswith(os.sep) or (os.altsep is not None and path.endswith(os.altsep))
