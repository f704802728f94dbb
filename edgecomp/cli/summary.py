"""How `compress` and `decompress` end: one line for people, or the JSON document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from edgecomp.cli.printing import Console, human_bytes, human_seconds, plural


class Summary(Protocol):
    """What the summaries of both jobs have."""

    @property
    def images(self) -> int: ...
    @property
    def files(self) -> int: ...
    @property
    def bytes_in(self) -> int: ...
    @property
    def bytes_out(self) -> int: ...
    @property
    def pixels(self) -> int: ...
    @property
    def seconds(self) -> float: ...
    @property
    def exit_code(self) -> int: ...
    def to_json(self) -> Mapping[str, Any]: ...


def finish(summary: Summary, console: Console, text: str) -> None:
    """Print the JSON document if it was asked for, else `text`."""
    if console.json:
        console.document({**summary.to_json(), "exit_code": int(summary.exit_code)})
    else:
        console.line(text)


def contents(summary: Summary) -> str:
    """``24 pictures and 1 other file, 15.1 MB in``."""
    others = summary.files - summary.images
    text = plural(summary.images, "picture")
    if others > 0:
        text += f" and {plural(others, 'other file')}"
    return f"{text}, {human_bytes(summary.bytes_in)} in"


def figures(summary: Summary, bits_per_pixel: float | None) -> str:
    """``24 pictures, 15.1 MB in, 1.20 MB out, 0.412 bits per pixel, 5.3 s``."""
    parts = [contents(summary), f"{human_bytes(summary.bytes_out)} out"]
    if bits_per_pixel is not None:
        parts.append(f"{bits_per_pixel:.3f} bits per pixel")
    parts.append(human_seconds(summary.seconds))
    return ", ".join(parts)
