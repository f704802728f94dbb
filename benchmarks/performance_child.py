"""Runs one command and tells how long it took and how much memory it held.

A process inherits the peak resident memory of the one that it was started from, so this is a small
process of its own, by nothing but the standard library: what it starts begins with next to none.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# ru_maxrss counts kibibytes, except where it counts bytes.
_MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024
_TAIL = 2000


class ChildError(Exception):
    """A command failed; its own words say why."""


@dataclass(frozen=True)
class Usage:
    """What a command took.

    Attributes:
        seconds: from its start to its end.
        cpu_seconds: of all processors, user and system.
        peak_bytes: the most memory that was resident at a time.
        output: what it printed on standard output.
        samples: (bytes read and written so far, bytes resident), every so often; where asked for.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    output: str
    samples: tuple[tuple[int, int], ...] = ()


def run(command: Sequence[str], *, cores: int, interval: float | None = None) -> Usage:
    """Run a command to its end.

    Args:
        command: program and arguments.
        cores: it is confined to so many of the processors that this process may use.
        interval: seconds between samples; None for no samples. They need /proc.

    Raises:
        ChildError: it failed.
    """
    task = json.dumps({"command": list(command), "cores": cores, "interval": interval})
    done = subprocess.run(
        [sys.executable, "-I", __file__, task], stdout=subprocess.PIPE, check=False
    )
    if done.returncode != 0:
        raise ChildError(f"{command[0]} could not be started")
    found = json.loads(done.stdout)
    if found.pop("code") != 0:
        raise ChildError(f"{' '.join(command)}:\n{found['errors'] or found['output'][-_TAIL:]}")
    del found["errors"]
    return Usage(**found | {"samples": tuple((a, b) for a, b in found["samples"])})


def _main(task: dict[str, Any]) -> dict[str, Any]:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: task["cores"]])
    samples: list[tuple[int, int]] = []
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        child = subprocess.Popen(
            task["command"], stdin=subprocess.DEVNULL, stdout=output, stderr=errors
        )
        over = threading.Event()
        if task["interval"] is not None:
            sampler = threading.Thread(
                target=_sample, args=(child.pid, task["interval"], over, samples), daemon=True
            )
            sampler.start()
        _, status, used = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)  # it has been waited for
        over.set()
        output.seek(0)
        errors.seek(0)
        return {
            "code": child.returncode,
            "seconds": seconds,
            "cpu_seconds": used.ru_utime + used.ru_stime,
            "peak_bytes": used.ru_maxrss * _MAXRSS_BYTES,
            "output": output.read().decode(errors="replace"),
            "errors": errors.read().decode(errors="replace")[-_TAIL:],
            "samples": samples,
        }


def _sample(
    process: int, interval: float, over: threading.Event, samples: list[tuple[int, int]]
) -> None:
    page = resource.getpagesize()
    while not over.wait(interval):
        try:
            with open(f"/proc/{process}/io", encoding="ascii") as file:
                moved = sum(int(line.split()[1]) for line in file if "char" in line)
            with open(f"/proc/{process}/statm", encoding="ascii") as file:
                resident = int(file.read().split()[1]) * page
        except (OSError, ValueError, IndexError):
            continue  # it is ending, or this system tells nothing
        if resident:
            samples.append((moved, resident))


if __name__ == "__main__":
    print(json.dumps(_main(json.loads(sys.argv[1]))))
