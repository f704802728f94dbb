"""The float networks as a TensorFlow SavedModel that the exporter wrote (extra ``tensorflow``)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecomp.backends import Latent
from edgecomp.errors import BackendUnavailableError, ModelDamagedError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgecomp.models import Model


_LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_SILENT = "3"


@contextmanager
def _no_start_up_notices() -> Iterator[None]:
    """Keep TensorFlow's remarks on CUDA, made before it reads its log level, from the terminal.

    Whoever sets TF_CPP_MIN_LOG_LEVEL to less than 3 sees them.
    """
    if os.environ.setdefault(_LOG_LEVEL, _SILENT) != _SILENT:
        yield
        return
    try:
        kept = os.dup(2)
    except OSError:  # standard error is closed: nothing can be printed there
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


class TensorflowBackend:
    """Runs ``saved_model/`` of a model: functions ``encode`` and ``decode``.

    Args:
        model: which networks.
        precision: "auto" or "fp32"; there is no int8 form.
        threads: that one call may use; the first backend made in a process decides.
    """

    name = "tensorflow"
    precision = "fp32"

    def __init__(self, model: Model, *, precision: str = "auto", threads: int = 1) -> None:
        if precision == "int8":
            raise UsageError("the tensorflow backend runs in fp32 only; int8 needs --backend onnx")
        self._model = model
        folder = model.check_saved_model()
        try:
            with _no_start_up_notices():
                import tensorflow as tf
        except ImportError as error:
            raise BackendUnavailableError(
                f"the tensorflow backend needs TensorFlow ({error});"
                " install it with: pip install 'edgecomp[tensorflow]'"
            ) from error
        try:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
        except RuntimeError:
            pass  # TensorFlow has started already and keeps the number it has
        self._tf: Any = tf
        try:
            self._module: Any = tf.saved_model.load(str(folder))
        except Exception as error:  # whatever TensorFlow makes of a malformed SavedModel
            raise ModelDamagedError(
                f"the SavedModel cannot be loaded ({error})", path=str(folder)
            ) from error

    def analyse(self, rgb: NDArray[np.uint8], gain: int, *, threads: int | None = None) -> Latent:
        """Picture uint8 (height, width, 3), sides multiples of the stride -> symbols.

        `threads` is ignored: TensorFlow has one number for the process.
        """
        outputs = self._call(self._module.encode, rgb, gain)
        counts = outputs[1][0] if self._model.importance_map else None
        return Latent(outputs[0][0], counts)

    def synthesise(
        self, symbols: NDArray[np.uint8], gain: int, *, threads: int | None = None
    ) -> NDArray[np.uint8]:
        """Symbols uint8 (channels, rows, columns) -> picture uint8 (height, width, 3).

        `threads` is ignored, as by `analyse`.
        """
        picture: NDArray[np.uint8] = self._call(self._module.decode, symbols, gain)[0][0]
        return picture

    def _call(self, function: Any, array: NDArray[np.uint8], gain: int) -> list[NDArray[np.uint8]]:
        arguments = [self._tf.constant(array[np.newaxis])]
        if self._model.gains > 1:
            arguments.append(self._tf.constant([gain], self._tf.int64))
        result = function(*arguments)
        outputs = result if isinstance(result, tuple | list) else (result,)
        return [np.asarray(output, np.uint8) for output in outputs]
