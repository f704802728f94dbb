"""The C programs of tests/native on other processors, as a part of the proof."""

from __future__ import annotations

from pathlib import Path

from foreign import (
    FOREIGN,
    GOLDEN,
    GOLDEN_PACKED,
    Foreign,
    build_foreign,
    hash_of_packed,
    kernels_and_hash,
    output,
)

from arm.compare import Log

TESTS = ("test_native", "test_context", "test_choice")


def prove(log: Log, work: Path, cores: tuple[str, ...]) -> None:
    """Runs all of them on ARM cores and on a big-endian processor.

    Raises:
        DifferenceError: one does not do what it does here.
        UnavailableError: a compiler or QEMU is not here.
    """
    for core in cores:
        _programs(log, work / core, FOREIGN["arm"], f"ARM {core}", "-cpu", core)
    _programs(log, work / "big-endian", FOREIGN["big-endian"], "s390x (big-endian)")


def _programs(log: Log, folder: Path, foreign: Foreign, name: str, *options: str) -> None:
    folder.mkdir()
    codes = build_foreign(foreign, "context_codes", folder, *options)
    kernels, found = kernels_and_hash(codes)
    log.equal(f"{name}: kernels of the context coder", foreign.kernels, kernels)
    log.equal(f"{name}: codes of the context coder", GOLDEN, found)
    packed = hash_of_packed(build_foreign(foreign, "pack_codes", folder, *options))
    log.equal(f"{name}: packed volumes", GOLDEN_PACKED, packed)
    for test in TESTS:
        said = output(build_foreign(foreign, test, folder, *options))
        log.equal(f"{name}: {test}", f"{test}: all tests passed\n", said)
    log.say(
        f"  {name}: codes {found[:12]}... equal (kernels {', '.join(sorted(kernels))}),"
        f" packed volumes {packed[:12]}... equal; passed: {', '.join(TESTS)}"
    )
