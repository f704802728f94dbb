"""An evaluation made by hand, with round figures, for the tests of what is made of evaluations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from edgecomp.evaluation.results import (
    ARCHIVER_NAMES,
    CODEC_NAMES,
    CONTEXT_MODEL,
    OWN_NAMES,
    PICKLE_LZMA,
    TIMED_ESTIMATE,
    TIMED_FILES,
    CommandTimes,
    Evaluation,
    PictureResult,
    Row,
    Score,
    StageTimes,
)
from edgecomp.names import Note

PIXELS = 512 * 768
PNG_BYTES = 600_000
# bits per pixel, MS-SSIM, PSNR by name and quality.
POINTS: dict[str, dict[str, tuple[float, float, float]]] = {
    OWN_NAMES[0]: {
        "A": (0.5, 0.975, 29.0),
        "B": (0.8, 0.987, 31.0),
        "C": (1.2, 0.9922, 33.5),
    },
    OWN_NAMES[1]: {
        "A": (0.7, 0.975, 29.0),
        "B": (1.1, 0.987, 31.0),
        "C": (1.6, 0.9922, 33.5),
    },
    PICKLE_LZMA: {"A": (0.9, 0.975, 29.0), "B": (1.3, 0.987, 31.0), "C": (1.9, 0.9922, 33.5)},
    "jpeg": {"30": (0.7, 0.965, 31.0), "75": (1.34, 0.9866, 34.5), "90": (2.5, 0.995, 38.0)},
    "webp": {"30": (0.5, 0.965, 31.5), "75": (0.94, 0.9829, 35.0), "90": (2.0, 0.994, 39.0)},
    "avif": {"30": (0.3, 0.96, 31.0), "45": (0.49, 0.9765, 33.0), "75": (1.4, 0.9925, 38.5)},
}


def row(name: str, quality: str, images: int = 2, **changes: Any) -> Row:
    """The measured row of one of `POINTS`."""
    bpp, similarity, noise = POINTS[name][quality]
    count = round(bpp * PIXELS * images / 8)
    made = Row(
        name=name,
        quality=quality,
        settings=f"quality={quality}",
        images=images,
        bytes=count,
        bpp=8 * count / (PIXELS * images),
        compression_rate=PNG_BYTES * images / count,
        ms_ssim=similarity,
        psnr=noise,
        seconds_compress=0.5,
        seconds_decompress=0.25,
        cores=2,
    )
    return replace(made, **changes)


def archiver_row(name: str, rate: float, seconds: float) -> Row:
    """An archiver that makes the PNG files so many times smaller."""
    count = round(2 * PNG_BYTES / rate)
    return Row(
        name=name,
        settings="as it comes",
        images=2,
        bytes=count,
        bpp=8 * count / (2 * PIXELS),
        compression_rate=2 * PNG_BYTES / count,
        ms_ssim=1.0,
        seconds_compress=seconds,
        seconds_decompress=seconds / 2,
        timed=TIMED_FILES,
        cores=2,
    )


def evaluation(**changes: Any) -> Evaluation:
    """Two pictures through every kind of row; HEIC is not installed."""
    own = [row(name, quality) for name in OWN_NAMES for quality in "ABC"]
    ideal = replace(
        row(OWN_NAMES[1], "A"),
        name=CONTEXT_MODEL,
        bpp=0.55,
        bytes=round(0.55 * PIXELS * 2 / 8),
        seconds_compress=1.0,
        seconds_decompress=300.0,
        timed=TIMED_ESTIMATE,
        note="ideal rate, no file",
    )
    rows = [
        *own,
        *(row(PICKLE_LZMA, quality) for quality in "ABC"),
        ideal,
        Row(CONTEXT_MODEL, "B", skipped="its float graph was not given", cores=2),
        archiver_row(ARCHIVER_NAMES[0], 0.99, 0.06),
        archiver_row(ARCHIVER_NAMES[1], 1.01, 0.8),
        *(row(name, q) for name in ("jpeg", "webp", "avif") for q in POINTS[name]),
        *(Row(n, skipped=f"{n} is not installed", cores=2) for n in CODEC_NAMES if n not in POINTS),
    ]
    labels = [r.label for r in rows if r.name in POINTS and r.skipped is None]
    pictures = [
        PictureResult(
            name=name,
            width=768,
            height=512,
            png_bytes=PNG_BYTES,
            ms_ssim_scales=5,
            scores={label: Score(24_000 + i, 0.97, 30.5) for label in labels},
        )
        for i, name in enumerate(("first.png", "below/second.png"))
    ]
    stages = [
        StageTimes(
            f"edgecomp context {quality}",
            direction,
            {"read PNG": 8.0, "encoder network": 4.0, "symbol coder": 9.0 + i}
            if direction == "compress"
            else {"symbol decoder": 9.5 + i, "decoder network": 8.0, "write PNG": 25.0},
        )
        for i, quality in enumerate("ABC")
        for direction in ("compress", "decompress")
    ]
    made = Evaluation(
        folder="holiday",
        kodak=False,
        pictures=pictures,
        left_out=[Note("broken.png", "cannot be decoded (truncated)")],
        rows=rows,
        stages=stages,
        commands=[CommandTimes(r.label, 0.6, 0.8) for r in own],
        cores=2,
        machine={"processor": "a processor", "packages": "edgecomp 0.1"},
        notes=["a note on the pictures"],
    )
    return replace(made, **changes)
