"""What `edgecomp doctor` remembers: used on the machine that it is of, ignored everywhere else."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from edgecomp import choices
from edgecomp.choices import (
    Choice,
    best_precision,
    best_threads,
    choice_file,
    onnxruntime_version,
    remembered,
)
from edgecomp.machine import usable_cpus

HERE = onnxruntime_version()
FP32 = Choice("fp32", 1, HERE)
BOTH = ("fp32", "int8")


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The user's folder of cached files."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def _keep(choice: Choice = FP32, **fields: Any) -> Path:
    path = choice_file()
    assert path is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(json.dumps(json.loads(choices.content_of(choice)) | fields).encode())
    return path


def test_nothing_is_remembered_at_first() -> None:
    assert remembered() is None
    assert best_precision(BOTH) == "int8"
    assert best_precision(("fp32",)) == "fp32"
    assert best_threads() == usable_cpus()


def test_what_is_remembered_is_used(cache: Path) -> None:
    path = _keep()
    assert cache in path.parents
    assert remembered() == FP32
    assert best_precision(BOTH) == "fp32"
    assert best_threads() == 1


def test_all_cores_are_those_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    _keep(Choice("int8", None, HERE))
    assert best_threads() == usable_cpus()
    _keep(Choice("int8", 64, HERE))
    monkeypatch.setattr(choices, "usable_cpus", lambda: 3)
    assert best_threads() == 3


def test_a_precision_that_the_model_lacks_is_not_taken() -> None:
    _keep()
    assert best_precision(("int8",)) == "int8"


def test_another_onnxruntime_is_to_be_measured_anew() -> None:
    _keep(Choice("fp32", 1, "0.9.0"))
    assert remembered() is None
    assert best_precision(BOTH) == "int8"
    assert best_threads() == usable_cpus()


def test_threads_are_those_of_the_precision_that_was_measured() -> None:
    _keep(Choice("fp32", 1, HERE))
    assert best_threads("fp32") == 1
    assert best_threads("int8") == usable_cpus()


@pytest.mark.parametrize(
    "fields",
    [
        {"edgecomp": "0.0.0"},
        {"precision": "auto"},
        {"precision": "int4"},
        {"precision": ["int8"]},
        {"threads": 0},
        {"threads": -1},
        {"threads": True},
        {"threads": 1.5},
        {"threads": "2"},
        {"threads": 10**9},
    ],
    ids=str,
)
def test_what_makes_no_sense_here_is_ignored(fields: dict[str, Any]) -> None:
    _keep(**fields)
    assert remembered() is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"null", b"\xff\xfe", b"[" * 50_000])
def test_a_damaged_file_is_ignored(content: bytes) -> None:
    _keep().write_bytes(content)
    assert remembered() is None


def test_a_file_out_of_reach_is_ignored() -> None:
    path = _keep()
    path.unlink()
    path.mkdir()
    assert remembered() is None


def test_a_folder_that_may_not_be_entered_is_ignored(cache: Path) -> None:
    _keep()
    if os.name == "nt":
        pytest.skip("needs the permissions of POSIX")
    cache.chmod(0)
    try:
        if os.geteuid() == 0:  # root may enter any
            os.seteuid(65534)
        assert remembered() is None
        assert best_threads() == usable_cpus()
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
        cache.chmod(0o700)


def test_machines_that_share_a_home_have_files_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = _keep()
    monkeypatch.setattr(choices, "processor_name", lambda: "another")
    assert choice_file() != here
    assert remembered() is None


def test_where_the_file_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("sys.platform", "linux")
    path = choice_file()
    assert path is not None
    assert path.parent == tmp_path / "home" / ".cache" / "edgecomp"
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr(choices, "processor_name", lambda: "M2")
    path = choice_file()
    assert path is not None
    assert path.parent == tmp_path / "home" / "Library" / "Caches" / "edgecomp"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    path = choice_file()
    assert path is not None
    assert path.parent == tmp_path / "local" / "edgecomp"
    monkeypatch.delenv("LOCALAPPDATA")
    assert choice_file() is None
    assert remembered() is None


def test_no_home_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("no home")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    assert choice_file() is None
    assert remembered() is None
    assert best_threads() == usable_cpus()


def test_the_file_names_no_secrets() -> None:
    fields = json.loads(choices.content_of(FP32))
    assert set(fields) == {"edgecomp", "processor", "precision", "threads", "onnxruntime"}
    assert os.path.basename(str(choice_file())).startswith("doctor-")
