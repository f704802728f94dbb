"""Measures how long edgecomp takes and how much memory it holds, and writes docs/performance.md.

    python benchmarks/performance.py                     # everything, about ten minutes
    python benchmarks/performance.py --kodak $KODAK      # with the real Kodak pictures
    python benchmarks/performance.py --quick --docs out  # a look, in a few minutes
    python benchmarks/performance.py --from record.json  # the page again, nothing measured

What is timed is the real command, `edgecomp compress` and `edgecomp decompress`, as child
processes, and the benchmarks of this folder:

- a folder both ways on one core and on all, against AVIF by Pillow on the same cores;
- a picture of 12 megapixels against as many pixels in pictures of 768x512;
- time and peak memory of single pictures, from --megapixels' smallest to its largest;
- folders of --pictures pictures, with the resident memory sampled all along;
- threads within a picture against pictures side by side;
- the networks on parts of a picture, small to large;
- the stages of a picture, by pytest-benchmark.

Let nothing else run meanwhile: the page tells how much of the time other work took. Every picture
is made of the example photographs (one of 100 megapixels takes 0.6 GB of memory to make). The page,
its figures and a record of every number are written at the end, the record after every part too:
what was measured is not lost if a later part fails. It needs the extras `test` and `eval`, and
Linux for the samples of memory.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # also when this file is loaded as a module

from performance_child import ChildError, run
from performance_load import load_now
from performance_measure import (
    HUNDRED,
    SMALL_PIXELS,
    MeasureError,
    Workplace,
    compare_folder,
    compare_sizes,
    make_folder,
    measure_many,
    measure_parts,
    measure_size,
    measure_threads,
)
from performance_page import page
from performance_plots import figures
from performance_record import Record, RecordError, load, save
from performance_stages import read_benchmarks
from PIL import Image

from edgecomp.constants import QUALITIES
from edgecomp.evaluation.cores import machine
from edgecomp.evaluation.methods import UnavailableError
from edgecomp.pipeline import usable_cpus

HERE = Path(__file__).parent
HEAD = HERE / "performance_head.md"
DOCS = HERE.parent / "docs"
MEGAPIXELS = (0.4, 1.6, 6, 12, 25, 50, 100)
PICTURES = (24, 100, 300, 1000)
# Latent positions of a part: from a quarter of a Kodak picture to 12 megapixels at once.
POSITIONS = (1_536, 6_144, 9_500, 12_288, 16_384, 24_576, 49_152, 98_304, 187_500)
QUICK_MEGAPIXELS, QUICK_PICTURES = (0.4, 1.6, 6), (24, 200)
# Of benchmarks that take long, a quick look is one round.
QUICK_BENCHMARK = ("--benchmark-max-time=0.05", "--benchmark-min-rounds=1")


def core_counts(most: int) -> list[int]:
    """1, 2, 4 and so on, and at last ``most``."""
    counts = [1]
    while counts[-1] * 2 < most:
        counts.append(counts[-1] * 2)
    return counts if most == 1 else [*counts, most]


def measure(
    record: Record, arguments: argparse.Namespace, scratch: Path, keep: Callable[[Record], None]
) -> Record:
    """Measure everything, in this order.

    Args:
        record: with nothing measured.
        arguments: of the command line.
        scratch: a folder for files.
        keep: called with the record after each part.

    Raises:
        ChildError, MeasureError: a command failed, or did something else.
        RecordError: the benchmarks' file cannot be read.
    """
    place = Workplace(scratch, arguments.quality, arguments.rounds, say)
    counts = core_counts(record.cores)
    if arguments.kodak:
        folder, source, pixels = arguments.kodak, "Kodak", pixels_in(arguments.kodak)
    else:
        folder, source = scratch / "folder", "768x512"
        make_folder(folder, 24)
        pixels = 24 * SMALL_PIXELS
    record = replace(record, comparison=compare_folder(place, folder, source, pixels, counts))
    keep(record)
    record = replace(record, likeness=compare_sizes(place, counts))
    keep(record)
    record = replace(record, threads=measure_threads(place, counts))
    keep(record)
    record = replace(
        record, parts=measure_parts(place, POSITIONS[: 3 if arguments.quick else None])
    )
    keep(record)
    for megapixels in arguments.megapixels:
        sizes = [*record.sizes, *measure_size(place, megapixels, counts)]
        record = replace(record, sizes=sizes)
        keep(record)
    scaling = min((n for n in arguments.pictures if n >= HUNDRED), default=None)
    for pictures in arguments.pictures:
        # One core as well where the start is a small part of the time, and a run is not minutes.
        both = counts if pictures == scaling else [record.cores]
        many = [*record.many, *measure_many(place, pictures, both)]
        record = replace(record, many=many)
        keep(record)
    found = arguments.benchmarks
    if found is None:
        found = scratch / "benchmarks.json"
        say("the stages, by pytest-benchmark")
        words = ["pytest", str(HERE), "--benchmark-only", f"--benchmark-json={found}"]
        words += ["--basetemp", str(scratch / "pytest"), "-p", "no:cacheprovider", "-q"]
        words += [f"--rootdir={HERE.parent}", f"--confcutdir={HERE.parent}"]
        words += QUICK_BENCHMARK if arguments.quick else ()
        run([sys.executable, "-m", *words], cores=record.cores)
    record = replace(record, benchmarks=read_benchmarks(found))
    keep(record)
    return record


def pixels_in(folder: Path) -> int:
    """Of the PNG files in a folder.

    Raises:
        MeasureError: there are none.
    """
    total = 0
    for path in sorted(folder.rglob("*.png")):
        with Image.open(path) as image:
            total += image.width * image.height
    if not total:
        raise MeasureError(f"no PNG pictures in {folder}")
    return total


def write(record: Record, docs: Path) -> None:
    """Write the page and its figures."""
    images = docs / "images"
    images.mkdir(parents=True, exist_ok=True)
    for name, data in figures(record):
        (images / f"performance-{name}.png").write_bytes(data)
    text = page(record, HEAD.read_text(encoding="utf-8"))
    (docs / "performance.md").write_text(text, encoding="utf-8")


def say(text: str) -> None:
    """Tell how far it is."""
    print(text, file=sys.stderr, flush=True)


def _at_least_one(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def _above_nothing(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of megapixels")
    return number


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    first, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=first, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--kodak", type=Path, metavar="DIR", help="PNG pictures to compare with AVIF on"
    )
    parser.add_argument("--quality", choices=QUALITIES, default="A")
    parser.add_argument(
        "--cores", type=_at_least_one, default=2, metavar="N", help="at most (default: 2)"
    )
    parser.add_argument("--megapixels", type=_above_nothing, nargs="+", metavar="MP")
    parser.add_argument("--pictures", type=_at_least_one, nargs="+", metavar="N")
    parser.add_argument("--rounds", type=_at_least_one, metavar="N", help="of each command")
    parser.add_argument(
        "--benchmarks",
        type=Path,
        metavar="FILE",
        help="what --benchmark-json has written, instead of running the benchmarks",
    )
    parser.add_argument("--quick", action="store_true", help="small and few, one round")
    parser.add_argument(
        "--docs", type=Path, default=DOCS, metavar="DIR", help="where the page goes (default: docs)"
    )
    parser.add_argument("--scratch", type=Path, metavar="DIR", help="for files on the way")
    parser.add_argument("--record", type=Path, metavar="FILE", help="keep every number here")
    parser.add_argument(
        "--from", dest="given", type=Path, metavar="FILE", help="a record: write its page"
    )
    arguments = parser.parse_args(argv)
    quick = arguments.quick
    arguments.rounds = arguments.rounds or (1 if quick else 5)
    arguments.megapixels = sorted(
        arguments.megapixels or (QUICK_MEGAPIXELS if quick else MEGAPIXELS)
    )
    arguments.pictures = sorted(arguments.pictures or (QUICK_PICTURES if quick else PICTURES))
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the page; 1 if something fails."""
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = _parse(argv)

    def keep(record: Record) -> None:
        if arguments.record is not None:
            save(record, arguments.record)

    try:
        if arguments.given is not None:
            write(load(arguments.given), arguments.docs)
            return 0
        record = Record(
            machine=machine(),
            command=_shown(words),
            quality=arguments.quality,
            cores=min(arguments.cores, usable_cpus()),
        )
        with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
            start = load_now()
            record = measure(record, arguments, Path(scratch), keep)
            end = load_now()
            if start is not None and end is not None:
                record = replace(record, others=end.of_others(start))
            keep(record)
        write(record, arguments.docs)
    except (ChildError, MeasureError, RecordError, UnavailableError, OSError) as error:
        print(f"performance: {error}", file=sys.stderr)
        return 1
    return 0


def _shown(words: Sequence[str]) -> str:
    """The command as others would type it: folders and files of this machine by their role."""
    shown, names = ["python", "benchmarks/performance.py"], {"--kodak": "$KODAK"}
    skip = {"--scratch", "--record", "--docs", "--benchmarks"}
    waiting = iter(words)
    for word in waiting:
        option, equals, _ = word.partition("=")
        if option in skip or option in names:
            if not equals:
                next(waiting, None)
            shown += [option, names[option]] if option in names else []
        else:
            shown.append(shlex.quote(word))
    return " ".join(shown)


if __name__ == "__main__":
    sys.exit(main())
