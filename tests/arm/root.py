"""A folder with an arm64 system's Python and packages for it, which QEMU runs.

Nothing is installed. Debian packages come from the sources that this system's own apt has, wheels
from where pip finds them. What was fetched once is kept.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from common import ROOT

FETCH_SECONDS = 900
# numpy and onnxruntime are linked against these two, which no package of Python's asks for; the
# headers are for building the extension module.
PACKAGES = ("python3", "libpython3-dev", "libstdc++6", "libgcc-s1")
PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")
# What onnxruntime finds in /proc/cpuinfo on boards with these cores (Raspberry Pi 4 and 5). QEMU
# would show it this machine's, in which it finds no ARM processor; from 1.28 on it crashes then.
CORES = {
    "cortex-a72": ("fp asimd evtstrm crc32 cpuid", "0x0", "0xd08", 3),
    "cortex-a76": (
        "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc"
        " dcpop asimddp",
        "0x4",
        "0xd0b",
        1,
    ),
}


class UnavailableError(Exception):
    """The proof cannot be run here; says why."""


def found_program(*names: str) -> str:
    """Path of the first of these programs that is there.

    Raises:
        UnavailableError: none is.
    """
    for name in names:
        path = shutil.which(name)
        if path is not None:
            return path
    raise UnavailableError(f"no {names[0]} here")


def check_cores(qemu: str, cores: Iterable[str]) -> None:
    """Whether QEMU can be these processors.

    Raises:
        UnavailableError: it cannot.
    """
    run = subprocess.run([qemu, "-cpu", "help"], capture_output=True, text=True, check=False)
    for core in cores:
        if core not in run.stdout.split():
            raise UnavailableError(f"this QEMU has no {core}")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Alone among those that fetch into a folder; it is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fetched(command: list[str | Path], what: str, **environment: str) -> None:
    """Runs what fetches from the network.

    Raises:
        UnavailableError: it fails or takes too long.
    """
    try:
        run = subprocess.run(
            command,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=FETCH_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"{what} took longer than {FETCH_SECONDS} s") from error
    if run.returncode:
        raise UnavailableError(f"{what} failed: {(run.stderr or run.stdout)[-1500:]}")


@contextlib.contextmanager
def _new(folder: Path) -> Iterator[Path]:
    """An empty folder that gets its name when it is complete."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    partial.rename(folder)


def _apt_settings(folder: Path) -> Path:
    """A configuration of apt with all its state in a folder, for packages of arm64."""
    (folder / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (folder / "cache" / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    settings = folder / "apt.conf"
    settings.write_text(
        f"""APT::Architecture "arm64";
#clear APT::Architectures;
APT::Architectures {{ "arm64"; }};
APT::Install-Recommends "false";
APT::Sandbox::User "";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear DPkg::Pre-Install-Pkgs;
Acquire::Languages "none";
Debug::NoLocking "true";
Dir::State::lists "{folder}/lists";
Dir::State::status "{folder}/status";
Dir::State::extended_states "{folder}/extended_states";
Dir::Cache "{folder}/cache";
Dir::Log "{folder}/log";
"""
    )
    return settings


def arm_root(build: Path) -> Path:
    """A folder with the programs and libraries of arm64, made if it is not there.

    Raises:
        UnavailableError: there is no apt, or it offers or reaches no packages for arm64.
    """
    root = build / "root"
    if root.is_dir():
        return root
    apt, dpkg = found_program("apt-get"), found_program("dpkg")
    state = build / "apt"
    settings = _apt_settings(state)
    _fetched([apt, "-c", settings, "update"], "apt-get update for arm64")
    command = [apt, "-c", settings, "--yes", "--download-only", "install", *PACKAGES]
    _fetched(command, "apt-get's download of Python for arm64")
    with _new(root) as partial:
        for package in sorted((state / "cache" / "archives").glob("*.deb")):
            subprocess.run([dpkg, "-x", package, partial], check=True)
    shutil.rmtree(state)
    return root


def python_of(root: Path) -> tuple[Path, tuple[int, int]]:
    """The root's Python and its version.

    Raises:
        UnavailableError: it is older than edgecomp needs.
    """
    path = (root / "usr" / "bin" / "python3").resolve()
    major, minor = path.name.removeprefix("python").split(".")
    if (int(major), int(minor)) < (3, 11):
        raise UnavailableError(f"apt offers {path.name} for arm64; edgecomp needs Python 3.11")
    return path, (int(major), int(minor))


def core_prefix(build: Path, root: Path, core: str) -> Path:
    """What QEMU is given as the place of the system: the root, and the processor's description."""
    prefix = build / "cores" / core
    (prefix / "proc").mkdir(parents=True, exist_ok=True)
    for folder in root.iterdir():
        link = prefix / folder.name
        if not link.is_symlink():
            link.symlink_to(Path("..", "..", root.name, folder.name))
    features, variant, part, revision = CORES[core]
    processor = (
        f"BogoMIPS\t: 108.00\nFeatures\t: {features}\n"
        "CPU implementer\t: 0x41\nCPU architecture: 8\n"
        f"CPU variant\t: {variant}\nCPU part\t: {part}\nCPU revision\t: {revision}\n\n"
    )
    text = "".join(f"processor\t: {number}\n{processor}" for number in range(4))
    (prefix / "proc" / "cpuinfo").write_text(text)
    return prefix


def requirements(onnxruntime: str) -> list[str]:
    """What edgecomp needs at run time, with this version of onnxruntime."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    others = [need for need in project["dependencies"] if not need.startswith("onnxruntime")]
    return [*others, f"onnxruntime=={onnxruntime}"]


def arm_packages(build: Path, onnxruntime: str, python: tuple[int, int]) -> Path:
    """A folder with what edgecomp needs, for ARM, fetched if it is not there.

    Raises:
        UnavailableError: pip does not find or reach it.
    """
    folder = build / "arm-packages" / onnxruntime
    if not folder.is_dir():
        version = ".".join(map(str, python))
        chosen = [f"--platform={name}_aarch64" for name in PLATFORMS]
        chosen += ["--only-binary=:all:", "--implementation=cp", f"--python-version={version}"]
        _install(folder, [*chosen, *requirements(onnxruntime)])
    return folder


def own_packages(build: Path, name: str, needs: list[str]) -> Path:
    """A folder with packages for this machine, fetched if it is not there.

    Args:
        name: of the folder.

    Raises:
        UnavailableError: pip does not find or reach them.
    """
    folder = build / "own-packages" / name
    if not folder.is_dir():
        _install(folder, ["--only-binary=:all:", *needs])
    return folder


def build_requirements() -> list[str]:
    """What a wheel of edgecomp is built with."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needs: list[str] = project["build-system"]["requires"]
    return needs


def _install(folder: Path, words: list[str]) -> None:
    with _new(folder) as partial:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", partial, *words]
        settings = {"PIP_ROOT_USER_ACTION": "ignore", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        _fetched([*command], f"pip's download for {folder.name}", **settings)
