"""The C compilers of this machine, for tests that build the C library or parts of it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from common import ROOT

SOURCES = sorted((ROOT / "native").glob("*.c"))
WARNINGS = "-std=c11 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror".split()
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
SANITIZERS = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
INCLUDES = [f"-I{ROOT / 'native'}", f"-I{ROOT / 'tests' / 'native'}"]


def build(compiler: str, program: Path, sources: list[Path], *options: str) -> Path:
    """Builds a program of these sources and the library's.

    Args:
        program: the file to make.
    """
    command = [compiler, *WARNINGS, *options, *INCLUDES, *sources, *SOURCES, "-o", program]
    subprocess.run(command, check=True)
    return program


def require_sanitizers(folder: Path) -> str:
    """A compiler whose sanitizers work here; skips the test if there is none.

    Args:
        folder: for a probe.
    """
    source, program = folder / "probe.c", folder / "probe"
    source.write_text("int main(void) { return 0; }\n")
    for compiler in COMPILERS:
        built = subprocess.run(
            [compiler, *SANITIZERS, source, "-o", program], capture_output=True, check=False
        )
        if built.returncode == 0 and subprocess.run([program], check=False).returncode == 0:
            return compiler
    pytest.skip("no compiler with -fsanitize=address,undefined here")
