"""The symbol coders of a model: which it has, and the one with its parameters."""

from __future__ import annotations

from edgecomp.constants import CODERS_WITH_PARAMETERS
from edgecomp.entropy import LzmaCoder, SymbolCoder, coder_by_name
from edgecomp.errors import ModelNotFoundError
from edgecomp.models import Model


def default_coder(model: Model) -> str:
    """Name of the coder that a model's pictures are coded with if nobody says otherwise."""
    return LzmaCoder.name


def load_coder(model: Model, name: str | None = None) -> SymbolCoder:
    """A coder for the symbols of a model; its parameters are read and checked here, once.

    Args:
        model: whose symbols.
        name: one of ``entropy.CODER_NAMES``; None for the model's default.

    Raises:
        ValueError: there is no coder of that name.
        ModelNotFoundError: the model lacks the parameters that the coder needs.
        ModelDamagedError: their file is missing or damaged.
        UnsupportedVersionError: this version lacks the coder.
    """
    name = name or default_coder(model)
    if name in CODERS_WITH_PARAMETERS and model.read_coder(name) is None:
        raise ModelNotFoundError(
            f"model {model.name} has no parameters for the coder {name}"
            f" (coders: {', '.join(model.coders)})",
            path=str(model.path),
        )
    return coder_by_name(name)
