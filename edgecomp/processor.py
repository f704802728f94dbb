"""What this machine's processor is called and which vector instructions it has, for people."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import Final

from edgecomp.native import Instructions, instructions

_CPUINFO: Final = Path("/proc/cpuinfo")
# What boards are called, by their device tree (Raspberry Pi and most other ARM boards).
_BOARD: Final = Path("/proc/device-tree/model")
# Cores of ARM Ltd. by the part number that they tell ("CPU part"), as far as boards have them.
_ARM_LTD: Final = 0x41
_ARM_CORES: Final = {
    0xD03: "Cortex-A53",
    0xD04: "Cortex-A35",
    0xD05: "Cortex-A55",
    0xD07: "Cortex-A57",
    0xD08: "Cortex-A72",
    0xD09: "Cortex-A73",
    0xD0A: "Cortex-A75",
    0xD0B: "Cortex-A76",
    0xD0C: "Neoverse N1",
    0xD0D: "Cortex-A77",
    0xD40: "Neoverse V1",
    0xD41: "Cortex-A78",
    0xD44: "Cortex-X1",
    0xD46: "Cortex-A510",
    0xD47: "Cortex-A710",
    0xD49: "Neoverse N2",
    0xD4B: "Cortex-A78C",
    0xD4D: "Cortex-A715",
    0xD4F: "Neoverse V2",
}
_WORDS: Final = {
    Instructions.SSE41: "SSE4.1",
    Instructions.AVX2: "AVX2",
    Instructions.AVX512: "AVX-512",
    Instructions.NEON: "NEON",
    Instructions.DOT_PRODUCT: "dot products of bytes",
    Instructions.I8MM: "matrix products of bytes",
}


def processor_name() -> str:
    """The processor's name, and the board's where the system tells; the architecture at least.

    Never raises.
    """
    found = [_board(), *_processor()]
    names = list(dict.fromkeys(name for name in found if name))
    return ", ".join(names) or platform.machine() or "unknown"


def has_dot_product() -> bool | None:
    """Whether there are instructions that sum four products of bytes at once (VNNI on x86, UDOT and
    SDOT on ARM), which int8 networks gain most from; None where the processor is of a kind that
    nothing is known of."""
    found = instructions()
    return bool(found & Instructions.DOT_PRODUCT) if found else None


def instruction_names() -> tuple[str, ...]:
    """The vector instructions in words, the most capable last."""
    found = instructions()
    return tuple(word for bit, word in _WORDS.items() if found & bit)


def _board() -> str:
    return _text(_BOARD).rstrip("\0").strip()


def _processor() -> list[str]:
    if sys.platform == "win32":
        from edgecomp import windows

        return [windows.processor_name()]
    elif sys.platform == "darwin":
        return [platform.processor()]
    else:
        fields = _fields(_text(_CPUINFO))
        named = fields.get("model name") or fields.get("Model")
        return [*(named or [])[:1], *_arm_cores(fields)]


def _fields(text: str) -> dict[str, list[str]]:
    """By subject, the different values that ``/proc/cpuinfo`` has, in their order."""
    fields: dict[str, list[str]] = {}
    for line in text.splitlines():
        subject, colon, value = line.partition(":")
        values = fields.setdefault(subject.strip(), [])
        if colon and value.strip() and value.strip() not in values:
            values.append(value.strip())
    return fields


def _arm_cores(fields: dict[str, list[str]]) -> list[str]:
    """Names of ARM Ltd.'s cores; a processor may have several kinds."""
    try:
        makers = {int(value, 0) for value in fields.get("CPU implementer", ())}
        parts = [int(value, 0) for value in fields.get("CPU part", ())]
    except ValueError:
        return []
    return [_ARM_CORES[part] for part in parts if makers == {_ARM_LTD} and part in _ARM_CORES]


def _text(path: Path) -> str:
    """A file's text; empty where it cannot be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
