"""Processors that this machine is not, and the C programs of tests/native run on them by QEMU."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from common import HANG_SECONDS, ROOT
from compilers import build

PROGRAMS = ROOT / "tests" / "native"
# Of what context_codes.c and pack_codes.c print of their codes. A difference here breaks archives:
# never write them anew.
GOLDEN = "dd0ad3e09de829bdb85d9a231e49d0a9f0c31fa143c2305d0cb6bfea0d30fa35"
GOLDEN_PACKED = "a256621784a6d73d22252ae6887a442009fa1180e5c6e2652f7079ce4126be75"


@dataclass(frozen=True)
class Foreign:
    """A processor that this machine is not: what compiles for it, what runs its programs.

    Attributes:
        kernels: of the context coder, that are there.
        packages: what has to be installed.
    """

    compiler: str
    emulator: str
    kernels: frozenset[str]
    packages: str

    def require(self) -> tuple[str, str]:
        """Compiler and emulator; skips the test if there are none."""
        compiler = shutil.which(self.compiler)
        emulator = shutil.which(f"{self.emulator}-static") or shutil.which(self.emulator)
        if compiler is None or emulator is None:
            pytest.skip(
                f"no {self.compiler} or no {self.emulator} (apt-get install {self.packages})"
            )
        return compiler, emulator


FOREIGN = {
    "arm": Foreign(
        "aarch64-linux-gnu-gcc",
        "qemu-aarch64",
        frozenset({"auto", "portable", "neon"}),
        "gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static",
    ),
    "big-endian": Foreign(
        "s390x-linux-gnu-gcc",
        "qemu-s390x",
        frozenset({"auto", "portable"}),
        "gcc-s390x-linux-gnu libc6-dev-s390x-cross qemu-user-static",
    ),
}


def output(command: list[str | Path]) -> str:
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANG_SECONDS)
    assert run.returncode == 0, run.stderr
    return run.stdout


def kernels_and_hash(command: list[str | Path]) -> tuple[set[str], str]:
    """What context_codes.c prints: the kernels that took part, the hash of all codes."""
    kernels, codes = output(command).split("\n", 1)
    assert codes.count("\n") == 32
    return set(kernels.split()), hashlib.sha256(codes.encode()).hexdigest()


def hash_of_packed(command: list[str | Path]) -> str:
    """Of what pack_codes.c prints."""
    codes = output(command)
    assert codes.count("\n") == 48
    return hashlib.sha256(codes.encode()).hexdigest()


def build_foreign(foreign: Foreign, name: str, folder: Path, *options: str) -> list[str | Path]:
    """Builds a program of tests/native for another processor; the command that runs it here.

    Args:
        options: for QEMU.
    """
    compiler, emulator = foreign.require()
    sources = [PROGRAMS / f"{name}.c"]
    return [emulator, *options, build(compiler, folder / name, sources, "-O2", "-static")]
