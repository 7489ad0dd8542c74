"""Where an image is looked at: point grids, and the crops of large images."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskloop.sam.values import ImageSize


class Crop(NamedTuple):
    """A part of an image, pixels, the far corner outside; ``layer`` 0 is the whole image, 1 its quarters, and so on."""

    x0: int
    y0: int
    x1: int
    y1: int
    layer: int

    @property
    def size(self) -> ImageSize:
        return ImageSize(self.y1 - self.y0, self.x1 - self.x0)


def point_grid(per_side: int) -> NDArray[np.float32]:
    """Centres of ``per_side`` x ``per_side`` cells, (N, 2) of x, y from 0 to 1, in row order."""
    centres = (np.arange(per_side, dtype=np.float32) + 0.5) / per_side
    return np.stack(np.meshgrid(centres, centres), axis=-1).reshape(-1, 2)


def crops(size: ImageSize, layers: int, overlap_ratio: float) -> Iterator[Crop]:
    """The whole image, then for each layer i a grid of 2^i x 2^i crops that overlap, as the official generator's.

    overlap_ratio: of the image's shorter side, in the first layer; half of it in the next, and so on.
    """
    yield Crop(0, 0, size.width, size.height, 0)
    for layer in range(1, layers + 1):
        per_side = 2**layer
        overlap = int(overlap_ratio * min(size) * 2 / per_side)
        width, height = (math.ceil((overlap * (per_side - 1) + side) / per_side) for side in (size.width, size.height))
        for column, row in product(range(per_side), repeat=2):
            x, y = column * (width - overlap), row * (height - overlap)
            yield Crop(x, y, min(x + width, size.width), min(y + height, size.height), layer)
