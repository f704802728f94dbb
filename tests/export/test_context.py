"""export.context, context_model, context_file: training the coder's parameters; their integers."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgecomp import native
from edgecomp.backends import Latent
from edgecomp.codec import Codec
from edgecomp.entropy import ContextCoder
from edgecomp.model_coders import load_coder
from edgecomp.models import load_model
from edgecomp.pictures import read_picture

from .conftest import Command

jax = pytest.importorskip("jax")

from export import checkpoint  # noqa: E402
from export.context_file import pack  # noqa: E402
from export.context_model import (  # noqa: E402
    GROUP,
    ContextError,
    bits,
    features_of,
    predict,
    start,
    taps,
)

SMALL = ("--width", 32, "--hidden", 32, "--crop", 16, "--batch", 2)


@pytest.fixture(scope="module")
def made(
    command: Command, exported: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A model folder with parameters after 60 steps, their checkpoint beside it."""
    folder = tmp_path_factory.mktemp("context") / "B"
    shutil.copytree(exported, folder)
    release = folder.with_name("context-b.npz")
    args = ("--data", pictures, "--steps", 60, *SMALL, "--release", release)
    done = command("export.context", folder, *args)
    assert done.returncode == 0, done.stderr
    assert "60 steps" in done.stdout
    assert f"model {load_model(folder).id_hex}" in done.stdout
    return folder


def random_weights(channels: int, reach: int, seed: int) -> dict[str, np.ndarray]:
    """Weights as after some training: none of them zero."""
    random = np.random.default_rng(seed)
    std = np.sort(random.uniform(0.2, 3.0, channels))[::-1]
    weights = start(random.permutation(channels), std, reach, 32, 32, seed)
    for name in ("bias0", "bias1", "mean_bias", "linear", "within"):
        weights[name] = random.normal(0, 0.1, weights[name].shape).astype(np.float32)
    return weights


def drawn(
    weights: dict[str, np.ndarray], channels: int, side: int, zero: int, levels: int, seed: int
) -> np.ndarray:
    """A volume with channels as wide as the weights say."""
    random = np.random.default_rng(seed)
    values = np.zeros((channels, side, side))
    values[weights["order"]] = random.laplace(0, weights["std"][:, None, None] / 1.5, values.shape)
    return np.clip(np.round(values) + zero, 0, levels - 1).astype(np.uint8)


def ideal(weights: dict[str, np.ndarray], volume: np.ndarray, zero: int, levels: int) -> float:
    """Bits of a volume by the float model."""
    reach = int(np.sqrt(weights["rows"].shape[0] / 2))
    values = volume[weights["order"]].transpose(1, 2, 0).astype(np.float32) - zero
    padded = np.pad(values, ((reach, 0), (reach, reach), (0, 0)))[None]
    mean, scale = predict(weights, padded, reach)
    return float(bits(values[None], mean, scale, -zero, levels - 1 - zero).sum())


@pytest.mark.parametrize(
    ("channels", "reach", "levels", "zero"),
    [(16, 2, 256, 128), (11, 1, 6, 2), (8, 3, 64, 0), (24, 2, 32, 31)],
)
def test_integers_cost_what_the_float_model_says(
    channels: int, reach: int, levels: int, zero: int
) -> None:
    weights = random_weights(channels, reach, 5)
    volume = drawn(weights, channels, 24, zero, levels, 6)
    parameters = native.context_parameters(pack(weights, levels=levels, zero=zero))
    coded = native.context_encode(volume, parameters=parameters, levels=levels, zero=zero)
    expected = ideal(weights, volume, zero, levels)
    assert expected * 0.995 < len(coded) * 8 < expected * 1.005 + 64


def test_predictions_are_causal() -> None:
    """No prediction changes with what comes later, in raster order and group by group."""
    weights, reach = random_weights(16, 2, 1), 2
    random = np.random.default_rng(2)
    values = random.integers(-3, 4, (1, 6, 7, 16)).astype(np.float32)
    border = ((0, 0), (reach, 0), (reach, reach), (0, 0))

    def predictions(of: np.ndarray) -> np.ndarray:
        return np.stack([np.asarray(p) for p in predict(weights, np.pad(of, border), reach)])

    before = predictions(values)
    y, x, first = 3, 4, GROUP  # from the second group of this position on, all is changed
    changed = values.copy()
    changed[0, y, x, first:] += 5
    changed[0, y, x + 1 :] -= 4
    changed[0, y + 1 :] += 7
    after = predictions(changed)
    assert np.array_equal(before[:, 0, :y], after[:, 0, :y])
    assert np.array_equal(before[:, 0, y, : x + 1], after[:, 0, y, : x + 1])
    assert not np.array_equal(before[:, 0, y, x + 1], after[:, 0, y, x + 1])
    changed = values.copy()
    changed[0, y, x, :first] += 1
    after = predictions(changed)
    assert np.array_equal(before[:, 0, y, x, :first], after[:, 0, y, x, :first])
    assert not np.array_equal(before[:, 0, y, x, first:], after[:, 0, y, x, first:])


def test_every_symbol_together_is_certain() -> None:
    mean, scale = np.float32(0.3), np.float32(-1.0)
    values = np.arange(-2, 4, dtype=np.float32)
    total = float((2.0 ** -np.asarray(bits(values, mean, scale, -2, 3))).sum())
    assert total == pytest.approx(1.0, abs=1e-5)


