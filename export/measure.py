"""Figures of a trained network, and of the models exported from it, on a folder of pictures.

python -m export.measure RUN_OR_CHECKPOINT --data DIR [--models DIR] [--fit A=0.976] [--at A=0.1]

Prints per quality the context model's ideal bits a pixel, MS-SSIM and PSNR (means over the
pictures): of the float network; with --models, of DIR/A, DIR/B ... in both precisions under
onnxruntime, with the milliseconds of a pass. --fit finds the position between the trained
qualities at which the float network's MS-SSIM is as asked, --at measures at one. Sides are cut to
multiples of the stride. The last figure is the share of latents that are zero or, of a `cvpr`
network, masked out by its importance map; those cost nothing there, and the map itself counts with
the entropy of its levels.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import jax.numpy as jnp
import keras
import numpy as np
import onnxruntime

from export import checkpoint, data, losses, step
from export.edge_run import EdgeNetworks
from export.family import Params
from export.networks import edge
from export.settings import Settings

FIT_STEPS = 4
FIT_TOLERANCE = 2e-3  # of log(1 - MS-SSIM): 0.00005 of MS-SSIM at 0.975


class Meter:
    """The float networks of a checkpoint, ready to be measured."""

    def __init__(self, source: str) -> None:
        found = checkpoint.load(source)
        self.settings = Settings.from_dict(found.meta["settings"])
        self.config = self.settings.network
        self.networks = step.networks_of(self.settings)
        self.weights = step.matching(found.averaged(), self.networks.weights(), source)
        self.params = {k: jnp.asarray(v) for k, v in self.weights.items()}
        self._run = jax.jit(self._float)
        self._compare = jax.jit(compare)

    def _float(
        self, params: Params, picture: jax.Array, quality: jax.Array
    ) -> tuple[jax.Array, ...]:
        result = self.networks.run(params, picture, quality)
        restored = jnp.round(jnp.clip(result.restored, 0.0, 1.0) * 255.0)
        return result.latents, restored, result.bpp[0], result.zeros[0]

    def float_pass(self, picture: np.ndarray, quality: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(uint8 [1, H, W, 3], int32 [1]) -> latents [1, h, w, c], rounded picture in 0..255."""
        latents, restored, _, _ = self._run(self.params, picture, quality)
        return np.asarray(latents), np.asarray(restored)

    def place(self, quality: int, position: float) -> None:
        """Let ``quality`` stand at a position between the trained ones."""
        if not isinstance(self.config, edge.EdgeConfig):
            raise edge.ConfigError("positions are between the qualities of one edge network")
        moved = edge.at_position(self.config, self.weights, quality, position)
        self.params = {k: jnp.asarray(v) for k, v in moved.items()}

    def float_figures(self, pictures: list[np.ndarray], quality: int) -> np.ndarray:
        """[bpp, MS-SSIM, PSNR, share of zeros] of the float network; means over the pictures."""
        rows = []
        for picture in pictures:
            which = np.full((1,), quality, np.int32)
            _, restored, bpp, zeros = self._run(self.params, picture, which)
            similarity, psnr = self._compare(picture, restored)
            rows.append([float(x) for x in (bpp, similarity, psnr, zeros)])
        return np.mean(rows, axis=0)

    def graph_figures(
        self, pictures: list[np.ndarray], quality: int, folder: Path, precision: str, threads: int
    ) -> np.ndarray:
        """[bpp, MS-SSIM, PSNR, zeros, encoder ms, decoder ms]; the times are medians."""
        if not isinstance(self.networks, EdgeNetworks):
            raise edge.ConfigError("--models measures the exported models of an edge network")
        which, rate = jnp.full((1,), quality, jnp.int32), jax.jit(self.networks.bits)
        encode, decode = (
            _session(folder / f"{part}.{precision}.onnx", threads)
            for part in ("encoder", "decoder")
        )
        rows, times = [], []
        for picture in pictures:
            start = time.perf_counter()
            symbols = encode.run(None, {"picture": picture})[0]
            middle = time.perf_counter()
            restored = decode.run(None, {"symbols": symbols})[0]
            times.append([middle - start, time.perf_counter() - middle])
            latents = symbols.astype(np.float32).transpose(0, 2, 3, 1) - 128.0
            bits = float(rate(self.params, jnp.asarray(latents), which)[0])
            similarity, psnr = self._compare(picture, restored.astype(np.float32))
            pixels = picture.shape[1] * picture.shape[2]
            zeros = float(np.mean(latents == 0))
            rows.append([bits / pixels, float(similarity), float(psnr), zeros])
        return np.concatenate([np.mean(rows, axis=0), np.median(times, axis=0) * 1000])

    def fit(self, pictures: list[np.ndarray], quality: int, target: float) -> float:
        """Position whose MS-SSIM is ``target``: secant steps, for -log(1 - MS-SSIM) is nearly
        linear in it."""

        def gap(at: float) -> float:
            self.place(quality, at)
            similarity = self.float_figures(pictures, quality)[1]
            return float(np.log(1 - target) - np.log(1 - similarity))

        a, b = float(quality), quality + 0.2
        gap_a = gap(a)
        if gap_a > 0:  # finer than asked already
            b = quality - 0.2
        for _ in range(FIT_STEPS):
            gap_b = gap(b)
            if abs(gap_b) < FIT_TOLERANCE or gap_b == gap_a:
                break
            step_to = float(
                np.clip(b - gap_b * (b - a) / (gap_b - gap_a), quality - 1, quality + 1)
            )
            a, gap_a, b = b, gap_b, step_to
        return b


