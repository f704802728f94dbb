"""The page in headless Chromium: what is seen and what can be done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from chromium import Chromium, find_chromium
from page_samples import crop, evaluation, jpeg, own, pixels, webp, write

from edgecomp.evaluation.embed import Embedded
from edgecomp.evaluation.page_pictures import PagePicture, picture_of
from edgecomp.evaluation.results import PictureResult
from edgecomp.evaluation.table import Table

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROGRAM = find_chromium()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no chromium or google-chrome is installed")

SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="800" height="300"><rect width="800"'
    ' height="300" fill="#fff"/></svg>'
)
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>" + "long" * 30 + ".png"
BUSY = "document.getElementById('stage').getAttribute('aria-busy')"
WIDTH, HEIGHT = 200, 176


@pytest.fixture(scope="module")
def made() -> list[PagePicture]:
    """A landscape, a portrait that lacks WebP, and one with a hostile name and a broken file."""
    methods = own()
    shapes = [("kodim05.png", WIDTH, HEIGHT), ("kodim04.png", 176, 240), ("kodim23.png", 180, 168)]
    first, second, third = (
        picture_of(
            name, crop(name, width, height), methods, [jpeg(), webp()][: 1 + (not number)],
            lossless=True,
        )
        for number, (name, width, height) in enumerate(shapes)
    )  # fmt: skip
    broken = [
        replace(version, embedded=Embedded("image/avif", b"no picture"))
        if version.family == "jpeg" and version.group == "C"
        else version
        for version in third.versions
    ]
    return [
        first,
        replace(second, missing=["WebP: too <i>odd</i>"]),
        replace(third, name=HOSTILE, versions=broken),
    ]


@pytest.fixture(scope="module")
def address(made: list[PagePicture], tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "page.html"
    results = [PictureResult(one.name, one.width, one.height, 99999, 5) for one in made]
    header = [f"a long heading {number}" for number in range(12)]
    table = Table("Wide", header, [["0.1234"] * 12], right=range(1, 12), marks=[0])
    write(path, evaluation(results, folder=HOSTILE), [table], {"A figure": SVG}, made)
    return path.as_uri()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    assert PROGRAM is not None
    with Chromium(PROGRAM, tmp_path_factory.mktemp("profile")) as chromium:
        yield chromium


@pytest.fixture
def page(browser: Chromium, address: str) -> Iterator[Chromium]:
    """The page, freshly opened; at the end nothing may have been complained of or asked for."""
    browser.size(1000, 800)
    look(browser, address)
    yield browser
    assert browser.messages == []
    others = [request for request in browser.requests if not request.startswith(("data:", "blob:"))]
    assert others == [address]


def look(browser: Chromium, address: str) -> None:
    browser.open(address)
    browser.wait(f"{BUSY} === 'false'")


def go(browser: Chromium, fragment: str) -> None:
    """Change the address's fragment, and wait until that is shown."""
    browser.evaluate(
        f"new Promise(done => {{ addEventListener('hashchange', done, {{once: true}});"
        f" location.hash = {fragment!r}; }}).then(() => 0)"
    )
    browser.wait(f"{BUSY} === 'false'")


def press(browser: Chromium, selector: str) -> None:
    browser.evaluate(f"document.querySelector({selector!r}).click()")
    browser.wait(f"{BUSY} === 'false'")


def value(browser: Chromium, name: str) -> Any:
    return browser.evaluate(f"document.getElementById({name!r}).value")


def text(browser: Chromium, name: str) -> str:
    return str(browser.evaluate(f"document.getElementById({name!r}).innerText"))


def box(browser: Chromium, selector: str) -> dict[str, float]:
    """Where an element is in the window: x, y, width, height."""
    found: dict[str, float] = browser.evaluate(
        f"document.querySelector({selector!r}).getBoundingClientRect().toJSON()"
    )
    return {name: found[name] for name in ("x", "y", "width", "height")}


def divider(browser: Chromium) -> int:
    return int(browser.evaluate("document.getElementById('divider').ariaValueNow"))


