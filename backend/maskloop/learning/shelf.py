"""Embeddings on disk while a model is trained: with several looks at each photo they fill no memory."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskloop.sam.values import EMBEDDING_SHAPE, Embedding

BYTES = 2 * int(np.prod(EMBEDDING_SHAPE))
TOGETHER = 64
"""Embeddings in one file: each file that is mapped stays open."""


class Shelf:
    """Files without a name: when the process ends, however it ends, they are gone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def put(self, embedding: Embedding) -> Embedding:
        """The same embedding, read from the disk when it is used. Raises OSError if it doesn't fit there."""
        place = self._count % TOGETHER
        if not place:
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 (as long as the shelf)
            self._file.truncate(TOGETHER * BYTES)
            self._mapped: NDArray[np.float16] = np.memmap(
                self._file, np.float16, mode="r", shape=(TOGETHER, *EMBEDDING_SHAPE)
            )
        self._file.seek(place * BYTES)
        self._file.write(np.ascontiguousarray(embedding.features, np.float16).data)
        self._file.flush()  # a full disk is an error here, not a crash when the page is written
        self._count += 1
        return Embedding(self._mapped[place], embedding.size)
