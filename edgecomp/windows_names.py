"""What Windows makes of names and paths. Nothing here asks the system: it is the same anywhere."""

from __future__ import annotations

import ntpath
import re
from typing import Final

# Archives hold no control characters, backslashes, names of devices, nor dots and spaces at the end
# of names (`names.unsafe_reason`): these are what is left of what Windows refuses.
_REFUSED: Final = re.compile(r'[<>:"|?*]')
_INSTEAD: Final = "_"
_EXTENDED: Final = "\\\\?\\"
# Of 260 characters a folder's path leaves room for a short name and an end.
_LONGEST_PLAIN: Final = 240


def windows_name(name: str) -> str:
    """One component as Windows can hold it: what it refuses is an underscore."""
    return _REFUSED.sub(_INSTEAD, name)


def long_path(path: str) -> str:
    """An absolute path in the form in which Windows takes more than 260 characters, if it is long.

    In this form slashes are no separators and nothing is left out, so the path is made plain first.
    """
    plain = ntpath.normpath(path)
    if len(plain) <= _LONGEST_PLAIN or plain.startswith(("\\\\?\\", "\\\\.\\")):
        return path
    if plain.startswith("\\\\"):
        return f"{_EXTENDED}UNC\\{plain[2:]}"
    return _EXTENDED + plain
