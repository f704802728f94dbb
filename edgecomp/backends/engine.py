"""onnxruntime, loaded such that it tells nobody anything."""

from __future__ import annotations

import os
from typing import Any

from edgecomp.errors import BackendUnavailableError

# Since 1.29 onnxruntime reports to its makers over the network, and keeps a file for that among the
# temporary ones, unless this is set before it is loaded. A user's own setting is left alone.
_NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"


def load_onnxruntime() -> Any:
    """The module.

    Raises:
        BackendUnavailableError: it is not installed, or does not run on this machine.
    """
    os.environ.setdefault(_NO_TELEMETRY, "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendUnavailableError(f"onnxruntime cannot be loaded ({error})") from error
    return onnxruntime
