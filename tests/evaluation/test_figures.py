"""The figures: what is drawn, where it ends, what is left out, and the files made of them."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
import re
import subprocess
import sys
from itertools import combinations, pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from edgecomp.evaluation.bd_rate import ms_ssim_db
from edgecomp.evaluation.figures import bubbles, png, rate_distortion, stages, svg
from edgecomp.evaluation.figures_labels import Box, Labelled, leader, place, spread
from edgecomp.evaluation.figures_style import drawing
from edgecomp.evaluation.methods import UnavailableError
from edgecomp.evaluation.published import systems
from edgecomp.evaluation.results import (
    CONTEXT_MODEL,
    PICKLE_LZMA,
    TIMED_ESTIMATE,
    Evaluation,
    Row,
    StageTimes,
)

pytest.importorskip("matplotlib")

PNG_BYTES = 15_400_000
PIXELS = 24 * 768 * 512
# What edgecomp reaches on Kodak: quality, bits per pixel, MS-SSIM, PSNR.
OWN = (("A", 0.487, 0.9753, 29.4), ("B", 0.810, 0.9870, 31.6), ("C", 1.229, 0.9924, 34.0))
JPEG = (("20", 0.46, 0.9526, 29.0), ("75", 1.344, 0.9866, 34.52), ("95", 3.13, 0.9967, 41.6))
AVIF = (("35", 0.309, 0.9611, 29.8), ("45", 0.494, 0.9765, 32.0), ("90", 2.342, 0.9968, 42.3))


def row(
    name: str,
    quality: str | None,
    bpp: float,
    ms_ssim: float | None,
    psnr: float | None,
    seconds: float,
    **more: str,
) -> Row:
    size = round(bpp * PIXELS / 8)
    return Row(
        name,
        quality,
        images=24,
        bytes=size,
        bpp=bpp,
        compression_rate=PNG_BYTES / size,
        ms_ssim=ms_ssim,
        psnr=psnr,
        seconds_compress=seconds / 2,
        seconds_decompress=seconds / 2,
        **more,
    )


def evaluation(kodak: bool = False, **changes: object) -> Evaluation:
    rows = [row("edgecomp context", *figures, 0.8) for figures in OWN]
    rows += [row("edgecomp lzma", q, 1.3 * bpp, *rest, 1.0) for q, bpp, *rest in OWN]
    rows += [row(PICKLE_LZMA, q, 1.5 * bpp, *rest, 2.0) for q, bpp, *rest in OWN]
    rows += [
        row(CONTEXT_MODEL, q, 0.97 * bpp, *rest, 9000.0, timed=TIMED_ESTIMATE)
        for q, bpp, *rest in OWN
    ]
    rows += [row("tar", None, 13.1, 1.0, None, 0.05), row("7-zip", None, 13.0, 1.0, None, 3.2)]
    rows += [row("jpeg", *figures, 0.4) for figures in JPEG]
    rows += [row("avif", *figures, 4.9) for figures in AVIF]
    rows += [Row("heic", "50", skipped="needs pillow-heif")]
    times = [
        StageTimes("edgecomp context A", "compress", {"read PNG": 8.0, "symbol coder": 12.0}),
        StageTimes("edgecomp lzma A", "compress", {"read PNG": 9.0, "symbol coder": 16.0}),
        StageTimes("edgecomp context A", "decompress", {"symbol decoder": 14.0, "write PNG": 26.0}),
    ]
    found = Evaluation("pictures", kodak, [], [], rows, times, [], 2, {})
    return dataclasses.replace(found, **changes)


NOTHING = evaluation(rows=[], stages=[])
DRAWERS = (rate_distortion, bubbles, stages)


def texts(figure) -> list[str]:
    """Every text that is seen in a figure."""
    import matplotlib.text

    return [
        found.get_text()
        for found in figure.findobj(matplotlib.text.Text)
        if found.get_text() and found.get_visible()
    ]


def curve(axes, colour_of: str):
    """The line of a method, by the style that is its own."""
    from edgecomp.evaluation.figures_style import STYLES

    style = STYLES[colour_of]
    return next(
        line
        for line in axes.lines
        if (line.get_color(), line.get_marker()) == (style.colour, style.marker)
    )


# Rate and distortion.


def test_curves_are_the_rows_figures() -> None:
    figure = rate_distortion(evaluation())
    ms_ssim, psnr = figure.axes[:2]
    x, y = curve(ms_ssim, "edgecomp context").get_data()
    assert list(x) == [0.487, 0.810, 1.229]
    assert list(y) == pytest.approx([ms_ssim_db(value) for value in (0.9753, 0.9870, 0.9924)])
    assert list(curve(psnr, "jpeg").get_ydata()) == [29.0, 34.52, 41.6]


def test_own_curves_lie_on_top() -> None:
    axes = rate_distortion(evaluation(kodak=True)).axes[0]
    own = curve(axes, "edgecomp context")
    assert own.get_zorder() == max(line.get_zorder() for line in axes.lines)
    assert own.get_linewidth() == max(line.get_linewidth() for line in axes.lines)


def test_axes_end_where_it_matters() -> None:
    """JPEG at quality 95 must not squash the rest, and the best peer stays in the panel."""
    for axes in rate_distortion(evaluation()).axes[:2]:
        low, high = axes.get_xlim()
        assert low < 0.487
        assert 1.6 < high < 2.5
        bottom, top = axes.get_ylim()
        for name in ("edgecomp context", "edgecomp lzma", "avif"):
            for x, y in zip(*curve(axes, name).get_data(), strict=True):
                assert bottom < y < top or not low < x < high, (name, x)


def test_published_curves_are_of_kodak_only() -> None:
    with_them, without = (
        texts(rate_distortion(evaluation(kodak=kodak))) for kodak in (True, False)
    )
    names = {system.name for system in systems()} | {"LZMA-Mentzer (the paper)"}
    assert names <= set(with_them)
    assert not names & set(without)
    # Rippel and Mentzer published no PSNR.
    assert with_them.count("Rippel 2017") == 1
    assert with_them.count("Toderici 2017") == 2


def test_names_of_published_curves_do_not_overlap() -> None:
    figure = rate_distortion(evaluation(kodak=True))
    figure.savefig(io.BytesIO(), format="png")
    names = {system.name for system in systems()}
    for axes in figure.axes[:2]:
        boxes = [text.get_window_extent() for text in axes.texts if text.get_text() in names]
        assert len(boxes) >= 8
        assert all(a.y1 <= b.y0 or b.y1 <= a.y0 for a, b in combinations(boxes, 2))
        edge = figure.bbox.x1
        assert all(box.x1 < edge for box in boxes)


def test_skipped_and_lossless_rows_have_no_curve() -> None:
    found = texts(rate_distortion(evaluation()))
    assert {"edgecomp context", "context model", "jpeg", "avif"} <= set(found)
    assert not {"heic", "tar", "7-zip"} & set(found)


def test_pictures_without_ms_ssim_have_a_psnr_panel() -> None:
    rows = [dataclasses.replace(found, ms_ssim=None) for found in evaluation().rows]
    figure = rate_distortion(evaluation(rows=rows))
    assert texts(figure).count("nothing measured") == 1
    assert list(curve(figure.axes[1], "edgecomp context").get_ydata()) == [29.4, 31.6, 34.0]


def test_one_quality_has_room_around_it() -> None:
    rows = [
        found for found in evaluation().rows if found.label in ("edgecomp context A", "jpeg 75")
    ]
    for axes in rate_distortion(evaluation(rows=rows)).axes[:2]:
        assert len(curve(axes, "edgecomp context").get_xdata()) == 1
        low, high = axes.get_xlim()
        assert low < 0.3
        assert high > 1.344


# Bubbles.


def discs(figure) -> dict[tuple[float, float], float]:
    """Area by (compression rate, MS-SSIM), rounded, of the panel's discs."""
    found = {}
    for collection in figure.axes[0].collections:
        for (x, y), size in zip(collection.get_offsets(), collection.get_sizes(), strict=True):
            found[round(float(x), 3), round(float(y), 4)] = float(size)
    return found


