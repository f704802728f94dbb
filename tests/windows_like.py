"""A system that has folders by their paths only, and lets nobody rename or remove what is open.

That is how Windows is. The package's own code for it runs for real, on this system's files.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import pytest
from open_files import open_files

from edgecomp import folders

_SHARING_VIOLATION = 32


class InUseError(PermissionError):
    """What Windows says of a file that is open."""

    winerror = _SHARING_VIOLATION


def _refusing(call: Callable[..., None]) -> Callable[..., None]:
    def run(*paths: Any, **options: Any) -> None:
        for path in paths:
            if os.path.lexists(path):
                status = os.lstat(path)
                if (status.st_dev, status.st_ino) in open_files():
                    raise InUseError(13, "in use by this process", path)
        call(*paths, **options)

    return run


def act_like_windows(patches: pytest.MonkeyPatch) -> None:
    """From now on this system is one, until the patches are undone."""
    if sys.platform == "win32":
        return
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("what is open cannot be told here")
    patches.setattr(folders, "_KIND", folders.PathFolder)
    patches.setattr(folders, "_PAUSES", ())
    for name in ("rename", "replace", "unlink"):
        patches.setattr(os, name, _refusing(getattr(os, name)))
