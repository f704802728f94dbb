"""What this machine has, whether it computes as every other one, and what is quickest on it."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from edgecomp._version import VERSION
from edgecomp.backends.engine import load_onnxruntime
from edgecomp.choices import Choice, choice_file, content_of, onnxruntime_version, safe_precision
from edgecomp.constants import DEFAULT_QUALITY
from edgecomp.errors import EdgecompError, ModelNotFoundError
from edgecomp.golden import check
from edgecomp.machine import usable_cpus, usable_memory, versions
from edgecomp.models import Model, shipped_models
from edgecomp.names import Note, printable
from edgecomp.output import OutputFile, reason_of
from edgecomp.processor import has_dot_product, instruction_names, processor_name
from edgecomp.speed import Speed, measure_speed, quickest

# With starting and the golden vectors, well under the 20 s that a user waits for such a thing.
_SECONDS = 8.0
_PACKAGES = ("numpy", "pillow", "cffi")
# What measuring takes for each picture that is worked on: half of the memory may be used.
_MEASURING_BYTES = 1 << 26
# Above this load, a processor, other work has a say in what is measured.
_BUSY = 0.5


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
        busy: whether the machine had other work to do when this was measured.
        speed: the benchmark; None if no model computes what it should.
        precision: "int8" or "fp32", what "auto" stands for from now on.
        threads: pictures side by side.
        milliseconds: by precision, a picture at that number of threads.
        models: names of the models whose golden vectors were compared.
        wrong: what is not as it should be with them.
        remembered: the file that other runs take this choice from; None if there is none.
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
    busy: bool
    speed: Speed | None
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

    Where anything computes something else than it should, nothing is remembered, and what was is
    forgotten.

    Args:
        seconds: about how long the benchmark may take.

    Raises:
        BackendUnavailableError: onnxruntime is missing, or does not run here.
        ModelError: this installation carries no models.
    """
    onnxruntime: str = load_onnxruntime().__version__
    models = shipped_models()
    if not models:
        raise ModelNotFoundError("this installation of edgecomp carries no models")
    cores, memory, busy = usable_cpus(), usable_memory(), _is_busy()
    notes = {model.name: check(model) for model in models}
    wrong = tuple(note for of_model in notes.values() for note in of_model)
    measured = _to_measure([model for model in models if not notes[model.name]])
    most = max(1, min(cores, memory // 2 // _MEASURING_BYTES))
    speed, precision, chosen = None, safe_precision(models[0].precisions), most
    found: dict[str, float | None] = {}
    if measured is not None:
        speed = measure_speed(measured, cores=most, seconds=seconds)
        precision, chosen = quickest(speed, measured.precisions, most)
        found = {p: speed.of(p, chosen) for p in measured.precisions}
    threads = None if chosen == most else chosen
    if wrong:
        path, reason = _forget()
    else:
        path, reason = _remember(Choice(precision, threads, onnxruntime_version()))
    return Diagnosis(
        cpu=processor_name(),
        architecture=platform.machine(),
        instructions=instruction_names(),
        dot_product=has_dot_product(),
        cores=cores,
        all_cores=os.cpu_count() or cores,
        memory=memory,
        onnxruntime=onnxruntime,
        versions={
            "edgecomp": VERSION,
            "python": platform.python_version(),
            **versions(_PACKAGES),
        },
        busy=busy,
        speed=speed,
        precision=precision,
        threads=threads or cores,
        milliseconds={p: value for p, value in found.items() if value is not None},
        models=tuple(model.name for model in models),
        wrong=wrong,
        remembered=path,
        not_remembered=reason,
    )


def _to_measure(sound: Sequence[Model]) -> Model | None:
    """The model of the default quality, or another one that computes what it should."""
    default = [model for model in sound if model.quality == DEFAULT_QUALITY]
    return next(iter([*default, *sound]), None)


def _is_busy() -> bool:
    """Whether others have used a good part of the processors in the last minute; not known on
    Windows."""
    if sys.platform == "win32":
        return False
    else:
        try:
            return os.getloadavg()[0] > _BUSY * (os.cpu_count() or 1)
        except OSError:
            return False


def _forget() -> tuple[str | None, str | None]:
    """Remove an earlier choice; no file, and why there is none."""
    path = choice_file()
    if path is not None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            return None, f"{printable(str(path))} cannot be removed: {reason_of(error)}"
    return None, "the golden vectors differ"


def _remember(choice: Choice) -> tuple[str | None, str | None]:
    """Keep the choice for other runs: the file, as shown, or why there is none."""
    path = choice_file()
    if path is None:
        return None, "there is no folder for cached files"
    try:
        # The user's own, if it was not there: the standard wants it so.
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with OutputFile(path, force=True) as out:
            out.file.write(content_of(choice))
    except OSError as error:
        return None, f"{printable(str(path.parent))}: {reason_of(error)}"
    except EdgecompError as error:
        return None, str(error)
    return printable(str(path)), None
