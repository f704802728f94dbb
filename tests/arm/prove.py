"""Proves that edgecomp makes the same on ARM as on x86: `bash tests/arm/prove.sh`; docs/arm.md.

Ends with 0 and "all N comparisons equal"; with 1 at the first difference, naming it; with 2 where
the proof cannot be run, saying why.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from common import DATA, ROOT
from foreign import FOREIGN

from arm import c_programs
from arm.compare import DifferenceError, Log, compare_fp32, found_alike
from arm.machines import Machine, emulated, here
from arm.pictures import make_pictures
from arm.root import (
    CORES,
    UnavailableError,
    arm_packages,
    arm_root,
    build_requirements,
    check_cores,
    core_prefix,
    found_program,
    locked,
    own_packages,
    python_of,
)
from arm.wheel import build_wheel, check_wheel, unpack_wheel
from edgecomp.models import Model, load_model, shipped_models

BUILD = ROOT / "build" / "arm"
OLDER = "1.23.2"
# Older ones have no ConvInteger with signed weights, which most frozen models of the tests use and
# those that ship do not.
FIRST_WITH_CONV_INTEGER = (1, 24)
FROZEN = (
    "models/tiny",
    "models/tiny-map",
    "models/tiny-quantised",
    "context/tiny",
    "context/tiny-map",
    "choice/tiny",
)
CVPR = "cvpr/tiny"
QUICK = ("context/tiny-map", CVPR)
TOGETHER = 2  # machines


@dataclass(frozen=True)
class Options:
    """What is to be proved.

    Attributes:
        build: folder for what is fetched, and kept.
        work: folder for everything else.
        cores: of ARM.
        versions: of onnxruntime; None for the older one and the one that is installed here.
        quick: fewer models and pictures, on one core with one onnxruntime.
        source: what ARM's edgecomp is built of, instead of this checkout: to see that the proof
            tells of a difference.
    """

    build: Path
    work: Path
    cores: tuple[str, ...] = tuple(CORES)
    versions: tuple[str, ...] | None = None
    quick: bool = False
    source: Path | None = None


@dataclass(frozen=True)
class Subject:
    """A model of the proof, and its name in the log; no folder for those that ship."""

    name: str
    model: Model
    folder: Path | None

    def record(self) -> dict[str, Any]:
        """For peer.py."""
        coders = [name for name in ("context", "lzma") if name in self.model.coders]
        return {
            "name": self.name,
            "file": self.name.replace("/", "-"),
            "folder": str(self.folder) if self.folder else None,
            "coders": coders,
            "fp32": "fp32" in self.model.precisions,
        }

    def runs_on(self, machine: Machine) -> bool:
        """Whether the machine's onnxruntime has what the graphs need."""
        numbers = tuple(int(part) for part in machine.onnxruntime.split(".")[:2])
        graphs = [self.model.read_graph(role, "int8") for role in ("encoder", "decoder")]
        old = numbers < FIRST_WITH_CONV_INTEGER
        return not (old and any(b"ConvInteger" in graph for graph in graphs))


def subjects(*, quick: bool) -> list[Subject]:
    """The models: all that ship, and small ones of the tests."""
    shipped = [Subject(model.quality, model, None) for model in shipped_models()]
    if quick:
        shipped = shipped[:1]
    names = QUICK if quick else (*FROZEN, CVPR)
    return shipped + [Subject(name, load_model(DATA / name), DATA / name) for name in names]


@dataclass(frozen=True)
class Ground:
    """Machines, and what they are given.

    Attributes:
        reference: this machine with its own onnxruntime.
        others: with which it is compared.
    """

    options: Options
    reference: Machine
    others: tuple[Machine, ...]
    subjects: tuple[Subject, ...]

    def report(
        self, machine: Machine, *, archives: Path | None = None, maker: Machine | None = None
    ) -> dict[str, Any]:
        """What a machine makes of the pictures and of archives of them.

        Args:
            archives: the folder of these; the machine's own if there is none.
            maker: the other machine that has made them, where they are all that is asked for.
        """
        folder = self.out(machine, archives)
        folder.mkdir()
        job = {
            "pictures": str(self.options.work / "pictures"),
            "out": str(folder),
            "archives": str(archives) if archives else None,
            "compress": maker is None,
            "models": [each.record() for each in self.subjects if each.runs_on(maker or machine)],
        }
        return machine.report(job, folder.with_suffix(f"{folder.suffix}.json"))

    def out(self, machine: Machine, archives: Path | None = None) -> Path:
        """Folder for what a machine makes, of its own archives or of those of another."""
        of = f" of {archives.name}" if archives and machine == self.reference else ""
        return self.options.work / f"{machine.slug}{of}"


