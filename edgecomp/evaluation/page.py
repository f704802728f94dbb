"""The report as one HTML file that needs nothing else: figures, tables, and the pictures.

Everything is inside the file: style, script, figures as SVG, pictures as base64 in blocks that the
browser does not run and that the script reads only when a picture is looked at. The page's policy
lets it load nothing, and run and style itself only by what is written here (their hashes).
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, TextIO

from edgecomp.evaluation.table import Table

if TYPE_CHECKING:
    from edgecomp.evaluation.embed import Embedded
    from edgecomp.evaluation.page_pictures import PagePicture, Version
    from edgecomp.evaluation.results import Evaluation

_SCRIPTS: Final = ("viewer.js", "captions.js", "controls.js")
_PLACE: Final = re.compile(r"\{\{(\w+)\}\}")
# Not fit for HTML, or not to be seen in it.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def write_page(
    file: TextIO,
    evaluation: Evaluation,
    tables: Sequence[Table],
    figures: Mapping[str, str],
    pictures: Iterable[PagePicture],
) -> int:
    """Write the page, one picture after the other.

    Args:
        file: text, UTF-8, with "\\n" as it is: the hashes in the page's policy are over that.
        evaluation: what the page is about.
        tables: in their order.
        figures: SVG documents by their titles, in their order.
        pictures: those to show; looked at once, each let go when it is written.

    Returns:
        How many pictures there were.
    """
    style, script = _asset("page.css"), _script()
    shown = _Pictures(evaluation, pictures)
    contents: dict[str, Iterable[str]] = {
        "policy": [_policy(style, script)],
        "title": [_text(f"{evaluation.folder}: edgecomp evaluate")],
        "style": [style],
        "folder": [_text(evaluation.folder)],
        "summary": [_text(_summary(evaluation))],
        "navigation": _navigation(tables, figures),
        "pictures": shown.blocks(),
        "picture_notes": shown.notes(),
        "figures": _figures(figures),
        "tables": _tables(tables),
        "about": _about(evaluation),
        "script": [script],
    }
    for number, part in enumerate(_PLACE.split(_asset("page.html"))):
        if number % 2:
            file.writelines(contents[part])
        else:
            file.write(part)
    return shown.count


class _Pictures:
    """The pictures' blocks, and afterwards what is to be said of them."""

    def __init__(self, evaluation: Evaluation, pictures: Iterable[PagePicture]) -> None:
        self._evaluation = evaluation
        self._pictures = pictures
        self._png_bytes = {result.name: result.png_bytes for result in evaluation.pictures}
        self._through: set[str] = set()
        self._missing: dict[str, list[str]] = {}
        self.count = 0

    def blocks(self) -> Iterator[str]:
        """Of each picture one block that describes it and one for each file."""
        for picture in self._pictures:
            record = _record(picture, self._png_bytes.get(picture.name))
            yield (
                f'<script type="application/json" data-picture="{self.count}">'
                f"{_json(record)}</script>\n"
            )
            versions = [version.embedded for version in picture.versions]
            for place, embedded in enumerate([picture.original, *versions]):
                yield (
                    f'<script type="text/plain" id="file-{self.count}-{place}"'
                    f' data-mime="{_text(embedded.mime)}">{_base64(embedded)}</script>\n'
                )
                if embedded.through:
                    self._through.add(embedded.through)
            for reason in picture.missing:
                self._missing.setdefault(reason, []).append(picture.name)
            self.count += 1

    def notes(self) -> Iterator[str]:
        """For after the blocks."""
        every = len(self._evaluation.pictures)
        if not self.count:
            yield "<p>No pictures are shown.</p>"
            return
        if self.count < every:
            yield f"<p>{self.count} of the {every} pictures are shown, evenly chosen.</p>"
        yield (
            "<p>Peers are shown at the setting whose bytes for the picture come nearest to"
            " edgecomp's; their own files are in this page.</p>"
        )
        if self._through:
            yield (
                "<p>To keep this page small, originals and edgecomp's pictures are shown through"
                f" {_text(' or '.join(sorted(self._through)))}. Figures are those of the true"
                " pixels.</p>"
            )
        for reason, names in self._missing.items():
            who = f"<bdi>{_text(names[0])}</bdi> is" if len(names) == 1 else f"{len(names)} are"
            if len(names) == self.count:
                who = "All are"
            yield f"<p>{who} shown without {_text(reason)}</p>"


def _record(picture: PagePicture, png_bytes: int | None) -> dict[str, Any]:
    """What the script must know of a picture; numbers are written here, for people."""
    size = f"{picture.width} \N{MULTIPLICATION SIGN} {picture.height} pixels"
    groups = list(dict.fromkeys(version.group for version in picture.versions))
    targets = {version.group: version.bytes for version in picture.versions if version.own}
    return {
        "name": _clean(picture.name),
        "width": picture.width,
        "height": picture.height,
        "groups": [_clean(group) for group in groups],
        "thumbnail": f"data:{picture.thumbnail.mime};base64,{_base64(picture.thumbnail)}",
        "original": {
            "facts": size if png_bytes is None else f"{size} · {png_bytes:,} bytes as PNG",
            "through": picture.original.through,
        },
        "versions": [
            _version_record(version, targets.get(version.group)) for version in picture.versions
        ],
        "missing": [_clean(reason) for reason in picture.missing],
    }


