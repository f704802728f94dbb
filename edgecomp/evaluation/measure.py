"""Measures methods picture by picture: bytes, MS-SSIM, PSNR, and seconds on so many cores.

The pictures of a chunk are in memory. Each method first codes all of them and then restores all of
them, as many side by side as there are cores, by the clock on the wall; reading and writing PNG
files is no part of it. Scores are taken afterwards, untimed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from edgecomp._version import VERSION
from edgecomp.evaluation.cache import Cache
from edgecomp.evaluation.methods import Method, UnavailableError
from edgecomp.evaluation.results import Score
from edgecomp.evaluation.sources import Source, chunks
from edgecomp.metrics import Reference
from edgecomp.names import Note
from edgecomp.pipeline import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

Item = TypeVar("Item")
Result = TypeVar("Result")

_TRIAL_SIDE = 192


@dataclass(slots=True)
class Measured:
    """One method on all pictures: scores by their names, seconds of all of them."""

    scores: dict[str, Score] = field(default_factory=dict)
    seconds_compress: float = 0.0
    seconds_decompress: float = 0.0


class PictureFailedError(Exception):
    """A method cannot code or restore a picture."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.note = Note(name, reason)


def label_of(method: Method) -> str:
    """Name and quality, as `results.Row.label`."""
    return f"{method.name} {method.quality}"


def try_out(method: Method) -> None:
    """Code and restore a small generated picture; this also warms the method up.

    Raises:
        UnavailableError: that fails, so the method cannot be measured at all.
    """
    y, x = np.mgrid[0:_TRIAL_SIDE, 0:_TRIAL_SIDE]
    planes = (x + y / 2, 90 + 60 * np.sin(x / 9), 120 + 80 * np.cos((x + y) / 15))
    rgb = np.ascontiguousarray(np.stack(planes, axis=-1).clip(0, 255).astype(np.uint8))
    try:
        restored = method.decode(method.encode(rgb))
    except UnavailableError:
        raise
    except MemoryError:
        raise
    except Exception as error:  # codecs raise nearly anything
        raise UnavailableError(f"does not work here ({_words(error)})") from error
    if restored.shape != rgb.shape:
        raise UnavailableError(f"does not work here (restored {restored.shape} of {rgb.shape})")


