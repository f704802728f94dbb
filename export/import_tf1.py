"""Import a TensorFlow 1 checkpoint of the paper's authors as a run of the `cvpr` network.

python -m export.import_tf1 CHECKPOINT --out RUN [--quality A]

CHECKPOINT is the prefix of the checkpoint's files (".../ckpt-1000" of ckpt-1000.index and
ckpt-1000.data-00000-of-00001), or a folder, which means its latest one. The shapes are read off
the variables; those that are none of the network's (step, optimiser) are left alone. RUN holds
the weights in float32 as they were: measure it, fold and export it, train on from it (--init).
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from export import checkpoint as ckpt
from export.checkpoint import CheckpointError
from export.networks.cvpr import CvprConfig, Layer, Side, VolumeContext, layers_of
from export.networks.edge import ConfigError
from export.settings import Settings

ENCODER, DECODER = "autoencoder/encoder", "autoencoder/decoder"
CENTRES = f"{ENCODER}/centers"
CONTEXT = {
    "ctx_conv0": "probclass3d/logits/conv3d_conv0_mask",
    "ctx_res_conv1": "probclass3d/logits/res1/conv3d_conv1_mask",
    "ctx_res_conv2": "probclass3d/logits/res1/conv3d_conv2_mask",
    "ctx_conv2": "probclass3d/logits/conv3d_conv2_mask",
}
BATCH_NORM = ("gamma", "beta", "moving_mean", "moving_variance")
BLOCKS = 3  # residual blocks in a group
# The published training numbers, for the record that a run carries.
TRAINING = {
    "crop": 160,
    "batch": 30,
    "learning_rate": 8e-5,
    "schedule": "staircase",
    "lambdas": [5000.0],
    "mse_weight": 0.0,
}


@dataclass
class Variables:
    """The variables of one checkpoint; every failure is a CheckpointError naming file and name."""

    path: str
    reader: Any
    shapes: dict[str, list[int]]

    @classmethod
    def open(cls, path: str | Path) -> Variables:
        """Read the checkpoint's index."""
        # One of the files instead of their common prefix: TensorFlow would find nothing in it.
        prefix = re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", str(path))
        try:
            reader = tf.train.load_checkpoint(prefix)
            return cls(prefix, reader, reader.get_variable_to_shape_map())
        except tf.errors.NotFoundError as error:
            raise CheckpointError(f"no TensorFlow checkpoint at {prefix}") from error
        except (tf.errors.OpError, ValueError) as error:
            raise CheckpointError(f"cannot read checkpoint {prefix}: {_line(error)}") from error

    def shape(self, name: str, rank: int) -> list[int]:
        """Shape of a variable that must be there and have ``rank`` dimensions."""
        if name not in self.shapes:
            raise CheckpointError(f"checkpoint {self.path} has no variable {name}")
        shape = self.shapes[name]
        if len(shape) != rank:
            raise CheckpointError(f"checkpoint {self.path}: {name} has the shape {tuple(shape)}")
        return shape

    def get(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """float32 values of a variable of that shape."""
        if tuple(self.shape(name, len(shape))) != shape:
            raise CheckpointError(
                f"checkpoint {self.path}: {name} has the shape {tuple(self.shapes[name])}, "
                f"the other variables need {shape}"
            )
        try:
            value = np.asarray(self.reader.get_tensor(name))
        except (tf.errors.OpError, ValueError, IndexError, RuntimeError) as error:
            raise CheckpointError(
                f"checkpoint {self.path} is damaged: {name}: {_line(error)}"
            ) from error
        if value.dtype.kind != "f" or not np.isfinite(value).all():
            raise CheckpointError(f"checkpoint {self.path}: {name} has unusable values")
        return value.astype(np.float32)


def _line(error: Exception) -> str:
    """First line of an error's message."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def scope_of(name: str) -> str:
    """Scope of the variables of the convolution that is called ``name`` here."""
    part, rest = name.split("_", 1)
    root = ENCODER if part == "enc" else DECODER
    if block := re.fullmatch(r"block(\d+)_(\d+)_(conv\d)", rest):
        b, i, conv = block.groups()
        return f"{root}/res_block_{part}_{b}/{part}_{b}_{int(i) + 1}/{conv}"
    if conv_of_last := re.fullmatch(r"final_(conv\d)", rest):
        last = "res_block_enc_final" if part == "enc" else "dec_after_res"
        return f"{root}/{last}/{conv_of_last[1]}"
    return f"{root}/{rest}"


def _side(variables: Variables, part: str, first: int, width: int) -> Side:
    """Widths of one side: all of its residual blocks have the trunk's width inside too."""
    pattern = re.compile(rf"autoencoder/{part}/res_block_{part[:3]}_(\d+)/")
    found = [int(match[1]) for name in variables.shapes if (match := pattern.match(name))]
    return Side(first, width, ((width,) * BLOCKS,) * (max(found, default=-1) + 1), width)


def read_config(variables: Variables, quality: str) -> CvprConfig:
    """The network's shape, from those of the variables."""
    h1, h2, to_bn = (variables.shape(f"{ENCODER}/{n}/weights", 4) for n in ("h1", "h2", "to_bn"))
    # [k, k, out, in], transposed convolutions
    from_bn, h12 = (variables.shape(f"{DECODER}/{n}/weights", 4) for n in ("from_bn", "h12"))
    context = variables.shape(f"{CONTEXT['ctx_conv0']}/weights", 5)
    channels = from_bn[3]
    if to_bn[3] - channels not in (0, 1):
        raise CheckpointError(
            f"checkpoint {variables.path}: {ENCODER}/to_bn/weights gives {to_bn[3]} channels, "
            f"{DECODER}/from_bn/weights takes {channels}"
        )
    return CvprConfig(
        bottleneck=channels,
        centres=variables.shape(CENTRES, 1)[0],
        importance_map=to_bn[3] == channels + 1,
        qualities=(quality,),
        encoder=_side(variables, "encoder", h1[3], h2[3]),
        decoder=_side(variables, "decoder", h12[2], from_bn[2]),
        context=VolumeContext(context[4]),
    )


def read_weights(variables: Variables, config: CvprConfig) -> dict[str, np.ndarray]:
    """The weights by their names here. Kernels have the same order of dimensions in both."""
    out = {"enc_centres/centres": variables.get(CENTRES, (config.centres,))}
    for part in ("encoder", "decoder"):
        for layer in layers_of(config, part):
            out |= _convolution(variables, layer)
    width = config.context.width
    ends = ((1, width), (width, width), (width, width), (width, config.centres))
    for (name, scope), (inputs, outputs) in zip(CONTEXT.items(), ends, strict=True):
        weights = f"{scope}/weights"
        # Two planes deep, as the network uses; a third one, the next channel's, is all masked.
        depth = 3 if variables.shape(weights, 5)[0] == 3 else 2
        out[f"{name}/kernel"] = variables.get(weights, (depth, 3, 3, inputs, outputs))[:2]
        out[f"{name}/bias"] = variables.get(f"{scope}/biases", (outputs,))
    return out


def _convolution(variables: Variables, layer: Layer) -> dict[str, np.ndarray]:
    scope = scope_of(layer.name)
    kernel = variables.get(f"{scope}/weights", layer.kernel_shape(batch_norm=True))
    out = {f"{layer.name}/kernel": kernel}
    for part in BATCH_NORM:
        name = f"{scope}/BatchNorm/{part}"
        value = variables.get(name, (layer.outputs,))
        if part == "moving_variance" and (value < 0).any():
            raise CheckpointError(f"checkpoint {variables.path}: {name} has negative variances")
        out[f"{layer.name}_bn/{part}"] = value
    return out


def import_checkpoint(path: str | Path, out: Path, quality: str = "A") -> Settings:
    """Write ``out``/state.npz from the checkpoint at ``path``; returns the run's settings."""
    if (out / ckpt.NAME).exists():
        raise ConfigError(f"{out} already has a run; use another --out")
    variables = Variables.open(path)
    config = read_config(variables, quality)
    weights = read_weights(variables, config)
    plain = Settings(f"cvpr-{quality}", config).to_dict()
    settings = Settings.from_dict(plain | {"training": TRAINING})
    meta = {"settings": settings.to_dict(), "step": 0, "seconds": 0.0}
    ckpt.save(out / ckpt.NAME, ckpt.Checkpoint({"ema": weights}, meta))
    return settings


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog="export.import_tf1", description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="prefix of its files, or a folder")
    parser.add_argument("--out", required=True, metavar="RUN", type=Path)
    parser.add_argument("--quality", default="A", help="which point it is, A, B or C (default A)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    args = parse(argv)
    try:
        settings = import_checkpoint(args.checkpoint, args.out, args.quality)
    except (ConfigError, CheckpointError) as error:
        print(f"export.import_tf1: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"export.import_tf1: cannot write {args.out}: {error.strerror}", file=sys.stderr)
        return 1
    network = settings.network
    print(
        f"{args.out}: n {network.encoder.width}, {len(network.encoder.groups)} groups, "
        f"{network.bottleneck} channels, {network.centres} centres"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
