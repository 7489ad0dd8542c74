"""Which points of a grid need not be asked, because the answer can be foreseen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from maskloop.sam.preprocess import to_square_points
from maskloop.sam.values import EMBEDDING_SHAPE, IMAGE_SIDE, Embedding

_, CELLS, _ = EMBEDDING_SHAPE


def coarse_to_fine(per_side: int) -> list[NDArray[np.intp]]:
    """The points of a grid, indices in row order, in rounds: each round is spread over the image, between the earlier.

    The order of ordered dithering (Bayer, 1973): at most 64 rounds.
    """
    order: NDArray[np.intp] = np.zeros((1, 1), np.intp)
    while len(order) < min(per_side, 8):
        order = np.block([[4 * order, 4 * order + 2], [4 * order + 3, 4 * order + 1]])
    repeats = -(-per_side // len(order))
    ranks = np.tile(order, (repeats, repeats))[:per_side, :per_side].ravel()
    rounds = (np.flatnonzero(ranks == rank) for rank in range(order.size))
    return [points for points in rounds if points.size]


class Coverage:
    """What is known of a grid of points while an image is asked for its objects.

    A point is spared if another one within ``reach`` cells of it was asked, lies under the same masks, at least one,
    and looks alike to the encoder: the cosine of their features, less the image's mean, is at least ``likeness``.
    """

    def __init__(
        self, embedding: Embedding, points: NDArray[np.float32], per_side: int, reach: int, likeness: float
    ) -> None:
        """points: float32 (``per_side`` squared, 2), x y in pixels of the image, in row order."""
        features = _features(embedding, points)
        self._near = _neighbours(per_side, reach)
        self._alike = np.stack([(features * features[near]).sum(axis=1) >= likeness for near in self._near.T], axis=1)
        self._asked = np.zeros(len(points), bool)
        self._under = np.zeros(len(points), np.uint64)
        self._chance = np.random.default_rng(0)

    def open(self, points: NDArray[np.intp]) -> NDArray[np.intp]:
        """Those of the points, indices, that are not spared; they count as asked from now on."""
        near, under = self._near[points], self._under[points, None]
        spared = (self._asked[near] & self._alike[points] & (self._under[near] == under) & (under != 0)).any(axis=1)
        left: NDArray[np.intp] = points[~spared]
        self._asked[left] = True
        return left

    def add(self, covered: NDArray[np.bool_]) -> None:
        """Count in a mask, given which of all points lie under it."""
        self._under[covered] ^= self._chance.integers(1, 2**64, dtype=np.uint64)  # a set of masks is the xor of theirs


def _neighbours(per_side: int, reach: int) -> NDArray[np.intp]:
    """Indices of the points within ``reach`` cells of each, (points, places); beyond the grid's edge the edge's."""
    cells, steps = np.arange(per_side), np.arange(-reach, reach + 1)
    beside = np.clip(cells[:, None] + steps, 0, per_side - 1)
    near: NDArray[np.intp] = beside[:, None, :, None] * per_side + beside[None, :, None, :]
    return near.reshape(per_side**2, -1)


def _features(embedding: Embedding, points: NDArray[np.float32]) -> NDArray[np.float32]:
    """The encoder's features at points, (N, 256), less their mean, of length 1."""
    cells = (to_square_points(points, embedding.size) * (CELLS / IMAGE_SIDE)).astype(int).clip(0, CELLS - 1)
    features = embedding.features[:, cells[:, 1], cells[:, 0]].T.astype(np.float32)
    features -= features.mean(axis=0)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    unit: NDArray[np.float32] = features / np.maximum(lengths, 1e-6)
    return unit
