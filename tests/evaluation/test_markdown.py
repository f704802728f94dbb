"""evaluation.markdown: every table with its cells, and nothing that Markdown takes for its own."""

from __future__ import annotations

import re

from evaluations import evaluation

from edgecomp.evaluation.markdown import markdown
from edgecomp.evaluation.table import Table
from edgecomp.evaluation.tables import tables
from edgecomp.names import Note


def test_every_table_is_there_whole() -> None:
    made = tables(evaluation())
    text = markdown(evaluation(), made)
    for table in made:
        assert f"### {table.title}" in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == sum(len(table.rows) + 2 for table in made)
    assert "| **edgecomp context** | **A** | **0.500** | **0.9750** |" in text
    assert "| jpeg | 75 | 1.340 | 0.9866 |" in text
    assert "cores: 2" in text
    assert "broken.png: cannot be decoded (truncated)" in text


def test_every_line_of_a_table_has_its_columns() -> None:
    table = Table("a | b", ["x|y", "z"], [["1|2", "<b>"], ["`c`", "d_e"]], right=[1])
    text = markdown(evaluation(left_out=[Note("a|*b*.png", "bad")]), [table])
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in lines] == [3, 3, 3, 3]
    assert lines[1] == "| --- | ---: |"
    assert "\\<b\\>" in lines[2]
    assert "a\\|\\*b\\*.png" in text
