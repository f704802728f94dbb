"""From measurements to the rows of the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from edgecomp.evaluation.archivers import ArchiveTimes
from edgecomp.evaluation.commands import CommandResult
from edgecomp.evaluation.measure import Measured
from edgecomp.evaluation.methods import Method
from edgecomp.evaluation.results import (
    CONTEXT_MODEL,
    TIMED_ESTIMATE,
    TIMED_FILES,
    PictureResult,
    Row,
)
from edgecomp.evaluation.sources import Source
from edgecomp.metrics import MS_SSIM_MIN_SIDE, bits_per_pixel, ms_ssim_scales

# A reader who expects the archive's bytes must be told where they are not.
_CODESTREAMS = "bytes of the codestreams, without an archive"


def picture_results(
    sources: Sequence[Source], measured: Mapping[str, Measured]
) -> list[PictureResult]:
    """Every picture's scores by all methods."""
    return [
        PictureResult(
            name=source.name,
            width=source.width,
            height=source.height,
            png_bytes=source.png_bytes,
            ms_ssim_scales=ms_ssim_scales(source.height, source.width),
            scores={label: found.scores[source.name] for label, found in measured.items()},
        )
        for source in sources
    ]


def method_row(method: Method, found: Measured, sources: Sequence[Source], cores: int) -> Row:
    """The row of a method that was measured picture by picture."""
    scores = [found.scores[source.name] for source in sources]
    similarities = [score.ms_ssim for score in scores if score.ms_ssim is not None]
    noises = [score.psnr for score in scores]
    row = Row(
        name=method.name,
        quality=method.quality,
        settings=method.settings,
        ms_ssim=sum(similarities) / len(similarities) if similarities else None,
        psnr=_finite(sum(noises) / len(noises)),
        seconds_compress=found.seconds_compress,
        seconds_decompress=found.seconds_decompress,
        cores=cores,
    )
    return with_bytes(row, sum(score.bytes for score in scores), sources)


def with_bytes(row: Row, count: int, sources: Sequence[Source]) -> Row:
    """A row with so many bytes for all pictures, and what follows from them."""
    pixels = sum(source.width * source.height for source in sources)
    return replace(
        row,
        images=len(sources),
        bytes=count,
        bpp=bits_per_pixel(count, pixels),
        compression_rate=sum(source.png_bytes for source in sources) / count,
    )


def own_row(row: Row, command: CommandResult | str, sources: Sequence[Source]) -> Row:
    """A row of edgecomp's own with the bytes of the archive that its command made.

    Args:
        command: what the command did, or why it could not be run.
    """
    if isinstance(command, str):
        return replace(row, note=f"{_CODESTREAMS}: {command}")
    note = ""
    if command.verbatim:
        note = f"kept as they are in the archive: {command.verbatim} of the pictures"
    return replace(with_bytes(row, command.bytes, sources), note=note)


def archiver_row(name: str, times: ArchiveTimes, sources: Sequence[Source], cores: int) -> Row:
    """The row of an archiver, which restores every bit."""
    row = Row(
        name=name,
        settings=times.settings,
        ms_ssim=1.0,
        seconds_compress=times.seconds_compress,
        seconds_decompress=times.seconds_decompress,
        timed=TIMED_FILES,
        cores=cores,
    )
    return with_bytes(row, times.bytes, sources)


def ideal_row(
    like: Row,
    count: int,
    *,
    settings: str,
    seconds: tuple[float, float],
    timed_picture: Source,
    sources: Sequence[Source],
    cores: int,
) -> Row:
    """The row of the float context model's ideal rate.

    Args:
        like: the row of the same latents by another coder, whose pictures are the same.
        count: ideal bytes of all pictures.
        settings: which graph, for people.
        seconds: of one picture on one core, network included, each way.
        timed_picture: that picture.
        sources: all pictures.
        cores: that would work on as many pictures side by side.
    """
    pixels = sum(source.width * source.height for source in sources)
    scale = pixels / (timed_picture.width * timed_picture.height) / cores
    row = replace(
        like,
        name=CONTEXT_MODEL,
        settings=settings,
        seconds_compress=seconds[0] * scale,
        seconds_decompress=seconds[1] * scale,
        timed=TIMED_ESTIMATE,
        note=(
            f"ideal rate, no file; {timed_picture.name} alone takes {seconds[0]:.2f} s to encode"
            f" and {seconds[1]:.2f} s to decode on one core, the range coder not counted"
        ),
    )
    return with_bytes(row, count, sources)


def notes_on(sources: Sequence[Source]) -> list[str]:
    """What a reader must know about the pictures."""
    notes = []
    saved = sum(source.inside != source.name for source in sources)
    if saved:
        notes.append(
            f"saved as plain RGB in PNG files first, without alpha and metadata: {saved} of the"
            f" {len(sources)} files"
        )
    small = [source for source in sources if min(source.width, source.height) < MS_SSIM_MIN_SIDE]
    if small:
        fewest = min(ms_ssim_scales(source.height, source.width) for source in small)
        text = (
            f"with a side under {MS_SSIM_MIN_SIDE} pixels: {len(small)} of the pictures; their"
            " MS-SSIM is over as many of the five scales as fit, the weights scaled up"
        )
        if not fewest:
            text += "; those with a side under 11 pixels have none and are not in its mean"
        notes.append(text)
    return notes


def _finite(value: float) -> float | None:
    return None if value == float("inf") else value
