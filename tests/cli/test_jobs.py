"""Each command on real files, with a small frozen model."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import edgecomp.compress
import edgecomp.decompress
from edgecomp.cli import main
from edgecomp.errors import ExitCode

Line = Callable[..., tuple[int, str, str]]


@pytest.fixture
def line(
    tmp_path: Path,
    tiny: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Line:
    """Run a command line in the test's folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str, model: bool = True) -> tuple[int, str, str]:
        chosen = ["--model", str(tiny)] if model else []
        code = main([*words, *chosen])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def _names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_there_and_back(line: Line, folder: Path, tmp_path: Path) -> None:
    os.utime(folder / "a.png", (1_600_000_000, 1_600_000_000))
    code, out, err = line("compress", "my photos/")
    assert code == ExitCode.DONE
    assert out.startswith("my photos.ecz: 2 pictures and 2 other files, ")
    assert out.count("\n") == 1
    assert "bits per pixel" in out
    assert err.startswith("edgecomp: warning: my photos/broken.jpg: kept as it is: ")
    assert err.count("\n") == 1
    code, out, err = line("decompress", "my photos.ecz", "-o", "back")
    assert (code, err) == (ExitCode.DONE, "")
    assert out.startswith("back: 2 pictures and 2 other files, ")
    back = tmp_path / "back"
    assert _names(back) == _names(folder)
    assert (back / "notes.txt").read_bytes() == (folder / "notes.txt").read_bytes()
    assert (back / "broken.jpg").read_bytes() == (folder / "broken.jpg").read_bytes()
    assert (back / "a.png").stat().st_mtime == 1_600_000_000
    with Image.open(back / "a.png") as restored, Image.open(folder / "a.png") as original:
        assert restored.size == original.size


def test_compress_json_has_its_fields(line: Line, folder: Path, tmp_path: Path) -> None:
    code, out, _ = line("compress", folder.name, "-o", "x.ecz", "--json")
    document = json.loads(out)
    assert code == document["exit_code"] == ExitCode.DONE
    assert document["archive"] == "x.ecz"
    assert (document["images"], document["files"], document["skipped"]) == (2, 4, [])
    assert document["bytes_out"] == (tmp_path / "x.ecz").stat().st_size
    assert document["bytes_in"] == sum((folder / name).stat().st_size for name in _names(folder))
    assert document["pixels"] == 2 * 152 * 96
    assert document["bpp"] > 0
    assert document["seconds"] > 0
    assert [set(note) for note in document["verbatim"]] == [{"path", "reason"}]


def test_skipped_files_are_exit_code_three(line: Line, folder: Path) -> None:
    (folder / "odd\nname\x1b.png").write_bytes((folder / "a.png").read_bytes())
    (folder / "link").symlink_to("a.png")
    code, out, err = line("compress", folder.name)
    assert code == ExitCode.SKIPPED
    assert out.count("\n") == 1
    assert r"my photos/odd\nname\x1b.png: skipped: " in err
    assert "my photos/link: skipped: a symbolic link" in err
    code, out, _ = line("compress", folder.name, "--json", "--force", "--quiet")
    assert code == json.loads(out)["exit_code"] == ExitCode.SKIPPED
    assert len(json.loads(out)["skipped"]) == 2


def test_quiet_prints_nothing_when_all_is_well(line: Line, folder: Path) -> None:
    assert line("compress", folder.name, "--quiet") == (0, "", "")
    assert line("verify", "my photos.ecz", "--quiet") == (0, "", "")
    assert line("decompress", "my photos.ecz", "-o", "back", "--quiet") == (0, "", "")


def test_an_existing_output_is_refused_without_force(line: Line, folder: Path) -> None:
    line("compress", folder.name)
    before = (folder.parent / "my photos.ecz").read_bytes()
    code, out, err = line("compress", folder.name, "-q", "A")
    assert (code, out) == (ExitCode.FATAL, "")
    assert err == "edgecomp: error: my photos.ecz is already there (--force overwrites it)\n"
    assert (folder.parent / "my photos.ecz").read_bytes() == before
    assert line("compress", folder.name, "--force")[0] == ExitCode.DONE
    code, _, err = line("decompress", "my photos.ecz")
    assert code == ExitCode.FATAL
    assert "already there" in err
    assert "(--force overwrites)" in err
    assert line("decompress", "my photos.ecz", "--force")[0] == ExitCode.DONE


