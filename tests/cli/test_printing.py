"""Lines, tables and JSON as the user reads them."""

from __future__ import annotations

import errno
import io
import json
import math
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecomp.cli.printing import (
    MAX_WARNINGS,
    Console,
    human_bytes,
    human_count,
    human_seconds,
    is_reader_gone,
    plural,
    safe,
    table,
    to_plain,
)
from edgecomp.errors import OutputError
from edgecomp.names import Note


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain name.png", "plain name.png"),
        ("две мыши.jpg", "две мыши.jpg"),
        ("日本.png", "日本.png"),
        ("a\nb", r"a\nb"),
        ("a\tb", r"a\tb"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("caf\udce9.jpg", r"caf\xe9.jpg"),
        ("\ud800", r"\ud800"),
        ("gpj.\u202eexe", r"gpj.\u202eexe"),
        ("\u2028", r"\u2028"),
        ("\x85", r"\x85"),
        ("👨\u200d👩", "👨\u200d👩"),
    ],
)
def test_names_are_safe_to_print(name: str, shown: str) -> None:
    assert safe(name) == shown


@given(st.text(st.characters(), max_size=20))
def test_safe_text_is_one_encodable_line(text: str) -> None:
    shown = safe(text)
    shown.encode("utf-8")
    assert len(shown.splitlines()) <= 1
    assert "\x1b" not in shown


def test_human_bytes() -> None:
    counts = [0, 1, 999, 1000, 9_994, 9_996, 99_960, 999_499, 999_600, 15_123_456, 2_500_000_000]
    assert [human_bytes(count) for count in counts] == [
        "0 B",
        "1 B",
        "999 B",
        "1.00 kB",
        "9.99 kB",
        "10.0 kB",
        "100 kB",
        "999 kB",
        "1.00 MB",
        "15.1 MB",
        "2.50 GB",
    ]
    assert human_bytes(5 * 10**15) == "5000 TB"


def test_human_counts_and_times() -> None:
    assert [human_count(n) for n in (0, 950, 51_234, 1_900_000, 45 * 10**9)] == [
        "0",
        "950",
        "51.2 k",
        "1.90 M",
        "45.0 G",
    ]
    assert [human_seconds(s) for s in (0.04, 5.26, 59.96, 187, 7500)] == [
        "0.0 s",
        "5.3 s",
        "1 min 00 s",
        "3 min 07 s",
        "2 h 05 min",
    ]
    assert (plural(1, "picture"), plural(0, "picture")) == ("1 picture", "0 pictures")
    assert plural(2, "entry", "entries") == "2 entries"


def test_table_aligns_wide_and_combining_characters() -> None:
    lines = table([("name", "n"), ("日本", "1"), ("e\u0301", "22")], right=(1,))
    assert lines == ["name   n", "日本   1", "e\u0301     22"]
    assert table([]) == []


def test_json_has_no_surprises() -> None:
    content = {
        "path": Path("a/b"),
        "bad": "caf\udce9",
        "bpp": math.nan,
        "id": b"\x01\xff",
        "list": ({"x": math.inf},),
    }
    text = json.dumps(to_plain(content), allow_nan=False)
    assert text.isascii()
    assert json.loads(text) == {
        "path": os.path.join("a", "b"),
        "bad": "caf\udce9",
        "bpp": None,
        "id": "01ff",
        "list": [{"x": None}],
    }


def _notes(count: int) -> list[Note]:
    return [Note(f"f{i}.jpg", "truncated") for i in range(count)]


def test_many_warnings_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    Console().notes(_notes(MAX_WARNINGS + 1), "kept as it is")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "edgecomp: warning: f0.jpg: kept as it is: truncated"
    assert len(lines) == MAX_WARNINGS + 1
    assert lines[-1].endswith("1 other file kept as it is as well; -v names all of them")


def test_verbose_names_all_and_quiet_only_what_was_lost(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Console(verbose=True).notes(_notes(50), "skipped")
    assert len(capsys.readouterr().err.splitlines()) == 50
    quiet = Console(quiet=True)
    quiet.notes(_notes(2), "kept as it is", mild=True)
    assert capsys.readouterr().err == ""
    quiet.notes(_notes(2), "skipped")
    quiet.line("gone")
    captured = capsys.readouterr()
    assert (captured.out, len(captured.err.splitlines())) == ("", 2)


def test_lines_go_to_standard_error_when_data_takes_the_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console = Console()
    console.data_on_stdout = True
    console.line("1 picture")
    assert capsys.readouterr() == ("", "1 picture\n")


def test_what_the_terminal_cannot_encode_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    Console().line("日.png")
    stream.flush()
    assert stream.buffer.getvalue() == b"\\u65e5.png\n"


def test_a_full_disk_under_standard_output_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        console = Console()
        console.line("text")
        with pytest.raises(OutputError, match="standard output: No space left"):
            console.close()


def test_without_standard_streams_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    console = Console()
    console.line("a")
    console.error("b")
    console.close()


@pytest.mark.parametrize(
    ("problem", "system", "gone"),
    [
        (BrokenPipeError(), "linux", True),
        (OSError(errno.EINVAL, "Invalid argument"), "win32", True),
        (OSError(errno.EINVAL, "Invalid argument"), "linux", False),
        (OSError(errno.ENOSPC, "No space left on device"), "win32", False),
        (ValueError(), "win32", False),
    ],
)
def test_who_does_not_read_any_more(problem: Exception, system: str, gone: bool) -> None:
    assert is_reader_gone(problem, system) == gone
