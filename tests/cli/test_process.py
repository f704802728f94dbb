"""The command line as a process: signals, pipes, what it imports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from processes import COMMAND, ENVIRONMENT, started

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and pipes of POSIX")

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def process(tmp_path: Path) -> Run:
    """Run ``python -m edgecomp`` in the test's folder and wait for it."""

    def run(
        *words: str, stdin: bytes | None = None, **variables: str
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*COMMAND, *words],
            cwd=tmp_path,
            env={**ENVIRONMENT, **variables},
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=60,
        )

    return run


_SLOW = """
import signal, sys, time
import edgecomp.compress as job
def slow(sources, output, **options):
    try:
        print("begun", file=sys.stderr, flush=True)
        time.sleep(30)
    finally:
        for _ in range(5):  # a clean-up that takes its time
            time.sleep(0.05)
        print("cleaned up", file=sys.stderr, flush=True)
job.compress_folder = slow
from edgecomp.cli import main
sys.exit(main())
"""


def _stop_when_begun(
    folder: Path, number: signal.Signals, *options: str, times: int = 1
) -> tuple[int, bytes, bytes]:
    command = [sys.executable, "-c", _SLOW, "compress", str(folder), "-o", "x.ecz", *options]
    with started(command, cwd=folder, stdout=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"begun\n"
        for _ in range(times):
            process.send_signal(number)
            time.sleep(0.02)
        out, err = process.communicate(timeout=20)
        return process.returncode, out, err


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [
        (signal.SIGINT, 130, b"interrupted"),
        (signal.SIGTERM, 143, b"terminated"),
        (signal.SIGHUP, 143, b"terminated"),
    ],
)
def test_signals_clean_up_and_have_their_code(
    number: signal.Signals, code: int, word: bytes, tmp_path: Path
) -> None:
    got, out, err = _stop_when_begun(tmp_path, number)
    assert (got, out) == (code, b"")
    assert err == b"cleaned up\nedgecomp: " + word + b"\n"


def test_a_signal_sent_twice_does_not_cut_the_clean_up_short(tmp_path: Path) -> None:
    code, _, err = _stop_when_begun(tmp_path, signal.SIGTERM, times=3)
    assert code == 143
    assert err == b"cleaned up\nedgecomp: terminated\n"


def test_interrupted_with_json(tmp_path: Path) -> None:
    code, out, _ = _stop_when_begun(tmp_path, signal.SIGINT, "--json")
    assert code == 130
    assert json.loads(out) == {"error": "interrupted", "path": None, "exit_code": 130}


