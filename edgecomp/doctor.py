"""What this machine has, whether it computes as every other one, and what is quickest on it."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edgecomp._version import VERSION
from edgecomp.backends.engine import load_onnxruntime
from edgecomp.choices import Choice, choice_file, content_of
from edgecomp.constants import DEFAULT_QUALITY
from edgecomp.errors import EdgecompError, ModelNotFoundError
from edgecomp.golden import check
from edgecomp.machine import usable_cpus, usable_memory
from edgecomp.models import shipped_model, shipped_models
from edgecomp.names import Note, printable
from edgecomp.output import OutputFile, reason_of
from edgecomp.processor import has_dot_product, instruction_names, processor_name
from edgecomp.speed import Speed, measure_speed, quickest

# With starting and the golden vectors, well under the 20 s that a user waits for such a thing.
_SECONDS = 8.0
_PACKAGES = ("numpy", "pillow", "cffi")


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found.

    Attributes:
        cpu: name of the processor, and of the board where the system tells.
        architecture: "x86_64", "aarch64" ...
        instructions: vector instructions, in words.
        dot_product: whether there are instructions for dot products of bytes; None if unknown.
        cores: processors that this process may use.
        all_cores: that the machine has.
        memory: bytes that this process may use.
        onnxruntime: its version.
        versions: of edgecomp, Python and other packages.
        speed: the benchmark.
        precision: "int8" or "fp32", what "auto" stands for from now on.
        threads: pictures side by side.
        milliseconds: by precision, a picture at that number of threads.
        models: names of the models whose golden vectors were compared.
        wrong: what is not as it should be with them.
        remembered: the file that other runs take this choice from; None if it cannot be written.
        not_remembered: why not.
    """

    cpu: str
    architecture: str
    instructions: tuple[str, ...]
    dot_product: bool | None
    cores: int
    all_cores: int
    memory: int
    onnxruntime: str
    versions: dict[str, str]
    speed: Speed
    precision: str
    threads: int
    milliseconds: dict[str, float]
    models: tuple[str, ...]
    wrong: tuple[Note, ...]
    remembered: str | None
    not_remembered: str | None

    @property
    def golden(self) -> bool:
        """Whether everything that has golden vectors computes what they say."""
        return not self.wrong


def diagnose(*, seconds: float = _SECONDS) -> Diagnosis:
    """Look at this machine, compare the golden vectors, measure, and remember what is quickest.

    Args:
        seconds: about how long the benchmark may take.

    Raises:
        BackendUnavailableError: onnxruntime is missing, or does not run here.
        ModelError: this installation carries no models, or they cannot be run.
    """
    onnxruntime: str = load_onnxruntime().__version__
    models = shipped_models()
    if not models:
        raise ModelNotFoundError("this installation of edgecomp carries no models")
    wrong = tuple(note for model in models for note in check(model))
    measured = shipped_model(DEFAULT_QUALITY)
    cores = usable_cpus()
    speed = measure_speed(measured, cores=cores, seconds=seconds)
    precision, threads = quickest(speed, measured.precisions, cores)
    choice = Choice(precision, None if threads == cores else threads, onnxruntime)
    path, reason = _remember(choice)
    found = {p: speed.of(p, threads) for p in measured.precisions}
    return Diagnosis(
        cpu=processor_name(),
        architecture=platform.machine(),
        instructions=instruction_names(),
        dot_product=has_dot_product(),
        cores=cores,
        all_cores=os.cpu_count() or cores,
        memory=usable_memory(),
        onnxruntime=onnxruntime,
        versions={"edgecomp": VERSION, "python": platform.python_version(), **_versions()},
        speed=speed,
        precision=precision,
        threads=threads,
        milliseconds={p: value for p, value in found.items() if value is not None},
        models=tuple(model.name for model in models),
        wrong=wrong,
        remembered=path,
        not_remembered=reason,
    )


def _remember(choice: Choice) -> tuple[str | None, str | None]:
    """Keep the choice for other runs: the file, as shown, or why there is none."""
    path = choice_file()
    if path is None:
        return None, "there is no folder for cached files"
    try:
        _make(path.parent)
        with OutputFile(path, force=True) as out:
            out.file.write(content_of(choice))
    except OSError as error:
        return None, f"{printable(str(path.parent))}: {reason_of(error)}"
    except EdgecompError as error:
        return None, str(error)
    return printable(str(path)), None


def _make(folder: Path) -> None:
    """The user's own, if it was not there: the standard wants it so."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
