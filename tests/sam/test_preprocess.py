"""Images become the square that the encoder was trained on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskloop.errors import ImageUnreadable
from maskloop.sam.preprocess import DEVIATION, FRAMES, MEAN, SQUARE, frame_of, resized, to_frame, to_square_points
from maskloop.sam.values import ImageSize


def to_square(image: np.ndarray) -> np.ndarray:
    return to_frame(image, SQUARE)


sizes = st.builds(ImageSize, st.integers(1, 9000), st.integers(1, 9000))


@given(sizes)
def test_the_longest_side_becomes_1024_and_the_other_keeps_the_ratio(size: ImageSize) -> None:
    height, width = resized(size)
    assert max(height, width) == 1024
    assert abs(height / 1024 - size.height / max(size)) <= 0.5 / 1024
    assert abs(width / 1024 - size.width / max(size)) <= 0.5 / 1024


@pytest.mark.parametrize(
    ("shape", "inside"), [((600, 800), (768, 1024)), ((90, 30), (1024, 341)), ((8, 8), (1024, 1024))]
)
def test_colours_are_normalised_and_the_rest_is_zero(shape: tuple[int, int], inside: tuple[int, int]) -> None:
    image = np.full((*shape, 3), (10, 100, 250), np.uint8)
    square = to_square(image)
    assert (square.shape, square.dtype) == ((1024, 1024, 3), np.float32)
    height, width = inside
    assert np.array_equal(square[height - 1, width - 1], (np.array([10, 100, 250], np.float32) - MEAN) / DEVIATION)
    square[:height, :width] = 0
    assert not square.any()


@given(sizes)
def test_the_frame_holds_the_image_and_is_the_smallest_that_does(size: ImageSize) -> None:
    def holds(frame: ImageSize) -> bool:
        return all(inside <= side for inside, side in zip(resized(size), frame, strict=True))

    frame = frame_of(size)
    assert holds(frame)
    assert np.prod(frame) == min(np.prod(other) for other in FRAMES if holds(other))


def test_a_frame_is_cut_out_of_the_square() -> None:
    image = np.random.default_rng(0).integers(0, 256, (600, 800, 3), np.uint8)
    frame = frame_of(ImageSize(600, 800))
    assert np.array_equal(to_frame(image, frame), to_square(image)[: frame.height, : frame.width])


def test_shrinking_is_antialiased() -> None:
    stripes = np.zeros((4096, 4096, 3), np.uint8)
    stripes[:, ::2] = 255
    levels = to_square(stripes) * DEVIATION + MEAN
    assert np.abs(levels[:, 8:-8] - 127.5).max() < 2


def test_an_image_of_the_right_size_keeps_its_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 256, (1024, 700, 3), np.uint8)
    assert np.array_equal(to_square(image)[:, :700], (image - MEAN) / DEVIATION)


def test_a_view_is_as_good_as_an_array_of_its_own() -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    assert np.array_equal(to_square(image[::-1, ::-1]), to_square(image[::-1, ::-1].copy()))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 4), np.uint8),
        np.zeros((10, 10, 3), np.float32),
        np.zeros((0, 10, 3), np.uint8),
    ],
)
def test_what_is_no_image_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="an image"):
        to_square(image)


def test_an_image_too_narrow_to_be_scaled_is_refused() -> None:
    with pytest.raises(ImageUnreadable, match="8000 x 2 pixels is too narrow"):
        to_square(np.zeros((2, 8000, 3), np.uint8))


@given(sizes)
def test_corners_of_the_image_are_corners_of_its_part_of_the_square(size: ImageSize) -> None:
    corners = np.array([[0, 0], [size.width, size.height]], np.float32)
    height, width = resized(size)
    assert np.allclose(to_square_points(corners, size), [[0, 0], [width, height]], atol=1e-3)
