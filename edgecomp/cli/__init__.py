"""The command line: parse, call the package, print.

``parser.py`` finds the command, one module a command says what its options are and what it prints,
and ``run.py`` turns every ending, good or bad, into a message and an exit code. Nothing heavy is
imported until a command needs it, so that ``--help`` answers at once.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (see `edgecomp.errors.ExitCode`).

    Args:
        argv: the words after the program's name; those of this process if left out.
    """
    from edgecomp.cli.run import run

    return run(argv)
