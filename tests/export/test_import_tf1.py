"""Import of TensorFlow 1 checkpoints: the network as its authors wrote it, in tf.compat.v1 layers.

`reference` builds that graph with the variable names of the published checkpoints, transposed
convolutions included, and saves it with TensorFlow 1's Saver.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .conftest import Command

N, B, C, L, K = 8, 2, 4, 6, 5
Arrays = dict[str, np.ndarray]


@dataclass
class Reference:
    """A checkpoint, the values of its variables, and what the graph makes of a picture."""

    path: str
    variables: Arrays
    picture: np.ndarray
    outputs: Arrays


class Graph:
    """The layers of the authors' network, every variable at random."""

    def __init__(self, tf: Any, importance_map: bool) -> None:
        self.tf, self.importance_map = tf, importance_map
        self.rng = np.random.default_rng(11)

    def variable(self, name: str, shape: tuple[int, ...], low: float, high: float) -> Any:
        value = self.rng.uniform(low, high, shape).astype(np.float32)
        return self.tf.compat.v1.get_variable(name, initializer=value)

    def weights(self, shape: tuple[int, ...], inputs: int) -> Any:
        limit = np.sqrt(2.0 / (np.prod(shape[:-2]) * inputs))
        return self.variable("weights", shape, -limit, limit)

    def conv(
        self, x: Any, scope: str, size: int, filters: int, stride: int = 1, relu: bool = True
    ) -> Any:
        with self.tf.compat.v1.variable_scope(scope):
            inputs = int(x.shape[-1])
            kernel = self.weights((size, size, inputs, filters), inputs)
            return self.norm(self.tf.nn.conv2d(x, kernel, stride, "SAME"), relu)

    def deconv(self, x: Any, scope: str, size: int, filters: int, relu: bool = True) -> Any:
        with self.tf.compat.v1.variable_scope(scope):
            n, h, w, inputs = x.shape
            kernel = self.weights((size, size, filters, inputs), inputs)
            shape = (n, 2 * h, 2 * w, filters)
            return self.norm(self.tf.nn.conv2d_transpose(x, kernel, shape, 2, "SAME"), relu)

    def norm(self, x: Any, relu: bool) -> Any:
        shape = (int(x.shape[-1]),)
        with self.tf.compat.v1.variable_scope("BatchNorm"):
            gamma = self.variable("gamma", shape, 0.5, 1.5)
            beta = self.variable("beta", shape, -0.4, 0.4)
            mean = self.variable("moving_mean", shape, -0.4, 0.4)
            variance = self.variable("moving_variance", shape, 0.3, 2.0)
        x = gamma * (x - mean) / self.tf.sqrt(variance + 1e-5) + beta
        return self.tf.nn.relu(x) if relu else x

    def block(self, x: Any, scope: str, relu: bool = True) -> Any:
        with self.tf.compat.v1.variable_scope(scope):
            y = self.conv(x, "conv1", 3, N, relu=relu)
            return x + self.conv(y, "conv2", 3, N, relu=False)

    def trunk(self, x: Any, part: str, last: str) -> Any:
        start = x
        for b in range(B):
            before = x
            with self.tf.compat.v1.variable_scope(f"res_block_{part}_{b}"):
                for i in (1, 2, 3):
                    x = self.block(x, f"{part}_{b}_{i}")
            x = x + before
        return self.block(x, last, relu=False) + start

    def statistics(self) -> tuple[np.ndarray, np.ndarray]:
        mean = np.float32([121.85369873, 113.58860779, 100.63715363])
        return mean, np.sqrt(np.float32([4746.37695312, 4454.13964844, 4812.234375]))

    def encode(self, picture: np.ndarray) -> tuple[Any, Any, Any, Any]:
        mean, std = self.statistics()
        with self.tf.compat.v1.variable_scope("autoencoder/encoder"):
            # Not in order of size: an import must not sort them.
            start = self.rng.permutation(np.linspace(-1.5, 1.5, L)).astype(np.float32)
            centres = self.tf.compat.v1.get_variable("centers", initializer=start)
            x = self.conv((self.tf.constant(picture) - mean) / std, "h1", 5, N // 2, 2)
            x = self.trunk(self.conv(x, "h2", 5, N, 2), "enc", "res_block_enc_final")
            raw = self.conv(x, "to_bn", 5, C + self.importance_map, 2, relu=False)
        z = raw
        if self.importance_map:
            importance = self.tf.sigmoid(raw[..., :1]) * C
            mask = self.tf.clip_by_value(importance - np.arange(C, dtype=np.float32), 0, 1)
            z = raw[..., 1:] * mask
        symbols = self.tf.argmin(self.tf.abs(z[..., None] - centres), -1)
        return raw, symbols, self.tf.gather(centres, symbols), centres

    def decode(self, values: Any) -> Any:
        mean, std = self.statistics()
        with self.tf.compat.v1.variable_scope("autoencoder/decoder"):
            x = self.trunk(self.deconv(values, "from_bn", 3, N), "dec", "dec_after_res")
            x = self.deconv(x, "h12", 5, N // 2)
            return self.deconv(x, "h13", 5, 3, relu=False) * std + mean

    def conv3d(self, x: Any, name: str, filters: int, first: bool = False) -> Any:
        mask = np.ones((2, 3, 3, 1, 1), np.float32)
        mask[1, 1, 2] = mask[1, 2] = 0
        if first:
            mask[1, 1, 1] = 0
        with self.tf.compat.v1.variable_scope(f"conv3d_{name}_mask"):
            inputs = int(x.shape[-1])
            kernel = self.weights((2, 3, 3, inputs, filters), inputs) * mask
            bias = self.variable("biases", (filters,), -0.3, 0.6)
            return self.tf.nn.conv3d(x, kernel, (1, 1, 1, 1, 1), "VALID") + bias

    def logits(self, values: Any, centres: Any) -> Any:
        volume = self.tf.transpose(values, (0, 3, 1, 2))
        pads = ((0, 0), (4, 0), (4, 4), (4, 4))
        x = self.tf.pad(volume, pads, constant_values=centres[0])[..., None]
        relu = self.tf.nn.relu
        with self.tf.compat.v1.variable_scope("probclass3d/logits"):
            x = relu(self.conv3d(x, "conv0", K, first=True))
            with self.tf.compat.v1.variable_scope("res1"):
                y = relu(self.conv3d(x, "conv1", K))
                x = self.conv3d(y, "conv2", K) + x[:, 2:, 2:-2, 2:-2]
            return relu(self.conv3d(x, "conv2", L))


def reference(folder: Path, importance_map: bool = True) -> Reference:
    """Write the checkpoint and run the graph on a picture."""
    import tensorflow as tf

    v1 = tf.compat.v1
    picture = np.random.default_rng(3).uniform(0, 255, (2, 24, 40, 3)).astype(np.float32)
    with tf.Graph().as_default(), v1.Session() as session:
        graph = Graph(tf, importance_map)
        raw, symbols, values, centres = graph.encode(picture)
        outputs = {
            "raw": raw,
            "symbols": symbols,
            "values": values,
            "picture": graph.decode(values),
        }
        outputs["logits"] = graph.logits(values, centres)
        # What a training run also saves and an import has no use for.
        v1.get_variable("global_step", initializer=np.int64(7))
        v1.get_variable("autoencoder/encoder/h1/weights/Adam", initializer=np.zeros(3, np.float32))
        session.run(v1.global_variables_initializer())
        path = v1.train.Saver().save(session, str(folder / "ckpt"), global_step=7)
        variables = {v.op.name: session.run(v) for v in v1.global_variables()}
        return Reference(path, variables, picture, session.run(outputs))


def save(path: Path, variables: Arrays) -> str:
    """A checkpoint of just these variables."""
    import tensorflow as tf

    v1 = tf.compat.v1
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.Graph().as_default(), v1.Session() as session:
        for name, value in variables.items():
            v1.get_variable(name, initializer=value)
        session.run(v1.global_variables_initializer())
        return str(v1.train.Saver().save(session, str(path)))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return reference(tmp_path_factory.mktemp("tf1"))


@pytest.fixture(scope="module")
def imported(
    command: Command, original: Reference, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Run folder of the imported checkpoint, made by the command."""
    out = tmp_path_factory.mktemp("imported") / "run"
    done = command("export.import_tf1", original.path, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "n 8, 2 groups, 4 channels, 6 centres" in done.stdout
    return out


def by_hand(v: Arrays) -> Arrays:
    """The imported weights, set by hand."""
    scopes = {
        "enc_h1": "autoencoder/encoder/h1",
        "enc_h2": "autoencoder/encoder/h2",
        "enc_to_bn": "autoencoder/encoder/to_bn",
        "dec_from_bn": "autoencoder/decoder/from_bn",
        "dec_h12": "autoencoder/decoder/h12",
        "dec_h13": "autoencoder/decoder/h13",
    }
    for conv in ("conv1", "conv2"):
        scopes[f"enc_final_{conv}"] = f"autoencoder/encoder/res_block_enc_final/{conv}"
        scopes[f"dec_final_{conv}"] = f"autoencoder/decoder/dec_after_res/{conv}"
        for p, part in (("enc", "encoder"), ("dec", "decoder")):
            for b in range(B):
                for i in range(3):
                    scope = f"autoencoder/{part}/res_block_{p}_{b}/{p}_{b}_{i + 1}/{conv}"
                    scopes[f"{p}_block{b}_{i}_{conv}"] = scope
    out = {"enc_centres/centres": v["autoencoder/encoder/centers"]}
    for name, scope in scopes.items():
        out[f"{name}/kernel"] = v[f"{scope}/weights"]
        for leaf in ("gamma", "beta", "moving_mean", "moving_variance"):
            out[f"{name}_bn/{leaf}"] = v[f"{scope}/BatchNorm/{leaf}"]
    for name, scope in (
        ("ctx_conv0", "conv3d_conv0_mask"),
        ("ctx_res_conv1", "res1/conv3d_conv1_mask"),
        ("ctx_res_conv2", "res1/conv3d_conv2_mask"),
        ("ctx_conv2", "conv3d_conv2_mask"),
    ):
        out[f"{name}/kernel"] = v[f"probclass3d/logits/{scope}/weights"]
        out[f"{name}/bias"] = v[f"probclass3d/logits/{scope}/biases"]
    return out


def test_weights_are_those_set_by_hand(original: Reference, imported: Path) -> None:
    from export import checkpoint

    run = checkpoint.load(imported)
    want = by_hand(original.variables)
    assert run.meta["step"] == 0
    assert set(run.groups) == {"ema"}
    assert run.groups["ema"].keys() == want.keys()
    for name, value in run.groups["ema"].items():
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, want[name], err_msg=name)


def check_outputs(run_folder: Path, original: Reference) -> Any:
    """Our networks holding the imported weights against the graph's outputs; the config."""
    from export import checkpoint
    from export.networks import cvpr
    from export.networks.layers import set_weights
    from export.settings import Settings

    def close(got: Any, name: str) -> None:
        want = original.outputs[name]
        scale = np.abs(want).max()
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 * scale, err_msg=name)

    run = checkpoint.load(run_folder)
    config = Settings.from_dict(json.loads(json.dumps(run.meta["settings"]))).network
    models = cvpr.build_encoder(config), cvpr.build_decoder(config), cvpr.build_context(config)
    for model in models:
        set_weights(model, run.averaged())
    encoder, decoder, context = models
    raw = encoder(original.picture)
    close(raw, "raw")
    z, _ = cvpr.importance_mask(raw, config)
    centres = run.averaged()["enc_centres/centres"]
    values, symbols = cvpr.quantise(z, centres)
    np.testing.assert_array_equal(symbols, original.outputs["symbols"])
    assert len(np.unique(symbols)) == L
    close(decoder(values), "picture")
    logits = context([original.outputs["values"], np.full(2, centres[0])])
    close(logits, "logits")
    assert (np.asarray(logits) > 0).mean() > 0.3  # not hidden behind the ReLU
    folded, plain = cvpr.fold(config, run.averaged())
    fast = cvpr.build_decoder(folded)
    set_weights(fast, plain)
    close(fast(values), "picture")
    return config


def test_outputs_are_those_of_the_original_graph(original: Reference, imported: Path) -> None:
    config = check_outputs(imported, original)
    assert config.qualities == ("A",)
    assert config.encoder == config.decoder
    assert (config.encoder.first, config.encoder.width, config.encoder.last) == (4, 8, 8)
    assert config.encoder.groups == ((8, 8, 8),) * 2
    assert (config.bottleneck, config.centres, config.context.width) == (C, L, K)


def test_checkpoint_without_importance_map(tmp_path: Path) -> None:
    from export import import_tf1

    original = reference(tmp_path, importance_map=False)
    # A folder means its latest checkpoint.
    assert import_tf1.main([str(tmp_path), "--out", str(tmp_path / "run"), "--quality", "C"]) == 0
    config = check_outputs(tmp_path / "run", original)
    assert not config.importance_map
    assert config.qualities == ("C",)


def test_third_plane_of_context_kernels_is_left_out(original: Reference, tmp_path: Path) -> None:
    from export import checkpoint, import_tf1

    variables = dict(original.variables)
    for name, value in original.variables.items():
        if name.startswith("probclass3d") and name.endswith("/weights"):
            variables[name] = np.concatenate([value, np.ones_like(value[:1])])
    path = save(tmp_path / "deep", variables)
    # One of the checkpoint's files names it as well as their common prefix.
    assert import_tf1.main([f"{path}.index", "--out", str(tmp_path / "run")]) == 0
    got = checkpoint.load(tmp_path / "run").groups["ema"]
    want = by_hand(original.variables)
    np.testing.assert_array_equal(got["ctx_res_conv1/kernel"], want["ctx_res_conv1/kernel"])


Edit = dict[str, np.ndarray | None]
H2 = "autoencoder/encoder/h2"
FROM_BN = "autoencoder/decoder/from_bn/weights"
EDITS: list[tuple[Edit, str]] = [
    ({f"{H2}/weights": None}, f"has no variable {H2}/weights"),
    ({f"{H2}/BatchNorm/beta": None}, f"has no variable {H2}/BatchNorm/beta"),
    ({"autoencoder/encoder/centers": None}, "has no variable autoencoder/encoder/centers"),
    ({"probclass3d/logits/res1/conv3d_conv2_mask/biases": None}, "conv3d_conv2_mask/biases"),
    (
        {"autoencoder/decoder/res_block_dec_0/dec_0_2/conv1/weights": None},
        "has no variable autoencoder/decoder/res_block_dec_0/dec_0_2/conv1/weights",
    ),
    (
        {f"{H2}/BatchNorm/gamma": np.ones(3, np.float32)},
        f"{H2}/BatchNorm/gamma has the shape (3,), the other variables need (8,)",
    ),
    ({f"{H2}/weights": np.ones(3, np.float32)}, f"{H2}/weights has the shape (3,)"),
    ({f"{H2}/BatchNorm/beta": np.full(8, np.nan, np.float32)}, "beta has unusable values"),
    ({f"{H2}/BatchNorm/moving_variance": -np.ones(8, np.float32)}, "has negative variances"),
    ({FROM_BN: np.ones((3, 3, 8, 7), np.float32)}, f"{FROM_BN} takes 7"),
]


@pytest.mark.parametrize(("edit", "message"), EDITS, ids=[message for _, message in EDITS])
def test_unfitting_variables_are_named(
    original: Reference,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    edit: Edit,
    message: str,
) -> None:
    from export import import_tf1

    changed = {**original.variables, **edit}
    path = save(tmp_path / "ckpt", {k: v for k, v in changed.items() if v is not None})
    assert import_tf1.main([path, "--out", str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("export.import_tf1: ")
    assert message in error
    assert path in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def damage(path: str, how: str) -> None:
    """Damage a checkpoint's files in one way."""
    data, index = Path(f"{path}.data-00000-of-00001"), Path(f"{path}.index")
    file = index if how.startswith("index") else data
    content = bytearray(file.read_bytes())
    if how.endswith("cut"):
        file.write_bytes(content[: len(content) // 2])
    elif how.endswith("gone"):
        file.unlink()
    else:
        content[len(content) // 2] ^= 0xFF
        file.write_bytes(content)


@pytest.mark.parametrize(
    "how", ["data flipped", "data cut", "data gone", "index flipped", "index cut", "index gone"]
)
def test_damaged_checkpoints_are_named(
    original: Reference, tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    from export import import_tf1

    path = save(tmp_path / "ckpt", original.variables)
    damage(path, how)
    assert import_tf1.main([path, "--out", str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("export.import_tf1: ")
    assert path in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_wrong_paths_are_named(
    imported: Path, original: Reference, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from export import import_tf1

    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "nothing", tmp_path / "empty"):
        assert import_tf1.main([str(path), "--out", str(tmp_path / "run")]) == 1
        assert str(path) in capsys.readouterr().err
    assert import_tf1.main([original.path, "--out", str(imported)]) == 1
    assert "already has a run" in capsys.readouterr().err
    (tmp_path / "file").write_text("x")
    assert import_tf1.main([original.path, "--out", str(tmp_path / "file")]) == 1
    assert "cannot write" in capsys.readouterr().err