def _version_record(version: Version, target: int | None) -> dict[str, Any]:
    figures = [
        f"{version.bytes:,} bytes",
        f"{version.bpp:.3f} bpp",
        "no MS-SSIM" if version.ms_ssim is None else f"MS-SSIM {version.ms_ssim:.4f}",
        _decibels(version.psnr),
    ]
    against = ""
    if target and not version.own:
        against = f"{100 * (version.bytes / target - 1):+.1f} %".replace("-", "\N{MINUS SIGN}")
    return {
        "key": _slug(f"{version.family}-{version.group}"),
        "family": _clean(version.family),
        "label": _clean(version.label),
        "group": _clean(version.group),
        "own": version.own,
        "facts": " · ".join(figures),
        "cells": [
            f"{version.bytes:,}",
            against,
            f"{version.bpp:.3f}",
            "\N{EN DASH}" if version.ms_ssim is None else f"{version.ms_ssim:.4f}",
            _decibels(version.psnr),
        ],
        "through": version.embedded.through,
    }


def _summary(evaluation: Evaluation) -> str:
    count = len(evaluation.pictures)
    cores = "one core" if evaluation.cores == 1 else f"{evaluation.cores} cores"
    return (
        f"{count} {'picture' if count == 1 else 'pictures'} · {evaluation.pixels / 1e6:.1f}"
        f" megapixels · {evaluation.png_bytes / 1e6:.1f} MB as PNG · measured on {cores}"
    )


def _navigation(tables: Sequence[Table], figures: Mapping[str, str]) -> Iterator[str]:
    parts = {"pictures": True, "figures": bool(figures), "tables": bool(tables), "about": True}
    for part, there in parts.items():
        if there:
            yield f'<a href="#{part}">{part.capitalize()}</a>'


def _figures(figures: Mapping[str, str]) -> Iterator[str]:
    """Figures as pictures of their own, so that their ids and styles meet nothing else's."""
    if not figures:
        return
    yield '<section id="figures" aria-labelledby="figures-title">'
    yield '<h2 id="figures-title">Figures</h2>'
    for title, svg in figures.items():
        data = base64.b64encode(svg.encode("utf-8", "replace")).decode("ascii")
        yield (
            f'<figure class="card"><figcaption>{_text(title)}</figcaption>'
            f'<div class="figure-box" tabindex="0" role="group" aria-label="{_text(title)}">'
            f'<img alt="{_text(title)}" src="data:image/svg+xml;base64,{data}"></div></figure>\n'
        )
    yield "</section>\n"


def _tables(tables: Sequence[Table]) -> Iterator[str]:
    if not tables:
        return
    yield '<section id="tables" aria-labelledby="tables-title"><h2 id="tables-title">Tables</h2>\n'
    for table in tables:
        yield from _table(table)
    yield "</section>\n"


def _table(table: Table) -> Iterator[str]:
    right = frozenset(table.right)
    title = _text(table.title)
    yield f'<div class="card"><h3>{title}</h3>'
    yield f'<div class="table-box" tabindex="0" role="group" aria-label="{title}"><table><thead>'
    yield _row(table.header, right, "", 'th scope="col"')
    yield "</thead><tbody>\n"
    for number, row in enumerate(table.rows):
        yield _row(row, right, ' class="own"' if number in table.marks else "", "td")
    yield "</tbody></table></div>"
    for note in table.notes:
        yield f'<p class="note">{_text(note)}</p>'
    yield "</div>\n"


def _row(texts: Sequence[str], right: frozenset[int], attributes: str, cell: str) -> str:
    element = cell.split()[0]
    cells = []
    for column, text in enumerate(texts):
        aligned = ' class="right"' if column in right else ""
        cells.append(f"<{cell}{aligned}><bdi>{_text(text)}</bdi></{element}>")
    return f"<tr{attributes}>{''.join(cells)}</tr>\n"


def _about(evaluation: Evaluation) -> Iterator[str]:
    yield '<section id="about" aria-labelledby="about-title"><h2 id="about-title">About</h2>'
    yield '<div class="card">'
    for note in evaluation.notes:
        yield f"<p>{_text(note)}</p>"
    yield "<dl>"
    for subject, words in evaluation.machine.items():
        yield f"<div><dt>{_text(subject)}</dt><dd>{_text(words)}</dd></div>"
    yield "</dl>"
    if evaluation.left_out:
        yield f"<h3>Left out ({len(evaluation.left_out)})</h3><ul>"
        for left in evaluation.left_out:
            yield f"<li><bdi>{_text(left.path)}</bdi>: {_text(left.reason)}</li>"
        yield "</ul>"
    yield "</div></section>\n"


def _policy(style: str, script: str) -> str:
    """The page's content security policy."""
    return (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data: blob:;"
        f" style-src {_digest(style)}; script-src {_digest(script)}"
    )


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _script() -> str:
    parts = "\n".join(_asset(name) for name in _SCRIPTS)
    return f'"use strict";\n(() => {{\n{parts}}})();\n'


def _asset(name: str) -> str:
    return files("edgecomp.evaluation").joinpath("assets", name).read_text("utf-8")


def _clean(text: str) -> str:
    """The text with what is no valid Unicode, and control characters, made visible."""
    visible = text.encode("utf-8", "backslashreplace").decode()
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", visible)


def _text(text: str) -> str:
    """For between tags, and within double quotes in one."""
    return html.escape(_clean(text))


def _json(record: Mapping[str, Any]) -> str:
    """For within a script element, which nothing in the record can close."""
    written = json.dumps(record, separators=(",", ":"), allow_nan=False)
    return written.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _base64(embedded: Embedded) -> str:
    return base64.b64encode(embedded.data).decode("ascii")


def _slug(text: str) -> str:
    return re.sub(r"[^0-9A-Za-z]+", "-", text)


def _decibels(value: float) -> str:
    return "no loss" if math.isinf(value) else f"{value:.2f} dB"
