"""Fixtures and Hypothesis profiles that all tests share."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from common import DATA
from hypothesis import HealthCheck, settings
from PIL import Image
from windows_like import act_like_windows

# Keras settles its backend when it is first imported, which TensorFlow does on its own; the tests
# of training want this one, whichever test comes first.
os.environ.setdefault("KERAS_BACKEND", "jax")

# What `edgecomp doctor` has found on this machine is not for the tests to depend on, nor for them
# to change: processes that they start look here, too.
CACHE = Path(tempfile.gettempdir()) / "edgecomp-tests-cache"
os.environ["XDG_CACHE_HOME"] = str(CACHE)
shutil.rmtree(CACHE / "edgecomp", ignore_errors=True)

settings.register_profile(
    "default", max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("long", max_examples=5000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Full counts take long: they run when they are asked for, and else say so."""
    if "exhaustive" in config.getoption("markexpr"):
        return
    for item in items:
        if item.get_closest_marker("exhaustive") is not None:
            item.add_marker(pytest.mark.skip(reason="a full count; run with -m exhaustive"))


@pytest.fixture(scope="session")
def tiny() -> Path:
    """Folder of the frozen model of the shape of `edge` (tests/data/models/make_models.py)."""
    return DATA / "models" / "tiny"


@pytest.fixture(scope="session")
def tiny_map() -> Path:
    """Folder of the frozen model with an importance map, six levels and two gains."""
    return DATA / "models" / "tiny-map"


@pytest.fixture(scope="session")
def photo() -> Image.Image:
    """A small picture with smooth areas, edges and texture; the same in every run."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[0:96, 0:152].astype(float)
    red = 128 + 100 * np.sin(x / 23) * np.cos(y / 17)
    green = np.where((x - 70) ** 2 + (y - 50) ** 2 < 900, 220, 60) + 10 * np.sin(x)
    blue = 255 * x / x.max() + rng.normal(0, 6, x.shape)
    return Image.fromarray(np.dstack((red, green, blue)).clip(0, 255).astype(np.uint8))


@pytest.fixture(params=["paths"] if sys.platform == "win32" else ["descriptors", "paths"])
def folder_kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both kinds of folders that the package knows (edgecomp/folders.py), one after the other."""
    kind = str(request.param)
    if kind == "paths":
        act_like_windows(monkeypatch)
    return kind
