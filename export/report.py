"""What pruning, int8 and Huffman coding make of the networks: a table for each quality.

python -m export.report --kodak DIR [--data DIR...] --stages QUALITY FLOAT [PRUNED [QUANTISED]] ...

A stage is a run or a checkpoint, QUANTISED also an exported model; @1.25 behind it is a position
between trained qualities, and `-` leaves a stage out. The rows are: the float graphs of FLOAT and
of PRUNED; the int8 graphs of the last stage given; these with Huffman coded weights, which are
decoded again and compared. Runs and checkpoints are exported first, into a temporary folder, for
int8 with --data (training pictures) as export.to_onnx takes them.

Everything is measured in this run, picture by picture and on every picture stage after stage, so
that what else the machine does falls on all of them: --out writes Markdown, --json the numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx

from edgecomp import metrics
from edgecomp.backends import Backend, Latent, load_backend
from edgecomp.codec import Codec
from edgecomp.codestream import parse as parse_codestream
from edgecomp.entropy import CODER_NAMES
from edgecomp.errors import EdgecompError
from edgecomp.model_coders import load_coder
from edgecomp.models import Model
from edgecomp.pictures import Picture
from export import coded_graph, data, report_text
from export.coded_graph import Tally
from export.report_stages import PRUNED, Exporter, ReportError, parse_stages

PARTS = ("encoder", "decoder")
ROWS = {"float": "float checkpoint", PRUNED: PRUNED}  # of the float graphs
FLOAT_BYTES = 4


@dataclass(frozen=True)
class Row:
    """One line of a quality's table.

    Attributes:
        name: what was done to the network.
        precision: of the graphs that were run, "fp32" or "int8".
        model: name of the model.
        parameters: weights and biases of encoder and decoder.
        multiply_adds: a pixel of the picture, encoder and decoder.
        bytes: of encoder and decoder, see `report_text.METHOD`.
        encoder_seconds, decoder_seconds, seconds: medians over the pictures; the last is that of
            both passes together.
        bpp, ms_ssim, psnr: means over the pictures.
    """

    name: str
    precision: str
    model: str
    parameters: int
    multiply_adds: float
    bytes: int
    encoder_seconds: float
    decoder_seconds: float
    seconds: float
    bpp: float
    ms_ssim: float
    psnr: float


class Timed:
    """A backend that sums up the seconds of its passes each way, a picture's parts one by one."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.name, self.precision = backend.name, backend.precision
        self.encoder = self.decoder = 0.0

    def analyse(self, rgb: np.ndarray, gain: int, *, threads: int | None = None) -> Latent:
        """See `Backend`."""
        start = time.perf_counter()
        latent = self._backend.analyse(rgb, gain, threads=threads)
        self.encoder += time.perf_counter() - start
        return latent

    def synthesise(
        self, symbols: np.ndarray, gain: int, *, threads: int | None = None
    ) -> np.ndarray:
        """See `Backend`."""
        start = time.perf_counter()
        picture = self._backend.synthesise(symbols, gain, threads=threads)
        self.decoder += time.perf_counter() - start
        return picture


class Measured:
    """A model in one precision, and its figures: one row a picture."""

    def __init__(self, model: Model, precision: str, coder: str, threads: int) -> None:
        self.model = model
        self.backend = Timed(load_backend("onnx", model, precision=precision, threads=threads))
        self.codec = Codec(model, self.backend, load_coder(model, coder), threads=threads)
        self._rows: list[tuple[float, ...]] = []

    def _pass(self, picture: Picture) -> tuple[bytes, np.ndarray]:
        coded = self.codec.encode(picture)
        return coded, self.codec.decode(parse_codestream(coded, max_pixels=None)).rgb

    def warm_up(self, picture: Picture) -> None:
        """A pass that is not counted: sessions are made in it."""
        self._pass(picture)

    def measure(self, picture: Picture) -> None:
        """One picture through the codec: coded, parsed, decoded, compared."""
        self.backend.encoder = self.backend.decoder = 0.0
        coded, restored = self._pass(picture)
        bpp = 8 * len(coded) / (picture.width * picture.height)
        seconds = (self.backend.encoder, self.backend.decoder)
        similarity = metrics.ms_ssim(picture.rgb, restored)
        self._rows.append(
            (*seconds, sum(seconds), bpp, similarity, metrics.psnr(picture.rgb, restored))
        )

    def row(self, name: str, size: int) -> Row:
        """The figures of all pictures so far, for a network that takes ``size`` bytes."""
        seconds, rates = np.split(np.array(self._rows), 2, axis=1)
        return Row(
            name,
            self.backend.precision,
            self.model.name,
            sum(self.model.parameters.values()),
            round(sum(self.model.multiply_adds_per_pixel.values()), 1),
            size,
            *np.median(seconds, axis=0).tolist(),
            *rates.mean(axis=0).tolist(),
        )


