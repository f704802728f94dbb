"""What this process may use of its machine: processors, memory, packages.

On Linux a process may be confined in several ways at once: by its affinity, by resource limits, and
by the limits of its control group and of every group that this one is in (containers, systemd's
services). The least of them counts.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final

_PROCESS: Final = Path("/proc/self")
# Where nothing is known, a small board is assumed.
_UNKNOWN_MEMORY: Final = 1 << 30
# The two versions of control groups, as the types of their file systems.
_V1: Final = "cgroup"
_V2: Final = "cgroup2"
# Version 2's "high" is where a group is slowed down until it gives memory back.
_MEMORY_FILES: Final = {_V1: ("memory.limit_in_bytes",), _V2: ("memory.max", "memory.high")}
_ESCAPE: Final = re.compile(r"\\([0-7]{3})")


def usable_cpus() -> int:
    """How many processors this process may use, 1 at least.

    Counts the affinity, the quotas of control groups (a part of a processor counts as one), and, in
    Pythons that know them, ``-X cpu_count`` and ``PYTHON_CPU_COUNT``. Never raises.
    """
    counts = [os.cpu_count() or 1]
    if hasattr(os, "sched_getaffinity"):
        counts.append(len(os.sched_getaffinity(0)))
    if hasattr(os, "process_cpu_count"):
        counts.append(os.process_cpu_count() or counts[0])
    return max(1, min([*counts, *_cpu_quotas(_PROCESS)]))


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of those of the packages that are installed."""
    from importlib.metadata import PackageNotFoundError, version  # takes longer than all else here

    found = {}
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def usable_memory() -> int:
    """How many bytes of memory this process may use in all, those that it has already counted.

    The least of the physical memory, the limits of control groups, and the resource limits on
    address space and data; 1 GiB where the system tells none of them. It says nothing of what other
    processes use. Never raises.
    """
    limits = [*_physical_memory(), *_resource_limits(), *_memory_limits(_PROCESS)]
    return min(limits, default=_UNKNOWN_MEMORY)


def _physical_memory() -> Iterator[int]:
    if sys.platform == "win32":
        from edgecomp import windows

        memory = windows.physical_memory()
        if memory is not None:
            yield memory
    else:
        try:
            size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (AttributeError, OSError, ValueError):  # none on this system, or not by that name
            return
        if size > 0:
            yield size


def _resource_limits() -> list[int]:
    limits: list[int] = []
    if sys.platform != "win32":
        import resource

        for name in ("RLIMIT_AS", "RLIMIT_DATA"):
            if hasattr(resource, name):
                limit, _ = resource.getrlimit(getattr(resource, name))
                if limit != resource.RLIM_INFINITY:
                    limits.append(limit)
    return limits


def _cpu_quotas(process: Path) -> Iterator[int]:
    """Whole processors, rounded up, that control groups grant."""
    for version, group in _groups("cpu", process):
        if version == _V2:
            words = _read(group / "cpu.max").split()
        else:
            words = [_read(group / f"cpu.cfs_{word}_us").strip() for word in ("quota", "period")]
        # "max" and -1 stand for none.
        if len(words) == 2 and all(word.isdecimal() and int(word) for word in words):
            yield -(-int(words[0]) // int(words[1]))


def _memory_limits(process: Path) -> Iterator[int]:
    """Bytes that control groups grant. (Version 1 has a number beyond any memory for no limit.)"""
    for version, group in _groups("memory", process):
        for name in _MEMORY_FILES[version]:
            text = _read(group / name).strip()
            if text.isdecimal() and int(text):
                yield int(text)


def _groups(controller: str, process: Path) -> Iterator[tuple[str, Path]]:
    """The folders of the process's control group for a controller and of all groups above it that
    can be seen from here, each with the version that they are of.

    Args:
        controller: "cpu" or "memory".
        process: folder of the process in ``/proc``.
    """
    paths = _group_paths(controller, _read(process / "cgroup"))
    for line in _read(process / "mountinfo").splitlines():
        # id, parent, device, root, mount point, options, more of them, "-", type, source, options
        mount, _, system = line.partition(" - ")
        fields, kind = mount.split(" "), system.split(" ")
        if len(fields) < 6 or len(kind) < 3 or kind[0] not in paths:
            continue
        if kind[0] == _V1 and controller not in kind[2].split(","):
            continue
        point = Path(_unescape(fields[4]))
        yield kind[0], point
        below = point
        for name in _names_below(_unescape(fields[3]), paths[kind[0]]):
            below /= name
            yield kind[0], below


def _group_paths(controller: str, text: str) -> dict[str, str]:
    """By version, the path of the process's group in the tree of groups."""
    paths = {}
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            paths[_V2] = path
        elif controller in controllers.split(","):
            paths[_V1] = path
    return paths


def _names_below(root: str, path: str) -> tuple[str, ...]:
    """The folders that lead from a mount's root to a group; none where the group is not below it
    (a container sees the tree from its own group on, but may be told its path in the whole one)."""
    try:
        names = PurePosixPath(path).relative_to(root).parts
    except ValueError:
        return ()
    return () if ".." in names else names


def _unescape(path: str) -> str:
    """A path as ``mountinfo`` writes it: a space, a tab, a line's end and a backslash are octal."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 8)), path)


def _read(path: Path) -> str:
    """A file's text; empty where it cannot be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
