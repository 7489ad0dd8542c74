"""The preview shows each segment where it is."""

from __future__ import annotations

import cv2
import numpy as np

from maskloop.annotate.preview import LONGEST_SIDE, overlay, png
from maskloop.annotate.values import Annotated, Segment, Source
from maskloop.sam.values import ImageSize, Mask


def photo_of(*masks: np.ndarray) -> Annotated:
    size = ImageSize(*masks[0].shape)
    return Annotated(Source("/a", "a"), size, tuple(Segment.of(Mask(mask, 0.9), "x") for mask in masks))


def test_segments_are_tinted_and_the_rest_is_untouched() -> None:
    image = np.full((100, 150, 3), 128, np.uint8)
    mask = np.zeros((100, 150), bool)
    mask[20:40, 30:70] = True
    changed = (overlay(image, photo_of(mask)) != image).any(axis=2)
    assert (changed == mask).all()


def test_a_small_segment_shows_on_a_large_one_that_is_better() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    large, small = np.ones((100, 100), bool), np.zeros((100, 100), bool)
    small[40:60, 40:60] = True
    drawn = overlay(image, photo_of(large, small))
    assert (drawn[50, 50] != drawn[10, 10]).any()


def test_a_large_photo_is_shown_smaller_and_is_a_png() -> None:
    image = np.zeros((2000, 4000, 3), np.uint8)
    mask = np.zeros((2000, 4000), bool)
    mask[:, 2000:] = True
    drawn = overlay(image, photo_of(mask))
    assert drawn.shape == (LONGEST_SIDE // 2, LONGEST_SIDE, 3)
    decoded = cv2.imdecode(np.frombuffer(png(drawn), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert (decoded == drawn).all()
    assert not drawn[:, : LONGEST_SIDE // 2].any()
    assert drawn[:, LONGEST_SIDE // 2 :].any(axis=2).all()
