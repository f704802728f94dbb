"""Names: which are safe, what members are called, and under what names pictures come back.

Two names *meet* when a file system may take them for one: they are compared with case folded and
in Unicode's composed form.
"""

from __future__ import annotations

import itertools
import os
import posixpath
import re
import sys
import unicodedata
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edgecomp.constants import CODESTREAM_SUFFIX
from edgecomp.errors import CorruptDataError
from edgecomp.windows_names import windows_name

if TYPE_CHECKING:
    from edgecomp.archive import Member

MAX_COMPONENT_BYTES: Final = 255
MAX_PATH_BYTES: Final = 4096
MAX_SUFFIX_BYTES: Final = 127
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_DEVICES: Final = frozenset(
    ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"]
    + [port + digit for port in ("COM", "LPT") for digit in "0123456789¹²³"]
)
_ON_WINDOWS: Final = sys.platform == "win32"
_NUMBERED: Final = re.compile(r"(.+)\.(?:[2-9]|[1-9][0-9]+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Note:
    """Something that the user should know about one path.

    Attributes:
        path: as shown to the user, always printable.
        reason: why, in words.
    """

    path: str
    reason: str


def printable(path: str) -> str:
    """The path with bytes that are no valid UTF-8 shown as ``\\xNN``, fit for any output."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def unsafe_reason(name: str) -> str | None:
    """Why the relative path cannot be in an archive, or None if it can.

    Names that one common system would refuse, or would take for something else than a file below
    the output folder, are refused on every system, so that an archive restores everywhere.
    """
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return "its name is not valid Unicode"
    if not name:
        return "its name is empty"
    if _CONTROL.search(name):
        return "its name has a control character"
    if "\\" in name:
        return "its name has a backslash"
    if len(encoded) > MAX_PATH_BYTES:
        return f"its path is longer than {MAX_PATH_BYTES} bytes"
    if name.startswith("/"):
        return "its path is absolute"
    for component in name.split("/"):
        reason = _unsafe_component(component)
        if reason is not None:
            return reason
    return None


def _unsafe_component(component: str) -> str | None:
    if not component:
        return "its path has an empty component"
    if component in (".", ".."):
        return f'its path has the component "{component}"'
    if _DRIVE.match(component):
        return "its name starts with a drive letter"
    if component[-1] in ". ":
        return "its name ends with a dot or a space"
    if component.split(".")[0].rstrip().upper() in _DEVICES:
        return "its name is that of a device on Windows"
    if len(component.encode()) > MAX_COMPONENT_BYTES:
        return f"its name is longer than {MAX_COMPONENT_BYTES} bytes"
    return None


def safe_relative_path(name: str) -> str:
    """The name itself, if a file may be restored under it.

    Raises:
        CorruptDataError: absolute, leads out of the folder, or is unsafe on some system.
    """
    reason = unsafe_reason(name)
    if reason is not None:
        raise CorruptDataError(f"unsafe name: {reason}", path=printable(name))
    return name


def meeting_key(path: str) -> str:
    """Equal for paths that meet (the module's description says when)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())


def path_hashes(path: str) -> list[int]:
    """A 64-bit hash of each folder above a path, from the top, and last of the path itself.

    They differ from process to process, and for two paths with a probability of 1 - 2^-64.
    """
    hashes = [0]
    for component in path.split("/"):
        hashes.append(hash((hashes[-1], component)))
    return hashes[1:]


def name_check(source: str) -> int:
    """The CRC32 that binds a codestream to its source's path."""
    return zlib.crc32(source.encode())


def split_suffix(path: str) -> tuple[str, str]:
    """The path less its final suffix, and the suffix (".jpg"; "" where there is none)."""
    return posixpath.splitext(path)


def partial_name(path: str) -> str:
    """The name of what could be saved of a damaged picture: "a.partial.png" of "a.png"."""
    return _fitting(split_suffix(path)[0], ".partial" + split_suffix(path)[1])


class Taken:
    """A set of paths in which those that meet are the same, with all the folders above them."""

    def __init__(self, paths: Iterable[str] = ()) -> None:
        # Hashes of paths: all folders above a deep path would take the square of its length.
        self._keys: set[int] = set()
        for path in paths:
            self.add(path)

    def add(self, path: str) -> None:
        """Take the path."""
        self._keys.update(path_hashes(meeting_key(path)))

    def __contains__(self, path: str) -> bool:
        return path_hashes(meeting_key(path))[-1] in self._keys


def member_names(sources: Sequence[str], taken: Taken) -> dict[str, tuple[str, str]]:
    """Names in the archive for pictures.

    ``holiday/a.jpg`` becomes ``holiday/a.edge`` where that is free, else ``holiday/a.jpg.edge``,
    else ``holiday/a.jpg.2.edge`` and so on.

    Args:
        sources: source paths of the pictures, in the order of the archive.
        taken: names that are not free; those given here are added.

    Returns:
        For each source the member's name and the suffix that its codestream's origin states.
    """
    names: dict[str, tuple[str, str]] = {}
    for source in sources:
        for name, suffix in _member_candidates(source):
            if name not in taken:
                taken.add(name)
                names[source] = name, suffix
                break
    return names


def _member_candidates(source: str) -> Iterator[tuple[str, str]]:
    stem, suffix = split_suffix(source)
    if len(suffix.encode()) <= MAX_SUFFIX_BYTES:
        yield stem + CODESTREAM_SUFFIX, suffix
    yield source + CODESTREAM_SUFFIX, ""
    number = 2
    while True:
        yield f"{source}.{number}{CODESTREAM_SUFFIX}", ""
        number += 1


def source_of(member_name: str, suffix: str, check: int) -> str:
    """The source's path of a picture, from its member's name and its codestream's origin.

    Raises:
        CorruptDataError: the name check says that the name is not the one that was written.
    """
    if member_name.endswith(CODESTREAM_SUFFIX):
        stem = member_name[: -len(CODESTREAM_SUFFIX)]
        candidates = [stem + suffix]
        numbered = _NUMBERED.fullmatch(stem)
        if numbered and not suffix:
            candidates.append(numbered[1])
        for candidate in candidates:
            if name_check(candidate) == check:
                return safe_relative_path(candidate)
    raise CorruptDataError("its name is damaged (name check)", path=printable(member_name))


def restored_names(members: Sequence[Member], format_suffix: str) -> dict[Member, str]:
    """The path under which each member comes back.

    Files kept as they are keep exactly their names. Pictures get ``format_suffix`` instead of
    their own: first those that had it already, then the others in order; where a name is not
    free, ``a.jpg`` comes back as ``a.jpg.png``, then as ``a.jpg.2.png`` and so on.

    On Windows whatever it cannot hold gets another name, after all that keep theirs: ``12:30.txt``
    becomes ``12_30.txt``, or ``12_30.2.txt`` where that is not free.

    Args:
        members: all members of the archive, in its order; those without a source are left out.
        format_suffix: suffix of the restored pictures (".png").
    """
    names: dict[Member, str] = {}
    pictures: list[tuple[Member, str]] = []
    others: list[Member] = []
    taken = Taken()
    for member in members:
        if member.source is None:
            continue
        if is_renamed(member.source):
            others.append(member)
            folder = _kept_folder(member.source)
            if folder:
                taken.add(folder)
        elif member.kind == "picture":
            pictures.append((member, member.source))
            folder = posixpath.dirname(member.source)
            if folder:
                taken.add(folder)
        else:
            names[member] = member.source
            taken.add(member.source)
    pictures.sort(key=lambda picture: split_suffix(picture[1])[1] != format_suffix)
    numbered = Numbered(taken)
    for member, source in pictures:
        first = (_fitting(split_suffix(source)[0], format_suffix), _fitting(source, format_suffix))
        names[member] = numbered.take(first, source, format_suffix)
    names.update(_names_on_windows(others, numbered, taken, format_suffix))
    return names


def is_renamed(source: str) -> bool:
    """Whether something of that path has to get another name where it is restored."""
    return _ON_WINDOWS and any(windows_name(name) != name for name in source.split("/"))


def _kept_folder(path: str) -> str:
    """Of the folders above something that is renamed, those that keep their names."""
    names = path.split("/")[:-1]
    kept = itertools.takewhile(lambda name: windows_name(name) == name, names)
    return "/".join(kept)


def _names_on_windows(
    members: Sequence[Member], numbered: Numbered, taken: Taken, format_suffix: str
) -> dict[Member, str]:
    """Where members come back that are renamed, or are in folders that are.

    A folder that is renamed never becomes one with another. So names are given from the top down,
    and in each folder first to those who keep theirs.

    Args:
        members: in the order of the archive.
        numbered: gives names that are free; it draws on ``taken``.
    """
    things: dict[tuple[str, Member | None], tuple[int, bool, int]] = {}
    for member in members:
        assert member.source is not None
        folders = _folders_above(member.source)
        if member.kind == "folder":
            folders.append(member.source)
        else:
            things[member.source, member] = _turn(
                member.source, 2 if member.kind == "picture" else 1
            )
        things.update({(folder, None): _turn(folder, 0) for folder in folders})
    names: dict[Member, str] = {}
    places = {"": ""}
    for path, thing in sorted(things, key=lambda key: things[key]):
        above, _, base = path.rpartition("/")
        place = _joined(places[above], windows_name(base))
        stem, suffix = split_suffix(place)
        if thing is None:
            kept = windows_name(base) == base
            places[path] = place if kept else numbered.take((place,), place, "")
            taken.add(places[path])
        elif thing.kind == "picture":
            first = (_fitting(stem, format_suffix), _fitting(place, format_suffix))
            names[thing] = numbered.take(first, place, format_suffix)
        else:
            names[thing] = numbered.take((place,), stem, suffix)
    names.update({m: places[m.source] for m in members if m.kind == "folder" and m.source})
    return names


def _turn(path: str, kind: int) -> tuple[int, bool, int]:
    """When a path is given its name: by its depth, whether it is renamed, and a number."""
    base = path.rpartition("/")[2]
    return path.count("/"), windows_name(base) != base, kind


def _folders_above(path: str) -> list[str]:
    """The folders above a path, from the top."""
    return [path[:at] for at, char in enumerate(path) if char == "/"]


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


class Numbered:
    """Gives names that are free, with a number where nothing else is.

    Args:
        taken: names that are not free; those given are added.
    """

    def __init__(self, taken: Taken) -> None:
        self._taken = taken
        # Of long names that are cut alike, the numbers before these have been tried.
        self._next: dict[str, int] = {}

    def take(self, first: Sequence[str], stem: str, suffix: str, mark: str = "") -> str:
        """The first that is free of some names, then of ``stem + mark + ".2" + suffix`` ..."""
        for name in first:
            if name not in self._taken:
                break
        else:
            key = _fitting(stem, f"{mark}.2{suffix}")
            number = self._next.get(key, 2)
            while (name := _fitting(stem, f"{mark}.{number}{suffix}")) in self._taken:
                number += 1
            self._next[key] = number + 1
        self._taken.add(name)
        return name

    def take_partial(self, name: str) -> str:
        """``a.partial.png``, else ``a.partial.2.png`` and so on, of ``a.png``: for what could be
        saved of a damaged picture."""
        stem, suffix = split_suffix(name)
        return self.take((partial_name(name),), stem, suffix, ".partial")


def _fitting(stem: str, suffix: str) -> str:
    """``stem + suffix``, the stem's last component cut so that the name is not too long."""
    folder, slash, base = stem.rpartition("/")
    room = MAX_COMPONENT_BYTES - len(suffix.encode())
    return folder + slash + base.encode()[:room].decode("utf-8", "ignore") + suffix
