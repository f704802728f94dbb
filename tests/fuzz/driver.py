"""Runs a fuzzing target on its corpus and on changes to it.

    python tests/fuzz/driver.py TARGET [--runs N] [--seconds S] [--seed N] [FILE...]

There is no coverage to guide it; with ``--atheris`` the package of that name does it instead. An
input that breaks a promise, takes more than 512 MB or 10 s is written to a file, and named.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from fuzz.guided import fuzz_by_coverage
from fuzz.known import is_known
from fuzz.mutations import Mutator
from fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
DATA = Path(__file__).parent.parent / "data"
SHIPPED = Path(__file__).parent.parent.parent / "edgecomp" / "models"
# Files that are kept for other reasons, and are inputs as well.
_ALSO = {
    "archive": [(DATA, "*.ecz")],
    "codestream": [(DATA, "*.edge"), (DATA / "golden", "*.edge")],
    "model": [(DATA, "*/*/model.json"), (SHIPPED, "*/model.json")],
}
MEMORY_BYTES = 512 << 20
HANG_SECONDS = 10.0


class HangError(BaseException):
    """An input takes too long; no target may catch it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run.

    Attributes:
        executions: inputs that the target was given.
        seconds: that it took.
        failure: the file with the input that failed; None if none did.
        trace: how it failed.
    """

    executions: int
    seconds: float
    failure: Path | None = None
    trace: str = ""


def corpus_of(target: str) -> list[bytes]:
    """The inputs that a target begins with."""
    places = [(CORPUS / target, "*"), *_ALSO.get(target, ())]
    return [path.read_bytes() for folder, glob in places for path in sorted(folder.glob(glob))]


def fuzz(
    name: str,
    one_input: Callable[[bytes], None],
    corpus: Sequence[bytes],
    *,
    keep: Path,
    runs: int | None = None,
    seconds: float | None = None,
    seed: int = 1,
    memory: int = MEMORY_BYTES,
    hang: float = HANG_SECONDS,
) -> Outcome:
    """Give a target its corpus and then changes to it, until it fails or has had enough.

    Args:
        name: of the target.
        one_input: the target.
        corpus: inputs to begin with.
        keep: folder for an input that fails.
        runs, seconds: how much is enough; what comes first ends the run.
        seed: of the changes.
        memory: bytes that an input may take beyond those of the process as it is.
        hang: seconds that an input may take.
    """
    started = time.monotonic()
    inputs = _inputs(corpus, seed, name)
    executions = 0
    with _bounded(memory):
        for data in inputs:
            if runs is not None and executions >= runs:
                break
            if seconds is not None and time.monotonic() - started >= seconds:
                break
            executions += 1
            trace = _trace_of(one_input, data, hang)
            if trace is not None:
                failure = keep / f"failed-{name}-{hashlib.sha256(data).hexdigest()[:12]}"
                failure.write_bytes(data)
                return Outcome(executions, time.monotonic() - started, failure, trace)
    return Outcome(executions, time.monotonic() - started)


def _inputs(corpus: Sequence[bytes], seed: int, name: str) -> Iterator[bytes]:
    yield from corpus
    mutator = Mutator(random.Random(seed), corpus, name)
    for _ in count():
        yield mutator.next()


def _trace_of(one_input: Callable[[bytes], None], data: bytes, hang: float) -> str | None:
    """How the target fails; None if it does not, or in a way that is known."""
    try:
        with ending_after(hang):
            one_input(data)
    except (Exception, HangError) as error:
        if not is_known(error):
            return "".join(traceback.format_exception(error))
    return None


@contextmanager
def _bounded(memory: int) -> Iterator[None]:
    """Within the block the process gets so much more memory at most."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + memory
    if soft != resource.RLIM_INFINITY:
        limit = min(limit, soft)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextmanager
def ending_after(seconds: float) -> Iterator[None]:
    """Raises HangError in the block if it takes longer."""

    def stop(number: int, frame: object) -> None:
        raise HangError(f"no end after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 if nothing was found, 1 if something was."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("files", metavar="FILE", nargs="*", type=Path, help="only these inputs")
    parser.add_argument("--runs", type=int, help="inputs, those of the corpus among them")
    parser.add_argument("--seconds", type=float, help="(default: a minute, unless --runs is given)")
    parser.add_argument("--seed", type=int, default=1, help="of the changes (default: 1)")
    parser.add_argument("--keep", type=Path, default=Path(), help="folder for what fails")
    parser.add_argument("--atheris", action="store_true", help="let atheris do it")
    options = parser.parse_args(arguments)
    one_input = TARGETS[options.target]
    corpus = [path.read_bytes() for path in options.files] or corpus_of(options.target)
    if not corpus:
        parser.error(f"there are no inputs in {CORPUS / options.target}")
    runs, seconds = options.runs, options.seconds
    if options.files:
        runs = len(corpus)
    elif runs is None and seconds is None:
        seconds = 60.0
    limits = {"runs": runs, "seconds": seconds}
    if options.atheris:
        return fuzz_by_coverage(
            options.target, one_input, corpus, keep=options.keep, seed=options.seed, **limits
        )
    done = fuzz(options.target, one_input, corpus, keep=options.keep, seed=options.seed, **limits)
    print(f"{options.target}: {done.executions} executions, {done.seconds:.0f} s")
    if done.failure is None:
        return 0
    print(done.trace, end="", file=sys.stderr)
    print(f"the input is in {done.failure}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
