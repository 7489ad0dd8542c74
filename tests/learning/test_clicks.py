"""Simulated annotators click where people would."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from maskloop.learning.clicks import correction, drawn_box, first_click, places
from maskloop.sam.preprocess import to_square_points
from maskloop.sam.values import ImageSize

some_masks = arrays(bool, st.tuples(st.integers(2, 24), st.integers(2, 24))).filter(np.any)


@given(some_masks, st.integers(0, 1000))
def test_a_first_click_is_on_the_object_and_its_box_around_it(mask: np.ndarray, seed: int) -> None:
    chance = np.random.default_rng(seed)
    found = places(mask, chance)
    point = first_click(found, chance)
    ys, xs = np.nonzero(mask)
    on_object = to_square_points(np.stack([xs, ys], axis=1).astype(np.float32), ImageSize(*mask.shape))
    assert np.abs(on_object - point).sum(1).min() < 1e-3
    assert (found.points >= found.box[:2] - 1e-3).all()
    assert (found.points <= found.box[2:] + 1e-3).all()
    assert found.chances.sum() == pytest.approx(1)


def test_most_first_clicks_go_deep_inside() -> None:
    mask = np.zeros((60, 60), bool)
    mask[10:50, 10:50] = True
    chance = np.random.default_rng(0)
    found = places(mask, chance)
    clicks = np.array([first_click(found, chance) for _ in range(400)]) * 60 / 1024
    depth = np.minimum(clicks - 9, 50 - clicks).min(1)
    assert np.median(depth) > 8
    assert depth.min() < 5


def test_an_empty_mask_cannot_be_clicked() -> None:
    with pytest.raises(ValueError, match="empty"):
        places(np.zeros((5, 5), bool), np.random.default_rng(0))


def test_a_drawn_box_is_about_the_objects() -> None:
    mask = np.zeros((100, 100), bool)
    mask[20:60, 30:90] = True
    found = places(mask, np.random.default_rng(0))
    boxes = np.array([drawn_box(found, np.random.default_rng(seed)).ravel() for seed in range(200)])
    assert np.abs(boxes.mean(0) - found.box).max() < 5
    assert np.abs(boxes - found.box).max() < 0.07 * 60 / 100 * 1024


@given(arrays(bool, (12, 12)), arrays(bool, (12, 12)), st.integers(0, 1000))
def test_a_correction_lands_on_an_error_and_says_which(truth: np.ndarray, predicted: np.ndarray, seed: int) -> None:
    click = correction(truth, predicted, np.random.default_rng(seed))
    if (truth == predicted).all():
        assert click is None
        return
    assert click is not None
    (x, y), label = (click[0] - 1.5) / 4, click[1]
    assert truth[int(y), int(x)] == bool(label)
    assert predicted[int(y), int(x)] != bool(label)


def test_a_correction_goes_to_the_larger_kind_of_error() -> None:
    truth, predicted = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    truth[2:10, 2:10] = True
    predicted[12:14, 12:14] = True
    click = correction(truth, predicted, np.random.default_rng(0))
    assert click is not None
    assert click[1] == 1
