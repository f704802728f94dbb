"""The default backend: ONNX graphs on onnxruntime's CPU provider."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgecomp.backends import Latent
from edgecomp.backends.engine import load_onnxruntime
from edgecomp.choices import best_precision
from edgecomp.errors import LimitError, ModelDamagedError
from edgecomp.onnx_file import check_self_contained

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgecomp.models import Model

_ALWAYS_TAGGED: Final = ("stride", "channels", "levels", "zero")
_FATAL_ONLY: Final = 4


class OnnxBackend:
    """Runs a model's ONNX graphs.

    A session has its own threads, so there is one for each network and number of threads, made when
    first needed; it serves any number of calls at once.

    Args:
        model: which networks.
        precision: "auto" takes what was found quickest on this machine (`choices`), else int8
            where the model has it.
        threads: that onnxruntime may use within one call that does not say itself.
    """

    name = "onnx"

    def __init__(self, model: Model, *, precision: str = "auto", threads: int = 1) -> None:
        self._ort = load_onnxruntime()
        self._model = model
        self._threads = threads
        if precision == "auto":
            precision = best_precision(model.precisions)
        self.precision = precision
        self._sessions: dict[tuple[str, int], Any] = {}
        self._lock = threading.Lock()

    def analyse(self, rgb: NDArray[np.uint8], gain: int, *, threads: int | None = None) -> Latent:
        """Picture uint8 (height, width, 3), sides multiples of the stride -> symbols.

        `threads` is how many this call may use; None for the backend's own number.
        """
        names = ["symbols"]
        if self._model.importance_map:
            names.append("counts")
        if self._model.choice_threshold is not None:
            names.append("fractions")
        outputs = self._run("encoder", threads, {"picture": rgb[np.newaxis]}, gain, names)
        found = {name: output[0] for name, output in zip(names, outputs, strict=True)}
        symbols, fractions = found["symbols"], found.get("fractions")
        if fractions is not None and (
            fractions.dtype != np.int8 or fractions.shape != symbols.shape
        ):
            raise ModelDamagedError(
                f"the encoder of model {self._model.name} gives fractions {fractions.shape} of"
                f" {fractions.dtype} for symbols {symbols.shape}",
                path=str(self._model.path),
            )
        return Latent(symbols, found.get("counts"), fractions)

    def synthesise(
        self, symbols: NDArray[np.uint8], gain: int, *, threads: int | None = None
    ) -> NDArray[np.uint8]:
        """Symbols uint8 (channels, rows, columns) -> picture uint8 (height, width, 3).

        `threads` is as for `analyse`.
        """
        feeds = {"symbols": symbols[np.newaxis]}
        outputs = self._run("decoder", threads, feeds, gain, ["picture"])
        picture: NDArray[np.uint8] = outputs[0][0]
        return picture

    def _run(
        self, role: str, threads: int | None, feeds: dict[str, Any], gain: int, names: list[str]
    ) -> list[NDArray[Any]]:
        """The outputs of that name."""
        session = self._session(role, self._threads if threads is None else threads)
        if self._model.gains > 1:
            feeds["gain"] = np.array([gain], np.int64)
        try:
            outputs: list[NDArray[Any]] = session.run(names, feeds)
        except Exception as error:  # onnxruntime's exceptions share no base of their own
            self._check_memory(role, error)
            raise ModelDamagedError(
                f"the {role} of model {self._model.name} cannot be run ({error})",
                path=str(self._model.path),
            ) from error
        return outputs

    def _session(self, role: str, threads: int) -> Any:
        with self._lock:
            session = self._sessions.get((role, threads))
            if session is None:
                session = self._sessions[role, threads] = self._load(role, threads)
            return session

    def _load(self, role: str, threads: int) -> Any:
        graph = self._model.read_graph(role, self.precision)
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning threads would take the cores from the pictures worked on beside this one.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # One level everywhere: another level fuses other nodes and gives other pixels.
        options.graph_optimization_level = self._ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        # An arena keeps what it has had. Where pictures come in parts of limited size that is
        # little, and it spares handing memory back and forth (docs/performance.md); without such
        # parts it would grow with the largest picture. Plans for every shape seen only take more.
        options.enable_cpu_mem_arena = self._model.halo is not None
        options.enable_mem_pattern = False
        options.log_severity_level = _FATAL_ONLY
        try:
            check_self_contained(graph)
            session = self._ort.InferenceSession(
                graph, sess_options=options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            self._check_memory(role, error)
            raise ModelDamagedError(
                f"the {role} of model {self._model.name} cannot be loaded ({error})",
                path=str(self._model.path),
            ) from error
        self._check_metadata(role, session.get_modelmeta().custom_metadata_map)
        return session

    @staticmethod
    def _check_memory(role: str, error: Exception) -> None:
        """Raises what says so if memory ran out: onnxruntime tells it by words alone."""
        words = str(error).lower()
        if isinstance(error, MemoryError) or "bad_alloc" in words or "allocate" in words:
            raise LimitError(f"not enough memory for the {role} network") from error

    def _check_metadata(self, role: str, metadata: dict[str, str]) -> None:
        """Compare what a graph says of itself with the manifest. (Its hash was checked before: this
        finds a manifest written for other graphs.)"""
        wanted = {key: str(getattr(self._model, key)) for key in _ALWAYS_TAGGED}
        if self._model.scales:  # manifests that state none are of before graphs were tagged with it
            wanted["version"] = str(self._model.version)
            wanted["scales"] = " ".join(map(repr, self._model.scales))
        for key, expected in wanted.items():
            if metadata.get(key) != expected:
                raise ModelDamagedError(
                    f"the {role} says {key} = {metadata.get(key)}, the manifest {expected}",
                    path=str(self._model.path),
                )
