"""The fuzzing targets in Python pass for a while, and find what is wrong (tests/fuzz/README.md)."""

from __future__ import annotations

import importlib.util
import io
import random
import zlib
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from common import counted
from fuzz import driver, make_corpus
from fuzz.driver import CORPUS, corpus_of, fuzz
from fuzz.known import KNOWN
from fuzz.mutations import Mutator
from fuzz.targets import TARGETS

from edgecomp import codestream, models, names, native
from edgecomp.archive import ArchiveReader
from edgecomp.archive_writer import ArchiveWriter
from edgecomp.errors import EdgecompError
from edgecomp.verbatim import MemberStream

# Inputs of the corpus that show what is not mended yet: fuzz/known.py says what is wrong.
NOT_MENDED: tuple[str, ...] = ()


@pytest.mark.parametrize("target", TARGETS)
@counted(700, 100_000)
def test_targets_pass(target: str, count: int, tmp_path: Path) -> None:
    corpus = corpus_of(target)
    assert corpus
    done = fuzz(target, TARGETS[target], corpus, keep=tmp_path, runs=count, seed=5)
    assert done.failure is None, done.trace
    assert done.executions == count
    assert list(tmp_path.iterdir()) == []


def faults() -> list[object]:
    """The inputs that showed a fault, each a test; what is not mended fails."""
    found: list[object] = []
    for path in sorted(CORPUS.glob("*/fault-*")):
        name = f"{path.parent.name}/{path.name}"
        broken = [pytest.mark.xfail(strict=True, reason="not mended: fuzz/known.py")]
        found.append(pytest.param(path, id=name, marks=broken if name in NOT_MENDED else []))
    return found


@pytest.mark.parametrize("path", faults())
def test_faults_stay_mended(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())


def test_faults_that_are_known_are_in_the_corpus() -> None:
    assert all((CORPUS / name).is_file() for name in NOT_MENDED)
    assert bool(KNOWN) == bool(NOT_MENDED)


def test_the_corpus_is_what_the_script_writes(tmp_path: Path) -> None:
    make_corpus.main(tmp_path)
    written = {str(p.relative_to(tmp_path)): p.read_bytes() for p in tmp_path.glob("*/*")}
    kept = {str(p.relative_to(CORPUS)): p.read_bytes() for p in CORPUS.glob("*/*")}
    assert written.items() <= kept.items()
    # What is kept besides has shown a fault.
    assert all(Path(name).name.startswith("fault-") for name in kept.keys() - written.keys())
    assert {name.split("/")[0] for name in kept} == set(TARGETS)


# Whether the driver finds what is wrong.


def faulty(data: bytes) -> None:
    if len(data) > 3 and data[:1] == b"E" and data[1] & 3 == 2:
        raise ValueError("a fault")


def test_a_fault_is_found_and_its_input_kept(tmp_path: Path) -> None:
    inputs = [b"Aaaaaaaa", b"Eaa"]
    done = fuzz("faulty", faulty, inputs, keep=tmp_path, runs=20_000)
    assert done.failure is not None
    assert "ValueError: a fault" in done.trace
    assert 2 < done.executions < 20_000
    with pytest.raises(ValueError, match="a fault"):
        faulty(done.failure.read_bytes())
    again = fuzz("faulty", faulty, inputs, keep=tmp_path, runs=20_000)
    assert (again.failure, again.executions) == (done.failure, done.executions)
    other = fuzz("faulty", faulty, inputs, keep=tmp_path, runs=20_000, seed=2)
    assert (other.failure, other.executions) != (done.failure, done.executions)


def test_an_input_of_the_corpus_that_fails_is_found_first(tmp_path: Path) -> None:
    done = fuzz("faulty", faulty, [b"good", b"Evil"], keep=tmp_path, runs=9)
    assert done.executions == 2
    assert done.failure is not None
    assert done.failure.read_bytes() == b"Evil"


