"""The float context model of a network, given as an ONNX graph: what its ideal coder would come to.

An arithmetic coder behind a context model (Mentzer et al., CVPR 2018; Minnen et al., NeurIPS 2018)
takes the cross entropy of the symbols under the model, but for a few bytes a picture. Its decoder
has to evaluate the model position by position, for each needs those before it: that is the time
that the paper saves. ``python -m export.context_onnx`` writes such graphs; a graph is for the
latents of one encoder.

What a graph takes and gives:

- ``symbols`` uint8 [channels, rows, columns]: a whole volume, or a window of one.
- ``border`` int64 [6], optional: how many zero latents are put around it, as ONNX's Pad counts
  them. By default those of a whole volume, `border` of its reach; none for a window that has them.
- ``means``, ``log_scales`` float32 [channels, rows, columns]: the logistic distribution of each
  symbol less the symbol of zero, from those before it.
- ``bits`` float32 [channels, rows, columns]: what each symbol costs under it.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgecomp.backends.engine import load_onnxruntime
from edgecomp.errors import (
    LimitError,
    ModelDamagedError,
    ModelNotFoundError,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgecomp.models import Model

# Metadata of a graph.
KIND_KEY: Final = "edgecomp.context"
KIND: Final = "1"  # of what the graph takes and gives
ENCODER_KEY: Final = "encoder_sha256"
ORDER_KEY: Final = "order"
POSITION_ORDER: Final = "position"  # raster order, all channels of a position at once
NUMBERS: Final = ("channels", "levels", "zero", "reach")

# Relative, of two evaluations of one model in float32.
AGREEMENT: Final = 1e-3
_FATAL_ONLY: Final = 4


def border(reach: int) -> tuple[int, ...]:
    """The border of a whole volume: rows above, columns on both sides; ONNX's order of pads."""
    return (0, reach, reach, 0, 0, reach)


