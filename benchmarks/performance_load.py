"""How busy a machine was with other work while something was measured."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

# Of a line of /proc/stat: user, nice, system, irq, softirq, steal; guests are in user already.
_BUSY = (1, 2, 3, 6, 7, 8)


@dataclass(frozen=True)
class Load:
    """A moment: seconds of the clock, of all processors, of this process and its children.

    Attributes:
        processors: how many there are.
    """

    clock: float
    busy: float
    own: float
    processors: int

    def of_others(self, since: Load) -> float:
        """The share of the processors' time that went to other work since a moment before."""
        others = (self.busy - since.busy) - (self.own - since.own)
        whole = (self.clock - since.clock) * self.processors
        return min(1.0, max(0.0, others / whole)) if whole > 0 else 0.0


def load_now(stat: Path = Path("/proc/stat")) -> Load | None:
    """This moment; None where the system does not tell."""
    try:
        lines = [line.split() for line in stat.read_text(encoding="ascii").splitlines()]
        processors = [line for line in lines if line and line[0][:3] == "cpu" and line[0] != "cpu"]
        ticks = sum(int(line[i]) for line in processors for i in _BUSY)
    except (OSError, ValueError, IndexError):
        return None
    if not processors:
        return None
    used = os.times()
    own = used.user + used.system + used.children_user + used.children_system
    busy = ticks / os.sysconf("SC_CLK_TCK")
    return Load(time.perf_counter(), busy, own, len(processors))
