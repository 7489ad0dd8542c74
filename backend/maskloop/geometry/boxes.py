"""Boxes: float arrays (N, 4) of x0, y0, x1, y1 in pixels, the far corner included or not as the caller has it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Boxes = NDArray[np.float32]


def area(boxes: ArrayLike) -> Boxes:
    """Width times height, (N,); 0 for a box turned inside out."""
    b = np.asarray(boxes, np.float32).reshape(-1, 4)
    sides: Boxes = np.clip(b[:, 2:] - b[:, :2], 0, None)
    return sides[:, 0] * sides[:, 1]


def iou(first: ArrayLike, second: ArrayLike) -> Boxes:
    """Intersection over union of each of N boxes with each of M, (N, M); 0 where both are empty."""
    a, b = (np.asarray(boxes, np.float32).reshape(-1, 4) for boxes in (first, second))
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    sides: Boxes = np.clip(high - low, 0, None)
    both: Boxes = sides[..., 0] * sides[..., 1]
    either: Boxes = area(a)[:, None] + area(b)[None, :] - both
    np.divide(both, either, out=both, where=either > 0)
    return both


def nms(boxes: ArrayLike, scores: ArrayLike, threshold: float) -> NDArray[np.intp]:
    """Indices of the boxes that stay, best score first: each one drops those whose IoU with it is over ``threshold``.

    Of equal scores the earlier box goes first. The greedy non-maximum suppression of detectors.
    """
    b = np.asarray(boxes, np.float32).reshape(-1, 4)
    waiting = np.argsort(-np.asarray(scores), kind="stable")
    kept = []
    while waiting.size:
        best, waiting = waiting[0], waiting[1:]
        kept.append(best)
        waiting = waiting[iou(b[best], b[waiting])[0] <= threshold]
    return np.asarray(kept, np.intp)


def of_mask(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Smallest box around the true pixels of (H, W): x0, y0, x1, y1, the far corner just outside; zeros if empty."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not columns.size:
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