class FloatContextModel:
    """A graph, loaded. Safe to use from several threads at once; one call uses one core.

    Args:
        session: of onnxruntime, with the graph.
        path: of the graph, for messages.
        sha256: of the file, in hexadecimal.

    Attributes:
        quality: of the model that it belongs to, as the exporter called it.
        encoder_sha256: of that model's int8 encoder, in hexadecimal.
        channels, levels, zero: of the volumes.
        reach: rows above, and columns to the left and right of them, that a position depends on.

    Raises:
        ModelDamagedError: the graph is no context model, or of a newer kind.
    """

    def __init__(self, session: Any, path: Path, sha256: str) -> None:
        self._session = session
        self.path = path
        self.sha256 = sha256
        metadata: dict[str, str] = session.get_modelmeta().custom_metadata_map
        if KIND_KEY not in metadata:
            raise self._damaged("not a context model (python -m export.context_onnx writes them)")
        kind, order = metadata[KIND_KEY], metadata.get(ORDER_KEY)
        if kind != KIND or order != POSITION_ORDER:
            raise self._damaged(
                f"a context model of kind {kind}, order {order};"
                f" this edgecomp reads kind {KIND}, order {POSITION_ORDER}"
            )
        try:
            self.quality = metadata["quality"]
            self.encoder_sha256 = metadata[ENCODER_KEY]
            self.channels, self.levels, self.zero, self.reach = (
                int(metadata[name]) for name in NUMBERS
            )
        except (KeyError, ValueError) as error:
            raise self._damaged(f"its metadata are incomplete ({error!r})") from error
        numbers_fit = self.channels > 0 and self.reach > 0 and 0 <= self.zero < self.levels <= 256
        inputs = {value.name for value in session.get_inputs()}
        optional = {value.name for value in session.get_overridable_initializers()}
        outputs = {value.name for value in session.get_outputs()}
        if (
            not numbers_fit
            or inputs != {"symbols"}
            or "border" not in optional
            or not outputs >= {"means", "log_scales", "bits"}
        ):
            raise self._damaged("its metadata, inputs or outputs are not those of a context model")

    def matches(self, model: Model) -> bool:
        """Whether it is for the latents of this model's int8 encoder."""
        encoder = model.graphs.get(("encoder", "int8"))
        return encoder is not None and encoder.sha256 == self.encoder_sha256

    def bits(self, symbols: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What each symbol costs given those before it; shaped as the symbols.

        Args:
            symbols: uint8 (channels, rows, columns).

        Raises:
            ValueError: a volume that the model is not for.
            ModelDamagedError: the graph cannot be run, or gives no numbers.
            LimitError: there is not enough memory.
        """
        self._check(symbols)
        (bits,) = self._run(["bits"], {"symbols": symbols})
        if bits.shape != symbols.shape or not np.isfinite(bits).all():
            raise self._damaged(f"it gives no number for some of {symbols.shape} symbols")
        return bits

    def ideal_bytes(self, symbols: NDArray[np.uint8]) -> int:
        """Whole bytes of an ideal arithmetic coder of one picture; see `bits` for the errors."""
        return math.ceil(_sum(self.bits(symbols)) / 8)

    def seconds_encoding(self, symbols: NDArray[np.uint8]) -> float:
        """Seconds that the model takes for a picture whose symbols are all known.

        So has an encoder. What an arithmetic coder takes comes on top and is not counted. See
        `bits` for the errors.
        """
        self.bits(symbols)  # checks, and lets onnxruntime plan for this shape
        start = time.perf_counter()
        self._run(["bits"], {"symbols": symbols})
        return time.perf_counter() - start

    def seconds_decoding(self, symbols: NDArray[np.uint8]) -> float:
        """Seconds that the model takes where each position waits for those before it.

        So must a decoder: one position's distributions at a time, from its causal window. Finding
        the symbols by an arithmetic decoder comes on top and is not counted.

        Raises:
            ModelDamagedError: these distributions do not cost what `bits` says; also see there.
            ValueError, LimitError: see `bits`.
        """
        wanted = _sum(self.bits(symbols))
        distributions = np.empty((2, *symbols.shape), np.float32)
        self._by_position(symbols[:, :1, :1], distributions)  # lets onnxruntime plan
        start = time.perf_counter()
        self._by_position(symbols, distributions)
        seconds = time.perf_counter() - start
        found = _cost(symbols.astype(np.float64) - self.zero, distributions)
        if not abs(found - wanted) <= AGREEMENT * wanted:
            raise self._damaged(
                f"position by position it says {found:.0f} bits, at once {wanted:.0f}"
            )
        return seconds

    def _by_position(self, symbols: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
        """Fill ``out``, means and log scales [2, channels, rows, columns], in decoding order. A
        position's window has zeros in the place of its own symbols and of those after it."""
        reach = self.reach
        channels, rows, columns = symbols.shape
        known = np.full((channels, rows + reach, columns + 2 * reach), self.zero, np.uint8)
        feeds = {"border": np.zeros(6, np.int64)}
        for y in range(rows):
            for x in range(columns):
                window = known[:, y : y + reach + 1, x : x + 2 * reach + 1]
                feeds["symbols"] = np.ascontiguousarray(window)
                mean, log_scale = self._run(["means", "log_scales"], feeds)
                out[0, :, y, x], out[1, :, y, x] = mean[:, 0, 0], log_scale[:, 0, 0]
                # Here a decoder would find the position's symbols; then they are known.
                known[:, y + reach, x + reach] = symbols[:, y, x]

    def _check(self, symbols: NDArray[np.uint8]) -> None:
        if symbols.dtype != np.uint8 or symbols.ndim != 3 or symbols.shape[0] != self.channels:
            raise ValueError(
                f"symbols {symbols.shape} of {symbols.dtype};"
                f" {self.path.name} is for {self.channels} channels of uint8"
            )
        if not symbols.size:
            raise ValueError(f"no symbols: {symbols.shape}")
        if symbols.max() >= self.levels:
            raise ValueError(f"a symbol {symbols.max()}; {self.path.name} has {self.levels} levels")

    def _run(self, names: list[str], feeds: dict[str, Any]) -> Sequence[NDArray[np.float32]]:
        """The outputs of that name."""
        try:
            outputs: Sequence[NDArray[np.float32]] = self._session.run(names, feeds)
        except Exception as error:  # onnxruntime's exceptions share no base of their own
            if "allocate" in str(error).lower():
                raise LimitError(f"not enough memory for {self.path.name}") from error
            raise self._damaged(f"it cannot be run ({error})") from error
        return outputs

    def _damaged(self, message: str) -> ModelDamagedError:
        return ModelDamagedError(message, path=str(self.path))


def load_context_model(path: Path) -> FloatContextModel:
    """Read a graph that ``python -m export.context_onnx`` wrote.

    Raises:
        ModelNotFoundError: there is no such file, or it cannot be read.
        ModelDamagedError: it is no such graph.
        BackendUnavailableError: onnxruntime cannot be loaded.
    """
    onnxruntime = load_onnxruntime()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelNotFoundError(
            f"the context model cannot be read ({error.strerror})", path=str(path)
        ) from error
    options = onnxruntime.SessionOptions()  # as edgecomp.backends.onnx sets them
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False
    options.log_severity_level = _FATAL_ONLY
    try:
        session = onnxruntime.InferenceSession(
            data, sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise ModelDamagedError(f"not an ONNX graph ({error})", path=str(path)) from error
    return FloatContextModel(session, path, hashlib.sha256(data).hexdigest())


def _sum(bits: NDArray[np.float32]) -> float:
    return float(bits.sum(dtype=np.float64))


def _cost(values: NDArray[np.float64], distributions: NDArray[np.float32]) -> float:
    """Bits of values under logistic distributions (means, log scales), all in double precision:
    P(k) = F(k + 1/2) - F(k - 1/2) = sigmoid(b) sigmoid(-a) (1 - exp(a - b))."""
    mean, log_scale = distributions.astype(np.float64)
    inverse = np.exp(-log_scale)
    below, upto = (values - mean - 0.5) * inverse, (values - mean + 0.5) * inverse
    nats = np.logaddexp(0, -upto) + np.logaddexp(0, below) - np.log1p(-np.exp(-inverse))
    return float(nats.sum() / math.log(2.0))
