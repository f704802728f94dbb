"""The kept files of tests/data: good ones are read, hostile ones refused, by every command."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import time
import tracemalloc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from common import DATA, ROOT
from fuzz.driver import ending_after
from PIL import Image

from edgecomp.archive import ArchiveReader
from edgecomp.cli import main
from edgecomp.codec import Codec
from edgecomp.codestream import Codestream, parse
from edgecomp.names import restored_names

SEEDS: dict[str, dict[str, Any]] = json.loads((DATA / "seeds.json").read_text(encoding="utf-8"))
COMMANDS = ("verify", "list", "info", "decompress")
GOOD = [name for name in SEEDS if name.startswith("good-")]
HOSTILE = [name for name in SEEDS if not name.startswith("good-")]

MEMORY = 50 << 20
# The bombs expand to 10 MiB. The dictionary of tiles has 8 MiB, whatever is in them; that of
# others is small.
BOMB_MEMORY = 8 << 20
TILE_BOMBS = ("bad-codestream-lzma-bomb.edge", "bad-codestream-map-bomb.edge")
TILE_BOMB_MEMORY = 16 << 20
HANG_SECONDS = 10

# Where the absolute names in the archives lead.
OUTSIDE = Path("/tmp/edgecomp-evil")


@dataclass(frozen=True)
class Ended:
    """How a command ended, what it printed, and the most memory that Python's objects took."""

    code: int
    printed: str
    document: dict[str, Any]
    memory: int


@dataclass(frozen=True)
class Place:
    """A copy of a seed, a file beside it, and where it is to be restored."""

    root: Path
    seed: Path
    output: Path

    @classmethod
    def make(cls, root: Path, name: str) -> Place:
        beside = root / "parent"
        (beside / "empty").mkdir(parents=True)
        (beside / "canary.txt").write_text("not to be touched")
        shutil.copy(DATA / name, beside)
        return cls(root, beside / name, beside / "out")

    def outside(self) -> dict[str, bytes | None]:
        """All that is not in the output folder, with its content."""
        found: dict[str, bytes | None] = {}
        for path in sorted(self.root.rglob("*")):
            if self.output not in (path, *path.parents):
                found[str(path)] = path.read_bytes() if path.is_file() else None
        found[str(OUTSIDE)] = b"is there" if _leads_out() else None
        return found


def _leads_out() -> list[str]:
    return [name for name in os.listdir(OUTSIDE.parent) if name.startswith(OUTSIDE.name)]


def run(command: str, place: Place, capsys: pytest.CaptureFixture[str]) -> Ended:
    """One command on a seed, in this process."""
    words = [command, str(place.seed), "--json", "--model", str(DATA / _entry(place)["model"])]
    if command == "decompress":
        output = place.output
        if place.seed.suffix == ".edge":
            output.mkdir()
            output /= place.seed.stem + ".png"
        words += ["-o", str(output)]
    tracemalloc.start()
    try:
        with ending_after(HANG_SECONDS):
            code = main(words)
        memory = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    printed = capsys.readouterr()
    return Ended(code, printed.out + printed.err, json.loads(printed.out), memory)


def _entry(place: Place) -> dict[str, Any]:
    return SEEDS[place.seed.name]


def restored(output: Path) -> dict[str, dict[str, Any]]:
    """What is in the output folder, as seeds.json describes it, without symbols."""
    found: dict[str, dict[str, Any]] = {}
    for folder, folders, files in os.walk(output):
        if not folders and not files and folder != str(output):
            found[os.path.relpath(folder, output)] = {"kind": "folder"}
        for name in folders + files:
            path = Path(folder, name)
            mode = os.lstat(path).st_mode
            assert stat.S_ISREG(mode) or stat.S_ISDIR(mode), path
            if stat.S_ISREG(mode):
                assert not mode & 0o7111, path
                found[str(path.relative_to(output))] = _described(path)
    return found


def _described(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    if data.startswith(b"\x89PNG"):
        with Image.open(path) as image:
            pixels = hashlib.sha256(image.tobytes()).hexdigest()
            width, height = image.size
            return {
                "kind": "picture",
                "mode": image.mode,
                "width": width,
                "height": height,
                "pixels": pixels,
            }
    return {"kind": "file", "sha256": hashlib.sha256(data).hexdigest()}


def expected(told_of: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What seeds.json says of the output folder, in the form of `restored`."""
    wanted = {}
    for name, told in told_of.items():
        told = {key: value for key, value in told.items() if key != "symbols"}
        if "text" in told:
            told["sha256"] = hashlib.sha256(told.pop("text").encode()).hexdigest()
        wanted[name] = told
    return wanted


@pytest.fixture(scope="module", autouse=True)
def _everything_is_imported(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What modules take when they are first imported is not to be counted."""
    output = tmp_path_factory.mktemp("warm") / "out"
    archive, model = str(DATA / "good-archive-pictures.ecz"), str(DATA / "context" / "tiny")
    assert main(["decompress", archive, "-o", str(output), "--model", model, "--quiet"]) == 0
    assert main(["verify", archive, "--model", model, "--quiet"]) == 0


# The files.


def test_the_script_writes_the_files_that_are_kept(tmp_path: Path) -> None:
    script = DATA / "make_seeds.py"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, script, tmp_path], check=True, env=environment)
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    kept = {path.name: path.read_bytes() for path in DATA.iterdir() if path.name in written}
    assert written.keys() == kept.keys()
    assert [name for name in written if written[name] != kept[name]] == []
    patterns = [f"{kind}-*" for kind in ("good", "bad", "unsupported")]
    assert sorted(SEEDS) == sorted(path.name for p in patterns for path in DATA.glob(p))


