"""Clicks answered from proposals that are there already: two clicks to a box, and nothing is computed."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maskloop.geometry import boxes
from maskloop.sam.proposals import Proposals

CELLS = 64
"""Cells of the grid a side."""

AS_LARGE = 2.0
"""A mask that holds all clicks is meant if its box is at most so many times as large as the smallest box around them:
corners of a small object may lie on a large one behind it."""

Bits = NDArray[np.bool_]
Places = NDArray[np.intp]
"""x, y of pixels, (N, 2)."""


class Picker:
    """The proposals of one image, and in each cell of a grid over it those that reach there, small before large."""

    def __init__(self, proposals: Proposals) -> None:
        self.proposals = proposals
        self._by_area = np.argsort(proposals.areas, kind="stable")
        self._reaching = _reaching(proposals, self._by_area)

    def pick(self, points: ArrayLike, labels: ArrayLike | None = None) -> int | None:
        """Index of the proposal that clicks mean; None if there is none, or no click on the object.

        The smallest mask that holds all clicks, and none off the object; where several clicks lie on no such mask
        together, as corners do, the one of the smallest box around them. points: x, y in pixels of the image,
        (N, 2); labels: 1 on the object, 0 off it, (N,), by default all 1.
        """
        places = np.floor(np.asarray(points, np.float64).reshape(-1, 2)).astype(np.intp)
        on = np.ones(len(places), bool) if labels is None else np.asarray(labels).astype(bool)
        wanted, unwanted = places[on], places[~on]
        around = [index for index in self._boxes_around(wanted) if not self._holds(index, unwanted).any()]
        if not around:
            return None
        areas = boxes.area(self.proposals.boxes[around])
        largest = AS_LARGE * areas.min() if len(wanted) > 1 else np.inf
        for index, area in zip(around, areas, strict=True):
            if area <= largest and self._holds(index, wanted).all():
                return int(index)
        return int(around[areas.argmin()]) if len(wanted) > 1 else None

    def _boxes_around(self, places: Places) -> NDArray[np.intp]:
        """The proposals whose boxes hold all these pixels, those of the smallest masks first."""
        size, found = self.proposals.size, self.proposals.boxes
        if not len(places) or places.min() < 0 or (places >= (size.width, size.height)).any():
            return np.zeros(0, np.intp)
        x, y = (places * CELLS // (size.width, size.height)).T
        candidates = self._by_area[self._reaching[y, x].all(axis=0)]
        low, high = places.min(axis=0), places.max(axis=0)
        inside = (found[candidates, :2] <= low) & (high < found[candidates, 2:])
        fitting: NDArray[np.intp] = candidates[inside.all(axis=1)]
        return fitting

    def _holds(self, index: int, places: Places) -> Bits:
        """Which of these pixels lie on the mask, (N,)."""
        x0, y0, x1, y1 = self.proposals.boxes[index]
        x, y = places.T
        held: Bits = (x0 <= x) & (x < x1) & (y0 <= y) & (y < y1)
        if held.any():
            held[held] = self.proposals.cutout(index)[y[held] - y0, x[held] - x0]
        return held


def _reaching(proposals: Proposals, order: NDArray[np.intp]) -> Bits:
    """Whether the box of each proposal, in this order, reaches each cell, (CELLS, CELLS, N)."""
    limits = np.array([proposals.size.width, proposals.size.height] * 2)
    x0, y0, x1, y1 = ((proposals.boxes[order] - (0, 0, 1, 1)) * CELLS // limits).T
    cells = np.arange(CELLS)[:, None]
    across, down = (x0 <= cells) & (cells <= x1), (y0 <= cells) & (cells <= y1)
    reaching: Bits = down[:, None] & across[None]
    return reaching