def test_update_dry_run_and_verify(line: Line, folder: Path, photo: Image.Image) -> None:
    code, out, _ = line("compress", folder.name, "--dry-run")
    assert code == ExitCode.DONE
    assert out.startswith("would make my photos.ecz: ")
    assert out.endswith("nothing was written\n")
    assert not Path("my photos.ecz").exists()
    assert line("compress", folder.name, "--verify")[0] == ExitCode.DONE
    photo.save(folder / "new.png")
    code, out, _ = line("compress", folder.name, "--update")
    assert code == ExitCode.DONE
    assert out.startswith("my photos.ecz: 3 pictures and 2 other files")
    assert out.endswith("(4 unchanged)\n")


def test_include_exclude_and_only(line: Line, folder: Path) -> None:
    code, out, _ = line(
        "compress", folder.name, "-o", "x.ecz", "--include", "*.png", "--exclude", "a.*"
    )
    assert code == ExitCode.DONE
    assert out.startswith("x.ecz: 1 picture, ")
    code, _, err = line("compress", folder.name, "-o", "y.ecz", "--include", "*.heic")
    assert code == ExitCode.FATAL
    assert err.startswith("edgecomp: error: my photos: nothing to compress")
    line("compress", folder.name, "-o", "all.ecz")
    assert line("decompress", "all.ecz", "-o", "some", "--only", "*.txt")[0] == ExitCode.DONE
    assert _names(Path("some")) == {"notes.txt"}
    code, _, err = line("decompress", "all.ecz", "-o", "none", "--only", "*.gif")
    assert (code, err) == (
        ExitCode.FATAL,
        "edgecomp: error: all.ecz: nothing in it matches *.gif\n",
    )


def test_one_picture_there_and_back(line: Line, folder: Path, tmp_path: Path) -> None:
    code, out, err = line("compress", "my photos/a.png")
    assert (code, err) == (ExitCode.DONE, "")
    assert out.startswith("my photos/a.edge: 1 picture, ")
    (tmp_path / "out").mkdir()
    for words, made, format in (
        (["-o", "x.webp"], "x.webp", "WEBP"),
        (["-o", "out"], "out/a.png", "PNG"),
        (["-o", "out", "--format", "jpg"], "out/a.jpg", "JPEG"),
        (["-o", "plain"], "plain", "PNG"),
    ):
        assert line("decompress", "my photos/a.edge", *words)[0] == ExitCode.DONE
        with Image.open(tmp_path / made) as image:
            assert (image.format, image.size) == (format, (152, 96))
    assert line("compress", "my photos/a.png", "-o", "out")[0] == ExitCode.DONE
    assert (tmp_path / "out" / "a.edge").exists()
    assert line("compress", "my photos/a.png", "-o", "one.ecz")[1].startswith("one.ecz: 1 picture")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("compress nowhere", 1, "nowhere: no such file"),
        ("compress nowhere/", 1, "nowhere/: no such file or folder"),
        ("compress empty", 1, "empty: nothing to compress"),
        ("compress notes.txt", 1, "-o NAME.ecz, keeps any file"),
        ("compress notes.txt notes.txt", 2, "several sources need a name"),
        ("compress notes.txt -o no/such/x.edge", 1, "not a picture"),
        ("compress empty -o - --json", 2, "standard output takes one picture"),
        ("compress notes.txt -o - --json", 2, "cannot both go to standard output"),
        ("compress notes.txt --update", 2, "are for archives"),
        ("decompress nowhere.ecz", 1, "nowhere.ecz: no such file"),
        ("decompress nowhere.edge", 1, "nowhere.edge: no such file"),
        ("decompress notes.txt", 1, "notes.txt: not an edgecomp archive"),
        ("decompress notes.txt -o -", 2, "standard output takes one picture"),
        ("decompress x.edge --only *.png", 2, "--only chooses from an archive"),
        ("decompress x.edge -o x.gif", 2, "no picture format is called .gif"),
        ("decompress x.edge -o x.png --format bmp", 2, "the name says png"),
        ("list nowhere.ecz", 1, "nowhere.ecz: no such file"),
        ("list x.edge", 1, "x.edge: one picture's codestream"),
        ("info notes.txt", 1, "notes.txt: not an edgecomp archive"),
        ("info empty", 1, "empty"),
        ("verify notes.txt", 1, "notes.txt: not an edgecomp archive"),
    ],
)
def test_what_goes_wrong(words: str, code: int, says: str, line: Line, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "x.edge").write_bytes(b"\xecEC\x01 and nothing that follows")
    got, out, err = line(*words.split())
    assert (got, err.count("\n")) == (code, 1)
    assert err.startswith("edgecomp: error: ")
    assert says in err
    if "--json" in words:
        assert json.loads(out)["exit_code"] == code
    else:
        assert out == ""


