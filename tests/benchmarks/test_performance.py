"""benchmarks/performance.py as a command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ([], ""),
        (["--kodak", "/home/me/kodak"], " --kodak '$KODAK'"),
        (["--kodak=/home/me/kodak", "--rounds", "3"], " --kodak '$KODAK' --rounds 3"),
        (["--scratch", "/x", "--record=/y", "--quick", "--docs", "/z"], " --quick"),
        (["--megapixels", "1", "2", "--benchmarks", "a.json"], " --megapixels 1 2"),
    ],
)
def test_the_command_is_shown_without_this_machine_s_paths(
    bench: Any, words: list[str], shown: str
) -> None:
    expected = "python benchmarks/performance.py" + shown.replace("'", "")
    assert bench.main._shown(words) == expected


@pytest.mark.parametrize(
    "words",
    [
        ["--rounds", "0"],
        ["--megapixels", "-1"],
        ["--megapixels", "nan"],
        ["--pictures", "x"],
        ["--quality", "D"],
        ["--cores", "1.5"],
    ],
)
def test_wrong_options(bench: Any, words: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        bench.main.main(words)
    assert stopped.value.code == 2


def test_a_folder_without_pictures(
    bench: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--kodak", str(tmp_path), "--docs", str(tmp_path / "docs")]
    assert bench.main.main(words) == 1
    assert "no PNG pictures" in capsys.readouterr().err
    assert not (tmp_path / "docs").exists()


@pytest.mark.slow
def test_everything_once(bench: Any, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if "slow" not in request.config.getoption("markexpr"):
        pytest.skip("takes minutes; run with -m slow")
    words = ["--quick", "--megapixels", "0.05", "--pictures", "2"]
    paths = ["--docs", str(tmp_path / "docs"), "--record", str(tmp_path / "record.json")]
    assert bench.main.main([*words, *paths]) == 0
    found = bench.record.load(tmp_path / "record.json")
    assert found.comparison is not None
    parts = (found.likeness, found.sizes, found.many, found.threads, found.parts, found.benchmarks)
    assert all(parts)
    text = (tmp_path / "docs" / "performance.md").read_text()
    assert text == bench.page.page(found, bench.main.HEAD.read_text())
    assert str(tmp_path) not in text
