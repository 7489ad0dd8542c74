import numpy as np
import pytest

from maskloop.sam.coverage import Coverage, coarse_to_fine
from maskloop.sam.crops import point_grid
from maskloop.sam.values import Embedding, ImageSize


@pytest.mark.parametrize("per_side", [1, 3, 8, 12, 32])
def test_rounds_ask_each_point_once(per_side: int) -> None:
    asked = np.concatenate(coarse_to_fine(per_side))
    assert sorted(asked.tolist()) == list(range(per_side**2))


def test_each_round_lies_between_the_earlier_ones() -> None:
    rounds = coarse_to_fine(32)
    for count, spacing in ((1, 8), (4, 4), (16, 2)):
        rows, columns = np.divmod(np.sort(np.concatenate(rounds[:count])), 32)
        assert set(np.diff(np.unique(rows))) == set(np.diff(np.unique(columns))) == {spacing}


def coverage(likeness: float = 0.5, reach: int = 1) -> Coverage:
    """A grid of 4 x 4 points; to the encoder the left half of the image differs from the right half."""
    features = np.zeros((256, 64, 64), np.float16)
    features[0, :, :32] = 1
    size = ImageSize(100, 100)
    return Coverage(Embedding(features, size), point_grid(4) * np.float32(100), 4, reach, likeness)


EVERYWHERE = np.ones(16, bool)


def opened(known: Coverage, *points: int) -> list[int]:
    return known.open(np.array(points, np.intp)).tolist()


def test_without_any_mask_no_point_is_spared() -> None:
    known = coverage()
    assert opened(known, 0) == [0]
    assert opened(known, 1) == [1]


def test_a_neighbour_under_the_same_mask_that_looks_alike_is_spared() -> None:
    known = coverage()
    opened(known, 0)
    known.add(EVERYWHERE)
    assert opened(known, 1, 4, 5) == []


def test_a_point_too_far_away_is_asked() -> None:
    known = coverage()
    opened(known, 0)
    known.add(EVERYWHERE)
    assert opened(known, 8) == [8]
    assert opened(coverage(reach=2), 8) == [8]


def test_a_point_at_the_other_edge_is_no_neighbour() -> None:
    known = coverage()
    opened(known, 3)
    known.add(EVERYWHERE)
    assert opened(known, 4) == [4]


def test_a_neighbour_that_looks_different_is_asked() -> None:
    known = coverage()
    opened(known, 1)
    known.add(EVERYWHERE)
    assert opened(known, 2) == [2]
    unlike = coverage(likeness=-1)
    opened(unlike, 1)
    unlike.add(EVERYWHERE)
    assert opened(unlike, 2) == []


def test_a_neighbour_under_other_masks_is_asked() -> None:
    known = coverage()
    opened(known, 0)
    known.add(EVERYWHERE)
    top = EVERYWHERE.copy()
    top[4:] = False
    known.add(top)
    assert opened(known, 1, 4, 5) == [4, 5]
    known.add(~top)
    assert opened(known, 9) == [], "4 and 5 stand for it"
