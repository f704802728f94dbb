"""``edgecomp doctor``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from edgecomp.cli.options import add_printing
from edgecomp.cli.printing import Console, human_bytes, plural, table
from edgecomp.cli.progress import waiting
from edgecomp.errors import ExitCode

if TYPE_CHECKING:
    from edgecomp.doctor import Diagnosis
    from edgecomp.speed import Speed

USAGE = "[--json]"
DESCRIPTION = """\
Says what this machine has, compares what the models compute here with the golden vectors that come
with them, and measures in some seconds whether int8 or fp32 is quicker and how many pictures side
by side are. What is quickest is remembered for this machine: '--precision auto', the default, and a
missing '--threads' take it from there. Without it they mean int8 and all cores.

int8 gives the same pixels on every machine, fp32 very nearly the same: where they must be
identical, say '--precision int8'.
"""
EXAMPLES = """\
edgecomp doctor
edgecomp doctor --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``edgecomp doctor``."""
    add_printing(parser, quiet=False)


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Print what was found."""
    from edgecomp.doctor import diagnose

    with waiting("measuring, for some ten seconds ...", wanted=console.wants_progress):
        found = diagnose()
    code = ExitCode.DONE if found.golden else ExitCode.MODEL
    console.notes(found.wrong, "golden vectors")
    if console.json:
        console.document({**_record(found), "exit_code": int(code)})
        return code
    for line in table(_facts(found)):
        console.line(line)
    console.line("")
    if found.speed is not None:
        width, height = found.speed.size
        console.line(f"Milliseconds a picture of {width}x{height}, encoder and decoder networks:")
        for line in table(_timings(found, found.speed), right=(0, 1, 2)):
            console.line("  " + line)
        if found.busy:
            console.line("  The machine had other work to do: measured again, this may differ.")
        console.line("")
    for line in _choice(found):
        console.line(line)
    return code


def _facts(found: Diagnosis) -> list[tuple[str, str]]:
    words = ", ".join(found.instructions) or "no vector instructions that are known"
    if found.dot_product is False:
        words += "; no dot products of bytes"
    cores = plural(found.all_cores, "core")
    if found.cores != found.all_cores:
        cores += f", of which {found.cores} may be used"
    versions = [f"{name} {version}" for name, version in found.versions.items()]
    golden = f"{', '.join(found.models)}: symbols, bytes and pixels are those of every machine"
    if not found.golden:
        golden = f"{plural(len(found.wrong), 'difference')}; please report this"
    return [
        ("processor", f"{found.cpu} ({found.architecture}): {words}"),
        ("cores", cores),
        ("memory", human_bytes(found.memory)),
        ("onnxruntime", found.onnxruntime),
        ("versions", ", ".join(versions)),
        ("golden", golden),
    ]


def _timings(found: Diagnosis, speed: Speed) -> list[tuple[str, ...]]:
    precisions = sorted(found.milliseconds, key=lambda precision: precision != "int8")
    rows = [("side by side", *precisions)]
    for threads in sorted({timing.threads for timing in speed.timings}):
        values = [speed.of(precision, threads) for precision in precisions]
        rows.append((str(threads), *("" if v is None else f"{v:.1f}" for v in values)))
    return rows


def _choice(found: Diagnosis) -> list[str]:
    lines = [f"Chosen: {found.precision}, {plural(found.threads, 'picture')} side by side."]
    if found.remembered is None:
        lines.append(f"Not remembered ({found.not_remembered}): '--precision auto' stays int8.")
    else:
        lines.append(f"Remembered in {found.remembered} for '--precision auto' and --threads.")
    if found.precision != "int8":
        lines.append(
            "fp32 gives very nearly the same pixels on other machines; where they must be "
            "identical, say --precision int8."
        )
    return lines


def _record(found: Diagnosis) -> dict[str, Any]:
    from edgecomp.summary import notes_to_json

    speed = found.speed
    return {
        "cpu": found.cpu,
        "architecture": found.architecture,
        "instructions": found.instructions,
        "dot_product": found.dot_product,
        "cores": found.cores,
        "memory": found.memory,
        "onnxruntime": found.onnxruntime,
        "versions": found.versions,
        "milliseconds": {p: round(value, 3) for p, value in found.milliseconds.items()},
        "timings": [
            {
                "precision": timing.precision,
                "threads": timing.threads,
                "milliseconds": round(timing.milliseconds, 3),
            }
            for timing in (() if speed is None else speed.timings)
        ],
        "picture": None if speed is None else speed.size,
        "busy": found.busy,
        "precision": found.precision,
        "threads": found.threads,
        "golden": found.golden,
        "models": found.models,
        "wrong": notes_to_json(found.wrong),
        "remembered": found.remembered,
    }