def compare(picture: jax.Array, restored: jax.Array) -> tuple[jax.Array, jax.Array]:
    """MS-SSIM and PSNR of one picture [1, H, W, 3] in 0..255."""
    a, b = picture.astype(jnp.float32) / 255.0, restored / 255.0
    psnr = -10.0 * jnp.log10(jnp.maximum(losses.mse(a, b)[0], 1e-10))
    return losses.ms_ssim(a, b)[0], psnr


def _session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def load_pictures(folder: str, stride: int, limit: int | None) -> list[np.ndarray]:
    """uint8 [1, H, W, 3] each, sides cut to multiples of ``stride``."""
    out = []
    for path in data.list_pictures([folder])[:limit]:
        picture = data.read_picture(path)
        height, width = (side // stride * stride for side in picture.shape[:2])
        out.append(np.ascontiguousarray(picture[None, :height, :width]))
    return out


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog="export.measure", description=__doc__.splitlines()[0])
    parser.add_argument("source", metavar="RUN_OR_CHECKPOINT")
    parser.add_argument("--data", required=True, metavar="DIR")
    parser.add_argument("--models", type=Path, metavar="DIR", help="folder of the model folders")
    parser.add_argument("--fit", nargs="+", default=[], metavar="QUALITY=MSSSIM")
    parser.add_argument("--at", nargs="+", default=[], metavar="QUALITY=POSITION")
    parser.add_argument("--qualities", nargs="+", metavar="QUALITY", help="only these")
    parser.add_argument("--limit", type=int, help="only the first pictures")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    args = parse(argv)
    try:
        if keras.backend.backend() != "jax":
            raise edge.ConfigError("measuring needs KERAS_BACKEND=jax")
        meter = Meter(args.source)
        targets = dict(item.split("=", 1) for item in args.fit)
        places = dict(item.split("=", 1) for item in args.at)
        pictures = load_pictures(args.data, meter.settings.stride, args.limit)
        for index, name in enumerate(meter.config.qualities):
            if args.qualities and name not in args.qualities:
                continue
            if name in places:
                meter.place(index, float(places[name]))
            show(f"{name} float", meter.float_figures(pictures, index))
            if name in targets:
                position = meter.fit(pictures, index, float(targets[name]))
                meter.place(index, position)
                show(f"{name} at {position:.3f}", meter.float_figures(pictures, index))
            if args.models is not None:
                for precision in ("fp32", "int8"):
                    folder = args.models / name
                    row = meter.graph_figures(pictures, index, folder, precision, args.threads)
                    show(f"{name} {precision}", row)
    except (edge.ConfigError, data.DataError, checkpoint.CheckpointError, ValueError) as error:
        print(f"export.measure: {error}", file=sys.stderr)
        return 1
    return 0


def show(label: str, row: np.ndarray) -> None:
    """One line of figures."""
    text = f"{label:16s} {row[0]:.4f} bpp  {row[1]:.5f}  {row[2]:.2f} dB  zeros {row[3]:.3f}"
    if len(row) > 4:
        text += f"  encoder {row[4]:.1f} ms  decoder {row[5]:.1f} ms"
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
