"""Folders over a Dask cluster: real schedulers and workers, the bytes of a run without them.

Every cluster is of processes of its own. Where a worker is another edgecomp, it is: a changed copy
of the package on its path.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clusters import Processes, free_port, other_edgecomp, wait_until
from common import HANG_SECONDS
from PIL import Image
from processes import COMMAND, PARTIAL, finished, make_pictures, started

from edgecomp import cluster as cluster_module
from edgecomp import compress as compress_module
from edgecomp import fleet as fleet_module
from edgecomp import fleet_probe
from edgecomp import prepare as prepare_module
from edgecomp._version import VERSION
from edgecomp.archive import ArchiveReader
from edgecomp.cli import main
from edgecomp.cluster import Cluster
from edgecomp.codec import Codec
from edgecomp.codestream import Origin
from edgecomp.compress import CompressSummary, compress_folder
from edgecomp.errors import (
    BackendUnavailableError,
    ClusterError,
    ExitCode,
    UnsupportedPictureError,
    UsageError,
)
from edgecomp.fleet import Fleet, open_fleet
from edgecomp.names import Note
from edgecomp.pipeline import Budget
from edgecomp.prepare import Job, Preparer, Ready, Sent, plan_jobs
from edgecomp.scan import scan
from edgecomp.sending import NotCodedError
from edgecomp.source_file import SourceFile

if sys.platform == "win32":
    pytest.skip("processes as POSIX has them", allow_module_level=True)

pytest.importorskip("distributed", reason="the extra dask is not installed")

# distributed closes some sockets and event loops only when they are collected.
pytestmark = pytest.mark.filterwarnings(
    "ignore:unclosed:ResourceWarning", "ignore:.*unclosed.*:pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a cluster of two workers, which no test harms."""
    with Processes(tmp_path_factory.mktemp("cluster")) as processes:
        processes.add_worker()
        processes.add_worker()
        yield processes.address


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """A scheduler for which the first worker that dies with a picture makes that picture one that
    kills workers."""
    environment = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
    with Processes(tmp_path_factory.mktemp("cluster"), **environment) as started:
        yield started


@pytest.fixture
def processes(scheduler: Processes) -> Iterator[Processes]:
    """That scheduler without workers, for a test to add some and do with them as it likes."""
    yield scheduler
    scheduler.kill_workers()


@pytest.fixture
def folder(tmp_path: Path, photo: Image.Image) -> Path:
    """Pictures of every kind, some that are kept as they are, other files, one that is skipped."""
    root = tmp_path / "in"
    (root / "sub dir" / "더 깊이").mkdir(parents=True)
    (root / "empty").mkdir()
    photo.save(root / "a.png")
    exif = Image.Exif()
    exif[0x010E] = "by the sea"
    exif[0x0112] = 6
    photo.save(root / "a.jpg", quality=95, exif=exif)
    photo.convert("L").save(root / "sub dir" / "더 깊이" / "사진.png")
    alpha = photo.convert("L").point(lambda level: min(level, 200))
    photo.rotate(10).save(root / "sub dir" / "ü b.tiff")
    with_alpha = photo.rotate(20).convert("RGBA")
    with_alpha.putalpha(alpha)
    with_alpha.save(root / "alpha.png")
    photo.rotate(30).save(root / "b.webp", lossless=True)
    (root / "text.jpg").write_text("I am no picture")
    photo.save(root / "cut.jpg", quality=95)
    (root / "cut.jpg").write_bytes((root / "cut.jpg").read_bytes()[:3000])
    Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30)).save(root / "deep.png")
    (root / "grows.ppm").write_bytes(b"P6 1 1 255\n\0\0\0")
    (root / "notes.txt").write_text("to do\n" * 100)
    (root / "noise.bin").write_bytes(random.Random(1).randbytes(500))
    os.mkfifo(root / "pipe")
    return root


Compress = Callable[..., CompressSummary]


@pytest.fixture
def compress(tiny: Path, tmp_path: Path) -> Compress:
    """`compress_folder` of the folder ``in``."""

    def run(output: str, **options: Any) -> CompressSummary:
        chosen = {"model": tiny, "threads": 2} | options
        return compress_folder(tmp_path / "in", tmp_path / output, **chosen)

    return run


@pytest.fixture
def coded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Sizes of the pictures that this process codes, test pictures not counted."""
    sizes: list[tuple[int, int]] = []
    real = Codec.encode

    def encode(self: Codec, picture: Any, **options: Any) -> bytes:
        if (picture.width, picture.height) != fleet_probe._SIZE:
            sizes.append((picture.width, picture.height))
        return real(self, picture, **options)

    monkeypatch.setattr(Codec, "encode", encode)
    return sizes


def alike(summary: CompressSummary) -> CompressSummary:
    """What of a summary does not depend on the archive's name, or on time."""
    return replace(summary, archive="", seconds=0.0)


