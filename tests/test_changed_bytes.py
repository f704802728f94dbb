"""Changed bytes in an archive: each file comes back as it was, or is named; never another one."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from common import counted
from PIL import Image

from edgecomp.archive import ArchiveReader
from edgecomp.compress import compress_folder
from edgecomp.decompress import decompress_folder
from edgecomp.errors import ExitCode, UnsupportedVersionError
from edgecomp.inspect import verify

Check = Callable[[bytes], bool]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, tiny: Path, photo: Image.Image) -> Path:
    """An archive of everything that an archive may hold."""
    root = tmp_path_factory.mktemp("changed") / "in"
    (root / "d" / "empty").mkdir(parents=True)
    for number in range(5):
        photo.rotate(7 * number).crop((0, 0, 40, 32)).save(root / f"p{number}.png")
    exif = Image.Exif()
    exif[0x010E] = "described"
    photo.crop((0, 0, 64, 64)).convert("RGBA").save(root / "d" / "q.png", exif=exif)
    (root / "kept.jpg").write_text("no picture")
    (root / "noise.bin").write_bytes(random.Random(2).randbytes(700))
    (root / "d" / "text.txt").write_text("text " * 200)
    compress_folder(root, root.parent / "a.ecz", model=tiny)
    return root.parent / "a.ecz"


def tree(root: Path) -> dict[str, bytes | None]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes() if path.is_file() else None
        for path in root.rglob("*")
    }


@pytest.fixture(scope="module")
def whole(archive: Path, tiny: Path) -> dict[str, bytes | None]:
    decompress_folder(archive, archive.parent / "whole", model=tiny)
    return tree(archive.parent / "whole")


@pytest.fixture
def check(
    archive: Path,
    whole: dict[str, bytes | None],
    tmp_path: Path,
    tiny: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Check:
    """Restores an archive with changed bytes, sees that the promise is kept, and says whether any
    file was lost."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    path, out = tmp_path / "x.ecz", tmp_path / "out"

    def run(data: bytes) -> bool:
        path.write_bytes(data)
        shutil.rmtree(out, ignore_errors=True)
        try:
            summary = decompress_folder(path, out, model=tiny, threads=1)
        except UnsupportedVersionError:
            # Only the version in the archive's comment makes all of it unreadable.
            assert data[:-1] == archive.read_bytes()[:-1]
            return True
        found = tree(out) if out.exists() else {}
        named = [note.path for note in summary.damaged + summary.skipped]
        for name, content in whole.items():
            if name in found and found[name] == content:
                continue
            stem = name.rpartition(".")[0] or name
            assert any(stem in n or n == str(path) for n in named), (name, named)
        # Nothing under a name that the archive did not have, nothing else under one that it had.
        folders = {name for name, content in whole.items() if content is None}
        for name, content in found.items():
            if content is not None and name not in whole:
                raise AssertionError(f"{name} came out of nowhere")
            if content is None:
                assert name in folders
            elif content != whole[name]:
                # Metadata may be missing, and it is said; the pixels are those that were coded.
                assert name == "d/q.png"
                assert any("EXIF" in note.reason for note in summary.damaged)
        if summary.exit_code == ExitCode.DONE:
            assert found == whole
        else:
            assert summary.exit_code in (ExitCode.DAMAGED, ExitCode.MODEL)
        lost = [name for name in whole if name not in found]
        assert len([name for name in lost if whole[name] is not None]) <= 1
        return bool(lost)

    return run


@counted(120, 12_000)
def test_one_changed_byte_costs_one_file_at_most(archive: Path, check: Check, count: int) -> None:
    data = archive.read_bytes()
    rng = random.Random(7)
    lost = 0
    for _ in range(count):
        changed = bytearray(data)
        changed[rng.randrange(len(data))] ^= rng.randrange(1, 256)
        lost += check(bytes(changed))
    assert lost > count // 4, "changes in the symbols must show"


@counted(120, 1 << 20)
def test_flipped_bits_of_headers_and_directory(archive: Path, check: Check, count: int) -> None:
    """In the full count every bit of the first 4 KiB and of the directory and the end."""
    data = archive.read_bytes()
    directory = data.index(b"PK\x01\x02")
    places = [*range(8 * min(4096, directory)), *range(8 * directory, 8 * len(data))]
    for bit in random.Random(8).sample(places, min(count, len(places))):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        check(bytes(changed))


@counted(40, 600)
def test_every_other_file_is_verified_too(archive: Path, tiny: Path, count: int) -> None:
    """`verify` and the other commands see what `decompress` sees."""
    data = archive.read_bytes()
    rng = random.Random(9)
    target = archive.with_name("y.ecz")
    for _ in range(count):
        changed = bytearray(data)
        changed[rng.randrange(len(data) - 1)] ^= 1 << rng.randrange(8)
        target.write_bytes(changed)
        report = verify(target, model=tiny)
        summary = decompress_folder(target, archive.parent / "y", model=tiny, force=True)
        assert report.exit_code == summary.exit_code
        assert {note.path for note in report.damaged} == {note.path for note in summary.damaged}
        with ArchiveReader(target) as reader:
            assert len(reader.members) + len(reader.damage) >= 10
