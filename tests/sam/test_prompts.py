"""Prompts become the points that the network was trained on."""

from __future__ import annotations

import numpy as np
import pytest

from maskloop.sam.prompts import (
    BOX_BOTTOM_RIGHT,
    BOX_TOP_LEFT,
    NOT_A_POINT,
    OFF_OBJECT,
    ON_OBJECT,
    by_shape,
    stack,
    to_points,
)
from maskloop.sam.values import ImageSize, Prompt

SIZE = ImageSize(512, 256)
BOX = np.array([1, 2, 30, 40], np.float32)
MASK = np.ones((256, 256), np.float32)


def clicks(*labels: int, box: np.ndarray | None = None, mask: np.ndarray | None = None) -> Prompt:
    points = np.arange(2 * len(labels), dtype=np.float32).reshape(-1, 2)
    return Prompt(points, np.array(labels, np.int8), box, mask)


def test_points_without_a_box_are_followed_by_one_that_is_none() -> None:
    points, kinds = to_points(clicks(1, 0), SIZE)
    assert kinds.tolist() == [ON_OBJECT, OFF_OBJECT, NOT_A_POINT]
    assert points.tolist() == [[0, 2], [4, 6], [0, 0]], "twice as large, as the image becomes"


def test_a_box_is_two_more_points() -> None:
    points, kinds = to_points(clicks(1, box=BOX), SIZE)
    assert kinds.tolist() == [ON_OBJECT, BOX_TOP_LEFT, BOX_BOTTOM_RIGHT]
    assert points.tolist() == [[0, 2], [2, 4], [60, 80]]
    assert to_points(clicks(box=BOX), SIZE)[1].tolist() == [BOX_TOP_LEFT, BOX_BOTTOM_RIGHT]


def test_a_mask_alone_is_no_point() -> None:
    points, kinds = to_points(clicks(mask=MASK), SIZE)
    assert (points.shape, kinds.shape) == ((0, 2), (0,))


def test_prompts_of_one_shape_are_stacked() -> None:
    batch = stack([clicks(1, mask=MASK), clicks(0, mask=2 * MASK)], [SIZE, SIZE])
    assert (batch.points.shape, batch.kinds.tolist()) == ((2, 2, 2), [[1, -1], [0, -1]])
    assert batch.masks is not None
    assert batch.masks[:, 0, 0].tolist() == [1, 2]
    assert stack([clicks(1)], [SIZE]).masks is None


def test_prompts_are_grouped_by_what_can_be_stacked() -> None:
    prompts = [clicks(1), clicks(1, 1), clicks(0), clicks(box=BOX), clicks(1, mask=MASK), clicks(1, box=BOX), clicks(1)]
    assert sorted(by_shape(prompts)) == [[0, 2, 6], [1], [3], [4], [5]]
    assert by_shape([]) == []


@pytest.mark.parametrize("prompts", [[clicks(1), clicks(1, 1)]])
def test_prompts_of_several_shapes_are_not_stacked(prompts: list[Prompt]) -> None:
    with pytest.raises(ValueError, match="shape"):
        stack(prompts, [SIZE] * len(prompts))