def same(tmp_path: Path, *names: str) -> bool:
    return len({(tmp_path / name).read_bytes() for name in names}) == 1


def left(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if PARTIAL.search(name)]


def written(folder: Path) -> int:
    """Bytes of all that `left` names; what is written is buffered, so it grows by steps."""
    return sum((folder / name).stat().st_size for name in left(folder))


class After:
    """A progress that does something when so many files are done."""

    def __init__(self, files: int, deed: Callable[[], object]) -> None:
        self._files = files
        self._deed = deed

    def start(self, total_items: int, total_bytes: int, /) -> None:
        """Ignored."""

    def advance(self, name: str, size: int, /) -> None:
        """Count."""
        self._files -= 1
        if not self._files:
            self._deed()

    def finish(self) -> None:
        """Ignored."""


def kill(process: Any) -> None:
    process.kill()
    process.wait()


# The same archive.


@pytest.mark.parametrize("coder", ["context", "lzma"])
def test_the_bytes_are_those_of_a_run_without(
    folder: Path,
    tmp_path: Path,
    compress: Compress,
    cluster: str,
    coder: str,
    coded: list[tuple[int, int]],
) -> None:
    chosen = {"coder": coder, "model": None}
    without = compress("without.ecz", **chosen)
    assert len(coded) == 7
    coded.clear()
    summary = compress("with.ecz", dask=cluster, verify=True, **chosen)
    assert coded == [], "all was coded elsewhere"
    assert same(tmp_path, "without.ecz", "with.ecz")
    assert alike(summary) == alike(without)
    assert (summary.images, summary.files) == (6, 12)
    kept = {Path(note.path).name: note.reason for note in summary.verbatim}
    assert set(kept) == {"text.jpg", "cut.jpg", "deep.png", "grows.ppm"}
    assert "grow" in kept["grows.ppm"]
    assert "16 bits" in kept["deep.png"] or "8 bits" in kept["deep.png"]
    assert [Path(note.path).name for note in summary.skipped] == ["pipe"]
    assert summary.coded_here == ()


def test_other_models_and_precisions(
    tmp_path: Path, compress: Compress, cluster: str, tiny_map: Path, photo: Image.Image
) -> None:
    """The second has an importance map and other levels; the first is one that ships."""
    make_pictures(tmp_path / "in", 3, (200, 152))
    for number, options in enumerate(
        [{"model": None, "quality": "A"}, {"model": tiny_map}, {"model": None, "precision": "fp32"}]
    ):
        compress(f"{number}a.ecz", **options)
        compress(f"{number}b.ecz", dask=cluster, **options)
        assert same(tmp_path, f"{number}a.ecz", f"{number}b.ecz"), options


def test_auto_is_one_precision_for_all(tiny: Path, tmp_path: Path) -> None:
    assert fleet_module.settled_precision("auto", "B", tiny) == "int8"
    assert fleet_module.settled_precision("fp32", "B", tiny) == "fp32"
    assert fleet_module.settled_precision("auto", "A", None) == "int8"
    manifest = json.loads((tiny / "model.json").read_text())
    for graphs in manifest["graphs"].values():
        graphs.pop("int8")
    (tmp_path / "model.json").write_text(json.dumps(manifest))
    assert fleet_module.settled_precision("auto", "B", tmp_path) == "fp32"


def test_update(
    folder: Path,
    tmp_path: Path,
    compress: Compress,
    cluster: str,
    photo: Image.Image,
    coded: list[tuple[int, int]],
) -> None:
    for name in ("text.jpg", "cut.jpg", "deep.png", "grows.ppm"):
        (folder / name).unlink()
    compress("one.ecz", dask=cluster)
    (tmp_path / "two.ecz").write_bytes((tmp_path / "one.ecz").read_bytes())
    # Nothing is to be coded: nobody is asked.
    unchanged = compress("one.ecz", dask=f"tcp://127.0.0.1:{free_port()}", update=True)
    assert unchanged.unchanged == 9
    assert same(tmp_path, "one.ecz", "two.ecz")
    photo.rotate(77).save(folder / "a.png")
    assert coded == []
    summary = compress("one.ecz", dask=cluster, update=True)
    assert (summary.unchanged, coded) == (8, [])
    compress("two.ecz", update=True)
    assert same(tmp_path, "one.ecz", "two.ecz")


@pytest.mark.parametrize("then", [True, False], ids=["with", "without"])
def test_an_interrupted_run_is_gone_on_from(
    folder: Path, tmp_path: Path, compress: Compress, cluster: str, then: bool
) -> None:
    compress("whole.ecz")

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        compress("o.ecz", dask=cluster, resume=True, progress=After(5, interrupt))
    assert "the same command goes on" in caught.value.__notes__[0]
    assert len(left(tmp_path)) == 1
    summary = compress("o.ecz", dask=cluster if then else None, resume=True)
    assert summary.resumed >= 3
    assert same(tmp_path, "whole.ecz", "o.ecz")
    assert left(tmp_path) == []


