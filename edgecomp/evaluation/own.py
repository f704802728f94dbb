"""edgecomp itself as a method to be measured: a codec, its qualities, its coders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from edgecomp.codec import Codec
from edgecomp.codestream import parse
from edgecomp.constants import QUALITIES
from edgecomp.entropy import ContextCoder, LzmaCoder
from edgecomp.errors import ModelNotFoundError
from edgecomp.evaluation.methods import UnavailableError
from edgecomp.model_coders import load_coder
from edgecomp.models import load_model
from edgecomp.pictures import Picture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PREFIX: Final = "edgecomp "


class OwnMethod:
    """edgecomp at one quality with one symbol coder; meets `methods.Method`.

    Attributes:
        codec: what it runs, on one thread.
        coder: the symbol coder's name.
        parts: what its bytes depend on, for caches.
    """

    def __init__(self, codec: Codec, quality: str, coder: str) -> None:
        self.codec = codec
        self.coder = coder
        self.name = _PREFIX + coder
        self.quality = quality
        backend = codec.backend
        self.settings = f"{codec.model_name}, {backend.name}, {backend.precision}"
        self.parts = f"{codec.model.id_hex} {backend.name} {backend.precision} {coder}"

    def encode(self, rgb: NDArray[np.uint8], /) -> bytes:
        """A picture's codestream."""
        return self.codec.encode(Picture(rgb=rgb))

    def decode(self, data: bytes, /) -> NDArray[np.uint8]:
        """The picture of a codestream."""
        return self.codec.decode(parse(data)).rgb


def load_codecs(
    *, model: str | None = None, backend: str = "onnx", precision: str = "auto"
) -> list[tuple[str, Codec]]:
    """Quality and codec of the models that ship, or of the one in a folder.

    Raises:
        ModelError: no such model, or it is damaged.
        BackendUnavailableError: the backend's package is not installed.
        UsageError: the backend lacks the precision.
    """
    if model is not None:
        quality = load_model(model).quality or "-"
        return [(quality, Codec.load(model=model, backend=backend, precision=precision))]
    return [
        (quality, Codec.load(quality, backend=backend, precision=precision))
        for quality in QUALITIES
    ]


def own_methods(codecs: Sequence[tuple[str, Codec]], coder: str) -> list[OwnMethod]:
    """Methods with one symbol coder; the networks are those of the codecs.

    Raises:
        UnavailableError: a model has no parameters for the coder.
    """
    methods = []
    for quality, codec in codecs:
        try:
            chosen = load_coder(codec.model, coder)
        except ModelNotFoundError as error:
            raise UnavailableError(error.message) from error
        assert isinstance(chosen, ContextCoder | LzmaCoder)
        methods.append(OwnMethod(Codec(codec.model, codec.backend, chosen), quality, coder))
    return methods
