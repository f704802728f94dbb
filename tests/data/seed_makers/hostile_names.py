"""Archives with names that must not be restored, each between two good files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from seed_makers.seed import Seed
from seed_makers.structure import AROUND, FIRST, LAST, damaged
from seed_makers.zip_by_hand import kept, lay_out

# Where absolute names lead; nothing else makes such a file.
OUTSIDE = "/tmp/edgecomp-evil"

_OUT = ["../evil", "..", "a/..", "a/../../evil", "./evil", "a/./evil", "." , ".../evil",
        "../" * 40 + "tmp/edgecomp-evil", "a/b/c/../../../../evil"]  # fmt: skip
_ABSOLUTE = [OUTSIDE, "/" + OUTSIDE, "/../evil", "//server/share/evil", "a//evil", "/evil/"]
_DRIVES = ["C:/evil", "C:evil", "c:\\evil", "a/C:/evil", "Z:", "\\\\server\\share\\evil",
           "\\\\?\\C:\\evil", "\\\\.\\pipe\\evil"]  # fmt: skip
_BACKSLASHES = ["..\\evil", "a\\..\\..\\evil", "\\evil", "a\\b", "a/..\\..\\evil"]
_DEVICES = ["CON", "con.txt", "PRN", "AUX.h", "NUL", "nul.tar.gz", "COM1", "com9.txt", "LPT1",
            "COM¹", "CONIN$", "CONOUT$.txt", "a/NUL/b", "NUL .txt", "Aux"]  # fmt: skip
_ENDINGS = ["evil.", "evil ", "evil./b", "evil /b", "...", "evil. . ."]
_CONTROLS = ["evil\0.txt", "\0", "evil\n.txt", "\x1b[2Jevil", "evil\x7f", "evil\x85.txt", "\tevil"]
_TOO_LONG = ["x" * 256, "y" * 300, "ω" * 128, "a/" + "z" * 300 + "/b"]
_NO_UNICODE = [b"\xff\xfe", b"\xc0\xae\xc0\xae/evil", b"evil\xed\xa0\x80", b"a\xe2\x28\xa1",
               b"\xf8\x88\x80\x80\x80", b"evil\xc3"]  # fmt: skip


def seeds() -> Iterator[Seed]:
    """All of them."""
    for name, about, names, says in (
        ("lead-out", "names with dots that lead out of the folder", _OUT, "component"),
        ("absolute", "absolute names, and those with empty components", _ABSOLUTE, "unsafe name"),
        (
            "drives",
            "names with drive letters and servers, as Windows has them",
            _DRIVES,
            "unsafe name",
        ),
        ("backslashes", "names with backslashes", _BACKSLASHES, "backslash"),
        ("devices", "names of devices on Windows", _DEVICES, "device"),
        ("endings", "names that end with dots and spaces", _ENDINGS, "ends with"),
        ("controls", "names with control characters", _CONTROLS, "control character"),
        ("too-long", "components of more than 255 bytes", _TOO_LONG, "longer than 255 bytes"),
    ):
        yield _seed(name, about, [text.encode() for text in names], says)
    yield _seed("no-unicode", "names that are no UTF-8", _NO_UNICODE, "UTF-8")
    path = "/".join(["p" * 240] * 17) + "p"
    yield _seed("path-too-long", "a path of 4097 bytes", [path.encode()], "4096 bytes")


def _seed(name: str, about: str, names: Sequence[bytes], says: str) -> Seed:
    parts = [FIRST, *(kept(encoded, b"evil") for encoded in names), LAST]
    lost = tuple(
        os.fsdecode(n).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        for n in names
    )
    return damaged(f"names-{name}", lay_out(parts).data(), about, AROUND, lost=lost, says=says)
