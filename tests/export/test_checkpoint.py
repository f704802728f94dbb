"""export.checkpoint: what is damaged or of another network is refused, writing is atomic, means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.mark.parametrize("keep", [0, 10, 3000, -1])
def test_damaged_checkpoint(keep: int, trained: Path, tmp_path: Path) -> None:
    from export import checkpoint

    whole = (trained / "state.npz").read_bytes()
    (tmp_path / "state.npz").write_bytes(whole[:keep])
    with pytest.raises(checkpoint.CheckpointError, match=r"state\.npz is damaged"):
        checkpoint.load(tmp_path)


def test_flipped_checkpoint(trained: Path, tmp_path: Path) -> None:
    from export import checkpoint

    whole = bytearray((trained / "state.npz").read_bytes())
    whole[len(whole) // 2] ^= 0x10
    (tmp_path / "state.npz").write_bytes(whole)
    with pytest.raises(checkpoint.CheckpointError, match="damaged"):
        checkpoint.load(tmp_path)


def test_foreign_checkpoint(tmp_path: Path) -> None:
    from export import checkpoint

    with pytest.raises(checkpoint.CheckpointError, match="no checkpoint at"):
        checkpoint.load(tmp_path)
    np.savez(tmp_path / "state.npz", **{"x": np.zeros(3)})
    with pytest.raises(checkpoint.CheckpointError, match="damaged"):
        checkpoint.load(tmp_path)


def test_save_leaves_old_file_when_writing_fails(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from export import checkpoint

    target = tmp_path / "state.npz"
    target.write_bytes(b"old")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.np, "savez", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(target, checkpoint.load(trained))
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["state.npz"]


def moved_by(trained: Path, by: float, target: Path) -> Path:
    """The run with its averaged weights moved by a number."""
    from export import checkpoint

    run = checkpoint.load(trained)
    run.groups["ema"] = {name: value + by for name, value in run.averaged().items()}
    run.meta["step"] += round(100 * by)
    checkpoint.save(target, run)
    return target


def test_the_mean_of_several_states(trained: Path, tmp_path: Path) -> None:
    from export import checkpoint

    there = checkpoint.load(trained)
    one, two = (moved_by(trained, by, tmp_path / f"{by}.npz") for by in (0.25, 0.75))
    mean = checkpoint.load(checkpoint.release_mean([trained, one, two], tmp_path / "mean.npz"))
    assert mean.groups.keys() == {"ema"}
    assert mean.meta["step"] == there.meta["step"] + 75
    assert mean.averaged().keys() == there.averaged().keys()
    for name, value in mean.groups["ema"].items():
        assert value.dtype == np.float16
        expected = there.averaged()[name] + np.float32(1 / 3)
        np.testing.assert_allclose(value, expected, rtol=1e-3, atol=1e-3)
    alone = checkpoint.release_mean([trained], tmp_path / "alone.npz")
    assert alone.read_bytes() == checkpoint.release(trained, tmp_path / "released").read_bytes()


def test_what_has_no_mean_is_refused(trained: Path, tmp_path: Path) -> None:
    from export import checkpoint

    target = tmp_path / "mean.npz"
    with pytest.raises(ValueError, match="no checkpoints"):
        checkpoint.release_mean([], target)
    other = checkpoint.load(trained)
    other.groups["ema"].popitem()
    checkpoint.save(tmp_path / "other.npz", other)
    with pytest.raises(checkpoint.CheckpointError, match=r"other\.npz has other weights"):
        checkpoint.release_mean([tmp_path / "other.npz", trained], target)
    rounded = checkpoint.load(trained)
    rounded.groups["ema"]["a/range"] = np.zeros(2, np.float32)
    checkpoint.save(tmp_path / "rounded.npz", rounded)
    with pytest.raises(checkpoint.CheckpointError, match="quantised"):
        checkpoint.release_mean([tmp_path / "rounded.npz"] * 2, target)
    assert not target.exists()
