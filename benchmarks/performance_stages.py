"""The stages of a picture, and what else pytest-benchmark has measured, as tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from performance_record import LARGE_NAME, Benchmark, RecordError

# Label and test of each stage, in the order in which a picture goes through them.
COMPRESS = (
    ("read PNG", "test_read_png"),
    ("encoder network", "test_encoder_network"),
    ("choose and code symbols", "test_choose_and_encode"),
    ("hash of the symbols", "test_symbol_hash"),
    ("write codestream", "test_codestream_pack"),
)
RESTORE = (
    ("read codestream, checksums", "test_codestream_parse"),
    ("decode symbols", "test_context_decode"),
    ("hash of the symbols", "test_symbol_hash"),
    ("decoder network", "test_decoder_network"),
    ("write PNG", "test_write_png"),
)
OTHERS = (
    ("read JPEG instead of PNG", "test_read_jpeg"),
    ("context coder, symbols as rounded", "test_context_encode"),
    ("LZMA coder, packing included", "test_lzma_encode"),
    ("LZMA decoder, unpacking included", "test_lzma_decode"),
    ("pack", "test_pack"),
    ("pack, masked by an importance map", "test_pack_masked"),
    ("unpack", "test_unpack"),
    ("importance map to differences", "test_map_residual"),
    ("differences to importance map", "test_map_restore"),
    ("archive of 24 such pictures, written", "test_archive_write"),
    ("archive of 24 such pictures, read", "test_archive_read"),
)
START_UP = (
    ("Python, nothing imported", "test_fresh_process", "python"),
    ("numpy imported", "test_fresh_process", "numpy"),
    ("edgecomp imported", "test_fresh_process", "edgecomp"),
    ("what `edgecomp compress` needs imported", "test_fresh_process", "compress"),
    ("what `edgecomp decompress` needs imported", "test_fresh_process", "decompress"),
    ("compressing, onnxruntime too", "test_fresh_process", "onnxruntime"),
    ("a picture of 8x8 coded", "test_fresh_process", "first-picture-encoded"),
    ("`edgecomp --version`", "test_command_says_its_version", ""),
    ("in a process: manifest and coder", "test_load_manifest_and_coder", ""),
    ("in a process: encoder, first run", "test_load_session", "encoder"),
    ("in a process: decoder, first run", "test_load_session", "decoder"),
)
# Sizes by their names in the benchmarks' cases, and for people.
SIZES = {"kodak": "768x512", "12mp": LARGE_NAME}


@dataclass(frozen=True)
class Stage:
    """Seconds of a stage, and its share of its direction's sum."""

    label: str
    seconds: float
    share: float


def read_benchmarks(path: Path) -> list[Benchmark]:
    """What ``pytest benchmarks --benchmark-only --benchmark-json`` has written.

    Raises:
        RecordError: it is something else.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        found = []
        for one in record["benchmarks"]:
            test, _, case = one["name"].removesuffix("]").partition("[")
            pixels = one["extra_info"].get("pixels")
            found.append(Benchmark(test, case, float(one["stats"]["min"]), pixels))
        return found
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RecordError(f"{path} is not what --benchmark-json writes ({error!r})") from error


def find(benchmarks: Iterable[Benchmark], test: str, *cases: str) -> Benchmark | None:
    """The benchmark of a test whose case is one of these."""
    return next((one for one in benchmarks if one.test == test and one.case in cases), None)


def stages(
    benchmarks: Sequence[Benchmark], which: Sequence[tuple[str, str]], size: str, quality: str
) -> list[Stage]:
    """The stages of one direction that were measured, for a size of picture."""
    found = [
        (label, one.seconds)
        for label, test in which
        if (one := find(benchmarks, test, size, f"{size}-{quality}"))
    ]
    whole = sum(seconds for _, seconds in found)
    return [Stage(label, seconds, seconds / whole) for label, seconds in found]


def pixels_of(benchmarks: Iterable[Benchmark], size: str) -> int | None:
    """Of the picture of a size."""
    one = find(benchmarks, COMPRESS[0][1], size)
    return None if one is None else one.pixels
