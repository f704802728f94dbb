"""Damaged and hostile model folders: refused, and never a picture that is not the right one.

What manifests may say is in test_models.py; here they and the files beside them are damaged, and
graphs try to do what graphs must not.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from common import DATA, counted
from PIL import Image

from edgecomp.backends import load_backend
from edgecomp.cli import main
from edgecomp.codec import Codec
from edgecomp.errors import ExitCode, ModelDamagedError, ModelNotFoundError
from edgecomp.models import find_model, load_model, shipped_model

CONTEXT = DATA / "context" / "tiny"  # `tiny` with the parameters of a coder
CHOICE = DATA / "choice" / "tiny"
QUANTISED = DATA / "models" / "tiny-quantised"
MANIFEST = "model.json"


@pytest.fixture
def folder(tmp_path: Path, photo: Image.Image) -> Path:
    """A folder with one picture."""
    (tmp_path / "in").mkdir()
    photo.crop((20, 10, 84, 66)).save(tmp_path / "in" / "a.png")
    return tmp_path / "in"


class Line:
    """The command line in process: exit codes, and nothing left over where it refuses."""

    def __init__(self, at: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.at = at
        self._capsys = capsys

    def compress(self, source: Path, archive: Path, model: Path, *more: str) -> int:
        archive.unlink(missing_ok=True)
        code = self._run("compress", source, "-o", archive, "--model", model, *more)
        assert archive.exists() == (code == ExitCode.DONE)
        assert not list(archive.parent.glob("*.partial-*"))
        return code

    def decompress(self, archive: Path, model: Path) -> tuple[int, np.ndarray | None]:
        """The exit code, and the pixels of the only picture if it came back."""
        back = self.at / "back"
        shutil.rmtree(back, ignore_errors=True)
        code = self._run("decompress", archive, "-o", back, "--model", model)
        files = [path for path in back.rglob("*") if path.is_file()] if back.exists() else []
        assert bool(files) == (code == ExitCode.DONE)
        if not files:
            return code, None
        (file,) = files
        with Image.open(file) as image:
            return code, np.array(image)

    def _run(self, *words: object) -> int:
        code = main([*map(str, words), "--json", "--threads", "1"])
        document = json.loads(self._capsys.readouterr().out)
        assert document["exit_code"] == code
        assert "unexpected" not in document.get("error", "")
        return code


@pytest.fixture
def line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Line:
    return Line(tmp_path, capsys)


@counted(20, 100)
@pytest.mark.parametrize(
    ("model", "coder"),
    [(CONTEXT, "context"), (QUANTISED, "lzma")],
    ids=["tiny with a coder", "tiny-quantised"],
)
def test_a_flipped_bit_is_refused_or_changes_nothing(
    model: Path, coder: str, count: int, folder: Path, tmp_path: Path, line: Line
) -> None:
    """20 and 100 of each model, 40 and 200 in all; the files take turns."""
    good, bad = tmp_path / "good.ecz", tmp_path / "bad.ecz"
    assert line.compress(folder, good, model, "--coder", coder) == ExitCode.DONE
    code, pixels = line.decompress(good, model)
    assert code == ExitCode.DONE
    assert pixels is not None
    assert np.ptp(pixels) > 100
    copy = Path(shutil.copytree(model, tmp_path / "model"))
    files = sorted(copy.iterdir())
    assert len(files) == 3 + (coder == "context")
    rng, refused = random.Random(22), 0
    for number in range(count):
        file = files[number % len(files)]
        whole = file.read_bytes()
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        file.write_bytes(damaged)
        code, found = line.decompress(good, copy)
        assert code in (ExitCode.DONE, ExitCode.MODEL)
        assert found is None or np.array_equal(found, pixels), f"{file.name} gave other pixels"
        # Only the encoder is not needed to restore.
        assert (code == ExitCode.DONE) == (file.name == "encoder.int8.onnx")
        packed = line.compress(folder, bad, copy, "--coder", coder)
        assert packed in (ExitCode.DONE, ExitCode.MODEL)
        if packed == ExitCode.DONE and file.name == MANIFEST:
            # A sound manifest of another model, say of another name: nobody takes it for this one.
            assert line.decompress(bad, model) == (ExitCode.MODEL, None)
        elif packed == ExitCode.DONE:
            assert file.name == "decoder.int8.onnx"
            assert bad.read_bytes() == good.read_bytes()
        file.write_bytes(whole)
        refused += (code, packed).count(ExitCode.MODEL)
    assert refused > count // 2


# Graphs that want more than to compute, written as the bytes that they are: messages of
# Protocol Buffers with the field numbers of onnx.proto.

Field = tuple[int, "int | str | bytes"]
UINT8 = 2
TAGS = {"stride": "8", "channels": "12", "levels": "256", "zero": "128"}


def varint(value: int) -> bytes:
    low = value & 127
    return bytes([low]) if value < 128 else bytes([low | 128]) + varint(value >> 7)


def message(*fields: Field) -> bytes:
    found = b""
    for number, value in fields:
        if isinstance(value, int):
            found += varint(number << 3) + varint(value)
            continue
        data = value.encode() if isinstance(value, str) else value
        found += varint(number << 3 | 2) + varint(len(data)) + data
    return found


def tensor(name: str, *fields: Field) -> bytes:
    """uint8 (1, 8, 8, 3)."""
    return message(*((1, side) for side in (1, 8, 8, 3)), (2, UINT8), (8, name), *fields)


def value_info(name: str, *dimensions: int | str) -> bytes:
    shape = message(*((1, message((1 if isinstance(d, int) else 2, d))) for d in dimensions))
    return message((1, name), (2, message((1, message((1, UINT8), (2, shape))))))


def graph(nodes: list[bytes], *initializers: bytes, domains: tuple[str, ...] = ("",)) -> bytes:
    """A decoder for pictures of 8x8: symbols to a picture."""
    body = message(
        *((1, node) for node in nodes),
        (2, "decoder"),
        *((5, initializer) for initializer in initializers),
        (11, value_info("symbols", 1, 12, "rows", "columns")),
        (12, value_info("picture", "n", "height", "width", 3)),
    )
    return message(
        (1, 8),
        (7, body),
        *((8, message((1, domain), (2, 17 if not domain else 1))) for domain in domains),
        *((14, message((1, key), (2, value))) for key, value in TAGS.items()),
    )


def external(location: str) -> bytes:
    """A tensor whose 192 bytes stand in another file."""
    where = {"location": location, "offset": "0", "length": "192"}
    entries: list[Field] = [(13, message((1, k), (2, v))) for k, v in where.items()]
    return tensor("pixels", *entries, (14, 1))


IDENTITY = message((1, "pixels"), (2, "picture"), (4, "Identity"))
INSIDE = graph([IDENTITY], tensor("pixels", (9, bytes(range(192)))))
EXTERNAL = {
    where: graph([IDENTITY], external(place))
    for where, place in {
        "beside the process": "weights.bin", "below it": "sub/weights.bin",
        "above it": "../weights.bin", "absolute": "/proc/self/cmdline", "missing": "none.bin",
    }.items()
}  # fmt: skip
CUSTOM = {
    "an unknown domain": graph(
        [message((1, "symbols"), (2, "picture"), (4, "Run"), (7, "evil.ops"))],
        domains=("", "evil.ops"),
    ),
    "onnxruntime-extensions": graph(
        [message((1, "symbols"), (2, "picture"), (4, "PyOp"), (7, "ai.onnx.contrib"))],
        domains=("", "ai.onnx.contrib"),
    ),
    "an unknown operator": graph([message((1, "symbols"), (2, "picture"), (4, "Evil"))]),
}


def changed(model: Path, target: Path, files: dict[str, bytes], **fields: Any) -> Path:
    """A copy with other files, whose manifest states their true hashes."""
    copy = Path(shutil.copytree(model, target))
    manifest = json.loads((copy / MANIFEST).read_text()) | fields
    for name, data in files.items():
        (copy / name).write_bytes(data)
        role = name.split(".")[0]
        manifest["graphs"][role]["int8"]["sha256"] = hashlib.sha256(data).hexdigest()
    (copy / MANIFEST).write_text(json.dumps(manifest))
    return copy


def restored(model: Path) -> np.ndarray:
    """What a model's decoder makes of the smallest latent."""
    backend = load_backend("onnx", load_model(model))
    return backend.synthesise(np.zeros((12, 1, 1), np.uint8), 0)


