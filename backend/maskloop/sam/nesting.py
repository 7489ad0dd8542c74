"""Masks inside masks: whole objects, or their parts."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from maskloop.sam.proposals import Proposals

Granularity = Literal["all", "whole", "parts"]
"""all: whatever was found. whole: of nested masks the outermost. parts: the innermost, details aside."""

INSIDE = 0.9
"""A mask is inside another if at least so much of it is."""
PART = 0.05
"""What fills less of a mask than this is a detail on it, not a part of it."""
THUMBNAIL = 256
"""Longest side, pixels, at which masks are compared."""


def choose(proposals: Proposals, granularity: Granularity) -> Proposals:
    """The proposals of one granularity, in their order."""
    if granularity == "all" or len(proposals) < 2:
        return proposals
    inside = containment(proposals) >= INSIDE
    smaller = proposals.areas[:, None] < proposals.areas
    nested = inside & smaller
    if granularity == "whole":
        dropped = nested.any(axis=1)
    else:
        parts = nested & (proposals.areas[:, None] >= PART * proposals.areas)
        dropped = parts.any(axis=0)
    return proposals.chosen(np.flatnonzero(~dropped))


def containment(proposals: Proposals) -> NDArray[np.float32]:
    """How much of each mask lies inside each other one, (N, N), about 0 to 1."""
    height, width = proposals.size
    scale = min(THUMBNAIL / max(height, width), 1)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    small = [cv2.resize(mask.pixels.astype(np.float32), size, interpolation=cv2.INTER_AREA) for mask in proposals]
    flat = np.stack(small).reshape(len(proposals), -1)
    shared = flat @ flat.T
    return np.asarray(shared / np.maximum((flat * flat).sum(axis=1, keepdims=True), 1e-6), np.float32)
