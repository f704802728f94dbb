"""TAR and 7-Zip on a folder of PNG files: the programs themselves, as a user would run them."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from edgecomp.errors import EdgecompError
from edgecomp.evaluation.methods import UnavailableError
from edgecomp.evaluation.results import ARCHIVER_NAMES

_TAR, _SEVEN_ZIP = ARCHIVER_NAMES
# By the names of rows: the programs' names in the order of preference, and what to do without.
_PROGRAMS: Final = MappingProxyType({_TAR: ("tar",), _SEVEN_ZIP: ("7z", "7zz", "7za")})
_MISSING: Final = MappingProxyType(
    {
        _TAR: "tar is not installed: apt-get install tar",
        _SEVEN_ZIP: "7-Zip is not installed: no 7z, 7zz or 7za found; apt-get install 7zip",
    }
)
_COMPLAINT_CHARACTERS: Final = 500


class ArchiverError(EdgecompError):
    """An archiver failed, or did not give back the files that it was given."""


@dataclass(frozen=True, slots=True)
class ArchiveTimes:
    """What an archiver made of a folder.

    Attributes:
        bytes: of the archive.
        seconds_compress: wall clock of the whole process that archives.
        seconds_decompress: of the one that extracts, into an empty folder.
        settings: program and options, for people.
    """

    bytes: int
    seconds_compress: float
    seconds_decompress: float
    settings: str


@dataclass(frozen=True, slots=True)
class Archiver:
    """An installed archiver.

    Attributes:
        name: one of `ARCHIVER_NAMES`.
        program: its path.
    """

    name: str
    program: str

    def version(self) -> str:
        """What the program calls itself: "7-Zip (z) 26.02 (x64)".

        Raises:
            ArchiverError: it cannot be run.
        """
        command = [self.program] if self.name == _SEVEN_ZIP else [self.program, "--version"]
        with tempfile.TemporaryFile() as output:
            _run(command, output=output.fileno())
            output.seek(0)
            text = output.read().decode(errors="replace").strip()
        first = text.splitlines()[0] if text else Path(self.program).name
        return first.partition(" : ")[0]

    def measure(
        self, folder: Path, files: Sequence[str], scratch: Path, cores: int
    ) -> ArchiveTimes:
        """Archive files, extract them elsewhere, and compare every byte.

        The files are read once before, so that all archivers find them in the page cache. Nothing
        is left in ``scratch``, and no process is left running, however the call ends.

        Args:
            folder: that the files are in.
            files: their paths from there; any characters will do. 7-Zip takes as many as fit a
                command line (2 MB on Linux): its list files have no way to write every name.
            scratch: existing folder for the archive and the extracted files.
            cores: threads that 7-Zip may use; TAR uses one.

        Raises:
            ArchiverError: the program failed (with its exit code and its words), or a file came
                back different, or not at all.
            OSError: a file cannot be read, or ``scratch`` cannot be written.
        """
        digests = {name: _digest(folder / name) for name in files}
        with tempfile.TemporaryDirectory(prefix="archiver-", dir=scratch.resolve()) as temporary:
            archive = Path(temporary) / "archive"
            restored = Path(temporary) / "restored"
            restored.mkdir()
            names = Path(temporary) / "names"
            names.write_bytes(b"".join(os.fsencode(name) + b"\0" for name in files))
            if self.name == _SEVEN_ZIP:
                # 7-Zip would add a suffix to a name without one. -spd: no wildcards in names.
                archive = archive.with_suffix(".7z")
                options = ["a", "-t7z", f"-mmt={cores}"]
                quiet = ["-bd", "-bso0", "-bsp0"]
                pack = [*options, *quiet, "-spd", str(archive), "--", *files]
                unpack = ["x", f"-mmt={cores}", *quiet, f"-o{restored}", "--", str(archive)]
            else:
                options = ["-c"]
                pack = ["-c", "-f", str(archive), "--null", "-T", str(names)]
                unpack = ["-x", "-f", str(archive), "-C", str(restored)]
            seconds_compress = _run([self.program, *pack], folder)
            seconds_decompress = _run([self.program, *unpack], folder)
            self._compare(restored, digests)
            settings = f"{Path(self.program).name} {' '.join(options)}"
            return ArchiveTimes(
                archive.stat().st_size, seconds_compress, seconds_decompress, settings
            )

    def _compare(self, restored: Path, digests: dict[str, bytes]) -> None:
        for name, digest in digests.items():
            try:
                came_back = _digest(restored / name)
            except FileNotFoundError:
                raise ArchiverError(f"{self.name} did not bring it back", path=name) from None
            if came_back != digest:
                raise ArchiverError(f"{self.name} brought it back different", path=name)


def find(name: str) -> Archiver:
    """The archiver of that name, from the search path.

    Raises:
        ValueError: not one of `ARCHIVER_NAMES`.
        UnavailableError: it is not installed.
    """
    if name not in _PROGRAMS:
        raise ValueError(f"no archiver {name!r}; there are {', '.join(ARCHIVER_NAMES)}")
    for candidate in _PROGRAMS[name]:
        program = shutil.which(candidate)
        if program is not None:
            return Archiver(name, program)
    raise UnavailableError(_MISSING[name])


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _run(
    command: Sequence[str], folder: Path | None = None, output: int = subprocess.DEVNULL
) -> float:
    """Run a program to its end; returns the seconds by the wall clock.

    Some systems start 7-Zip by a shell script, so it gets a process group, all of which is killed
    when waiting for it is interrupted.
    """
    with tempfile.TemporaryFile() as complaints:
        start = time.perf_counter()
        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=complaints,
                start_new_session=True,
            )
        except OSError as error:
            raise ArchiverError(f"cannot be run: {error.strerror}", path=command[0]) from error
        try:
            code = process.wait()
        except BaseException:
            _kill(process)
            process.wait()
            raise
        seconds = time.perf_counter() - start
        if code != 0:
            complaints.seek(0)
            words = " ".join(complaints.read().decode(errors="replace").split())
            raise ArchiverError(
                f"ended with exit code {code}: {words[:_COMPLAINT_CHARACTERS]}", path=command[0]
            )
        return seconds


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a program, and where there are process groups what it has started."""
    if sys.platform == "win32":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
