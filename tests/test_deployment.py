"""What stands in examples/ for machines that run alone: the container, the camera's timer."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from common import HANG_SECONDS, ROOT
from PIL import Image

from edgecomp.archive import ArchiveReader

DOCKERFILE = ROOT / "examples" / "docker" / "Dockerfile"
SYSTEMD = ROOT / "examples" / "systemd"
CAMERA = SYSTEMD / "edgecomp-camera"
HOUR = 3600


def _steps() -> list[tuple[str, str]]:
    """The Dockerfile's instructions: word and arguments."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(words[0], words[1]) for line in lines if len(words := line.split(maxsplit=1)) == 2]


def test_the_image_is_built_from_what_its_dockerfile_copies(tmp_path: Path) -> None:
    """A wheel is made from the copied files alone, and holds the models and the library."""
    for word, rest in _steps():
        if word == "COPY" and "--from" not in rest:
            *sources, target = rest.split()
            for source in sources:
                path, there = ROOT / source, tmp_path / target.strip("/")
                assert path.exists(), source
                if path.is_dir():
                    skip = shutil.ignore_patterns("*.so", "__pycache__")
                    shutil.copytree(path, there, ignore=skip)
                else:
                    there.mkdir(exist_ok=True)
                    shutil.copy(path, there)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", tmp_path]
    subprocess.run([*command, tmp_path / "src"], check=True, timeout=HANG_SECONDS)
    (wheel,) = tmp_path.glob("edgecomp-*.whl")
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
    assert {f"edgecomp/models/{q}/model.json" for q in "ABC"} <= set(names)
    assert any(name.startswith("edgecomp/_native") for name in names)


def test_the_ignore_file_lets_through_what_is_copied() -> None:
    ignore = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
    copied = {s for word, rest in _steps() if word == "COPY" and "--from" not in rest
              for s in rest.split()[:-1]}  # fmt: skip
    assert {line[1:] for line in ignore if line.startswith("!")} == copied


def test_the_container_does_not_run_as_root() -> None:
    words = [word for word, _ in _steps()]
    last = len(words) - 1 - words[::-1].index("FROM")
    users = [rest for word, rest in _steps()[last:] if word == "USER"]
    assert users == ["edgecomp"]
    compilers = [rest for word, rest in _steps()[last:] if word == "RUN" and "gcc" in rest]
    assert not compilers, "the compiler stays in the first stage"


@pytest.fixture
def camera(tmp_path: Path, photo: Image.Image) -> Iterator[Path]:
    """Two finished days of pictures, one that goes on, and a folder for archives."""
    for day, age in (("2026-11-24", 30), ("2026-11-25", 6), ("2026-11-26", 0)):
        folder = tmp_path / "camera" / day
        folder.mkdir(parents=True)
        for hour in (8, 9):
            photo.rotate(hour).save(folder / f"{hour}.jpg", quality=95)
        _age(folder, age)
    (tmp_path / "archives").mkdir()
    return tmp_path


def _age(folder: Path, hours: float) -> None:
    """Make a folder and what is in it so old."""
    for path in (*folder.iterdir(), folder):
        then = path.stat().st_mtime - hours * HOUR
        os.utime(path, (then, then))


def _add_picture(folder: Path, photo: Image.Image) -> None:
    """Another picture, two hours old; so is the folder."""
    photo.rotate(10).save(folder / "10.jpg", quality=95)
    for path in (folder / "10.jpg", folder):
        os.utime(path, (path.stat().st_mtime - 2 * HOUR,) * 2)