def fragment(browser: Chromium) -> dict[str, str]:
    """The address's fragment, once it has followed."""
    browser.evaluate("new Promise(done => setTimeout(done, 350))")
    return dict(browser.evaluate("[...new URLSearchParams(location.hash.slice(1))]"))


def show_stage(browser: Chromium) -> None:
    """The stage into the window, where the mouse can reach it."""
    browser.evaluate("document.getElementById('stage').scrollIntoView({behavior: 'instant'})")


def seen(browser: Chromium) -> NDArray[np.uint8]:
    """What is on the screen where the picture is, without what lies above it."""
    browser.evaluate(
        "for (const one of document.querySelectorAll('.chip, #divider'))"
        " one.style.visibility = 'hidden'"
    )
    scroll = browser.evaluate("scrollY")
    place = box(browser, "#pane-left img")
    return pixels(browser.screenshot({**place, "y": place["y"] + scroll}))


def test_what_is_shown_at_first(page: Chromium, made: list[PagePicture]) -> None:
    assert page.evaluate("!document.getElementById('viewer').hidden")
    assert (value(page, "left"), value(page, "right")) == ("original", "edgecomp-context-B")
    assert text(page, "position") == "1 of 3"
    assert page.evaluate("document.querySelector('#groups [aria-pressed=true]').innerText") == "B"
    version = next(one for one in made[0].versions if one.own and one.group == "B")
    assert "edgecomp B" in text(page, "caption-right")
    assert f"{version.bytes:,} bytes" in text(page, "caption-right")
    assert f"MS-SSIM {version.ms_ssim:.4f}" in text(page, "caption-right")
    assert "99,999 bytes as PNG" in text(page, "caption-left")
    assert text(page, "chip-left") == "Original"
    assert text(page, "rates-title") == "At the rate of edgecomp B"
    rows = page.evaluate(
        "[...document.querySelectorAll('#rates tbody tr')].map(row => row.cells[0].innerText)"
    )
    assert rows == [one.label for one in made[0].versions if one.group == "B"]
    assert page.evaluate("location.hash") == ""  # nothing was chosen yet
    assert page.evaluate("document.querySelectorAll('#thumbnails img').length") == 3


