"""The fuzzing targets build and pass for a while (native/fuzz/README.md says how to run them)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from common import ROOT
from compilers import SANITIZERS, build, require_sanitizers

FUZZ = ROOT / "native" / "fuzz"
TARGETS = ["decode", "prepare", "unpack"]


def driven(target: str, folder: Path) -> Path:
    """The target with the driver that needs no libFuzzer."""
    compiler = require_sanitizers(folder)
    return build(compiler, folder / target, [FUZZ / f"{target}.c", FUZZ / "driver.c"], *SANITIZERS)


def run(program: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *arguments], cwd=program.parent, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("target", TARGETS)
def test_targets_pass(target: str, tmp_path: Path) -> None:
    program = driven(target, tmp_path)
    seeds = sorted((FUZZ / "corpus" / target).iterdir())
    assert seeds
    done = run(program, "-runs=1500", *seeds)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1500 executions\n"
    assert not (tmp_path / "failed-input").exists()


def test_seeds_are_those_that_the_program_writes(tmp_path: Path) -> None:
    compiler = require_sanitizers(tmp_path)
    program = build(compiler, tmp_path / "seeds", [FUZZ / "seeds.c"], *SANITIZERS)
    for target in TARGETS:
        (tmp_path / target).mkdir()
    assert run(program, tmp_path).returncode == 0
    for target in TARGETS:
        written = {path.name: path.read_bytes() for path in (tmp_path / target).iterdir()}
        kept = {path.name: path.read_bytes() for path in (FUZZ / "corpus" / target).iterdir()}
        assert written.items() <= kept.items()


def test_a_failure_leaves_its_input(tmp_path: Path) -> None:
    """The control: the driver finds a target's fault and keeps what caused it."""
    compiler = require_sanitizers(tmp_path)
    source, seed = tmp_path / "faulty.c", tmp_path / "seed"
    source.write_text(
        "#include <stddef.h>\n#include <stdint.h>\n"
        "int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);\n"
        "int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)\n"
        "{\n    return data[size];\n}\n"
    )
    seed.write_bytes(b"four")
    program = build(compiler, tmp_path / "faulty", [source, FUZZ / "driver.c"], *SANITIZERS)
    done = run(program, "-runs=10", seed)
    assert done.returncode != 0
    assert "AddressSanitizer" in done.stderr
    assert (tmp_path / "failed-input").read_bytes() == b"four"


def test_the_driver_needs_inputs(tmp_path: Path) -> None:
    program = driven("unpack", tmp_path)
    for arguments in ([], ["-runs=3"], ["-runs=3", "no-such-file"]):
        assert run(program, *arguments).returncode == 2
