"""Windows, as far as it can be had here: the C library by Wine, and what the package takes for
granted of the system's calls. tests/test_path_folders.py has the Python code for it."""

from __future__ import annotations

import ast
import hashlib
import os
import re

import pytest
from common import ROOT
from test_context_processors import GOLDEN
from wine import Windows, windows

__all__ = ["windows"]

PROGRAMS = ROOT / "tests" / "native"


def constant(name: str) -> int:
    """A number of edgecomp/windows.py, which is empty but on Windows, by its name."""
    text = (ROOT / "edgecomp" / "windows.py").read_text()
    found = re.search(rf"^ *{name}: Final = (.+)$", text, re.M)
    assert found is not None
    value = eval(compile(ast.parse(found[1], mode="eval"), name, "eval"), {})  # our own source
    assert isinstance(value, int)
    return value


@pytest.mark.parametrize("name", ["test_features", "test_native", "test_context", "test_choice"])
def test_the_c_tests(windows: Windows, name: str) -> None:
    program = windows.build(PROGRAMS / f"{name}.c")
    assert windows.run(program) == f"{name}: all tests passed\n"


def test_the_context_coder_writes_the_same_bytes(windows: Windows) -> None:
    printed = windows.run(windows.build(PROGRAMS / "context_codes.c"))
    kernels, codes = printed.split("\n", 1)
    assert {"auto", "portable"} <= set(kernels.split())
    assert codes.count("\n") == 32
    assert hashlib.sha256(codes.encode()).hexdigest() == GOLDEN


def test_what_is_taken_for_granted_of_the_system(windows: Windows) -> None:
    lock_high = f"-DLOCK_HIGH={constant('_BYTE_HIGH')}u"
    program = windows.build(ROOT / "tests" / "windows" / "windows_calls.c", lock_high)
    memory, passed = windows.run(program).splitlines()
    assert passed == "windows_calls: all tests passed"
    assert int(memory.removeprefix("memory ")) > 1 << 28
    assert not {"locked", "first", "second"} & set(os.listdir(windows.folder))
