"""`edgecomp doctor`: what it says, what it chooses, and that other runs use that."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import onnxruntime
import pytest
from PIL import Image

from edgecomp import choices, doctor, golden
from edgecomp.archive import ArchiveReader
from edgecomp.backends import engine, load_backend
from edgecomp.choices import Choice, choice_file, content_of, remembered
from edgecomp.cli import main
from edgecomp.compress import compress_folder
from edgecomp.doctor import diagnose
from edgecomp.errors import BackendUnavailableError, ExitCode
from edgecomp.fleet import settled_precision
from edgecomp.machine import usable_cpus
from edgecomp.models import shipped_models
from edgecomp.speed import Speed, Timing, measure_speed, quickest

ORT = onnxruntime.__version__


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The user's folder of cached files."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A benchmark that takes no longer than it must."""
    monkeypatch.setattr(doctor, "diagnose", partial(diagnose, seconds=0.1))


@pytest.fixture
def pictures(tmp_path: Path, photo: Image.Image) -> Path:
    """A folder of two pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    photo.save(folder / "a.png")
    photo.transpose(Image.Transpose.ROTATE_180).save(folder / "b.png")
    return folder


class Interrupt:
    """Interrupts a run when its first picture is done."""

    def start(self, total_items: int, total_bytes: int, /) -> None: ...

    def advance(self, name: str, size: int, /) -> None:
        raise KeyboardInterrupt

    def finish(self) -> None: ...


def _keep(choice: Choice) -> None:
    path = choice_file()
    assert path is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content_of(choice))


@pytest.mark.usefixtures("short")
def test_json_has_what_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == ExitCode.DONE
    found = json.loads(capsys.readouterr().out)
    assert found["cores"] == usable_cpus()
    assert found["memory"] > 1 << 26
    assert found["onnxruntime"] == ORT
    assert found["dot_product"] in (True, False, None)
    assert found["golden"] is True
    assert found["wrong"] == []
    assert set(found["milliseconds"]) == {"int8", "fp32"}
    assert all(0 < value < 60_000 for value in found["milliseconds"].values())
    assert found["precision"] in found["milliseconds"]
    assert 1 <= found["threads"] <= found["cores"]
    assert {t["precision"] for t in found["timings"]} == {"int8", "fp32"}
    assert found["exit_code"] == 0
    assert found["cpu"]


@pytest.mark.usefixtures("short")
def test_what_is_printed_and_remembered(capsys: pytest.CaptureFixture[str], cache: Path) -> None:
    assert main(["doctor"]) == ExitCode.DONE
    text = capsys.readouterr().out
    for word in ("processor", "memory", f"onnxruntime  {ORT}", "golden", "int8", "fp32", "Chosen"):
        assert word in text
    choice = remembered()
    assert choice is not None
    assert choice.onnxruntime == ORT
    assert f"Chosen: {choice.precision}," in text
    (file,) = (cache / "edgecomp").iterdir()
    assert str(file) in text
    assert (cache / "edgecomp").stat().st_mode & 0o077 == 0


@pytest.mark.usefixtures("short")
@pytest.mark.skipif(os.name == "nt", reason="a file in a folder's place, as POSIX tells of it")
def test_without_a_place_to_remember_it_still_tells(
    capsys: pytest.CaptureFixture[str], cache: Path
) -> None:
    cache.write_text("in the way")
    assert main(["doctor"]) == ExitCode.DONE
    assert "Not remembered" in capsys.readouterr().out
    found = diagnose()
    assert found.remembered is None
    assert str(cache) in (found.not_remembered or "")


@pytest.mark.usefixtures("short")
def test_other_golden_vectors_are_an_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        golden, "picture", lambda height, width: golden.scattered((height, width, 3), 256)
    )
    assert main(["doctor", "--json"]) == ExitCode.MODEL
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert found["golden"] is False
    assert any("symbols" in note["reason"] for note in found["wrong"])
    assert "golden vectors" in captured.err
    assert found["milliseconds"] == {}
    assert remembered() is None, "also what was remembered before"
    assert main(["doctor"]) == ExitCode.MODEL
    assert "Not remembered (the golden vectors differ)" in capsys.readouterr().out


@pytest.mark.usefixtures("short")
def test_one_damaged_model_leaves_the_report_of_the_others(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shipped = shutil.copytree(shipped_models()[0].path.parent, tmp_path / "models")
    path = shipped / "B" / "decoder.int8.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    monkeypatch.setattr("edgecomp.models._SHIPPED", shipped)
    assert main(["doctor", "--json"]) == ExitCode.MODEL
    found = json.loads(capsys.readouterr().out)
    assert [note["path"] for note in found["wrong"]] == ["model edge-b"]
    assert set(found["milliseconds"]) == {"int8", "fp32"}
    assert found["remembered"] is None


@pytest.mark.usefixtures("short")
def test_memory_limits_how_many_are_measured_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "usable_cpus", lambda: 64)
    monkeypatch.setattr(doctor, "usable_memory", lambda: 1 << 28)
    found = diagnose(seconds=0.1)
    assert found.speed is not None
    assert max(timing.threads for timing in found.speed.timings) == 2
    assert found.threads in (1, 64)
    assert set(found.milliseconds) == {"int8", "fp32"}


def _speed(*timings: tuple[str, int, float]) -> Speed:
    return Speed((768, 512), tuple(Timing(*timing) for timing in timings))


@pytest.mark.parametrize(
    ("timings", "chosen"),
    [
        ([("int8", 1, 60), ("int8", 4, 20), ("fp32", 1, 90), ("fp32", 4, 30)], ("int8", 4)),
        # An old board: fp32 clearly the quicker.
        ([("int8", 1, 90), ("int8", 4, 30), ("fp32", 1, 60), ("fp32", 4, 20)], ("fp32", 4)),
        # A little quicker may be chance, and int8 gives the same pixels everywhere.
        ([("int8", 1, 60), ("int8", 4, 20), ("fp32", 1, 58), ("fp32", 4, 19)], ("int8", 4)),
        ([("int8", 1, 20), ("int8", 4, 20), ("fp32", 1, 30), ("fp32", 4, 30)], ("int8", 4)),
        # Short of memory bandwidth: two at a time are much quicker than four.
        ([("int8", 2, 14), ("int8", 4, 20), ("fp32", 2, 30), ("fp32", 4, 30)], ("int8", 2)),
        # Everything but the networks gains from threads too.
        ([("int8", 2, 16), ("int8", 4, 20), ("fp32", 2, 14), ("fp32", 4, 30)], ("int8", 4)),
    ],
)
def test_what_is_chosen(timings: Sequence[tuple[str, int, float]], chosen: tuple[str, int]) -> None:
    assert quickest(_speed(*timings), ("fp32", "int8"), 4) == chosen


def test_a_model_of_one_precision_leaves_no_choice() -> None:
    assert quickest(_speed(("fp32", 2, 5.0)), ("fp32",), 2) == ("fp32", 2)


def test_all_settings_are_measured() -> None:
    speed = measure_speed(shipped_models()[0], cores=3, seconds=0.1)
    assert {(t.precision, t.threads) for t in speed.timings} == {
        (precision, threads) for precision in ("int8", "fp32") for threads in (1, 3)
    }
    assert speed.size == (192, 128), "the smallest, for so little time"
    assert speed.of("int8", 1) is not None
    assert speed.of("int8", 2) is None


def test_auto_is_what_was_chosen() -> None:
    model = shipped_models()[0]
    assert load_backend("onnx", model).precision == "int8"
    _keep(Choice("fp32", None, ORT))
    assert load_backend("onnx", model).precision == "fp32"
    assert load_backend("onnx", model, precision="int8").precision == "int8"


def test_a_fleet_does_not_ask_what_is_quickest_here() -> None:
    _keep(Choice("fp32", None, ORT))
    assert settled_precision("auto", "B", None) == "int8"
    assert settled_precision("fp32", "B", None) == "fp32"


def test_folder_jobs_use_the_chosen_threads(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgecomp import compress

    seen = []
    in_order = compress.in_order

    def spy(function, items, *, threads, **more):  # type: ignore[no-untyped-def]
        seen.append(threads)
        return in_order(function, items, threads=threads, **more)

    monkeypatch.setattr(compress, "in_order", spy)
    monkeypatch.setattr(choices, "usable_cpus", lambda: 4)
    compress_folder(pictures, tmp_path / "all.ecz")
    _keep(Choice("int8", 2, ORT))
    compress_folder(pictures, tmp_path / "two.ecz")
    compress_folder(pictures, tmp_path / "three.ecz", threads=3)
    assert seen == [4, 2, 3]
    made = [(tmp_path / f"{name}.ecz").read_bytes() for name in ("all", "two", "three")]
    assert made[0] == made[1] == made[2]


def test_a_run_goes_on_in_the_precision_that_it_began_with(pictures: Path, tmp_path: Path) -> None:
    target, unbroken = tmp_path / "x.ecz", tmp_path / "unbroken.ecz"
    compress_folder(pictures, unbroken, precision="int8")

    _interrupted(pictures, target, "int8")
    _keep(Choice("fp32", None, ORT))
    summary = compress_folder(pictures, target, resume=True)
    assert summary.resumed == 1
    assert target.read_bytes() == unbroken.read_bytes()


def _interrupted(pictures: Path, target: Path, precision: str) -> None:
    """Leave what a run has done that was interrupted after its first picture."""
    with pytest.raises(KeyboardInterrupt):
        compress_folder(
            pictures, target, resume=True, threads=1, precision=precision, progress=Interrupt()
        )


def test_what_another_precision_has_left_is_nothing_to_a_finished_archive(
    pictures: Path, tmp_path: Path
) -> None:
    target = tmp_path / "x.ecz"
    _interrupted(pictures, target, "fp32")
    compress_folder(pictures, target)
    before = target.read_bytes()
    summary = compress_folder(pictures, target, resume=True)
    assert summary.resumed == 2
    assert target.read_bytes() == before


def test_the_precision_can_still_be_said_when_going_on(pictures: Path, tmp_path: Path) -> None:
    _keep(Choice("fp32", None, ORT))
    compress_folder(pictures, tmp_path / "auto.ecz", resume=True)
    compress_folder(pictures, tmp_path / "fp32.ecz", precision="fp32")
    compress_folder(pictures, tmp_path / "int8.ecz", precision="int8", resume=True)
    with ArchiveReader(tmp_path / "auto.ecz") as reader:
        assert len(reader.members) == 2
    auto, fp32, int8 = ((tmp_path / f"{n}.ecz").read_bytes() for n in ("auto", "fp32", "int8"))
    assert auto == fp32 != int8


def test_32_bits_are_refused_with_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "maxsize", 2**31 - 1)
    with pytest.raises(BackendUnavailableError, match="64-bit"):
        engine.load_onnxruntime()


@pytest.mark.parametrize("command", [["doctor"], ["compress", "PICTURES", "-o", "x.ecz"]])
def test_the_command_line_refuses_32_bits(
    command: list[str],
    pictures: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "maxsize", 2**31 - 1)
    assert main([str(pictures) if w == "PICTURES" else w for w in command]) == ExitCode.FATAL
    assert "64-bit Raspberry Pi OS" in capsys.readouterr().err


def test_building_on_32_bits_is_refused_with_a_word() -> None:
    code = (
        "import sys; sys.maxsize = 2**31 - 1\n"
        "exec(compile(open('setup.py').read(), 'setup.py', 'exec'))"
    )
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "64-bit" in done.stderr
