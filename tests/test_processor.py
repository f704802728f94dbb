"""The processor's name and instructions."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest
from common import ROOT
from compilers import COMPILERS, build

from edgecomp import processor
from edgecomp.native import Instructions, instructions

ON_X86 = platform.machine().lower() in ("x86_64", "amd64")
PROGRAM = ROOT / "tests" / "native" / "processor.c"
NEON = Instructions.NEON
PI4 = """processor\t: 0
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU part\t: 0xd08

processor\t: 1
CPU implementer\t: 0x41
CPU part\t: 0xd08

Model\t\t: Raspberry Pi 4 Model B Rev 1.4
"""
# What qemu's processors have, by their makers' manuals.
EMULATED = {
    ("aarch64", "cortex-a53"): NEON,
    ("aarch64", "cortex-a72"): NEON,
    ("aarch64", "cortex-a76"): NEON | Instructions.DOT_PRODUCT,
    ("x86_64", "Nehalem"): Instructions.SSE41,
    ("x86_64", "Haswell"): Instructions.SSE41 | Instructions.AVX2,
}


def test_this_processor_has_a_name() -> None:
    assert processor.processor_name()
    assert processor.processor_name().isprintable()


def test_the_instructions_of_this_processor() -> None:
    found = instructions()
    if not ON_X86 and platform.machine() not in ("aarch64", "arm64"):
        assert found == 0
        assert processor.has_dot_product() is None
        return
    assert found & (Instructions.SSE41 | NEON)
    assert len(processor.instruction_names()) == found.bit_count()
    assert processor.has_dot_product() is bool(found & Instructions.DOT_PRODUCT)


@pytest.mark.skipif(not ON_X86, reason="not an x86 processor")
def test_the_kernel_sees_the_same_instructions() -> None:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        pytest.skip("no /proc/cpuinfo here")
    flags = next(line for line in path.read_text().splitlines() if line.startswith("flags"))
    words = set(flags.split(":")[1].split())
    expected = Instructions(0)
    if "sse4_1" in words:
        expected |= Instructions.SSE41
    if "avx2" in words:
        expected |= Instructions.AVX2
    if {"avx512f", "avx512bw", "avx512vl"} <= words:
        expected |= Instructions.AVX512
    if "avx_vnni" in words or "avx512_vnni" in words:
        expected |= Instructions.DOT_PRODUCT
    assert instructions() == expected


@pytest.mark.parametrize(("machine", "core"), EMULATED, ids=lambda word: word)
def test_the_instructions_of_other_processors(machine: str, core: str, tmp_path: Path) -> None:
    qemu = shutil.which(f"qemu-{machine}-static") or shutil.which(f"qemu-{machine}")
    compiler = "aarch64-linux-gnu-gcc" if machine == "aarch64" else (COMPILERS or [""])[0]
    if qemu is None or not shutil.which(compiler) or (machine == "x86_64" and not ON_X86):
        pytest.skip(f"no QEMU or no compiler for {machine} (apt-get install qemu-user-static)")
    program = build(compiler, tmp_path / "processor", [PROGRAM], "-O2", "-static")
    run = subprocess.run([qemu, "-cpu", core, program], capture_output=True, text=True, check=True)
    assert Instructions(int(run.stdout)) == EMULATED[machine, core]


def _boards(monkeypatch: pytest.MonkeyPatch, folder: Path, cpuinfo: str, board: str | None) -> str:
    """The name of a Linux machine whose kernel tells this."""
    (folder / "cpuinfo").write_text(cpuinfo)
    if board is not None:
        (folder / "model").write_text(board)
    monkeypatch.setattr(processor, "_CPUINFO", folder / "cpuinfo")
    monkeypatch.setattr(processor, "_BOARD", folder / "model")
    monkeypatch.setattr("sys.platform", "linux")
    return processor.processor_name()


@pytest.mark.parametrize(
    ("cpuinfo", "board", "name"),
    [
        (PI4, "Raspberry Pi 4 Model B Rev 1.4\0", "Raspberry Pi 4 Model B Rev 1.4, Cortex-A72"),
        (PI4, None, "Raspberry Pi 4 Model B Rev 1.4, Cortex-A72"),
        ("model name\t: Intel(R) N100\n", None, "Intel(R) N100"),
        ("CPU implementer : 0x41\nCPU part : 0xd0b\nCPU part : 0xd05\n", None,
         "Cortex-A76, Cortex-A55"),
        ("CPU implementer : 0x61\nCPU part : 0xd0b\n", "Some board\0", "Some board"),
        ("CPU implementer : what\nCPU part : 0xd0b\n", None, platform.machine()),
        ("", None, platform.machine()),
    ],
)  # fmt: skip
def test_names_of_boards(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cpuinfo: str, board: str | None, name: str
) -> None:
    assert _boards(monkeypatch, tmp_path, cpuinfo, board) == name
