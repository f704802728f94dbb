"""What an evaluation found: rows of its tables, scores of single pictures, times of stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from edgecomp.names import Note

# The rows, in the order of the tables and of the JSON document.
OWN_NAMES: Final = ("edgecomp context", "edgecomp lzma")
PICKLE_LZMA: Final = "pickle+lzma"
CONTEXT_MODEL: Final = "context model"
ARCHIVER_NAMES: Final = ("tar", "7-zip")
CODEC_NAMES: Final = ("jpeg", "jpeg2000", "webp", "avif", "jpeg-xl", "heic")
ROW_NAMES: Final = (*OWN_NAMES, PICKLE_LZMA, CONTEXT_MODEL, *ARCHIVER_NAMES, *CODEC_NAMES)
LEARNED_NAMES: Final = (*OWN_NAMES, PICKLE_LZMA, CONTEXT_MODEL)

# Why a row is skipped that the user did not want.
NOT_ASKED_FOR: Final = "not asked for"

# What the seconds of a row cover.
TIMED_PIXELS: Final = "pixels to bytes, bytes to pixels"
TIMED_FILES: Final = "files to archive, archive to files"
TIMED_ESTIMATE: Final = "pixels to bytes and back, from one picture's time"


@dataclass(frozen=True, slots=True)
class Row:
    """One method at one quality over all pictures.

    Attributes:
        name: one of `ROW_NAMES`.
        quality: the method's own word for it ("A", "75"); None where it has none.
        settings: the options it ran with, for people.
        images: pictures that it was measured on.
        bytes: of all of them; real files, but for `CONTEXT_MODEL`, which is an ideal.
        bpp: bits per pixel.
        compression_rate: bytes of the PNG files per byte.
        ms_ssim: mean of the pictures' MS-SSIM; 1 for lossless methods; None if none has one.
        psnr: mean of the pictures' PSNR in dB; None (JSON null) for lossless methods.
        seconds_compress, seconds_decompress: wall clock for all pictures on ``cores`` cores.
        timed: what the seconds cover, one of the ``TIMED_`` texts.
        cores: that the row's work was confined to.
        skipped: why the row could not be measured; all figures are None then.
        note: what a reader must know about the figures; "" if nothing.
    """

    name: str
    quality: str | None = None
    settings: str = ""
    images: int = 0
    bytes: int | None = None
    bpp: float | None = None
    compression_rate: float | None = None
    ms_ssim: float | None = None
    psnr: float | None = None
    seconds_compress: float | None = None
    seconds_decompress: float | None = None
    timed: str = TIMED_PIXELS
    cores: int = 1
    skipped: str | None = None
    note: str = ""

    @property
    def label(self) -> str:
        """Name and quality: "edgecomp context A", "jpeg 75"."""
        return self.name if self.quality is None else f"{self.name} {self.quality}"

    @property
    def seconds(self) -> float | None:
        """Both ways."""
        if self.seconds_compress is None or self.seconds_decompress is None:
            return None
        return self.seconds_compress + self.seconds_decompress


@dataclass(frozen=True, slots=True)
class Score:
    """One picture by one method: bytes, MS-SSIM (None under 11 pixels), PSNR in dB."""

    bytes: int
    ms_ssim: float | None
    psnr: float


@dataclass(frozen=True, slots=True)
class PictureResult:
    """One picture: its name, size in pixels, bytes as PNG, scales that its MS-SSIM was taken over
    (5, fewer for small pictures, 0 for none), and its scores by the labels of rows."""

    name: str
    width: int
    height: int
    png_bytes: int
    ms_ssim_scales: int
    scores: Mapping[str, Score] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Mean milliseconds of one picture in each stage, one thread, in the order of the work.

    ``direction`` is "compress" or "decompress"; ``label`` is that of a row of edgecomp's own.
    """

    label: str
    direction: str
    stages: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class CommandTimes:
    """Seconds of ``edgecomp compress`` and ``decompress`` of the folder as whole processes."""

    label: str
    seconds_compress: float
    seconds_decompress: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything that an evaluation found.

    Attributes:
        folder: the name of the folder, without its path.
        kodak: whether the pictures are those of the Kodak suite, so that published figures apply.
        pictures: those that every row was measured on.
        left_out: pictures that are in no row, and why.
        rows: in the order of `ROW_NAMES`; measured ones and skipped ones.
        stages: of edgecomp's own rows.
        commands: of edgecomp's own rows.
        cores: that every row was confined to.
        machine: words about it, by subject ("processor", "system", "packages").
        notes: what a reader must know about the tables.
    """

    folder: str
    kodak: bool
    pictures: Sequence[PictureResult]
    left_out: Sequence[Note]
    rows: Sequence[Row]
    stages: Sequence[StageTimes]
    commands: Sequence[CommandTimes]
    cores: int
    machine: Mapping[str, str]
    notes: Sequence[str] = ()

    @property
    def pixels(self) -> int:
        """Of all pictures."""
        return sum(picture.width * picture.height for picture in self.pictures)

    @property
    def png_bytes(self) -> int:
        """Of all pictures as PNG files."""
        return sum(picture.png_bytes for picture in self.pictures)

    def measured(self, *names: str) -> list[Row]:
        """The rows of these names (all, if none is given) that have figures."""
        wanted = names or ROW_NAMES
        return [row for row in self.rows if row.name in wanted and row.skipped is None]

    def command(self, label: str) -> CommandTimes | None:
        """The whole commands' times of the row of that label."""
        return next((command for command in self.commands if command.label == label), None)


def row_record(row: Row) -> dict[str, Any]:
    """A row for the JSON document."""
    return {
        "name": row.name,
        "quality": row.quality,
        "settings": row.settings,
        "images": row.images,
        "bytes": row.bytes,
        "bpp": row.bpp,
        "compression_rate": row.compression_rate,
        "ms_ssim": row.ms_ssim,
        "psnr": row.psnr,
        "seconds_compress": row.seconds_compress,
        "seconds_decompress": row.seconds_decompress,
        "timed": row.timed,
        "cores": row.cores,
        "skipped": row.skipped,
        "note": row.note,
    }
