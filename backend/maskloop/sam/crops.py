"""Where an image is looked at: point grids, crops, and the tiles of large images."""

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
    """For each layer i a grid of 2^i x 2^i crops that overlap, as the official generator's.

    overlap_ratio: of the image's shorter side, in the first layer; half of it in the next, and so on.
    """
    for layer in range(1, layers + 1):
        per_side = 2**layer
        overlap = int(overlap_ratio * min(size) * 2 / per_side)
        width, height = (math.ceil((overlap * (per_side - 1) + side) / per_side) for side in (size.width, size.height))
        for column, row in product(range(per_side), repeat=2):
            x, y = column * (width - overlap), row * (height - overlap)
            yield Crop(x, y, min(x + width, size.width), min(y + height, size.height), layer)


def tiles(size: ImageSize, side: int, overlap_ratio: float) -> Iterator[Crop]:
    """Squares of this side that overlap and cover the image, if it is clearly larger.

    side: pixels. overlap_ratio: the least overlap of neighbours, of ``side``.
    """
    if max(size) > 1.5 * side:
        step = side * (1 - overlap_ratio)
        starts = [_spread(length, side, step) for length in (size.width, size.height)]
        for x, y in product(*starts):
            yield Crop(x, y, min(x + side, size.width), min(y + side, size.height), 1)


def _spread(length: int, side: int, step: float) -> list[int]:
    """Where tiles start, evenly, the first at 0 and the last ending at ``length``."""
    rest = max(length - side, 0)
    return [round(place) for place in np.linspace(0, rest, math.ceil(rest / step) + 1)]
