"""A photo is learned from as it is, mirrored, and in enlarged parts."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from maskloop.learning.looks import LEAST_LEFT, looks

IMAGE = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)


def masks() -> list[np.ndarray]:
    small, large = np.zeros((2, 60, 80), bool)
    small[40:44, 70:75] = True
    large[5:50, 10:60] = True
    return [small, large]


def test_the_first_looks_are_the_photo_and_its_mirror_image() -> None:
    first, second = looks(IMAGE, masks(), 2, seed=0)
    assert np.array_equal(first.image, IMAGE)
    assert np.array_equal(first.masks, masks())
    assert np.array_equal(second.image, IMAGE[:, ::-1])
    assert np.array_equal(second.masks, np.array(masks())[:, :, ::-1])
    assert len(list(looks(IMAGE, masks(), 1, seed=0))) == 1


@given(st.integers(0, 1000))
def test_masks_lie_on_their_objects_in_every_look(seed: int) -> None:
    marked = np.stack([*masks(), np.zeros((60, 80), bool)], axis=2).astype(np.uint8)  # each object in a colour
    for look in looks(marked, masks(), 4, seed):
        for mask in look.masks:
            colours = [np.array_equal(look.image[:, :, colour] > 0, mask) for colour in (0, 1)]
            assert sum(colours) == 1


@given(st.integers(0, 1000))
def test_every_part_shows_enough_of_some_object(seed: int) -> None:
    for look in looks(IMAGE, masks(), 4, seed):
        assert look.masks
        assert all(mask.sum() >= LEAST_LEFT * 20 for mask in look.masks)
        assert all(mask.shape == look.image.shape[:2] for mask in look.masks)


def test_equal_seeds_show_equal_parts_and_each_number_another() -> None:
    one, other = (list(looks(IMAGE, masks(), 4, seed=7)) for _ in range(2))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(one, other, strict=True))
    assert len({look.image.tobytes() for look in one}) == len(one)


def test_the_smallest_object_of_the_smallest_photo_can_be_looked_at() -> None:
    found = list(looks(np.zeros((1, 1, 3), np.uint8), [np.ones((1, 1), bool)], 3, seed=0))
    assert len(found) == 3
