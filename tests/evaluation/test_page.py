"""The report as one HTML file: what is in it, and that nothing in it can break out of its place."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any

import pytest
from page_samples import crop, evaluation, jpeg, own

from edgecomp.evaluation.embed import Embedded
from edgecomp.evaluation.page import write_page
from edgecomp.evaluation.page_pictures import PagePicture, picture_of
from edgecomp.evaluation.results import Evaluation, PictureResult
from edgecomp.evaluation.table import Table
from edgecomp.names import Note

HOSTILE = (
    "</script></title><script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;\u202e.png"
)
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 3"><path id="a" d="M0 0h4"/></svg>'
EMPTY_ELEMENTS = ("meta", "link", "img")


class Parsed(HTMLParser):
    """Elements in order: name, attributes, own text. Fails where tags do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[tuple[str, list[str]]] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs)
        texts: list[str] = []
        self.elements.append((tag, dict(attrs), texts))
        if tag not in EMPTY_ELEMENTS:
            self._open.append((tag, texts))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        if self._open:
            self._open[-1][1].append(data)

    def all(self, tag: str, **wanted: str) -> list[tuple[dict[str, str | None], str]]:
        """Attributes and texts of the elements with that name and those attributes."""
        return [
            (attributes, "".join(texts))
            for name, attributes, texts in self.elements
            if name == tag and wanted.items() <= attributes.items()
        ]

    @property
    def text(self) -> str:
        """Everything that a reader without JavaScript may see."""
        return " ".join(
            "".join(texts) for name, _, texts in self.elements if name not in ("script", "style")
        )


def written(
    found: Evaluation | None = None,
    tables: Sequence[Table] = (),
    figures: dict[str, str] | None = None,
    pictures: Sequence[PagePicture] = (),
) -> str:
    file = io.StringIO()
    write_page(file, found or evaluation([]), tables, figures or {}, pictures)
    return file.getvalue()


def records(page: Parsed) -> list[dict[str, Any]]:
    return [json.loads(text) for _, text in page.all("script", type="application/json")]


@pytest.fixture(scope="module")
def picture() -> PagePicture:
    rgb = crop("kodim05.png", 200, 164)
    return picture_of("bikes.png", rgb, own(), [jpeg()], lossless=True)


def result(picture: PagePicture, name: str | None = None) -> PictureResult:
    return PictureResult(name or picture.name, picture.width, picture.height, 54321, 5)


def test_files_are_in_the_page(picture: PagePicture) -> None:
    page = Parsed(written(evaluation([result(picture)]), pictures=[picture, picture]))
    expected = [picture.original, *(version.embedded for version in picture.versions)]
    for number in (0, 1):
        for place, embedded in enumerate(expected):
            ((attributes, text),) = page.all("script", id=f"file-{number}-{place}")
            assert attributes["type"] == "text/plain"  # never run
            assert attributes["data-mime"] == embedded.mime
            assert base64.b64decode(text, validate=True) == embedded.data
    assert len(page.all("script", type="text/plain")) == 2 * len(expected)
    assert [
        attributes["data-picture"] for attributes, _ in page.all("script", type="application/json")
    ] == ["0", "1"]


def test_records(picture: PagePicture) -> None:
    (record,) = records(Parsed(written(evaluation([result(picture)]), pictures=[picture])))
    assert record["name"] == "bikes.png"
    assert (record["width"], record["height"]) == (200, 164)
    assert record["groups"] == ["A", "B", "C"]
    assert record["original"] == {"facts": "200 × 164 pixels · 54,321 bytes as PNG", "through": ""}  # noqa: RUF001
    start = "data:image/jpeg;base64,"
    assert record["thumbnail"].startswith(start)
    assert base64.b64decode(record["thumbnail"][len(start) :]) == picture.thumbnail.data
    assert [version["key"] for version in record["versions"]] == [
        f"{family}-{group}" for group in "ABC" for family in ("edgecomp-context", "jpeg")
    ]
    for version, made in zip(record["versions"], picture.versions, strict=True):
        assert (version["label"], version["group"], version["own"]) == (
            made.label,
            made.group,
            made.own,
        )
        assert version["facts"] == (
            f"{made.bytes:,} bytes · {made.bpp:.3f} bpp · MS-SSIM {made.ms_ssim:.4f}"
            f" · {made.psnr:.2f} dB"
        )
        assert version["cells"][0] == f"{made.bytes:,}"
        assert bool(version["cells"][1]) is not made.own
    edgecomp, peer = picture.versions[:2]
    percent = 100 * (peer.bytes / edgecomp.bytes - 1)
    assert record["versions"][1]["cells"][1] == f"{percent:+.1f} %".replace("-", "\N{MINUS SIGN}")