def test_pixels(page: Chromium, made: list[PagePicture]) -> None:
    picture = made[0]
    original = pixels(picture.original.data)
    lossy = next(one for one in picture.versions if (one.family, one.group) == ("jpeg", "A"))
    restored = pixels(lossy.embedded.data)
    where = "picture=1&left=original&right=jpeg-A&zoom="
    go(page, where + "1&split=100")
    np.testing.assert_array_equal(seen(page), original)
    go(page, where + "1&split=0")
    # Decoders of JPEG may differ by a little.
    assert np.abs(seen(page).astype(int) - restored).max() <= 2
    go(page, where + "1&split=25")
    assert np.array_equal(seen(page)[:, : WIDTH // 4], original[:, : WIDTH // 4])
    assert not np.array_equal(seen(page)[:, WIDTH // 4 :], original[:, WIDTH // 4 :])
    go(page, where + "2&split=100")
    np.testing.assert_array_equal(seen(page), original.repeat(2, axis=0).repeat(2, axis=1))


@pytest.mark.parametrize("times", [1, 4, 8])
def test_difference(page: Chromium, made: list[PagePicture], times: int) -> None:
    picture = made[0]
    original = pixels(picture.original.data).astype(int)
    restored = pixels(picture.versions[0].embedded.data)
    go(page, f"picture=1&left=original&right=edgecomp-context-A&zoom=1&diff={times}")
    expected = np.minimum(times * np.abs(original - restored), 255)
    assert np.abs(seen(page).astype(int) - expected).max() <= 1
    assert page.evaluate("getComputedStyle(document.getElementById('divider')).display") == "none"


def test_difference_of_a_picture_from_itself(page: Chromium) -> None:
    go(page, "picture=1&left=original&right=original&zoom=1&diff=8")
    assert not seen(page).any()


def test_fragment(page: Chromium) -> None:
    go(page, "picture=2&left=jpeg-C&right=edgecomp-context-C&zoom=4&x=25&y=75&split=30")
    assert value(page, "picture") == "1"
    assert (value(page, "left"), value(page, "right")) == ("jpeg-C", "edgecomp-context-C")
    assert divider(page) == 30
    assert page.evaluate("document.querySelector('#zooms [aria-pressed=true]').dataset.zoom") == "4"
    assert box(page, "#pane-left img")["width"] == 4 * 176
    assert page.evaluate(
        "getComputedStyle(document.querySelector('#pane-right img')).imageRendering"
    ) == "pixelated"  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        "picture=99&left=nothing&right=nothing&zoom=x&diff=3&split=-4&x=NaN",
        "picture=0&zoom=1e9",
        "picture=x&zoom=-1&diff=Infinity",
        "picture=%00&left=__proto__&right=%E2%80%AE",
    ],
)
def test_fragments_of_nonsense(page: Chromium, words: str) -> None:
    go(page, words)
    assert value(page, "right").startswith("edgecomp-context-")
    assert value(page, "left")
    assert page.evaluate("document.querySelectorAll('.pane img').length") == 2


def test_fragment_when_the_page_is_opened(browser: Chromium, address: str) -> None:
    look(browser, f"{address}#picture=2&left=original&right=jpeg-A&diff=4")
    assert (value(browser, "picture"), value(browser, "right")) == ("1", "jpeg-A")
    assert browser.evaluate("document.getElementById('stage').dataset.diff") == "4"
    look(browser, f"{address}#tables")
    assert value(browser, "right") == "edgecomp-context-B"
    browser.wait("scrollY > 0 && location.hash === '#tables'")


def test_fragment_follows(page: Chromium) -> None:
    press(page, "#groups button:last-child")
    press(page, "[data-zoom='8']")
    assert fragment(page) == {
        "picture": "1",
        "left": "original",
        "right": "edgecomp-context-C",
        "zoom": "8",
        "x": "50.0",
        "y": "50.0",
        "split": "50",
    }
    press(page, "[data-zoom='fit']")
    press(page, "[data-diff='8']")
    words = fragment(page)
    assert (words["zoom"], words["diff"]) == ("fit", "8")
    assert "split" not in words


def test_rate_chooses_both_sides(page: Chromium) -> None:
    go(page, "picture=1&left=jpeg-A&right=webp-B")
    press(page, "#groups button:last-child")
    assert (value(page, "left"), value(page, "right")) == ("jpeg-C", "webp-C")
    assert page.evaluate("document.querySelector('#groups [aria-pressed=true]').innerText") == "C"
    press(page, "#rates tr:nth-child(1) button")
    assert value(page, "right") == "edgecomp-context-C"


def test_previous_and_next(page: Chromium) -> None:
    go(page, "picture=1&left=webp-C&right=jpeg-C")
    press(page, "#next")
    assert value(page, "picture") == "1"
    # This one has no WebP.
    assert (value(page, "left"), value(page, "right")) == ("edgecomp-context-C", "jpeg-C")
    assert "Not shown: WebP: too <i>odd</i>." in text(page, "remark")
    press(page, "#previous")
    press(page, "#previous")
    assert value(page, "picture") == "2"
    press(page, "#thumbnails button:first-child")
    assert value(page, "picture") == "0"


def test_quick_choices_end_with_the_last(page: Chromium, made: list[PagePicture]) -> None:
    page.evaluate("for (let i = 0; i < 7; i++) document.getElementById('next').click()")
    page.wait(f"{BUSY} === 'false'")
    assert value(page, "picture") == "1"
    assert page.evaluate("document.querySelector('#pane-left img').naturalWidth") == made[1].width


def test_a_slow_choice_does_not_replace_a_later_one(
    page: Chromium, made: list[PagePicture]
) -> None:
    page.evaluate("""{
      const create = document.createElement;
      let slow = 2;
      document.createElement = (name) => {
        const made = create.call(document, name);
        if (name === "img" && slow-- > 0) {
          const set = (then) => made.addEventListener("load", () => setTimeout(then, 200));
          Object.defineProperty(made, "onload", { set });
        }
        return made;
      };
      document.getElementById("next").click();
      document.getElementById("next").click();
      0;
    }""")
    page.wait(f"{BUSY} === 'false'")
    page.evaluate("new Promise(done => setTimeout(done, 400))")
    assert page.evaluate("document.querySelector('#pane-left img').naturalWidth") == made[2].width


def test_files_are_let_go(page: Chromium) -> None:
    before = page.evaluate("document.querySelector('#pane-right img').src")
    press(page, "#groups button:first-child")
    again = "new Promise(done => Object.assign(new Image(), {onload: () => done('there'),"
    again += f" onerror: () => done('gone'), src: {before!r}}}))"
    assert page.evaluate(again) == "gone"
    assert page.evaluate("document.querySelectorAll('.pane img').length") == 2
    page.messages.clear()  # that it could not be loaded


def test_a_file_that_cannot_be_shown(page: Chromium) -> None:
    go(page, "picture=3&left=original&right=jpeg-C")
    expected = "This browser cannot show the file on the right (image/avif)."
    assert expected in text(page, "remark")
    press(page, "#groups button:first-child")
    assert "cannot show" not in text(page, "remark")


def test_hostile_name_is_text(page: Chromium) -> None:
    assert page.evaluate("document.querySelector('h1').innerText") == HOSTILE
    assert page.evaluate("document.querySelector('#picture option:last-child').text") == HOSTILE
    assert page.evaluate("document.querySelectorAll('img[src=x]').length") == 0


def test_keys_on_the_divider(page: Chromium) -> None:
    page.evaluate("document.getElementById('divider').focus()")
    page.key("ArrowRight")
    assert divider(page) == 52
    page.key("ArrowLeft", shift=True)
    assert divider(page) == 42
    page.key("End")
    page.key("ArrowRight")
    assert divider(page) == 100
    page.key("Home")
    assert divider(page) == 0
    assert page.evaluate("document.getElementById('divider').ariaValueText") == "0 % from the left"


def test_keys_on_the_stage(page: Chromium) -> None:
    show_stage(page)
    page.evaluate("document.getElementById('stage').focus()")
    fit = box(page, "#pane-left img")
    page.key("+")
    twice = box(page, "#pane-left img")
    assert twice["width"] == pytest.approx(2 * fit["width"], abs=1)
    page.key("ArrowRight")
    assert box(page, "#pane-left img")["x"] == pytest.approx(twice["x"] - 60, abs=1)
    page.key("0")
    assert box(page, "#pane-left img") == fit


def test_mouse_moves_the_divider_where_all_is_seen(page: Chromium) -> None:
    show_stage(page)
    place = box(page, "#pane-left img")
    at = place["y"] + place["height"] / 4
    page.mouse("Pressed", place["x"] + 0.25 * place["width"], at)
    assert divider(page) == 25
    page.mouse("Moved", place["x"] + 0.75 * place["width"], at)
    assert divider(page) == 75
    page.mouse("Moved", place["x"] + 2 * place["width"], at)
    page.mouse("Released", place["x"] + 2 * place["width"], at)
    assert divider(page) == 100
    page.mouse("Moved", place["x"], at, buttons=0)
    assert divider(page) == 100
    assert box(page, "#pane-left img") == place


def test_mouse_moves_the_picture_where_it_is_larger(page: Chromium) -> None:
    go(page, "picture=1&left=original&right=edgecomp-context-B&zoom=8")
    show_stage(page)
    stage, before = box(page, "#stage"), box(page, "#pane-right img")
    x, y = stage["x"] + 100, stage["y"] + 100
    page.mouse("Pressed", x, y)
    page.mouse("Moved", x + 30, y - 20)
    page.mouse("Released", x + 30, y - 20)
    after = box(page, "#pane-right img")
    assert (after["x"] - before["x"], after["y"] - before["y"]) == (30, -20)
    assert divider(page) == 50
    # The handle still moves the divider, and the picture stays.
    grip = box(page, ".grip")
    x, y = grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2
    page.mouse("Pressed", x, y)
    page.mouse("Moved", stage["x"] + 0.2 * stage["width"], y)
    page.mouse("Released", stage["x"] + 0.2 * stage["width"], y)
    assert divider(page) == 20
    assert box(page, "#pane-right img") == after
    # No further than its edge.
    page.mouse("Pressed", stage["x"] + 10, y)
    page.mouse("Moved", stage["x"] + 9000, y)
    page.mouse("Released", stage["x"] + 9000, y)
    assert box(page, "#pane-right img")["x"] == stage["x"]


def test_wheel(page: Chromium) -> None:
    go(page, "picture=1&left=original&right=edgecomp-context-B&zoom=8")
    show_stage(page)
    before, scrolled = box(page, "#pane-left img"), page.evaluate("scrollY")
    x, y = 200.0, 300.0
    page.mouse("Wheel", x, y, deltaX=0, deltaY=-50, modifiers=2)
    page.wait(f"document.querySelector('#pane-left img').width > {before['width']} + 9")
    after = box(page, "#pane-left img")
    for side, size, at in (("x", "width", x), ("y", "height", y)):
        ratio = (at - before[side]) / before[size]
        assert (at - after[side]) / after[size] == pytest.approx(ratio, abs=0.002)
    assert page.evaluate("scrollY") == scrolled
    # Without Ctrl it scrolls the page.
    page.mouse("Wheel", x, y, deltaX=0, deltaY=50)
    page.wait(f"scrollY > {scrolled}")
    assert box(page, "#pane-left img")["width"] == after["width"]


def test_fingers(page: Chromium) -> None:
    page.size(390, 844, scale=2, mobile=True)
    show_stage(page)
    place = box(page, "#pane-left img")
    x, y = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
    page.touch("Start", (x, y))
    page.touch("Move", (x + 20, y))
    page.touch("Move", (x + place["width"] / 4, y))
    page.touch("End")
    page.wait("document.getElementById('divider').ariaValueNow === '75'")
    # Two of them zoom, about the point between them.
    page.touch("Start", (x - 30, y), (x + 30, y))
    page.touch("Move", (x - 50, y), (x + 50, y))
    page.touch("Move", (x - 90, y), (x + 90, y))
    page.touch("End")
    page.wait(f"document.querySelector('#pane-left img').width > {2.5 * place['width']}")
    after = box(page, "#pane-left img")
    assert after["width"] == pytest.approx(3 * place["width"], rel=0.05)
    assert (x - after["x"]) / after["width"] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("width", [360, 390, 700, 1600])
def test_page_never_scrolls_sideways(page: Chromium, width: int) -> None:
    page.size(width, 740, mobile=width < 600)
    for words in ("picture=1&zoom=fit", "picture=2&zoom=8", "picture=3&right=jpeg-A&diff=8"):
        go(page, words)
        assert page.evaluate("document.scrollingElement.scrollWidth") == width
    # The wide table does, in its own box.
    wide = "document.querySelector('#tables .table-box')"
    assert page.evaluate(f"{wide}.scrollWidth > {wide}.clientWidth")
    stage, image = box(page, "#stage"), box(page, "#pane-left img")
    assert image["x"] >= stage["x"] - 0.5
    assert image["height"] <= stage["height"] + 1


def test_colours_of_the_night(page: Chromium) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    page.media(prefers_color_scheme="light")
    light = page.evaluate(ground)
    page.media(prefers_color_scheme="dark")
    assert page.evaluate(ground) != light
    page.media(prefers_color_scheme="light")


def test_without_scripts(browser: Chromium, address: str) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(address)
        assert "needs JavaScript" in browser.evaluate("document.body.innerText")
        assert "0.1234" in browser.evaluate("document.body.innerText")
        assert browser.evaluate("document.querySelector('figure img').naturalWidth") == 800
        assert browser.evaluate("document.getElementById('viewer').hidden")
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


def test_without_pictures(browser: Chromium, tmp_path: Path) -> None:
    path = tmp_path / "none.html"
    write(path, evaluation([]), [], {}, [])
    browser.open(path.as_uri())
    assert browser.evaluate("document.getElementById('viewer').hidden")
    assert "No pictures are shown" in browser.evaluate("document.body.innerText")
    assert browser.messages == []


def test_policy_stops_what_is_not_the_page_s_own(page: Chromium) -> None:
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'),"
        " {textContent: 'window.broken = 1'}))"
    )
    assert page.evaluate("window.broken") is None
    assert any("Content Security Policy" in message for message in page.messages)
    page.messages.clear()
