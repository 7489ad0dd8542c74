"""Two things have one identity only if they are the same."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from maskloop.cache import image_identity, joint_identity


def test_equal_pixels_have_one_identity_however_they_lie_in_memory() -> None:
    image = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    assert image_identity(image) == image_identity(image.copy()) == image_identity(np.asfortranarray(image))
    assert image_identity(image[:, ::2]) == image_identity(image[:, ::2].copy())


def test_one_different_pixel_is_another_image() -> None:
    image = np.zeros((6, 8, 3), np.uint8)
    other = image.copy()
    other[5, 7, 2] = 1
    assert image_identity(image) != image_identity(other)


def test_the_same_bytes_in_another_shape_are_another_image() -> None:
    assert image_identity(np.zeros((6, 8, 3), np.uint8)) != image_identity(np.zeros((8, 6, 3), np.uint8))


@given(st.lists(st.text()), st.lists(st.text()))
def test_other_parts_are_another_identity(one: list[str], other: list[str]) -> None:
    """Not even ("ab", "c") and ("a", "bc")."""
    assert (joint_identity(*one) == joint_identity(*other)) == (one == other)
