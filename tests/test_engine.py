"""backends.engine: onnxruntime is loaded with its reports to its makers switched off."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgecomp.backends import engine
from edgecomp.errors import BackendUnavailableError

_LOAD = "from edgecomp.backends.engine import load_onnxruntime; load_onnxruntime()"
_ENCODE = "import edgecomp, PIL.Image; edgecomp.encode(PIL.Image.new('RGB', (64, 64)))"
_SETTING = "; import os; print(os.environ['ORT_DISABLE_TELEMETRY'])"


def run(code: str, folder: Path, **extra: str) -> str:
    """Run in a process whose temporary and home folders are `folder`."""
    clean = {k: v for k, v in os.environ.items() if k not in ("ORT_DISABLE_TELEMETRY", "CI")}
    places = dict.fromkeys(("TMPDIR", "HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"), str(folder))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**clean, **places, **extra},
        capture_output=True,
        check=True,
        text=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize("code", [_LOAD, _ENCODE])
def test_nothing_is_reported_or_kept_for_it(code: str, tmp_path: Path) -> None:
    assert run(code + _SETTING, tmp_path) == "1"
    assert not list(tmp_path.rglob("*"))


def test_a_user_s_own_setting_stays(tmp_path: Path) -> None:
    assert run(_LOAD + _SETTING, tmp_path, ORT_DISABLE_TELEMETRY="0") == "0"


def test_without_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendUnavailableError, match="onnxruntime cannot be loaded"):
        engine.load_onnxruntime()
