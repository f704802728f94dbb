"""The tables as Markdown, for a page of documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from edgecomp.evaluation.results import Evaluation
from edgecomp.evaluation.table import Table

# What Markdown, or the HTML in it, would take for its own; a bar ends a cell.
_SPECIAL = re.compile(r"([\\`*_\[\]<>|~#])")


def markdown(evaluation: Evaluation, tables: Sequence[Table]) -> str:
    """Tables, their notes, what the pictures were and the machine."""
    return "\n".join(_lines(evaluation, tables)) + "\n"


def _lines(evaluation: Evaluation, tables: Sequence[Table]) -> Iterator[str]:
    for table in tables:
        yield f"### {_escaped(table.title)}"
        yield ""
        yield _line([_escaped(cell) for cell in table.header])
        yield _line(["---:" if i in set(table.right) else "---" for i in range(len(table.header))])
        for number, row in enumerate(table.rows):
            cells = [_escaped(cell) for cell in row]
            if number in table.marks:
                cells = [f"**{cell}**" if cell else "" for cell in cells]
            yield _line(cells)
        yield ""
        for note in table.notes:
            yield f"- {_escaped(note)}"
        yield ""
    for note in (*evaluation.notes, *(f"{n.path}: {n.reason}" for n in evaluation.left_out)):
        yield f"- {_escaped(note)}"
    machine = "; ".join(f"{subject}: {words}" for subject, words in evaluation.machine.items())
    yield f"- {_escaped(machine)}; cores: {evaluation.cores}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)