def test_an_interrupted_job_leaves_nothing_behind(
    tmp_path: Path, tiny: Path, photo: Image.Image
) -> None:
    source = tmp_path / "many"
    source.mkdir()
    data = _png(photo.resize((800, 600)), tmp_path)
    for i in range(300):
        (source / f"{i}.png").write_bytes(data)
    command = [*COMMAND, "compress", "many", "--model", str(tiny)]
    with started(command, cwd=tmp_path, stdout=subprocess.PIPE) as process:
        deadline = time.monotonic() + 20
        while not list(tmp_path.glob("many.ecz.partial*")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert (out, err) == (b"", b"edgecomp: interrupted\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["many", "one.png"]
    assert len(list(source.iterdir())) == 300


def _png(image: Image.Image, folder: Path) -> bytes:
    image.save(folder / "one.png")
    return (folder / "one.png").read_bytes()


def test_a_picture_through_pipes(
    process: Run, tmp_path: Path, tiny: Path, photo: Image.Image
) -> None:
    data = _png(photo, tmp_path)
    packed = process("compress", "-", "--model", str(tiny), stdin=data)
    assert packed.returncode == 0, packed.stderr
    assert packed.stdout.startswith(b"\xecEC")
    assert b"1 picture" in packed.stderr
    restored = process("decompress", "-", "--model", str(tiny), stdin=packed.stdout)
    assert restored.returncode == 0, restored.stderr
    (tmp_path / "back.png").write_bytes(restored.stdout)
    with Image.open(tmp_path / "back.png") as back:
        assert (back.format, back.size, back.mode) == ("PNG", photo.size, photo.mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back.png", "one.png"]


def test_pipes_with_files_on_the_other_side(
    process: Run, tmp_path: Path, tiny: Path, photo: Image.Image
) -> None:
    data = _png(photo, tmp_path)
    one = process("compress", "-", "-o", "x.edge", "--model", str(tiny), "--json", stdin=data)
    assert one.returncode == 0, one.stderr
    assert json.loads(one.stdout)["images"] == 1
    two = process("compress", "one.png", "-o", "-", "--model", str(tiny), "--quiet")
    assert (two.returncode, two.stderr) == (0, b"")
    three = process(
        "decompress", "x.edge", "-o", "-", "--format", "bmp", "--model", str(tiny), "--quiet"
    )
    assert (three.returncode, three.stdout[:2], three.stderr) == (0, b"BM", b"")


def test_nothing_but_garbage_in_a_pipe(process: Run, tiny: Path) -> None:
    for data in (b"", b"garbage" * 100):
        done = process("compress", "-", "--model", str(tiny), stdin=data)
        assert (done.returncode, done.stdout) == (1, b"")
        assert done.stderr.startswith(b"edgecomp: error: ")
        assert done.stderr.count(b"\n") == 1
        done = process("decompress", "-", "--model", str(tiny), stdin=data)
        assert (done.returncode, done.stdout) == (1, b"")
        assert done.stderr.count(b"\n") == 1


def test_a_reader_that_goes_away(process: Run, tmp_path: Path, tiny: Path) -> None:
    many = tmp_path / "many"
    many.mkdir()
    for i in range(500):  # a list longer than a pipe holds
        (many / f"{'a file whose name is very long ' * 6}{i}.txt").write_text("x")
    assert process("compress", "many", "--model", str(tiny)).returncode == 0
    for words in ("list many.ecz", "list many.ecz --json", "--help"):
        line = f"{sys.executable} -m edgecomp {words} | head -c 10; echo ${{PIPESTATUS[0]}}"
        done = subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, timeout=60
        )
        assert done.stdout.endswith(b"0\n"), done
        assert done.stderr == b""


def test_standard_output_on_a_full_disk(process: Run, tmp_path: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*COMMAND, "models"],
            cwd=tmp_path,
            env=ENVIRONMENT,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
        )
    assert done.returncode == 1
    assert done.stderr.startswith(b"edgecomp: error: standard output: No space left")
    assert done.stderr.count(b"\n") == 1


def test_an_error_document_on_a_full_disk(tmp_path: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    for environment in (ENVIRONMENT, {**ENVIRONMENT, "PYTHONUNBUFFERED": "1"}):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [*COMMAND, "list", "none.ecz", "--json"],
                cwd=tmp_path,
                env=environment,
                stdout=full,
                stderr=subprocess.PIPE,
                timeout=60,
            )
        assert done.returncode == 1
        first, second = done.stderr.splitlines()
        assert first == b"edgecomp: error: none.ecz: no such file"
        assert second.startswith(b"edgecomp: error: standard output: No space left")


def test_help_is_quick_and_commands_import_no_training_packages(
    process: Run, folder: Path, tiny: Path
) -> None:
    code = (
        "import sys\nfrom edgecomp.cli import main\nmain(sys.argv[1:])\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )

    def loaded(*words: str) -> set[str]:
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            cwd=folder.parent,
            env=ENVIRONMENT,
            capture_output=True,
            timeout=60,
            check=True,
        )
        return set(done.stdout.decode().splitlines()[-1].split())

    assert not loaded("--help") & {"numpy", "PIL", "onnxruntime", "tqdm", "cffi", "_cffi_backend"}
    modules = loaded("compress", folder.name, "--model", str(tiny))
    assert "onnxruntime" in modules
    assert not modules & {"tensorflow", "keras", "onnx", "torch", "jax"}


def test_a_terminal_without_unicode_gets_escapes(process: Run, folder: Path, tiny: Path) -> None:
    (folder / "жук.jpg").write_text("no picture")
    words = ("compress", folder.name, "--model", str(tiny))
    done = process(*words, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert rb"\u0436\u0443\u043a.jpg" in done.stderr


def _program(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """What a process does that runs `program` after some code."""
    return subprocess.run(
        [sys.executable, "-c", f"{_PROGRAM}{code}\n{_RUN}", "--version"],
        env={**_UNSET, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


_UNSET = {name: value for name, value in ENVIRONMENT.items() if name != "OPENBLAS_NUM_THREADS"}
_PROGRAM = "import atexit, os, sys, threading, time\nfrom edgecomp.cli.process import program\n"
_RUN = """
try:
    program()
except SystemExit as end:
    print("SystemExit", end.code)
"""


def test_the_process_ends_without_being_taken_apart(process: Run) -> None:
    done = _program("atexit.register(print, 'at exit')")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1:] == ["at exit"]
    assert process("nonsense").returncode == 2


@pytest.mark.parametrize(
    "watching",
    [
        "sys.setprofile(lambda *_: None)",
        "sys.settrace(lambda *_: None)",
        "threading.Thread(target=lambda: (time.sleep(0.3), print('worked on'))).start()",
    ],
)
def test_where_somebody_watches_or_works_python_ends_in_its_own_way(watching: str) -> None:
    done = _program(watching)
    assert (done.returncode, done.stderr) == (0, "")
    assert "SystemExit 0\n" in done.stdout
    assert ("worked on" in done.stdout) == ("worked on" in watching)


def test_last_words_that_nobody_hears_are_no_error() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    # Registered last is called first: what is printed after it finds the disk full.
    code = """
atexit.register(print, "never seen")
atexit.register(lambda: os.dup2(os.open("/dev/full", os.O_WRONLY), 1))
"""
    done = _program(code, PYTHONUNBUFFERED="")
    assert (done.returncode, done.stderr) == (0, "")


def test_matrix_threads_are_not_started_but_a_setting_is_kept() -> None:
    code = "atexit.register(lambda: print(os.environ['OPENBLAS_NUM_THREADS']))"
    assert _program(code).stdout.splitlines()[1:] == ["1"]
    assert _program(code, OPENBLAS_NUM_THREADS="7").stdout.splitlines()[1:] == ["7"]


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads cannot be counted here")
def test_one_thread_is_one(folder: Path) -> None:
    """One that works, that is: the main one waits for it and writes what it has made."""
    command = [*COMMAND, "compress", str(folder), "-q", "A", "--threads", "1", "--verify"]
    begun = time.perf_counter()
    process = subprocess.Popen(command, env=_UNSET, stdout=subprocess.DEVNULL)
    tasks, most = Path(f"/proc/{process.pid}/task"), 0
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        most = max(most, len(os.listdir(tasks)))
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert most == 2
    assert usage.ru_utime + usage.ru_stime <= 1.05 * seconds + 0.02
