"""What was measured before, on disk: a JSON file for each measurement, named by what it is of."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from edgecomp.errors import OutputError
from edgecomp.names import printable
from edgecomp.output import OutputFile, reason_of


class Cache(Protocol):
    """Keeps measurements; a key is everything that a measurement depends on, as plain values."""

    def get(self, key: Mapping[str, Any]) -> dict[str, Any] | None:
        """What was kept under the key, or None."""

    def put(self, key: Mapping[str, Any], value: Mapping[str, Any]) -> None:
        """Keep a measurement."""


class NoCache:
    """A cache that forgets."""

    def get(self, key: Mapping[str, Any]) -> dict[str, Any] | None:
        """Nothing."""
        return None

    def put(self, key: Mapping[str, Any], value: Mapping[str, Any]) -> None:
        """Ignored."""


class FolderCache:
    """A cache in a folder, which is made if it is not there.

    A file that is damaged, or of another key, counts as not there: the worst that a bad cache can
    do is make the measurement run again.

    Raises:
        OutputError: the folder cannot be made or written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            shown = printable(str(folder))
            raise OutputError(f"{shown}: {reason_of(error)}", path=shown) from error
        if not os.access(folder, os.W_OK | os.X_OK):
            shown = printable(str(folder))
            raise OutputError(f"{shown}: no permission to write in it", path=shown)

    def get(self, key: Mapping[str, Any]) -> dict[str, Any] | None:
        """What was kept under the key, or None."""
        try:
            content = json.loads(self._path(key).read_bytes())
        except (OSError, ValueError):
            return None
        if not isinstance(content, dict) or content.get("key") != json.loads(_text(key)):
            return None
        value = content.get("value")
        return value if isinstance(value, dict) else None

    def put(self, key: Mapping[str, Any], value: Mapping[str, Any]) -> None:
        """Keep a measurement, whole or not at all."""
        text = json.dumps({"key": key, "value": value}, indent=1)
        with OutputFile(self._path(key), force=True, sync=False) as output:
            output.file.write(text.encode())

    def _path(self, key: Mapping[str, Any]) -> Path:
        return self._folder / f"{hashlib.sha256(_text(key).encode()).hexdigest()[:32]}.json"


def _text(key: Mapping[str, Any]) -> str:
    return json.dumps(key, sort_keys=True)
