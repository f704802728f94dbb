"""Sources to lists of files."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgecomp import scan as scan_module
from edgecomp.errors import SourceError, UsageError
from edgecomp.scan import Scan, scan


def tree(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(name.encode())
    return root


def found(result: Scan) -> list[str]:
    return [entry.source + "/" * (entry.kind == "folder") for entry in result.entries]


def reasons(result: Scan) -> dict[str, str]:
    return {os.path.basename(note.path): note.reason for note in result.skipped}


def test_one_folder_is_the_root(tmp_path: Path) -> None:
    tree(tmp_path / "in", "b.png", "a/x y.jpg", "a/写真.png", "c/d/", "a/z/q")
    result = scan([str(tmp_path / "in") + "/"])
    assert found(result) == ["a/x y.jpg", "a/z/q", "a/写真.png", "b.png", "c/d/"]
    assert result.skipped == ()
    entry = result.entries[0]
    status = os.stat(entry.path)
    assert (entry.size, entry.mtime_ns) == (status.st_size, status.st_mtime_ns)


def test_several_sources_keep_their_names(tmp_path: Path) -> None:
    tree(tmp_path, "one/a", "two/a", "three.png")
    sources = [str(tmp_path / name) for name in ("three.png", "one/", "two")]
    assert found(scan(sources)) == ["one/a", "three.png", "two/a"]
    assert found(scan(sources[:1])) == ["three.png"]


def test_the_name_of_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path / "here", "a", "sub/b")
    monkeypatch.chdir(tmp_path / "here" / "sub")
    assert found(scan([".", ".."])) == ["here/a", "here/sub/b", "sub/b"]
    assert found(scan(["."])) == ["b"]


def test_two_of_one_name(tmp_path: Path) -> None:
    tree(tmp_path, "one/a", "two/a", "x/y/one", "z/one/a")
    with pytest.raises(UsageError) as caught:
        scan([str(tmp_path / "one/a"), str(tmp_path / "two/a")])
    assert str(tmp_path / "one/a") in str(caught.value)
    assert str(tmp_path / "two/a") in str(caught.value)
    with pytest.raises(UsageError):
        scan([str(tmp_path / "one"), str(tmp_path / "z/one")])
    with pytest.raises(UsageError):
        scan([str(tmp_path / "x/y/one"), str(tmp_path / "one")])


def test_a_missing_source(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nothing-here: no such file or folder"):
        scan([str(tmp_path / "nothing-here")])
    with pytest.raises(SourceError, match="nothing"):
        scan([str(tree(tmp_path, "a") / "a" / "nothing")])


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        ([], [], ["a.jpg", "e/", "s/b.jpg", "s/c.png", "t/s/d.jpg"]),
        (["*.jpg"], [], ["a.jpg", "s/b.jpg", "t/s/d.jpg"]),
        (["s/*"], [], ["s/b.jpg", "s/c.png"]),
        (["b.*", "c.*"], ["*.png"], ["s/b.jpg"]),
        ([], ["s"], ["a.jpg", "e/"]),
        ([], ["t/s/", "e"], ["a.jpg", "s/b.jpg", "s/c.png"]),
        ([], ["*"], []),
    ],
)
def test_choosing(
    tmp_path: Path, include: list[str], exclude: list[str], expected: list[str]
) -> None:
    tree(tmp_path, "a.jpg", "s/b.jpg", "s/c.png", "t/s/d.jpg", "e/")
    result = scan([str(tmp_path)], include=include, exclude=exclude)
    # Where all is left out of a folder, the folder is not empty, and not kept either.
    assert found(result) == expected


def test_what_is_no_file_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "real/a")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "loop").symlink_to(".")
    (tmp_path / "broken").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind("socket")
        result = scan(["."])
    assert found(result) == ["real/a"]
    link = "a symbolic link"
    assert reasons(result) == {
        "link": link, "loop": link, "broken": link, "pipe": "a named pipe", "socket": "a socket"
    }  # fmt: skip
    assert reasons(scan([str(tmp_path / "pipe")])) == {"pipe": "a named pipe"}


def test_a_link_that_the_user_names_is_followed(tmp_path: Path) -> None:
    tree(tmp_path, "real/a")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "file").symlink_to("real/a")
    assert found(scan([str(tmp_path / "link")])) == ["a"]
    result = scan([str(tmp_path / "link"), str(tmp_path / "file")])
    assert found(result) == ["file", "link/a"]
    assert result.entries[0].below == ""


def test_names_that_cannot_be_kept(tmp_path: Path) -> None:
    tree(tmp_path, "good", "back\\slash", "aux.txt", "bad. /x")
    os.mkdir(os.fsencode(tmp_path) + b"/\xff\xfe")
    result = scan([str(tmp_path)])
    assert found(result) == ["good"]
    skipped = reasons(result)
    assert skipped["\\xff\\xfe"] == "its name is not valid Unicode"
    assert skipped["aux.txt"].endswith("device on Windows")
    assert len(skipped) == 4
    for note in result.skipped:
        note.path.encode()


def test_a_very_deep_tree(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(400):
        os.mkdir("deep" * 3, dir_fd=here)
        below = os.open("deep" * 3, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    tree(tmp_path, "a")
    result = scan([str(tmp_path)])
    assert found(result) == ["a"]
    assert len(result.skipped) == 1


def test_folders_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "good/a", "closed/b")
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(scan_module.os, "scandir", scandir)
    result = scan([str(tmp_path)])
    assert found(result) == ["good/a"]
    assert reasons(result) == {"closed": "cannot be read: Permission denied"}
    with pytest.raises(SourceError, match="closed: cannot be read: Permission denied"):
        scan([str(tmp_path / "closed")])


def test_the_output_and_unfinished_outputs_stay_out(tmp_path: Path) -> None:
    tree(tmp_path, "a", "out.ecz", "out.ecz.partial-77-0123abcd", "b.partial-x", "other.ecz")
    os.link(tmp_path / "out.ecz", tmp_path / "same.ecz")
    result = scan([str(tmp_path)], output=tmp_path / "x" / ".." / "out.ecz")
    assert found(result) == ["a", "b.partial-x", "other.ecz", "same.ecz"]
    assert found(scan([str(tmp_path)], output=tmp_path / "out.ecz")) == [
        "a",
        "b.partial-x",
        "other.ecz",
    ]


def test_a_listing_without_numbers_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of Windows has none: then files are asked one by one, and the output is known all the
    same by another name that it has."""
    tree(tmp_path, "in/a", "in/b")
    os.link(tmp_path / "in" / "a", tmp_path / "out.ecz")
    assert found(scan([str(tmp_path / "in")], output=tmp_path / "out.ecz")) == ["b"]

    class Listed:
        """An entry of such a listing, with the size of some time ago."""

        def __init__(self, entry: os.DirEntry[str]) -> None:
            self.name, self.path = entry.name, entry.path

        def stat(self, *, follow_symlinks: bool) -> os.stat_result:
            values = list(os.lstat(self.path))
            values[stat.ST_INO], values[stat.ST_SIZE] = 0, 99
            return os.stat_result(values)

    @contextlib.contextmanager
    def listing(path: str) -> Iterator[list[Listed]]:
        with real(path) as entries:
            yield [Listed(entry) for entry in entries]

    real = os.scandir
    monkeypatch.setattr(scan_module, "_check_readable", lambda _: None)
    monkeypatch.setattr(os, "scandir", listing)
    result = scan([str(tmp_path / "in")], output=tmp_path / "out.ecz")
    assert [(entry.source, entry.size) for entry in result.entries] == [("b", 4)]


def test_junctions_are_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A junction of Windows is a folder, but for its tag."""
    tree(tmp_path / "in", "a", "junction/b")

    def status(item: os.DirEntry[str]) -> Any:
        found = item.stat(follow_symlinks=False)
        tag = 0xA0000003 if item.name == "junction" else 0
        return types.SimpleNamespace(
            st_reparse_tag=tag, **{n: getattr(found, n) for n in dir(found) if n.startswith("st_")}
        )

    monkeypatch.setattr(scan_module, "_status_of", status)
    result = scan([str(tmp_path / "in")])
    assert found(result) == ["a"]
    assert reasons(result) == {"junction": "a symbolic link"}