def test_a_graph_written_by_hand_runs(tiny: Path, tmp_path: Path) -> None:
    """The control: what follows is not refused for being malformed."""
    model = changed(tiny, tmp_path / "model", {"decoder.int8.onnx": INSIDE})
    assert restored(model).tobytes() == bytes(range(192))


@pytest.mark.parametrize("where", EXTERNAL)
def test_graphs_with_data_in_other_files_are_refused(
    where: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No hash covers those: other bytes there would be other pixels."""
    here = tmp_path / "here"
    (here / "sub").mkdir(parents=True)
    monkeypatch.chdir(here)
    model = changed(tiny, tmp_path / "model", {"decoder.int8.onnx": EXTERNAL[where]})
    for place in (here, here / "sub", tmp_path, model):
        (place / "weights.bin").write_bytes(bytes(range(192)))
    with pytest.raises(ModelDamagedError, match="decoder"):
        restored(model)


@pytest.mark.parametrize("what", CUSTOM)
def test_operators_that_onnx_does_not_have_are_refused(
    what: str, tiny: Path, tmp_path: Path
) -> None:
    model = changed(tiny, tmp_path / "model", {"decoder.int8.onnx": CUSTOM[what]})
    with pytest.raises(ModelDamagedError, match="the decoder of model tiny cannot be loaded"):
        restored(model)


def test_swapped_graphs_are_refused(
    tiny: Path, tiny_map: Path, folder: Path, tmp_path: Path, line: Line
) -> None:
    archive, bad = tmp_path / "o.ecz", tmp_path / "bad.ecz"
    line.compress(folder, archive, tiny)
    names = ("encoder.int8.onnx", "decoder.int8.onnx")
    own = {name: (tiny / name).read_bytes() for name in names}
    others = {
        "of another shape": {name: (tiny_map / name).read_bytes() for name in names},
        "for each other": dict(zip(names, reversed(own.values()), strict=True)),
    }
    for what, files in others.items():
        # As they are, their hashes are wrong; with a manifest that says otherwise, they are tagged
        # with another shape or have other inputs.
        copy = Path(shutil.copytree(tiny, tmp_path / what))
        for name, data in files.items():
            (copy / name).write_bytes(data)
        assert line.decompress(archive, copy) == (ExitCode.MODEL, None)
        assert line.compress(folder, bad, copy) == ExitCode.MODEL
        stated = changed(tiny, tmp_path / f"{what}, stated", files)
        assert line.decompress(archive, stated) == (ExitCode.MODEL, None)
        assert line.compress(folder, bad, stated) == ExitCode.MODEL


def test_a_fitting_graph_of_another_model_makes_another_model(
    folder: Path, tmp_path: Path, line: Line
) -> None:
    """Of the same shape and inputs, so it would run: its archives are not this model's."""
    archive, bad = tmp_path / "o.ecz", tmp_path / "bad.ecz"
    line.compress(folder, archive, CONTEXT)
    files = {"decoder.int8.onnx": (CHOICE / "decoder.int8.onnx").read_bytes()}
    assert files["decoder.int8.onnx"] != (CONTEXT / "decoder.int8.onnx").read_bytes()
    mixed = changed(CONTEXT, tmp_path / "mixed", files)
    assert line.decompress(archive, mixed) == (ExitCode.MODEL, None)
    assert line.compress(folder, bad, mixed) == ExitCode.DONE
    assert line.decompress(bad, CONTEXT) == (ExitCode.MODEL, None)
    with pytest.raises(ModelNotFoundError, match="this is another model"):
        find_model(load_model(CONTEXT).model_id, model=mixed)


@pytest.mark.parametrize("role", ["encoder", "decoder"])
def test_swapped_graphs_of_shipped_models_are_refused(role: str, tmp_path: Path) -> None:
    a, b = (shipped_model(quality).path for quality in "AB")
    (tmp_path / "model").mkdir()
    for file in a.glob("*.*"):
        shutil.copy((b if file.name == f"{role}.int8.onnx" else a) / file.name, tmp_path / "model")
    with pytest.raises(ModelDamagedError, match=rf"{role}\.int8\.onnx.*SHA-256"):
        load_model(tmp_path / "model").read_graph(role, "int8")


@pytest.mark.parametrize(
    "name", ["../outside.onnx", "{}/outside.onnx", "sub/in.onnx", "..", ".", "", "a\0b", "./d.onnx"]
)
def test_file_names_do_not_lead_out(name: str, tiny: Path, tmp_path: Path) -> None:
    data = (tiny / "decoder.int8.onnx").read_bytes()
    copy = Path(shutil.copytree(tiny, tmp_path / "model"))
    (copy / "sub").mkdir()
    for place in ("outside.onnx", "model/sub/in.onnx", "model/d.onnx"):
        (tmp_path / place).write_bytes(data)
    entry = {"file": name.format(tmp_path), "sha256": hashlib.sha256(data).hexdigest()}
    manifest = json.loads((copy / MANIFEST).read_text())
    changes = [
        {"graphs": manifest["graphs"] | {"decoder": {"int8": entry}}},
        {"coders": {"context": entry}},
    ]
    if name not in ("sub/in.onnx", "a\0b"):  # a SavedModel has folders
        changes.append({"saved_model": {entry["file"]: entry["sha256"]}})
    for change in changes:
        (copy / MANIFEST).write_text(json.dumps(manifest | change))
        with pytest.raises(ModelDamagedError, match="not a plain"):
            load_model(copy)


def test_names_that_no_file_can_have_are_refused(tiny: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny, tmp_path / "model"))
    manifest = json.loads((copy / MANIFEST).read_text())
    manifest["saved_model"] = {"saved_model/a\0b": "00"}
    (copy / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ModelDamagedError):
        load_model(copy).check_saved_model()


