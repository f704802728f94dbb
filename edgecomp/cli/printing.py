"""What the user reads: lines, tables, JSON, and names made safe for a terminal."""

from __future__ import annotations

import errno
import json
import math
import os
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TextIO

from edgecomp.errors import OutputError

if TYPE_CHECKING:
    from edgecomp.names import Note

# Warnings of one kind that are printed one by one without -v.
MAX_WARNINGS = 20

_JOINERS = "\u200c\u200d"  # invisible, but part of how some scripts and emoji are spelt
_UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_SHORT_ESCAPES = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def safe(text: str) -> str:
    """`text` on one line, with whatever could fool a terminal or cannot be encoded escaped."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(char) if _is_unsafe(char) else char for char in text)


def _is_unsafe(char: str) -> bool:
    return unicodedata.category(char) in _UNSAFE and char not in _JOINERS


def _escape(char: str) -> str:
    if char in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[char]
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is not UTF-8
        code -= 0xDC00
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def human_bytes(count: int) -> str:
    """A number of bytes in the decimal units that disks are sold in."""
    if count < 1000:
        return f"{count} B"
    value = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.5 or unit == "TB":
            break
    return f"{_three_digits(value)} {unit}"


def human_count(count: int) -> str:
    """A large number, in thousands (k), millions (M) or milliards (G)."""
    value = float(count)
    for unit in ("", " k", " M", " G"):
        if value < 999.5 or unit == " G":
            break
        value /= 1000
    return f"{value:.0f}" if unit == "" else f"{_three_digits(value)}{unit}"


def _three_digits(value: float) -> str:
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def human_seconds(seconds: float) -> str:
    """A time: ``4.2 s``, ``3 min 07 s``, ``2 h 05 min``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def plural(count: int, one: str, many: str | None = None) -> str:
    """``1 picture``, ``2 pictures``."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def to_plain(value: Any) -> Any:
    """`value` as JSON can hold it: paths become text, numbers that JSON lacks become null."""
    if isinstance(value, Mapping):
        return {str(key): to_plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_plain(entry) for entry in value]
    if isinstance(value, bytes | bytearray):
        return bytes(value).hex()
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def table(rows: Sequence[Sequence[str]], *, right: Iterable[int] = ()) -> list[str]:
    """Rows as aligned lines; the columns whose numbers are in `right` are set flush right."""
    cells = [[safe(cell) for cell in row] for row in rows]
    if not cells:
        return []
    widths = [max(_width(row[i]) for row in cells) for i in range(len(cells[0]))]
    flush_right = set(right)
    lines = []
    for row in cells:
        padded = []
        for i, cell in enumerate(row):
            space = " " * (widths[i] - _width(cell))
            padded.append(space + cell if i in flush_right else cell + space)
        lines.append("  ".join(padded).rstrip())
    return lines


def _width(text: str) -> int:
    """Columns that `text` takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0
        if unicodedata.combining(char) or char in _JOINERS
        else 2
        if unicodedata.east_asian_width(char) in "WF"
        else 1
        for char in text
    )


def told(note: Note, what: str) -> str:
    """One line about a file: its name, what became of it, why."""
    if note.reason.startswith(f"is {what}"):
        return f"{note.path}: {note.reason}"
    return f"{note.path}: {what}: {note.reason}"


class Console:
    """Where a command prints: results on standard output, everything else on standard error.

    A reader that goes away (``edgecomp list x.ecz | head -1``) is no error: what would still be
    printed is dropped, and the command's exit code stays what it is.

    Args:
        json: results are one JSON document; ordinary lines are not printed.
        quiet: no ordinary lines, only what was lost or went wrong.
        verbose: every warning and, for errors that nobody foresaw, the traceback.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False, verbose: bool = False) -> None:
        self.json = json
        self.quiet = quiet
        self.verbose = verbose
        self.data_on_stdout = False
        """The result itself goes to standard output, so lines for people must not."""

    @property
    def wants_progress(self) -> bool:
        """Whether a progress bar may be shown where there is a terminal for it."""
        return not (self.json or self.quiet)

    def line(self, text: str) -> None:
        """One line of the result."""
        if self.json or self.quiet:
            return
        self._write(sys.stderr if self.data_on_stdout else sys.stdout, safe(text))

    def document(self, content: Mapping[str, Any]) -> None:
        """The one JSON document."""
        text = json.dumps(to_plain(content), ensure_ascii=True, allow_nan=False, indent=2)
        self._write(sys.stdout, text)

    def warning(self, text: str) -> None:
        """Something that the user ought to act upon, also with ``--quiet``."""
        self._write(sys.stderr, f"edgecomp: warning: {safe(text)}")

    def error(self, text: str) -> None:
        """Why the command ended."""
        self._write(sys.stderr, f"edgecomp: error: {safe(text)}")

    def stopped(self, word: str) -> None:
        """The command was ended from outside."""
        if sys.stderr is not None and is_terminal(sys.stderr):
            # The terminal has just shown ^C. Consoles of Windows may not know the word for it.
            sys.stderr.write("\r" if sys.platform == "win32" else "\r\x1b[K")
        self._write(sys.stderr, f"edgecomp: {word}")

    def details(self, text: str) -> None:
        """Several lines on standard error (a traceback)."""
        for line in text.splitlines():
            self._write(sys.stderr, safe(line))

    def notes(self, notes: Sequence[Note], what: str, *, mild: bool = False) -> None:
        """A warning for each of `notes`; the first few and a count if they are many.

        Args:
            notes: files with a reason each.
            what: what happened to them, as in ``kept as it is``.
            mild: nothing was lost, so ``--quiet`` leaves them out.
        """
        if mild and self.quiet:
            return
        shown = notes if self.verbose else notes[:MAX_WARNINGS]
        for note in shown:
            self.warning(told(note, what))
        if len(shown) < len(notes):
            rest = plural(len(notes) - len(shown), "other file")
            self.warning(f"{rest} {what} as well; -v names all of them")

    @staticmethod
    def _write(stream: TextIO | None, text: str) -> None:
        if stream is None:  # started without it, as a service may be
            return
        encoding = stream.encoding or "utf-8"
        encodable = text.encode(encoding, "backslashreplace").decode(encoding)
        try:
            stream.write(encodable + "\n")
        except OSError as problem:
            _give_up(stream, problem)

    @staticmethod
    def close() -> None:
        """Write out what is buffered, so that a failure shows before the process ends."""
        for stream in (sys.stdout, sys.stderr):
            if stream is None:
                continue
            try:
                stream.flush()
            except OSError as problem:
                _give_up(stream, problem)


def is_terminal(stream: TextIO) -> bool:
    """Whether `stream` is a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _give_up(stream: TextIO, problem: OSError) -> None:
    """Nothing more can be written to `stream`: an error unless its reader just went away."""
    abandon(stream)
    if stream is sys.stdout and not is_reader_gone(problem):
        raise OutputError(problem.strerror or str(problem), path="standard output") from problem


def is_reader_gone(problem: BaseException, system: str = sys.platform) -> bool:
    """Whether an error means that nobody reads any more what is written to a pipe."""
    if isinstance(problem, BrokenPipeError):
        return True
    # Python on Windows says this of a pipe that is closed at its other end.
    said = problem.errno if isinstance(problem, OSError) else None
    return system == "win32" and said == errno.EINVAL


def abandon(stream: TextIO) -> None:
    """Send the rest of what is written to `stream` nowhere."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):  # not a real file: nothing to redirect
        pass
