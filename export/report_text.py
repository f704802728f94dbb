"""The words and tables of export.report's Markdown."""

from __future__ import annotations

import argparse
import platform
import shlex
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from export.coded_graph import Tally
    from export.report import Row

HEAD = (
    "",
    "parameters",
    "multiply-adds a pixel",
    "bytes",
    "graph run",
    "seconds a picture",
    "bpp",
    "MS-SSIM",
    "PSNR, dB",
)
METHOD = """\
- Parameters and multiply-adds are those of encoder and decoder together, normalisation folded into
  the weights; the context model that training uses does not ship.
- Bytes of the float rows are four a parameter. Bytes of int8 are the two ONNX files, with their
  nodes, scales and biases. Huffman coding replaces the int8 weights in these files by canonical
  Huffman codes, one code a tensor, code tables counted (Han, Mao and Dally, "Deep Compression",
  2016); the rest of the files is counted as it is. The coded graphs were decoded and were equal to
  those that were coded, so the figures of that row are those of the row above it.
- Seconds are one pass of the encoder and one of the decoder through edgecomp's ONNX backend, the
  median over the pictures; every picture went through all rows of a quality one after another.
- Bits a pixel are the bytes of edgecomp's codestreams, headers counted.
  bpp, MS-SSIM and PSNR are means over the pictures."""
DATA_NAMES = ("$TRAIN", "$TRAIN_MORE")


@dataclass(frozen=True)
class Setting:
    """What the figures were measured with, and how to measure them again."""

    pictures: int
    coder: str
    threads: int
    onnxruntime: str
    processor: str
    command: str

    @classmethod
    def of(cls, args: argparse.Namespace, pictures: int) -> Setting:
        """That of a parsed command line and this machine."""
        return cls(
            pictures,
            args.coder,
            args.threads,
            version("onnxruntime"),
            processor(),
            command(args),
        )


def processor() -> str:
    """The architecture, and what int8 speed depends on where it is x86."""
    machine = platform.machine()
    try:
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return machine
    flags = next((line.split() for line in info.splitlines() if line.startswith("flags")), [])
    if "avx2" not in flags:
        return machine
    vnni = "with" if {"avx_vnni", "avx512_vnni"} & set(flags) else "without"
    return f"{machine} with AVX2, {vnni} VNNI"


def command(args: argparse.Namespace) -> str:
    """The command line again, data folders by the names that the documentation gives them."""
    lines = ["python -m export.report --kodak $KODAK"]
    if args.data:
        names = [*DATA_NAMES, *("DIR" for _ in args.data)][: len(args.data)]
        lines[0] += " --data " + " ".join(names)
    for quality, *sources in args.stages:
        words = [quality, *(_relative(source) for source in sources)]
        lines.append("--stages " + " ".join(shlex.quote(word) for word in words))
    tail = []
    for name, usual in (("coder", "lzma"), ("calibrate", 32), ("threads", 2), ("limit", None)):
        if getattr(args, name) != usual:
            tail.append(f"--{name} {getattr(args, name)}")
    for name in ("out", "json"):
        if getattr(args, name) is not None:
            tail.append(f"--{name} {shlex.quote(_relative(str(getattr(args, name))))}")
    lines += [" ".join(tail)] if tail else []
    return " \\\n    ".join(lines)


def _relative(source: str) -> str:
    """A path as it is to be typed in the folder where the command runs."""
    path = Path(source)
    if not path.is_absolute():
        return source
    here = Path.cwd()
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else path.name


def thousands(value: int) -> str:
    """1234567 as "1 234 567", which does not break."""
    return f"{value:,}".replace(",", "\u00a0")


def table(rows: list[Row]) -> str:
    """Markdown table of one quality."""
    lines = [f"| {' | '.join(HEAD)} |", "|---|" + "---:|" * (len(HEAD) - 1)]
    for row in rows:
        cells = (
            row.name,
            thousands(row.parameters),
            thousands(round(row.multiply_adds)),
            thousands(row.bytes),
            row.precision,
            f"{row.seconds:.3f}",
            f"{row.bpp:.3f}",
            f"{row.ms_ssim:.4f}",
            f"{row.psnr:.2f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def quality_section(quality: str, rows: list[Row], tally: Tally) -> str:
    """Heading, table and a word on the codes."""
    bits = 8 * tally.codes / max(tally.weights, 1)
    entropy = tally.entropy / max(tally.weights, 1)
    return (
        f"## Quality {quality}\n\n{table(rows)}\n\n"
        f"From the first row to the last: {rows[0].bytes / rows[-1].bytes:.1f} times fewer bytes, "
        f"{rows[0].seconds / rows[-1].seconds:.1f} times the speed. The codes take {bits:.2f} bits "
        f"an int8 weight (entropy {entropy:.2f}), their tables {thousands(tally.tables)} bytes, "
        f"what is not coded {thousands(tally.rest)}.\n"
    )


def page(results: dict[str, tuple[list[Row], Tally]], setting: Setting) -> str:
    """The whole report."""
    sections = [quality_section(quality, *result) for quality, result in results.items()]
    return "\n".join(
        [
            "# Network compression\n",
            "What pruning, int8 and Huffman coding make of the networks, and what they cost.\n",
            *sections,
            "## How it was measured\n",
            f"- {setting.pictures} pictures of the Kodak suite; onnxruntime {setting.onnxruntime}, "
            f"{setting.threads} threads, {setting.processor};\n"
            f"  symbols coded by `{setting.coder}`.",
            METHOD,
            "\nThis page was written by the command below. export/README.md has those that made"
            "\nwhat it reads.\n",
            f"    {setting.command}\n".replace("\n    ", "\n        "),
        ]
    )