def disc_of(name: str, quality: str | None, figure) -> float:
    found = next(r for r in evaluation().rows if (r.name, r.quality) == (name, quality))
    assert found.compression_rate is not None
    return discs(figure)[round(found.compression_rate, 3), found.ms_ssim]


def test_areas_are_seconds() -> None:
    figure = bubbles(evaluation())
    assert disc_of("avif", "45", figure) / disc_of("edgecomp lzma", "A", figure) == pytest.approx(
        4.9
    )
    assert disc_of("7-zip", None, figure) / disc_of(PICKLE_LZMA, "B", figure) == pytest.approx(1.6)


def test_seconds_that_leave_the_scale_say_so() -> None:
    figure = bubbles(evaluation())
    assert disc_of(CONTEXT_MODEL, "A", figure) == max(discs(figure).values())
    found = texts(figure)
    assert "context model A, 9,000 s" in found
    assert any("Dashed rims: more than 5 s, not in proportion." in text for text in found)
    rows = [found for found in evaluation().rows if found.name != CONTEXT_MODEL]
    assert not any("Dashed" in text for text in texts(bubbles(evaluation(rows=rows))))


def test_seconds_too_few_to_see_say_so() -> None:
    rows = [row("jpeg", "75", 1.3, 0.98, 34.0, 0.01), row("avif", "45", 0.5, 0.98, 32.0, 10.0)]
    assert any(
        "The smallest discs: less than 0.04 s." in t for t in texts(bubbles(evaluation(rows=rows)))
    )
    assert not any("smallest" in text for text in texts(bubbles(evaluation(rows=rows[1:]))))


