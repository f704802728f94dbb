"""export.decoder: a decoder trained on for the symbols that its model chooses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgecomp.backends import load_backend
from edgecomp.codec import Codec
from edgecomp.codestream import parse
from edgecomp.entropy import ContextCoder
from edgecomp.model_coders import load_coder
from edgecomp.models import load_model
from edgecomp.pictures import read_picture

from .conftest import Command

SCALE = 1.25
EXPORT = ("--calibrate", 2, "--choose", 0.2, "--rate-scale", SCALE)
SMALL = ("--width", 32, "--hidden", 32, "--crop", 16, "--batch", 2)


@pytest.fixture(scope="module")
def source(tuned: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tuned run as it would be committed: in float16, as all that is made of it is then."""
    from export.checkpoint import release

    return release(tuned, tmp_path_factory.mktemp("source") / "b.npz")


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the parameters of the coder are."""
    return tmp_path_factory.mktemp("coder") / "context.npz"


@pytest.fixture(scope="module")
def model(
    command: Command,
    source: Path,
    pictures: Path,
    release: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Model folder of the tuned run, that chooses its symbols."""
    out = tmp_path_factory.mktemp("chosen") / "B"
    done = command("export.to_onnx", source, "--out", out, "--data", pictures, *EXPORT)
    assert done.returncode == 0, done.stderr
    options = ("--data", pictures, "--steps", 60, *SMALL, "--release", release)
    done = command("export.context", out, *options)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def improved(
    command: Command,
    source: Path,
    model: Path,
    pictures: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Run folder after 24 steps of the decoder alone."""
    out = tmp_path_factory.mktemp("decoder") / "b"
    options = ("--model", model, "--rate-scale", SCALE, "--data", pictures, "--out", out)
    steps = ("--steps", 24, "--learning-rate", 3e-3, "--warmup", 1)
    done = command("export.decoder", source, *options, *steps, "--release", out / "half.npz")
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def better(
    command: Command,
    improved: Path,
    pictures: Path,
    release: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Model folder of that run."""
    out = tmp_path_factory.mktemp("better") / "B"
    half = improved / "half.npz"
    done = command("export.to_onnx", half, "--out", out, "--data", pictures, *EXPORT)
    assert done.returncode == 0, done.stderr
    done = command("export.context", out, "--from", release)
    assert done.returncode == 0, done.stderr
    return out


def test_only_the_decoder_is_trained(source: Path, improved: Path) -> None:
    from export import checkpoint

    before = checkpoint.load(source).averaged()
    after = checkpoint.load(improved).averaged()
    assert before.keys() == after.keys()
    changed = {name for name in after if np.any(before[name] != after[name])}
    assert "dec_linear/kernel" in changed
    assert "dec_head/kernel" in changed
    assert all(name.startswith("dec_") and not name.endswith("/range") for name in changed)


def test_same_bytes_restore_better(model: Path, better: Path, pictures: Path) -> None:
    old, new = load_model(model), load_model(better)
    assert old.graphs["encoder", "int8"].sha256 == new.graphs["encoder", "int8"].sha256
    assert old.model_id != new.model_id
    errors = []
    for path in sorted(pictures.glob("*.png")):
        picture = read_picture(path.read_bytes(), name=path.name)
        streams = [parse(Codec.load(model=folder).encode(picture)) for folder in (model, better)]
        assert streams[0].tiles == streams[1].tiles
        restored = [
            Codec.load(model=folder).decode(stream).rgb.astype(float)
            for folder, stream in zip((model, better), streams, strict=True)
        ]
        errors.append([np.mean((one - picture.rgb) ** 2) for one in restored])
    before, after = np.mean(errors, axis=0)
    assert after < 0.95 * before


def test_the_network_is_the_graph_on_chosen_symbols(
    improved: Path, better: Path, pictures: Path
) -> None:
    import jax.numpy as jnp

    from export import checkpoint
    from export.context import chosen
    from export.decoder import DecoderNetworks, with_symbols
    from export.settings import Settings

    found = checkpoint.load(improved / "half.npz")
    settings = Settings.from_dict(found.meta["settings"])
    networks = DecoderNetworks(settings.network, settings.training, zero=128, rate_scale=SCALE)
    assert all(name.startswith("dec_") for name in networks.trainable)
    model = load_model(better)
    coder = load_coder(model)
    assert isinstance(coder, ContextCoder)
    backend = load_backend("onnx", model)
    with Image.open(sorted(pictures.glob("*.png"))[0]) as image:
        picture = np.array(image.convert("RGB"))
    latent = backend.analyse(picture, 0)
    symbols = chosen(model, latent, coder).symbols
    assert np.mean(symbols != latent.symbols) > 0.001
    given = with_symbols(settings.network, picture, symbols)
    assert given.shape == (*picture.shape[:2], networks.channels)
    params = {name: jnp.asarray(value) for name, value in found.averaged().items()}
    result = networks.run(params, jnp.asarray(given[None]), jnp.zeros(1, jnp.int32))
    np.testing.assert_array_equal(np.asarray(result.latents)[0].transpose(2, 0, 1) + 128, symbols)
    np.testing.assert_allclose(np.asarray(result.source)[0] * 255, picture, atol=1e-3)
    assert 0 < float(result.bpp[0]) < 8
    assert float(result.rate[0]) == 0
    restored = np.clip(np.round(np.asarray(result.restored)[0] * 255), 0, 255)
    assert np.abs(restored - backend.synthesise(symbols, 0)).max() <= 1


@pytest.mark.parametrize("latents", [5, 64, 70])
def test_symbols_travel_with_their_picture(latents: int) -> None:
    from export.decoder import planes, symbols_of, with_symbols
    from export.networks.edge import EdgeConfig

    config = EdgeConfig(latents=latents)
    rng = np.random.default_rng(latents)
    picture = rng.integers(0, 256, (24, 40, 3), dtype=np.uint8)
    symbols = rng.integers(0, 256, (latents, 3, 5), dtype=np.uint8)
    both = with_symbols(config, picture, symbols)
    assert both.shape == (24, 40, 3 + planes(config))
    np.testing.assert_array_equal(both[..., :3], picture)
    back = symbols_of(config, both[None, :, :, 3:])
    np.testing.assert_array_equal(back[0], symbols.transpose(1, 2, 0))
    # a patch's symbols are within its pixels: crops on the grid of patches have all of theirs
    part = symbols_of(config, both[None, 8:16, 16:32, 3:])
    np.testing.assert_array_equal(part[0], symbols.transpose(1, 2, 0)[1:2, 2:4])


@pytest.mark.parametrize(
    ("shape", "corners"),
    [((16, 16), [(0, 0)]), ((40, 23), [(4, 3), (20, 3)]), ((15, 90), [])],
    ids=["one", "middle", "too-low"],
)
def test_crops_lie_side_by_side(shape: tuple[int, int], corners: list[tuple[int, int]]) -> None:
    from export.decoder import whole_crops

    picture = np.arange(shape[0] * shape[1] * 3).reshape(*shape, 3)
    found = list(whole_crops(picture, 16))
    assert len(found) == len(corners)
    for crop, (top, left) in zip(found, corners, strict=True):
        np.testing.assert_array_equal(crop, picture[top : top + 16, left : left + 16])


def test_each_crop_is_coded_by_itself(
    source: Path, model: Path, pictures: Path, tmp_path: Path
) -> None:
    """What it is trained on has the symbols of a picture that ends where the crop does."""
    from export import checkpoint
    from export.context import chosen
    from export.decoder import DecoderRun, symbols_of
    from export.settings import Settings

    settings = Settings.from_dict(checkpoint.load(source).meta["settings"])
    one = load_model(model)
    run = DecoderRun(settings, [str(pictures)], tmp_path, one, SCALE)
    side, channels = settings.training.crop, run.networks.channels
    backend, coder = load_backend("onnx", one, precision="int8"), load_coder(one, "context")
    assert isinstance(coder, ContextCoder)
    for offset, height, width in run.pool.table:
        assert (height, width) == (side, side)
        both = run.pool.pixels[offset : offset + side * side * channels]
        both = both.reshape(side, side, channels)
        picture = np.ascontiguousarray(both[..., :3])
        latent = chosen(one, backend.analyse(picture, 0), coder)
        found = np.asarray(symbols_of(settings.network, both[None, ..., 3:]))[0]
        np.testing.assert_array_equal(found, latent.symbols.transpose(1, 2, 0))


def refused(*words: object) -> int:
    """Exit status of the command, in this process."""
    from export import decoder

    return decoder.main([str(word) for word in words])


def test_another_model_is_refused(
    source: Path, model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options: tuple[Any, ...] = (source, "--model", model, "--data", pictures, "--steps", 1)
    assert refused(*options, "--out", tmp_path / "scale") == 1
    assert f"is not a model of {source} at this rate scale" in capsys.readouterr().err
    options = (source, "--model", "nowhere", "--data", pictures, "--steps", 1)
    assert refused(*options, "--out", tmp_path / "none") == 1
    assert "nowhere" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_model_without_the_coder_is_refused(
    source: Path, exported: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--model", exported, "--data", pictures, "--steps", 1, "--out", tmp_path / "out")
    assert refused(source, *options) == 1
    assert "has no parameters for the coder context" in capsys.readouterr().err


def test_a_finished_run_is_kept(
    source: Path,
    model: Path,
    improved: Path,
    pictures: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ("--model", model, "--rate-scale", SCALE, "--data", pictures, "--out", improved)
    assert refused(source, *options, "--steps", 24) == 1
    assert "already has a run; use --resume" in capsys.readouterr().err
    assert refused(source, *options, "--steps", 24, "--resume") == 0
    assert refused(source, *options, "--steps", 24, "--learning-rate", -1) == 1
    assert "cannot be negative" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        refused(source, *options)
