"""What can be pruned of a folded `edge` network; see structure.py."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from export.networks.edge import EdgeConfig, Trunk
from export.pruning.structure import Block, Convolution, Structure

PREFIX = {"encoder": "enc", "decoder": "dec"}


def structure(config: EdgeConfig) -> Structure:
    """Groups "enc_stream", "enc_block0_reduce", "enc_block0_conv" and so on; blocks "enc_block0".

    The linear path is left whole: it is the codec, and the latents are its channels.
    """
    convolutions: list[Convolution] = []
    widths: dict[str, int] = {}
    blocks: dict[str, Block] = {}
    pixels = config.patch**2
    for part, p in PREFIX.items():
        trunk: Trunk = getattr(config, part)
        ends = (config.values, config.latents)
        first, last = ends if part == "encoder" else ends[::-1]
        stream = f"{p}_stream"
        widths[stream] = trunk.width

        def add(
            name: str,
            size: int,
            source: str | int,
            target: str | int,
            block: str | None = None,
            octets: int = 1,
            part: str = part,
            p: str = p,
        ) -> None:
            convolutions.append(
                Convolution(
                    f"{p}_{name}", part, size**2, source, target, pixels, block, octets=octets
                )
            )

        add("linear", 1, first, last, octets=2)
        add("head", trunk.head, first, stream)
        for i, (reduced, inner) in enumerate(trunk.blocks):
            block = f"{p}_block{i}"
            widths[f"{block}_reduce"], widths[f"{block}_conv"] = reduced, inner
            add(f"block{i}_reduce", 1, stream, f"{block}_reduce", block)
            add(f"block{i}_conv", 3, f"{block}_reduce", f"{block}_conv", block)
            add(f"block{i}_expand", 1, f"{block}_conv", stream, block)
            blocks[block] = Block(f"{block}_expand", part)
        gates = config.latents
        add("tail", trunk.tail, stream, last + gates, octets=2)
    return Structure(tuple(convolutions), widths, blocks)


def shrink(
    config: EdgeConfig, widths: Mapping[str, int], dropped: Collection[str]
) -> tuple[EdgeConfig, dict[str, str]]:
    """The config with these widths and without those blocks, and the blocks' new prefixes."""
    names: dict[str, str] = {}
    trunks: dict[str, Trunk] = {}
    for part, p in PREFIX.items():
        trunk: Trunk = getattr(config, part)
        left = [i for i in range(len(trunk.blocks)) if f"{p}_block{i}" not in dropped]
        names |= {f"{p}_block{old}_": f"{p}_block{new}_" for new, old in enumerate(left)}
        pairs = tuple((widths[f"{p}_block{i}_reduce"], widths[f"{p}_block{i}_conv"]) for i in left)
        trunks[part] = replace(trunk, width=widths[f"{p}_stream"], blocks=pairs)
    return replace(config, quantised=False, **trunks), names