def _run(camera: Path) -> tuple[int, str]:
    """The timer's script, as systemd runs it."""
    settings = {
        "EDGECOMP": shutil.which("edgecomp", path=str(Path(sys.executable).parent)) or "edgecomp",
        "EDGECOMP_PICTURES": str(camera / "camera"),
        "EDGECOMP_ARCHIVES": str(camera / "archives"),
    }
    done = subprocess.run(
        ["sh", CAMERA], env=os.environ | settings, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def _archives(camera: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (camera / "archives").glob("*.ecz")}


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell script")
class TestCamera:
    """examples/systemd/edgecomp-camera."""

    def test_finished_days_become_archives(self, camera: Path) -> None:
        code, printed = _run(camera)
        assert code == 0, printed
        assert set(_archives(camera)) == {"2026-11-24.ecz", "2026-11-25.ecz"}
        assert "2026-11-26/: still changing" in printed
        with ArchiveReader(camera / "archives" / "2026-11-24.ecz") as reader:
            assert sorted(m.source or "" for m in reader.members) == ["8.jpg", "9.jpg"]
        assert len(list((camera / "camera").rglob("*.jpg"))) == 6, "pictures stay"

    def test_the_next_night_does_only_what_is_new(self, camera: Path) -> None:
        _run(camera)
        before = _archives(camera)
        _age(camera / "camera" / "2026-11-26", 2)
        code, printed = _run(camera)
        assert code == 0, printed
        assert "24" not in printed
        assert _archives(camera).items() > before.items()

    def test_a_picture_that_comes_late_is_added(self, camera: Path, photo: Image.Image) -> None:
        _run(camera)
        _add_picture(camera / "camera" / "2026-11-24", photo)
        # It came long ago by now, but after the run that made the archive.
        for path in (camera / "archives").rglob("*"):
            os.utime(path, (path.stat().st_mtime - 3 * HOUR,) * 2)
        code, printed = _run(camera)
        assert code == 0, printed
        assert "2 unchanged" in printed
        with ArchiveReader(camera / "archives" / "2026-11-24.ecz") as reader:
            assert len(reader.members) == 3

    def test_a_picture_that_comes_during_the_run_is_added_the_next_time(
        self, camera: Path, photo: Image.Image
    ) -> None:
        """It is older than the archive, which has its time from the end of the run."""
        folder, archive = camera / "camera" / "2026-11-24", camera / "archives" / "2026-11-24.ecz"
        _run(camera)
        done = camera / "archives" / ".2026-11-24.done"
        began = archive.stat().st_mtime - 3 * HOUR
        os.utime(done, (began, began))
        os.utime(archive, (began + 60, began + 60))
        _add_picture(folder, photo)
        for path in (folder / "10.jpg", folder):
            os.utime(path, (began + 30, began + 30))
        code, printed = _run(camera)
        assert code == 0, printed
        assert "2 unchanged" in printed

    def test_what_was_skipped_is_tried_again(self, camera: Path) -> None:
        folder = camera / "camera" / "2026-11-24"
        os.mkfifo(folder / "pipe.jpg")
        _age(folder, 3)
        code, printed = _run(camera)
        assert code == 3, printed
        (folder / "pipe.jpg").unlink()
        os.utime(folder, (0, 0))
        code, printed = _run(camera)
        assert code == 0, printed
        assert "2 unchanged" in printed
        assert _run(camera)[1].count("2026-11-24") == 0

    def test_a_day_that_is_a_link_is_looked_into(self, camera: Path) -> None:
        (camera / "camera" / "2026-11-26").rename(camera / "elsewhere")
        (camera / "camera" / "2026-11-26").symlink_to(camera / "elsewhere")
        _, printed = _run(camera)
        assert "2026-11-26/: still changing" in printed
        assert "2026-11-26.ecz" not in _archives(camera)

    def test_a_time_to_come_does_not_keep_a_day_waiting(self, camera: Path) -> None:
        picture = camera / "camera" / "2026-11-24" / "8.jpg"
        then = picture.stat().st_mtime + 10_000 * HOUR
        os.utime(picture, (then, then))
        code, printed = _run(camera)
        assert code == 0, printed
        assert "2026-11-24.ecz" in _archives(camera)
        assert _run(camera)[1].count("2026-11-24") == 0

    def test_one_bad_day_does_not_stop_the_others(self, camera: Path) -> None:
        bad = camera / "archives" / "2026-11-24.ecz"
        bad.write_bytes(b"something else")
        os.utime(bad, (0, 0))
        code, printed = _run(camera)
        assert code == 1, printed
        assert "2026-11-24.ecz: not an edgecomp archive" in printed
        assert bad.read_bytes() == b"something else"
        assert (camera / "archives" / "2026-11-25.ecz").is_file()

    def test_without_settings_it_says_which_is_missing(self) -> None:
        done = subprocess.run(["sh", CAMERA], capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert "EDGECOMP_PICTURES" in done.stderr

    def test_no_days_at_all_are_no_error(self, camera: Path) -> None:
        shutil.rmtree(camera / "camera")
        (camera / "camera").mkdir()
        assert _run(camera) == (0, "")


def test_systemd_understands_the_units(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed (apt-get install systemd)")
    for path in SYSTEMD.glob("edgecomp-camera.*"):
        # The program has to be there for the check; on a board it is put into /usr/local/bin.
        text = path.read_text().replace("/usr/local/bin/edgecomp-camera", str(CAMERA))
        (tmp_path / path.name).write_text(text)
    units = [tmp_path / f"edgecomp-camera.{kind}" for kind in ("service", "timer")]
    done = subprocess.run(
        [analyze, "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "edgecomp" not in done.stderr, done.stderr


def test_the_units_and_the_settings_agree() -> None:
    """Paths stand twice: what the script reads and writes, and what systemd lets it."""
    service = (SYSTEMD / "edgecomp-camera.service").read_text()
    settings = dict(
        line.split("=", 1)
        for line in (SYSTEMD / "edgecomp-camera.default").read_text().splitlines()
        if line and not line.startswith("#")
    )
    assert f"ReadOnlyPaths={settings['EDGECOMP_PICTURES']}\n" in service
    assert f"ReadWritePaths={settings['EDGECOMP_ARCHIVES']}\n" in service
    script = CAMERA.read_text()
    assert all(f"{name}" in script for name in settings)