def test_taps_are_the_known_neighbours() -> None:
    assert taps(1) == [(-1, -1), (-1, 0), (-1, 1), (0, -1)]
    assert len(taps(2)) == 12
    assert all(offset < (0, 0) for offset in taps(3))


def test_features_begin_at_nothing_and_end_at_the_limit() -> None:
    features = features_of(np.arange(256), np.array([0.05, 20.0]))
    assert features[:, 0].tolist() == [0, 0]
    assert (np.diff(features) >= 0).all()
    assert features.max() == 10.0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rows", "first layer"),
        ("dense", "second layer"),
        ("within", "second layer"),
        ("mean", "mean of place 3"),
        ("scale", "scales"),
        ("linear", "mean of place 3"),
    ],
)
def test_weights_beyond_the_format(name: str, message: str) -> None:
    weights = random_weights(8, 1, 3)
    if name in ("mean", "linear"):
        weights[name][:, 3] = 1e7
    else:
        weights[name][...] = 1e7
    with pytest.raises(ContextError, match=message):
        pack(weights, levels=256, zero=128)


def test_the_folder_holds_what_was_trained(made: Path, pictures: Path) -> None:
    model = load_model(made)
    assert set(json.loads((made / "model.json").read_bytes())["coders"]) == {"context", "lzma"}
    assert isinstance(load_coder(model), ContextCoder)
    codec = Codec.load(model=made)
    path = sorted(pictures.iterdir())[0]
    latent = codec.backend.analyse(read_picture(path.read_bytes(), name=path.name).rgb, 0)
    options = {"levels": model.levels, "zero": model.zero}
    trained = load_coder(model)
    coded = trained.encode(latent.symbols, **options)
    assert len(coded) < 0.9 * len(native.pack(latent.symbols, **options))
    decoded = trained.decode(coded, shape=latent.symbols.shape, **options)
    assert np.array_equal(decoded, latent.symbols)


def test_a_checkpoint_gives_the_same_folder(
    command: Command, made: Path, exported: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "B"
    shutil.copytree(exported, folder)
    done = command("export.context", folder, "--from", made.with_name("context-b.npz"))
    assert done.returncode == 0, done.stderr
    for name in ("context.bin", "model.json"):
        assert (folder / name).read_bytes() == (made / name).read_bytes()


def test_training_goes_on(
    command: Command, made: Path, exported: Path, pictures: Path, tmp_path: Path
) -> None:
    """From what 60 steps made, a few small ones hardly change anything; from nothing they would."""
    start_at = made.with_name("context-b.npz")
    args = ("--data", pictures, "--steps", 2, *SMALL, "--learning-rate", "1e-6")
    costs = []
    for options in (("--init", start_at), ()):
        folder = tmp_path / f"B{len(options)}"
        shutil.copytree(exported, folder)
        release = folder.with_suffix(".npz")
        done = command("export.context", folder, *args, *options, "--release", release)
        assert done.returncode == 0, done.stderr
        weights = checkpoint.load(release).averaged()
        costs.append(np.abs(weights["dense"] - checkpoint.load(start_at).averaged()["dense"]).max())
    assert costs[0] < 1e-3 < costs[1]


def test_training_on_chosen_symbols(made: Path, pictures: Path) -> None:
    """With a threshold in the manifest, the latents are those that the files will hold."""
    from export.context import chosen, coder_of, latents_of

    model = load_model(made)
    found = latents_of(model, sorted(pictures.iterdir())[:1])[0]
    fractions = np.full(found.symbols.shape, 100, np.int8)
    rounded = Latent(found.symbols, None, fractions)
    coder = coder_of(model, checkpoint.load(made.with_name("context-b.npz")).averaged())
    assert chosen(model, rounded, coder) is rounded
    wanting = dataclasses.replace(model, choice_threshold=1)
    symbols = chosen(wanting, rounded, coder).symbols
    changed = symbols != found.symbols
    assert changed.any()
    assert (symbols[changed] == model.zero).all()


def test_going_on_from_another_shape(command: Command, made: Path, pictures: Path) -> None:
    args = ("--data", pictures, "--steps", 2, *SMALL, "--width", 64)
    done = command("export.context", made, *args, "--init", made.with_name("context-b.npz"))
    assert done.returncode == 1
    assert "another shape" in done.stderr


def test_parameters_of_another_encoder(command: Command, made: Path, tmp_path: Path) -> None:
    found = checkpoint.load(made.with_name("context-b.npz"))
    found.meta["encoder"] = "0" * 64
    checkpoint.save(tmp_path / "other.npz", found)
    before = (made / "model.json").read_bytes()
    done = command("export.context", made, "--from", tmp_path / "other.npz")
    assert done.returncode == 1
    assert "another encoder's latents" in done.stderr
    assert (made / "model.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give --from, or --data"),
        (("--data", "{pictures}"), "above zero"),
        (("--data", "{pictures}", "--steps", "3", "--crop", "99"), "99 positions on both sides"),
        (("--data", "{missing}", "--steps", "3"), "not found"),
        (("--from", "{missing}"), "no checkpoint at"),
    ],
)
def test_usage(
    command: Command, made: Path, pictures: Path, arguments: tuple[str, ...], message: str
) -> None:
    given = [a.format(pictures=pictures, missing=made / "missing") for a in arguments]
    done = command("export.context", made, *given)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_no_such_model(command: Command, tmp_path: Path) -> None:
    done = command("export.context", tmp_path / "none", "--from", tmp_path / "none.npz")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
