"""The proof that ARM makes the same as x86, in small, and that it does tell of differences."""

from __future__ import annotations

import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arm import prove
from arm.compare import DifferenceError, Log, compare_fp32, found_alike
from arm.machines import _instructions, _is_dot_product
from arm.root import UnavailableError, check_cores, own_packages, python_of
from arm.wheel import check_wheel
from PIL import Image

import edgecomp._native

MACHINE = {"liblzma": "5.4.1", "zlib": "1.2.13"}
FOUND = {
    "A, context: archive": "1" * 64,
    "A, context, a: symbols": "2" * 64,
    "A, context, a: pixels": "3" * 64,
    "A, context, a: file": "4" * 64,
}


@pytest.mark.parametrize("quick", [True, pytest.param(False, marks=pytest.mark.exhaustive)])
def test_arm_makes_the_same(quick: bool, tmp_path: Path) -> None:
    lines: list[str] = []
    log = Log(lines.append)
    try:
        prove.prove(prove.Options(prove.BUILD, tmp_path, quick=quick), log)
    except UnavailableError as error:
        pytest.skip(f"ARM cannot be emulated here: {error}"[:300])
    assert lines[-1] == f"\nall {log.count} comparisons equal"
    text = "\n".join(lines)
    assert re.search(r"ARM cortex-a76.*: aarch64, AT_HWCAP 0x119ffb", text)
    for subject in prove.subjects(quick=quick):
        assert re.search(rf"{subject.name}, \w+, alpha: symbols \w+... equal", text)
        assert re.search(rf"{subject.name}, fingerprints: symbols \w+... equal", text)
    assert log.count > (150 if quick else 1000)


def test_it_says_why_it_cannot_be_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert prove.main(["--build", str(tmp_path / "build")]) == 2
    found = capsys.readouterr()
    assert found.err.startswith("prove.sh: cannot be run here: ")
    assert not list((tmp_path / "build").glob("work-*"))


def compare(found: dict[str, str], **machine: str) -> tuple[int, str]:
    """Of FOUND with what another machine has found: comparisons, and the log."""
    lines: list[str] = []
    log = Log(lines.append)
    wanted: dict[str, Any] = {"machine": MACHINE, "found": FOUND}
    other: dict[str, Any] = {"machine": MACHINE | machine, "found": found}
    found_alike(log, wanted, other, whose="ARM", parts=["A"])
    return log.count, "\n".join(lines)


def test_what_is_equal_is_counted_and_shown() -> None:
    count, text = compare(FOUND)
    assert count == 1 + len(FOUND)
    assert "A, context, a: symbols 222222222222... equal, pixels 333333333333... equal" in text


@pytest.mark.parametrize("key", FOUND)
def test_one_difference_is_named(key: str) -> None:
    with pytest.raises(DifferenceError, match=f"^ARM: {key}: 555555555555... where"):
        compare(FOUND | {key: "5" * 64})


@pytest.mark.parametrize("key", FOUND)
def test_what_is_missing_is_a_difference(key: str) -> None:
    with pytest.raises(DifferenceError, match="what A has"):
        compare({name: value for name, value in FOUND.items() if name != key})


def test_what_is_too_much_is_a_difference() -> None:
    with pytest.raises(DifferenceError, match="what A has"):
        compare(FOUND | {"A, context, b: symbols": "6" * 64})


def test_comparing_nothing_is_no_proof() -> None:
    wanted: dict[str, Any] = {"machine": MACHINE, "found": {}}
    with pytest.raises(DifferenceError, match="nothing of A"):
        found_alike(Log(print), wanted, wanted, whose="ARM", parts=["A"])


@pytest.mark.parametrize(("library", "kind"), [("liblzma", "archive"), ("zlib", "file")])
def test_only_what_a_library_writes_may_differ_with_it(library: str, kind: str) -> None:
    other = {library: "other"}
    for key in FOUND:
        changed = FOUND | {key: "5" * 64}
        if key.endswith(kind):
            count, text = compare(changed, **other)
            assert count == len(FOUND)
            assert f"{kind} differs ({library}" in text
        else:
            with pytest.raises(DifferenceError):
                compare(changed, **other)


