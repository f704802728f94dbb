"""The wheel and the source distribution: built as a release builds them, installed, used."""

from __future__ import annotations

import os
import subprocess
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from common import HANG_SECONDS, ROOT
from elf import machine_of, needed_by

from edgecomp import __version__
from edgecomp.models import shipped_models

MOST_BYTES = 16_000_000
RUNTIME = {"numpy", "onnxruntime", "pillow", "cffi", "tqdm"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder with both, and what tests/wheel.sh printed."""
    if os.name == "nt":
        pytest.skip("tests/wheel.sh needs a POSIX shell")
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        ["bash", ROOT / "tests" / "wheel.sh", folder],
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


@pytest.fixture(scope="module")
def wheel(built: tuple[Path, str]) -> Path:
    """The wheel."""
    (path,) = built[0].glob("*.whl")
    return path


@pytest.fixture(scope="module")
def sdist(built: tuple[Path, str]) -> Path:
    """The source distribution."""
    (path,) = built[0].glob("*.tar.gz")
    return path


def test_both_install_and_work_without_the_source_tree(built: tuple[Path, str]) -> None:
    """The wheel on a path with no compiler: compress, verify, decompress, doctor, Pillow."""
    printed = built[1]
    assert printed.count("== from the ") == 2
    pixels = [line for line in printed.splitlines() if line.startswith("pixels: ")]
    assert len(pixels) == 2
    assert pixels[0] == pixels[1]


def test_one_wheel_serves_every_python(wheel: Path) -> None:
    assert wheel.name.startswith(f"edgecomp-{__version__}-cp311-abi3-")
    with zipfile.ZipFile(wheel) as opened:
        (library,) = [n for n in opened.namelist() if n.endswith((".so", ".pyd", ".dylib"))]
        data = opened.read(library)
    assert library.startswith("edgecomp/_native.abi3.")
    if data.startswith(b"\x7fELF"):
        assert machine_of(data) in ("x86_64", "aarch64")
        assert needed_by(data) <= {"libc.so.6", "libpthread.so.0", "ld-linux-aarch64.so.1"}


def test_the_wheel_holds_what_runs_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"edgecomp", f"edgecomp-{__version__}.dist-info"}
    for model in shipped_models():
        folder = f"edgecomp/models/{model.path.name}"
        assert {f"{folder}/{f}" for f in ("model.json", "golden.json", "context.bin")} <= set(names)
        assert {f"{folder}/{graph.file}" for graph in model.graphs.values()} <= set(names)
    assert "edgecomp/py.typed" in names
    assert "edgecomp/evaluation/published.json" in names
    assert not [name for name in names if name.endswith((".c", ".h", ".npz", ".pyc"))]
    assert wheel.stat().st_size < MOST_BYTES


def test_the_wheel_asks_for_little(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        metadata = opened.read(f"edgecomp-{__version__}.dist-info/METADATA").decode()
    found = Parser().parsestr(metadata)
    always = [r for r in found.get_all("Requires-Dist", []) if "extra ==" not in r]
    assert {r.split(">")[0].split("=")[0].strip() for r in always} == RUNTIME
    assert found["Requires-Python"] == ">=3.11"


def test_the_source_distribution_holds_what_a_build_needs(sdist: Path) -> None:
    with tarfile.open(sdist) as opened:
        names = {name.split("/", 1)[1] for name in opened.getnames() if "/" in name}
    sources = {f"native/{p.name}" for p in (ROOT / "native").iterdir() if p.suffix in (".c", ".h")}
    assert sources | {"setup.py", "pyproject.toml", "LICENSE", "README.md"} <= names
    assert "native/build_native.py" in names
    assert not [name for name in names if name.endswith((".npz", ".so"))]


def test_neither_names_a_folder_of_the_machine_that_built_it(wheel: Path, sdist: Path) -> None:
    here = os.fsencode(ROOT)
    with zipfile.ZipFile(wheel) as opened:
        for name in opened.namelist():
            assert here not in opened.read(name), name
    with tarfile.open(sdist) as opened:
        for member in opened:
            file = opened.extractfile(member)
            assert file is None or here not in file.read(), member.name
