"""Windows programs on this machine: a cross compiler, and Wine to run what it makes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from compilers import INCLUDES, SOURCES, WARNINGS

_DEBIANS = "/usr/lib/wine/wine64"
COMPILER = shutil.which("x86_64-w64-mingw32-gcc")
WINE = shutil.which("wine64") or (
    _DEBIANS if os.access(_DEBIANS, os.X_OK) else shutil.which("wine")
)
# Of this compiler: stacks are aligned for 128 bits only, and programs print as C11 says.
_OPTIONS = ["-O2", "-static", "-D__USE_MINGW_ANSI_STDIO=1", "-Wa,-muse-unaligned-vector-move"]
# Starting Wine for the first time takes seconds; only what hangs takes so long.
_HANG_SECONDS = 600


class Windows:
    """Builds programs for Windows and runs them.

    Args:
        folder: for programs, what they write, and Wine's own files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._environment = os.environ | {
            "WINEPREFIX": str(folder / "wine"),
            "WINEDEBUG": "-all",
            # No windows, and no questions about what could be installed for programs of .NET.
            "WINEDLLOVERRIDES": "mscoree=;mshtml=",
            "DISPLAY": "",
        }
        self._library: list[Path] = []

    def build(self, source: Path, *options: str) -> Path:
        """A program of one source and the C library's, warnings being errors."""
        assert COMPILER is not None
        if not self._library:
            compile_only = [COMPILER, *WARNINGS, *_OPTIONS, *INCLUDES, "-c", *SOURCES]
            subprocess.run(compile_only, check=True, cwd=self.folder)
            self._library = [self.folder / f"{source.stem}.o" for source in SOURCES]
        program = self.folder / f"{source.stem}.exe"
        command = [COMPILER, *WARNINGS, *_OPTIONS, *options, *INCLUDES, source, *self._library]
        subprocess.run([*command, "-o", program], check=True)
        return program

    def run(self, program: Path) -> str:
        """What it prints; a failure if it ends with another exit code than 0."""
        assert WINE is not None
        run = subprocess.run(
            [WINE, program],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,  # lines end as they do on Windows
            timeout=_HANG_SECONDS,
        )
        assert run.returncode == 0, run.stderr
        return run.stdout

    def close(self) -> None:
        """End what Wine has left running for these programs."""
        server = shutil.which("wineserver")
        if server is not None:
            subprocess.run([server, "-k"], env=self._environment, check=False, capture_output=True)


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Windows]:
    """Windows, or a word why there is none here."""
    if COMPILER is None or WINE is None:
        pytest.skip(
            "no compiler for Windows or no Wine (apt-get install gcc-mingw-w64-x86-64 wine64)"
        )
    machine = Windows(tmp_path_factory.mktemp("windows"))
    yield machine
    machine.close()