def test_peers_are_those_of_about_the_first_quality() -> None:
    found = texts(bubbles(evaluation()))
    assert {"avif 45", "jpeg 75"} <= set(found)
    assert not {"avif 35", "avif 90", "jpeg 20", "jpeg 95"} & set(found)
    assert {"edgecomp context A", "edgecomp context B", "edgecomp context C"} <= set(found)


def test_the_papers_rows_are_hollow_and_of_kodak_only() -> None:
    figure = bubbles(evaluation(kodak=True))
    hollow = [c for c in figure.axes[0].collections if len(c.get_facecolor()) == 0]
    assert len(hollow) == 6
    found = texts(figure)
    assert {"LZMA-Mentzer A", "Mentzer et al., 14,000 s", "7-Zip, TAR", "7-zip, tar"} <= set(found)
    assert not any("Mentzer" in text or "Hollow" in text for text in texts(bubbles(evaluation())))


def test_names_of_bubbles_do_not_overlap() -> None:
    figure = bubbles(evaluation(kodak=True))
    figure.savefig(io.BytesIO(), format="png")
    axes = figure.axes[0]
    boxes = {text.get_text(): text.get_window_extent() for text in axes.texts}
    assert len(boxes) == 20
    for (a, box), (b, other) in combinations(boxes.items(), 2):
        # Half the height of a line may be touched by what hangs below another.
        width = min(box.x1, other.x1) - max(box.x0, other.x0)
        height = min(box.y1, other.y1) - max(box.y0, other.y0)
        assert width < 2 or height < 4, (a, b)


def test_bubbles_without_edgecomp_are_drawn_at_the_papers_quality() -> None:
    rows = [found for found in evaluation().rows if found.name in ("jpeg", "avif")]
    found = texts(bubbles(evaluation(rows=rows)))
    assert "avif 45" in found


# Stages.


def test_bars_are_the_stages() -> None:
    figure = stages(evaluation())
    compress, restore = figure.axes
    assert [patch.get_width() for patch in compress.patches] == [8, 12, 9, 16]
    assert [patch.get_x() for patch in compress.patches] == [0, 8, 0, 9]
    assert compress.get_xlim() == restore.get_xlim()
    assert {"20.0 ms", "25.0 ms", "40.0 ms", "Compress", "Restore"} <= set(texts(figure))


def test_a_stage_has_one_colour_and_no_two_have_the_same() -> None:
    many = {f"stage {index}": 10.0 for index in range(12)}
    times = [StageTimes(f"edgecomp context {q}", "compress", many) for q in "AB"]
    patches = stages(evaluation(stages=times)).axes[0].patches
    looks = [(patch.get_facecolor(), patch.get_hatch()) for patch in patches]
    assert looks[:12] == looks[12:]
    assert len(set(looks)) == 12


# What all have in common.


@pytest.mark.parametrize("draw", DRAWERS)
@pytest.mark.parametrize(
    "found",
    [NOTHING, evaluation(rows=[Row("avif", "45", skipped="no AVIF")], stages=[])],
    ids=["no rows", "all skipped"],
)
def test_nothing_measured_is_said(draw, found: Evaluation) -> None:
    assert "nothing measured" in texts(draw(found))
    assert svg(draw(found)).startswith("<svg ")


@pytest.mark.parametrize("draw", DRAWERS)
def test_one_figure_is_one_file(draw) -> None:
    once, again = draw(evaluation(kodak=True)), draw(evaluation(kodak=True))
    assert svg(once) == svg(again)
    assert svg(once) == svg(once)
    assert png(once) == png(again)


@pytest.mark.parametrize("draw", DRAWERS)
def test_svg_can_stand_in_a_page(draw) -> None:
    text = svg(draw(evaluation(kodak=True)))
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert not re.search(r"<\?xml|<!DOCTYPE|<metadata|<style|<!--|matplotlib", text)
    names = re.findall(r'\sid="([^"]*)"', text)
    assert len(names) == len(set(names))
    assert set(names) == set(re.findall(r'(?:url\(|href=")#([^)"]*)', text))
    assert len(text) < 120_000
    assert "edgecomp context A" in text or draw is rate_distortion


def test_names_of_two_figures_do_not_clash() -> None:
    found = [svg(draw(evaluation(kodak=kodak))) for draw in DRAWERS[:2] for kodak in (True, False)]
    names = [set(re.findall(r'\sid="([^"]*)"', text)) for text in found]
    assert all(names)
    assert not any(a & b for a, b in combinations(names, 2))


