"""The published figures: complete, in range, and the numbers that the literature knows."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from edgecomp.evaluation.bd_rate import ms_ssim_db
from edgecomp.evaluation.published import PublishedSystem, paper, paper_rows, systems

NAMES = (
    "Minnen 2018 (MS-SSIM)",
    "Minnen 2018 (MSE)",
    "Ballé 2018 (MS-SSIM)",
    "Ballé 2018 (MSE)",
    "Mentzer 2018",
    "Rippel 2017",
    "Johnston 2018",
    "BPG 4:4:4",
    "Theis 2017",
    "Toderici 2017",
)


def system(name: str) -> PublishedSystem:
    return next(entry for entry in systems() if entry.name == name)


def test_every_system_is_there() -> None:
    assert tuple(entry.name for entry in systems()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_is_complete(name: str) -> None:
    entry = system(name)
    assert all((entry.title, entry.authors, entry.venue, entry.source))
    assert 2014 <= entry.year <= 2018
    assert str(entry.year) in entry.citation
    assert entry.optimised_for != ""


@pytest.mark.parametrize("name", NAMES)
def test_points_are_in_range_and_rise(name: str) -> None:
    points = system(name).points
    assert 3 <= len(points) <= 25
    assert all(0.05 < point.bpp < 3 and 0.8 < point.ms_ssim < 1 for point in points)
    assert all(a.bpp < b.bpp and a.ms_ssim < b.ms_ssim for a, b in pairwise(points))
    psnr = [point.psnr for point in points if point.psnr is not None]
    assert len(psnr) == (0 if name in ("Mentzer 2018", "Rippel 2017") else len(points))
    assert all(22 < value < 46 for value in psnr)
    assert all(a < b for a, b in pairwise(psnr))


@pytest.mark.parametrize(
    ("name", "bpp"),
    [
        ("Minnen 2018 (MS-SSIM)", 0.29),
        ("Ballé 2018 (MS-SSIM)", 0.31),
        ("Rippel 2017", 0.37),
        ("Mentzer 2018", 0.37),
        ("BPG 4:4:4", 0.53),
        ("Johnston 2018", 0.53),
        ("Theis 2017", 0.73),
        ("Toderici 2017", 0.86),
    ],
)
def test_the_rate_at_the_papers_quality(name: str, bpp: float) -> None:
    """At MS-SSIM 0.975, read off the curves of MS-SSIM in dB over rate."""
    points = system(name).points
    quality = [point.ms_ssim_db for point in points]
    rate = np.interp(ms_ssim_db(0.975), quality, [point.bpp for point in points])
    assert rate == pytest.approx(bpp, abs=0.012)


def test_what_was_trained_for_a_measure_is_better_by_it() -> None:
    for who in ("Minnen", "Ballé"):
        by_ms_ssim, by_mse = system(f"{who} 2018 (MS-SSIM)"), system(f"{who} 2018 (MSE)")
        log_rate = [np.log([p.bpp for p in entry.points]) for entry in (by_ms_ssim, by_mse)]
        at = np.log(0.6)
        ms_ssim = [
            np.interp(at, x, [p.ms_ssim_db for p in entry.points])
            for x, entry in zip(log_rate, (by_ms_ssim, by_mse), strict=True)
        ]
        psnr = [
            np.interp(at, x, [p.psnr or 0 for p in entry.points])
            for x, entry in zip(log_rate, (by_ms_ssim, by_mse), strict=True)
        ]
        assert ms_ssim[0] > ms_ssim[1] + 1
        assert psnr[0] < psnr[1] - 2


def test_the_papers_tables() -> None:
    assert [(data.name, data.kodak) for data in paper().data_sets] == [
        ("Kodak", True),
        ("CLIC professional, validation set", False),
    ]
    labels = [f"LZMA-Mentzer {letter}" for letter in "CBA"]
    for data in paper().data_sets:
        assert [row.label for row in data.rows] == ["Mentzer et al.", *labels, "7-Zip", "TAR"]
        assert all(row.megabytes > 0 and row.seconds > 0 for row in data.rows)
        archivers = data.rows[-2:]
        assert {(row.bpp, row.ms_ssim, row.psnr) for row in archivers} == {(None, None, None)}
        learned = [row.bpp for row in data.rows[1:4]]
        assert learned == sorted((bpp for bpp in learned if bpp is not None), reverse=True)
    assert paper_rows() == paper().data_sets[0].rows


@pytest.mark.parametrize("data", paper().data_sets, ids=lambda data: data.name)
def test_the_papers_rates_fit_its_sizes(data) -> None:  # type: ignore[no-untyped-def]
    """Rate times size is the folder's size as PNG files, to the digits that were printed."""
    folder = {"Kodak": 15.4, "CLIC professional, validation set": 134.9}[data.name]
    for row in data.rows:
        assert row.compression_rate * row.megabytes == pytest.approx(folder, rel=0.017), row.label


def test_bounds_of_seconds_are_printed() -> None:
    kodak, clic = (data.rows for data in paper().data_sets)
    assert [kodak[0].seconds_text, clic[0].seconds_text] == ["~ 14,000", "> 15,000"]
    assert kodak[3].seconds_text == "72.13"
    assert "point A" in kodak[0].note
