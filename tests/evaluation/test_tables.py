"""evaluation.tables: the four tables, their figures, and what they say of rows without."""

from __future__ import annotations

import pytest
from evaluations import POINTS, evaluation, row

from edgecomp.evaluation.results import NOT_ASKED_FOR, OWN_NAMES, Row
from edgecomp.evaluation.table import Table
from edgecomp.evaluation.tables import (
    archive_table,
    codec_table,
    equal_quality_table,
    learned_table,
    tables,
)


def cells(table: Table, *start: str) -> dict[str, str]:
    """The only row that begins so, by its columns."""
    found = [r for r in table.rows if tuple(r[: len(start)]) == start]
    assert len(found) == 1, start
    return dict(zip(table.header, found[0], strict=True))


def test_there_are_four() -> None:
    made = tables(evaluation())
    assert [table.title[:2] for table in made] == ["1.", "2.", "3.", "4."]
    for table in made:
        assert all(table.rows[i][0].startswith("edgecomp") for i in table.marks)
        assert table.marks


def test_learned_methods() -> None:
    table = learned_table(evaluation())
    found = cells(table, "edgecomp context", "A")
    assert found == {
        "method": "edgecomp context",
        "quality": "A",
        "bpp": "0.500",
        "MS-SSIM": "0.9750",
        "PSNR dB": "29.00",
        "compress s": "0.50",
        "restore s": "0.25",
        "both s": "0.75",
        "cores": "2",
    }
    assert cells(table, "context model", "A")["both s"] == "301"
    assert cells(table, "context model", "B")["bpp"] == "-"
    text = " ".join(table.notes)
    assert "context model B: skipped: its float graph was not given." in text
    assert "context model A: ideal rate, no file." in text
    assert "estimate" in text
    assert "on 2 cores" in text
    assert "paper" not in text


def test_the_paper_stands_beside_kodak_only() -> None:
    plain, kodak = learned_table(evaluation()), learned_table(evaluation(kodak=True))
    assert len(kodak.rows) > len(plain.rows)
    found = cells(kodak, "LZMA-Mentzer (the paper)", "A")
    assert (found["bpp"], found["both s"]) == ("0.583", "72.13")
    assert "another machine" in " ".join(kodak.notes)
    archive = archive_table(evaluation(kodak=True))
    assert cells(archive, "LZMA-Mentzer (the paper)", "A")["size MB"] == "0.688"
    assert not any("paper" in r[0] for r in archive_table(evaluation()).rows)


def test_picture_codecs() -> None:
    table = codec_table(evaluation())
    found = cells(table, "jpeg", "75")
    assert (found["bpp"], found["MS-SSIM"], found["PSNR dB"]) == ("1.340", "0.9866", "34.50")
    size = round(1.34 * 2 * 512 * 768 / 8)
    assert found["size MB"] == f"{size / 1e6:.3f}"
    assert found["to PNG"] == f"{1_200_000 / size:.2f}"
    assert cells(table, "heic")["bpp"] == "-"
    assert "heic: skipped: heic is not installed." in table.notes


def test_archives_are_timed_as_whole_commands() -> None:
    table = archive_table(evaluation())
    assert cells(table, "edgecomp context", "B")["both s"] == "1.40"
    assert cells(table, "tar")["both s"] == "0.09"
    assert cells(table, "7-zip")["to PNG"] == "1.01"
    without = archive_table(evaluation(commands=[]))
    assert cells(without, "edgecomp context", "B")["both s"] == "-"


def test_rows_that_were_not_asked_for_are_not_shown() -> None:
    rows = [row(OWN_NAMES[0], "A"), Row("jpeg", skipped=NOT_ASKED_FOR)]
    for table in tables(evaluation(rows=rows)):
        assert "jpeg" not in [r[0] for r in table.rows]


def test_peers_at_edgecomp_s_quality() -> None:
    table = equal_quality_table(evaluation())
    assert list(table.header[1:4]) == [
        "bpp at A's 0.9750",
        "bpp at B's 0.9870",
        "bpp at C's 0.9922",
    ]
    own = cells(table, "edgecomp context")
    assert own["bpp at A's 0.9750"] == "0.500"
    lzma = cells(table, "edgecomp lzma")
    assert lzma["bpp at A's 0.9750"] == f"0.700 ({100 * (0.5 / 0.7 - 1):+.1f} %)"
    assert lzma["BD-rate, MS-SSIM"].startswith("-2")
    # A peer that wins is there too, with its sign.
    avif = cells(table, "avif")
    assert "(+" in avif["bpp at A's 0.9750"]
    assert "heic" not in [r[0] for r in table.rows]


def test_outside_of_a_peer_s_points_there_is_a_dash() -> None:
    rows = [row(OWN_NAMES[0], q) for q in "ABC"] + [row("jpeg", "75"), row("jpeg", "90")]
    found = cells(equal_quality_table(evaluation(rows=rows)), "jpeg")
    assert found["bpp at A's 0.9750"] == "-"
    assert found["bpp at C's 0.9922"] != "-"


def test_published_systems_beside_kodak() -> None:
    names = [r[0] for r in equal_quality_table(evaluation(kodak=True)).rows]
    assert "BPG 4:4:4 (published)" in names
    assert not any("published" in r[0] for r in equal_quality_table(evaluation()).rows)


@pytest.mark.parametrize("names", [[], ["jpeg"], [OWN_NAMES[1]], [OWN_NAMES[0]]])
def test_whatever_is_missing(names: list[str]) -> None:
    """Tables of nothing, of a peer alone, of one coder alone."""
    rows = [row(name, quality) for name in names for quality in POINTS[name]]
    for table in tables(evaluation(rows=rows, commands=[], stages=[])):
        assert all(len(r) == len(table.header) for r in table.rows)
