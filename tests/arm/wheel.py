"""A wheel of edgecomp for ARM, built on this machine by a cross compiler."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from common import ROOT
from elf import needed_by

from arm.root import found_program

FILES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE")
FOLDERS = ("edgecomp", "native")
IGNORED = shutil.ignore_patterns("__pycache__", "_native*", "*.so", "build")
COMPILER = "aarch64-linux-gnu-gcc"
AARCH64 = 183  # e_machine
BUILD_SECONDS = 900


def _source(folder: Path) -> Path:
    """A copy of what a wheel is made of, so that building leaves the checkout alone."""
    folder.mkdir()
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=IGNORED)
    return folder


def _headers(folder: Path, root: Path) -> list[str]:
    """Compiler options for Python's headers of a root, and nothing else of it: the C library's
    headers are the cross compiler's own."""
    folder.mkdir()
    (headers,) = (root / "usr" / "include").glob("python3.*")
    machine = Path("aarch64-linux-gnu", headers.name)
    (folder / machine.parent).mkdir()
    (folder / headers.name).symlink_to(headers)
    (folder / machine).symlink_to(root / "usr" / "include" / machine)
    return [f"-I{folder / headers.name}", f"-I{folder}"]


def build_wheel(work: Path, root: Path, tools: Path, source: Path | None = None) -> Path:
    """Builds the wheel in a folder.

    Args:
        root: an arm64 system with Python's headers.
        tools: folder with what pyproject.toml wants for building. It is not left to pip: that
            would fetch it for ARM.
        source: what to build it of, instead of this checkout.

    Raises:
        UnavailableError: there is no cross compiler.
        RuntimeError: the wheel cannot be built.
    """
    compiler = found_program(COMPILER)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")} | {
        "_PYTHON_HOST_PLATFORM": "linux-aarch64",
        "CC": compiler,
        "LDSHARED": f"{compiler} -shared",
        "CFLAGS": " ".join(_headers(work / "include", root)),
        "LDFLAGS": "",
        "PYTHONPATH": str(tools),
    }
    code = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    (work / "wheel").mkdir()
    run = subprocess.run(
        [sys.executable, "-c", code, work / "wheel"],
        cwd=source or _source(work / "source"),
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    if run.returncode:
        raise RuntimeError(f"the wheel for ARM could not be built: {run.stderr[-3000:]}")
    (wheel,) = (work / "wheel").glob("*.whl")
    return wheel


def unpack_wheel(wheel: Path, folder: Path) -> Path:
    """Unpacks a wheel, as pip would for the platform that it is for."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index",
               "--platform=linux_aarch64", "--only-binary=:all:", "--target", folder,
               wheel]  # fmt: skip
    settings = {"PIP_ROOT_USER_ACTION": "ignore", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    subprocess.run(command, check=True, env=os.environ | settings, timeout=BUILD_SECONDS)
    return folder


def check_wheel(wheel: Path, scratch: Path) -> str:
    """What is in a wheel for ARM: one library, of AArch64, that needs only the C library.

    Returns:
        That, in words.

    Raises:
        AssertionError: it is not so.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".so")]
        assert names == ["edgecomp/_native.abi3.so"], names
        library = Path(archive.extract(names[0], scratch))
    data = library.read_bytes()
    head = data[:20]
    assert head[:6] == b"\x7fELF\x02\x01", "not a 64-bit little-endian ELF file"
    machine = int.from_bytes(head[18:20], "little")
    assert machine == AARCH64, f"ELF machine {machine}, not AArch64"
    tool = found_program("aarch64-linux-gnu-readelf", "readelf")
    text = subprocess.run([tool, "-VW", library], capture_output=True, text=True, check=True).stdout
    needed = needed_by(data)
    assert needed <= {"libc.so.6", "ld-linux-aarch64.so.1"}, needed
    versions = {tuple(map(int, v.split("."))) for v in re.findall(r"GLIBC_([\d.]+)", text)}
    newest = ".".join(map(str, max(versions, default=())))
    return f"AArch64, needs {', '.join(sorted(needed)) or 'nothing'} (glibc {newest} or newer)"
