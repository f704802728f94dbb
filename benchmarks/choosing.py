"""What choosing symbols for their rate is worth (docs/context-coder.md), on a shipped model.

    python benchmarks/choosing.py FOLDER --quality A --lambda 0.02 0.05

Gives the model's manifest each lambda's threshold (and its int8 encoder the output `fractions`, if
it has none), in a folder that is removed again, and compresses and restores each PNG picture of
FOLDER. Bits per pixel are those of whole codestreams, over all pixels; MS-SSIM and PSNR are means
of the pictures. The first line is of the model without a choice. `saved` is of bytes, `net` is
less what MS-SSIM loses: --slope decibels of -10 log10(1 - MS-SSIM) are worth a percent of the
bytes. Needs the extra `export`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

sys.path.append(str(Path(__file__).parent.parent))  # for export, which is never installed

from edgecomp.codec import Codec
from edgecomp.codestream import parse
from edgecomp.constants import DEFAULT_QUALITY, QUALITIES
from edgecomp.errors import EdgecompError
from edgecomp.metrics import bits_per_pixel, ms_ssim, psnr
from edgecomp.models import MANIFEST, Model, shipped_model
from edgecomp.pictures import Picture, read_picture
from export import fractions

# From one shipped model to the next, on Kodak, it is 0.056 for small steps; over steps of these
# sizes, which compound, a straight line of 0.060 comes nearer.
SLOPE = 0.060


@dataclass(frozen=True)
class Outcome:
    """Of all pictures: bits per pixel, mean MS-SSIM, mean PSNR in decibels."""

    bpp: float
    similarity: float
    noise: float

    @property
    def decibels(self) -> float:
        """MS-SSIM on a scale on which equal steps look alike."""
        return float(-10 * np.log10(1 - self.similarity))

    def saved(self, other: Outcome) -> float:
        """Percent of the bytes of another outcome."""
        return 100 * (1 - self.bpp / other.bpp)

    def net(self, other: Outcome, slope: float) -> float:
        """Percent saved less percent that making up for the MS-SSIM would cost."""
        return self.saved(other) - (other.decibels - self.decibels) / slope


def choosing_model(model: Model, rate: float, folder: Path) -> Path:
    """A model in ``folder`` that is ``model`` in int8 but chooses its symbols at a lambda; at 0 it
    leaves them as they were rounded."""
    encoder = onnx.load_from_string(model.read_graph("encoder", "int8"))
    if fractions.NAME not in {output.name for output in encoder.graph.output}:
        fractions.add(encoder, model.zero)
    record = json.loads((model.path / MANIFEST).read_bytes())
    files = {
        "encoder": encoder.SerializeToString(),
        "decoder": model.read_graph("decoder", "int8"),
    }
    for role, data in files.items():
        name = f"{role}.int8.onnx"
        (folder / name).write_bytes(data)
        entry = {"file": name, "sha256": hashlib.sha256(data).hexdigest()}
        record["graphs"][role] = {"int8": entry}
    parameters = model.read_coder("context")
    if parameters is None:
        raise fractions.FractionsError(f"model {model.name} has no parameters for `context`")
    (folder / model.coder_files["context"].file).write_bytes(parameters)
    record["saved_model"] = {}
    record.pop("choice", None)
    if rate:
        record["choice"] = {"threshold": fractions.threshold(rate)}
    (folder / MANIFEST).write_text(json.dumps(record), encoding="utf-8")
    return folder


def measure(codec: Codec, pictures: Sequence[Picture]) -> Outcome:
    """Compress and restore pictures."""
    size, scores = 0, []
    for picture in pictures:
        data = codec.encode(picture)
        size += len(data)
        again = codec.decode(parse(data)).rgb
        scores.append((ms_ssim(picture.rgb, again), psnr(picture.rgb, again)))
    similarity, noise = np.mean(scores, axis=0)
    pixels = sum(picture.width * picture.height for picture in pictures)
    return Outcome(bits_per_pixel(size, pixels), float(similarity), float(noise))


def at(model: Model, rate: float, pictures: Sequence[Picture]) -> Outcome:
    """The outcome of a lambda; 0 is the model without a choice."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = choosing_model(model, rate, Path(scratch))
        return measure(Codec.load(model=folder), pictures)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    parser.add_argument("--quality", choices=QUALITIES, default=DEFAULT_QUALITY)
    parser.add_argument("--lambda", dest="rates", nargs="+", type=float, default=[0.02, 0.05])
    parser.add_argument("--slope", type=float, default=SLOPE)
    args = parser.parse_args(argv)
    try:
        files = sorted(args.folder.rglob("*.png"))
        pictures = [read_picture(file.read_bytes(), name=file.name) for file in files]
        if not pictures:
            raise fractions.FractionsError(f"no PNG pictures in {args.folder}")
        model = shipped_model(args.quality)
        print("lambda     bpp  MS-SSIM  PSNR dB   saved     net", flush=True)
        plain = at(model, 0, pictures)
        for rate in (0, *(rate for rate in args.rates if rate)):
            found = at(model, rate, pictures) if rate else plain
            print(
                f"{rate:6g} {found.bpp:7.4f}  {found.similarity:7.5f}  {found.noise:7.2f}"
                f" {found.saved(plain):6.1f}% {found.net(plain, args.slope):6.1f}%",
                flush=True,
            )
    except (EdgecompError, fractions.FractionsError, OSError) as error:
        print(f"choosing: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
