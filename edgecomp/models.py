"""Models: a folder with a manifest and graphs (docs/format.md, section 4), and the ones that ship.

Everything is read into memory and compared with the hashes of the manifest before it is used, so
that a damaged model is refused and never decodes to noise.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgecomp.constants import CODER_NAMES, CODERS_WITH_PARAMETERS, MODEL_ID_BYTES, QUALITIES
from edgecomp.errors import ModelDamagedError, ModelNotFoundError
from edgecomp.folders import open_file

MANIFEST: Final = "model.json"
SAVED_MODEL: Final = "saved_model"
_SCHEMA: Final = 1
_VERSION: Final = 1
_SHIPPED: Final = Path(__file__).parent / "models"
_ROLES: Final = ("encoder", "decoder")
_MAX_HALO: Final = 1 << 10
_MAX_MANIFEST_BYTES: Final = 1 << 20
_MAX_FILE_BYTES: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class ModelFile:
    """An ONNX graph or a coder's parameters: file name, SHA-256 in hexadecimal."""

    file: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Model:
    """A model's manifest, checked.

    Attributes:
        path: its folder.
        model_id: first 8 bytes of the SHA-256 of the manifest.
        name: for people, "edge-a".
        network: "edge" or "cvpr".
        quality: "A", "B", "C", or what the exporter called it.
        stride: pixels a latent position covers on each side.
        channels: of the latent.
        levels: number of symbol values; symbols are 0 to levels - 1.
        zero: the symbol of the zero latent.
        importance_map: whether the encoder tells how many channels of each position are coded.
        gains: number of gain indices.
        choice_threshold: 256ths of a bit that must be saved for a squared error of one in the
            latent; None where symbols stay as they were rounded.
        version: of what the graphs take and give, for this edgecomp to know.
        scales: values that the symbols stand for: one a symbol, or one step for all of them;
            empty where the manifest does not say.
        graphs: (role, precision) -> file.
        coder_files: symbol coder -> file of its parameters, for the coders that need parameters
            and that the model has them for.
        saved_model: files of the TensorFlow SavedModel, paths within the model's folder starting
            with ``saved_model/`` -> SHA-256 in hexadecimal; empty if there is none.
        halo: by role, how many latent positions beyond its own, on each side, the result at a
            position depends on; None where the manifest does not say, and networks must see
            pictures whole.
        parameters, multiply_adds_per_pixel: by role, for information.
    """

    path: Path
    model_id: bytes
    name: str
    network: str
    quality: str
    stride: int
    channels: int
    levels: int
    zero: int
    importance_map: bool
    gains: int
    choice_threshold: int | None
    version: int
    scales: tuple[float, ...]
    graphs: dict[tuple[str, str], ModelFile]
    coder_files: dict[str, ModelFile]
    saved_model: dict[str, str]
    halo: dict[str, int] | None
    parameters: dict[str, int]
    multiply_adds_per_pixel: dict[str, float]

    @property
    def id_hex(self) -> str:
        """The model id in hexadecimal."""
        return self.model_id.hex()

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions that both graphs are there in."""
        found = {precision for _, precision in self.graphs}
        return tuple(sorted(p for p in found if all((role, p) in self.graphs for role in _ROLES)))

    @property
    def coders(self) -> tuple[str, ...]:
        """The symbol coders that pictures can be coded with, a part of ``CODER_NAMES``."""
        return tuple(
            name
            for name in CODER_NAMES
            if name in self.coder_files or name not in CODERS_WITH_PARAMETERS
        )

    def size(self, precision: str | None = None) -> int:
        """Bytes on disk of the graphs of one precision, or of all graphs and coder parameters.

        Raises:
            ModelDamagedError: a file is missing.
        """
        files = {g.file for (_, p), g in self.graphs.items() if precision in (None, p)}
        if precision is None:
            files |= {entry.file for entry in self.coder_files.values()}
        total = 0
        for path in (self.path / file for file in files):
            try:
                total += path.stat().st_size
            except OSError as error:
                raise _cannot_read(path, error) from error
        return total

    def read_graph(self, role: str, precision: str) -> bytes:
        """An ONNX graph's bytes, after its hash was checked.

        Raises:
            ModelNotFoundError: the model has no such graph.
            ModelDamagedError: the file is missing or its hash is wrong.
        """
        graph = self.graphs.get((role, precision))
        if graph is None:
            known = ", ".join(self.precisions) or "none"
            raise ModelNotFoundError(
                f"model {self.name} has no {precision} {role} (precisions: {known})",
                path=str(self.path),
            )
        return _read_checked(self.path / graph.file, graph.sha256)

    def read_coder(self, name: str) -> bytes | None:
        """The parameters of a symbol coder, after their hash was checked; None if there are none.

        Raises:
            ModelDamagedError: the file is missing or its hash is wrong.
        """
        file = self.coder_files.get(name)
        return None if file is None else _read_checked(self.path / file.file, file.sha256)

    def check_saved_model(self) -> Path:
        """The folder of the TensorFlow SavedModel, after its files' hashes were checked.

        Raises:
            ModelNotFoundError: the model has none.
            ModelDamagedError: a file is missing or its hash is wrong.
        """
        if not self.saved_model:
            raise ModelNotFoundError(
                f"model {self.name} has no TensorFlow SavedModel", path=str(self.path)
            )
        for file, digest in self.saved_model.items():
            _read_checked(self.path / file, digest)
        return self.path / SAVED_MODEL


def load_model(path: Path | str) -> Model:
    """Read a model's manifest.

    Raises:
        ModelNotFoundError: there is no manifest in that folder.
        ModelDamagedError: the manifest is malformed.
    """
    folder = Path(path)
    manifest = folder / MANIFEST
    try:
        data = _read(manifest, _MAX_MANIFEST_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        raise ModelNotFoundError(f"no model here ({MANIFEST} is missing)", path=str(path)) from None
    except OSError as error:
        raise ModelNotFoundError(
            f"cannot be read ({error.strerror})", path=str(manifest)
        ) from error
    try:
        return _parse_manifest(folder, data)
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise ModelDamagedError(f"not a model manifest ({error!r})", path=str(manifest)) from error


def shipped_model(quality: str) -> Model:
    """The model that ships for a quality.

    Raises:
        ModelNotFoundError: no such quality, or this installation carries no models.
    """
    if quality not in _shipped_qualities():
        known = ", ".join(_shipped_qualities())
        raise ModelNotFoundError(
            f"no model of quality {quality!r} ships with this edgecomp"
            f" (there are: {known or 'none'})"
        )
    return load_model(_SHIPPED / quality)


def _shipped_qualities() -> tuple[str, ...]:
    return tuple(q for q in QUALITIES if (_SHIPPED / q / MANIFEST).is_file())


def shipped_models() -> tuple[Model, ...]:
    """All models that ship, in the order of their qualities."""
    return tuple(load_model(_SHIPPED / quality) for quality in _shipped_qualities())


def find_model(model_id: bytes, *, model: Path | str | None = None) -> Model:
    """The model with that id: the given folder's, else one of those that ship.

    Raises:
        ModelNotFoundError: neither has that id; the message names both sides.
    """
    candidates = (load_model(model),) if model is not None else shipped_models()
    for candidate in candidates:
        if candidate.model_id == model_id:
            return candidate
    there = ", ".join(f"{m.name} ({m.id_hex})" for m in candidates) or "none"
    advice = (
        "give the folder of that model with --model" if model is None else "this is another model"
    )
    raise ModelNotFoundError(f"made with model {model_id.hex()}; {advice} (here: {there})")


def _read_checked(path: Path, digest: str) -> bytes:
    try:
        data = _read(path, _MAX_FILE_BYTES)
    except OSError as error:
        raise _cannot_read(path, error) from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise ModelDamagedError("a file of the model is damaged (SHA-256)", path=str(path))
    return data


def _read(path: Path, most: int) -> bytes:
    """The bytes of a file; a pipe is not waited for, nor a device read for ever.

    Raises:
        OSError: it cannot be read, is no file, or is longer than ``most``.
    """
    with open(open_file(path), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a file")
        if found.st_size > most:
            raise OSError(errno.EFBIG, f"longer than {most} bytes")
        return file.read(found.st_size)


def _cannot_read(path: Path, error: OSError) -> ModelDamagedError:
    return ModelDamagedError(
        f"a file of the model cannot be read ({error.strerror})", path=str(path)
    )


def _parse_manifest(folder: Path, data: bytes) -> Model:
    fields: dict[str, Any] = json.loads(data)
    if fields["schema"] != _SCHEMA:
        raise ValueError(f"manifest schema {fields['schema']}; this edgecomp reads {_SCHEMA}")
    graphs = {
        (role, precision): _model_file(entry)
        for role in _ROLES
        for precision, entry in fields["graphs"].get(role, {}).items()
    }
    model = Model(
        path=folder,
        model_id=hashlib.sha256(data).digest()[:MODEL_ID_BYTES],
        name=str(fields["name"]),
        network=str(fields["network"]),
        quality=str(fields["quality"]),
        stride=_integer(fields, "stride", 1, 256),
        channels=_integer(fields, "channels", 1, 4096),
        levels=_integer(fields, "levels", 2, 256),
        zero=_integer(fields, "zero", 0, 255),
        importance_map=bool(fields["importance_map"]),
        gains=_integer(fields, "gains", 1, 16),
        choice_threshold=_choice_threshold(fields),
        version=_integer({"version": 1} | fields, "version", 1, _VERSION),
        scales=tuple(_finite(value) for value in fields.get("scales", ())),
        graphs=graphs,
        coder_files=_coder_files(fields.get("coders", {})),
        saved_model={
            _plain_path(file): str(digest) for file, digest in fields.get("saved_model", {}).items()
        },
        halo=_halo(fields),
        parameters={str(r): int(n) for r, n in fields.get("parameters", {}).items()},
        multiply_adds_per_pixel={
            str(r): float(n) for r, n in fields.get("multiply_adds_per_pixel", {}).items()
        },
    )
    if model.zero >= model.levels:
        raise ValueError(f"zero symbol {model.zero} with {model.levels} levels")
    if len(model.scales) not in (0, 1, model.levels):
        raise ValueError(f"{len(model.scales)} scales for {model.levels} levels")
    if model.importance_map and model.channels > 255:
        raise ValueError(f"an importance map with {model.channels} channels")
    return model


def _choice_threshold(fields: dict[str, Any]) -> int | None:
    if "choice" not in fields:
        return None
    return _integer(fields["choice"], "threshold", 1, 2**31 - 1)


def _halo(fields: dict[str, Any]) -> dict[str, int] | None:
    if "halo" not in fields:
        return None
    return {role: _integer(fields["halo"], role, 0, _MAX_HALO) for role in _ROLES}


def _coder_files(coders: object) -> dict[str, ModelFile]:
    """The files of the coders that this edgecomp knows; a newer exporter may know others."""
    if not isinstance(coders, dict):
        raise ValueError(f"coders is {coders!r}, not an object")
    known = {name: coders[name] for name in CODER_NAMES if name in coders}
    for name, entry in known.items():
        if not isinstance(entry, dict):
            raise ValueError(f"coder {name} is {entry!r}, not an object")
    return {name: _model_file(known[name]) for name in CODERS_WITH_PARAMETERS if name in known}


def _model_file(entry: dict[str, Any]) -> ModelFile:
    digest = entry["sha256"]
    if not isinstance(digest, str):
        raise ValueError(f"not a SHA-256: {digest!r}")
    return ModelFile(_plain_name(entry["file"]), digest)


def _integer(fields: dict[str, Any], key: str, low: int, high: int) -> int:
    value = fields[key]
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{key} is {value!r}, not an integer from {low} to {high}")
    return value


def _finite(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"a scale is {value!r}, not a finite number")
    return float(value)


def _plain_name(name: object) -> str:
    """A file name without folders: a manifest never leads out of its folder."""
    if not isinstance(name, str) or name in ("", "..") or Path(name).name != name:
        raise ValueError(f"not a plain file name: {name!r}")
    if not name.isprintable():  # a zero byte or half a surrogate pair, which no path can hold
        raise ValueError(f"not a plain file name: {name!r}")
    return name


def _plain_path(name: object) -> str:
    parts = name.split("/") if isinstance(name, str) and name.isprintable() else [""]
    if not isinstance(name, str) or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"not a plain relative path: {name!r}")
    return name
