"""A table for people, before anyone decides how to print it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """Texts in rows and columns.

    Attributes:
        title: what it is about.
        header: one text a column.
        rows: each as long as the header.
        right: indices of the columns that are aligned to the right.
        notes: sentences to be read with it.
        marks: indices of the rows to emphasise: edgecomp's own.

    Raises:
        ValueError: a row of another length, or an index outside the table.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: Sequence[int] = ()
    notes: Sequence[str] = ()
    marks: Sequence[int] = ()

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.header):
                raise ValueError(
                    f"row {number} of the table {self.title!r} has {len(row)} texts"
                    f" in {len(self.header)} columns"
                )
        if any(not 0 <= column < len(self.header) for column in self.right):
            raise ValueError(f"the table {self.title!r} has {len(self.header)} columns")
        if any(not 0 <= row < len(self.rows) for row in self.marks):
            raise ValueError(f"the table {self.title!r} has {len(self.rows)} rows")
