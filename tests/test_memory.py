"""Peak memory of the real commands: that of Pillow's image and a little more."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROWS = 64  # of a strip that large pictures are made of


def make(path: Path, width: int, height: int) -> None:
    """A picture of slopes and edges, quick to make."""
    strip = Image.linear_gradient("L").resize((width, ROWS))
    strip = Image.merge(
        "RGB", [strip, strip.rotate(180), Image.effect_mandelbrot(strip.size, (-2, -1, 1, 1), 40)]
    )
    image = Image.new("RGB", (width, height))
    for top in range(0, height, ROWS):
        image.paste(strip, (0, top))
    image.save(path, compress_level=1)


# On Linux a child's peak is at least its parent's size, and that of the tests may be large: so the
# command is the child of a small process.
STARTER = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(process.pid, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_maxrss)
"""


def peak(*words: str | Path) -> float:
    """Peak resident memory of an edgecomp command, in MB."""
    command = [sys.executable, "-m", "edgecomp", *map(str, words), "--quiet"]
    started = [sys.executable, "-S", "-c", STARTER, *command]
    done = subprocess.run(started, check=True, capture_output=True, text=True)
    code, kibibytes = map(int, done.stdout.split())
    assert code == 0, done.stderr
    return kibibytes * 1024 / 1e6


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
@pytest.mark.parametrize(
    ("width", "height"),
    [(6000, 4000), pytest.param(12500, 8000, marks=pytest.mark.slow)],
)
def test_large_pictures_take_pillows_image_and_a_little(
    tmp_path: Path, width: int, height: int
) -> None:
    # Another process makes it, for the same reason.
    code = f"import test_memory; test_memory.make({str(tmp_path / 'a.png')!r}, {width}, {height})"
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    subprocess.run([sys.executable, "-c", code], check=True, env=here)
    pixels = width * height / 1e6
    most = 4 * pixels + 290  # Pillow's four bytes a pixel; libraries, models, tiles in work
    compress = peak("compress", tmp_path / "a.png", "-o", tmp_path / "a.ecz", "-q", "A")
    decompress = peak("decompress", tmp_path / "a.ecz", "-o", tmp_path / "out")
    assert compress < most
    assert decompress < most
    if pixels >= 100:
        assert max(compress, decompress) < 700
    header = (tmp_path / "out" / "a.png").read_bytes()[16:24]
    assert struct.unpack(">II", header) == (width, height)
