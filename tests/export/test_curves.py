"""export.curves: the figure of training, from logs."""

from __future__ import annotations

from pathlib import Path

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


@pytest.mark.parametrize("content", [None, "", "a,b\n1,2\n", LOG.replace("0.98,30", "1.0,30")])
def test_no_log(content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "log.csv"
    if content is not None:
        path.write_text(content)
    assert main([str(path), "--out", str(tmp_path / "x.png")]) == 1
    assert "log.csv" in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()
