"""Where the time goes: the stages of edgecomp's own work on single pictures, one thread."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from typing import Final

from edgecomp.codestream import parse
from edgecomp.evaluation.own import OwnMethod
from edgecomp.evaluation.results import StageTimes
from edgecomp.evaluation.sources import Source
from edgecomp.picture_writer import write_picture
from edgecomp.pictures import read_picture
from edgecomp.pipeline import Progress

# Enough for a mean, few enough not to take long.
MAX_PICTURES: Final = 24


def measure_stages(
    sources: Sequence[Source], methods: Sequence[OwnMethod], progress: Progress
) -> list[StageTimes]:
    """Mean milliseconds a picture in each stage, for each method both ways.

    Args:
        sources: at most `MAX_PICTURES` of them are taken, evenly.
        methods: what is measured; each picture is worked on by all before the next is.
        progress: advanced by each picture and method.
    """
    step = -(-len(sources) // MAX_PICTURES)
    sample = sources[::step]
    sums: dict[tuple[str, str], dict[str, float]] = {}
    progress.start(len(sample) * len(methods), 0)
    for method in methods:  # loads what is loaded late
        for _ in _both_ways(sample[0].png.read_bytes(), sample[0].name, method):
            pass
    for source in sample:
        data = source.png.read_bytes()
        for method in methods:
            label = f"{method.name} {method.quality}"
            for direction, stage, seconds in _both_ways(data, source.name, method):
                stages = sums.setdefault((label, direction), {})
                stages[stage] = stages.get(stage, 0.0) + seconds
            progress.advance(source.name, 0)
    progress.finish()
    return [
        StageTimes(label, direction, {s: 1e3 * t / len(sample) for s, t in stages.items()})
        for (label, direction), stages in sums.items()
    ]


def _both_ways(data: bytes, name: str, method: OwnMethod) -> Iterator[tuple[str, str, float]]:
    """Direction, stage and seconds of everything that happens to one picture, in its order."""
    codec = method.codec
    clock = time.perf_counter
    start = clock()
    picture = read_picture(data, name=name, max_pixels=None)
    read = clock()
    latent = codec.analyse(picture)
    analysed = clock()
    coded = codec.encode_latent(latent, picture)
    encoded = clock()
    stream = parse(coded)
    codec.check_symbols(stream)
    decoded = clock()
    again = codec.decode(stream)  # symbols and network
    synthesised = clock()
    write_picture(again, io.BytesIO())
    written = clock()
    yield "compress", "read PNG", read - start
    yield "compress", "encoder network", analysed - read
    yield "compress", "symbol coder", encoded - analysed
    yield "decompress", "symbol decoder", decoded - encoded
    network = synthesised - decoded - (decoded - encoded)
    yield "decompress", "decoder network", max(0.0, network)
    yield "decompress", "write PNG", written - synthesised
