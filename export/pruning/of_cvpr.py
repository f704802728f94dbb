"""What can be pruned of a folded `cvpr` network; see structure.py."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from export.networks.cvpr import CvprConfig, Side
from export.networks.edge import ConfigError
from export.pruning.structure import Block, Convolution, Structure

PREFIX = {"encoder": "enc", "decoder": "dec"}


def structure(config: CvprConfig) -> Structure:
    """Groups "enc_first", "enc_stream", "enc_block0_0", "enc_final" and so on, the last two the
    inner width of the block of that name.

    The bottleneck and the context model are left whole.
    """
    if config.batch_norm:
        raise ConfigError("network.batch_norm: only a folded network can be pruned")
    convolutions: list[Convolution] = []
    widths: dict[str, int] = {}
    blocks: dict[str, Block] = {}
    for part, p in PREFIX.items():
        side: Side = getattr(config, part)
        first, stream = f"{p}_first", f"{p}_stream"
        widths |= {first: side.first, stream: side.width}
        if part == "encoder":
            convolutions.append(Convolution("enc_h1", part, 25, 3, first, 4))
            convolutions.append(Convolution("enc_h2", part, 25, first, stream, 16))
        else:
            convolutions.append(
                Convolution("dec_from_bn", part, 9, config.bottleneck, stream, 64, phases=4)
            )
        inner: dict[str, tuple[int, str | None]] = {
            f"{p}_block{b}_{i}": (width, f"{p}_block{b}")
            for b, group in enumerate(side.groups)
            for i, width in enumerate(group)
        }
        alone = not inner
        if side.last:
            inner[f"{p}_final"] = (side.last, None)
        for name, (width, family) in inner.items():
            widths[name] = width
            if not (alone and family is None):  # else the outer skip would go with the block
                blocks[name] = Block(f"{name}_conv2", part, family)
            convolutions.append(Convolution(f"{name}_conv1", part, 9, stream, name, 16, name))
            convolutions.append(Convolution(f"{name}_conv2", part, 9, name, stream, 16, name))
        if part == "encoder":
            channels = config.bottleneck + config.importance_map
            convolutions.append(Convolution("enc_to_bn", part, 25, stream, channels, 64))
        else:
            convolutions.append(Convolution("dec_h12", part, 9, stream, first, 16, phases=4))
            convolutions.append(Convolution("dec_h13", part, 9, first, 3, 4, phases=4))
    return Structure(tuple(convolutions), widths, blocks)


def shrink(
    config: CvprConfig, widths: Mapping[str, int], dropped: Collection[str]
) -> tuple[CvprConfig, dict[str, str]]:
    """The config with these widths and without those blocks, and the blocks' new prefixes."""
    names: dict[str, str] = {}
    sides: dict[str, Side] = {}
    for part, p in PREFIX.items():
        side: Side = getattr(config, part)
        groups = []
        for b, group in enumerate(side.groups):
            left = [i for i in range(len(group)) if f"{p}_block{b}_{i}" not in dropped]
            names |= {f"{p}_block{b}_{o}_": f"{p}_block{b}_{n}_" for n, o in enumerate(left)}
            groups.append(tuple(widths[f"{p}_block{b}_{i}"] for i in left))
        last = 0 if f"{p}_final" in dropped else widths.get(f"{p}_final", side.last)
        sides[part] = replace(
            side,
            first=widths[f"{p}_first"],
            width=widths[f"{p}_stream"],
            groups=tuple(groups),
            last=last,
        )
    return replace(config, quantised=False, **sides), names