def test_an_interrupt_leaves_nothing(tmp_path: Path, compress: Compress, cluster: str) -> None:
    make_pictures(tmp_path / "in", 12)
    before = set(threading.enumerate())

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compress("o.ecz", dask=cluster, progress=After(2, interrupt))
    assert os.listdir(tmp_path) == ["in"]
    assert not [t for t in set(threading.enumerate()) - before if t.name.startswith("edgecomp")]


def test_few_pictures_are_on_their_way(
    tmp_path: Path, compress: Compress, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_pictures(tmp_path / "in", 40)
    submit, outcome = Cluster.submit, Cluster._outcome
    lock = threading.Lock()
    now: set[Any] = set()
    counts = {"most": 0, "all": 0}

    def submitted(self: Cluster, *arguments: Any, **options: Any) -> Any:
        told = submit(self, *arguments, **options)
        with lock:
            now.add(told)
            counts["all"] += 1
            counts["most"] = max(counts["most"], len(now))
        return told

    def over(self: Cluster, told: Any) -> Any:
        with lock:
            now.discard(told)
        return outcome(self, told)

    monkeypatch.setattr(Cluster, "submit", submitted)
    monkeypatch.setattr(Cluster, "_outcome", over)
    compress("o.ecz", dask=cluster)
    assert counts["all"] == 42, "two questions at the start, and each picture once"
    assert 3 <= counts["most"] <= 4, "two threads, two pictures for each"


def test_room_for_files_is_shared(
    tiny: Path, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_module, "usable_memory", lambda: 4000)
    codec = Codec.load(model=tiny)
    with open_fleet(cluster, codec, folder=str(tiny), max_pixels=None) as fleet:
        entered: list[int] = []

        def enter() -> None:
            with fleet.room(200):
                entered.append(1)

        with fleet.room(200):
            thread = threading.Thread(target=enter)
            thread.start()
            thread.join(0.2)
            assert entered == [], "three copies each are more than a quarter of the memory"
        thread.join(HANG_SECONDS)
        assert entered == [1]


def test_large_files_are_coded_here(
    tmp_path: Path,
    compress: Compress,
    cluster: str,
    coded: list[tuple[int, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_pictures(tmp_path / "in", 2)
    make_pictures(tmp_path / "large", 1, (150, 90))
    (tmp_path / "large" / "00.png").rename(tmp_path / "in" / "large.png")
    sizes = sorted(path.stat().st_size for path in (tmp_path / "in").iterdir())
    compress("without.ecz")
    coded.clear()
    monkeypatch.setattr(fleet_module, "SENT_BYTES", sizes[-1] - 1)
    summary = compress("with.ecz", dask=cluster)
    assert coded == [(150, 90)]
    assert summary.coded_here == (), "it was the plan"
    assert same(tmp_path, "without.ecz", "with.ecz")


def test_names_of_files_stay_here(
    tmp_path: Path, compress: Compress, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_pictures(tmp_path / "in", 2)
    (tmp_path / "in" / "00.png").rename(tmp_path / "in" / "secret name.PNG")
    sent: list[Any] = []
    submit = Cluster.submit

    def submitted(self: Cluster, *arguments: Any, **options: Any) -> Any:
        sent.append(arguments[-1])
        return submit(self, *arguments, **options)

    monkeypatch.setattr(Cluster, "submit", submitted)
    compress("o.ecz", dask=cluster)
    assert len(sent) == 4
    assert "secret" not in repr([request["picture"] for request in sent])


def test_within_a_running_loop(tmp_path: Path, compress: Compress, cluster: str) -> None:
    """As in a notebook."""
    make_pictures(tmp_path / "in", 2)

    async def call() -> CompressSummary:
        return compress("o.ecz", dask=cluster)

    assert asyncio.run(call()).images == 2


# Workers that would make other bytes.

OTHERS = {
    "version": (
        {"_version.py": (f'"{VERSION}"', '"9.8.7"')},
        f"edgecomp 9.8.7 is installed there, {VERSION} here",
    ),
    "too old": ({"fleet_task.py": ("", "")}, "edgecomp is missing there, or is older than --dask"),
    "model": ({"models/B/model.json": ('"schema": 1', '"schema":  1')}, "cannot be used there"),
    "bytes": (
        {"codestream.py": ('"preset": 6', '"preset": 6, "lc": 0')},
        "it codes a test picture to other bytes; it has Pillow",
    ),
}


@pytest.mark.parametrize("which", OTHERS)
def test_a_worker_that_differs_ends_the_run(
    tmp_path: Path, compress: Compress, processes: Processes, which: str
) -> None:
    changes, message = OTHERS[which]
    make_pictures(tmp_path / "in", 3)
    processes.add_worker(other_edgecomp(tmp_path / "other", changes))
    with pytest.raises(ClusterError) as caught:
        compress("o.ecz", model=None, dask=processes.address)
    told = str(caught.value)
    assert told.startswith("worker tcp://127.0.0.1:")
    assert message in told
    assert f"this machine has edgecomp {VERSION}, Pillow " in told
    assert not (tmp_path / "o.ecz").exists()
    assert left(tmp_path) == []


@pytest.mark.parametrize("which", ["version", "too old"])
def test_a_worker_that_joins_later_is_checked_too(
    tmp_path: Path, processes: Processes, photo: Image.Image, which: str
) -> None:
    changes, message = OTHERS[which]
    other = other_edgecomp(tmp_path / "other", changes)
    good = processes.add_worker()
    file = io.BytesIO()
    photo.save(file, "PNG")
    origin = Origin(".png", 0, 0)
    codec = Codec.load("B")
    with open_fleet(processes.address, codec, folder=None, max_pixels=None) as fleet:
        coded = fleet.code(file.getvalue(), name="a.png", origin=origin)
        assert coded.codestream == codec.encode(photo_of(photo), origin=origin)
        kill(good)
        processes.add_worker(other)
        with pytest.raises(ClusterError, match=message):
            fleet.code(file.getvalue(), name="a.png", origin=origin)


def photo_of(image: Image.Image) -> Any:
    from edgecomp.pictures import picture_from_image

    return picture_from_image(image)


# What goes wrong in the middle.


def test_a_worker_that_is_killed(
    tmp_path: Path, compress: Compress, cluster: str, processes: Processes
) -> None:
    make_pictures(tmp_path / "in", 40, (200, 152))
    compress("without.ecz")
    first, _ = processes.add_worker(), processes.add_worker()
    progress = After(5, lambda: kill(first))
    summary = compress("with.ecz", dask=processes.address, progress=progress)
    assert first.poll() is not None
    assert same(tmp_path, "without.ecz", "with.ecz")
    assert summary.images == 40


# By the size of the picture, of what happens to the worker that codes it.
TROUBLE = """
        if pixels == 72 * 57: raise RuntimeError("no idea")
        if pixels == 72 * 58: raise MemoryError
        if pixels == 72 * 59: return Coded(b"nonsense", pixels)
        if pixels == 72 * 60: return Coded(None, pixels)
        if pixels == 72 * 61:
            return Coded(self._codec.encode(load_picture(image, name=name)), pixels)
        if pixels == 72 * 62: import os; os._exit(9)
        memory = memory_for(pixels)
"""


@pytest.fixture
def trouble(tmp_path: Path, processes: Processes) -> Processes:
    """That scheduler with two workers that do `TROUBLE`."""
    changes = {"picture_coder.py": ("\n        memory = memory_for(pixels)\n", TROUBLE)}
    other = other_edgecomp(tmp_path / "other", changes)
    for _ in range(2):
        processes.add_worker(other)
    return processes


def of_heights(tmp_path: Path, *heights: int) -> None:
    """A picture of each height, named after it."""
    (tmp_path / "in").mkdir()
    for height in heights:
        make_pictures(tmp_path / str(height), 1, (72, height))
        (tmp_path / str(height) / "00.png").rename(tmp_path / "in" / f"{height}.png")


def done_here(summary: CompressSummary, coded: list[tuple[int, int]]) -> dict[int, str]:
    """By the height of each picture that workers could not code, the reason; those and no others
    were coded in this process."""
    reasons = {int(Path(note.path).stem): note.reason for note in summary.coded_here}
    assert sorted(coded) == [(72, height) for height in sorted(reasons)]
    return reasons


def test_what_workers_cannot_do_is_done_here(
    tmp_path: Path, compress: Compress, trouble: Processes, coded: list[tuple[int, int]]
) -> None:
    of_heights(tmp_path, *range(56, 62))
    compress("without.ecz")
    coded.clear()
    summary = compress("with.ecz", dask=trouble.address)
    assert same(tmp_path, "without.ecz", "with.ecz")
    reasons = done_here(summary, coded)
    expected = {
        57: "RuntimeError: no idea",
        58: "MemoryError",
        59: "it gave something else back",
        60: "it gave something else back",
        61: "it gave something else back",
    }
    assert reasons.keys() == expected.keys()
    for height, words in expected.items():
        assert words in reasons[height], reasons[height]
    assert summary.exit_code == ExitCode.DONE
    assert summary.to_json()["coded_here"][0]["path"].endswith(".png")


def test_a_picture_that_kills_its_worker_is_done_here(
    tmp_path: Path, compress: Compress, trouble: Processes, coded: list[tuple[int, int]]
) -> None:
    of_heights(tmp_path, 50, 51, 52, 53, 62)
    compress("without.ecz")
    coded.clear()
    summary = compress("with.ecz", dask=trouble.address)
    assert same(tmp_path, "without.ecz", "with.ecz")
    reasons = done_here(summary, coded)
    assert 62 in reasons
    # Whichever others waited for that worker when it died are among them, for the same reason.
    for reason in reasons.values():
        assert "all those workers died" in reason
    assert summary.exit_code == ExitCode.DONE


def test_no_workers_are_left(
    tmp_path: Path, compress: Compress, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "WORKERS_SECONDS", 1.0)
    monkeypatch.setattr(cluster_module, "_LOOK_SECONDS", 0.3)
    make_pictures(tmp_path / "in", 60, (200, 152))
    compress("whole.ecz")
    worker = processes.add_worker()
    progress = After(9, lambda: kill(worker))
    with pytest.raises(ClusterError, match="no workers for 1 s") as caught:
        compress("o.ecz", dask=processes.address, resume=True, progress=progress)
    assert caught.value.path == processes.address
    assert compress("o.ecz", resume=True).resumed >= 8
    assert same(tmp_path, "whole.ecz", "o.ecz")


def copies(folder: Path, count: int) -> None:
    """So many pictures, all the same."""
    make_pictures(folder, 1, (400, 300))
    data = (folder / "00.png").read_bytes()
    for number in range(1, count):
        (folder / f"{number:02}.png").write_bytes(data)


def test_the_scheduler_is_killed(tmp_path: Path, tiny: Path, compress: Compress) -> None:
    copies(tmp_path / "in", 300)
    compress("whole.ecz")
    words = [*COMMAND, "compress", str(tmp_path / "in"), "-o", str(tmp_path / "o.ecz")]
    words += ["--model", str(tiny), "--resume", "--dask"]
    with Processes(tmp_path / "cluster") as processes:
        processes.add_worker()
        with started([*words, processes.address]) as run:
            wait_until(lambda: written(tmp_path) > 0 or run.poll() is not None)
            kill(processes.scheduler)
            _, err = run.communicate(timeout=HANG_SECONDS)
    (line,) = err.decode().splitlines()  # and nothing that Dask logs
    assert processes.address in line
    assert "the connection to the cluster is lost" in line
    assert line.endswith("; what was done is kept; the same command goes on from there")
    assert run.returncode == ExitCode.FATAL
    assert len(left(tmp_path)) == 1
    assert compress("o.ecz", resume=True).resumed > 0
    assert same(tmp_path, "whole.ecz", "o.ecz")


def test_ctrl_c_while_workers_are_busy(tmp_path: Path, tiny: Path, processes: Processes) -> None:
    """Workers that do not answer any more: nobody waits for them after a Ctrl-C."""
    copies(tmp_path / "in", 200)
    worker = processes.add_worker()
    output = tmp_path / "o.ecz"
    words = [*COMMAND, "compress", str(tmp_path / "in"), "-o", str(output), "--model", str(tiny)]
    with started([*words, "--dask", processes.address], cwd=tmp_path) as run:
        wait_until(lambda: bool(left(tmp_path)) or run.poll() is not None)
        worker.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        assert run.poll() is None, "it waits"
        run.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, err = run.communicate(timeout=HANG_SECONDS)
        # It takes no time; a worker that is silent is given up after half a minute.
        assert time.monotonic() - began < 20
    assert run.returncode == ExitCode.INTERRUPTED
    assert err.decode().splitlines() == ["edgecomp: interrupted"]
    assert os.listdir(tmp_path) == ["in"]


def test_ctrl_c_while_the_scheduler_is_silent(tmp_path: Path, tiny: Path) -> None:
    """Also while it is asked what workers there are, which may take it a minute."""
    copies(tmp_path / "in", 200)
    (tmp_path / "out").mkdir()
    program = "import sys; from edgecomp import cluster; cluster._LOOK_SECONDS = 0.2;"
    program += "from edgecomp.cli import main; sys.exit(main())"
    words = ["compress", str(tmp_path / "in"), "-o", str(tmp_path / "out" / "o.ecz")]
    words += ["--model", str(tiny), "--dask"]
    with Processes(tmp_path / "cluster") as processes:
        processes.add_worker()
        command = [sys.executable, "-c", program, *words, processes.address]
        with started(command, cwd=tmp_path) as run:
            wait_until(lambda: bool(left(tmp_path / "out")) or run.poll() is not None)
            processes.scheduler.send_signal(signal.SIGSTOP)
            time.sleep(1.5)
            assert run.poll() is None, "it waits"
            run.send_signal(signal.SIGINT)
            began = time.monotonic()
            _, err = run.communicate(timeout=HANG_SECONDS)
            # Closing the connection may take 5 s; an answer is given up after 60.
            assert time.monotonic() - began < 30
    assert run.returncode == ExitCode.INTERRUPTED
    assert err.decode().splitlines() == ["edgecomp: interrupted"]
    assert os.listdir(tmp_path / "out") == []


# What is done here while pictures are on their way.


@pytest.fixture
def many_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty pictures on their way to two workers of one thread each."""
    monkeypatch.setattr(fleet_module, "_PER_THREAD", 30)


@pytest.mark.usefixtures("many_ahead")
@pytest.mark.parametrize("how", ["interrupt", "unfit"])
def test_what_waits_to_be_done_here_is_not_done_after_the_end(
    tmp_path: Path, compress: Compress, cluster: str, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Be it before or after the picture at which there was no going on."""
    make_pictures(tmp_path / "in", 1)
    if how == "unfit":
        (tmp_path / "in" / "00.png").rename(tmp_path / "in" / "50.png")
    for number in range(40):
        (tmp_path / "in" / f"{number:02}.txt").write_text("to do\n")
    packed: list[int] = []
    real = prepare_module.pack

    def slow(data: bytes) -> Any:
        packed.append(len(data))
        time.sleep(0.1)
        return real(data)

    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(prepare_module, "pack", slow)
    ask = Fleet._ask

    def asked(self: Fleet, picture: dict[str, Any]) -> dict[str, Any]:
        if how == "unfit":
            raise self._cluster.fail(ClusterError("the end", path="worker"))
        return ask(self, picture)

    monkeypatch.setattr(Fleet, "_ask", asked)
    progress = After(1, interrupt) if how == "interrupt" else None
    with pytest.raises(KeyboardInterrupt if progress else ClusterError):
        compress("o.ecz", dask=cluster, progress=progress)
    # Two threads: what they have begun, and what was begun before the first member was written.
    assert len(packed) <= 6
    assert os.listdir(tmp_path) == ["in"]


KINDS: dict[str, Callable[[Path], object]] = {
    "packed": lambda path: path.with_suffix(".txt").write_text("to do\n" * 20),
    "open": lambda path: path.with_suffix(".txt").write_bytes(bytes(9000)),
    "refused": lambda path: path.with_suffix(".png").write_text("I am no picture"),
    "refused and open": lambda path: path.with_suffix(".png").write_bytes(bytes(9000)),
}


@pytest.mark.usefixtures("many_ahead")
@pytest.mark.parametrize("kind", KINDS)
def test_few_files_are_held_while_a_picture_is_waited_for(
    tmp_path: Path, compress: Compress, cluster: str, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Neither open nor in memory; whatever this machine keeps as it is."""
    monkeypatch.setattr(prepare_module, "SMALL_BYTES", 8000)
    make_pictures(tmp_path / "in", 1)
    for number in range(1, 50):
        KINDS[kind](tmp_path / "in" / f"{number:02}")
    compress("without.ecz")
    held: list[Job] = []
    most = 0
    prepare, close, ask = Preparer.prepare, Ready.close, Fleet._ask

    def prepared(self: Preparer, item: Any) -> Ready:
        nonlocal most
        ready = prepare(self, item)
        if ready.packed or ready.stream:
            held.append(ready.job)
            most = max(most, len(held))
        return ready

    def closed(self: Ready) -> None:
        if self.job in held:
            held.remove(self.job)
        close(self)

    def asked(self: Fleet, picture: dict[str, Any]) -> dict[str, Any]:
        time.sleep(1)  # so long that all could be done meanwhile
        return ask(self, picture)

    monkeypatch.setattr(Preparer, "prepare", prepared)
    monkeypatch.setattr(Ready, "close", closed)
    monkeypatch.setattr(Fleet, "_ask", asked)
    summary = compress("with.ecz", dask=cluster)
    assert (summary.images, summary.files, held) == (1, 50, [])
    assert 0 < most <= 5, "two threads, two more, and the one that is written"
    assert same(tmp_path, "without.ecz", "with.ecz")


def test_few_files_are_open_while_they_are_sent(
    tmp_path: Path, compress: Compress, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More pictures on their way than this process may open files: none is left out."""
    import resource  # which Windows lacks

    monkeypatch.setattr(fleet_module, "_PER_THREAD", 50)
    copies(tmp_path / "in", 100)
    compress("without.ecz")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = SourceFile.hold

    def slowly(self: SourceFile) -> bytes:
        time.sleep(0.1)
        return opened(self)

    monkeypatch.setattr(SourceFile, "hold", slowly)
    resource.setrlimit(resource.RLIMIT_NOFILE, (70, hard))
    try:
        summary = compress("with.ecz", dask=cluster)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (summary.images, summary.skipped, summary.coded_here) == (100, (), ())
    assert same(tmp_path, "without.ecz", "with.ecz")


def test_a_picture_that_changes_after_it_was_refused(
    tmp_path: Path, tiny: Path, photo: Image.Image
) -> None:
    """What others have said of a file is not said of another one."""
    make_pictures(tmp_path / "in", 1)
    picture = tmp_path / "in" / "00.png"
    good = picture.read_bytes()
    picture.write_text("I am no picture")
    codec = Codec.load(model=tiny)
    (job,) = plan_jobs(scan([str(tmp_path / "in")]).entries, codec, None)
    preparer = Preparer(codec, None, budget=Budget(1 << 30), threads=1)
    found = picture.stat()
    sent = Sent(job, kept="no", size=found.st_size, mtime_ns=found.st_mtime_ns)
    assert preparer.prepare(sent).verbatim == "no"
    picture.write_bytes(good)
    ready = preparer.prepare(sent)
    assert ready.verbatim is None
    assert ready.codestream is not None


# Many who wait.


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells how often a thread was woken")
def test_who_waits_is_woken_by_its_own_answer_only(tiny: Path, processes: Processes) -> None:
    """Thirty wait for a worker that is silent, while another answers."""
    processes.add_worker().send_signal(signal.SIGSTOP)
    request = {"recipe": {"version": "none"}, "picture": None}
    ended: list[BaseException] = []

    def waits(connected: Cluster, told: Any) -> None:
        try:
            connected.result(told)
        except CancelledError as error:
            ended.append(error)

    with Cluster(processes.address) as connected:
        (silent,) = connected.threads()
        processes.add_worker()
        asked = [
            connected.submit("edgecomp.fleet_task", "answer", request, worker=silent)
            for _ in range(30)
        ]
        threads = [threading.Thread(target=waits, args=(connected, told)) for told in asked]
        for thread in threads:
            thread.start()
        time.sleep(0.2)
        before = switches(threads)
        (answers,) = set(connected.threads()) - {silent}
        for _ in range(40):
            told = connected.submit("edgecomp.fleet_task", "answer", request, worker=answers)
            assert "unfit" in connected.result(told)
        assert switches(threads) - before < 40, "30 threads, 40 answers"
        connected.stop()
        for thread in threads:
            thread.join(HANG_SECONDS)
        assert len(ended) == 30


def switches(threads: list[threading.Thread]) -> int:
    """How often these threads have gone back to sleep, all together."""
    count = 0
    for thread in threads:
        status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
        count += int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])
    return count


def test_nobody_waits_on_when_a_worker_does_not_fit(
    tmp_path: Path,
    tiny: Path,
    processes: Processes,
    photo: Image.Image,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One thread waits for a silent worker when another finds one that lacks edgecomp."""
    monkeypatch.setattr(fleet_module, "_CHECK_SECONDS", 1.0)
    silent = processes.add_worker()
    other = other_edgecomp(tmp_path / "other", OTHERS["too old"][0])
    file = io.BytesIO()
    photo.save(file, "PNG")
    codec = Codec.load(model=tiny)
    found: list[BaseException] = []
    with open_fleet(processes.address, codec, folder=str(tiny), max_pixels=None) as fleet:

        def code() -> None:
            try:
                fleet.code(file.getvalue(), name="a.png", origin=Origin(".png", 0, 0))
            except BaseException as error:
                found.append(error)

        silent.send_signal(signal.SIGSTOP)
        waiting = threading.Thread(target=code, daemon=True)
        waiting.start()
        wait_until(lambda: len(fleet._cluster._client.futures) == 1)
        time.sleep(0.3)
        processes.add_worker(other)
        # Some of these go to the worker that is idle.
        others = [threading.Thread(target=code, daemon=True) for _ in range(3)]
        for thread in others:
            thread.start()
        for thread in (waiting, *others):
            thread.join(HANG_SECONDS)
            assert not thread.is_alive(), "it waits on"
    assert len(found) == 4
    assert {str(error) for error in found} == {str(found[0])}
    assert "edgecomp is missing there" in str(found[0])


# No cluster.


def test_nobody_is_at_the_address(
    tmp_path: Path,
    tiny: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cluster_module, "CONNECT_SECONDS", 1.0)
    make_pictures(tmp_path / "in", 1)
    address = f"tcp://127.0.0.1:{free_port()}"
    words = ["compress", str(tmp_path / "in"), "--model", str(tiny), "--dask", address]
    assert main([*words, "--json"]) == ExitCode.FATAL
    out, err = capsys.readouterr()
    assert f"edgecomp: error: {address}: the cluster cannot be reached" in err or address in err
    document = json.loads(out)
    assert (document["path"], document["exit_code"]) == (address, 1)
    assert "cannot be reached" in document["error"]
    assert os.listdir(tmp_path) == ["in"]


def serve_garbage(server: socket.socket) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 4)


@pytest.mark.parametrize("talks", [True, False])
def test_something_else_is_at_the_address(
    tmp_path: Path, compress: Compress, monkeypatch: pytest.MonkeyPatch, talks: bool
) -> None:
    monkeypatch.setattr(cluster_module, "CONNECT_SECONDS", 1.0)
    make_pictures(tmp_path / "in", 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve_garbage, args=(server,), daemon=True)
        if talks:
            thread.start()
        with pytest.raises(ClusterError, match="cannot be reached"):
            compress("o.ecz", dask=f"tcp://127.0.0.1:{server.getsockname()[1]}")
        server.shutdown(socket.SHUT_RDWR)
    assert os.listdir(tmp_path) == ["in"]


def test_there_are_no_workers(
    tmp_path: Path, compress: Compress, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "WORKERS_SECONDS", 1.0)
    make_pictures(tmp_path / "in", 1)
    with pytest.raises(ClusterError, match="no workers for 1 s"):
        compress("o.ecz", dask=processes.address)
    worker = processes.add_worker()
    worker.send_signal(signal.SIGSTOP)
    monkeypatch.setattr(fleet_module, "_CHECK_SECONDS", 1.0)
    with pytest.raises(ClusterError, match="no worker has answered within 1 s"):
        compress("o.ecz", dask=processes.address)
    assert os.listdir(tmp_path) == ["in"]


def test_a_worker_is_no_scheduler(
    tmp_path: Path, compress: Compress, cluster: str, tiny: Path
) -> None:
    make_pictures(tmp_path / "in", 1)
    with Cluster(cluster) as connected:
        worker = next(iter(connected.threads()))
    with pytest.raises(ClusterError, match="no Dask scheduler"):
        compress("o.ecz", dask=worker)


@pytest.mark.parametrize("address", ["nonsense", "http://localhost:80", "tcp://localhost"])
def test_addresses_that_are_none(tmp_path: Path, compress: Compress, address: str) -> None:
    make_pictures(tmp_path / "in", 1)
    with pytest.raises(UsageError, match="no address of a Dask scheduler"):
        compress("o.ecz", dask=address)


def test_the_package_is_missing(
    tmp_path: Path, compress: Compress, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_pictures(tmp_path / "in", 1)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(BackendUnavailableError, match=r"pip install 'edgecomp\[dask\]'"):
        compress("o.ecz", dask="tcp://127.0.0.1:8786")
    assert os.listdir(tmp_path) == ["in"]


def test_what_makes_no_sense_is_refused(
    tmp_path: Path, compress: Compress, capsys: pytest.CaptureFixture[str]
) -> None:
    make_pictures(tmp_path / "in", 1)
    with pytest.raises(UsageError, match="tensorflow"):
        compress("o.ecz", dask="tcp://localhost:1", backend="tensorflow")
    with pytest.raises(UsageError, match="empty"):
        compress("o.ecz", dask=" ")
    picture = str(tmp_path / "in" / "00.png")
    assert main(["compress", picture, "--dask", "tcp://localhost:1"]) == ExitCode.USAGE
    assert "--dask is for archives" in capsys.readouterr().err
    assert compress("o.ecz", dask="tcp://localhost:1", dry_run=True).images == 1
    assert os.listdir(tmp_path) == ["in"]


# The command.


def test_the_command(folder: Path, tmp_path: Path, tiny: Path, cluster: str) -> None:
    """What it prints is what a run without prints."""
    words = [*COMMAND, "compress", str(folder), "--model", str(tiny)]
    without = finished([*words, "-o", str(tmp_path / "without.ecz")])
    done = finished([*words, "-o", str(tmp_path / "with.ecz"), "--dask", cluster])
    assert done.returncode == without.returncode == ExitCode.SKIPPED
    assert done.stderr == without.stderr
    assert done.stdout.split(b",")[0] == b"%s: 6 pictures and 6 other files" % os.fsencode(
        tmp_path / "with.ecz"
    )
    assert same(tmp_path, "without.ecz", "with.ecz")


def test_a_worker_refuses_what_this_machine_reads(
    tiny: Path, cluster: str, photo: Image.Image, tmp_path: Path
) -> None:
    """Whoever has the pixels last says whether they can be read: this machine."""
    codec = Codec.load(model=tiny)
    photo.save(tmp_path / "cut.jpg", quality=95)
    cut = (tmp_path / "cut.jpg").read_bytes()[:3000]
    origin = Origin(".jpg", 0, 0)
    with open_fleet(cluster, codec, folder=str(tiny), max_pixels=None) as fleet:
        with pytest.raises(NotCodedError, match="truncated"):
            fleet.code(cut, name="cut.jpg", origin=origin)
        with pytest.raises(UnsupportedPictureError, match="not a picture"):
            fleet.code(b"text", name="cut.jpg", origin=origin)


def test_what_is_coded_here_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_pictures(tmp_path / "in", 1)
    real = compress_module.compress_folder

    def told(*arguments: Any, **options: Any) -> CompressSummary:
        summary = real(*arguments, **options)
        return replace(summary, coded_here=(Note("a.png", "the worker went home"),))

    monkeypatch.setattr(compress_module, "compress_folder", told)
    assert main(["compress", str(tmp_path / "in")]) == ExitCode.DONE
    assert "a.png: coded here: the worker went home" in capsys.readouterr().err.replace("(", ": ")
    with ArchiveReader(tmp_path / "in.ecz") as reader:
        assert len(reader.members) == 1
