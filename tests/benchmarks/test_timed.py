"""The benchmarks: ``--benchmark-only`` times them, and the scripts read what comes out."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from common import ROOT


def test_benchmark_only_times_what_is_else_run_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "run.json"
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "benchmarks"]
    words += ["--basetemp", str(tmp_path / "pytest"), "--benchmark-only"]
    words += ["--benchmark-max-time=0.01", f"--benchmark-json={file}"]
    words += ["-k", "(test_symbol_hash and kodak) or (test_read_jpeg and kodak)"]
    # The benchmarks are not to take this worker of xdist, if it is one, for their own.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    done = subprocess.run(
        words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    stages, compare = (importlib.import_module(n) for n in ("performance_stages", "compare"))
    found = {(one.test, one.case): one for one in stages.read_benchmarks(file)}
    hashes = [("test_symbol_hash", f"kodak-{quality}") for quality in "ABC"]
    assert set(found) == {("test_read_jpeg", "kodak"), *hashes}
    assert all(one.pixels == 768 * 512 and one.seconds > 0 for one in found.values())
    assert len(compare.read(file).benchmarks) == 4
