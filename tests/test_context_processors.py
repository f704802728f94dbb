"""The context coder writes the same bytes on every processor, with whichever kernels it has."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
from pathlib import Path

import pytest
from common import ROOT
from compilers import COMPILERS, build

PROGRAMS = ROOT / "tests" / "native"
# Of the codes of context_codes.c. A difference here breaks archives: never write it anew.
GOLDEN = "dd0ad3e09de829bdb85d9a231e49d0a9f0c31fa143c2305d0cb6bfea0d30fa35"
ON_X86 = platform.machine().lower() in ("x86_64", "amd64")
QEMU_X86 = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")
QEMU_ARM = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
ARM_COMPILER = shutil.which("aarch64-linux-gnu-gcc")

pytestmark = pytest.mark.skipif(not COMPILERS, reason="no C compiler")


def output(command: list[str | Path]) -> str:
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


def kernels_and_hash(command: list[str | Path]) -> tuple[set[str], str]:
    """What context_codes.c prints: the kernels that took part, the hash of all codes."""
    kernels, codes = output(command).split("\n", 1)
    assert codes.count("\n") == 32
    return set(kernels.split()), hashlib.sha256(codes.encode()).hexdigest()


def require_old_x86() -> list[str]:
    """What runs a program on a processor without AVX2; skips the test if there is nothing."""
    if not ON_X86:
        pytest.skip("the processor to be forced is x86, this one is not")
    if QEMU_X86 is None:
        pytest.skip("QEMU's user mode is not installed (apt-get install qemu-user-static)")
    return [QEMU_X86, "-cpu", "Nehalem"]


def require_arm() -> list[str]:
    """The same for ARM."""
    if ARM_COMPILER is None or QEMU_ARM is None:
        pytest.skip(
            "no compiler for ARM or no QEMU"
            " (apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static)"
        )
    return [QEMU_ARM]


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("level", ["-O0", "-O3"])
def test_here(compiler: str, level: str, tmp_path: Path) -> None:
    program = build(compiler, tmp_path / "codes", [PROGRAMS / "context_codes.c"], level)
    kernels, found = kernels_and_hash([program])
    assert {"auto", "portable"} <= kernels
    assert found == GOLDEN


def test_without_avx2(tmp_path: Path) -> None:
    processor = require_old_x86()
    sources = [PROGRAMS / "context_codes.c"]
    program = build(COMPILERS[0], tmp_path / "codes", sources, "-O2", "-static")
    assert kernels_and_hash([*processor, program]) == ({"auto", "portable"}, GOLDEN)


def test_on_arm(tmp_path: Path) -> None:
    processor = require_arm()
    assert ARM_COMPILER is not None
    sources = [PROGRAMS / "context_codes.c"]
    program = build(ARM_COMPILER, tmp_path / "codes", sources, "-O2", "-static")
    assert kernels_and_hash([*processor, program]) == ({"auto", "portable", "neon"}, GOLDEN)


@pytest.mark.parametrize("name", ["test_context", "test_choice"])
def test_all_of_the_c_tests_on_arm(name: str, tmp_path: Path) -> None:
    processor = require_arm()
    assert ARM_COMPILER is not None
    sources = [PROGRAMS / f"{name}.c"]
    program = build(ARM_COMPILER, tmp_path / name, sources, "-O2", "-static")
    assert output([*processor, program]) == f"{name}: all tests passed\n"
