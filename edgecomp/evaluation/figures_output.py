"""Figures as files: SVG text for a page, PNG bytes. The same figure gives the same bytes."""

from __future__ import annotations

import hashlib
import io
import re
from typing import TYPE_CHECKING, Final

from edgecomp.evaluation.figures_style import drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PROLOG: Final = re.compile(r"\A.*?(?=<svg\b)", re.DOTALL)
_METADATA: Final = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)
_COMMENT: Final = re.compile(r"\s*<!--.*?-->", re.DOTALL)
# What matplotlib says of all elements would be said of the whole page; the root hands it down too.
_STYLE: Final = re.compile(r'\s*<defs>\s*<style type="text/css">\*\{([^}]*)\}</style>\s*</defs>')
_ID: Final = re.compile(r'\sid="([^"]*)"')
_USE: Final = re.compile(r'(?<=url\(#)[^)]+(?=\))|(?<=href="#)[^"]+(?=")')


def svg(figure: Figure) -> str:
    """The figure as one ``<svg>`` element, text as text, ready to stand in a page.

    Without prolog, metadata and comments. Names that nothing refers to are dropped, and the others
    begin with a hash of the figure, so that several figures can stand in one page.
    """
    stream = io.StringIO()
    with drawing():
        figure.savefig(stream, format="svg")
    text = _COMMENT.sub("", _METADATA.sub("", _PROLOG.sub("", stream.getvalue())))
    style = _STYLE.search(text)
    if style:
        text = _STYLE.sub("", text, count=1).replace("<svg ", f'<svg style="{style[1]}" ', 1)
    used = set(_USE.findall(text))
    prefix = "f" + hashlib.sha256(text.encode()).hexdigest()[:10] + "-"
    text = _ID.sub(
        lambda found: f' id="{prefix}{found[1]}"' if found[1] in used else "",
        text,
    )
    return _USE.sub(lambda found: prefix + found[0], text)


def png(figure: Figure, dpi: float = 160) -> bytes:
    """The figure as a PNG file of ``dpi`` pixels an inch (the figures are 10 inches wide)."""
    stream = io.BytesIO()
    with drawing():
        figure.savefig(stream, format="png", dpi=dpi, metadata={"Software": None})
    return stream.getvalue()
