"""Arrays on disk while a model is trained: with several looks at each photo they fill no memory."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from maskloop.files import storing

Kind = TypeVar("Kind", bound=np.generic)
TOGETHER = 64
"""Arrays in one file: each file that is mapped stays open."""


class Shelf(Generic[Kind]):
    """Arrays of one shape and kind, in files without a name: when the process ends, however it ends, they are gone."""

    def __init__(self, folder: Path, shape: tuple[int, ...], kind: type[Kind]) -> None:
        self._folder = folder
        self._shape, self._kind = shape, np.dtype(kind)
        self._count = 0

    def put(self, array: NDArray[Kind]) -> NDArray[Kind]:
        """The same array, read from the disk when it is used. Raises StorageError if it doesn't fit there."""
        size = self._kind.itemsize * int(np.prod(self._shape))
        place = self._count % TOGETHER
        with storing(self._folder):
            if not place:
                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 (as long as the shelf)
                self._file.truncate(TOGETHER * size)
                self._mapped: NDArray[Kind] = np.memmap(
                    self._file, self._kind, mode="r", shape=(TOGETHER, *self._shape)
                )
            self._file.seek(place * size)
            self._file.write(np.ascontiguousarray(array, self._kind).data)
            self._file.flush()  # a full disk is an error here, not a crash when the page is written
        self._count += 1
        put: NDArray[Kind] = self._mapped[place]
        return put
