import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from maskloop.geometry import masks

some_mask = arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)))


@given(some_mask)
def test_the_deepest_point_is_farthest_from_outside_and_first_of_equals(mask: np.ndarray) -> None:
    if not mask.any():
        with pytest.raises(ValueError, match="empty"):
            masks.deepest_point(mask)
        return
    framed = np.pad(mask, 1)
    outside = np.argwhere(~framed)
    depth = [(((outside - inside) ** 2).sum(axis=1).min(), tuple(inside - 1)) for inside in np.argwhere(framed)]
    deepest = max(depth, key=lambda found: found[0])[1]
    assert masks.deepest_point(mask) == (deepest[1], deepest[0])


def test_the_image_border_is_outside() -> None:
    assert masks.deepest_point(np.ones((5, 9), bool)) == (2, 2)


def test_iou_of_masks() -> None:
    left, right = np.zeros((2, 4), bool), np.zeros((2, 4), bool)
    assert masks.iou(left, right) == 0
    left[:, :2] = True
    right[:, 1:3] = True
    assert masks.iou(left, right) == pytest.approx(1 / 3)
    assert masks.iou(left, left) == 1


def test_the_largest_component_hangs_together_by_corners() -> None:
    drawn = np.array([[1, 0, 0, 0, 1], [0, 1, 0, 0, 1], [0, 0, 1, 0, 0]], bool)
    assert np.argwhere(masks.largest_component(drawn)).tolist() == [[0, 0], [1, 1], [2, 2]]
    assert not masks.largest_component(np.zeros((3, 3), bool)).any()


def test_small_holes_are_filled_and_small_islands_removed() -> None:
    drawn = np.zeros((60, 60), bool)
    drawn[2:12, 2:12] = True
    drawn[4:6, 4:6] = drawn[8:11, 8:11] = False
    drawn[15:17, 15:17] = drawn[range(20, 26), range(20, 26)] = True
    cleared = masks.without_small_regions(drawn, 5)
    assert cleared[4:6, 4:6].all()
    assert not cleared[8:11, 8:11].any()
    assert not cleared[15:17, 15:17].any()
    assert cleared[range(20, 26), range(20, 26)].all(), "an island may hang together by corners"
    assert masks.without_small_regions(drawn, 1000).sum() == 100, "the largest island stays"
