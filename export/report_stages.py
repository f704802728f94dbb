"""The stages of a network that export.report compares, and their export."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from edgecomp.models import MANIFEST, Model, load_model

ROOT = Path(__file__).resolve().parents[1]
RUN = "state.npz"  # of a run folder, as export.checkpoint names it
PRUNED = "pruned"
STAGES = ("float", PRUNED, "quantised")
LEFT_OUT = "-"
EXPORT_SECONDS = 3600


class ReportError(RuntimeError):
    """A stage, a folder or a picture that cannot be measured; the message names it."""


@dataclass(frozen=True)
class Stage:
    """One network of a quality: where it is, and between which qualities."""

    source: str
    position: float | None

    @classmethod
    def parse(cls, text: str) -> Stage:
        """``text`` is PATH or PATH@POSITION."""
        path, at, number = text.rpartition("@")
        if at and not Path(text).exists():
            try:
                return cls(path, float(number))
            except ValueError:
                pass
        return cls(text, None)

    @property
    def is_model(self) -> bool:
        """Whether it is an exported model, not a run or a checkpoint."""
        return (Path(self.source) / MANIFEST).is_file()

    def check(self, name: str) -> None:
        """A ReportError where nothing is that could be measured as stage ``name``."""
        path = Path(self.source)
        if not path.exists():
            raise ReportError(f"no run, checkpoint or model at {path}")
        if path.is_dir() and not self.is_model and not (path / RUN).is_file():
            raise ReportError(f"{path} is neither a run nor a model")
        if self.is_model and self.position is not None:
            raise ReportError(f"{path} is an exported model: it has no position {self.position}")
        if self.is_model and name != "quantised":
            raise ReportError(
                f"{path} is an exported model, of which only the int8 graphs count; the {name}"
                " stage needs a run or a checkpoint"
            )


def parse_stages(groups: list[list[str]]) -> dict[str, dict[str, Stage]]:
    """{quality: {stage: ...}} of the command line's --stages."""
    found: dict[str, dict[str, Stage]] = {}
    for quality, *sources in groups:
        if quality in found or not 1 <= len(sources) <= len(STAGES):
            raise ReportError(
                f"--stages {quality}: once a quality, QUALITY FLOAT [PRUNED [QUANTISED]]"
            )
        given = dict(zip(STAGES, sources, strict=False))
        stages = {name: Stage.parse(s) for name, s in given.items() if s != LEFT_OUT}
        if not stages:
            raise ReportError(f"--stages {quality}: every stage is left out")
        for name, stage in stages.items():
            stage.check(name)
        found[quality] = stages
    return found


@dataclass(frozen=True)
class Exporter:
    """Makes models of runs and checkpoints, in a folder of its own."""

    folder: Path
    data: list[str]
    calibrate: int

    def float_model(self, quality: str, stage: Stage) -> Model:
        """A stage with its weights as trained: fp32 graphs alone."""
        return self._export("export.float_model", quality, stage)

    def int8_model(self, quality: str, stage: Stage) -> Model:
        """A stage with int8 graphs; exported now unless it is a model already."""
        if stage.is_model:
            model = load_model(stage.source)
            if model.quality != quality:
                raise ReportError(
                    f"{stage.source} is a model of quality {model.quality}, not {quality}"
                )
            return model
        if not self.data:
            raise ReportError(f"{stage.source} is to be quantised, which needs --data")
        options = ["--calibrate", str(self.calibrate), "--data", *self.data]
        return self._export("export.to_onnx", quality, stage, *options)

    def _export(self, module: str, quality: str, stage: Stage, *options: str) -> Model:
        """Run an export command, in a process of its own: it needs Keras under TensorFlow, whose
        threads would go on beside the timing."""
        out = self.folder / str(len(list(self.folder.iterdir())))
        command = [sys.executable, "-m", module, stage.source, "--quality", quality]
        command += ["--out", str(out), *options]
        if stage.position is not None:
            command.append(f"--position={stage.position}")
        paths = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        env = os.environ | {
            "KERAS_BACKEND": "tensorflow",
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        }
        try:
            done = subprocess.run(
                command, env=env, capture_output=True, text=True, timeout=EXPORT_SECONDS
            )
        except subprocess.TimeoutExpired:
            raise ReportError(f"{module} {stage.source} took over {EXPORT_SECONDS} s") from None
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise ReportError(f"{stage.source} could not be exported: {last}")
        return load_model(out)
