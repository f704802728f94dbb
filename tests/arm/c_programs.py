"""The C programs of tests/native on other processors, as a part of the proof."""

from __future__ import annotations

from pathlib import Path

from foreign import (
    FOREIGN,
    GOLDEN,
    GOLDEN_PACKED,
    build_foreign,
    hash_of_packed,
    kernels_and_hash,
    output,
)

from arm.compare import Log

TESTS = ("test_native", "test_context", "test_choice")


def prove(work: Path, core: str | None, log: Log) -> None:
    """Runs all of them.

    Args:
        work: a folder.
        core: of ARM; None for a big-endian processor.

    Raises:
        DifferenceError: one does not do what it does here.
    """
    if core is None:
        foreign, name, options = FOREIGN["big-endian"], "s390x (big-endian)", []
    else:
        foreign, name, options = FOREIGN["arm"], f"ARM {core}", ["-cpu", core]
    folder = work / f"c-{core or 'big-endian'}"
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
    log.say(f"\nThe C library on {name}, kernels {', '.join(sorted(kernels))}:")
    log.say(f"  codes {found[:12]}... equal, packed volumes {packed[:12]}... equal")
    log.say(f"  passed: {', '.join(TESTS)}")
