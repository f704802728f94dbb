"""Train a decoder on for the symbols that its model's encoder and coder choose.

python -m export.decoder CHECKPOINT --model MODELDIR --data DIR [DIR...] --out RUN2 --steps N

Networks are trained on latents as they are rounded, but a model that chooses its symbols (`choice`
in its manifest) makes zeros of some: its decoder is given others than it knows, at the same rate.
Here crops of the training pictures go through MODELDIR's int8 encoder and its coder once, and the
decoder alone learns to restore them, with the roundings of its int8 graph in the loop where the
checkpoint has their ranges. Encoder and context model stay as they are to the bit, so the model
that `export.to_onnx RUN2` makes with the options of MODELDIR has the same encoder, and the same
parameters of its coder fit (`export.context --from`): the same bytes restore better.

CHECKPOINT and --rate-scale are those of MODELDIR's export; a float16 checkpoint, since rounding its
weights afterwards would change the encoder. --resume goes on, with the same options.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import jax.numpy as jnp
import numpy as np

from edgecomp.backends import load_backend
from edgecomp.entropy import ContextCoder
from edgecomp.errors import EdgecompError
from edgecomp.model_coders import load_coder
from edgecomp.models import Model, load_model
from export import checkpoint as ckpt
from export import continued, data
from export.context import chosen
from export.edge_run import SHIFT, EdgeNetworks
from export.family import Params, Result
from export.folding import fold_source
from export.networks import edge
from export.networks.edge import ConfigError, EdgeConfig
from export.settings import Settings, Training
from export.train import Run, Stop

FLOOR = 0.01  # of the learning rate: no rate is at stake, so it may come down
# Of a picture's latents, the share that the graph may round otherwise than the network does
# (measured: under 0.001). Of another letter's model a quarter differed.
UNLIKE = 0.01


class DecoderNetworks(EdgeNetworks):
    """`EdgeNetworks` of which the decoder alone is trained, on pictures that bring their symbols.

    What `run` is given is uint8 [n, H, W, 3 + planes]: a picture, and the symbols of each patch
    spread over its pixels, `planes` to each (see `with_symbols`).
    """

    def __init__(
        self, config: EdgeConfig, training: Training, *, zero: int, rate_scale: float
    ) -> None:
        super().__init__(config, training)
        self.zero, self.rate_scale = zero, rate_scale
        self.channels = 3 + planes(config)
        self.grid = config.patch

    @cached_property
    def trainable(self) -> set[str]:
        """Paths of the decoder's weights."""
        return {v.path for v in self.decoder.trainable_variables}

    def run(
        self, params: Params, pictures: jax.Array, quality: jax.Array, training: bool = False
    ) -> Result:
        """One pass; the rate is told when not training, by the float context model."""
        config = self.config
        centred = (pictures[..., :3].astype(jnp.float32) - 128.0) / 255.0
        latents = symbols_of(config, pictures[..., 3:]).astype(jnp.float32) - self.zero
        patches = self.call(self.decoder, self.scaled(params), latents, quality)
        restored = edge.from_patches(patches, config.patch)
        bpp = jnp.zeros(len(pictures))
        if not training:
            bpp = self.bits(params, latents, quality) / (pictures.shape[1] * pictures.shape[2])
        zeros = jnp.mean(latents == 0, axis=(1, 2, 3))
        rate = jnp.zeros(len(pictures))
        return Result(centred + SHIFT, restored + SHIFT, bpp, rate, latents, zeros, {})

    def scaled(self, params: Params) -> Params:
        """The weights as the export folds the rate scale into them."""
        factor = jnp.float32(1 / self.rate_scale)
        names = ("dec_linear/kernel", "dec_head/kernel")
        return {**params, **{name: params[name] * factor for name in names}}


