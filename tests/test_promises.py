"""docs/reliability.md names tests that there are."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from common import ROOT

PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
_NAMED = re.compile(r"(tests/[\w/]+\.py)?::(test_\w+)")


def named() -> list[tuple[str, str]]:
    """File and name of each test on the page; a file counts for the names that follow it."""
    found, file = [], ""
    for match in _NAMED.finditer(PAGE):
        file = match[1] or file
        found.append((file, match[2]))
    return found


@cache
def functions_of(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize(("file", "name"), named())
def test_the_test_is_there(file: str, name: str) -> None:
    assert name in functions_of(ROOT / file)


def test_every_promise_names_a_test() -> None:
    section = PAGE.split("## Not promised")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    promises = [row for row in rows if not row.startswith(("| promise", "|---"))]
    assert len(promises) > 30
    for row in promises:
        assert _NAMED.search(row), row
    assert len(named()) > 60
