"""The progress bar: on a terminal only, and gone at the end."""

from __future__ import annotations

import io
import sys

import pytest

from edgecomp.cli.progress import progress_bar, waiting


class Terminal(io.StringIO):
    """Says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def _terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    # Not a fixture: pytest puts its own stream back between set-up and test.
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "90")
    return stream


def test_rate_and_time_left_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _terminal(monkeypatch)
    with progress_bar(wanted=True) as bar:
        assert bar is not None
        bar.start(4, 4_000_000)
        bar.advance("a", 1_000_000)
        bar._bar.refresh()
        drawn = terminal.getvalue().split("\r")[-1]
    assert "1/4 files" in drawn
    assert "25%" in drawn
    assert "1.00MB/4.00MB" in drawn.replace(" ", "")
    assert "B/s" in drawn
    assert drawn.rstrip().endswith("left")


def test_rate_by_files_when_sizes_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _terminal(monkeypatch)
    with progress_bar(wanted=True) as bar:
        assert bar is not None
        bar.start(3, 0)
        bar.advance("a", 0)
        bar._bar.refresh()
        assert "33%" in terminal.getvalue()
        assert "files/s" in terminal.getvalue()


@pytest.mark.parametrize("finished", [True, False])
def test_it_vanishes_however_the_job_ends(monkeypatch: pytest.MonkeyPatch, finished: bool) -> None:
    terminal = _terminal(monkeypatch)

    def job() -> None:
        with progress_bar(wanted=True) as bar:
            assert bar is not None
            bar.start(1, 10)
            bar.advance("a", 10)
            if finished:
                bar.finish()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job()
    assert terminal.getvalue().endswith("\r")
    assert terminal.getvalue().split("\r")[-2].strip() == ""


def test_none_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _terminal(monkeypatch)
    with progress_bar(wanted=False) as bar:
        assert bar is None
    monkeypatch.setenv("TERM", "dumb")
    with progress_bar(wanted=True) as bar:
        assert bar is None
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress_bar(wanted=True) as bar:
        assert bar is None
    monkeypatch.setattr(sys, "stderr", None)
    with progress_bar(wanted=True) as bar:
        assert bar is None
    assert terminal.getvalue() == ""


def test_what_takes_a_while_is_said_and_unsaid(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _terminal(monkeypatch)

    def job() -> None:
        with waiting("measuring", wanted=True):
            assert terminal.getvalue() == "measuring"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job()
    assert terminal.getvalue().split("\r")[1:] == [" " * 9, ""]
    with waiting("more", wanted=False):
        pass
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with waiting("more", wanted=True):
        assert sys.stderr.getvalue() == ""  # type: ignore[attr-defined]
    assert "more" not in terminal.getvalue()