def whole_crops(picture: np.ndarray, side: int) -> Iterator[np.ndarray]:
    """The crops of a picture [H, W, 3] that lie side by side in its middle."""
    rows, columns = (extent // side for extent in picture.shape[:2])
    top, left = (extent % side // 2 for extent in picture.shape[:2])
    for row in range(top, top + rows * side, side):
        for column in range(left, left + columns * side, side):
            yield picture[row : row + side, column : column + side]


def planes(config: EdgeConfig) -> int:
    """Values a pixel that hold the latents of a patch."""
    return -(-config.latents // config.patch**2)


def with_symbols(config: EdgeConfig, picture: np.ndarray, symbols: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] and [latents, H/8, W/8] -> [H, W, 3 + planes]: latent k of a patch is at its
    pixel k modulo 64, in row-major order, in plane k div 64."""
    patch, count = config.patch, planes(config)
    spare = count * patch**2 - config.latents
    rows, columns = symbols.shape[1:]
    spread = np.pad(symbols, ((0, spare), (0, 0), (0, 0)))
    spread = spread.reshape(count, patch, patch, rows, columns).transpose(3, 1, 4, 2, 0)
    return np.concatenate([picture, spread.reshape(*picture.shape[:2], count)], axis=2)


def symbols_of(config: EdgeConfig, spread: jax.Array) -> jax.Array:
    """The symbols that `with_symbols` spread: [n, H, W, planes] -> [n, H/8, W/8, latents]."""
    patch = config.patch
    n, height, width, count = spread.shape
    x = spread.reshape(n, height // patch, patch, width // patch, patch, count)
    x = x.transpose(0, 1, 3, 5, 2, 4).reshape(n, height // patch, width // patch, -1)
    return x[..., : config.latents]


class DecoderRun(Run):
    """A run that trains the decoder of one model folder's networks."""

    def __init__(
        self, settings: Settings, folders: list[str], out: Path, model: Model, rate_scale: float
    ) -> None:
        coder = load_coder(model, ContextCoder.name)
        assert isinstance(coder, ContextCoder)
        self._coder = coder
        self._model, self._rate_scale = model, rate_scale
        self._backend = load_backend("onnx", model, precision="int8", threads=2)
        super().__init__(settings, folders, out)

    def _networks(self) -> DecoderNetworks:
        config, training = self.settings.network, self.settings.training
        if not isinstance(config, EdgeConfig):
            raise ConfigError("only `edge` networks have decoders that can be trained alone")
        facts = (config.latents, config.patch)
        model = self._model
        if facts != (model.channels, model.stride) or model.gains != 1:
            raise ConfigError(f"{model.path} is not a model of this network")
        return DecoderNetworks(config, training, zero=model.zero, rate_scale=self._rate_scale)

    def _pictures(self, held: list[Path], files: list[Path]) -> tuple[np.ndarray, data.Pool]:
        training = self.settings.training
        centres = data.load_centres(held, training.held_back_side)
        # Each crop is coded by itself: symbols of a larger picture speak at a crop's edges of
        # pixels beyond, which the decoder would have to do without, and would learn to.
        crops = (
            crop
            for picture in data.scaled(files, training.crop, training.scales)
            for crop in whole_crops(picture, training.crop)
        )
        pool = data.pool_of(map(self._coded, crops), training.crop)
        if not len(centres):
            side = training.held_back_side
            return np.zeros((0, side, side, self.networks.channels), np.uint8), pool
        return np.stack([self._coded(picture) for picture in centres]), pool

    def _coded(self, picture: np.ndarray) -> np.ndarray:
        """A picture, its sides cut to multiples of the stride, and its symbols."""
        stride = self._model.stride
        height, width = (side // stride * stride for side in picture.shape[:2])
        picture = np.ascontiguousarray(picture[:height, :width])
        latent = chosen(self._model, self._backend.analyse(picture, 0), self._coder)
        assert isinstance(self.settings.network, EdgeConfig)
        return with_symbols(self.settings.network, picture, latent.symbols)

    def check(self, source: str) -> None:
        """Compare the encoder of the checkpoint with that of the model, on a training picture.

        Raises:
            ConfigError: they give other symbols.
        """
        config, networks = self.settings.network, self.networks
        assert isinstance(config, EdgeConfig)
        assert isinstance(networks, DecoderNetworks)
        offset, height, width = (int(v) for v in self.pool.table[0])
        size = height * width * networks.channels
        picture = self.pool.pixels[offset : offset + size].reshape(height, width, -1)[..., :3]
        picture = np.ascontiguousarray(picture)
        _, weights = edge.fold(config, self.averaged(), 0, self._rate_scale)
        params = {name: jnp.asarray(value) for name, value in weights.items()}
        patches = jnp.asarray(edge.encoder_input(config, picture[None]))
        latents = networks.call(networks.encoder, params, patches)[0]
        rounded = self._backend.analyse(picture, 0).symbols.transpose(1, 2, 0)
        unlike = np.mean(np.round(np.asarray(latents)) + self._model.zero != rounded)
        if unlike > UNLIKE:
            raise ConfigError(
                f"{self._model.path} is not a model of {source} at this rate scale:"
                f" {100 * unlike:.1f} % of the symbols of a picture differ"
            )


def starting(args: argparse.Namespace) -> Settings:
    """Write the checkpoint that the run begins from; returns its settings."""
    settings, weights = fold_source(args.source, args.quality, args.position)
    training = dataclasses.replace(continued.timed(settings.training, args), floor=FLOOR)
    settings = dataclasses.replace(settings, training=training)
    continued.write_start(args, settings, weights)
    return settings


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog="export.decoder", description=__doc__.splitlines()[0])
    parser.add_argument("source", metavar="CHECKPOINT")
    parser.add_argument("--model", required=True, metavar="MODELDIR", type=Path)
    parser.add_argument("--out", required=True, metavar="RUN", type=Path)
    parser.add_argument("--data", required=True, nargs="+", metavar="DIR")
    parser.add_argument("--quality", help="needed where the network has several")
    parser.add_argument("--position", type=float, help="as of MODELDIR")
    parser.add_argument("--rate-scale", type=float, default=1.0, help="as of MODELDIR")
    continued.add_options(parser, learning_rate=2e-4)
    return continued.parsed(parser, argv)


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    args = parse(argv)
    try:
        if not args.rate_scale > 0:
            raise ConfigError("--rate-scale must be above zero")
        model = load_model(args.model)
        settings = continued.settings_of(args, starting)
        stop = Stop()
        run = DecoderRun(settings, args.data, args.out, model, args.rate_scale)
        continued.take_up(run, args)
        run.check(args.source)
        return continued.train(run, args, stop)
    except (ConfigError, EdgecompError, data.DataError, ckpt.CheckpointError) as error:
        print(f"export.decoder: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
