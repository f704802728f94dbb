"""What the command line accepts, what it refuses, and what its help says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgecomp._version import VERSION
from edgecomp.cli import main
from edgecomp.cli.parser import COMMANDS, command_parser, exit_code_table, find_command, parse
from edgecomp.constants import DEFAULT_MAX_PIXELS
from edgecomp.errors import ExitCode, UsageError

DOCS = Path(__file__).parents[2] / "docs" / "cli.md"
NAMES = [entry.name for entry in COMMANDS]


def test_help_lists_commands_and_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == ExitCode.DONE
    text = capsys.readouterr().out
    assert all(f"    {name}" in text for name in NAMES)
    assert "examples:" in text
    assert exit_code_table() in text
    for code in ExitCode:
        assert f"{code.value:>3}  {code.meaning}" in text


@pytest.mark.parametrize("name", NAMES)
def test_help_of_each_command_has_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == ExitCode.DONE
    out, err = capsys.readouterr()
    assert f"edgecomp {name}" in out[out.index("examples:") :]
    assert err == ""


@pytest.mark.parametrize("name", NAMES)
def test_examples_parse_and_docs_name_every_option(name: str) -> None:
    entry = find_command(name)
    assert entry is not None
    command = entry.load()
    for line in command.EXAMPLES.strip().splitlines():
        words = line.split("#")[0].replace("'", "").split()
        if "<" in words:
            words = words[: words.index("<")]
        assert words[0] == "edgecomp"
        parse(words[1:])
    section = DOCS.read_text().split(f"## edgecomp {name}\n")[1].split("\n## ")[0]
    common = DOCS.read_text().split("## Options of several commands\n")[1].split("\n## ")[0]
    for action in command_parser(entry, command)._actions:
        for option in action.option_strings:
            if option not in ("-h", "--help"):
                assert f"`{option}" in section + common, f"{option} is not in docs/cli.md"


def test_docs_have_the_exit_codes() -> None:
    text = DOCS.read_text()
    for code in ExitCode:
        assert f"| {code.value} | {code.meaning} |" in text


def test_aliases() -> None:
    for entry in COMMANDS:
        for alias in entry.aliases:
            assert find_command(alias) is entry
    words = [word for entry in COMMANDS for word in (entry.name, *entry.aliases)]
    assert len(set(words)) == len(words)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == ExitCode.DONE
    assert capsys.readouterr().out == f"edgecomp {VERSION}\n"


def test_options_may_stand_between_sources() -> None:
    _, arguments = parse(["compress", "a.png", "-o", "x.ecz", "b.png", "-q", "c", "c.png"])
    assert arguments.sources == ["a.png", "b.png", "c.png"]
    assert (arguments.output, arguments.quality) == ("x.ecz", "C")


def test_names_that_begin_with_a_dash() -> None:
    _, arguments = parse(["compress", "--force", "--", "-odd.png"])
    assert [Path(source) for source in arguments.sources] == [Path("-odd.png")]
    _, arguments = parse(["compress", "-", "-o", "-"])
    assert (arguments.sources, arguments.output) == (["-"], "-")


def test_defaults() -> None:
    _, arguments = parse(["compress", "photos"])
    assert arguments.quality == "B"
    assert arguments.backend == "onnx"
    assert arguments.coder is None
    assert arguments.threads is None
    assert arguments.max_pixels == DEFAULT_MAX_PIXELS
    _, arguments = parse(["decompress", "x.ecz", "--max-pixels", "0.5", "--format", "JPG"])
    assert (arguments.max_pixels, arguments.format) == (500_000, "jpeg")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("compres x", "did you mean 'compress'"),
        ("frobnicate", "there is no command 'frobnicate'"),
        ("-v compress x", "options come after the command"),
        ("compress", "required: SRC"),
        ("compress x -q D", "'D' (choose from"),
        ("compress x --threads 0", "'0' is not a whole number between 1 and"),
        ("compress x --threads -1", "'-1' is not a whole number"),
        ("compress x --threads two", "'two' is not a whole number"),
        ("compress x --threads 1.5", "'1.5' is not a whole number"),
        ("compress x --threads 99999", "'99999' is not a whole number"),
        ("compress x --threads", "expected one argument"),
        ("compress x --max-pixels 0", "millions of pixels"),
        ("compress x --max-pixels nan", "millions of pixels"),
        ("compress x --max-pixels lots", "millions of pixels"),
        ("compress x --include=", "the pattern is empty"),
        ("compress x --exclude [a", "never closed"),
        ("decompress x.ecz --only [!", "never closed"),
        ("compress x --coder huffman", "'huffman' (choose from"),
        ("compress x --backend torch", "'torch' (choose from"),
        ("compress x --precision fp64", "'fp64' (choose from"),
        ("compress x --output=", "the name is empty"),
        ("compress x --model=", "the name of the folder is empty"),
        ("compress x --max-members 0", "'0' is not a whole number of 1 or more"),
        ("decompress x --max-expansion -1", "not a number of GiB"),
        ("verify x --max-expansion much", "not a number of GiB"),
        ("list x --resume", "unknown option: --resume"),
        ("compress x --forc", "unknown option: --forc"),
        ("decompress", "required: ARCHIVE"),
        ("decompress a b", "unexpected argument: b"),
        ("decompress a --format gif", "'gif' (choose from"),
        ("list", "required: ARCHIVE"),
        ("list a b", "unexpected argument: b"),
        ("models now", "unexpected argument: now"),
    ],
)
def test_wrong_command_lines(line: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == ExitCode.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("edgecomp: error: ")
    assert err.count("\n") == 1
    assert says in err
    assert "--help'" in err
    assert main([*line.split(), "--json"]) == ExitCode.USAGE
    document = json.loads(capsys.readouterr().out)
    assert document["exit_code"] == ExitCode.USAGE


@pytest.mark.parametrize("pattern", ["*.jpg", "[]a]", "[!]]x", "a[b-c]*", "[[]x"])
def test_sound_patterns(pattern: str) -> None:
    _, arguments = parse(["compress", "x", "--include", pattern])
    assert arguments.include == [pattern]


def test_help_asked_for_after_an_error_still_helps(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compress", "--help", "--nonsense"]) == ExitCode.DONE
    assert "usage: edgecomp compress" in capsys.readouterr().out


def test_parse_raises_usage_errors_only() -> None:
    with pytest.raises(UsageError):
        parse([])
