import numpy as np
import pytest

from maskloop.sam.nesting import Granularity, choose
from maskloop.sam.proposals import Proposals
from maskloop.sam.values import ImageSize, Mask

SIZE = ImageSize(400, 600)


def box(x0: int, y0: int, x1: int, y1: int) -> Mask:
    pixels = np.zeros(SIZE, bool)
    pixels[y0:y1, x0:x1] = True
    return Mask(pixels, 0.9)


CAR, DOOR, HANDLE, TREE = (
    box(50, 100, 350, 300),
    box(100, 150, 200, 280),
    box(180, 200, 195, 210),
    box(400, 20, 500, 380),
)
FOUND = Proposals.of([CAR, DOOR, HANDLE, TREE], SIZE)


@pytest.mark.parametrize(
    ("granularity", "expected"),
    [("all", [CAR, DOOR, HANDLE, TREE]), ("whole", [CAR, TREE]), ("parts", [DOOR, HANDLE, TREE])],
)
def test_nested_masks_by_granularity(granularity: Granularity, expected: list[Mask]) -> None:
    chosen = choose(FOUND, granularity)
    assert [mask.pixels.sum() for mask in chosen] == [mask.pixels.sum() for mask in expected]


def test_a_mask_with_a_hole_does_not_hold_what_lies_in_it() -> None:
    table = box(0, 0, 600, 400)
    table.pixels[140:290, 90:210] = False
    kept = choose(Proposals.of([table, DOOR], SIZE), "whole")
    assert len(kept) == 2


def test_nothing_stays_nothing() -> None:
    assert len(choose(Proposals.of([], SIZE), "whole")) == 0
