"""TAR and 7-Zip: real archives, names of every kind, failures that are told, and no orphans."""

from __future__ import annotations

import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from common import listening

from edgecomp.evaluation.archivers import Archiver, ArchiverError, ArchiveTimes, find
from edgecomp.evaluation.methods import UnavailableError
from edgecomp.evaluation.results import ARCHIVER_NAMES

NAMES = [
    "plain.png",
    "-dash.png",
    "--",
    "@list.png",
    "star*.png",
    "q?[a].png",
    "two words.png",
    " space at both ends ",
    "line\nbreak.png",
    "back\\slash.png",
    '"quoted".png',
    "c:colon.png",
    "à 漢字.png",
    "e\u0301.png",
    "folder/below/same.png",
    "other/same.png",
]


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Files of all the names, one of them long, and one more that nobody asks for."""
    folder = tmp_path / "pictures"
    for i, name in enumerate([*NAMES, "not asked for.png"]):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(np.random.default_rng(i).bytes(500 + i))
    (folder / "plain.png").write_bytes(b"pixels " * 20000)
    return folder


@pytest.fixture(params=ARCHIVER_NAMES)
def archiver(request: pytest.FixtureRequest) -> Archiver:
    try:
        return find(request.param)
    except UnavailableError as error:
        pytest.skip(str(error))


def script(path: Path, text: str) -> Archiver:
    """A program for TAR's place, in sh."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return Archiver("tar", str(path))


def test_names_of_every_kind_come_back(archiver: Archiver, pictures: Path, scratch: Path) -> None:
    times = archiver.measure(pictures, NAMES, scratch, 1)
    total = sum((pictures / name).stat().st_size for name in NAMES)
    if archiver.name == "tar":
        assert total < times.bytes < total + 1100 * len(NAMES) + 10240
    else:
        assert 500 * (len(NAMES) - 1) < times.bytes < total / 4
    assert times.seconds_compress > 0
    assert times.seconds_decompress > 0
    assert list(scratch.iterdir()) == []
    assert ArchiveTimes(**asdict(times)) == times


def test_only_what_was_asked_for_is_archived(
    archiver: Archiver, pictures: Path, scratch: Path
) -> None:
    few = archiver.measure(pictures, ["--", "-dash.png"], scratch, 1)
    assert few.bytes < archiver.measure(pictures, NAMES, scratch, 1).bytes


def test_paths_may_be_relative(
    archiver: Archiver, pictures: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pictures.parent)
    relative = archiver.measure(Path("pictures"), NAMES, Path("scratch"), 1)
    assert relative.bytes == archiver.measure(pictures, NAMES, scratch, 1).bytes


def test_what_ran_is_told(archiver: Archiver, pictures: Path, scratch: Path) -> None:
    program = Path(archiver.program).name
    options = "-c" if archiver.name == "tar" else "a -t7z -mmt=2"
    settings = archiver.measure(pictures, ["--"], scratch, 2).settings
    assert settings == f"{program} {options}"
    version = archiver.version()
    assert "\n" not in version
    assert any(character.isdigit() for character in version)
    assert ("tar" if archiver.name == "tar" else "7-Zip") in version


