"""Draws one picture beside what each quality makes of it, with sizes: docs/images/side_by_side.png.

python examples/side_by_side.py [PICTURE [OUTPUT]]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import edgecomp
from edgecomp.constants import QUALITIES
from edgecomp.metrics import ms_ssim

HERE = Path(__file__).parent
CROP = (300, 180, 300 + 288, 180 + 216)
GAP, CAPTION = 8, 34


def main() -> None:
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "photos" / "kodim23.png"
    target = HERE.parent / "docs" / "images" / "side_by_side.png"
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else target
    original = Image.open(source).convert("RGB")
    panels = [(f"original PNG, {source.stat().st_size / 1000:.0f} kB", original)]
    for quality in QUALITIES:
        data = edgecomp.encode(original, quality=quality)
        restored = edgecomp.decode(data)
        similarity = ms_ssim(np.asarray(original), np.asarray(restored))
        bpp = 8 * len(data) / (original.width * original.height)
        caption = f"{quality}: {len(data) / 1000:.0f} kB, {bpp:.2f} bpp, MS-SSIM {similarity:.3f}"
        panels.append((caption, restored))
    width, height = CROP[2] - CROP[0], CROP[3] - CROP[1]
    sheet = Image.new("RGB", (2 * width + GAP, 2 * (height + CAPTION) + GAP), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(15)
    for i, (caption, image) in enumerate(panels):
        left, top = i % 2 * (width + GAP), i // 2 * (height + CAPTION + GAP)
        sheet.paste(image.crop(CROP), (left, top))
        draw.text((left + 2, top + height + 6), caption, fill=(30, 30, 30), font=font)
    target.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(target, optimize=True)
    print(target)


if __name__ == "__main__":
    main()
