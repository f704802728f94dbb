"""Folders by their paths, as Windows has them: what these have of their own.

That jobs do with them what they do with descriptors is in the tests of output, of earlier runs, of
sources and of restoring, which run with both (fixture ``folder_kind``).
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from windows_like import InUseError, act_like_windows

from edgecomp import folders
from edgecomp.compress import compress_folder
from edgecomp.decompress import decompress_folder
from edgecomp.errors import OutputError
from edgecomp.folders import Folder, PathFolder, leads_elsewhere, open_folder
from edgecomp.output import OutputFile
from edgecomp.output_folder import OutputFolder
from edgecomp.repair import repair
from edgecomp.windows_names import long_path, windows_name

if sys.platform == "win32":
    pytest.skip("these make another system like Windows", allow_module_level=True)

Use = Callable[[Folder], object]
# Everything that reaches something in a folder.
USES: dict[str, Use] = {
    "enter": lambda folder: folder.enter("inner"),
    "make": lambda folder: folder.make("new"),
    "names": lambda folder: folder.names(),
    "status": lambda folder: folder.status("a"),
    "open": lambda folder: os.close(folder.open("a")),
    "create": lambda folder: os.close(folder.create("new")),
    "replace": lambda folder: folder.replace("a", "b"),
    "name_new": lambda folder: folder.name_new("a", "new"),
    "remove": lambda folder: folder.remove("a"),
    "set_file_time": lambda folder: folder.set_file_time("a", None, 0),
    "set_time": lambda folder: folder.set_time(0),
}


@pytest.fixture(autouse=True)
def _windows(monkeypatch: pytest.MonkeyPatch) -> None:
    act_like_windows(monkeypatch)


def fill(folder: Path) -> None:
    (folder / "inner").mkdir(parents=True)
    (folder / "a").write_text("a")
    (folder / "b").write_text("b")


def state(folder: Path) -> list[tuple[str, int]]:
    """What is in a folder, and when it was changed."""
    places = [folder, *sorted(folder.rglob("*"))]
    return [(str(path), path.lstat().st_mtime_ns) for path in places]


def test_every_method_is_among_the_uses() -> None:
    others = {"close", "duplicate", "sync"}
    assert {name for name in Folder.__abstractmethods__} == set(USES) | others


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("depth", ["itself", "above"])
def test_a_folder_that_has_become_a_link_is_not_followed(
    tmp_path: Path, use: str, depth: str
) -> None:
    for root in ("out", "elsewhere"):
        fill(tmp_path / root / "d" / "e")
    folder = open_folder(tmp_path / "out").enter("d").enter("e")
    USES["names"](folder)
    link = tmp_path / "out" / "d" / "e" if depth == "itself" else tmp_path / "out" / "d"
    link.rename(tmp_path / "moved")
    link.symlink_to(tmp_path / "elsewhere" / link.relative_to(tmp_path / "out"))
    before = state(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        USES[use](folder)
    assert state(tmp_path / "elsewhere") == before


@pytest.mark.parametrize("use", USES)
def test_uses_work(tmp_path: Path, use: str) -> None:
    fill(tmp_path / "out" / "d")
    USES[use](open_folder(tmp_path / "out").enter("d"))


def test_a_file_that_is_a_link_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "link").symlink_to("a")
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        open_folder(tmp_path).open("link")


@pytest.mark.parametrize("name", ["../a", "d/a", "/a", ""])
def test_only_single_names(tmp_path: Path, name: str) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "d").mkdir()
    if name:
        with pytest.raises(OSError, match="no such names"):
            open_folder(tmp_path / "d").status(name)
    with pytest.raises(OSError, match=r"."):
        open_folder(tmp_path / "d").create(name)
    assert sorted(os.listdir(tmp_path)) == ["a", "d"]
    assert (tmp_path / "a").read_text() == "a"


def test_a_link_that_appears_while_a_file_is_written(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()

    def write() -> None:
        with OutputFolder(tmp_path / "out").file("d/a") as out:
            out.file.write(b"a")
            (tmp_path / "out" / "d").rename(tmp_path / "moved")
            (tmp_path / "out" / "d").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OutputError, match="symbolic links"):
        write()
    assert os.listdir(tmp_path / "elsewhere") == []


# What is open.


def test_the_tests_refuse_what_windows_does(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    with open(tmp_path / "a"):
        for call in (
            lambda: os.unlink(tmp_path / "a"),
            lambda: os.replace(tmp_path / "a", tmp_path / "c"),
            lambda: os.replace(tmp_path / "b", tmp_path / "a"),
        ):
            with pytest.raises(InUseError):
                call()
    os.replace(tmp_path / "b", tmp_path / "a")


@pytest.mark.parametrize("force", [False, True])
def test_who_looks_for_a_moment_only_delays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    """A virus scanner has the file open when it is to get its name."""
    looking = [True, True]
    naming = "replace" if force else "unlink"
    real = getattr(os, naming)

    def busy(*arguments: Any, **options: Any) -> None:
        if looking and looking.pop():
            raise InUseError(13, "in use by a scanner")
        real(*arguments, **options)

    monkeypatch.setattr(os, naming, busy)
    monkeypatch.setattr(folders, "_PAUSES", (0.0, 0.0))
    with OutputFile(tmp_path / "a", force=force) as out:
        out.file.write(b"a")
    assert (os.listdir(tmp_path), looking) == (["a"], [])


def test_who_keeps_the_target_open_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with open(tmp_path / "a"):
        with pytest.raises(OutputError, match=r"cannot write .*a: in use"):
            _write(tmp_path / "a")
        assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def _write(target: Path) -> None:
    with OutputFile(target, force=True) as out:
        out.file.write(b"new")


def test_archives_are_closed_before_they_are_replaced(tmp_path: Path, tiny: Path) -> None:
    target, source = tmp_path / "o.ecz", tmp_path / "in"
    source.mkdir()
    (source / "a.txt").write_text("a" * 500)
    compress_folder(source, target, model=tiny)
    (source / "b.txt").write_text("b" * 500)
    assert compress_folder(source, target, model=tiny, update=True).unchanged == 1
    data = target.read_bytes()
    target.write_bytes(data[: len(data) - 40])
    repair(target, target, force=True)
    decompress_folder(target, tmp_path / "out", model=tiny)
    assert (tmp_path / "out" / "b.txt").read_text() == "b" * 500
    assert sorted(os.listdir(tmp_path)) == ["in", "o.ecz", "out"]


# Names, paths and links of Windows.


def test_names() -> None:
    assert windows_name('a<b>c:d"e|f?g*h.txt') == "a_b_c_d_e_f_g_h.txt"
    for name in ("a", "ü.txt", "写真", "a b", ".a", "x" * 255):
        assert windows_name(name) == name


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("C:\\short", "C:\\short"),
        ("C:\\" + "d\\" * 200 + "a", "\\\\?\\C:\\" + "d\\" * 200 + "a"),
        ("C:/" + "d/" * 200 + "./../a", "\\\\?\\C:\\" + "d\\" * 199 + "a"),
        ("\\\\server\\share\\" + "d\\" * 200, "\\\\?\\UNC\\server\\share" + "\\d" * 200),
        ("\\\\?\\C:\\" + "d\\" * 200 + "a", "\\\\?\\C:\\" + "d\\" * 200 + "a"),
    ],
)
def test_long_paths(path: str, expected: str) -> None:
    assert long_path(path) == expected


@pytest.mark.parametrize(
    ("mode", "tag", "expected"),
    [
        (stat.S_IFDIR, 0, False),
        (stat.S_IFLNK, 0xA000000C, True),  # a symbolic link
        (stat.S_IFDIR, 0xA0000003, True),  # a junction
        (stat.S_IFREG, 0x9000001A, False),  # a file that is kept in a cloud
        (stat.S_IFREG, 0x80000013, False),  # one whose content was found twice
    ],
)
def test_what_leads_elsewhere(mode: int, tag: int, expected: bool) -> None:
    found = types.SimpleNamespace(st_mode=mode, st_reparse_tag=tag)
    assert leads_elsewhere(cast(os.stat_result, found)) == expected


def test_the_kind_is_that_of_the_system() -> None:
    assert isinstance(open_folder("."), PathFolder)  # by the patch of this module
