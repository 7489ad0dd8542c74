import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskloop.geometry import boxes


@st.composite
def some_boxes(draw: st.DrawFn, most: int = 30) -> np.ndarray:
    count = draw(st.integers(1, most))
    numbers = st.lists(st.integers(0, 40), min_size=2 * count, max_size=2 * count)
    corner, side = (np.array(draw(numbers), np.float32).reshape(count, 2) for _ in range(2))
    return np.concatenate([corner, corner + side], axis=1)


def pixels(box: np.ndarray) -> np.ndarray:
    mask = np.zeros((80, 80), bool)
    x0, y0, x1, y1 = box.astype(int)
    mask[y0:y1, x0:x1] = True
    return mask


@given(some_boxes(), some_boxes())
def test_iou_is_that_of_the_pixels(first: np.ndarray, second: np.ndarray) -> None:
    ious = boxes.iou(first, second)
    assert ious.shape == (len(first), len(second))
    a, b = pixels(first[0]), pixels(second[-1])
    assert ious[0, -1] == pytest.approx((a & b).sum() / max((a | b).sum(), 1))


def test_empty_and_inverted_boxes_have_no_area() -> None:
    assert boxes.area([[3, 3, 3, 9], [9, 9, 3, 3], [0, 0, 2, 5]]).tolist() == [0, 0, 10]
    assert boxes.iou([[3, 3, 3, 9]], [[3, 3, 3, 9]]).tolist() == [[0]]


@given(some_boxes(), st.data())
def test_nms_keeps_no_two_that_overlap_and_drops_none_without_cause(
    given_boxes: np.ndarray, data: st.DataObject
) -> None:
    scores = np.array(data.draw(st.lists(st.integers(0, 5), min_size=len(given_boxes), max_size=len(given_boxes))))
    kept = boxes.nms(given_boxes, scores, 0.5)
    overlaps = boxes.iou(given_boxes, given_boxes) > 0.5
    assert not (overlaps[np.ix_(kept, kept)] & ~np.eye(len(kept), dtype=bool)).any()
    for dropped in set(range(len(given_boxes))) - set(kept.tolist()):
        better = [k for k in kept if (-scores[k], k) < (-scores[dropped], dropped)]
        assert overlaps[dropped, better].any()
    assert (np.diff(scores[kept]) <= 0).all()


def test_nms_keeps_boxes_that_overlap_by_just_the_threshold() -> None:
    assert boxes.nms([[0, 0, 2, 1], [0, 0, 1, 1]], [0.9, 0.8], 0.5).tolist() == [0, 1]


def test_nms_of_nothing_is_nothing() -> None:
    assert boxes.nms(np.zeros((0, 4)), np.zeros(0), 0.5).tolist() == []


@given(some_boxes(most=1))
def test_the_box_of_a_mask_is_the_box_that_drew_it(drawn: np.ndarray) -> None:
    expected = drawn[0] if boxes.area(drawn)[0] else np.zeros(4)
    assert boxes.of_mask(pixels(drawn[0])) == tuple(expected.tolist())
