"""Finds the command in the command line and parses its options."""

from __future__ import annotations

import argparse
import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import NoReturn, Protocol, cast

from edgecomp._version import VERSION
from edgecomp.cli.printing import Console
from edgecomp.errors import ExitCode, UsageError


class Command(Protocol):
    """What the module of a command provides."""

    USAGE: str
    DESCRIPTION: str
    EXAMPLES: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, arguments: argparse.Namespace, console: Console) -> ExitCode: ...


@dataclass(frozen=True, slots=True)
class CommandEntry:
    """A line of the list of commands; the module is imported only when the command is used."""

    name: str
    summary: str
    module: str
    aliases: tuple[str, ...] = ()

    def load(self) -> Command:
        return cast(Command, import_module(f"edgecomp.cli.{self.module}"))


COMMANDS = (
    CommandEntry("compress", "pictures or folders into one small file", "compress", ("c",)),
    CommandEntry("decompress", "pictures and folders back out of it", "decompress", ("d", "x")),
    CommandEntry("list", "what is in an archive, one line a file", "listing", ("ls",)),
    CommandEntry("info", "what a file is and how it was made", "info"),
    CommandEntry("verify", "check every file in an archive", "verify"),
    CommandEntry("repair", "a whole archive of what is left of a damaged one", "repair"),
    CommandEntry("evaluate", "edgecomp and its peers side by side on your pictures", "evaluate"),
    CommandEntry("models", "the models that come with edgecomp", "models"),
    CommandEntry("doctor", "what this machine has, and what is quickest on it", "doctor"),
)

_DESCRIPTION = """\
Compresses folders of photographs into small archives with a neural network that needs no graphics
card, and restores them. The pictures come back very like the originals, not bit for bit; files that
are no pictures come back exactly as they were."""
_EXAMPLES = """\
edgecomp compress photos/                 # makes photos.ecz
edgecomp decompress photos.ecz -o back/   # the pictures as PNG files in back/
edgecomp list photos.ecz
edgecomp verify photos.ecz
"""


class HelpFormatter(argparse.HelpFormatter):
    """Fits paragraphs to the terminal; lines that are indented (examples) stay as they are."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join(
            paragraph if "\n  " in paragraph else textwrap.fill(paragraph, width)
            for paragraph in text.split("\n\n")
        )


class Parser(argparse.ArgumentParser):
    """An `argparse` parser whose complaints are `UsageError` instead of the end of the process."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see '{self.prog} --help')")


def parse(argv: Sequence[str]) -> tuple[Command, argparse.Namespace]:
    """The command named by the first word, and its options.

    Raises:
        UsageError: unknown command, unknown or contradicting options.
        SystemExit: the help or the version was asked for and has been printed.
    """
    first = argv[0] if argv else ""
    entry = find_command(first)
    if entry is None:
        root = root_parser()
        if first.startswith("-") and not _is_option_of_root(first):
            root.error(f"options come after the command: {first}")
        if first and not first.startswith("-"):
            root.error(f"there is no command '{first}'{_suggestion(first)}")
        root.parse_args(argv)
        root.error("no command given")
    command = entry.load()
    parser = command_parser(entry, command)
    # Not parse_args: it would refuse `compress a.png -o x.ecz b.png`.
    arguments, unknown = parser.parse_known_intermixed_args(_without_separator(argv[1:]))
    if unknown:
        words = " ".join(unknown)
        what = "unknown option" if unknown[0].startswith("-") else "unexpected argument"
        parser.error(f"{what}: {words}")
    return command, arguments


def _without_separator(words: Sequence[str]) -> list[str]:
    """The words less a ``--``; what follows it are names of files, even if they begin with a dash.

    Pythons differ in what they do about it when options and names are mixed.
    """
    if "--" not in words:
        return list(words)
    at = words.index("--")
    names = (
        os.path.join(os.curdir, word) if word.startswith("-") and word != "-" else word
        for word in words[at + 1 :]
    )
    return [*words[:at], *names]


def find_command(word: str) -> CommandEntry | None:
    """The command with this name or alias."""
    return next((entry for entry in COMMANDS if word in (entry.name, *entry.aliases)), None)


def root_parser() -> Parser:
    """The parser of ``edgecomp`` itself: help, version, the list of commands."""
    parser = Parser(
        prog="edgecomp",
        usage="edgecomp COMMAND [options]",
        description=_DESCRIPTION,
        epilog=_epilog(_EXAMPLES)
        + "\n\n'edgecomp COMMAND --help' explains a command.\n\n"
        + exit_code_table(),
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"edgecomp {VERSION}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for entry in COMMANDS:
        commands.add_parser(entry.name, aliases=entry.aliases, help=entry.summary)
    return parser


def command_parser(entry: CommandEntry, command: Command) -> Parser:
    """The parser of one command."""
    parser = Parser(
        prog=f"edgecomp {entry.name}",
        usage=f"edgecomp {entry.name} {command.USAGE}",
        description=textwrap.dedent(command.DESCRIPTION).strip(),
        epilog=_epilog(command.EXAMPLES),
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    command.add_arguments(parser)
    return parser


def exit_code_table() -> str:
    """The exit codes and what they mean, as lines of text."""
    lines = [f"  {code.value:>3}  {code.meaning}" for code in ExitCode]
    return "\n".join(["exit codes:", *lines])


def _epilog(examples: str) -> str:
    return "examples:\n" + textwrap.indent(textwrap.dedent(examples).strip(), "  ")


def _is_option_of_root(word: str) -> bool:
    return word in ("-h", "--help", "--version")


def _suggestion(word: str) -> str:
    import difflib  # for nothing but this

    names = [name for entry in COMMANDS for name in (entry.name, *entry.aliases)]
    close = difflib.get_close_matches(word, names, n=1)
    return f"; did you mean '{close[0]}'?" if close else ""
