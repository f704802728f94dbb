"""Names: safety, members, restored names."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecomp import names as names_module
from edgecomp.archive import Member
from edgecomp.errors import CorruptDataError
from edgecomp.names import (
    Taken,
    meeting_key,
    member_names,
    name_check,
    printable,
    restored_names,
    safe_relative_path,
    source_of,
    unsafe_reason,
)
from edgecomp.windows_names import windows_name

HOSTILE = [
    "",
    "/",
    "/etc/passwd",
    "//server/share",
    "..",
    ".",
    "../a",
    "a/../b",
    "a/..",
    "a/./b",
    "a//b",
    "a/",
    "\\a",
    "..\\a",
    "a\\b",
    "C:",
    "C:a",
    "c:/a",
    "x/C:y",
    "a\0b",
    "a\nb",
    "a\x1bb",
    "a\x7fb",
    "a\x85b",
    "CON",
    "con.png",
    "x/NUL",
    "nul .txt",
    "aux.tar.gz",
    "COM1",
    "lpt9.jpg",
    "COM¹.png",
    "CONIN$",
    "a.",
    "a ",
    "a./b",
    "a /b",
    "...",
    "x" * 256,
    "ä" * 128,
    "/".join(["d" * 200] * 30),
    "\udc80",
    "a\udcffb",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_refuses_what_no_file_may_be_called(name: str) -> None:
    assert unsafe_reason(name) is not None
    with pytest.raises(CorruptDataError, match="unsafe name"):
        safe_relative_path(name)


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "a.png",
        ".hidden",
        "..a",
        "a b/c d.jpg",
        "12:30.jpg",
        "Ünïcödé/写真/صورة.png",
        "😀.webp",
        "console.png",
        "com10.png",
        "x" * 255,
        "e\u0301.png",
        "a\u200fb",
    ],
)
def test_allows_other_names(name: str) -> None:
    assert safe_relative_path(name) == name


def test_shows_names_that_are_no_unicode() -> None:
    assert printable("a\udcff") == "a\\xff"
    assert printable("é") == "é"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("A.png", "a.PNG"),
        ("é", "e\u0301"),
        ("É", "e\u0301"),
        ("straße", "STRASSE"),
        ("Å", "\u212b"),
    ],
)
def test_names_that_meet(first: str, second: str) -> None:
    assert meeting_key(first) == meeting_key(second)


def test_a_taken_path_takes_its_folders() -> None:
    taken = Taken(["a/b/c.png", "a/b/d.png"])
    assert "A" in taken
    assert "a/B" in taken
    assert "a/b/c" not in taken


def test_member_names_prefer_short_ones() -> None:
    sources = ["a.jpg", "a.png", "b/a.tif", "c.edge/x.png", "c.jpg", "noext"]
    names = member_names(sources, Taken(sources))
    assert names == {
        "a.jpg": ("a.edge", ".jpg"),
        "a.png": ("a.png.edge", ""),
        "b/a.tif": ("b/a.edge", ".tif"),
        "c.edge/x.png": ("c.edge/x.edge", ".png"),
        "c.jpg": ("c.jpg.edge", ""),
        "noext": ("noext.edge", ""),
    }


def test_member_names_count_when_all_else_is_taken() -> None:
    sources = ["a.JPG", "a.edge", "a.jpg", "a.jpg.edge"]
    names = member_names(["a.JPG", "a.jpg"], Taken(sources))
    assert names["a.JPG"] == ("a.JPG.2.edge", "")
    assert names["a.jpg"] == ("a.jpg.3.edge", "")


def test_a_long_suffix_stays_in_the_name() -> None:
    source = "a." + "x" * 130
    assert member_names([source], Taken()) == {source: (source + ".edge", "")}


# Characters that make names meet, look numbered, or look like suffixes.
paths = st.lists(
    st.text(st.sampled_from("aAéE2.\u0301 -jpgedge"), min_size=1, max_size=9).filter(
        lambda part: unsafe_reason(part) is None
    ),
    min_size=1,
    max_size=3,
).map("/".join)


@given(st.lists(paths, unique=True, max_size=12))
def test_sources_come_back_from_member_names(sources: list[str]) -> None:
    names = member_names(sources, Taken(sources))
    keys = [meeting_key(name) for name, _ in names.values()]
    assert len(set(keys)) == len(sources)
    for source, (name, suffix) in names.items():
        assert source_of(name, suffix, name_check(source)) == source


@given(st.text(min_size=1, max_size=20), st.integers(0, 159))
def test_a_flipped_bit_in_a_name_shows(stem: str, bit: int) -> None:
    source = stem.replace("/", "_") + ".jpg"
    if unsafe_reason(source):
        return
    check = name_check(source)
    name = bytearray((source[:-4] + ".edge").encode())
    name[bit // 8 % len(name)] ^= 1 << bit % 8
    try:
        damaged = name.decode()
    except UnicodeDecodeError:
        return
    with pytest.raises(CorruptDataError):
        source_of(damaged, ".jpg", check)


def member(source: str | None, kind: str = "picture", index: int = 0) -> Member:
    return Member(
        name=source or "?",
        source=source,
        kind=kind,  # type: ignore[arg-type]
        size=0,
        original_size=0,
        overhead=0,
        mtime_ns=0,
        heading=None,
        problem=None,
        index=index,
    )


def restore(*sources: tuple[str, str] | str, suffix: str = ".png") -> dict[str, str]:
    members = [
        member(s, index=i) if isinstance(s, str) else member(*s, index=i)
        for i, s in enumerate(sources)
    ]
    names = restored_names(members, suffix)
    return {m.source: names[m] for m in members if m.source is not None}


def test_pictures_come_back_with_the_new_suffix() -> None:
    assert restore("a.jpg", "b/c.tif", "noext") == {
        "a.jpg": "a.png",
        "b/c.tif": "b/c.png",
        "noext": "noext.png",
    }


def test_files_keep_their_names_and_come_first() -> None:
    assert restore("a.jpg", ("a.png", "file"), ("a.PNG", "verbatim-picture")) == {
        "a.jpg": "a.jpg.png",
        "a.png": "a.png",
        "a.PNG": "a.PNG",
    }


def test_a_picture_that_has_the_suffix_keeps_its_name() -> None:
    assert restore("a.jpg", "a.png", "a.tif") == {
        "a.jpg": "a.jpg.png",
        "a.png": "a.png",
        "a.tif": "a.tif.png",
    }


def test_counting_when_all_else_is_taken() -> None:
    names = restore("a.jpg", ("a.png", "file"), ("a.jpg.png", "file"), ("a.jpg.2.png", "folder"))
    assert names["a.jpg"] == "a.jpg.3.png"


def test_a_folder_is_in_the_way_too() -> None:
    assert restore("a.jpg", ("a.png/x", "file"))["a.jpg"] == "a.jpg.png"


def test_members_without_a_source_are_left_out() -> None:
    assert restored_names([member(None)], ".png") == {}


def test_a_name_that_would_be_too_long_is_cut() -> None:
    name = restore("ü" * 125 + ".jpg", suffix=".tiff")["ü" * 125 + ".jpg"]
    assert len(name.encode()) <= 255
    assert name.endswith(".tiff")


@given(st.lists(st.tuples(paths, st.sampled_from(["picture", "file"])), max_size=12))
def test_no_two_come_back_under_one_name(things: list[tuple[str, str]]) -> None:
    distinct = {source: kind for source, kind in things}
    members = [member(s, k, i) for i, (s, k) in enumerate(distinct.items())]
    names = restored_names(members, ".png")
    assert len(names) == len(members)
    for one, other in itertools.combinations(members, 2):
        if one.kind == other.kind == "file":
            assert names[one] != names[other]
        else:
            assert meeting_key(names[one]) != meeting_key(names[other])


# What Windows cannot hold.


def on_windows(*things: str | tuple[str, str]) -> dict[str, str]:
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(names_module, "_ON_WINDOWS", True)
        return restore(*things)


def test_names_that_windows_refuses_become_others() -> None:
    assert on_windows("12:30.jpg", ("what?.txt", "file"), ('a"b', "folder"), "plain.jpg") == {
        "12:30.jpg": "12_30.png",
        "what?.txt": "what_.txt",
        'a"b': "a_b",
        "plain.jpg": "plain.png",
    }
    assert restore("12:30.jpg") == {"12:30.jpg": "12:30.png"}


def test_names_that_windows_has_are_kept_by_whom_they_belong_to() -> None:
    assert on_windows(
        ("a:b.txt", "file"), ("a<b.txt", "file"), ("A_B.txt", "file"), "c|d.jpg", "c_d.tif"
    ) == {
        "A_B.txt": "A_B.txt",
        "a:b.txt": "a_b.2.txt",
        "a<b.txt": "a_b.3.txt",
        "c_d.tif": "c_d.png",
        "c|d.jpg": "c_d.jpg.png",
    }


def test_folders_are_not_merged() -> None:
    assert on_windows(
        ("x:y/same", "file"), ("x_y/same", "file"), ("x:y/z?/a", "file"), ("x*y", "folder"),
        "x:y/b.jpg", ("f_g", "file"), ("f:g/a", "file"),
    ) == {
        "x_y/same": "x_y/same",
        "x:y/same": "x_y.2/same",
        "x:y/z?/a": "x_y.2/z_/a",
        "x:y/b.jpg": "x_y.2/b.png",
        "x*y": "x_y.3",
        "f_g": "f_g",
        "f:g/a": "f_g.2/a",
    }  # fmt: skip


awkward = st.lists(st.text("aA:_?", min_size=1, max_size=2), min_size=1, max_size=3).map("/".join)


@given(st.lists(st.tuples(awkward, st.sampled_from(["picture", "file"])), max_size=12))
def test_what_is_renamed_meets_nothing(things: list[tuple[str, str]]) -> None:
    distinct: dict[str, str] = {}
    for source, kind in things:
        # A file is no folder, here or in other letters.
        key = meeting_key(source)
        clash = any(
            known.startswith(key + "/") or key.startswith(known + "/")
            for known in map(meeting_key, distinct)
        )
        if unsafe_reason(source) is None and not clash:
            distinct[source] = kind
    members = [member(s, k, i) for i, (s, k) in enumerate(distinct.items())]
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(names_module, "_ON_WINDOWS", True)
        names = restored_names(members, ".png")
    assert len(names) == len(members)
    for one, other in itertools.permutations(members, 2):
        if windows_path(one.source) != one.source:
            mine, theirs = meeting_key(names[one]), meeting_key(names[other])
            assert mine != theirs
            assert not mine.startswith(theirs + "/")
            assert not theirs.startswith(mine + "/")
    for name in names.values():
        assert windows_path(name) == name
        assert unsafe_reason(name) is None


def windows_path(path: str | None) -> str:
    return "/".join(windows_name(name) for name in str(path).split("/"))
