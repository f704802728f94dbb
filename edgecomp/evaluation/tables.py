"""The four tables: the paper's, for one folder, with the rows of the peers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from edgecomp.evaluation.equal_quality import comparisons, own_rows
from edgecomp.evaluation.published import PaperRow, paper_rows
from edgecomp.evaluation.results import (
    ARCHIVER_NAMES,
    CODEC_NAMES,
    LEARNED_NAMES,
    NOT_ASKED_FOR,
    OWN_NAMES,
    TIMED_ESTIMATE,
    Evaluation,
    Row,
)
from edgecomp.evaluation.table import Table

NOTHING: Final = "-"
_PAPER: Final = " (the paper)"
_TIMES: Final = ("compress s", "restore s", "both s", "cores")


def tables(evaluation: Evaluation) -> list[Table]:
    """All four, in their order."""
    return [
        learned_table(evaluation),
        codec_table(evaluation),
        archive_table(evaluation),
        equal_quality_table(evaluation),
    ]


def learned_table(evaluation: Evaluation) -> Table:
    """The paper's Tables 1 and 2: rate and quality of the learned methods, and their time."""
    header = ("method", "quality", "bpp", "MS-SSIM", "PSNR dB", *_TIMES)
    shown = _of(evaluation, LEARNED_NAMES)
    rows, marks = _cells(shown, len(header), lambda row: (*_distortion(row), *_seconds(row)))
    rows += [
        _paper_cells(
            paper,
            (_figure(paper.bpp, 3), _figure(paper.ms_ssim, 3), _figure(paper.psnr, 2)),
        )
        for paper in _paper(evaluation)
        if paper.bpp is not None
    ]
    notes = [_times_note(evaluation), *_row_notes(shown)]
    first, second = (
        {row.quality: row.ms_ssim for row in evaluation.measured(name)} for name in OWN_NAMES
    )
    if any(quality in second and second[quality] != value for quality, value in first.items()):
        notes.append(
            f"{OWN_NAMES[0]} makes zeros of symbols that are not worth their bits; the other rows"
            " code the same network's symbols as it rounds them, at another quality then."
        )
    if any(row.timed == TIMED_ESTIMATE for row in evaluation.measured(*LEARNED_NAMES)):
        notes.append("The seconds of the context model are an estimate from one picture's.")
    if _paper(evaluation):
        notes.append("Rows of the paper are its published figures, from another machine.")
    title = "1. Rate and quality: learned methods"
    return Table(title, header, rows, range(2, len(header)), notes, marks)


def codec_table(evaluation: Evaluation) -> Table:
    """The same for the picture codecs, at several qualities."""
    header = ("method", "quality", "bpp", "MS-SSIM", "PSNR dB", "size MB", "to PNG", *_TIMES)
    shown = _of(evaluation, (OWN_NAMES[0], *CODEC_NAMES))
    rows, marks = _cells(
        shown, len(header), lambda row: (*_distortion(row), *_size(row), *_seconds(row))
    )
    notes = [_times_note(evaluation)]
    notes += [f"{name}: {text}." for name, text in _settings(evaluation).items()]
    notes += _row_notes([row for row in shown if row.name in CODEC_NAMES])
    title = "2. Rate and quality: picture codecs"
    return Table(title, header, rows, range(2, len(header)), notes, marks)


def archive_table(evaluation: Evaluation) -> Table:
    """The paper's Tables 3 and 4: files to an archive and back, whole programs."""
    header = ("method", "quality", "size MB", "to PNG", *_TIMES)

    def cells(row: Row) -> Sequence[str]:
        command = evaluation.command(row.label)
        if row.name in ARCHIVER_NAMES:
            return *_size(row), *_seconds(row)
        if command is None:
            return *_size(row), NOTHING, NOTHING, NOTHING
        return *_size(row), *_pair(command.seconds_compress, command.seconds_decompress)

    rows, marks = _cells(_of(evaluation, (*ARCHIVER_NAMES, *OWN_NAMES)), len(header), cells)
    rows += [
        _paper_cells(paper, (_figure(paper.megabytes, 3), _figure(paper.compression_rate, 2)))
        for paper in _paper(evaluation)
        if paper.megabytes is not None
    ]
    notes = [
        f"Seconds of whole programs, from PNG files to one archive and back to PNG files,"
        f" start-up included, on {_cores(evaluation)}.",
        f"The {len(evaluation.pictures)} PNG files have {evaluation.png_bytes / 1e6:.2f} MB"
        " (10^6 bytes).",
        *_row_notes(_of(evaluation, ARCHIVER_NAMES)),
    ]
    title = "3. Compression rate and time: archives"
    return Table(title, header, rows, range(2, len(header)), notes, marks)


