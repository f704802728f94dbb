"""The command line as a process of its own: how it starts and how it ends."""

from __future__ import annotations

import atexit
import io
import os
import sys
import threading
from typing import NoReturn, TextIO

# numpy's matrix library starts a thread for each processor when it is loaded, and they spin for
# some milliseconds in wait of work; nothing here gives them any. A user's own setting is kept.
_NO_MATRIX_THREADS = "OPENBLAS_NUM_THREADS"
_INTERRUPTED = 130


def program() -> NoReturn:
    """Run the command that this process was started for, and end the process."""
    os.environ.setdefault(_NO_MATRIX_THREADS, "1")
    code = None
    try:
        from edgecomp.cli import main

        if sys.platform == "win32":
            speak_utf8(sys.stdout, sys.stderr)
        code = main()
        _end(code)
    except KeyboardInterrupt:
        # Before or after the command, which tells of interrupts itself.
        if code is not None:
            os._exit(code)
        try:
            os.write(2, b"edgecomp: interrupted\n")
        except OSError:
            pass
        os._exit(_INTERRUPTED)


def speak_utf8(*streams: TextIO | None) -> None:
    """Let what is written to files and pipes be UTF-8, as it is elsewhere.

    Windows has a code page for them which lacks most of the characters that names have; consoles
    take any. A user's own choice (``PYTHONIOENCODING``) is kept.
    """
    if os.environ.get("PYTHONIOENCODING"):
        return
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper) and not stream.isatty():
            stream.reconfigure(encoding="utf-8")


def _end(code: int) -> NoReturn:
    """End the process without taking it apart.

    Freeing every object of every module takes tens of milliseconds, more than coding a picture,
    and the system takes the memory back anyway. Functions that are to be called at the end are
    called. Where somebody watches (a debugger, a profiler, ``python -i``) or a thread still works,
    Python ends in its own way.
    """
    watched = sys.gettrace() is not None or sys.getprofile() is not None
    if watched or sys.flags.inspect or threading.active_count() > 1:
        sys.exit(code)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            try:
                stream.flush()
            except (OSError, ValueError):
                pass  # `main` has written its own and told of failures: these are last words
    os._exit(code)
