"""Runs one command: every ending becomes a message and an exit code."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Sequence

from edgecomp.cli.libraries import quiet_libraries
from edgecomp.cli.printing import Console, abandon
from edgecomp.cli.signals import Terminated, stop_signals
from edgecomp.errors import EdgecompError, ExitCode, OutputError

_FORCE = re.compile(r"(?<!-)\bforce overwrites")
_NO_MEMORY = "not enough memory; fewer threads need less (--threads 1), and so do smaller pictures"


def run(argv: Sequence[str] | None = None) -> int:
    """Parse `argv`, run the command, print how it ended; the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    # Errors of the parser come before there are parsed options, and are to be JSON too.
    console = Console(json="--json" in words, verbose="-v" in words or "--verbose" in words)
    with stop_signals() as stopped, quiet_libraries(verbose=console.verbose):
        try:
            code = _run(words, console)
            console.close()
        except (Exception, KeyboardInterrupt) as problem:
            code = _report(stopped.by or problem, console)
            try:
                console.close()
            except OutputError as lost:
                console.error(str(lost))
    return code


def _run(words: list[str], console: Console) -> int:
    from edgecomp.cli.parser import parse, root_parser

    if not words:
        root_parser().print_help(sys.stderr)
        return ExitCode.USAGE
    try:
        command, arguments = parse(words)
    except SystemExit as end:  # --help and --version
        return ExitCode.DONE if not end.code else ExitCode.USAGE
    console.json = arguments.json
    console.verbose = arguments.verbose
    console.quiet = getattr(arguments, "quiet", False)
    return command.run(arguments, console)


def _report(problem: BaseException, console: Console) -> ExitCode:
    """Print why the command ended."""
    path: str | None = None
    if isinstance(problem, Terminated):
        code, message = ExitCode.TERMINATED, "terminated"
    elif isinstance(problem, KeyboardInterrupt):
        code, message = ExitCode.INTERRUPTED, "interrupted"
    elif isinstance(problem, EdgecompError):
        code, path = problem.exit_code, problem.path
        message = _for_command_line(str(problem))
    elif isinstance(problem, BrokenPipeError):
        # The reader of our result has gone; it knows.
        if sys.stdout is not None:
            abandon(sys.stdout)
        return ExitCode.FATAL
    elif isinstance(problem, ModuleNotFoundError) and not _is_ours(problem.name):
        code = ExitCode.FATAL
        message = f"the Python package {problem.name} is missing; install edgecomp again"
    elif isinstance(problem, MemoryError):
        code, message = ExitCode.FATAL, _NO_MEMORY
    elif isinstance(problem, OSError) and problem.errno is not None:
        code = ExitCode.FATAL
        path = None if problem.filename is None else os.fsdecode(problem.filename)
        reason = problem.strerror or str(problem)
        message = reason if path is None else f"{path}: {reason}"
    else:
        code = ExitCode.FATAL
        kind = type(problem).__name__
        detail = f"{kind}: {problem}" if str(problem) else kind
        hint = "" if console.verbose else "; with -v it shows where"
        message = f"unexpected {detail}. This is a fault of edgecomp; please report it{hint}"
        if console.verbose:
            console.details("".join(traceback.format_exception(problem)))
    message = "; ".join([message, *getattr(problem, "__notes__", ())])
    if isinstance(problem, KeyboardInterrupt):
        console.stopped(message)
    else:
        console.error(message)
    if console.json:
        told = message
        if isinstance(problem, EdgecompError):
            told = "; ".join([problem.message, *getattr(problem, "__notes__", ())])
        told = _for_command_line(told)
        try:
            console.document({"error": told, "path": path, "exit_code": int(code)})
        except OutputError as lost:
            console.error(str(lost))
    return code


def _is_ours(module: str | None) -> bool:
    return module is None or module.split(".")[0] == "edgecomp"


def _for_command_line(message: str) -> str:
    """The package speaks of its arguments; here they are options."""
    return _FORCE.sub("--force overwrites", message)
