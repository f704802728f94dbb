"""Folders end to end: by the functions, and by the command as whole processes."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import example_pictures
import pytest

from edgecomp.compress import compress_folder
from edgecomp.decompress import decompress_folder

if TYPE_CHECKING:
    from conftest import Sample

THREADS = (1, 2)
ROUNDS = 5
# Enough that two threads have something to do side by side.
PICTURES = {"kodak": 4, "12mp": 1}


@dataclass(frozen=True)
class Job:
    """A folder of pictures, its archive, and where to put what is made."""

    folder: Path
    archive: Path
    pictures: int
    pixels: int
    outputs: Callable[[], Path]


@pytest.fixture(scope="module")
def job(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """For each size of picture."""
    work = tmp_path_factory.mktemp(sample.size)
    folder, pictures = work / "pictures", PICTURES[sample.size]
    if sample.size == "kodak":
        example_pictures.fill(folder, pictures, level=1)
    else:
        folder.mkdir()
        (folder / "large.png").write_bytes(sample.png)
    archive = work / "pictures.ecz"
    compress_folder(folder, archive, quality="A")
    numbers = itertools.count()
    return Job(
        folder, archive, pictures, sample.pixels * pictures, lambda: work / f"out{next(numbers)}"
    )


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.benchmark(group="folder, functions")
def test_compress_folder(benchmark: Any, job: Job, threads: int) -> None:
    benchmark.extra_info |= {"pixels": job.pixels, "pictures": job.pictures}

    def compress() -> int:
        return compress_folder(job.folder, job.outputs(), quality="A", threads=threads).images

    assert benchmark.pedantic(compress, rounds=ROUNDS) == job.pictures


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.benchmark(group="folder, functions")
def test_decompress_folder(benchmark: Any, job: Job, threads: int) -> None:
    benchmark.extra_info |= {"pixels": job.pixels, "pictures": job.pictures}

    def decompress() -> int:
        return decompress_folder(job.archive, job.outputs(), threads=threads).images

    assert benchmark.pedantic(decompress, rounds=ROUNDS) == job.pictures


@pytest.mark.parametrize("direction", ["compress", "decompress"])
@pytest.mark.benchmark(group="folder, whole processes")
def test_command(benchmark: Any, job: Job, direction: str) -> None:
    """Start-up included, on two threads."""
    benchmark.extra_info |= {"pixels": job.pixels, "pictures": job.pictures}

    def run() -> int:
        source = [str(job.folder), "-q", "A"] if direction == "compress" else [str(job.archive)]
        command = [sys.executable, "-m", "edgecomp", direction, *source, "-o", str(job.outputs())]
        return subprocess.run([*command, "--threads", "2", "--quiet"], check=True).returncode

    assert benchmark.pedantic(run, rounds=ROUNDS) == 0