def set_up(options: Options, log: Log) -> Ground:
    """Fetches and builds all that the proof needs.

    Raises:
        UnavailableError: something is not to be had here.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        raise UnavailableError("this machine is not x86-64")
    qemu = found_program("qemu-aarch64-static", "qemu-aarch64")
    if not options.quick:
        for foreign in FOREIGN.values():
            found_program(foreign.compiler)
            found_program(f"{foreign.emulator}-static", foreign.emulator)
    installed = version("onnxruntime")
    versions = options.versions or ((installed,) if options.quick else (OLDER, installed))
    cores = options.cores[-1:] if options.quick else options.cores
    check_cores(qemu, cores)
    with locked(options.build):
        root = arm_root(options.build)
        python, number = python_of(root)
        prefixes = {core: core_prefix(options.build, root, core) for core in cores}
        packages = {name: arm_packages(options.build, name, number) for name in versions}
        older = [name for name in versions if name != installed]
        own = [
            here(name, own_packages(options.build, name, [f"onnxruntime=={name}"]))
            for name in older
        ]
        tools = own_packages(options.build, "build", build_requirements())
    wheel = build_wheel(options.work, root, tools, options.source)
    log.say(f"{wheel.name}: {check_wheel(wheel, options.work / 'checked')}")
    unpacked = unpack_wheel(wheel, options.work / "installed")
    make_pictures(options.work / "pictures", quick=options.quick)
    arms = [
        emulated(core, name, qemu, prefix, python, (unpacked, packages[name]))
        for name in versions
        for core, prefix in prefixes.items()
    ]
    found = tuple(subjects(quick=options.quick))
    return Ground(options, here(installed), (*own, *arms), found)


def prove_dot_products(ground: Ground, log: Log) -> None:
    """Says which of the emulated cores multiply by dot products, so that the cores do differ."""
    log.say("\nThe emulated cores differ:")
    words: list[str | Path] = [ROOT / "tests" / "fingerprints.py", DATA / "models/tiny-quantised"]
    last = {machine.emulator: machine for machine in ground.others if not machine.is_here}
    for machine in last.values():
        count = machine.dot_products(words)
        log.equal(f"{machine.core} multiplies by dot products", _has_dots(machine), count > 0)
        log.say(f"  {machine.name}: {count} instructions SDOT or UDOT translated")


def prove_machine(ground: Ground, wanted: dict[str, Any], machine: Machine, log: Log) -> None:
    """Compares another machine with the first one, both ways.

    Raises:
        DifferenceError: something is not equal.
    """
    reference = ground.reference
    own = ground.out(machine)
    found = ground.report(machine, archives=ground.out(reference))
    log.say(f"\n{machine.name}: {_words(found['machine'])}")
    left_out = [each.name for each in ground.subjects if not each.runs_on(machine)]
    if left_out:
        log.say(f"  left out, this onnxruntime has no ConvInteger for them: {', '.join(left_out)}")
    run = [each for each in ground.subjects if each.runs_on(machine)]
    parts = [*(each.name for each in run), "Pillow plug-in"]
    log.say("  its archives, and what it decodes of those of the first machine:")
    found_alike(log, wanted, found, whose=machine.name, parts=parts)
    for record in (each.record() for each in run if each.record()["fp32"]):
        for coder in record["coders"]:
            stem = f"{record['file']}-{coder}"
            folders = [ground.out(reference), own]
            compare_fp32(
                log,
                *(folder / f"{stem}-fp32" for folder in folders),
                own / stem,
                what=f"{record['name']}, {coder}, fp32",
            )
    back = ground.report(reference, archives=own, maker=machine)
    before = log.count
    decoded = {key: value for key, value in wanted["found"].items() if _is_decoded(key)}
    quiet = Log(lambda line: None)
    found_alike(
        quiet, wanted | {"found": decoded}, back, whose=f"{machine.name}, decoded here",
        parts=[each.name for each in run],
    )  # fmt: skip
    log.count = before + quiet.count
    log.say(f"  its archives decoded by the first machine: {quiet.count} comparisons equal")


def _is_decoded(key: str) -> bool:
    """Whether a hash is of what was decoded from an archive."""
    return not key.endswith(": archive") and ", fingerprints:" not in key


def prove_commands(ground: Ground, machine: Machine, log: Log) -> None:
    """Compares what the commands that only read print, as processes of their own."""
    log.say(f"\nCommands on {machine.name}:")
    archive = ground.out(ground.reference) / f"{ground.subjects[0].name}-context.ecz"
    for command in ("verify", "list", "info"):
        words: list[str | Path] = ["-m", "edgecomp", command, archive, "--json"]
        one, other = (each.run(words) for each in (ground.reference, machine))
        log.equal(f"edgecomp {command}: exit code", 0, one.returncode)
        log.equal(f"edgecomp {command}: exit code on ARM", 0, other.returncode)
        log.equal(f"edgecomp {command} prints", one.stdout, other.stdout)
        log.say(f"  edgecomp {command} --json: {len(one.stdout)} characters equal")


def prove_doctor(machine: Machine, log: Log) -> None:
    """Sees what `edgecomp doctor` says of an ARM core: its times are those of QEMU."""
    log.say(f"\nedgecomp doctor on {machine.name}:")
    run = machine.run(["-m", "edgecomp", "doctor", "--json"])
    log.equal("edgecomp doctor: exit code", 0, run.returncode)
    found = json.loads(run.stdout)
    log.equal("edgecomp doctor: golden vectors", True, found["golden"])
    log.equal("edgecomp doctor: dot products", _has_dots(machine), found["dot_product"])
    log.equal("edgecomp doctor: precisions", {"int8", "fp32"}, set(found["milliseconds"]))
    log.say(f"  {found['cpu']}: {', '.join(found['instructions'])}")
    log.say(f"  golden vectors of {', '.join(found['models'])} equal")


def _has_dots(machine: Machine) -> bool:
    """Whether the core has instructions for dot products."""
    return "asimddp" in CORES[machine.core][0].split()


def _words(machine: dict[str, Any]) -> str:
    """What a machine is, for the log."""
    names = ("python", "numpy", "onnxruntime", "pillow", "zlib", "liblzma", "edgecomp")
    versions = ", ".join(f"{name} {machine[name]}" for name in names)
    return f"{machine['processor']}, AT_HWCAP {machine['hwcap']:#x}, {versions}"


def prove(options: Options, log: Log) -> None:
    """The whole proof.

    Raises:
        UnavailableError: it cannot be run here.
        DifferenceError: something is not equal.
    """
    ground = set_up(options, log)
    wanted = ground.report(ground.reference)
    log.say(f"\nThe first machine, x86-64: {_words(wanted['machine'])}")
    symbols = sum(key.endswith(": symbols") for key in wanted["found"])
    log.say(f"  {symbols} hashes of symbols, {len(wanted['found'])} in all")
    last_arm = next(machine for machine in reversed(ground.others) if not machine.is_here)
    steps = [partial(prove_dot_products, ground)]
    if not options.quick:
        steps += [partial(c_programs.prove, options.work, core) for core in options.cores]
        steps.append(partial(c_programs.prove, options.work, None))
    steps.append(partial(prove_commands, ground, last_arm))
    last_of_cores = {m.core: m for m in ground.others if not m.is_here}
    steps += [partial(prove_doctor, machine) for machine in last_of_cores.values()]
    steps += [partial(prove_machine, ground, wanted, machine) for machine in ground.others]
    side_by_side(steps, log)
    log.say(f"\nall {log.count} comparisons equal")


def side_by_side(steps: Iterable[Callable[[Log], None]], log: Log) -> None:
    """Runs steps two at a time; what they say is logged in their order.

    Raises:
        DifferenceError: the first of them that has found one has; later ones are not begun.
    """
    with ThreadPoolExecutor(TOGETHER) as pool:
        tasks = []
        for step in steps:
            lines: list[str] = []
            own = Log(lines.append)
            tasks.append((pool.submit(step, own), own, lines))
        for task, own, lines in tasks:
            try:
                task.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            finally:
                for line in lines:
                    log.say(line)
            log.count += own.count


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="prove.sh", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--build", type=Path, default=BUILD, help="folder of what is fetched")
    parser.add_argument("--core", action="append", choices=CORES, help="of ARM; may be repeated")
    parser.add_argument(
        "--onnxruntime", action="append", metavar="VERSION", help="on ARM; may be repeated"
    )
    parser.add_argument("--quick", action="store_true", help="little of everything")
    parser.add_argument(
        "--source", type=Path, metavar="DIR", help="build ARM's edgecomp of this copy"
    )
    parser.add_argument("--log", type=Path, metavar="FILE", help="write the log there too")
    parser.add_argument("--keep", action="store_true", help="keep what was made, in build/arm")
    args = parser.parse_args(argv)
    args.build.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []

    def write(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    build = args.build.resolve()
    work = Path(tempfile.mkdtemp(prefix="work-", dir=build))
    try:
        cores = tuple(args.core or CORES)
        versions = tuple(args.onnxruntime) if args.onnxruntime else None
        prove(Options(build, work, cores, versions, args.quick, args.source), Log(write))
    except UnavailableError as error:
        print(f"prove.sh: cannot be run here: {error}", file=sys.stderr)
        return 2
    except (DifferenceError, RuntimeError, AssertionError) as error:
        write("\nNOT EQUAL: " + str(error).replace(f"{work}/", "").replace(f"{ROOT}/", ""))
        return 1
    finally:
        if not args.keep:
            shutil.rmtree(work, ignore_errors=True)
        if args.log is not None:
            args.log.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
