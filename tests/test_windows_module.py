"""edgecomp/windows.py: on Windows that it does what it says, elsewhere that it calls what is meant.

What Windows does when it is called so is in tests/windows/windows_calls.c too.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import subprocess
import sys
import types
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from edgecomp import windows as real
from edgecomp.folders import close

ON_WINDOWS = sys.platform == "win32"
on_windows = pytest.mark.skipif(not ON_WINDOWS, reason="needs Windows")
HANDLE = 0x1234
_LOCK_VIOLATION, _INVALID_PARAMETER, _ACCESS_DENIED, _NOT_SUPPORTED = 33, 87, 5, 50


class Function:
    """A function of the library: notes what it is given, and gives what it is told to."""

    def __init__(self) -> None:
        self.argtypes: list[Any] = []
        self.calls: list[tuple[Any, ...]] = []
        self.gives = 1

    def __call__(self, *arguments: Any) -> int:
        # As ctypes does: more, fewer and other arguments are errors.
        assert len(arguments) == len(self.argtypes)
        for kind, argument in zip(self.argtypes, arguments, strict=True):
            kind.from_param(argument)
        self.calls.append(arguments)
        return self.gives


class Kernel32:
    """The library, and the error that it had last."""

    def __init__(self) -> None:
        self.error = 0
        self.functions: dict[str, Function] = {}

    def __getattr__(self, name: str) -> Function:
        return self.functions.setdefault(name, Function())


def registry() -> types.ModuleType:
    """The module winreg, of a registry with one value."""
    module = types.ModuleType("winreg")

    def query(key: object, name: str) -> tuple[str, int]:
        if name != "ProcessorNameString":
            raise FileNotFoundError(2, "no such value", name)
        return " Intel(R) N100   ", 1

    module.__dict__.update(
        HKEY_LOCAL_MACHINE=1, OpenKey=lambda root, key: nullcontext(key), QueryValueEx=query
    )
    return module


@pytest.fixture
def kernel32(monkeypatch: pytest.MonkeyPatch) -> Kernel32:
    if ON_WINDOWS:
        pytest.skip("here is the real library")
    library = Kernel32()
    msvcrt = types.ModuleType("msvcrt")
    msvcrt.__dict__["get_osfhandle"] = lambda descriptor: HANDLE + descriptor
    monkeypatch.setitem(sys.modules, "msvcrt", msvcrt)
    monkeypatch.setitem(sys.modules, "winreg", registry())
    monkeypatch.setattr(ctypes, "WinDLL", lambda name, use_last_error: library, raising=False)
    monkeypatch.setattr(ctypes, "get_last_error", lambda: library.error, raising=False)
    return library


@pytest.fixture
def windows(kernel32: Kernel32, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    sys.modules.pop("edgecomp.windows", None)
    with monkeypatch.context() as patches:
        patches.setattr(sys, "platform", "win32")
        module = importlib.import_module("edgecomp.windows")
    yield module
    del sys.modules["edgecomp.windows"]
    delattr(sys.modules["edgecomp"], "windows")


@pytest.mark.parametrize(
    ("gives", "error", "locked"),
    [(1, 0, True), (0, _LOCK_VIOLATION, False), (0, _NOT_SUPPORTED, True)],
)
def test_locks(windows: Any, kernel32: Kernel32, gives: int, error: int, locked: bool) -> None:
    kernel32.LockFile.gives, kernel32.error = gives, error
    assert windows.lock(3) is locked
    assert kernel32.LockFile.calls == [(HANDLE + 3, 0, 1 << 30, 1, 0)]


@pytest.mark.parametrize(
    ("handle", "error", "waited", "running"),
    [(7, 0, 258, True), (7, 0, 0, False), (0, _INVALID_PARAMETER, 0, False),
     (0, _ACCESS_DENIED, 0, True)],
)  # fmt: skip
def test_processes(
    windows: Any, kernel32: Kernel32, handle: int, error: int, waited: int, running: bool
) -> None:
    kernel32.OpenProcess.gives, kernel32.error = handle, error
    kernel32.WaitForSingleObject.gives = waited
    assert windows.is_running(4711) is running
    assert len(kernel32.CloseHandle.calls) == bool(handle)
    assert kernel32.OpenProcess.calls[0][2] == 4711
    assert not windows.is_running(1 << 40)
    assert not windows.is_running(0)


def test_memory(windows: Any, kernel32: Kernel32) -> None:
    assert ctypes.sizeof(windows._MemoryStatus) == 64
    assert windows._MemoryStatus.physical.offset == 8
    assert windows.physical_memory() == 0
    kernel32.GlobalMemoryStatusEx.gives = 0
    assert windows.physical_memory() is None


def test_the_processors_name(windows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert windows.processor_name() == "Intel(R) N100"

    def missing(root: int, key: str) -> None:
        raise FileNotFoundError(2, "no such key", key)

    monkeypatch.setattr(windows.winreg, "OpenKey", missing)
    assert windows.processor_name() == ""


# On Windows.


@on_windows
def test_locks_keep_others_from_locking_and_from_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"a")
    first, second = (os.open(path, flags) for flags in (os.O_RDWR, os.O_RDONLY))
    try:
        assert real.lock(first)
        assert not real.lock(second)
        assert os.read(second, 2) == path.read_bytes() == b"a"
        os.write(first, b"b")
        close(first)
        assert real.lock(second)
    finally:
        close(second)


@on_windows
def test_processes_that_run_and_have_ended() -> None:
    assert real.is_running(os.getpid())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert real.is_running(process.pid)
        process.communicate(b"\n")
        assert not real.is_running(process.pid)
    assert not real.is_running(0xFFFFFFF0)


@on_windows
def test_memory_that_there_is() -> None:
    assert (real.physical_memory() or 0) > 1 << 28


@on_windows
def test_the_processor_that_there_is() -> None:
    assert real.processor_name()