def test_a_graph_behind_a_link_is_judged_by_its_hash(tiny: Path, tmp_path: Path) -> None:
    """Models may lie in a store of files that folders link to: what counts is what is read."""
    expected = restored(tiny)
    copy = Path(shutil.copytree(tiny, tmp_path / "model"))
    (copy / "decoder.int8.onnx").rename(tmp_path / "elsewhere.onnx")
    (copy / "decoder.int8.onnx").symlink_to("../elsewhere.onnx")
    assert np.array_equal(restored(copy), expected)
    (tmp_path / "elsewhere.onnx").write_bytes((tiny / "encoder.int8.onnx").read_bytes())
    with pytest.raises(ModelDamagedError, match="SHA-256"):
        restored(copy)
    (copy / "decoder.int8.onnx").unlink()
    (copy / "decoder.int8.onnx").symlink_to("decoder.int8.onnx")
    with pytest.raises(ModelDamagedError, match="cannot be read"):
        restored(copy)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[" * 200_000, id="deep"),
        pytest.param('{"a":' * 200_000, id="deep-objects"),
        pytest.param('{"parameters": {"encoder": Infinity}}', id="infinity"),
        pytest.param('{"multiply_adds_per_pixel": {"encoder": 1' + "0" * 400 + "}}", id="large"),
        pytest.param('{"channels": 9' + "9" * 5000 + "}", id="long-number"),
        pytest.param('{"channels": NaN}', id="no-number"),
        pytest.param('{"graphs": {"encoder": []}}', id="list"),
        pytest.param('{"graphs": {"encoder": {"int8": "x"}}}', id="text"),
        pytest.param('{"halo": {"encoder": 1}}', id="half"),
        pytest.param('{"scales": 1}', id="scale"),
    ],
)  # fmt: skip
def test_hostile_manifests_are_refused(text: str, tiny: Path, tmp_path: Path, line: Line) -> None:
    copy = Path(shutil.copytree(tiny, tmp_path / "model"))
    if text.endswith("}"):
        text = json.dumps(json.loads((copy / MANIFEST).read_text()))[:-1] + ", " + text[1:]
    (copy / MANIFEST).write_text(text)
    with pytest.raises(ModelDamagedError, match="not a model manifest"):
        load_model(copy)


