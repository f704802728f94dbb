"""Writes the good-, bad- and unsupported- files of this folder, seeds.json and README.md's list.

Everything is put together here, byte by byte where a file has to lie; the code of pictures is that
of frozen models (tests/data/context, tests/data/models). The same files come out every time, on
every machine. Files that were kept once stay as they are: add others.

    python tests/data/make_seeds.py [FOLDER]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from seed_makers import (
    codestreams,
    good,
    hostile_names,
    members,
    picture_members,
    structure,
)
from seed_makers.seed import Seed

HERE = Path(__file__).parent
LIST_HEADING = "## The files\n"


def seeds() -> Iterator[Seed]:
    """Every file that is kept."""
    for maker in (good, structure, members, picture_members, hostile_names, codestreams):
        yield from maker.seeds()


def main(target: Path) -> None:
    """Write all of it into a folder."""
    made = {seed.name: seed for seed in sorted(seeds(), key=lambda seed: seed.name)}
    target.mkdir(parents=True, exist_ok=True)
    for seed in made.values():
        (target / seed.name).write_bytes(seed.data)
    (target / "seeds.json").write_text(_document(made), encoding="utf-8")
    (target / "README.md").write_text(_readme(made), encoding="utf-8")


def _document(made: dict[str, Seed]) -> str:
    """seeds.json: a file a line."""
    lines = [f"{json.dumps(name)}: {json.dumps(seed.to_json())}" for name, seed in made.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _readme(made: dict[str, Seed]) -> str:
    """README.md with its list written anew."""
    before = (HERE / "README.md").read_text(encoding="utf-8").partition(LIST_HEADING)[0]
    rows = [f"| `{name}` | {len(seed.data)} | {seed.about} |" for name, seed in made.items()]
    table = ["| file | bytes | what it is |", "|---|---:|---|", *rows]
    return before + LIST_HEADING + "\n" + "\n".join(table) + "\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