def test_the_program_says_nothing(
    archiver: Archiver, pictures: Path, scratch: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    archiver.measure(pictures, NAMES, scratch, 1)
    assert capfd.readouterr() == ("", "")


def test_a_missing_file_is_an_error(archiver: Archiver, pictures: Path, scratch: Path) -> None:
    with pytest.raises(FileNotFoundError, match="gone"):
        archiver.measure(pictures, ["--", "gone.png"], scratch, 1)
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("name", ARCHIVER_NAMES)
def test_a_failure_is_told_with_code_and_words(name: str, pictures: Path, scratch: Path) -> None:
    failing = script(scratch.parent / "failing", "echo 'no  space\nleft' >&2; exit 7")
    with pytest.raises(ArchiverError, match=r"ended with exit code 7: no space left$") as caught:
        Archiver(name, failing.program).measure(pictures, NAMES, scratch, 1)
    assert caught.value.path == failing.program
    assert list(scratch.iterdir()) == []


def test_the_programs_own_complaint_is_told(
    archiver: Archiver, pictures: Path, scratch: Path
) -> None:
    # Neither program understands the other's options.
    other = Archiver("7-zip" if archiver.name == "tar" else "tar", archiver.program)
    with pytest.raises(ArchiverError, match=r"ended with exit code \d+: \S"):
        other.measure(pictures, NAMES, scratch, 1)
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        ('printf x >> "$5/plain.png"', "tar brought it back different"),
        ('rm "$5/plain.png"', "tar did not bring it back"),
    ],
)
def test_other_bytes_than_the_originals_are_an_error(
    pictures: Path, scratch: Path, damage: str, complaint: str
) -> None:
    # The real program, and then a damage: $5 is the folder to extract to.
    real = find("tar").program
    liar = script(
        scratch.parent / "liar", f'{real} "$@" || exit\nif [ "$1" = -x ]; then {damage}; fi'
    )
    with pytest.raises(ArchiverError, match=complaint) as caught:
        liar.measure(pictures, NAMES, scratch, 1)
    assert caught.value.path == "plain.png"
    assert list(scratch.iterdir()) == []


def test_a_program_that_cannot_be_run(tmp_path: Path, pictures: Path, scratch: Path) -> None:
    for program in (tmp_path / "nowhere", pictures):
        with pytest.raises(ArchiverError, match="cannot be run"):
            Archiver("tar", str(program)).measure(pictures, ["--"], scratch, 1)
        with pytest.raises(ArchiverError, match="cannot be run"):
            Archiver("7-zip", str(program)).version()


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnavailableError, match=r"no 7z, 7zz or 7za found; apt-get install 7zip"):
        find("7-zip")
    with pytest.raises(UnavailableError, match="tar is not installed"):
        find("tar")
    with pytest.raises(ValueError, match="no archiver 'zip'; there are tar, 7-zip"):
        find("zip")


def test_any_of_7_zips_names_will_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("7za", "7zz", "7z"):  # from the last choice to the first
        script(tmp_path / name, "exit 0")
        assert find("7-zip") == Archiver("7-zip", str(tmp_path / name))


def test_the_archive_of_tar_is_one(pictures: Path, scratch: Path) -> None:
    kept = scratch.parent / "kept.tar"
    real = find("tar").program
    keeper = script(
        scratch.parent / "keeper", f'{real} "$@" || exit\nif [ "$1" = -c ]; then cp "$3" {kept}; fi'
    )
    times = keeper.measure(pictures, NAMES, scratch, 1)
    assert kept.stat().st_size == times.bytes
    with tarfile.open(kept) as archive:
        assert archive.getnames() == NAMES


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="looks for processes in /proc")
@pytest.mark.parametrize("name", ARCHIVER_NAMES)
def test_an_interruption_leaves_no_process_and_no_file(
    name: str, pictures: Path, scratch: Path
) -> None:
    # As the scripts do that some systems have for 7-Zip: the program is the shell's child.
    pids = scratch.parent / "pids"
    slow = script(
        scratch.parent / "slow", f"sleep 60 & echo $$ $! > {pids}.new; mv {pids}.new {pids}; wait"
    )
    code = (
        "import sys; from pathlib import Path; from edgecomp.evaluation.archivers import Archiver\n"
        "name, program, folder, scratch = sys.argv[1:]\n"
        "Archiver(name, program).measure(Path(folder), ['--'], Path(scratch), 1)\n"
    )
    arguments = [name, slow.program, str(pictures), str(scratch)]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stderr=subprocess.PIPE,
        preexec_fn=listening,
    )
    try:
        while not pids.exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert b"KeyboardInterrupt" in complaint
    for pid in pids.read_text().split():
        await_end(int(pid))
    assert list(scratch.iterdir()) == []


def await_end(pid: int) -> None:
    """Returns when the process is gone, or a zombie that nobody has waited for."""
    deadline = time.monotonic() + 20  # it sleeps for longer
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return
        if state == "Z":
            return
        time.sleep(0.01)
    raise AssertionError(f"process {pid} was left running")
