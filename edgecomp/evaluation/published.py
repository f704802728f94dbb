"""Figures that others published for the Kodak suite, and those of the paper that edgecomp follows.

They stand in ``published.json`` beside this module, each with its source, and are drawn and printed
next to what is measured; nothing here was measured by edgecomp.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

from edgecomp.evaluation.bd_rate import ms_ssim_db

_FILE: Final = "published.json"
_BOUNDS: Final = {"": "", "about": "~ ", "more than": "> "}  # as the paper prints them


@dataclass(frozen=True, slots=True)
class PublishedPoint:
    """Bits per pixel, MS-SSIM and PSNR in dB (None where not published), means of 24 pictures."""

    bpp: float
    ms_ssim: float
    psnr: float | None

    @property
    def ms_ssim_db(self) -> float:
        """-10 log10(1 - MS-SSIM)."""
        return ms_ssim_db(self.ms_ssim)


@dataclass(frozen=True, slots=True)
class PublishedSystem:
    """The rate-distortion curve of one system on Kodak, points by rising rate.

    ``optimised_for`` is the distortion that it was trained for; None for a codec made by hand.
    ``source`` says in words where the figures are from.
    """

    name: str
    title: str
    authors: str
    venue: str
    year: int
    optimised_for: str | None
    source: str
    points: tuple[PublishedPoint, ...]

    @property
    def citation(self) -> str:
        """Authors, title, venue, year."""
        return f"{self.authors}, {self.title}, {self.venue} {self.year}"


@dataclass(frozen=True, slots=True)
class PaperRow:
    """One row of the paper's tables: a rate-distortion table and a table of sizes, joined.

    Attributes:
        name, quality: "LZMA-Mentzer" and "A"; quality None where it has none.
        bpp, ms_ssim, psnr: psnr in dB; None where the paper gives none (archivers) or a range.
        megabytes: of the folder, compressed, as printed.
        compression_rate: as printed.
        seconds: to compress and decompress, as printed.
        seconds_bound: "", "about" or "more than".
        note: what a reader must know; "" if nothing.
    """

    name: str
    quality: str | None
    bpp: float | None
    ms_ssim: float | None
    psnr: float | None
    megabytes: float
    compression_rate: float
    seconds: float
    seconds_bound: str
    note: str

    @property
    def label(self) -> str:
        """Name and quality: "LZMA-Mentzer A"."""
        return self.name if self.quality is None else f"{self.name} {self.quality}"

    @property
    def seconds_text(self) -> str:
        """The seconds without their unit, as printed: "72.13", "~ 14,000"."""
        return _BOUNDS[self.seconds_bound] + f"{self.seconds:,}"


@dataclass(frozen=True, slots=True)
class PaperDataSet:
    """The paper's rows for one set of pictures, in its order; ``tables`` says which they are."""

    name: str
    kodak: bool
    tables: str
    rows: tuple[PaperRow, ...]


@dataclass(frozen=True, slots=True)
class Paper:
    """The paper that edgecomp follows, and what it measured."""

    title: str
    authors: str
    year: int
    source: str
    data_sets: tuple[PaperDataSet, ...]

    @property
    def citation(self) -> str:
        """Authors, title, year."""
        return f"{self.authors}, {self.title}, {self.year}"

    @property
    def kodak(self) -> PaperDataSet:
        """Its rows for the Kodak suite."""
        return next(data_set for data_set in self.data_sets if data_set.kodak)


@cache
def systems() -> tuple[PublishedSystem, ...]:
    """Every published system; about from the lowest to the highest rate at MS-SSIM 0.975."""
    return tuple(_system(record) for record in _document()["systems"])


@cache
def paper() -> Paper:
    """The paper's tables."""
    record = _document()["paper"]
    data_sets = tuple(
        PaperDataSet(
            **_without(data_set, "rows"), rows=tuple(PaperRow(**row) for row in data_set["rows"])
        )
        for data_set in record["data_sets"]
    )
    return Paper(**_without(record, "data_sets"), data_sets=data_sets)


def paper_rows() -> tuple[PaperRow, ...]:
    """The paper's rows for the Kodak suite."""
    return paper().kodak.rows


def _document() -> Mapping[str, Any]:
    text = resources.files(__package__).joinpath(_FILE).read_text("utf-8")
    document: Mapping[str, Any] = json.loads(text)
    return document


def _system(record: Mapping[str, Any]) -> PublishedSystem:
    points: Sequence[Sequence[Any]] = record["points"]
    return PublishedSystem(
        **_without(record, "points"), points=tuple(PublishedPoint(*point) for point in points)
    )


def _without(record: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != key}
