"""docs/performance.md: a record as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from performance_avif import QUALITY, SPEED
from performance_measure import AVIF_BESIDE, AVIF_WITHIN, EDGECOMP, HUNDRED
from performance_plots import MEMORY_LIMIT
from performance_record import MEGA, Comparison, Likeness, Many, Record, Size, ThreadUse
from performance_stages import (
    COMPRESS,
    OTHERS,
    RESTORE,
    SIZES,
    START_UP,
    Stage,
    find,
    pixels_of,
    stages,
)

_AVIF = f"speed {SPEED}, quality {QUALITY}"
GOAL_SECONDS = 3.0
LINEAR, SPEED_UP, FLAT = 1.15, 1.7, 1.05
# Other work that takes up to this share of the processors does not matter.
QUIET = 0.05
LARGEST_MEGAPIXELS, MANY_PICTURES = 100, 1000
KODAK_PICTURES = 24


def page(record: Record, head: str) -> str:
    """The whole page.

    Args:
        record: what was measured.
        head: the text that it begins with.
    """
    parts = [head.strip(), *_goals(record), *_stage_tables(record), *_start_up(record)]
    parts += [*_pixels(record), *_parts(record), *_pictures(record), *_threads(record)]
    parts += _how(record)
    return "\n\n".join(parts) + "\n"


def _goals(record: Record) -> Iterator[str]:
    """What is measured against something else, one line each."""
    rows = [
        *_goals_of_folder(record.comparison, record.cores),
        *_goals_of_likeness(record.likeness),
        *_goals_of_many(record.many, record.cores),
        *_goals_of_memory(record.sizes, record.many, record.cores),
    ]
    if rows:
        yield "## In short"
        if record.others is not None and record.others > QUIET:
            yield f"**{_others(record.others)} The times below are too long.**"
        yield _table(("", "measured", "goal", ""), rows)


def _goals_of_folder(found: Comparison | None, cores: int) -> Iterator[tuple[str, ...]]:
    own = found.way(EDGECOMP, cores) if found else None
    if found is None or own is None:
        return
    what = f"{found.pictures} pictures of {found.source}, both ways, {_cores(cores)}"
    seconds = own.times.seconds
    limit = GOAL_SECONDS * found.pictures / KODAK_PICTURES
    yield (what, f"{seconds:.2f} s", f"at most {limit:.3g} s", _met(seconds <= limit))
    avif = [way for name in (AVIF_BESIDE, AVIF_WITHIN) if (way := found.way(name, cores))]
    if avif:
        best = min(way.times.seconds for way in avif)
        text = f"{seconds / best:.2f} times the time of AVIF ({best:.2f} s)"
        yield (f"the same against AVIF, {_AVIF}", text, "below 1", _met(seconds < best))
    single = found.way(EDGECOMP, 1)
    if single and cores > 1:
        yield _speed_up("the same", cores, single.times.seconds / seconds)


def _goals_of_likeness(found: Sequence[Likeness]) -> Iterator[tuple[str, ...]]:
    for one in found:
        what = (
            f"one picture of {one.large_pixels / MEGA:.0f} MP against {one.small_pictures} of"
            f" 768x512, time a pixel, {_cores(one.cores)}"
        )
        goal = f"at most {LINEAR}"
        yield (what, f"{one.ratio:.2f} times", goal, _met(one.ratio <= LINEAR))
    by_cores = {one.cores: one for one in found}
    if 1 in by_cores and 2 in by_cores:
        ratio = by_cores[1].large.seconds / by_cores[2].large.seconds
        yield _speed_up("the large picture", 2, ratio)


def _goals_of_many(many: Sequence[Many], cores: int) -> Iterator[tuple[str, ...]]:
    """More cores against one, where a folder was measured with both."""
    seconds: dict[tuple[int, int], float] = {}
    for one in many:
        key = one.pictures, one.cores
        seconds[key] = seconds.get(key, 0.0) + one.timed.seconds
    for pictures, count in seconds:
        if count == cores > 1 and (pictures, 1) in seconds:
            ratio = seconds[pictures, 1] / seconds[pictures, cores]
            yield _speed_up(f"{pictures} pictures of 768x512, both ways", cores, ratio)


def _speed_up(what: str, cores: int, ratio: float) -> tuple[str, ...]:
    """The line of what is so many times as fast on more cores as on one."""
    goal = (f"at least {SPEED_UP}", _met(ratio >= SPEED_UP)) if cores == 2 else ("", "")
    return (f"{what}, {_cores(cores)} against one", f"{ratio:.2f} times as fast", *goal)


def _goals_of_memory(
    sizes: Sequence[Size], many: Sequence[Many], cores: int
) -> Iterator[tuple[str, ...]]:
    if sizes:
        largest = max(size.megapixels for size in sizes)
        same = [size for size in sizes if size.megapixels == largest]
        for direction in ("compressed", "restored"):
            peak = max(
                max(size.compress_png.peak_bytes, size.compress_jpeg.peak_bytes)
                if direction == "compressed"
                else size.restore.peak_bytes
                for size in same
            )
            counts = round(largest) >= LARGEST_MEGAPIXELS
            goal = f"below {MEMORY_LIMIT / MEGA:.0f} MB" if counts else ""
            met = _met(peak < MEMORY_LIMIT) if counts else ""
            what = f"a picture of {largest:.0f} MP {direction}, peak memory"
            yield (what, f"{peak / MEGA:.0f} MB", goal, met)
    for one in many:
        if (
            one.first
            and one.last
            and one.cores == cores
            and one.pictures == max(other.pictures for other in many)
        ):
            ratio = one.last / one.first
            what = (
                f"{one.pictures} pictures {'compressed' if one.compressing else 'restored'},"
                f" memory of the last {HUNDRED} against the first {HUNDRED}"
            )
            counts = one.pictures >= MANY_PICTURES
            goal, met = (f"at most {FLAT}", _met(ratio <= FLAT)) if counts else ("", "")
            yield (what, f"{ratio:.3f} times", goal, met)


def _stage_tables(record: Record) -> Iterator[str]:
    benchmarks = record.benchmarks
    sizes = {size: pixels for size in SIZES if (pixels := pixels_of(benchmarks, size))}
    if not sizes:
        return
    yield "## Where the time goes"
    yield _image("stages", "Milliseconds a megapixel in each stage")
    yield (
        f"One thread, quality {record.quality}, shortest times, in memory: `pytest benchmarks"
        " --benchmark-only`. The picture of 768x512 is kodim05, a dense one; the large one is a"
        " mosaic of the example photographs, and goes through the networks and the coder in parts"
        " and tiles. Quantising is in the encoder network's graph; symbols are coded by the context"
        " coder, which chooses them too."
    )
    head = [word for size in sizes for word in (SIZES[size], "share", "a megapixel")]
    for title, which in (("compressing", COMPRESS), ("restoring", RESTORE)):
        columns = {
            size: {s.label: s for s in stages(benchmarks, which, size, record.quality)}
            for size in sizes
        }
        rows = []
        for label, _ in which:
            row = [label]
            for size, found in columns.items():
                row += _stage_cells(found.get(label), sizes[size])
            rows.append(row)
        total = ["**sum**"]
        for size, found in columns.items():
            whole = sum(stage.seconds for stage in found.values())
            total += [_ms(whole), "", f"{1e3 * whole / (sizes[size] / MEGA):.1f}"]
        yield _table([f"{title}, ms", *head], [*rows, total])
    names = [SIZES[size] for size in sizes]
    rows = [
        [label, *(_found_ms(record, test, size, f"{size}-{record.quality}") for size in sizes)]
        for label, test in OTHERS
    ]
    yield "Beside the way that a picture takes by default:"
    yield _table(["ms", *names], rows)


def _stage_cells(stage: Stage | None, pixels: int) -> list[str]:
    if stage is None:
        return ["", "", ""]
    per = 1e3 * stage.seconds / (pixels / MEGA)
    return [_ms(stage.seconds), f"{100 * stage.share:.0f} %", f"{per:.1f}"]


def _start_up(record: Record) -> Iterator[str]:
    rows = [
        [label, _ms(one.seconds)]
        for label, test, case in START_UP
        if (one := find(record.benchmarks, test, case))
    ]
    if rows:
        yield "## Start-up"
        yield "Whole processes from start to end, where it does not say otherwise, shortest times."
        yield _table(["", "ms"], rows)


def _pixels(record: Record) -> Iterator[str]:
    if not record.sizes:
        return
    yield "## Growth with pixels"
    yield _image("pixels", "Time and memory against megapixels")
    yield (
        "`edgecomp compress PICTURE` and `edgecomp decompress`, whole processes, start-up included;"
        " the pictures are mosaics of the example photographs. `Pillow` is Pillow alone, on one"
        " core, from the same PNG file to a PNG file: what it takes to hold the picture."
    )
    head = ["megapixels", "cores", "PNG to .edge, s", "JPEG to .edge, s", ".edge to PNG, s"]
    head += ["both ways, ms a megapixel", "peak PNG, MB", "peak JPEG, MB", "peak restoring, MB"]
    head += ["Pillow, s", "Pillow, MB"]
    rows = []
    for size in record.sizes:
        times = (size.compress_png, size.compress_jpeg, size.restore)
        both = size.compress_png.seconds + size.restore.seconds
        row = [f"{size.megapixels:.3g}", str(size.cores)]
        row += [f"{timed.seconds:.2f}" for timed in times]
        row += [f"{1e3 * both / size.megapixels:.0f}"]
        row += [f"{timed.peak_bytes / MEGA:.0f}" for timed in times]
        row += [f"{size.pillow.seconds:.2f}", f"{size.pillow.peak_bytes / MEGA:.0f}"]
        rows.append(row)
    yield _table(head, rows)
    rows = [
        [
            str(one.cores),
            f"{one.small.seconds:.2f}",
            f"{one.large.seconds:.2f}",
            f"{1e3 * one.small.seconds / (one.small_pixels / MEGA):.0f}",
            f"{1e3 * one.large.seconds / (one.large_pixels / MEGA):.0f}",
            f"{one.ratio:.2f}",
        ]
        for one in record.likeness
    ]
    if rows:
        small = f"{record.likeness[0].small_pictures} of 768x512"
        large = f"one of {record.likeness[0].large_pixels / MEGA:.0f} MP"
        yield "A folder of small pictures against one with a large one, both ways:"
        head = ["cores", f"{small}, s", f"{large}, s", "small, ms a megapixel"]
        yield _table([*head, "large, ms a megapixel", "ratio"], rows)


def _parts(record: Record) -> Iterator[str]:
    if not record.parts:
        return
    yield "## Parts of large pictures"
    yield _image("parts", "Milliseconds a megapixel and memory against the size of a part")
    yield (
        "The networks by themselves on one thread, in a process for each size. A large picture is"
        " given to them in parts whose size is chosen by this (`edgecomp/tiling.py`): small enough"
        " for memory and time, large enough that the halo around each costs little."
    )
    rows = []
    for part in record.parts:
        per = part.pixels / MEGA / 1e3
        row = [str(part.positions), f"{part.pixels / MEGA:.2f}", f"{part.encoder / per:.1f}"]
        rows.append([*row, f"{part.decoder / per:.1f}", f"{part.peak_bytes / MEGA:.0f}"])
    head = ["positions", "megapixels", "encoder, ms a megapixel", "decoder, ms a megapixel"]
    yield _table([*head, "peak, MB"], rows)


def _pictures(record: Record) -> Iterator[str]:
    if not record.many:
        return
    yield "## Growth with pictures"
    yield _image("pictures", "Memory and time against the number of pictures")
    yield (
        "Folders of 768x512, start-up included, one run each; resident memory is sampled a hundred"
        " times a second."
    )
    head = ["pictures", "cores", "", "s", "ms a picture", "peak, MB"]
    head += [f"most in the first {HUNDRED}, MB", f"in the last {HUNDRED}, MB"]
    rows = [
        [
            str(many.pictures),
            str(many.cores),
            "compress" if many.compressing else "restore",
            f"{many.timed.seconds:.2f}",
            f"{1e3 * many.timed.seconds / many.pictures:.1f}",
            f"{many.timed.peak_bytes / MEGA:.0f}",
            *("" if size is None else f"{size / MEGA:.1f}" for size in (many.first, many.last)),
        ]
        for many in record.many
    ]
    yield _table(head, rows)


def _threads(record: Record) -> Iterator[str]:
    if not record.threads and record.comparison is None:
        return
    yield "## Threads"
    if record.threads:
        yield _image("threads", "Milliseconds a megapixel by the use of threads")
        yield (
            "From pixels in memory to bytes and back, no files, no start-up: all threads on one"
            " picture after another, or a picture for each."
        )
        rows = [_thread_row(use, record.threads) for use in record.threads]
        head = ["pictures", "threads", "encode, ms a megapixel", "decode, ms a megapixel"]
        yield _table([*head, "against one thread"], rows)
    found = record.comparison
    if found is not None:
        yield (
            f"Whole processes, {found.pictures} pictures of {found.source}. AVIF is Pillow's,"
            f" {_AVIF}, PNG files to AVIF files and back. All took turns; rounds: {found.rounds}."
        )
        rows = []
        for way in found.ways:
            times = way.times
            cpu = (times.compress.cpu_seconds + times.restore.cpu_seconds) / times.seconds
            peak = max(times.compress.peak_bytes, times.restore.peak_bytes)
            row = [way.name, str(way.cores), f"{times.compress.seconds:.2f}"]
            row += [f"{times.restore.seconds:.2f}", f"{times.seconds:.2f}", f"{cpu:.2f}"]
            rows.append([*row, f"{peak / MEGA:.0f}"])
        head = ["", "cores", "compress, s", "restore, s", "both, s", "processors busy", "peak, MB"]
        yield _table(head, rows)


def _thread_row(use: ThreadUse, uses: Iterable[ThreadUse]) -> list[str]:
    single = next(u for u in uses if u.what == use.what and u.threads == 1)
    per = use.pixels / MEGA / 1e3
    threads = str(use.threads)
    if use.threads > 1:
        threads += ", a picture each" if use.beside else " on one picture"
    row = [use.what, threads, f"{use.encode / per:.1f}", f"{use.decode / per:.1f}"]
    return [*row, f"{single.seconds / use.seconds:.2f} times as fast"]


def _how(record: Record) -> Iterator[str]:
    yield "## How it was measured"
    yield f"    {record.command}"
    yield (
        "One run of that command made every figure and every number of this page; times are the"
        " shortest of several rounds, in which what is compared took turns. Processes are confined"
        " to the cores that are named, with as many threads. A process's peak memory is what the"
        " system says of it when it ends. MB are millions of bytes."
    )
    if record.others is not None:
        yield _others(record.others)
    yield "\n".join(f"- {subject}: {words}" for subject, words in record.machine.items())
    yield "Two versions are compared by the benchmarks; what moved beyond the noise is printed:"
    yield (
        "    pytest benchmarks --benchmark-only --benchmark-json=old.json\n"
        "    pytest benchmarks --benchmark-only --benchmark-json=new.json\n"
        "    python benchmarks/compare.py old.json new.json --fail-above 1.2"
    )


def _others(share: float) -> str:
    return f"Other work took {100 * share:.0f} % of all processors' time during this run."


def _found_ms(record: Record, test: str, *cases: str) -> str:
    one = find(record.benchmarks, test, *cases)
    return "" if one is None else _ms(one.seconds)


def _ms(seconds: float) -> str:
    milliseconds = 1e3 * seconds
    return f"{milliseconds:.0f}" if milliseconds >= 100 else f"{milliseconds:.3g}"


def _met(met: bool) -> str:
    return "reached" if met else "**missed**"


def _cores(count: int) -> str:
    return "1 core" if count == 1 else f"{count} cores"


def _image(name: str, words: str) -> str:
    return f"![{words}](images/performance-{name}.png)"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    found = list(rows)
    right = [all(not row[i] or row[i][0].isdigit() for row in found) for i in range(len(head))]
    lines = [head, ["---:" if number and i else "---" for i, number in enumerate(right)], *found]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
