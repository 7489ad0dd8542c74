"""From prompts to what the network takes: a few points of five kinds for each, grouped by number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskloop.sam.preprocess import to_square_points
from maskloop.sam.values import ImageSize, Prompt

NOT_A_POINT, OFF_OBJECT, ON_OBJECT, BOX_TOP_LEFT, BOX_BOTTOM_RIGHT = -1, 0, 1, 2, 3
"""The kinds of points that the network knows."""


class PromptBatch(NamedTuple):
    """Prompts of one shape, ready for the network.

    points: float32 (N, P, 2), xy in pixels of the 1024 square; P may be 0 if there is a mask.
    kinds: int64 (N, P), as above.
    masks: float32 (N, 256, 256) or None.
    """

    points: NDArray[np.float32]
    kinds: NDArray[np.int64]
    masks: NDArray[np.float32] | None


def by_shape(prompts: Sequence[Prompt]) -> list[list[int]]:
    """The places of prompts that can be stacked. None has to be padded so, and each gets what it would alone."""
    groups: dict[tuple[int, bool, bool], list[int]] = {}
    for index, prompt in enumerate(prompts):
        shape = (len(prompt.points), prompt.box is not None, prompt.mask_logits is not None)
        groups.setdefault(shape, []).append(index)
    return list(groups.values())


def stack(prompts: Sequence[Prompt], sizes: Sequence[ImageSize]) -> PromptBatch:
    """Prompts of one shape, each with the size of its image."""
    points, kinds = zip(*(to_points(*placed) for placed in zip(prompts, sizes, strict=True)), strict=True)
    masks = [prompt.mask_logits for prompt in prompts if prompt.mask_logits is not None]
    return PromptBatch(np.stack(points), np.stack(kinds), np.stack(masks) if masks else None)


def to_points(prompt: Prompt, size: ImageSize) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """A prompt's points and their kinds: its own, then the two corners of its box.

    The network was trained with a box or, in its place, one point that is none: points alone are followed by it.
    """
    points, kinds = to_square_points(prompt.points, size), prompt.labels.astype(np.int64)
    if prompt.box is not None:
        corners = to_square_points(prompt.box.reshape(2, 2), size)
        return np.concatenate([points, corners]), np.append(kinds, [BOX_TOP_LEFT, BOX_BOTTOM_RIGHT])
    if len(points):
        return np.concatenate([points, np.zeros((1, 2), np.float32)]), np.append(kinds, NOT_A_POINT)
    return points, kinds
