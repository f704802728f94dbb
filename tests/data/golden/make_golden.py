"""Writes golden codestreams of the frozen models; only ever add, never write one anew.

Those called "tiled", and "v1-map-sections", are of before tiles had hashes: nothing writes such any
more, everything must read them.

python tests/data/golden/make_golden.py NEW_FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from edgecomp.codec import Codec
from edgecomp.codestream import Origin, parse
from edgecomp.pictures import Picture
from edgecomp.symbol_hash import symbol_hash

FOLDERS = Path(__file__).parent.parent


def scene(width: int, height: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    planes = ((x * 5 + y) % 256, (x * y // 7) % 256, np.where((x - 40) ** 2 < y * 20, 230, 25))
    return np.dstack(planes).astype(np.uint8)


def main(target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    origin = Origin(".jpg", 1_600_000_000_000_000_000, 0x12345678)
    alpha = scene(61, 37)[..., 0].copy()
    cases = {
        "v1-edge": ("tiny", Picture(scene(100, 75)), {"origin": origin}),
        "v1-edge-tile-hashes": ("tiny", Picture(scene(100, 75)), {"tile": 32}),
        "v1-map-gain": ("tiny-map", Picture(scene(64, 128)), {"gain": 1}),
        "v1-map-sections-tile-hashes": (
            "tiny-map",
            Picture(
                scene(61, 37), alpha=alpha, grey=True, exif=b"MM\0*", icc=b"icc" * 99, xmp=b"<x/>"
            ),
            {"tile": 16},
        ),
        "v1-one-pixel": ("tiny", Picture(scene(1, 1)), {}),
    }
    # Of models with parameters of the coder `context`, tests/data/context.
    by_context = {
        "v1-context": ("tiny", Picture(scene(100, 75)), {"origin": origin}),
        "v1-context-tile-hashes": ("tiny", Picture(scene(61, 37)), {"tile": 32}),
        "v1-context-map": ("tiny-map", Picture(scene(64, 128)), {"gain": 1}),
        "v1-context-map-tile-hashes": (
            "tiny-map",
            Picture(scene(61, 37)),
            {"gain": 1, "tile": 32},
        ),
    }
    document: dict[str, dict[str, object]] = {}
    every = [("models", *case) for case in cases.items()]
    every += [("context", *case) for case in by_context.items()]
    for folder, name, (model, picture, options) in every:
        codec = Codec.load(model=FOLDERS / folder / model)
        data = codec.encode(picture, **options)
        (target / f"{name}.edge").write_bytes(data)
        stream = parse(data)
        pixels = codec.decode(stream).rgb
        document[name] = {
            "model": model,
            **({} if folder == "models" else {"folder": folder}),
            "symbol_hash": symbol_hash(codec.decode_symbols(stream)).hex(),
            "shape": list(pixels.shape),
            "sums": [int(v) for v in pixels.sum(axis=(0, 1), dtype=np.int64)],
        }
    (target / "codestreams.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
