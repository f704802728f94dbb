"""What a Dask cluster costs: a folder without and with `--dask`, in turns, on one machine.

    python benchmarks/fleet.py FOLDER [-q A|B|C] [--rounds N]

The cluster is two worker processes of one thread each on this machine, so it cannot be quicker than
the two threads of a run without: the difference is what connecting, checking and sending cost.
Whole processes are timed, and the archives compared.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

_THREADS = 2


def seconds(folder: str, archive: Path, words: Sequence[str]) -> float:
    """How long a run takes that makes an archive, start of Python included."""
    command = [sys.executable, "-m", "edgecomp", "compress", folder, "-o", str(archive), "--force"]
    began = time.monotonic()
    subprocess.run([*command, "--quiet", "--threads", str(_THREADS), *words], check=True)
    return time.monotonic() - began


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    from distributed import LocalCluster

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder")
    parser.add_argument("-q", "--quality", default="B")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args(argv)
    with (
        tempfile.TemporaryDirectory() as scratch,
        LocalCluster(
            n_workers=_THREADS, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
    ):
        ways = {"without": [], "with --dask": ["--dask", cluster.scheduler_address]}
        taken: dict[str, list[float]] = {way: [] for way in ways}
        archives = {way: Path(scratch) / f"{number}.ecz" for number, way in enumerate(ways)}
        for number in range(arguments.rounds + 1):
            for way, words in ways.items():
                spent = seconds(arguments.folder, archives[way], ["-q", arguments.quality, *words])
                if number:  # the first loads files into memory, and the model into the workers
                    taken[way].append(spent)
        same = len({archive.read_bytes() for archive in archives.values()}) == 1
    for way, spent_in in taken.items():
        print(
            f"{way:12} median {statistics.median(spent_in):.2f} s"
            f" ({min(spent_in):.2f} to {max(spent_in):.2f})"
        )
    print("the same bytes" if same else "OTHER BYTES")


if __name__ == "__main__":
    main()
