"""What of a folded network can be removed, as data.

A network is described by its convolutions and by *groups*: sets of channels that stand and fall
together, such as the inner width of one block or the residual stream of a trunk. Removing channel
k of a group removes filter k of every convolution that writes the group and input k of every one
that reads it. Blocks are residual branches that can be left out whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Convolution:
    """One convolution: weights ``name``/kernel [h, w, in, phases out] and ``name``/bias."""

    name: str
    part: str  # "encoder" or "decoder"
    taps: int  # h w
    source: str | int  # group of its inputs, or their number where it is fixed
    target: str | int  # the same of its outputs
    pixels: int  # pixels of the picture that one position spans
    block: str | None = None  # residual block that it belongs to
    phases: int = 1  # times the outputs stand in the kernel, one behind the other (polyphase)
    octets: int = 1  # bytes a weight takes in the int8 graph: 2 in the exact integer product


@dataclass(frozen=True)
class Block:
    """A residual block: ``last`` is the convolution that writes its branch. Of blocks with the
    same ``family`` one always stays: without any, the skip around them would go too."""

    last: str
    part: str
    family: str | None = None


@dataclass(frozen=True)
class Structure:
    """What of a network can be removed: convolutions, width of each group, blocks by name."""

    convolutions: tuple[Convolution, ...]
    widths: dict[str, int]
    blocks: dict[str, Block] = field(default_factory=dict)

    def producers(self, group: str) -> list[Convolution]:
        """The convolutions whose outputs are the group's channels."""
        return [c for c in self.convolutions if c.target == group]

    def part_of(self, group: str) -> str:
        """The part that the group belongs to."""
        return self.producers(group)[0].part

    def block_of(self, group: str) -> str | None:
        """The block that a group is inside of; the residual stream is in none."""
        touching = {c.block for c in self.convolutions if group in (c.source, c.target)}
        return touching.pop() if len(touching) == 1 else None
