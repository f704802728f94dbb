"""What a process may use: affinity, control groups of both versions, resource limits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgecomp.machine import (
    _cpu_quotas,
    _memory_limits,
    _physical_memory,
    usable_cpus,
    usable_memory,
)

GIB = 1 << 30


class Machine:
    """A `/proc/self` with the control groups that it speaks of, below a folder."""

    def __init__(self, folder: Path) -> None:
        self.process = folder / "proc"
        self.process.mkdir()
        self.tree = folder / "with space"
        self.mounts: list[str] = []

    def belongs(self, *lines: str) -> None:
        """What `/proc/self/cgroup` says."""
        (self.process / "cgroup").write_text("".join(line + "\n" for line in lines))

    def mount(self, kind: str, options: str, *, root: str = "/", at: str = "") -> Path:
        """Mount a tree of groups; its folder."""
        point = self.tree / at
        point.mkdir(parents=True)
        shown = str(point).replace(" ", r"\040")
        self.mounts.append(
            f"31 23 0:28 {root} {shown} rw,relatime shared:9 - {kind} none {options}"
        )
        (self.process / "mountinfo").write_text("\n".join(self.mounts) + "\n")
        return point


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def put(group: Path, **texts: str) -> None:
    """Write files of a group; a double underscore stands for the dot in their names."""
    group.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (group / name.replace("__", ".")).write_text(text + "\n")


def test_this_process() -> None:
    assert 1 <= usable_cpus() <= (os.cpu_count() or 1)
    assert usable_memory() > 0
    assert [usable_memory() <= size for size in _physical_memory()] in ([True], [])


def test_affinity_counts() -> None:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("processes cannot be confined to processors here")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert usable_cpus() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.skipif(sys.version_info < (3, 13), reason="this Python cannot be told")
def test_python_may_be_told_how_many_processors_there_are() -> None:
    code = "from edgecomp.machine import usable_cpus; print(usable_cpus())"
    command = [sys.executable, "-X", "cpu_count=1", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


@pytest.mark.parametrize("name", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_resource_limits_count(name: str) -> None:
    pytest.importorskip("resource")
    code = f"""
import resource
from edgecomp.machine import usable_memory
resource.setrlimit(resource.{name}, (300 << 20, resource.RLIM_INFINITY))
print(usable_memory())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == 300 << 20


def test_without_control_groups_nothing_is_limited(machine: Machine, tmp_path: Path) -> None:
    assert list(_cpu_quotas(tmp_path / "none")) == []
    assert list(_memory_limits(tmp_path / "none")) == []
    machine.belongs("0::/")
    machine.mount("tmpfs", "rw")
    assert list(_memory_limits(machine.process)) == []


@pytest.mark.parametrize(
    ("text", "quotas"),
    [
        ("max 100000", []),
        ("150000 100000", [2]),
        ("1000 100000", [1]),
        ("200000 100000", [2]),
        ("100000", []),
        ("100000 0", []),
        ("?", []),
    ],
)
def test_quotas_of_version_2(machine: Machine, text: str, quotas: list[int]) -> None:
    machine.belongs("0::/")
    put(machine.mount("cgroup2", "rw"), cpu__max=text)
    assert list(_cpu_quotas(machine.process)) == quotas


@pytest.mark.parametrize(
    ("quota", "period", "quotas"),
    [("-1", "100000", []), ("400000", "100000", [4]), ("50000", "100000", [1]), ("1", "", [])],
)
def test_quotas_of_version_1(machine: Machine, quota: str, period: str, quotas: list[int]) -> None:
    machine.belongs("2:cpu,cpuacct:/", "0::/")
    group = machine.mount("cgroup", "rw,cpu,cpuacct")
    put(group, cpu__cfs_quota_us=quota, cpu__cfs_period_us=period)
    assert list(_cpu_quotas(machine.process)) == quotas


def test_groups_above_limit_too(machine: Machine) -> None:
    machine.belongs("0::/user.slice/my job")
    root = machine.mount("cgroup2", "rw,nsdelegate")
    put(root / "user.slice", memory__max=str(2 * GIB), memory__high=str(GIB), cpu__max="3 1")
    put(
        root / "user.slice" / "my job", memory__max=str(4 * GIB), memory__high="max", cpu__max="5 1"
    )
    put(root / "other", memory__max="1", cpu__max="1 1")
    assert list(_memory_limits(machine.process)) == [2 * GIB, GIB, 4 * GIB]
    assert list(_cpu_quotas(machine.process)) == [3, 5]


def test_each_controller_of_version_1_has_its_own_tree(machine: Machine) -> None:
    machine.belongs("9:name=systemd:/s", "4:memory:/m", "3:cpuset:/c", "1:cpu,cpuacct:/p", "0::/")
    memory = machine.mount("cgroup", "rw,memory", at="memory")
    cpu = machine.mount("cgroup", "rw,cpu,cpuacct", at="cpu")
    unified = machine.mount("cgroup2", "rw", at="unified")
    put(memory / "m", memory__limit_in_bytes=str(GIB))
    put(memory / "p", memory__limit_in_bytes="1")
    put(cpu / "p", cpu__cfs_quota_us="2", cpu__cfs_period_us="1")
    put(cpu / "m", cpu__cfs_quota_us="1", cpu__cfs_period_us="1")
    put(unified, memory__max=str(2 * GIB))
    assert list(_memory_limits(machine.process)) == [GIB, 2 * GIB]
    assert list(_cpu_quotas(machine.process)) == [2]


@pytest.mark.parametrize(
    ("root", "path"),
    [
        ("/docker/1234", "/docker/1234"),  # told its path in the whole tree
        ("/docker/1234", "/"),
        ("/", "/../../elsewhere"),  # moved out of what it sees
    ],
)
def test_containers_see_their_own_group_as_the_root(machine: Machine, root: str, path: str) -> None:
    machine.belongs(f"4:memory:{path}")
    group = machine.mount("cgroup", "rw,memory", root=root)
    put(group, memory__limit_in_bytes=str(GIB))
    put(group.parent / "elsewhere", memory__limit_in_bytes="1")
    assert list(_memory_limits(machine.process)) == [GIB]


def test_a_group_below_the_mount_of_a_container(machine: Machine) -> None:
    machine.belongs("4:memory:/docker/1234/inner")
    group = machine.mount("cgroup", "rw,memory", root="/docker/1234")
    put(group / "inner", memory__limit_in_bytes=str(GIB))
    assert list(_memory_limits(machine.process)) == [GIB]


def test_what_cannot_be_understood_limits_nothing(machine: Machine) -> None:
    machine.belongs("", "nonsense", "4:memory", "0::/")
    group = machine.mount("cgroup2", "rw")
    put(group, memory__max="lots", memory__high="0")
    with open(machine.process / "mountinfo", "a") as file:
        file.write("1 2 3\n - cgroup2\n31 23 0:28 / / rw - cgroup2\n")
    assert list(_memory_limits(machine.process)) == []


def test_a_system_that_tells_nothing_but_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS has neither affinity nor control groups."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delattr(os, "process_cpu_count", raising=False)
    monkeypatch.setattr("edgecomp.machine._PROCESS", Path("/nonexistent"))
    assert usable_cpus() == os.cpu_count()
