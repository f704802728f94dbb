"""Dask clusters of real processes on this machine."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from processes import ENVIRONMENT

import edgecomp

PACKAGE = Path(edgecomp.__file__).parent
# Starting a process that imports Dask takes a second; a busy machine is given more.
_START_SECONDS = 120


class Processes:
    """A scheduler, to which edgecomp is unknown, and workers, ended with the block.

    Args:
        folder: for what they write.

    Attributes:
        address: of the scheduler.
        scheduler: its process.
        workers: their processes, in the order in which they were started.
    """

    def __init__(self, folder: Path, *options: str, **environment: str) -> None:
        self._folder = folder
        self._options = options
        self._environment = {
            **ENVIRONMENT,
            "DASK_DISTRIBUTED__ADMIN__LOG_LENGTH": "0",
            "DASK_TEMPORARY_DIRECTORY": str(folder),
            **environment,
        }
        self.workers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Processes:
        self._folder.mkdir(parents=True, exist_ok=True)
        told = self._folder / "scheduler.json"
        words = ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
        words += ["--dashboard-address", "127.0.0.1:0", "--scheduler-file", str(told)]
        # Should the tests be killed, nothing stays for long.
        words += ["--idle-timeout", "30 minutes"]
        unknown = self._folder / "unknown" / "edgecomp"
        unknown.mkdir(parents=True)
        (unknown / "__init__.py").write_text("raise ImportError('edgecomp is unknown here')")
        environment = {**self._environment, "PYTHONPATH": str(unknown.parent)}
        self.scheduler = self._start(words, "scheduler.log", environment)
        try:
            wait_until(lambda: told.exists() and told.read_text().endswith("}"))
            self.address: str = json.loads(told.read_text())["address"]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()

    def add_worker(self, package: Path | None = None) -> subprocess.Popen[bytes]:
        """A worker of one thread that has joined.

        Args:
            package: the folder with another edgecomp in it that the worker is to use.
        """
        environment = dict(self._environment)
        if package is not None:
            environment["PYTHONPATH"] = str(package)
        number = len(self.workers)
        words = ["worker", self.address, "--nthreads", "1", "--nworkers", "1", "--no-nanny"]
        words += ["--death-timeout", "2 minutes"]
        words += ["--no-dashboard", "--dashboard-address", "127.0.0.1:0", *self._options]
        process = self._start(words, f"worker{number}.log", environment)
        self.workers.append(process)
        log = self._folder / f"worker{number}.log"
        wait_until(lambda: "Registered to" in log.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        return process

    def kill_workers(self) -> None:
        """Kill the workers that there are, and wait until the scheduler knows."""
        for process in self.workers:
            process.kill()
            process.wait()
        wait_until(lambda: self.log("scheduler").count("Remove worker") >= len(self.workers))

    def log(self, name: str) -> str:
        """What a process has written."""
        return (self._folder / f"{name}.log").read_text()

    def _start(
        self, words: list[str], log: str, environment: dict[str, str]
    ) -> subprocess.Popen[bytes]:
        with open(self._folder / log, "wb") as file:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", *words],
                cwd=self._folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for something that other processes bring about."""
    end = time.monotonic() + _START_SECONDS
    while not condition():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.02)


def other_edgecomp(folder: Path, changes: dict[str, tuple[str, str]]) -> Path:
    """A copy of the package that differs, for workers.

    Args:
        folder: to make; it is what goes into PYTHONPATH.
        changes: by file of the package, a text and what stands instead; where both are empty it is
            as if there were no such module. (Removing the file is not enough: an editable
            installation would find the module in the source tree.)
    """
    shutil.copytree(
        PACKAGE, folder / "edgecomp", ignore=shutil.ignore_patterns("__pycache__", "evaluation")
    )
    for name, (before, after) in changes.items():
        path = folder / "edgecomp" / name
        if not before:
            missing = f"edgecomp.{path.stem}"
            path.write_text(
                f"raise ModuleNotFoundError('No module named {missing}', name={missing!r})"
            )
            continue
        text = path.read_text(encoding="utf-8")
        assert text.count(before) == 1, name
        path.write_text(text.replace(before, after), encoding="utf-8")
    return folder


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
