"""Every way a command can end: message, exit code, JSON."""

from __future__ import annotations

import errno
import json
import logging
import os
import warnings
from collections.abc import Callable
from typing import Any

import pytest

import edgecomp.models
from edgecomp import errors
from edgecomp.cli import main
from edgecomp.cli.signals import Terminated
from edgecomp.errors import ExitCode

Fail = Callable[[BaseException], None]


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Fail:
    """Make ``edgecomp models`` raise something."""

    def set_up(problem: BaseException) -> None:
        def raise_it() -> Any:
            raise problem

        monkeypatch.setattr(edgecomp.models, "shipped_models", raise_it)

    return set_up


def _all_errors(kind: type[errors.EdgecompError]) -> list[type[errors.EdgecompError]]:
    return [kind, *(sub for child in kind.__subclasses__() for sub in _all_errors(child))]


@pytest.mark.parametrize("kind", _all_errors(errors.EdgecompError))
def test_each_error_has_its_exit_code_and_one_line(
    kind: type[errors.EdgecompError], fail: Fail, capsys: pytest.CaptureFixture[str]
) -> None:
    fail(kind("what is wrong", path="some file"))
    assert main(["models"]) == kind.exit_code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("edgecomp: error: some file: ")
    assert err.count("\n") == 1
    assert main(["models", "--json"]) == kind.exit_code
    document = json.loads(capsys.readouterr().out)
    assert document == {
        "error": "what is wrong",
        "path": "some file",
        "exit_code": int(kind.exit_code),
    }


def test_an_existing_output_names_the_option(
    fail: Fail, capsys: pytest.CaptureFixture[str]
) -> None:
    fail(errors.OutputExistsError("x is already there (force overwrites it)", path="x"))
    assert main(["models"]) == ExitCode.FATAL
    assert capsys.readouterr().err == (
        "edgecomp: error: x is already there (--force overwrites it)\n"
    )


@pytest.mark.parametrize(
    ("problem", "code", "text"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (Terminated(), 143, "terminated"),
        (MemoryError(), 1, "not enough memory"),
        (OSError(errno.EACCES, "Permission denied", "a b"), 1, "a b: Permission denied"),
        (OSError(errno.EIO, "Input/output error"), 1, "Input/output error"),
        (ModuleNotFoundError("no", name="onnxruntime"), 1, "package onnxruntime is missing"),
        (ValueError("three\nlines\nhere"), 1, r"unexpected ValueError: three\nlines\nhere."),
        (RuntimeError(), 1, "unexpected RuntimeError. This is a fault of edgecomp"),
    ],
)
def test_other_endings(
    problem: BaseException,
    code: int,
    text: str,
    fail: Fail,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fail(problem)
    assert main(["models"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert text in err
    assert err.count("\n") == 1
    assert main(["models", "--json"]) == code
    out, _ = capsys.readouterr()
    document = json.loads(out)
    assert document["exit_code"] == code
    assert set(document) == {"error", "path", "exit_code"}


def test_verbose_shows_where_a_fault_is(fail: Fail, capsys: pytest.CaptureFixture[str]) -> None:
    fail(RuntimeError("odd"))
    assert main(["models", "-v"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" in err
    assert "raise_it" in err
    assert err.splitlines()[-1].endswith("please report it")


def test_a_reader_that_went_away_is_no_message(
    fail: Fail, capsys: pytest.CaptureFixture[str]
) -> None:
    fail(BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)))
    assert main(["models"]) == 1
    assert capsys.readouterr() == ("", "")


def test_libraries_are_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def noisy() -> Any:
        warnings.warn("Image size exceeds limit, could be decompression bomb DOS", stacklevel=1)
        warnings.warn("soon to change", DeprecationWarning, stacklevel=1)
        logging.getLogger("PIL.x").warning("odd tag")
        return ()

    monkeypatch.setattr(edgecomp.models, "shipped_models", noisy)
    main(["models"])
    assert capsys.readouterr().err.count("\n") == 1  # our own message
    with pytest.warns(DeprecationWarning, match="soon to change"):
        main(["models", "-v"])
    err = capsys.readouterr().err
    assert "odd tag" in err
    assert "bomb" not in err


def test_no_command_prints_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == ExitCode.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert "compress" in err
