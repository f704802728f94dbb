"""Comparisons of what machines have found, and the log of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SHOWN = 12  # of a hash
# What is a few rounding errors of float32 sums apart, rounded to whole levels.
MOST_LEVELS_APART = 1


class DifferenceError(Exception):
    """Something is not equal; says what."""


class Log:
    """Writes lines and counts comparisons.

    Attributes:
        count: comparisons that were equal.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self.count = 0

    def say(self, line: str = "") -> None:
        """A line."""
        self._write(line)

    def equal(self, what: str, wanted: object, found: object) -> None:
        """One comparison.

        Raises:
            DifferenceError: they differ.
        """
        if wanted != found:
            raise DifferenceError(f"{what}: {_short(found)} where {_short(wanted)} was found first")
        self.count += 1


def _short(value: object) -> str:
    text = str(value)
    return f"{text[:SHOWN]}..." if len(text) == 64 else text


def found_alike(
    log: Log, wanted: dict[str, Any], found: dict[str, Any], *, whose: str, parts: Iterable[str]
) -> None:
    """Compares what two machines have found, and says so for each picture.

    Args:
        wanted: what the first has found, and what it is.
        found: likewise, of the second.
        whose: names the second.
        parts: how the names begin that are compared; each must begin one.

    Raises:
        DifferenceError: something differs, or is there on one side only.
    """
    chosen = {part: _under(part, wanted["found"]) for part in parts}
    for part, hashes in chosen.items():
        others = _under(part, found["found"])
        log.equal(f"{whose}: what {part} has", sorted(hashes), sorted(others))
        if not hashes:
            raise DifferenceError(f"{whose}: nothing of {part} was compared")
        excused = _excuses(wanted["machine"], found["machine"])
        for name in dict.fromkeys(key.rpartition(": ")[0] for key in hashes):
            words = []
            for key in (key for key in hashes if key.rpartition(": ")[0] == name):
                kind = key.rpartition(": ")[2]
                if hashes[key] != others[key] and kind in excused:
                    words.append(f"{kind} differs ({excused[kind]})")
                    continue
                log.equal(f"{whose}: {key}", hashes[key], others[key])
                words.append(f"{kind} {_short(hashes[key])} equal")
            log.say(f"  {name}: {', '.join(words)}")


def _under(part: str, found: dict[str, str]) -> dict[str, str]:
    """Of the names, those that begin so."""
    return {key: value for key, value in found.items() if key.startswith((f"{part}, ", f"{part}:"))}


def _excuses(one: dict[str, Any], other: dict[str, Any]) -> dict[str, str]:
    """Kinds of bytes that another library writes in its own way, and why."""
    excused = {}
    for kind, library in (("archive", "liblzma"), ("file", "zlib")):
        if one[library] != other[library]:
            excused[kind] = f"{library} {one[library]} and {other[library]}"
    return excused


def compare_fp32(log: Log, here: Path, there: Path, exact: Path, *, what: str) -> None:
    """Compares pictures that float graphs have restored here and there, and says how far they are
    from those of the integer graphs.

    Args:
        exact: folder of the pictures by the integer graphs.

    Raises:
        DifferenceError: they are more than a level apart.
    """
    apart, errors = 0, []
    names = sorted(path.relative_to(here) for path in here.rglob("*.png"))
    others = sorted(path.relative_to(there) for path in there.rglob("*.png"))
    log.equal(f"{what}: the pictures restored with --precision fp32", names, others)
    for name in names:
        one, other, integer = (_pixels(folder / name) for folder in (here, there, exact))
        apart = max(apart, int(np.abs(one - other).max()))
        errors.append(np.abs(other - integer).ravel())
    if apart > MOST_LEVELS_APART or not names:
        raise DifferenceError(f"{what}: --precision fp32 gives {apart} levels more or less")
    log.count += len(names)
    error = np.concatenate(errors)
    log.say(
        f"  {what}: within {apart} of 255 of x86's fp32; from the int8 pixels at most"
        f" {error.max()}, {error.mean():.3f} in the mean"
    )


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image).astype(int)
