"""Masks: bool arrays (height, width)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks of one shape; 0 if both are empty."""
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 0.0


def distance_inside(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Distance of each pixel of the mask to the nearest outside it or beyond the border, in pixels; 0 outside."""
    framed = np.pad(mask.astype(np.uint8), 1)
    depth = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    return np.asarray(depth, np.float32)


def deepest_point(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """The pixel x, y of the mask that is farthest from what is outside, the first in row order of equals.

    See ``distance_inside``. Raises ValueError if the mask is empty.
    """
    depth = distance_inside(mask)
    y, x = np.unravel_index(int(np.argmax(depth)), depth.shape)
    if not mask[y, x]:
        raise ValueError("an empty mask has no deepest point")
    return int(x), int(y)


def largest_component(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The part of most pixels among those that hang together (sides or corners), the first in row order of equals."""
    _, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    return parts == 1 + int(areas.argmax()) if areas.size else np.zeros_like(mask)


def without_small_regions(mask: NDArray[np.bool_], area: int) -> NDArray[np.bool_]:
    """The mask with its holes of fewer than ``area`` pixels filled, then its islands of fewer removed.

    The largest island stays, however small.
    """
    filled = mask | _small_components(~mask, area)
    kept = filled & ~_small_components(filled, area)
    return kept if kept.any() else largest_component(filled)


def _small_components(mask: NDArray[np.bool_], area: int) -> NDArray[np.bool_]:
    _, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    small = stats[:, cv2.CC_STAT_AREA] < area
    small[0] = False
    found: NDArray[np.bool_] = small[parts]
    return found