@pytest.mark.parametrize("draw", DRAWERS)
def test_png_is_as_wide_as_asked(draw) -> None:
    with Image.open(io.BytesIO(png(draw(evaluation()), dpi=80))) as image:
        assert image.width == 800
        assert "Software" not in image.info
        pixels = np.asarray(image.convert("RGB"))
    assert (pixels[0] == 255).all()
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20


def test_drawing_leaves_matplotlib_as_it_was() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    svg(rate_distortion(evaluation()))
    assert dict(matplotlib.rcParams) == before


def test_a_users_settings_do_not_show() -> None:
    import matplotlib

    expected = png(stages(evaluation()), dpi=50)
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red"}):
        assert png(stages(evaluation()), dpi=50) == expected


@pytest.mark.parametrize("draw", DRAWERS)
def test_without_matplotlib_the_message_says_what_to_install(
    draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UnavailableError, match=r"edgecomp\[eval\]"):
        draw(evaluation())


def test_matplotlib_is_imported_only_to_draw() -> None:
    code = "import sys, edgecomp.evaluation.figures; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_drawing_restores_settings_after_an_error() -> None:
    import matplotlib

    before = matplotlib.rcParams["svg.fonttype"]
    with contextlib.suppress(RuntimeError), drawing():
        assert matplotlib.rcParams["svg.fonttype"] != before
        raise RuntimeError
    assert matplotlib.rcParams["svg.fonttype"] == before


# Where labels go.


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ([], []),
        ([0.5], [0.5]),
        ([1.4], [1.0]),
        ([0.2, 0.8], [0.2, 0.8]),
        ([0.8, 0.2], [0.8, 0.2]),
        ([0.5, 0.5], [0.45, 0.55]),
        ([0.0, 0.0, 0.9], [0.0, 0.1, 0.9]),
        ([0.98, 0.99], [0.9, 1.0]),
    ],
)
def test_spread(wanted: list[float], expected: list[float]) -> None:
    assert spread(wanted, 0.1, 0, 1) == pytest.approx(expected)


def test_spread_keeps_distance_order_and_ends() -> None:
    generator = np.random.default_rng(7)
    for _ in range(50):
        wanted = generator.uniform(-0.2, 1.2, 9).tolist()
        places = spread(wanted, 0.1, 0, 1)
        ordered = [places[index] for index in np.argsort(wanted)]
        assert all(b - a > 0.1 - 1e-9 for a, b in pairwise(ordered))
        assert ordered[0] >= -1e-9
        assert ordered[-1] <= 1 + 1e-9


def test_spread_without_room_shares_what_there_is() -> None:
    assert spread([0.5] * 5, 10, 0, 1) == pytest.approx([0, 0.25, 0.5, 0.75, 1])


def test_placed_texts_cover_neither_each_other_nor_discs() -> None:
    crowd = [Labelled(100 + 14 * (i % 4), 100 + 12 * (i // 4), 4, 50, 9) for i in range(12)]
    boxes = place(crowd, Box(0, 0, 300, 200))
    assert all(a.overlap(b) == 0 for a, b in combinations(boxes, 2))
    for box in boxes:
        for disc in crowd:
            around = Box(disc.x - 4, disc.y - 4, disc.x + 4, disc.y + 4)
            assert box.overlap(around) == 0
        assert box.overlap(Box(0, 0, 300, 200)) == pytest.approx(box.area())


def test_a_leader_goes_from_the_rim_to_the_text() -> None:
    disc = Labelled(10, 10, 3, 20, 8)
    assert leader(disc, Box(15, 6, 35, 14)) is None
    assert leader(disc, Box(30, 6, 50, 14)) == ((13, 10), (30, 10))


def test_leaders_cross_no_text() -> None:
    """A disc hemmed in by others must lead its text out between their texts."""
    discs = [Labelled(100, 100, 2, 30, 8)]
    discs += [Labelled(100 + 14 * x, 100 + 14 * y, 4, 30, 8) for x in (-1, 0, 1) for y in (-1, 1)]
    boxes = place(discs, Box(0, 0, 200, 200))
    for disc, box in zip(discs, boxes, strict=True):
        ends = leader(disc, box)
        for part in np.linspace(0, 1, 40) if ends else ():
            x, y = (1 - part) * np.array(ends[0]) + part * np.array(ends[1])
            assert not any(
                other.left < x < other.right and other.bottom < y < other.top for other in boxes
            )


def test_a_text_beside_the_edge_stays_inside() -> None:
    (box,) = place([Labelled(95, 50, 3, 40, 10)], Box(0, 0, 100, 100))
    assert box.right <= 100
    assert math.isclose(box.right - box.left, 40)
