"""Tables before they are printed."""

from __future__ import annotations

import pytest

from edgecomp.evaluation.table import Table


def test_table() -> None:
    table = Table("Rates", ("method", "bpp"), [("jpeg", "1.3")], right=[1], marks=[0])
    assert table.notes == ()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"rows": [("a", "b"), ("a",)]}, "row 1 of the table 'Rates' has 1 texts in 2 columns"),
        ({"right": [2]}, "has 2 columns"),
        ({"right": [-1]}, "has 2 columns"),
        ({"marks": [1]}, "has 1 rows"),
        ({"marks": [-1]}, "has 1 rows"),
    ],
)
def test_table_does_not_fit(more: dict, words: str) -> None:
    parts = {"title": "Rates", "header": ("method", "bpp"), "rows": [("jpeg", "1.3")]}
    with pytest.raises(ValueError, match=words):
        Table(**{**parts, **more})
