"""Keeps the messages that libraries write for developers off the user's terminal."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_libraries(*, verbose: bool) -> Iterator[None]:
    """Within the block warnings and logs of libraries are not printed, unless `verbose`.

    ``python -W`` and ``PYTHONWARNINGS`` keep their say. What our own limits replace (Pillow's
    warning about large pictures) is never printed.
    """
    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.simplefilter("default" if verbose else "ignore")
        warnings.filterwarnings("ignore", message=".*decompression bomb")
        # Read by TensorFlow's C++ side when it is loaded: 3 leaves only what ends the process.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "0" if verbose else "3")
        handler = logging.StreamHandler() if verbose else logging.NullHandler()
        handler.setLevel(logging.WARNING)
        # Dask, when it is loaded, makes handlers of its own only where the root has none.
        root = logging.getLogger()
        root.addHandler(handler)
        try:
            yield
        finally:
            root.removeHandler(handler)
