"""Hands a target over to the package atheris, which is guided by coverage. Not needed for anything.

It makes its changes and those of `mutations` in turn, and checksums are put right after both.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from fuzz.known import is_known
from fuzz.mutations import MOST_BYTES, Mutator

_RESIDENT_MEGABYTES = 1024  # numpy, Pillow and onnxruntime take a part of it
_HANG_SECONDS = 10


def fuzz_by_coverage(
    name: str,
    one_input: Callable[[bytes], None],
    corpus: Sequence[bytes],
    *,
    keep: Path,
    runs: int | None,
    seconds: float | None,
    seed: int,
) -> int:
    """Run until something is found; the arguments are those of `driver.fuzz`.

    The process ends with the run, unless the package is not there: then the result is 2.
    """
    try:
        import atheris  # type: ignore[import-untyped]
    except ImportError:
        print("the package atheris is not installed", file=sys.stderr)
        return 2

    def unless_known(data: bytes) -> None:
        try:
            one_input(data)
        except Exception as error:
            if not is_known(error):
                raise

    def change(data: bytes, longest: int, number: int) -> bytes:
        rng = random.Random(number)
        mutator = Mutator(rng, corpus, name)
        if rng.random() < 0.5:
            return mutator.changed(data)[:longest]
        return mutator.righted(bytearray(atheris.Mutate(data, longest)))[:longest]

    begin, found = keep / f"begin-{name}", keep / f"found-{name}"
    for folder in (begin, found):
        folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(corpus):
        (begin / f"{number:04}").write_bytes(data)
    arguments = [
        sys.argv[0],
        str(found),
        str(begin),
        f"-seed={seed}",
        f"-max_len={MOST_BYTES}",
        f"-timeout={_HANG_SECONDS}",
        f"-rss_limit_mb={_RESIDENT_MEGABYTES}",
        f"-artifact_prefix={keep}/failed-{name}-",
    ]
    arguments += [] if runs is None else [f"-runs={runs}"]
    arguments += [] if seconds is None else [f"-max_total_time={round(seconds)}"]
    atheris.instrument_all()
    atheris.Setup(arguments, unless_known, custom_mutator=change)
    atheris.Fuzz()
    return 0
