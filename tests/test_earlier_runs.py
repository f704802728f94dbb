"""Going on from interrupted runs: the archive of an unbroken run, to the byte."""

from __future__ import annotations

import fcntl
import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from edgecomp import archive_writer as writer_module
from edgecomp import compress as compress_module
from edgecomp import prepare as prepare_module
from edgecomp.archive import ArchiveReader
from edgecomp.archive_writer import ArchiveWriter
from edgecomp.codec import Codec
from edgecomp.compress import CompressSummary, compress_folder
from edgecomp.earlier_runs import settings_of, unfinished_beside
from edgecomp.errors import CorruptDataError, ExitCode, OutputError, OutputExistsError
from edgecomp.partial_files import leftovers

Compress = Callable[..., CompressSummary]

pytestmark = pytest.mark.usefixtures("folder_kind")

SMALL_BYTES = 5000


@pytest.fixture
def folder(tmp_path: Path, photo: Image.Image) -> Path:
    """Pictures, one that is kept as it is, an empty folder, a small and a large other file."""
    root = tmp_path / "in"
    (root / "empty").mkdir(parents=True)
    for number in range(4):
        photo.rotate(10 * number).save(root / f"p{number}.png")
    photo.save(root / "p3.jpg", quality=95)
    (root / "bad.png").write_text("no picture")
    (root / "notes.txt").write_text("to do\n" * 100)
    (root / "z.bin").write_bytes(random.Random(1).randbytes(SMALL_BYTES + 5000))
    return root


