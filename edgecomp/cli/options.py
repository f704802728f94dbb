"""Options that several commands share, and the checks of their values."""

from __future__ import annotations

import argparse
import math
from typing import Any

from edgecomp.constants import (
    BACKENDS,
    DEFAULT_MAX_EXPANSION,
    DEFAULT_MAX_MEMBERS,
    DEFAULT_MAX_PIXELS,
    MAX_THREADS,
    PRECISIONS,
)

_MEGA = 1_000_000
_GIBI = 1 << 30


def add_printing(parser: argparse.ArgumentParser, *, quiet: bool = True) -> None:
    """``--json``, ``--quiet`` and ``-v``."""
    group = parser.add_argument_group("printing")
    group.add_argument(
        "--json",
        action="store_true",
        help="print one JSON document on standard output, also for errors, and nothing else there",
    )
    if quiet:
        group.add_argument(
            "--quiet",
            action="store_true",
            help="no progress bar and no final line; only what was lost or went wrong",
        )
    group.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="every warning, however many, and details of unexpected errors",
    )


def add_codec(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """``--threads``, ``--backend``, ``--precision``, ``--model``, ``--max-pixels``; their group."""
    group = parser.add_argument_group("how the work is done")
    add_threads(group)
    group.add_argument(
        "--backend",
        choices=BACKENDS,
        default="onnx",
        help="what runs the network (default: %(default)s; the other needs TensorFlow)",
    )
    group.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="int8 gives the same pixels on every machine, and is the quickest on most; fp32 is on "
        "some older ARM boards. auto is what 'edgecomp doctor' found quickest here, else int8 "
        "(default: %(default)s)",
    )
    add_model(group, "an exported model instead of those that come with edgecomp")
    add_max_pixels(group)
    return group


def add_threads(parser: argparse._ActionsContainer) -> None:
    """``--threads``."""
    parser.add_argument(
        "--threads",
        type=threads,
        metavar="N",
        help="files worked on side by side (default: the cores that this process may use)",
    )


def add_model(parser: argparse._ActionsContainer, text: str) -> None:
    """``--model``; `text` says what for."""
    parser.add_argument("--model", metavar="DIR", type=folder_name, help=text)


def add_max_pixels(parser: argparse._ActionsContainer) -> None:
    """``--max-pixels``."""
    parser.add_argument(
        "--max-pixels",
        type=megapixels,
        default=DEFAULT_MAX_PIXELS,
        metavar="MP",
        help="largest picture that is worked on, in millions of pixels (default: "
        f"{DEFAULT_MAX_PIXELS // _MEGA})",
    )


def add_max_members(parser: argparse._ActionsContainer) -> None:
    """``--max-members``."""
    parser.add_argument(
        "--max-members",
        type=positive,
        default=DEFAULT_MAX_MEMBERS,
        metavar="N",
        help="most files that an archive may have (default: %(default)s)",
    )


def add_max_expansion(parser: argparse._ActionsContainer) -> None:
    """``--max-expansion``."""
    parser.add_argument(
        "--max-expansion",
        type=gibibytes,
        default=DEFAULT_MAX_EXPANSION,
        metavar="GIB",
        help="most that files may take together which an archive holds in less than a thousandth "
        f"of their size, in GiB (default: {DEFAULT_MAX_EXPANSION // _GIBI})",
    )


def codec_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The values of `add_codec`'s options, as the package's functions take them."""
    return {
        "backend": arguments.backend,
        "model": arguments.model,
        "precision": arguments.precision,
        "threads": arguments.threads,
        "max_pixels": arguments.max_pixels,
    }


def threads(text: str) -> int:
    """The value of ``--threads``."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 1 <= number <= MAX_THREADS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a whole number between 1 and {MAX_THREADS}"
        )
    return number


def positive(text: str) -> int:
    """A number of things: 1 or more."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def megapixels(text: str) -> int:
    """The value of ``--max-pixels``, as a number of pixels."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or round(number * _MEGA) < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of millions of pixels, such as 50 or 0.5"
        )
    return round(number * _MEGA)


def gibibytes(text: str) -> int:
    """The value of ``--max-expansion``, as a number of bytes."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of GiB, such as 20 or 0.5")
    return round(number * _GIBI)


def pattern(text: str) -> str:
    """The value of ``--include``, ``--exclude`` or ``--only``."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the pattern is empty")
    if "\0" in text:
        raise argparse.ArgumentTypeError("the pattern contains a zero byte")
    if not _brackets_close(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} has a '[' that is never closed (write '[[]' for the bracket itself)"
        )
    return text


def _brackets_close(text: str) -> bool:
    at = text.find("[")
    while at >= 0:
        first = at + (2 if text[at + 1 : at + 2] == "!" else 1)
        end = text.find("]", first + 1)  # a ']' that comes first stands for itself
        if end < 0:
            return False
        at = text.find("[", end + 1)
    return True


def folder_name(text: str) -> str:
    """The value of ``--model``: a name at least; what is in it the model loader judges."""
    if not text:
        raise argparse.ArgumentTypeError("the name of the folder is empty")
    return text


def path_name(text: str) -> str:
    """The name of a file or folder: not empty and not impossible."""
    if not text:
        raise argparse.ArgumentTypeError("the name is empty")
    if "\0" in text:
        raise argparse.ArgumentTypeError("the name contains a zero byte")
    return text
