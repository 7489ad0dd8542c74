"""Arrays on disk are those that were put there, and leave no file behind."""

import resource
from pathlib import Path

import numpy as np
import pytest

from maskloop.errors import StorageError
from maskloop.learning import shelf
from maskloop.learning.shelf import Shelf

SHAPE = (16, 64, 64)


def test_what_was_put_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "TOGETHER", 2)
    given = [np.random.default_rng(seed).normal(size=SHAPE).astype(np.float16) for seed in range(1, 6)]
    room = Shelf(tmp_path, SHAPE, np.float16)
    kept = [room.put(array) for array in given]
    assert all(np.array_equal(a, b) for a, b in zip(given, kept, strict=True))
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_an_error(tmp_path: Path) -> None:
    array = np.zeros(SHAPE, np.uint8)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (array.nbytes, hard))
    try:
        with pytest.raises(StorageError, match="File too large"):
            Shelf(tmp_path, SHAPE, np.uint8).put(array)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