@pytest.mark.parametrize("apart", [0, 1, 2])
def test_float_graphs_may_differ_by_one_level(apart: int, tmp_path: Path) -> None:
    pixels = np.full((5, 7, 3), 100, np.uint8)
    folders = [tmp_path / name for name in ("here", "there", "exact")]
    for folder, level in zip(folders, (0, apart, 9), strict=True):
        folder.mkdir()
        changed = pixels.copy()
        changed[2, 3, 1] += level
        Image.fromarray(changed).save(folder / "a.png")
    lines: list[str] = []
    if apart > 1:
        with pytest.raises(DifferenceError, match="2 levels"):
            compare_fp32(Log(lines.append), *folders, what="A")
    else:
        compare_fp32(Log(lines.append), *folders, what="A")
        assert f"within {apart} of 255" in lines[0]
        assert f"at most {9 - apart}, {(9 - apart) / 105:.3f} in the mean" in lines[0]


def test_a_wheel_of_another_processor_is_refused(tmp_path: Path) -> None:
    """With the library that is installed here, be it of x86 or, as it should be, of ARM."""
    library = Path(edgecomp._native.__file__)
    wheel = tmp_path / "a.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(library, "edgecomp/_native.abi3.so")
    machine = int.from_bytes(library.read_bytes()[18:20], "little")
    if machine == 183:
        pytest.skip("this processor is ARM")
    with pytest.raises(AssertionError, match=f"ELF machine {machine}"):
        check_wheel(wheel, tmp_path)


def test_an_older_python_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "usr" / "bin"
    folder.mkdir(parents=True)
    (folder / "python3.10").touch()
    (folder / "python3").symlink_to("python3.10")
    with pytest.raises(UnavailableError, match=r"offers python3\.10"):
        python_of(tmp_path)
    (folder / "python3").unlink()
    (folder / "python3.13").touch()
    (folder / "python3").symlink_to("python3.13")
    assert python_of(tmp_path) == (folder / "python3.13", (3, 13))


def test_a_qemu_without_a_core_is_no_difference() -> None:
    qemu = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if qemu is None:
        pytest.skip("QEMU's user mode is not installed (apt-get install qemu-user-static)")
    check_cores(qemu, ["cortex-a76"])
    with pytest.raises(UnavailableError, match="no cortex-a9999"):
        check_cores(qemu, ["cortex-a76", "cortex-a9999"])


def test_what_cannot_be_fetched_leaves_nothing_that_counts(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="download for old failed"):
        own_packages(tmp_path, "old", ["--no-index", "onnxruntime==0.0.1"])
    assert not (tmp_path / "own-packages" / "old").exists()


@pytest.mark.parametrize(
    ("line", "dots"),
    [
        ("0x004005f4:  6e829420  udot v0.4s, v1.16b, v2.16b\n", [True]),
        ("0x004005f4:  4e829420  sdot v0.4s, v1.16b, v2.16b\n", [True]),
        ("0x004005f4:  6fa2e020  udot v0.4s, v1.16b, v2.4b[1]\n", [True]),
        ("0x004005f4:  4f82e820  sdot v0.4s, v1.16b, v2.4b[2]\n", [True]),
        ("0x004005f4:  4ea29420  mla v0.4s, v1.4s, v2.4s\n", [False]),
        ("0x004005f4:  d65f03c0  ret\n", [False]),
        ("OBJD-T: c0035fd62094826e\n", [False, True]),
        ("IN: main\n", []),
    ],
)
def test_dot_products_are_told_from_other_instructions(line: str, dots: list[bool]) -> None:
    assert [_is_dot_product(instruction) for instruction in _instructions(line)] == dots


def test_the_assembler_agrees(tmp_path: Path) -> None:
    """The encodings above are those of the assembler, where there is one."""
    assembler, dump = (shutil.which(f"aarch64-linux-gnu-{name}") for name in ("as", "objdump"))
    if assembler is None or dump is None:
        pytest.skip("no assembler for ARM (apt-get install binutils-aarch64-linux-gnu)")
    source = tmp_path / "a.s"
    source.write_text(
        "udot v0.4s, v1.16b, v2.16b\nsdot v7.2s, v8.8b, v9.8b\nudot v0.4s, v1.16b, v2.4b[1]\n"
        "sdot v3.2s, v4.8b, v15.4b[3]\nmla v0.4s, v1.4s, v2.4s\numlal v0.8h, v1.8b, v2.8b\n"
    )
    command = [assembler, "-march=armv8.2-a+dotprod", source, "-o", tmp_path / "a.o"]
    subprocess.run(command, check=True)
    text = subprocess.run(
        [dump, "-d", tmp_path / "a.o"], capture_output=True, text=True, check=True
    ).stdout
    found = [int(word, 16) for word in re.findall(r"^\s+[0-9a-f]+:\s+([0-9a-f]{8})\s", text, re.M)]
    assert [_is_dot_product(word) for word in found] == [True] * 4 + [False] * 2