def equal_quality_table(evaluation: Evaluation) -> Table:
    """How many bits the peers need for edgecomp's quality, and their BD-rates."""
    own = own_rows(evaluation)
    name = own[0].name if own else OWN_NAMES[0]
    header = (
        "method",
        *(f"bpp at {row.quality}'s {row.ms_ssim:.4f}" for row in own),
        "BD-rate, MS-SSIM",
        "BD-rate, PSNR",
    )
    rows: list[tuple[str, ...]] = []
    if own:
        rows.append((name, *(_figure(row.bpp, 3) for row in own), NOTHING, NOTHING))
    for compared in comparisons(evaluation, own):
        rows.append(
            (
                compared.name,
                *(_needed(bpp, row.bpp) for bpp, row in zip(compared.bpp, own, strict=True)),
                _percent(compared.bd_rate_ms_ssim),
                _percent(compared.bd_rate_psnr),
            )
        )
    notes = [
        f"In brackets: {name} against the method, so that less than 0 means fewer bits by"
        f" {name}. BD-rate (Bjontegaard) is the same over the range of quality that both have.",
        "Rates between measured points are interpolated; a dash is outside them, or where less than"
        " half of the range is common.",
    ]
    return Table(
        "4. At the same quality", header, rows, range(1, len(header)), notes, [0] if own else []
    )


def _settings(evaluation: Evaluation) -> dict[str, str]:
    """What all rows of a codec were run with, by its name."""
    found = {}
    for name in CODEC_NAMES:
        parts = [row.settings.split(", ") for row in evaluation.measured(name)]
        common = (
            [part for part in parts[0] if all(part in other for other in parts)] if parts else []
        )
        if common:
            found[name] = ", ".join(common)
    if "jpeg2000" in found:
        found["jpeg2000"] += "; its quality is hundredths of bits per pixel"
    return found


def _of(evaluation: Evaluation, names: Sequence[str]) -> list[Row]:
    """Rows of these names in the order of the names; of those not asked for, none."""
    return [
        row
        for name in names
        for row in evaluation.rows
        if row.name == name and row.skipped != NOT_ASKED_FOR
    ]


def _cells(
    rows: Sequence[Row], columns: int, figures: Callable[[Row], Sequence[str]]
) -> tuple[list[Sequence[str]], list[int]]:
    """Rows as texts, dashes where there are no figures, and which of them are edgecomp's.

    Args:
        rows: to be shown.
        columns: of the table.
        figures: a measured row's texts between its quality and its cores.
    """
    cells = [
        (row.name, row.quality or "", *figures(row), str(row.cores))
        if row.skipped is None
        else (row.name, row.quality or "", *[NOTHING] * (columns - 2))
        for row in rows
    ]
    return list(cells), [i for i, row in enumerate(rows) if row.name in OWN_NAMES]


def _paper_cells(paper: PaperRow, figures: Sequence[str]) -> Sequence[str]:
    """A row of the paper, which has the seconds of both ways in one."""
    name = paper.name + _PAPER
    return name, paper.quality or "", *figures, NOTHING, NOTHING, paper.seconds_text, NOTHING


def _paper(evaluation: Evaluation) -> Sequence[PaperRow]:
    return paper_rows() if evaluation.kodak else ()


def _distortion(row: Row) -> tuple[str, str, str]:
    return _figure(row.bpp, 3), _figure(row.ms_ssim, 4), _figure(row.psnr, 2)


def _size(row: Row) -> tuple[str, str]:
    megabytes = None if row.bytes is None else row.bytes / 1e6
    return _figure(megabytes, 3), _figure(row.compression_rate, 2)


def _seconds(row: Row) -> tuple[str, str, str]:
    return _pair(row.seconds_compress, row.seconds_decompress)


def _pair(one: float | None, other: float | None) -> tuple[str, str, str]:
    both = None if one is None or other is None else one + other
    return _time(one), _time(other), _time(both)


def _time(seconds: float | None) -> str:
    if seconds is None:
        return NOTHING
    return f"{seconds:.0f}" if seconds >= 100 else f"{seconds:.2f}"


def _figure(value: float | None, places: int) -> str:
    return NOTHING if value is None else f"{value:.{places}f}"


def _needed(bpp: float | None, own: float | None) -> str:
    if bpp is None or own is None:
        return NOTHING
    return f"{bpp:.3f} ({100 * (own / bpp - 1):+.1f} %)"


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{value:+.1f} %"


def _row_notes(rows: Sequence[Row]) -> list[str]:
    """Notes on single rows, and why rows are without figures."""
    notes = [f"{row.label}: {row.note}." for row in rows if row.note]
    return notes + [f"{row.label}: skipped: {row.skipped}." for row in rows if row.skipped]


def _cores(evaluation: Evaluation) -> str:
    return "1 core" if evaluation.cores == 1 else f"{evaluation.cores} cores"


def _times_note(evaluation: Evaluation) -> str:
    return (
        f"Seconds for all {len(evaluation.pictures)} pictures from pixels in memory to bytes and"
        f" back, every method on {_cores(evaluation)}, pictures side by side."
    )
