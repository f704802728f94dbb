"""``edgecomp models``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from edgecomp.cli.options import add_printing
from edgecomp.cli.printing import Console, human_bytes, human_count, table
from edgecomp.errors import ExitCode, ModelNotFoundError

if TYPE_CHECKING:
    from edgecomp.models import Model

USAGE = "[--json]"
DESCRIPTION = """\
Lists the models that come with edgecomp: one for each quality, what they weigh, what they cost and
the coders of symbols that work with them. An archive names the model that it was made with by the
hash shown here; 'edgecomp info' shows it.
"""
EXAMPLES = """\
edgecomp models
edgecomp models --json
"""

_HEADER = (
    "model",
    "quality",
    "size",
    "parameters",
    "multiply-adds/pixel",
    "precisions",
    "coders",
    "hash",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``edgecomp models``."""
    add_printing(parser, quiet=False)


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Print the table."""
    from edgecomp.models import shipped_models

    models = shipped_models()
    if not models:
        raise ModelNotFoundError(
            "this installation of edgecomp carries no models; install it again"
        )
    if console.json:
        records = [_record(model) for model in models]
        console.document({"models": records, "exit_code": int(ExitCode.DONE)})
        return ExitCode.DONE
    rows = [_HEADER, *(_row(model) for model in models)]
    for line in table(rows, right=(2, 3, 4)):
        console.line(line)
    return ExitCode.DONE


def _row(model: Model) -> tuple[str, ...]:
    return (
        model.name,
        model.quality,
        human_bytes(model.size()),
        human_count(sum(model.parameters.values())),
        human_count(round(sum(model.multiply_adds_per_pixel.values()))),
        " ".join(model.precisions),
        " ".join(model.coders),
        model.id_hex,
    )


def _record(model: Model) -> dict[str, Any]:
    return {
        "name": model.name,
        "quality": model.quality,
        "network": model.network,
        "model_id": model.id_hex,
        "bytes": model.size(),
        "parameters": model.parameters,
        "multiply_adds_per_pixel": model.multiply_adds_per_pixel,
        "precisions": model.precisions,
        "coders": model.coders,
        "graphs": [
            {
                "role": role,
                "precision": precision,
                "file": graph.file,
                "bytes": len(model.read_graph(role, precision)),
                "sha256": graph.sha256,
            }
            for (role, precision), graph in model.graphs.items()
        ],
        "path": model.path,
    }
