"""Rows of the float context model: what an arithmetic coder driven by it would come to."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from edgecomp._version import VERSION
from edgecomp.codec import Codec
from edgecomp.evaluation.cache import Cache
from edgecomp.evaluation.context_model import FloatContextModel
from edgecomp.evaluation.results import CONTEXT_MODEL, Row
from edgecomp.evaluation.rows import ideal_row
from edgecomp.evaluation.sources import Source
from edgecomp.pictures import Picture
from edgecomp.pipeline import Progress

_NOT_GIVEN = "its float graph was not given (--context-model)"


def ideal_rows(
    codecs: Sequence[tuple[str, Codec]],
    models: Sequence[FloatContextModel],
    *,
    like: Mapping[str | None, Row],
    sources: Sequence[Source],
    cores: int,
    cache: Cache,
    progress: Progress,
) -> list[Row]:
    """A row for each codec: measured where a context model of its network was given.

    Args:
        codecs: quality and codec.
        models: float context models, of any networks.
        like: rows of the same latents by another coder, by their quality.
        sources: all pictures; the first is the one that is timed.
        cores: for the estimate of the seconds.
        cache: keeps the sums.
        progress: advanced by each picture.
    """
    if not models:
        return [Row(CONTEXT_MODEL, skipped=_NOT_GIVEN, cores=cores)]
    rows = []
    for quality, codec in codecs:
        model = next((model for model in models if model.matches(codec.model)), None)
        row = like.get(quality)
        if model is None or row is None or row.skipped is not None:
            reason = f"none of the graphs given is of model {codec.model_name}"
            if model is not None:
                reason = "the same latents could not be measured by another coder"
            rows.append(Row(CONTEXT_MODEL, quality, skipped=reason, cores=cores))
            continue
        found = _measured(codec, model, sources, cache, progress)
        rows.append(
            ideal_row(
                row,
                found["bytes"],
                settings=f"{codec.model_name}, float graph",
                seconds=(found["seconds_compress"], found["seconds_decompress"]),
                timed_picture=sources[0],
                sources=sources,
                cores=cores,
            )
        )
    return rows


def _measured(
    codec: Codec,
    model: FloatContextModel,
    sources: Sequence[Source],
    cache: Cache,
    progress: Progress,
) -> dict[str, Any]:
    """Ideal bytes of all pictures; seconds of the first one each way, the network's included."""
    key = {
        "what": "context model",
        "edgecomp": VERSION,
        "model": codec.model.id_hex,
        "graph": model.sha256,
        "pictures": [source.digest for source in sources],
    }
    known = cache.get(key)
    if known is not None:
        return known
    progress.start(len(sources) + 1, 0)
    count = 0
    for source in sources:
        symbols = codec.analyse(Picture(rgb=source.load())).symbols
        count += model.ideal_bytes(symbols)
        progress.advance(source.name, 0)
    picture = Picture(rgb=sources[0].load())
    start = time.perf_counter()
    symbols = codec.analyse(picture).symbols
    analysed = time.perf_counter()
    codec.backend.synthesise(symbols, 0)
    synthesised = time.perf_counter()
    found = {
        "bytes": count,
        "seconds_compress": analysed - start + model.seconds_encoding(symbols),
        "seconds_decompress": synthesised - analysed + model.seconds_decoding(symbols),
    }
    progress.finish()
    cache.put(key, found)
    return found