def coded(model: Model) -> Tally:
    """Sizes of a model's Huffman coded int8 graphs, which give back the same graphs.

    Raises:
        ReportError: they do not.
    """
    total = Tally(0, 0, 0, 0, 0.0)
    for part in PARTS:
        graph = onnx.ModelProto.FromString(model.read_graph(part, "int8"))
        packed, tally = coded_graph.pack(graph)
        if coded_graph.unpack(packed) != graph:
            raise ReportError(f"the coded {part} of {model.name} is not the one that was coded")
        total += tally
    return total


def measure_quality(
    floats: dict[str, Model], int8: Model, pictures: list[Picture], coder: str, threads: int
) -> tuple[list[Row], Tally]:
    """Rows of one quality.

    Args:
        floats: models with fp32 graphs, by the name of their row.
        int8: a model with int8 graphs.
        pictures: with sides of at least ``metrics.MS_SSIM_MIN_SIDE``.
        coder: symbol coder of the codestreams.
        threads: that onnxruntime may use.
    """
    lines = {name: Measured(model, "fp32", coder, threads) for name, model in floats.items()}
    last = Measured(int8, "int8", coder, threads)
    for line in (*lines.values(), last):
        line.warm_up(pictures[0])
    for picture in pictures:
        for line in (*lines.values(), last):
            line.measure(picture)
    rows = [
        line.row(name, FLOAT_BYTES * sum(line.model.parameters.values()))
        for name, line in lines.items()
    ]
    tally = coded(int8)
    name = f"{PRUNED}, int8" if PRUNED in floats else "int8"
    rows.append(last.row(name, int8.size("int8")))
    rows.append(last.row(f"{name}, Huffman coded", tally.total))
    return rows, tally


def read_pictures(folder: str, limit: int | None) -> list[Picture]:
    """The pictures of a folder, by name."""
    pictures = []
    for path in data.list_pictures([folder])[:limit]:
        picture = Picture(np.ascontiguousarray(data.read_picture(path)))
        if min(picture.width, picture.height) < metrics.MS_SSIM_MIN_SIDE:
            raise ReportError(
                f"{path}: MS-SSIM needs sides of at least {metrics.MS_SSIM_MIN_SIDE} pixels"
            )
        pictures.append(picture)
    return pictures


def make_folder(file: Path) -> None:
    """The folder that a file is to be written to; checked before minutes of measuring."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ReportError(f"cannot write {file}: {error.strerror}") from error
    if file.is_dir():
        raise ReportError(f"cannot write {file}: it is a folder")


def write(file: Path, text: str) -> None:
    """Write beside the target, then rename."""
    partial = file.with_name(f".{file.name}.partial-{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, file)
    except OSError as error:
        raise ReportError(f"cannot write {file}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)


def report(args: argparse.Namespace) -> None:
    """Measure, print and write."""
    stages = parse_stages(args.stages)
    for file in filter(None, (args.out, args.json)):
        make_folder(file)
    pictures = read_pictures(args.kodak, args.limit)
    results: dict[str, tuple[list[Row], Tally]] = {}
    with tempfile.TemporaryDirectory(prefix="export-report-") as folder:
        exporter = Exporter(Path(folder), args.data, args.calibrate)
        models = {}
        for quality, given in stages.items():
            floats = {
                row: exporter.float_model(quality, given[name])
                for name, row in ROWS.items()
                if name in given
            }
            models[quality] = floats, exporter.int8_model(quality, list(given.values())[-1])
        for quality, (floats, int8) in models.items():
            results[quality] = measure_quality(floats, int8, pictures, args.coder, args.threads)
            print(report_text.quality_section(quality, *results[quality]), flush=True)
    setting = report_text.Setting.of(args, len(pictures))
    if args.out is not None:
        write(args.out, report_text.page(results, setting))
    if args.json is not None:
        record = {
            "setting": asdict(setting),
            "qualities": {
                quality: {"rows": [asdict(row) for row in rows], "huffman": asdict(tally)}
                for quality, (rows, tally) in results.items()
            },
        }
        write(args.json, json.dumps(record, indent=1) + "\n")


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog="export.report", description=__doc__.splitlines()[0])
    parser.add_argument("--kodak", required=True, metavar="DIR", help="pictures to measure on")
    parser.add_argument("--data", nargs="+", default=[], metavar="DIR", help="training pictures")
    parser.add_argument(
        "--stages",
        nargs="+",
        action="append",
        required=True,
        metavar=("QUALITY", "STAGE"),
        help="QUALITY FLOAT [PRUNED [QUANTISED]], each a run, checkpoint or model, or -",
    )
    parser.add_argument("--coder", choices=CODER_NAMES, default="lzma", help="of the symbols")
    parser.add_argument("--calibrate", type=int, default=32, help="pictures to calibrate on")
    parser.add_argument("--threads", type=int, default=2, help="of onnxruntime")
    parser.add_argument("--limit", type=int, help="only the first pictures")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the report as Markdown")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    args = parse(argv)
    try:
        for name in ("threads", "limit", "calibrate"):
            if getattr(args, name) is not None and getattr(args, name) < 1:
                raise ReportError(f"--{name} must be above zero")
        report(args)
    except (ReportError, EdgecompError, data.DataError) as error:
        print(f"export.report: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
