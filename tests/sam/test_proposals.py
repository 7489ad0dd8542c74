import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from maskloop.sam.proposals import Proposals
from maskloop.sam.values import ImageSize, Mask

SIZE = ImageSize(20, 30)


def disc(x: int, y: int, radius: int) -> np.ndarray:
    rows, columns = np.mgrid[: SIZE.height, : SIZE.width]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


LARGE, SMALL, OTHER = disc(10, 10, 8), disc(12, 10, 4), disc(24, 10, 4)
FOUND = Proposals.of([Mask(LARGE, 0.8), Mask(SMALL, 0.9), Mask(OTHER, 0.7)], SIZE)


@given(st.lists(st.tuples(arrays(bool, SIZE), st.floats(0, 1, width=32)), max_size=4))
def test_what_goes_in_comes_out_best_score_first(given_masks: list) -> None:
    masks = [Mask(pixels, score) for pixels, score in given_masks]
    expected = sorted((mask for mask in masks if mask.pixels.any()), key=lambda mask: -mask.score)
    proposals = Proposals.from_bytes(Proposals.of(masks, SIZE).to_bytes())
    assert len(proposals) == len(expected)
    assert proposals.size == SIZE
    for found, mask, area in zip(proposals, expected, proposals.areas, strict=True):
        assert np.array_equal(found.pixels, mask.pixels)
        assert found.score == mask.score
        assert area == mask.pixels.sum()


def test_boxes_are_around_the_pixels() -> None:
    assert FOUND.boxes.tolist() == [[8, 6, 17, 15], [2, 2, 19, 19], [20, 6, 29, 15]]


def test_no_proposals_are_proposals_too() -> None:
    nothing = Proposals.from_bytes(Proposals.of([], SIZE).to_bytes())
    assert len(nothing) == 0
    assert list(nothing) == []


def test_chosen_ones_keep_what_belongs_to_them() -> None:
    chosen = FOUND.chosen([2, 0])
    assert np.array_equal(chosen[0].pixels, OTHER)
    assert np.array_equal(chosen[1].pixels, SMALL)
    assert chosen.areas.tolist() == [OTHER.sum(), SMALL.sum()]


@given(st.integers(0, len(FOUND.to_bytes()) - 1))
def test_an_archive_cut_short_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="archive"):
        Proposals.from_bytes(FOUND.to_bytes()[:length])