def test_figures_that_do_not_exist(picture: PagePicture) -> None:
    """No MS-SSIM, nothing lost, no known size as PNG: words, and never NaN or Infinity in JSON."""
    version = replace(picture.versions[0], ms_ssim=None, psnr=math.inf)
    text = written(pictures=[replace(picture, versions=[version])])
    (record,) = records(Parsed(text))
    assert "no MS-SSIM · no loss" in record["versions"][0]["facts"]
    assert record["versions"][0]["cells"][3:] == ["–", "no loss"]  # noqa: RUF001
    assert record["original"]["facts"] == "200 × 164 pixels"  # noqa: RUF001


def test_pictures_are_written_one_by_one(picture: PagePicture) -> None:
    file = io.StringIO()

    def made() -> Iterator[PagePicture]:
        for number in range(3):
            assert file.getvalue().count("data-picture=") == number
            assert file.getvalue().count('id="file-') == number * (1 + len(picture.versions))
            yield picture

    assert write_page(file, evaluation([]), [], {}, made()) == 3


def notes_of(text: str) -> str:
    start = text.index('<div class="notes">')
    return text[start : text.index("</section>", start)]


def test_notes_on_the_pictures(picture: PagePicture) -> None:
    found = evaluation([result(picture, str(number)) for number in range(5)])
    one = replace(picture, missing=["AVIF: too <wide>"], name="<b>")
    notes = notes_of(written(found, pictures=[one, picture]))
    assert "2 of the 5 pictures are shown, evenly chosen" in notes
    assert "<bdi>&lt;b&gt;</bdi> is shown without AVIF: too &lt;wide&gt;" in notes
    assert "true pixels" not in notes

    many = [replace(one, name="c", missing=["WebP: no"]), replace(one, name="d"), picture]
    notes = notes_of(written(found, pictures=[one, *many]))
    assert "<p>2 are shown without AVIF: too &lt;wide&gt;</p>" in notes
    assert "<p><bdi>c</bdi> is shown without WebP: no</p>" in notes
    assert "<p>All are shown without AVIF" in notes_of(written(found, pictures=[one, one]))

    through = replace(picture, original=Embedded("image/avif", b"", "AVIF at quality 90"))
    notes = notes_of(written(evaluation([result(picture)]), pictures=[through]))
    assert "are shown through AVIF at quality 90. Figures are those of the true pixels." in notes
    assert "evenly chosen" not in notes

    assert "No pictures are shown" in notes_of(written(found))


def test_tables() -> None:
    table = Table(
        "Rates & more",
        ("method", "bpp"),
        [("edgecomp A", "0.487"), ("jpeg <75>", "1.344")],
        right=[1],
        notes=["Of the archive"],
        marks=[0],
    )
    text = written(tables=[table])
    page = Parsed(text)
    assert [text for _, text in page.all("h3")] == ["", "Rates & more"]
    assert [attributes for attributes, _ in page.all("tr", **{"class": "own"})] == [
        {"class": "own"}
    ]
    assert '<tr class="own"><td><bdi>edgecomp A</bdi></td><td class="right"><bdi>0.487' in text
    assert "<tr><td><bdi>jpeg &lt;75&gt;</bdi></td>" in text
    assert '<th scope="col" class="right"><bdi>bpp</bdi></th>' in text
    assert '<p class="note">Of the archive</p>' in text


def test_figures() -> None:
    page = Parsed(written(figures={"One": SVG, "Two": SVG.replace("h4", "h2 \udcff")}))
    assert [text for _, text in page.all("figcaption")] == ["One", "Two"]
    images = [attributes for attributes, _ in page.all("img")]
    assert [image["alt"] for image in images] == ["One", "Two"]
    start = "data:image/svg+xml;base64,"
    data = [base64.b64decode(str(image["src"]).removeprefix(start)).decode() for image in images]
    assert data == [SVG, SVG.replace("h4", "h2 ?")]


