"""Clicks are answered by the smallest proposal that they mean."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from maskloop.sam.picking import Picker
from maskloop.sam.proposals import Proposals
from maskloop.sam.values import ImageSize, Mask

SIZE = ImageSize(20, 30)


def disc(x: int, y: int, radius: int) -> np.ndarray:
    rows, columns = np.mgrid[: SIZE.height, : SIZE.width]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


SMALL, LARGE, OTHER = 0, 1, 2
PICKER = Picker(
    Proposals.of([Mask(disc(12, 10, 4), 0.9), Mask(disc(10, 10, 8), 0.8), Mask(disc(24, 10, 4), 0.7)], SIZE)
)


@pytest.mark.parametrize(
    ("points", "found"),
    [([(12, 10)], SMALL), ([(12.9, 10.2), (9, 10)], SMALL), ([(12, 10), (4, 10)], LARGE), ([(24, 10)], OTHER)],
)
def test_the_smallest_mask_that_holds_all_clicks_answers(points: list, found: int) -> None:
    assert PICKER.pick(points) == found


def test_one_click_beside_a_mask_does_not_mean_it() -> None:
    assert PICKER.pick([(2.5, 2.5)]) is None


def test_two_corners_mean_the_smallest_box_around_them() -> None:
    assert PICKER.pick([(20.5, 6.5), (28, 14)]) == OTHER
    assert PICKER.pick([(2.5, 2.5), (18, 18)]) == LARGE


def test_corners_that_lie_on_something_large_behind_do_not_mean_that() -> None:
    background = np.ones(SIZE, bool) & ~disc(24, 10, 4)
    picker = Picker(Proposals.of([Mask(background, 0.9), Mask(disc(24, 10, 4), 0.7)], SIZE))
    assert picker.pick([(20.5, 6.5), (28, 14)]) == 1
    assert picker.pick([(2, 2), (28, 18)]) == 0


def test_a_click_off_the_object_rules_out_what_it_lies_on() -> None:
    assert PICKER.pick([(12, 10), (14, 10)], [1, 0]) is None
    assert PICKER.pick([(4, 10), (12, 10)], [1, 0]) is None
    assert PICKER.pick([(12, 10), (4, 10)], [1, 0]) == SMALL
    assert PICKER.pick([(12, 10), (29, 19)], [1, 0]) == SMALL


@pytest.mark.parametrize("points", [[], [(-1, 10)], [(30, 10)], [(12, 20)], [(12, 10), (24, 10)]])
def test_clicks_that_no_proposal_holds_pick_none(points: list) -> None:
    assert PICKER.pick(points) is None


def test_where_nothing_was_proposed_nothing_is_picked() -> None:
    assert Picker(Proposals.of([], SIZE)).pick([(1, 1)]) is None


POINT = st.tuples(st.integers(0, SIZE.width - 1), st.integers(0, SIZE.height - 1))


@given(st.lists(arrays(bool, SIZE), max_size=4), POINT, POINT)
def test_whatever_the_masks_are_the_pick_is_the_smallest_that_fits(found: list, one: tuple, other: tuple) -> None:
    proposals = Proposals.of([Mask(pixels, 0.5) for pixels in found], SIZE)
    fitting = [
        int(mask.pixels.sum())
        for mask in proposals
        if mask.pixels[one[1], one[0]] and not mask.pixels[other[1], other[0]]
    ]
    picked = Picker(proposals).pick([one, other], [1, 0])
    assert (None if picked is None else int(proposals.areas[picked])) == min(fitting, default=None)