class Measurer:
    """Measures methods on pictures, on so many cores.

    Args:
        cores: pictures worked on side by side.
        cache: where measurements are kept.
        progress: advanced by each picture coded and restored, and each scored.
    """

    def __init__(self, cores: int, cache: Cache, progress: Progress) -> None:
        self._cores = cores
        self._cache = cache
        self._progress = progress

    def measure(
        self, sources: Sequence[Source], methods: Sequence[Method]
    ) -> tuple[list[Source], list[Note], dict[str, Measured]]:
        """Every method on every picture.

        Returns:
            The pictures that every method worked on, the others with the reasons, and what was
            measured, by `label_of` the methods.
        """
        kept: list[Source] = []
        failed: list[Note] = []
        totals = {label_of(method): Measured() for method in methods}
        self._progress.start(2 * len(sources) * len(methods), 0)
        for chunk in chunks(sources):
            while chunk:
                try:
                    results = self._chunk(chunk, methods)
                except PictureFailedError as error:
                    failed.append(error.note)
                    chunk = [source for source in chunk if source.name != error.note.path]
                    continue
                kept += chunk
                for label, found in results.items():
                    totals[label].scores |= found.scores
                    totals[label].seconds_compress += found.seconds_compress
                    totals[label].seconds_decompress += found.seconds_decompress
                break
        self._progress.finish()
        return kept, failed, totals

    def _chunk(self, chunk: Sequence[Source], methods: Sequence[Method]) -> dict[str, Measured]:
        keys = {label_of(method): self._key(chunk, method) for method in methods}
        results: dict[str, Measured] = {}
        for label, key in keys.items():
            known = self._cache.get(key)
            if known is not None:
                results[label] = _from_record(chunk, known)
                self._advance(2 * len(chunk), label)
        missing = [method for method in methods if label_of(method) not in results]
        if not missing:
            return results
        pixels = [source.load() for source in chunk]
        coded: dict[str, list[bytes]] = {}
        for method in missing:
            label = label_of(method)
            coded[label], results[label] = self._time(chunk, pixels, method)
            self._advance(len(chunk), label)
        self._score(chunk, pixels, missing, coded, results)
        for method in missing:
            label = label_of(method)
            self._cache.put(keys[label], _record(chunk, results[label]))
        return results

    def _time(
        self, chunk: Sequence[Source], pixels: Sequence[Pixels], method: Method
    ) -> tuple[list[bytes], Measured]:
        def encode(index: int) -> bytes:
            return _guarded(chunk[index], method, method.encode, pixels[index])

        def decode(index: int) -> None:
            restored = _guarded(chunk[index], method, method.decode, coded[index])
            if restored.shape != pixels[index].shape:
                reason = f"{label_of(method)} restores {restored.shape}"
                raise PictureFailedError(chunk[index].name, reason)

        coded, seconds_compress = self._clocked(encode, range(len(chunk)))
        _, seconds_decompress = self._clocked(decode, range(len(chunk)))
        measured = Measured({}, seconds_compress, seconds_decompress)
        return coded, measured

    def _score(
        self,
        chunk: Sequence[Source],
        pixels: Sequence[Pixels],
        methods: Sequence[Method],
        coded: Mapping[str, Sequence[bytes]],
        results: Mapping[str, Measured],
    ) -> None:
        """Scores of the coded pictures; picture by picture, so that what can be computed of an
        original beforehand is computed once, and held for no longer."""

        def score(index: int) -> list[Score]:
            reference = Reference(pixels[index])
            scores = []
            for method in methods:
                data = coded[label_of(method)][index]
                similarity, noise = reference.score(
                    _guarded(chunk[index], method, method.decode, data)
                )
                scores.append(Score(len(data), similarity, noise))
            self._advance(len(methods), chunk[index].name)
            return scores

        every, _ = self._clocked(score, range(len(chunk)))
        for source, scores in zip(chunk, every, strict=True):
            for method, found in zip(methods, scores, strict=True):
                results[label_of(method)].scores[source.name] = found

    def _clocked(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> tuple[list[Result], float]:
        """The function of every item, and the seconds it took."""
        if self._cores == 1:
            start = time.perf_counter()
            return [function(item) for item in items], time.perf_counter() - start
        with ThreadPoolExecutor(self._cores) as pool:
            start = time.perf_counter()
            futures = [pool.submit(function, item) for item in items]
            try:
                results = [future.result() for future in futures]
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
            return results, time.perf_counter() - start

    def _advance(self, steps: int, name: str) -> None:
        for _ in range(steps):
            self._progress.advance(name, 0)

    def _key(self, chunk: Sequence[Source], method: Method) -> dict[str, Any]:
        return {
            "what": "method",
            "edgecomp": VERSION,
            "pictures": [source.digest for source in chunk],
            "method": label_of(method),
            "parts": getattr(method, "parts", method.settings),
            "cores": self._cores,
        }


def _guarded(
    source: Source, method: Method, function: Callable[[Item], Result], item: Item
) -> Result:
    try:
        return function(item)
    except MemoryError:
        raise
    except Exception as error:  # codecs raise nearly anything
        raise PictureFailedError(source.name, f"{label_of(method)}: {_words(error)}") from error


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _record(chunk: Sequence[Source], measured: Measured) -> dict[str, Any]:
    scores = [measured.scores[source.name] for source in chunk]
    return {
        "bytes": [score.bytes for score in scores],
        "ms_ssim": [score.ms_ssim for score in scores],
        # JSON has no infinity.
        "psnr": [None if score.psnr == float("inf") else score.psnr for score in scores],
        "seconds_compress": measured.seconds_compress,
        "seconds_decompress": measured.seconds_decompress,
    }


def _from_record(chunk: Sequence[Source], record: Mapping[str, Any]) -> Measured:
    scores = {
        source.name: Score(count, similarity, float("inf") if noise is None else noise)
        for source, count, similarity, noise in zip(
            chunk, record["bytes"], record["ms_ssim"], record["psnr"], strict=True
        )
    }
    return Measured(scores, record["seconds_compress"], record["seconds_decompress"])
