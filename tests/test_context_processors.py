"""The C library writes the same bytes on every processor: with whichever kernels the context coder
has, and in whichever order the bytes of numbers lie in memory."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from common import HANG_SECONDS, ROOT
from compilers import COMPILERS, build

PROGRAMS = ROOT / "tests" / "native"
# Of what context_codes.c and pack_codes.c print of their codes. A difference here breaks archives:
# never write them anew.
GOLDEN = "dd0ad3e09de829bdb85d9a231e49d0a9f0c31fa143c2305d0cb6bfea0d30fa35"
GOLDEN_PACKED = "a256621784a6d73d22252ae6887a442009fa1180e5c6e2652f7079ce4126be75"
ON_X86 = platform.machine().lower() in ("x86_64", "amd64")
QEMU_X86 = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")

pytestmark = pytest.mark.skipif(not COMPILERS, reason="no C compiler")


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
every_foreign = pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)


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


def require_old_x86() -> list[str]:
    """What runs a program on a processor without AVX2; skips the test if there is nothing."""
    if not ON_X86:
        pytest.skip("the processor to be forced is x86, this one is not")
    if QEMU_X86 is None:
        pytest.skip("QEMU's user mode is not installed (apt-get install qemu-user-static)")
    return [QEMU_X86, "-cpu", "Nehalem"]


def build_foreign(foreign: Foreign, name: str, folder: Path) -> list[str | Path]:
    """Builds a program of tests/native for another processor; the command that runs it here."""
    compiler, emulator = foreign.require()
    sources = [PROGRAMS / f"{name}.c"]
    return [emulator, build(compiler, folder / name, sources, "-O2", "-static")]


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("level", ["-O0", "-O3"])
def test_here(compiler: str, level: str, tmp_path: Path) -> None:
    program = build(compiler, tmp_path / "codes", [PROGRAMS / "context_codes.c"], level)
    kernels, found = kernels_and_hash([program])
    assert {"auto", "portable"} <= kernels
    assert found == GOLDEN
    program = build(compiler, tmp_path / "packed", [PROGRAMS / "pack_codes.c"], level)
    assert hash_of_packed([program]) == GOLDEN_PACKED


def test_without_avx2(tmp_path: Path) -> None:
    processor = require_old_x86()
    sources = [PROGRAMS / "context_codes.c"]
    program = build(COMPILERS[0], tmp_path / "codes", sources, "-O2", "-static")
    assert kernels_and_hash([*processor, program]) == ({"auto", "portable"}, GOLDEN)


@every_foreign
def test_codes_on_other_processors(foreign: Foreign, tmp_path: Path) -> None:
    program = build_foreign(foreign, "context_codes", tmp_path)
    assert kernels_and_hash(program) == (foreign.kernels, GOLDEN)


@every_foreign
def test_packing_on_other_processors(foreign: Foreign, tmp_path: Path) -> None:
    program = build_foreign(foreign, "pack_codes", tmp_path)
    assert hash_of_packed(program) == GOLDEN_PACKED


@pytest.mark.parametrize("name", ["test_native", "test_context", "test_choice"])
@every_foreign
def test_all_of_the_c_tests_on_other_processors(
    foreign: Foreign, name: str, tmp_path: Path
) -> None:
    assert output(build_foreign(foreign, name, tmp_path)) == f"{name}: all tests passed\n"
