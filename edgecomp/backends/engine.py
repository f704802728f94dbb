"""onnxruntime, loaded such that it tells nobody anything."""

from __future__ import annotations

import os
import sys
from typing import Any

from edgecomp.errors import BackendUnavailableError

# Since 1.29 onnxruntime reports to its makers over the network, and keeps a file for that among the
# temporary ones, unless this is set before it is loaded. A user's own setting is left alone.
_NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"
_32_BITS = 2**32


def load_onnxruntime() -> Any:
    """The module.

    Raises:
        BackendUnavailableError: it is not installed, or does not run on this machine.
    """
    if sys.maxsize < _32_BITS:
        raise BackendUnavailableError(
            "edgecomp needs a 64-bit system with a 64-bit Python: there is no onnxruntime for "
            "others (on a Raspberry Pi 3, 4, 5 or Zero 2 install the 64-bit Raspberry Pi OS)"
        )
    os.environ.setdefault(_NO_TELEMETRY, "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendUnavailableError(f"onnxruntime cannot be loaded ({error})") from error
    return onnxruntime
