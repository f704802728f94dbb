"""The C library writes the same bytes on every processor: with whichever kernels the context coder
has, and in whichever order the bytes of numbers lie in memory."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

import pytest
from compilers import COMPILERS, build
from foreign import (
    FOREIGN,
    GOLDEN,
    GOLDEN_PACKED,
    PROGRAMS,
    Foreign,
    build_foreign,
    hash_of_packed,
    kernels_and_hash,
    output,
)

ON_X86 = platform.machine().lower() in ("x86_64", "amd64")
QEMU_X86 = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")

pytestmark = pytest.mark.skipif(not COMPILERS, reason="no C compiler")


every_foreign = pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)


def require_old_x86() -> list[str]:
    """What runs a program on a processor without AVX2; skips the test if there is nothing."""
    if not ON_X86:
        pytest.skip("the processor to be forced is x86, this one is not")
    if QEMU_X86 is None:
        pytest.skip("QEMU's user mode is not installed (apt-get install qemu-user-static)")
    return [QEMU_X86, "-cpu", "Nehalem"]


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
