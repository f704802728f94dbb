"""Confines an evaluation to so many cores, and tells what machine it ran on."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from edgecomp._version import VERSION
from edgecomp.machine import usable_cpus, versions
from edgecomp.processor import processor_name

_PACKAGES = ("onnxruntime", "numpy", "pillow", "pillow-heif", "pillow-jxl-plugin")


@contextmanager
def confined(cores: int | None) -> Iterator[int]:
    """Run a block, and every thread and program that it starts, on so many cores.

    Where the system cannot confine (macOS, Windows), methods are only asked to use so many threads.

    Args:
        cores: how many; None for all that this process may use, and never more than those.

    Yields:
        How many cores the block has.
    """
    count = min(cores or usable_cpus(), usable_cpus())
    if sys.platform == "linux":
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, sorted(before)[:count])
        try:
            yield count
        finally:
            os.sched_setaffinity(0, before)
    else:
        yield count


def machine() -> dict[str, str]:
    """Words about this machine, by subject."""
    packages = {"edgecomp": VERSION, **versions(_PACKAGES)}
    return {
        "processor": processor_name(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": ", ".join(f"{name} {found}" for name, found in packages.items()),
    }
