"""This machine and those that QEMU makes of it, each with its own Python, packages and edgecomp."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import HANG_SECONDS, ROOT

HERE = Path(__file__).parent
JOB_SECONDS = 3 * HANG_SECONDS
# Dot products of bytes (SDOT, UDOT), of vectors and by element: mask and value of instructions.
DOT_PRODUCTS = ((0x9FE0FC00, 0x0E809400), (0x9FC0F400, 0x0F80E000))
# How QEMU prints what it translates, with a disassembler and without one.
_LINE = re.compile(r"0x[0-9a-f]+:\s+([0-9a-f]{8})\s")
_BYTES = re.compile(r"OBJD-T: ([0-9a-f]+)")


@dataclass(frozen=True)
class Machine:
    """What runs Python programs.

    Attributes:
        name: in the log.
        slug: the same as part of a file's name.
        onnxruntime: its version.
        emulator: QEMU with its options; nothing for this machine.
        python: Python's program.
        path: folders with packages.
        package: folder that edgecomp must be imported from.
    """

    name: str
    slug: str
    onnxruntime: str
    emulator: tuple[str, ...]
    python: Path
    path: tuple[Path, ...]
    package: Path

    @property
    def is_here(self) -> bool:
        """Whether it is this machine as it is."""
        return not self.emulator

    @property
    def core(self) -> str:
        """The emulated core."""
        return self.emulator[self.emulator.index("-cpu") + 1]

    def command(self, words: list[str | Path], *options: str) -> tuple[list[str], dict[str, str]]:
        """Command and environment of a Python program.

        Args:
            words: for Python.
            options: for QEMU.
        """
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        environment |= {
            "PYTHONPATH": os.pathsep.join(map(str, (*self.path, ROOT / "tests"))),
            "PYTHONUTF8": "1",
            "PYTHONNOUSERSITE": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "ORT_DISABLE_TELEMETRY": "1",
            "TZ": "UTC",
            # What `edgecomp doctor` finds on one of them is not for another to use: there is no
            # such folder, and none can be made.
            "XDG_CACHE_HOME": f"{os.devnull}/cache",
            "COLUMNS": "100",
        }
        if self.emulator:
            environment = {k: v for k, v in environment.items() if not k.startswith("LD_")}
        emulator = [*self.emulator, *options] if self.emulator else []
        return [*emulator, str(self.python), *map(str, words)], environment

    def run(self, words: list[str | Path]) -> subprocess.CompletedProcess[str]:
        """A Python program with its outputs, from a folder without packages."""
        command, environment = self.command(words)
        return subprocess.run(
            command,
            env=environment,
            cwd=HERE,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=JOB_SECONDS,
            check=False,
        )

    def report(self, job: dict[str, Any], file: Path) -> dict[str, Any]:
        """What peer.py makes of a job.

        Args:
            file: to write the job to.

        Raises:
            RuntimeError: it fails, or did not use the package that it should.
        """
        file.write_text(json.dumps(job, indent=1), encoding="utf-8")
        run = self.run([HERE / "peer.py", file])
        if run.returncode:
            lines = [line for line in run.stderr.splitlines() if line.startswith("edgecomp: ")]
            print(run.stderr, file=sys.stderr)
            said = lines[-1:] or run.stderr.splitlines()[-1:]
            raise RuntimeError(f"{self.name}: exit code {run.returncode}: {''.join(said)}")
        report: dict[str, Any] = json.loads(run.stdout)
        for key in ("package", "library"):
            if self.package not in Path(report["machine"][key]).parents:
                raise RuntimeError(f"{self.name} has used {report['machine'][key]}")
        return report

    def dot_products(self, words: list[str | Path]) -> int:
        """How many dot product instructions QEMU translates for a Python program.

        Raises:
            RuntimeError: the program fails, or QEMU does not print instructions.
        """
        command, environment = self.command(words, "-d", "in_asm")
        found = seen = 0
        with subprocess.Popen(
            command,
            env=environment,
            cwd=HERE,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        ) as process:
            assert process.stderr is not None
            for line in process.stderr:
                instructions = _instructions(line)
                seen += len(instructions)
                found += sum(map(_is_dot_product, instructions))
        if process.returncode or not seen:
            raise RuntimeError(f"{self.name}: exit code {process.returncode}, {seen} instructions")
        return found


def here(onnxruntime: str, packages: Path | None = None) -> Machine:
    """This machine, with the onnxruntime of a folder or else that of this Python."""
    return Machine(
        name=f"x86-64, onnxruntime {onnxruntime}",
        slug=f"x86-{onnxruntime}",
        onnxruntime=onnxruntime,
        emulator=(),
        python=Path(sys.executable),
        path=(*([packages] if packages else []), ROOT),
        package=ROOT,
    )


def emulated(
    core: str, onnxruntime: str, qemu: str, prefix: Path, python: Path, path: tuple[Path, ...]
) -> Machine:
    """An ARM core.

    Args:
        prefix: for QEMU.
        path: edgecomp's folder first.
    """
    return Machine(
        name=f"ARM {core}, onnxruntime {onnxruntime}",
        slug=f"{core}-{onnxruntime}",
        onnxruntime=onnxruntime,
        emulator=(qemu, "-cpu", core, "-L", str(prefix)),
        python=python,
        path=path,
        package=path[0],
    )


def _instructions(line: str) -> list[int]:
    """Those that a line of QEMU's log shows."""
    shown = _LINE.match(line)
    if shown:
        return [int(shown[1], 16)]
    raw = _BYTES.match(line)
    data = bytes.fromhex(raw[1]) if raw else b""
    return [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]


def _is_dot_product(instruction: int) -> bool:
    return any(instruction & mask == value for mask, value in DOT_PRODUCTS)
