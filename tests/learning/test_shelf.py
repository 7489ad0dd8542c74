"""Embeddings on disk are those that were put there, and leave no file behind."""

import resource
from pathlib import Path

import numpy as np
import pytest

from maskloop.learning import shelf
from maskloop.learning.shelf import Shelf
from maskloop.sam.values import EMBEDDING_SHAPE, Embedding, ImageSize


def test_what_was_put_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "TOGETHER", 2)
    given = [
        Embedding(np.random.default_rng(seed).normal(size=EMBEDDING_SHAPE).astype(np.float16), ImageSize(9, seed))
        for seed in range(1, 6)
    ]
    room = Shelf(tmp_path)
    kept = [room.put(embedding) for embedding in given]
    assert all(np.array_equal(a.features, b.features) for a, b in zip(given, kept, strict=True))
    assert [embedding.size for embedding in kept] == [embedding.size for embedding in given]
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_an_error(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (shelf.BYTES, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            Shelf(tmp_path).put(Embedding(np.zeros(EMBEDDING_SHAPE, np.float16), ImageSize(9, 9)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