def test_no_model_is_exit_code_five(line: Line, folder: Path) -> None:
    code, _, err = line("compress", folder.name, "--model", "nowhere", model=False)
    assert code == ExitCode.MODEL
    assert err == "edgecomp: error: nowhere: no model here (model.json is missing)\n"
    code, out, err = line("compress", folder.name, "--coder", "context")
    assert (code, out) == (ExitCode.MODEL, "")
    assert "model tiny has no parameters for the coder context (coders: lzma)" in err
    assert err.count("\n") == 1
    assert not Path("my photos.ecz").exists()
    line("compress", "my photos/a.png", "-o", "x.ecz")
    code, _, err = line("decompress", "x.ecz", model=False)
    assert code == ExitCode.MODEL
    assert err.startswith("edgecomp: error: x.ecz: made with model ")
    code, out, err = line("verify", "x.ecz", model=False)
    assert code == ExitCode.MODEL
    assert "a.png: not fully checked: made with model " in err
    assert out.endswith("1 picture not fully checked\n")
    assert line("verify", "x.ecz", "--quick", model=False)[0] == ExitCode.DONE


def test_damage_is_named_and_the_rest_restored(line: Line, folder: Path, tmp_path: Path) -> None:
    line("compress", folder.name, "-o", "x.ecz")
    data = bytearray((tmp_path / "x.ecz").read_bytes())
    data[300] ^= 0xFF  # in the first picture's symbols
    (tmp_path / "x.ecz").write_bytes(data)
    code, out, err = line("verify", "x.ecz")
    assert (code, err) == (ExitCode.DAMAGED, "")
    assert out.splitlines()[0].startswith("a.png: ")
    assert "damaged" in out.splitlines()[0]
    assert out.splitlines()[1] == "x.ecz: 4 files checked, 1 picture decoded, 1 damaged"
    code, out, _ = line("verify", "x.ecz", "--json")
    assert code == json.loads(out)["exit_code"] == ExitCode.DAMAGED
    assert [note["path"] for note in json.loads(out)["damaged"]] == ["a.png"]
    code, _, err = line("decompress", "x.ecz", "-o", "back")
    assert code == ExitCode.DAMAGED
    assert err.startswith("edgecomp: warning: a.png: ")
    assert err.count("\n") == 1
    assert _names(tmp_path / "back") == _names(folder) - {"a.png"}


