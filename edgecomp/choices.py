"""What `edgecomp doctor` has found to be the quickest on this machine, for other runs to use.

A small file among the user's cached ones, for each machine one. Where there is none, or it is of
another machine, damaged or out of reach, int8 and all processors are taken: never wrong, at worst
not the quickest.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from edgecomp._version import VERSION
from edgecomp.constants import MAX_THREADS, PRECISIONS
from edgecomp.machine import usable_cpus, versions
from edgecomp.processor import processor_name

_MAX_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Choice:
    """What is quickest on a machine.

    Attributes:
        precision: "int8" or "fp32".
        threads: pictures side by side, in that precision; None for as many as there are processors.
        onnxruntime: the version that this was measured with; another one has to be measured anew.
    """

    precision: str
    threads: int | None
    onnxruntime: str


def choice_file() -> Path | None:
    """Where this machine's choice is kept; None if the user has no place for such files."""
    folder = _our_folder()
    return None if folder is None else folder / _file_name()


def remembered() -> Choice | None:
    """What was found on this machine with this edgecomp; None if nothing was. Never raises."""
    folder = _our_folder()
    # Asking for the processor's name takes longer.
    if folder is None or not os.path.isdir(folder):
        return None
    try:
        with open(folder / _file_name(), "rb") as file:
            fields = json.loads(file.read(_MAX_BYTES))
        return _parse(fields)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def content_of(choice: Choice) -> bytes:
    """What the file of a choice holds."""
    fields = {"edgecomp": VERSION, "processor": processor_name(), **asdict(choice)}
    return (json.dumps(fields, indent=1, sort_keys=True) + "\n").encode()


def safe_precision(available: Collection[str]) -> str:
    """The precision that is right wherever nothing was measured: quick nearly everywhere, and of
    the same pixels everywhere.

    Args:
        available: precisions of the model.
    """
    return "int8" if "int8" in available else "fp32"


def best_precision(available: Collection[str]) -> str:
    """What precision "auto" stands for, of a model with these precisions."""
    choice = remembered()
    if choice is not None and choice.precision in available:
        return choice.precision
    return safe_precision(available)


def best_threads(precision: str = "auto") -> int:
    """Pictures side by side where the user does not say: the processors that may be used, or fewer
    where that was found to be quicker.

    Args:
        precision: that the user asks for; what was measured in another one does not count.
    """
    choice = remembered()
    if choice is None or choice.threads is None or precision not in ("auto", choice.precision):
        return usable_cpus()
    return min(choice.threads, usable_cpus())


def onnxruntime_version() -> str:
    """The version that is installed, asked without loading it; empty if that cannot be told."""
    return versions(["onnxruntime"]).get("onnxruntime", "")


def _parse(fields: dict[str, Any]) -> Choice | None:
    choice = Choice(fields["precision"], fields["threads"], fields["onnxruntime"])
    threads = choice.threads
    sane = choice.precision in PRECISIONS and choice.precision != "auto"
    sane &= threads is None or (type(threads) is int and 1 <= threads <= MAX_THREADS)
    known = fields["edgecomp"] == VERSION and choice.onnxruntime == onnxruntime_version()
    return choice if sane and known else None


def _file_name() -> str:
    """Tells machines apart that share a home folder."""
    about = [platform.machine(), processor_name(), str(os.cpu_count())]
    return f"doctor-{hashlib.sha256(chr(10).join(about).encode()).hexdigest()[:16]}.json"


def _our_folder() -> Path | None:
    folder = _cache_folder()
    return None if folder is None else folder / "edgecomp"


def _cache_folder() -> Path | None:
    """Where the system wants such files, or the user."""
    if sys.platform == "win32":
        return _absolute("LOCALAPPDATA")
    else:
        # Relative ones are to be ignored, says the standard.
        named = _absolute("XDG_CACHE_HOME")
        if named is not None:
            return named
        try:
            home = Path.home()
        except RuntimeError:
            return None
        return home / "Library" / "Caches" if sys.platform == "darwin" else home / ".cache"


def _absolute(variable: str) -> Path | None:
    value = os.environ.get(variable, "")
    return Path(value) if os.path.isabs(value) else None
