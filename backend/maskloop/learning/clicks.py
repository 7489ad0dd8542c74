"""Simulated annotators: the clicks and boxes from which a model learns to find a mask that is known.

Points are xy in pixels of the 1024 square, like everything the network takes; masks are (256, 256), as it gives them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskloop.geometry import boxes, masks
from maskloop.sam.preprocess import to_square_points
from maskloop.sam.values import IMAGE_SIDE, LOGITS_SIDE, ImageSize

STRIDE = IMAGE_SIDE // LOGITS_SIDE
MOST_PLACES = 256
"""Places kept of one object to click on."""
DEEPEST = 0.5
"""Share of first clicks that go to the deepest point: people aim for the middle."""
DEPTH_POWER = 1.5
"""How strongly the other first clicks prefer what lies deep inside."""
BOX_JITTER = 0.015
"""Deviation of a drawn box's sides, as a share of its own."""


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where people may point at one object.

    points: float32 (P, 2), the deepest first; chances: float64 (P,), of a first click there, sum 1.
    box: float32 (4,), x0 y0 x1 y1.
    """

    points: NDArray[np.float32]
    chances: NDArray[np.float64]
    box: NDArray[np.float32]


def places(mask: NDArray[np.bool_], chance: np.random.Generator) -> Places:
    """Places on a mask (height, width) of an image. Raises ValueError if it is empty."""
    depth = masks.distance_inside(mask)
    ys, xs = np.nonzero(mask)
    if not len(xs):
        raise ValueError("an empty mask can't be clicked")
    depths = depth[ys, xs].astype(np.float64)
    deepest = int(depths.argmax())
    weights = (depths / depths[deepest]) ** DEPTH_POWER
    drawn = chance.choice(len(xs), min(len(xs), MOST_PLACES) - 1, replace=False) if len(xs) > 1 else np.array([], int)
    chosen = np.concatenate([[deepest], drawn])
    chances = (1 - DEEPEST) * weights[chosen] / weights[chosen].sum()
    chances[0] += DEEPEST
    size = ImageSize(*mask.shape)
    box = np.array(boxes.of_mask(mask), np.float32).reshape(2, 2)
    points = np.stack([xs, ys], axis=1)[chosen].astype(np.float32)
    return Places(to_square_points(points, size), chances, to_square_points(box, size).ravel())


def first_click(found: Places, chance: np.random.Generator) -> NDArray[np.float32]:
    """A point (2,) on the object."""
    point: NDArray[np.float32] = found.points[chance.choice(len(found.points), p=found.chances)]
    return point


def drawn_box(found: Places, chance: np.random.Generator) -> NDArray[np.float32]:
    """The corners (2, 2) of a box that somebody drew around the object, about exactly."""
    x0, y0, x1, y1 = found.box
    sides = np.array([x1 - x0, y1 - y0] * 2, np.float32)
    noise = np.clip(chance.normal(0, BOX_JITTER, 4), -2 * BOX_JITTER, 2 * BOX_JITTER).astype(np.float32)
    return (found.box + noise * sides).reshape(2, 2)


def correction(
    truth: NDArray[np.bool_], predicted: NDArray[np.bool_], chance: np.random.Generator
) -> tuple[NDArray[np.float32], int] | None:
    """The next click, (2,), and its label: at or near the deepest point of the largest error; None if there is none."""
    missing, excess = truth & ~predicted, predicted & ~truth
    label = int(np.count_nonzero(missing) >= np.count_nonzero(excess))
    error = missing if label else excess
    if not error.any():
        return None
    depth = masks.distance_inside(masks.largest_component(error))
    near = np.argwhere(depth >= depth.max() * (1.0 if chance.random() < 0.5 else 0.7))
    y, x = near[chance.integers(len(near))]
    return np.array([x, y], np.float32) * STRIDE + (STRIDE - 1) / 2, label
