"""export.curves: the figure of training, from logs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from export.curves import main, read

LOG = """step,seconds,bpp_A,msssim_A,psnr_A,bpp_B,msssim_B,psnr_B
0,0,0.7,0.97,29,1.0,0.98,31
100,60,0.6,0.98,30,0.9,0.99,32
"""


def test_points_in_the_order_of_training(tmp_path: Path) -> None:
    (tmp_path / "run.csv").write_text(LOG)
    points = read(tmp_path / "run.csv")
    assert points["A"] == [(0.7, pytest.approx(15.2288)), (0.6, pytest.approx(16.9897))]
    assert points["B"][1] == (0.9, pytest.approx(20.0))


def test_the_figure(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "run.csv").write_text(LOG)
    words = [str(tmp_path / "run.csv"), "--out", str(tmp_path / "below" / "figure.png")]
    assert main(words) == 0
    with Image.open(tmp_path / "below" / "figure.png") as figure:
        assert figure.size == (1260, 700)
        assert len(figure.convert("RGB").getcolors(1 << 24) or ()) > 10


def test_each_quality_is_named_where_its_last_run_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named: list[tuple[str, tuple[float, float]]] = []
    matplotlib_axes = pytest.importorskip("matplotlib.axes")
    real = matplotlib_axes.Axes.annotate

    def annotate(self: Any, text: str, xy: tuple[float, float], **options: Any) -> Any:
        named.append((text, xy))
        return real(self, text, xy, **options)

    monkeypatch.setattr(matplotlib_axes.Axes, "annotate", annotate)
    (tmp_path / "both.csv").write_text(LOG)
    (tmp_path / "a.csv").write_text("step,bpp_A,msssim_A\n0,0.6,0.98\n9,0.5,0.99\n")
    words = [str(tmp_path / name) for name in ("both.csv", "a.csv")]
    assert main([*words, "--out", str(tmp_path / "figure.png")]) == 0
    assert sorted(named) == [("A", (0.5, pytest.approx(20))), ("B", (0.9, pytest.approx(20)))]


@pytest.mark.parametrize("content", [None, "", "a,b\n1,2\n", LOG.replace("0.98,30", "1.0,30")])
def test_no_log(content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "log.csv"
    if content is not None:
        path.write_text(content)
    assert main([str(path), "--out", str(tmp_path / "x.png")]) == 1
    assert "log.csv" in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()
