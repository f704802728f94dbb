"""Which methods an evaluation measures, and why some cannot be."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from edgecomp.codec import Codec
from edgecomp.constants import DEFAULT_MAX_PIXELS
from edgecomp.evaluation.measure import try_out
from edgecomp.evaluation.methods import Method, UnavailableError
from edgecomp.evaluation.own import OwnMethod, own_methods
from edgecomp.evaluation.pickle_lzma import PickleLzma
from edgecomp.evaluation.pillow_codecs import family
from edgecomp.evaluation.results import (
    CODEC_NAMES,
    CONTEXT_MODEL,
    NOT_ASKED_FOR,
    OWN_NAMES,
    PICKLE_LZMA,
    ROW_NAMES,
)

_OWN_CODERS: Final = {name: name.removeprefix("edgecomp ") for name in OWN_NAMES}


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be evaluated.

    Attributes:
        folder: of pictures.
        rows: names of `results.ROW_NAMES`.
        model: folder of an exported model, instead of those that ship.
        backend, precision: of edgecomp's own rows.
        threads: cores that every row is confined to; None for all that may be used.
        max_pixels: larger pictures are left out.
        limit: the first so many pictures only.
        context_models: ONNX files of float context models.
    """

    folder: str
    rows: Collection[str] = ROW_NAMES
    model: str | None = None
    backend: str = "onnx"
    precision: str = "auto"
    threads: int | None = None
    max_pixels: int | None = DEFAULT_MAX_PIXELS
    limit: int | None = None
    context_models: Sequence[Path] = ()


@dataclass(slots=True)
class Plan:
    """The methods that code picture by picture, and rows that cannot be measured, with reasons."""

    methods: list[Method] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def own(self) -> list[OwnMethod]:
        """edgecomp's own among the methods."""
        return [method for method in self.methods if isinstance(method, OwnMethod)]


def plan(request: Request, codecs: Sequence[tuple[str, Codec]]) -> Plan:
    """The methods of a request, each tried out on a small picture."""
    made = Plan()
    wanted = set(request.rows)
    if CONTEXT_MODEL in wanted:
        wanted.add(OWN_NAMES[1])  # the same latents: its MS-SSIM is that of this row
    makers: dict[str, Callable[[], Sequence[Method]]] = {
        **{name: partial(own_methods, codecs, coder) for name, coder in _OWN_CODERS.items()},
        PICKLE_LZMA: partial(_pickle_methods, codecs),
        **{name: partial(_codec_methods, name) for name in CODEC_NAMES},
    }
    for name, make in makers.items():
        if name not in wanted:
            made.skipped[name] = NOT_ASKED_FOR
            continue
        try:
            methods = list(make())
            for method in methods:
                try_out(method)
        except UnavailableError as error:
            made.skipped[name] = str(error)
        else:
            made.methods += methods
    return made


def _pickle_methods(codecs: Sequence[tuple[str, Codec]]) -> list[Method]:
    return [PickleLzma(codec, quality) for quality, codec in codecs]


def _codec_methods(name: str) -> list[Method]:
    codec = family(name)
    return [codec.method(quality) for quality in codec.measured]
