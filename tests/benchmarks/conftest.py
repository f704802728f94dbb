"""Fixtures of the tests of benchmarks/performance*.py."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator

import pytest
from common import ROOT

MODULES = (
    "",
    "_avif",
    "_child",
    "_load",
    "_measure",
    "_page",
    "_parts",
    "_record",
    "_stages",
    "_threads",
)


class Modules:
    """The scripts, imported, as attributes without ``performance_``."""

    def __init__(self) -> None:
        for name in MODULES:
            setattr(self, name[1:] or "main", importlib.import_module("performance" + name))


@pytest.fixture(scope="module")
def bench() -> Iterator[Modules]:
    """Them, imported: ``bench.page`` is performance_page.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
        yield Modules()