@pytest.fixture(autouse=True)
def _streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the large file pass in pieces without being so large that packing it takes long."""
    monkeypatch.setattr(prepare_module, "SMALL_BYTES", SMALL_BYTES)
    monkeypatch.setattr(writer_module, "SMALL_BYTES", SMALL_BYTES)


@pytest.fixture
def compress(tiny: Path, tmp_path: Path) -> Compress:
    """`compress_folder` of the folder into ``o.ecz``."""

    def run(**options: object) -> CompressSummary:
        chosen = {"model": tiny, "threads": 2, "output": tmp_path / "o.ecz"} | options
        return compress_folder(tmp_path / "in", **chosen)  # type: ignore[arg-type]

    return run


@pytest.fixture
def unbroken(folder: Path, tmp_path: Path, compress: Compress) -> bytes:
    """The bytes of the archive that an unbroken run makes."""
    compress(output=tmp_path / "unbroken.ecz")
    return (tmp_path / "unbroken.ecz").read_bytes()


def stop_after(
    monkeypatch: pytest.MonkeyPatch, members: int, ending: type[BaseException] = KeyboardInterrupt
) -> None:
    """Let runs end badly when so many members are written."""
    real = compress_module._add
    written = 0

    def add(*arguments: object, **options: object) -> None:
        nonlocal written
        if written == members:
            raise ending("stopped by a test")
        written += 1
        real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(compress_module, "_add", add)


def partials(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if ".partial-" in name)


@pytest.mark.parametrize("members", [1, 4, 8])
@pytest.mark.parametrize("ending", [KeyboardInterrupt, OutputError, MemoryError])
def test_an_interrupted_run_is_gone_on_from(
    tmp_path: Path,
    unbroken: bytes,
    compress: Compress,
    members: int,
    ending: type[BaseException],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, members, ending)
        with pytest.raises(ending) as caught:
            compress(resume=True)
    assert "the same command goes on" in caught.value.__notes__[0]
    assert not (tmp_path / "o.ecz").exists()
    assert len(partials(tmp_path)) == 1
    summary = compress(resume=True)
    assert (tmp_path / "o.ecz").read_bytes() == unbroken
    # Whether a picture is kept as it is is found out anew.
    assert summary.resumed == members - 1
    assert [note.path.rpartition("/")[2] for note in summary.verbatim] == ["bad.png"]
    assert (summary.files, summary.images, summary.unchanged) == (8, 5, 0)
    assert partials(tmp_path) == []
    assert summary.to_json()["unfinished"] == []


def test_several_interruptions_lose_nothing(
    tmp_path: Path, unbroken: bytes, compress: Compress, monkeypatch: pytest.MonkeyPatch
) -> None:
    coded = 0
    real = Codec.encode

    def encode(self: Codec, *arguments: object, **options: object) -> bytes:
        nonlocal coded
        coded += 1
        return real(self, *arguments, **options)  # type: ignore[arg-type]

    for members in (3, 5, 2, 7):
        with pytest.MonkeyPatch.context() as patch:
            stop_after(patch, members)
            with pytest.raises(KeyboardInterrupt):
                compress(resume=True)
    monkeypatch.setattr(Codec, "encode", encode)
    assert compress(resume=True).resumed == 6
    assert coded == 1
    assert (tmp_path / "o.ecz").read_bytes() == unbroken
    assert partials(tmp_path) == []


def test_without_resume_nothing_is_left(
    folder: Path, tmp_path: Path, compress: Compress, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_after(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        compress()
    assert os.listdir(tmp_path) == ["in"]


def kill(tmp_path: Path, compress: Compress, members: int, **options: object) -> Path:
    """What a run that is killed leaves: its file, without any clean-up."""
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, members)
        patch.setattr(compress_module.OutputFile, "_is_kept", lambda *_: True)
        with pytest.raises(KeyboardInterrupt):
            compress(**options)
    (name,) = partials(tmp_path)
    return tmp_path / name


@pytest.mark.parametrize("cut", [0, 1, 30, 2000, 9_000, -1000, -1])
def test_a_killed_run_is_gone_on_from_wherever_it_stopped(
    tmp_path: Path, unbroken: bytes, compress: Compress, cut: int
) -> None:
    left = kill(tmp_path, compress, 8)
    data = left.read_bytes()
    left.write_bytes(data[:cut] if cut >= 0 else data[:cut] + bytes(-cut))
    os.utime(left, (0, 0))  # or an empty one would be taken for a run's that has just begun
    assert compress().unfinished == (str(left),)
    (tmp_path / "o.ecz").unlink()
    assert compress(resume=True).exit_code == ExitCode.DONE
    assert (tmp_path / "o.ecz").read_bytes() == unbroken
    assert partials(tmp_path) == []


def test_damage_in_what_is_left_is_noticed(
    tmp_path: Path, unbroken: bytes, compress: Compress
) -> None:
    left = kill(tmp_path, compress, 8)
    data = bytearray(left.read_bytes())
    with ArchiveReader(left) as reader:
        for member in reader.members[:-1]:
            data[reader._slots[member.index].views[0].end - 1] ^= 1
    left.write_bytes(data)
    compress(resume=True)
    assert (tmp_path / "o.ecz").read_bytes() == unbroken


def test_sources_that_have_changed_since_are_done_anew(
    folder: Path, tmp_path: Path, compress: Compress, photo: Image.Image
) -> None:
    kill(tmp_path, compress, 8)
    photo.rotate(99).save(folder / "p1.png")
    (folder / "p2.png").unlink()
    (folder / "notes.txt").write_text("done")
    photo.save(folder / "a new one.png")
    summary = compress(resume=True)
    # Not the picture that is kept, those three, the new one, and the file that was being written.
    assert summary.resumed == 4
    compress(output=tmp_path / "unbroken.ecz")
    assert (tmp_path / "o.ecz").read_bytes() == (tmp_path / "unbroken.ecz").read_bytes()


@pytest.mark.parametrize("other", [{"coder": "lzma"}, {"max_pixels": 1000}])
def test_what_was_begun_with_other_settings_is_left_alone(
    folder: Path, tmp_path: Path, photo: Image.Image, other: dict[str, object]
) -> None:
    def compress(**options: object) -> CompressSummary:
        chosen = {"quality": "A", "threads": 2, "output": tmp_path / "o.ecz"} | options
        return compress_folder(folder, **chosen)  # type: ignore[arg-type]

    left = kill(tmp_path, compress, 8, **other)
    summary = compress(resume=True)
    assert summary.resumed == 0
    assert summary.unfinished == (str(left),)
    assert left.exists()


def test_settings_tell_what_an_archive_depends_on(tiny: Path, tiny_map: Path) -> None:
    codec = Codec.load("B", model=tiny)
    others = [
        settings_of(codec, 10),
        settings_of(codec, 11),
        settings_of(None, 10),
        settings_of(Codec.load("B", model=tiny_map), 10),
        settings_of(Codec.load("A"), 10),
        settings_of(Codec.load("A", precision="fp32"), 10),
        settings_of(Codec.load("A", coder="lzma"), 10),
    ]
    assert len(set(others)) == len(others)
    assert settings_of(Codec.load("B", model=tiny, threads=3), 10) == others[0]


def test_a_complete_archive_is_found_complete(
    tmp_path: Path, unbroken: bytes, compress: Compress, folder: Path
) -> None:
    compress()
    before = (tmp_path / "o.ecz").stat()
    summary = compress(resume=True)
    assert (summary.resumed, summary.exit_code) == (8, ExitCode.DONE)
    after = (tmp_path / "o.ecz").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    # Killed between the two steps that give the archive its name: both names are there.
    os.link(tmp_path / "o.ecz", tmp_path / "o.ecz.partial-1-0a1b2c3d")
    assert compress(resume=True).exit_code == ExitCode.DONE
    # What is something else stays, and is no success.
    (folder / "notes.txt").write_text("done")
    with pytest.raises(OutputExistsError):
        compress(resume=True)
    assert (tmp_path / "o.ecz").read_bytes() == unbroken
    assert compress(resume=True, force=True).resumed == 0
    assert (tmp_path / "o.ecz").read_bytes() != unbroken


def test_an_update_is_gone_on_from(
    folder: Path, tmp_path: Path, compress: Compress, photo: Image.Image
) -> None:
    compress()
    for number in range(4):
        photo.rotate(33 * number).save(folder / f"p{number}.png")
    old = (tmp_path / "o.ecz").read_bytes()
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "o.ecz").write_bytes(old)
    kill(tmp_path, compress, 5, update=True)
    assert (tmp_path / "o.ecz").read_bytes() == old
    summary = compress(update=True, resume=True)
    assert (summary.resumed, summary.unchanged) == (2, 5)
    compress(update=True, output=tmp_path / "copy" / "o.ecz")
    assert (tmp_path / "o.ecz").read_bytes() == (tmp_path / "copy" / "o.ecz").read_bytes()


@pytest.fixture
def locked(tmp_path: Path, tiny: Path) -> Iterator[Path]:
    """The output of a run like `compress` that goes on at this moment."""
    settings = settings_of(Codec.load("B", model=tiny), 256_000_000)
    path = tmp_path / f"o.ecz.partial-4711-0a1b2c3d-{settings}"
    with open(path, "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield path


def test_what_another_process_is_writing_is_left_alone(
    folder: Path, tmp_path: Path, compress: Compress, locked: Path
) -> None:
    with pytest.raises(OutputError, match=r"process 4711 is writing .*o\.ecz at this moment"):
        compress(resume=True)
    assert locked.exists()
    # It is no leftover either.
    assert unfinished_beside(tmp_path / "o.ecz") == ()


def test_a_run_locks_what_it_writes(
    folder: Path, tmp_path: Path, compress: Compress, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ArchiveWriter.finish
    found: list[object] = []

    def finish(self: ArchiveWriter) -> int:
        thread = threading.Thread(target=lambda: found.append(unfinished_beside(output)))
        thread.start()
        thread.join()
        with pytest.raises(OutputError, match="is writing"):
            compress(resume=True)
        return real(self)

    output = tmp_path / "o.ecz"
    with monkeypatch.context() as patch:
        patch.setattr(ArchiveWriter, "finish", finish)
        compress(resume=True)
    assert found == [()]


def test_a_failed_verification_leaves_nothing_to_go_on_from(
    folder: Path, tmp_path: Path, compress: Compress, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Codec.encode

    def encode(self: Codec, *arguments: object, **options: object) -> bytes:
        data = bytearray(real(self, *arguments, **options))  # type: ignore[arg-type]
        data[-1] ^= 1
        return bytes(data)

    monkeypatch.setattr(Codec, "encode", encode)
    with pytest.raises(CorruptDataError, match="verifying failed"):
        compress(resume=True, verify=True)
    assert partials(tmp_path) == []


def test_leftovers_are_told_by_their_names() -> None:
    names = [
        "o.ecz.partial-12-0a1b2c3d-00112233",
        "o.ecz.partial-3-0a1b2c3d",
        "oo.ecz.partial-3-0a1b2c3d",
        "o.ecz.partial-3-0a1b2c3d-",
        "o.ecz.partial-3-0a1b2c3",
        "o.ecz.partial-x-0a1b2c3d",
        "o.ecz",
    ]
    found = leftovers(names, ("o.ecz",))
    assert [(f.name, f.process, f.settings) for f in found] == [
        (names[0], 12, "00112233"),
        (names[1], 3, None),
    ]