def test_the_files_are_small_and_many() -> None:
    sizes = {name: (DATA / name).stat().st_size for name in SEEDS}
    assert sum(sizes.values()) < 200_000
    assert len(HOSTILE) >= 60
    # Only names of kilobytes need more: each stands in a file twice.
    assert max(sizes, key=lambda name: sizes[name]) == "bad-archive-names-path-too-long.ecz"
    assert sorted(sizes.values())[-2] < 3500


def test_sixty_hostile_names() -> None:
    hostile = {name for s in SEEDS if "-names-" in s for name in SEEDS[s].get("lost", ())}
    assert len(hostile) >= 60


# Good files.


@pytest.mark.parametrize("name", GOOD)
def test_good_files(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = Place.make(tmp_path, name)
    before = place.outside()
    for command in COMMANDS:
        ended = run(command, place, capsys)
        assert ended.code == SEEDS[name]["exit_codes"][command], ended.printed
        if not ended.code:
            assert not ended.document.get("damaged")
            assert not ended.document.get("skipped")
    assert restored(place.output) == expected(SEEDS[name]["restored"])
    assert place.outside() == before


def streams_of(name: str) -> dict[str, Codestream]:
    """The codestreams of a seed, by the name that their picture comes back under."""
    if name.endswith(".edge"):
        return {name.replace(".edge", ".png"): parse((DATA / name).read_bytes())}
    with ArchiveReader(DATA / name) as reader:
        back = restored_names(reader.members, ".png")
        return {n: reader.codestream(m) for m, n in back.items() if m.kind == "picture"}


@pytest.mark.parametrize("name", GOOD)
def test_symbols_of_good_files(name: str) -> None:
    codec = Codec.load(model=DATA / SEEDS[name]["model"])
    found = {}
    for shown, stream in streams_of(name).items():
        latent = codec.decode_symbols(stream)
        digest = hashlib.sha256(latent.symbols.tobytes())
        if latent.counts is not None:
            digest.update(latent.counts.tobytes())
        found[shown] = digest.hexdigest()
    told = SEEDS[name]["restored"]
    assert found == {n: entry["symbols"] for n, entry in told.items() if "symbols" in entry}


# Hostile files.


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(
    name: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = SEEDS[name]
    place = Place.make(tmp_path, name)
    before = place.outside()
    started = time.monotonic()
    ended = run(command, place, capsys)
    assert time.monotonic() - started < HANG_SECONDS
    assert ended.memory < memory_limit(name)
    assert ended.code == ended.document["exit_code"] == entry["exit_codes"][command], ended.printed
    assert "fault of edgecomp" not in ended.printed
    assert "Traceback" not in ended.printed
    if ended.code:
        assert words_of(name, command) in ended.printed
    assert place.outside() == before
    if command != "decompress":
        assert not place.output.exists()
        return
    back = restored(place.output)
    if "restored" in entry:
        assert back == expected(entry["restored"])
    else:
        assert back.items() <= expected(entry["may_restore"]).items()
    named = {
        note["path"] for kind in ("damaged", "skipped") for note in ended.document.get(kind, ())
    }
    assert set(entry.get("lost", ())) <= named


def memory_limit(name: str) -> int:
    """The most that a command may take, in bytes."""
    if name in TILE_BOMBS:
        return TILE_BOMB_MEMORY
    return BOMB_MEMORY if "bomb" in name else MEMORY


def words_of(name: str, command: str) -> str:
    """What a command that does not end with 0 must say."""
    if command == "list" and name.endswith(".edge"):
        return "one picture's codestream"
    return str(SEEDS[name].get("says", ""))


@pytest.mark.parametrize("name", [name for name in HOSTILE if name.endswith(".ecz")])
def test_repaired_files_are_whole(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Place.make(tmp_path, name)
    before = place.outside()
    target = place.output / "repaired.ecz"
    place.output.mkdir()
    with ending_after(HANG_SECONDS):
        code = main(["repair", str(place.seed), "-o", str(target), "--json"])
    printed = capsys.readouterr()
    assert "fault of edgecomp" not in printed.out + printed.err
    assert code in (0, 1, 3, 4)
    assert place.outside() == before
    if not target.exists():
        return
    model = str(DATA / SEEDS[name]["model"])
    # A picture whose model or coder is not here is whole all the same.
    code = main(["verify", str(target), "--json", "--model", model])
    document = json.loads(capsys.readouterr().out)
    assert code != 4 or all("coder" in note["reason"] for note in document["damaged"])


@pytest.mark.parametrize("name", ["bad-archive-many-names-of-one-member.ecz"])
def test_one_member_of_many_names_comes_back_once_at_most(name: str, tmp_path: Path) -> None:
    place = Place.make(tmp_path, name)
    assert main(["decompress", str(place.seed), "-o", str(place.output), "--quiet"]) == 4
    assert len(restored(place.output)) <= 1