def test_an_archive_cut_short(line: Line, folder: Path, tmp_path: Path) -> None:
    line("compress", folder.name, "-o", "x.ecz")
    data = (tmp_path / "x.ecz").read_bytes()
    (tmp_path / "x.ecz").write_bytes(data[: len(data) // 2])
    for command in ("list", "info", "decompress"):
        code, out, err = line(command, "x.ecz")
        assert code == ExitCode.DAMAGED
        assert err.startswith("edgecomp: warning: ")
        assert "x.ecz: damaged: it is cut short" in err
        assert out
    code, out, err = line("verify", "x.ecz")
    assert (code, err) == (ExitCode.DAMAGED, "")
    assert "x.ecz: damaged: it is cut short" in out
    code, out, err = line("repair", "x.ecz", model=False)
    assert code == ExitCode.DAMAGED
    assert out.startswith("x.repaired.ecz: 3 files, 1 picture, ")
    assert out.endswith("; 1 file lost\n")
    assert line("verify", "x.repaired.ecz")[0] == ExitCode.DONE
    code, out, err = line("repair", "x.repaired.ecz", "-o", "y.ecz", model=False)
    assert (code, err) == (ExitCode.DONE, "")
    assert out.endswith("no damage found, nothing was written\n")
    assert not (tmp_path / "y.ecz").exists()


def test_list_and_info(line: Line, folder: Path) -> None:
    time_set = time.mktime((2025, 6, 7, 8, 9, 10, 0, 0, -1))
    os.utime(folder / "a.png", (time_set, time_set))
    line("compress", folder.name, "-o", "x.ecz")
    code, out, err = line("list", "x.ecz")
    assert (code, err) == (ExitCode.DONE, "")
    header, *rows = out.splitlines()
    assert header.split()[:6] == ["name", "kind", "pixels", "bytes", "bpp", "coder"]
    assert len(rows) == 4
    assert rows[0].split()[:3] == ["a.png", "picture", "152x96"]
    assert rows[0].split()[5] == "lzma"
    assert "2025-06-07 08:09  a.png" in rows[0]
    assert "kept picture" in out
    assert "лето 夏/дом №1.png" in out
    code, out, _ = line("list", "x.ecz", "--json")
    entries = json.loads(out)["entries"]
    assert out.isascii()
    assert [entry["coder"] for entry in entries].count("lzma") == 2
    assert entries[0]["mtime_ns"] == round(time_set * 1e9)
    assert {entry["name"] for entry in entries} == _names(folder)
    code, out, _ = line("info", "x.ecz")
    assert code == ExitCode.DONE
    pairs = dict(text.split(":", 1) for text in out.splitlines())
    assert pairs["pictures"].strip() == "2"
    assert pairs["coders"].strip() == "lzma"
    code, out, _ = line("info", "x.ecz", "--json")
    assert (code, json.loads(out)["images"]) == (ExitCode.DONE, 2)


def test_models(line: Line) -> None:
    code, out, err = line("models", model=False)
    assert (code, err) == (ExitCode.DONE, "")
    header, *rows = out.splitlines()
    assert (
        header.split()
        == "model quality size parameters multiply-adds/pixel precisions coders hash".split()
    )
    assert [row.split()[1] for row in rows] == ["A", "B", "C"]
    code, out, _ = line("models", "--json", model=False)
    for record, row in zip(json.loads(out)["models"], rows, strict=True):
        assert record["model_id"] == row.split()[-1]
        assert record["coders"][0] == "lzma"
        assert " ".join(record["coders"]) in row
        parameters = (Path(record["path"]) / "context.bin").stat().st_size
        assert record["bytes"] == parameters + sum(graph["bytes"] for graph in record["graphs"])
        assert {"encoder", "decoder"} == {graph["role"] for graph in record["graphs"]}


def test_every_option_reaches_the_package(
    line: Line, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def note(*places: Any, **options: Any) -> Any:
        seen.update(options, places=places)
        raise KeyboardInterrupt

    monkeypatch.setattr(edgecomp.compress, "compress_folder", note)
    words = "-o x.ecz -q A --coder lzma --threads 3 --precision fp32 --backend tensorflow"
    words += " --include *.png --include b* --exclude c --max-pixels 2 --update --verify --force"
    words += " --resume --max-members 7 --dask tcp://a:1"
    assert line("compress", folder.name, *words.split(), "--model", "m", model=False)[0] == 130
    assert seen == {
        "places": ([folder.name], "x.ecz"),
        "quality": "A",
        "coder": "lzma",
        "threads": 3,
        "precision": "fp32",
        "backend": "tensorflow",
        "include": ("*.png", "b*"),
        "exclude": ("c",),
        "max_pixels": 2_000_000,
        "update": True,
        "resume": True,
        "max_members": 7,
        "dask": "tcp://a:1",
        "verify": True,
        "force": True,
        "dry_run": False,
        "model": "m",
        "progress": None,
    }
    seen.clear()
    monkeypatch.setattr(edgecomp.decompress, "decompress_folder", note)
    words = (
        "x.ecz -o out --format bmp --only a --only b --threads 1 --precision int8 --force "
        "--salvage --resume --max-members 9 --max-expansion 0.5"
    )
    assert line("decompress", *words.split(), model=False)[0] == 130
    assert seen == {
        "places": ("x.ecz", "out"),
        "format": "bmp",
        "only": ("a", "b"),
        "threads": 1,
        "precision": "int8",
        "backend": "onnx",
        "max_pixels": 256_000_000,
        "salvage": True,
        "resume": True,
        "max_members": 9,
        "max_expansion": 1 << 29,
        "force": True,
        "model": None,
        "progress": None,
    }
