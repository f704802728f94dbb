"""Faults that are known and not mended yet: the driver goes on where it meets one.

Each has an input in the corpus, ``fault-...``, and a test that fails as long as the fault is there
(tests/test_python_fuzz.py). What is mended goes out of this list.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Known:
    """A fault, by the exception and a function that it passes through.

    Attributes:
        error: name of the exception's class.
        function: name of the function.
        what: what is wrong.
        says: words of the message.
    """

    error: str
    function: str
    what: str
    says: str = ""


KNOWN: tuple[Known, ...] = ()


def is_known(error: BaseException) -> bool:
    """Whether an exception is one of these."""
    functions = {frame.name for frame in traceback.extract_tb(error.__traceback__)}
    return any(
        type(error).__name__ == fault.error
        and fault.function in functions
        and fault.says in str(error)
        for fault in KNOWN
    )
