"""evaluation.cache: what was kept comes back, anything else does not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgecomp.errors import OutputError
from edgecomp.evaluation.cache import FolderCache, NoCache

KEY = {"what": "method", "pictures": ["a", "b"], "cores": 2}
VALUE = {"bytes": [1, 2], "seconds": 0.25, "psnr": [None, 30.1]}


def test_what_was_kept_comes_back(tmp_path: Path) -> None:
    cache = FolderCache(tmp_path / "cache")
    assert cache.get(KEY) is None
    cache.put(KEY, VALUE)
    assert FolderCache(tmp_path / "cache").get(dict(reversed(KEY.items()))) == VALUE


@pytest.mark.parametrize("change", [{"cores": 1}, {"pictures": ["b", "a"]}, {"more": 1}])
def test_another_key_is_another_measurement(change: dict[str, object], tmp_path: Path) -> None:
    cache = FolderCache(tmp_path)
    cache.put(KEY, VALUE)
    assert cache.get({**KEY, **change}) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"key": {}, "value": {}}', b"\xff\xfe"])
def test_a_damaged_file_counts_as_none(content: bytes, tmp_path: Path) -> None:
    cache = FolderCache(tmp_path)
    cache.put(KEY, VALUE)
    next(tmp_path.iterdir()).write_bytes(content)
    assert cache.get(KEY) is None
    cache.put(KEY, VALUE)
    assert cache.get(KEY) == VALUE


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="file"):
        FolderCache(tmp_path / "file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="permission"):
        FolderCache(tmp_path)


def test_no_cache_forgets() -> None:
    cache = NoCache()
    cache.put(KEY, VALUE)
    assert cache.get(KEY) is None