def test_networks_are_made_of_checked_bytes_for_this_processor_alone(
    photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """onnxruntime is watched, not replaced."""
    made: list[tuple[bytes, Any]] = []
    real: Callable[..., Any] = onnxruntime.InferenceSession

    def watched(graph: bytes, **options: Any) -> Any:
        assert isinstance(graph, bytes), "a path would be read once more, after the check"
        assert set(options) == {"sess_options", "providers"}
        assert options["providers"] == ["CPUExecutionProvider"]
        assert options["sess_options"].optimized_model_filepath == ""
        assert not options["sess_options"].enable_profiling
        session = real(graph, **options)
        made.append((graph, session))
        return session

    class Options(onnxruntime.SessionOptions):  # type: ignore[misc]
        def register_custom_ops_library(self, path: str) -> None:
            raise AssertionError(f"a library of operators: {path}")

    monkeypatch.setattr(onnxruntime, "InferenceSession", watched)
    monkeypatch.setattr(onnxruntime, "SessionOptions", Options)
    for folder in (CONTEXT, shipped_model("A").path):
        made.clear()
        codec = Codec.load(model=folder)
        symbols = codec.backend.analyse(np.array(photo), 0).symbols
        codec.backend.synthesise(symbols, 0)
        assert len(made) == 2
        stated = {graph.sha256 for graph in load_model(folder).graphs.values()}
        for graph, session in made:
            assert hashlib.sha256(graph).hexdigest() in stated
            assert session.get_providers() == ["CPUExecutionProvider"]
