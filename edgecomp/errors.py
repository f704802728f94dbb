"""Every exception that edgecomp raises on purpose, and the exit code of each.

::

    EdgecompError                        1
    ├── UsageError                       2   the call contradicts itself
    ├── SourceError                      1   a source is missing or cannot be read
    ├── OutputExistsError                1   the output is there and force was not given
    ├── OutputError                      1   the output cannot be written (disk full, no permission)
    ├── UnsupportedPictureError          1   a picture that the codec cannot represent
    ├── BackendUnavailableError          1   the backend's package is not installed
    ├── ClusterError                     1   a cluster is not there, or does not fit
    ├── LimitError                       1   a limit on pixels, members or memory was met
    ├── ModelError                       5
    │   ├── ModelNotFoundError           5   no such model, or the file names one that is not here
    │   └── ModelDamagedError            5   a model file is missing or its hash is wrong
    └── FormatError                      4
        ├── NotEdgecompError             1   neither an archive nor a codestream
        ├── UnsupportedVersionError      4   made by a newer edgecomp
        └── CorruptDataError             4   damaged: a length, a checksum or a value is wrong

Messages name what the error is about; ``path`` repeats it for programs.
"""

from __future__ import annotations

import re
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the command line: the one table."""

    DONE = 0
    FATAL = 1
    USAGE = 2
    SKIPPED = 3
    DAMAGED = 4
    MODEL = 5
    INTERRUPTED = 130
    TERMINATED = 143

    @property
    def meaning(self) -> str:
        """One line for the help text and for docs."""
        return _MEANING[self]


_MEANING: dict[ExitCode, str] = {
    ExitCode.DONE: "done",
    ExitCode.FATAL: "nothing was done (missing source, existing output, unrecognisable archive)",
    ExitCode.USAGE: "the command line is wrong",
    ExitCode.SKIPPED: "done, but some inputs were skipped (each is named)",
    ExitCode.DAMAGED: "the archive is damaged: partly restored, or found so by verify",
    ExitCode.MODEL: "the model is missing, does not match, or computes something else (doctor)",
    ExitCode.INTERRUPTED: "interrupted (Ctrl-C); nothing was left but what --resume goes on from",
    ExitCode.TERMINATED: "terminated; nothing was left but what --resume goes on from",
}


class EdgecompError(Exception):
    """Base of all errors raised on purpose.

    Args:
        message: what went wrong, in words for the user.
        path: the file or archive member that it concerns, if any.
    """

    exit_code: ExitCode = ExitCode.FATAL

    def __init__(self, message: str, *, path: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.path = path

    def __str__(self) -> str:
        if self.path is None or self._message_names_path():
            return self.message
        return f"{self.path}: {self.message}"

    def _message_names_path(self) -> bool:
        """Whether the path stands in the message as a word of its own ("f" is in "file" only)."""
        return re.search(rf"(?<!\w){re.escape(self.path or '')}(?!\w)", self.message) is not None


class UsageError(EdgecompError):
    """The call or the command line contradicts itself."""

    exit_code = ExitCode.USAGE


class SourceError(EdgecompError):
    """A source is missing or cannot be read."""


class OutputExistsError(EdgecompError):
    """The output exists and overwriting was not asked for."""


class OutputError(EdgecompError):
    """The output cannot be written."""


class UnsupportedPictureError(EdgecompError):
    """A picture that the codec cannot represent, or a file that is no picture."""


class BackendUnavailableError(EdgecompError):
    """The package that a backend needs is not installed."""


class ClusterError(EdgecompError):
    """A cluster cannot be reached, is lost, or has workers that would make other bytes."""


class LimitError(EdgecompError):
    """A limit on pixels, members or memory was met."""


class ModelError(EdgecompError):
    """A model is missing, damaged, or not the one that a file was made with."""

    exit_code = ExitCode.MODEL


class ModelNotFoundError(ModelError):
    """No such model, or a file names a model that is not here."""


class ModelDamagedError(ModelError):
    """A file of the model is missing, malformed, or its hash is wrong."""


class FormatError(EdgecompError):
    """The bytes are not a well-formed file of this version."""

    exit_code = ExitCode.DAMAGED


class NotEdgecompError(FormatError):
    """Neither an edgecomp archive nor a codestream."""

    exit_code = ExitCode.FATAL


class UnsupportedVersionError(FormatError):
    """Made by a newer edgecomp: unknown version, coder or mandatory flag."""


class CorruptDataError(FormatError):
    """Damaged bytes: a length, a checksum or a value is wrong."""
