"""Export one quality of a trained network as a model folder.

python -m export.to_onnx RUN_OR_CHECKPOINT --quality A|B|C --out MODELDIR --data DIR [DIR...]

Writes the float and int8 ONNX graphs of encoder and decoder, a TensorFlow SavedModel, and
model.json. --data are training pictures, to calibrate the int8 ranges on. The folder is written
beside its target and then renamed, so that a half-written model never stands under its name.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import onnx
import onnxruntime

from export import checkpoint, data, graphs, manifest, quantise
from export.networks import edge
from export.settings import Settings

CALIBRATION_SIDE = 512


def calibration_pictures(
    folders: list[str], count: int, multiple: int, side: int = CALIBRATION_SIDE
) -> list[np.ndarray]:
    """uint8 [1, H, W, 3] centres of ``count`` pictures spread evenly over the sorted names."""
    files = data.list_pictures(folders)
    chosen = files[:: max(1, len(files) // count)][:count]
    out = []
    for path in chosen:
        picture = data.read_picture(path)
        height, width = (min(s, side) // multiple * multiple for s in picture.shape[:2])
        if not height or not width:
            raise data.DataError(f"{path} is smaller than one patch")
        top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
        out.append(np.ascontiguousarray(picture[None, top : top + height, left : left + width]))
    return out


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """A CPU session of a graph in memory."""
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def export(
    source: str,
    quality: str,
    out: Path,
    folders: list[str],
    *,
    position: float | None = None,
    rate_scale: float = 1.0,
    count: int = 32,
    method: str = "MinMax",
) -> bytes:
    """Write the model folder; returns the model id (8 bytes)."""
    found = checkpoint.load(source)
    settings = Settings.from_dict(found.meta["settings"])
    config = settings.network
    if quality not in config.qualities:
        raise edge.ConfigError(f"quality {quality!r}: the network has {config.qualities}")
    index = config.qualities.index(quality)
    trained = found.averaged()
    if position is not None:
        trained = edge.at_position(config, trained, index, position)
    config, folded = edge.fold(config, trained, index, rate_scale)
    weights = graphs.byte_weights(folded)
    pictures = calibration_pictures(folders, count, config.patch)

    floats = graphs.float_graphs(config, weights)
    encode = session(floats["encoder"])
    samples = {"encoder": pictures}
    samples["decoder"] = [encode.run(None, {"picture": p})[0] for p in pictures]

    partial = out.with_name(f".{out.name}.partial-{os.getpid()}")
    partial.mkdir(parents=True)
    try:
        facts = manifest.metadata(config, settings.name, quality)
        for part, model in floats.items():
            int8 = quantise.quantise(model, part, samples[part], method)
            half = graphs.halve_initialisers(model)
            for precision, graph in (("int8", int8), ("fp32", half)):
                manifest.tag(graph, facts)
                graph.producer_name, graph.producer_version = "edgecomp.export", ""
                onnx.save(graph, partial / f"{part}.{precision}.onnx")
        graphs.save_model(config, weights, partial / "saved_model")
        model_id = manifest.write(partial, config, settings.name, quality)
        if out.exists():
            shutil.rmtree(out)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return model_id


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog="export.to_onnx", description=__doc__.splitlines()[0])
    parser.add_argument("source", metavar="RUN_OR_CHECKPOINT")
    parser.add_argument("--quality", required=True)
    parser.add_argument("--out", required=True, metavar="MODELDIR", type=Path)
    parser.add_argument("--data", required=True, nargs="+", metavar="DIR")
    parser.add_argument(
        "--position", type=float, help="between the trained qualities: 1.25 is from B towards C"
    )
    parser.add_argument(
        "--rate-scale", type=float, default=1.0, help="factor on the latents: above 1 is finer"
    )
    parser.add_argument("--calibrate", type=int, default=32, help="pictures to calibrate on")
    parser.add_argument("--method", default="MinMax", choices=("MinMax", "Percentile", "Entropy"))
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    args = parse(argv)
    logging.getLogger().setLevel(logging.ERROR)  # the quantiser's hints, not ours to follow
    try:
        if keras.backend.backend() != "tensorflow":
            raise edge.ConfigError("export needs KERAS_BACKEND=tensorflow")
        if not args.rate_scale > 0 or args.calibrate < 1:
            raise edge.ConfigError("--rate-scale and --calibrate must be above zero")
        model_id = export(
            args.source,
            args.quality,
            args.out,
            args.data,
            position=args.position,
            rate_scale=args.rate_scale,
            count=args.calibrate,
            method=args.method,
        )
    except (
        edge.ConfigError,
        data.DataError,
        checkpoint.CheckpointError,
        quantise.QuantiseError,
    ) as error:
        print(f"export.to_onnx: {error}", file=sys.stderr)
        return 1
    print(f"{args.out}: model {model_id.hex()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