def test_too_much_memory_is_a_fault(tmp_path: Path) -> None:
    def greedy(data: bytes) -> None:
        bytes(len(data) << 27)

    assert fuzz("greedy", greedy, [b"1"], keep=tmp_path, runs=1).failure is None
    done = fuzz("greedy", greedy, [b"12345678"], keep=tmp_path, runs=1)
    assert "MemoryError" in done.trace
    assert len(bytes(1 << 30)) == 1 << 30  # what is allowed is as before


def test_hanging_is_a_fault(tmp_path: Path) -> None:
    def endless(data: bytes) -> None:
        while data:
            try:
                continue
            except Exception:
                pass

    done = fuzz("endless", endless, [b"", b"x"], keep=tmp_path, runs=2, hang=0.1)
    assert "HangError" in done.trace
    assert done.executions == 2


def test_what_is_known_hides_nothing_else(tmp_path: Path) -> None:
    def overflows(data: bytes) -> None:
        raise OverflowError("somewhere else")

    assert fuzz("overflows", overflows, [b""], keep=tmp_path, runs=1).failure is not None


def _beyond(*arguments: Any, _unpack: Callable[..., Any] = native.unpack, **form: Any) -> Any:
    symbols = _unpack(*arguments, **form)
    symbols.flat[:1] = 255
    return symbols


@pytest.mark.parametrize(
    ("target", "where", "what", "wrong"),
    [
        ("archive", MemberStream, "_check_end", lambda stream: None),
        ("codestream", codestream.Codestream, "damaged_sections", lambda s, critical=False: set()),
        ("model", models, "_plain_path", str),
        ("names", names, "_unsafe_component", lambda component: None),
        ("roundtrip", ArchiveWriter, "add_folder", lambda writer, source, mtime_ns: None),
        ("symbols", native, "unpack", _beyond),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_faults_in_edgecomp_are_found(
    target: str,
    where: Any,
    what: str,
    wrong: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The control of the targets: each notices when what it is about is broken."""
    monkeypatch.setattr(where, what, wrong)
    done = fuzz(target, TARGETS[target], corpus_of(target), keep=tmp_path, runs=1500)
    assert done.failure is not None


# Whether the changes reach what is behind checksums.


def changed(target: str, number: int) -> list[bytes]:
    return list(
        islice(iter(Mutator(random.Random(3), corpus_of(target), target).next, None), number)
    )


def test_changed_codestreams_pass_the_checksum_of_the_header() -> None:
    kept = set(corpus_of("codestream"))
    passed = 0
    for data in changed("codestream", 2000):
        if data in kept:
            continue
        try:
            stream = codestream.parse(data, max_pixels=None)
        except EdgecompError:
            continue
        passed += not stream.damaged_tiles()
    assert passed > 100


def test_changed_archives_have_whole_members_with_new_content() -> None:
    def contents(data: bytes) -> set[int]:
        found = set()
        try:
            with ArchiveReader(io.BytesIO(data), max_expansion=1 << 20) as reader:
                for member in reader.members:
                    try:
                        found.add(zlib.crc32(reader.read(member)))
                    except EdgecompError:
                        pass
        except (EdgecompError, OverflowError):
            pass
        return found

    kept = set().union(*(contents(data) for data in corpus_of("archive")))
    new = [contents(data) - kept for data in changed("archive", 1500)]
    assert sum(bool(found) for found in new) > 75


# The command.


def test_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert driver.main(["names", "--runs", "30", "--keep", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("names: 30 executions, ")
    inputs = [str(path) for path in sorted((CORPUS / "names").iterdir())[:2]]
    assert driver.main(["names", *inputs, "--keep", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("names: 2 executions, ")


def test_the_command_says_what_failed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TARGETS, "names", faulty)
    evil = tmp_path / "evil"
    evil.write_bytes(b"Evil")
    assert driver.main(["names", str(evil), "--keep", str(tmp_path)]) == 1
    (kept,) = tmp_path.glob("failed-names-*")
    told = capsys.readouterr().err
    assert "ValueError: a fault" in told
    assert str(kept) in told


@pytest.mark.skipif(importlib.util.find_spec("atheris") is not None, reason="atheris is installed")
def test_atheris_is_not_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert driver.main(["names", "--atheris"]) == 2
    assert "not installed" in capsys.readouterr().err
