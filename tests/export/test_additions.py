"""export.additions: which sums of quantised tensors are the same on every processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import helper  # noqa: E402
from small_graphs import make, optimised, run  # noqa: E402

from export import overflow  # noqa: E402
from export.proof import additions  # noqa: E402

NO_PRODUCTS = "the graph: no integer products: not an int8 graph"


def addition(
    kind: str, scales: tuple[float, float, float], zeros: tuple[int, int, int] = (7, 131, 90)
) -> Any:
    """Bytes x and their transpose, added as quantised tensors; both have 256 rows and columns."""
    node = helper.make_node
    constants = {f"s{i}": np.float32(s) for i, s in enumerate(scales)}
    constants |= {f"z{i}": np.uint8(z) for i, z in enumerate(zeros)}
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[0, 1, 3, 2]),
        node("DequantizeLinear", ["x", "s0", "z0"], ["a"]),
        node("DequantizeLinear", ["t", "s1", "z1"], ["b"]),
        node(kind, ["a", "b"], ["c"], name="added"),
        node("QuantizeLinear", ["c", "s2", "z2"], ["y"]),
    ]
    return make(nodes, constants)


EXACT = (1.0, 1229 / 4096, 1.0)
INEXACT = {
    "trained": (0.0139069, 0.00696622, 0.0151701),
    "halves": (0.5, 0.25, 0.5),  # 1 * a + 1/2 * b: to even on x86, away from zero on ARM
    "too fine": (1.0, 1229 / 2**16, 1.0),
    "out of range": (1.0, 2.0**-15, 1.0),
}


@pytest.mark.parametrize("scales", INEXACT.values(), ids=INEXACT)
def test_fused_additions_that_processors_round_differently(
    scales: tuple[float, float, float], tmp_path: Path
) -> None:
    model = addition("Add", scales)
    assert optimised(model, tmp_path)["QLinearAdd"] == 1
    assert "added (Add): scales" in str(overflow.examine(model).findings[0])
    assert additions.unfuse(model) == 1
    assert not optimised(model, tmp_path)["QLinearAdd"]
    assert [str(f) for f in overflow.examine(model).findings] == [NO_PRODUCTS]


@pytest.mark.parametrize("scales", [EXACT, (0.7, 0.7, 0.7)], ids=["1229/4096", "equal"])
def test_fused_additions_that_are_exact(scales: tuple[float, float, float], tmp_path: Path) -> None:
    zeros = (7, 131, 90)
    model = addition("Add", scales, zeros)
    assert optimised(model, tmp_path)["QLinearAdd"] == 1
    assert [str(f) for f in overflow.examine(model).findings] == [NO_PRODUCTS]
    x = np.broadcast_to(np.arange(256, dtype=np.uint8), (1, 3, 256, 256)).copy()
    found = run(model, x)[0, 0]
    ratios = [round(4096 * s / scales[2]) for s in scales[:2]]
    a, b = (np.arange(256) - zero for zero in zeros[:2])
    whole = ratios[0] * a[None, :] + ratios[1] * b[:, None]  # in 1/4096
    assert not np.any(whole % 4096 == 2048)
    assert np.array_equal(found, np.clip((whole + 2048) // 4096 + zeros[2], 0, 255))


def test_fused_products_are_not_proved() -> None:
    found = overflow.examine(addition("Mul", EXACT)).findings
    assert "fused to QLinearMul" in str(found[0])
