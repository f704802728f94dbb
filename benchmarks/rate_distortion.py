"""Compresses a folder at each quality with the command, restores it, and prints what came of it.

    python benchmarks/rate_distortion.py $KODAK [OPTION OF COMPRESS]...

Bits per pixel are those of the archive on disk; seconds are whole processes, start-up included.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from edgecomp.constants import QUALITIES
from edgecomp.metrics import ms_ssim, psnr


def _edgecomp(*arguments: str) -> tuple[dict[str, object], float]:
    start = time.perf_counter()
    command = [sys.executable, "-m", "edgecomp", *arguments, "--json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout), time.perf_counter() - start


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def main() -> None:
    folder, options = Path(sys.argv[1]), sys.argv[2:]
    print("quality     bpp  MS-SSIM  PSNR dB  compress s  decompress s  archive bytes")
    for quality in QUALITIES:
        with tempfile.TemporaryDirectory() as scratch:
            archive, restored = Path(scratch, "a.ecz"), Path(scratch, "restored")
            packing = ("compress", str(folder), "-o", str(archive), "-q", quality, *options)
            summary, seconds_in = _edgecomp(*packing)
            _, seconds_out = _edgecomp("decompress", str(archive), "-o", str(restored))
            scores = []
            for path in sorted(folder.rglob("*.png")):
                original = _pixels(path)
                again = _pixels(restored / path.relative_to(folder))
                scores.append((ms_ssim(original, again), psnr(original, again)))
            similarity, noise = np.mean(scores, axis=0)
            print(
                f"{quality:7} {summary['bpp']:7.4f}  {similarity:7.4f}  {noise:7.2f}"
                f"  {seconds_in:10.2f}  {seconds_out:12.2f}  {summary['bytes_out']:13,}"
            )


if __name__ == "__main__":
    main()
