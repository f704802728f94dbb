"""The symbol coders of a model: which it has, and the one with its parameters."""

from __future__ import annotations

from edgecomp import native
from edgecomp.entropy import ContextCoder, LzmaCoder, SymbolCoder, coder_by_name
from edgecomp.errors import CorruptDataError, ModelDamagedError, ModelNotFoundError
from edgecomp.models import Model


def default_coder(model: Model) -> str:
    """Name of the coder that a model's pictures are coded with if nobody says otherwise."""
    return ContextCoder.name if ContextCoder.name in model.coders else LzmaCoder.name


def load_coder(model: Model, name: str | None = None) -> SymbolCoder:
    """A coder for the symbols of a model; its parameters are read and checked here, once.

    Args:
        model: whose symbols.
        name: one of ``entropy.CODER_NAMES``; None for the model's default.

    Raises:
        ValueError: there is no coder of that name.
        ModelNotFoundError: the model lacks the parameters that the coder needs.
        ModelDamagedError: their file is missing, damaged or of another model.
    """
    name = name or default_coder(model)
    if name != ContextCoder.name:
        return coder_by_name(name)
    data = model.read_coder(name)
    if data is None:
        raise ModelNotFoundError(
            f"model {model.name} has no parameters for the coder {name}"
            f" (coders: {', '.join(model.coders)})",
            path=str(model.path),
        )
    return coder_by_name(name, _context_parameters(model, data))


def _context_parameters(model: Model, data: bytes) -> native.ContextParameters:
    path = str(model.path / model.coder_files[ContextCoder.name].file)
    try:
        found = native.context_parameters(data)
    except CorruptDataError as error:
        raise ModelDamagedError(
            f"not the parameters of the coder {ContextCoder.name} ({error})", path=path
        ) from error
    for key in ("channels", "levels", "zero"):
        stated, expected = getattr(found, key), getattr(model, key)
        if stated != expected:
            raise ModelDamagedError(
                f"the coder's parameters say {key} = {stated}, the manifest {expected}", path=path
            )
    return found