def test_sections_that_are_empty_are_not_there() -> None:
    page = Parsed(written())
    assert [attributes["id"] for attributes, _ in page.all("section")] == ["pictures", "about"]
    assert [attributes["href"] for attributes, _ in page.all("a")] == ["#pictures", "#about"]
    full = Parsed(written(tables=[Table("a", ("b",), [])], figures={"c": SVG}))
    targets = {f"#{attributes['id']}" for attributes, _ in full.all("section")}
    assert {attributes["href"] for attributes, _ in full.all("a")} == targets
    assert len(targets) == 4


def test_what_is_said_of_the_evaluation(picture: PagePicture) -> None:
    found = evaluation(
        [result(picture), result(picture)],
        cores=2,
        notes=["A note"],
        left_out=[Note("a.tif", "16 bits")],
        machine={"processor": "x86-64", "system": "Linux"},
    )
    page = Parsed(written(found))
    assert "2 pictures · 0.1 megapixels · 0.1 MB as PNG · measured on 2 cores" in page.text
    assert [text for _, text in page.all("dt")] == ["processor", "system"]
    assert [text for _, text in page.all("dd")] == ["x86-64", "Linux"]
    assert "A note" in page.text
    assert "Left out (1)" in page.text
    assert "1 picture · " in Parsed(written(evaluation([result(picture)]))).text


def test_hostile_texts(picture: PagePicture) -> None:
    name = f"{HOSTILE}\x00\x1b[2J\udcff"
    version = replace(picture.versions[0], label=name, group=name, family=name)
    bad = replace(picture, name=name, versions=[version], missing=[name])
    found = evaluation(
        [result(picture, name)],
        folder=name,
        notes=[name],
        left_out=[Note(name, name)],
        machine={name: name},
    )
    table = Table(name, (name,), [(name,)], notes=[name])
    text = written(found, [table], {name: SVG}, [bad])
    text.encode("utf-8")  # no half of a surrogate pair
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", text)
    page = Parsed(text)
    seen = f"{HOSTILE}\ufffd\ufffd[2J\\udcff"
    assert seen in [text for _, text in page.all("bdi")]
    assert page.all("title")[0][1] == f"{seen}: edgecomp evaluate"
    assert page.all("img")[0][0]["alt"] == seen
    (record,) = records(page)
    assert not set(page.all("script", type="application/json")[0][1]) & set("<>&")
    assert record["name"] == record["versions"][0]["label"] == record["missing"][0] == seen
    # One description, two files and the page's own script; one figure.
    assert len(page.all("script")) == 4
    assert len(page.all("img")) == 1
    assert not any(
        attribute.startswith("on") for _, attributes, _ in page.elements for attribute in attributes
    )


def test_nothing_is_loaded_from_elsewhere(picture: PagePicture) -> None:
    text = written(evaluation([result(picture)]), figures={"a": SVG}, pictures=[picture])
    page = Parsed(text)
    for _, attributes, _ in page.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster", "style"):
            if name in attributes:
                assert re.match(r"#\w+$|data:", str(attributes[name]))
    for name in ("page.html", "page.css", "viewer.js", "captions.js", "controls.js"):
        asset = files("edgecomp.evaluation").joinpath("assets", name).read_text("utf-8")
        assert not re.search(r"https?:|//\w|url\(|@import|fetch|XMLHttp|Storage|cookie", asset)


def test_policy_allows_what_is_written_and_nothing_else() -> None:
    page = Parsed(written())
    policy = str(page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0][0]["content"])
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data: blob:"
    for element in ("style", "script"):
        ((_, text),) = page.all(element)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[f"{element}-src"] == f"'sha256-{digest}'"
    assert set(rules) == {
        "default-src", "base-uri", "form-action", "img-src", "style-src", "script-src",
    }  # fmt: skip


def test_same_page_for_the_same_evaluation(picture: PagePicture) -> None:
    arguments: dict[str, Any] = {"figures": {"a": SVG}, "pictures": [picture]}
    assert written(**arguments) == written(**arguments)
