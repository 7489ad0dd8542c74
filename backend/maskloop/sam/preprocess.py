"""From an image to what the encoder sees, and from image pixels to the pixels of the encoder's square.

The longest side becomes 1024 with Pillow's bilinear filter on uint8 (antialiased when it shrinks), colours are
normalised with ImageNet's mean and deviation, and the rest of the square, right and below, is zero: the steps and
their order are those of Segment Anything's ``SamPredictor`` (https://arxiv.org/abs/2304.02643).

Most of that rest says nothing, and is encoded only to be exact: a frame is the part of the square that is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from maskloop.errors import ImageUnreadable
from maskloop.sam.values import IMAGE_SIDE, Image, ImageSize

Number = TypeVar("Number", bound=np.generic)

PREPROCESSING = "pillow-bilinear-1024-imagenet"
"""Names these steps in an embedding's identity: change it with them."""

SQUARE = ImageSize(IMAGE_SIDE, IMAGE_SIDE)
EXACT = (SQUARE,)
"""Frames to encode as the official code does."""
FRAMES = (ImageSize(784, IMAGE_SIDE), ImageSize(IMAGE_SIDE, 784), SQUARE)
"""Frames to leave out what is empty. Few, because an engine may prepare itself for each. 784 holds photos of 4 x 3,
3 x 2 and wider, and is a multiple of what the encoder's windows of seven positions cover."""

MEAN = np.array([123.675, 116.28, 103.53], np.float32)
DEVIATION = np.array([58.395, 57.12, 57.375], np.float32)
NORMALISED = ((np.arange(256, dtype=np.float32)[:, None] - MEAN) / DEVIATION).reshape(1, 256, 3)
"""What each of the 256 levels of each colour becomes: looked up, it costs a twentieth of being computed."""


def resized(size: ImageSize) -> ImageSize:
    """The size of an image once its longest side is 1024."""
    scale = IMAGE_SIDE / max(size)
    return ImageSize(int(size.height * scale + 0.5), int(size.width * scale + 0.5))


def frame_of(size: ImageSize, frames: Sequence[ImageSize] = FRAMES) -> ImageSize:
    """The first that holds an image of this size once it is resized; SQUARE holds all."""
    height, width = resized(size)
    return next(frame for frame in frames if height <= frame.height and width <= frame.width)


def to_frame(image: Image, frame: ImageSize) -> NDArray[np.float32]:
    """The encoder's input: float32 (frame height, frame width, 3), normalised, zero right of and below the image.

    Raises ValueError if the image is no uint8 array of shape (H, W, 3), and ImageUnreadable if it is too narrow.
    """
    return padded(np.asarray(cv2.LUT(shrunk_or_grown(image), NORMALISED), np.float32), frame)


def padded(pixels: NDArray[Number], frame: ImageSize) -> NDArray[Number]:
    """Pixels (height, width, 3) with zeros right of and below them, (frame height, frame width, 3)."""
    whole = np.zeros((*frame, 3), pixels.dtype)
    whole[: pixels.shape[0], : pixels.shape[1]] = pixels
    return whole


def shrunk_or_grown(image: Image) -> Image:
    """The image with its longest side 1024. Raises ImageUnreadable if its other side comes to nothing then."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"an image is uint8 (H, W, 3), not {image.dtype} {image.shape}")
    height, width = resized(ImageSize(*image.shape[:2]))
    if not height or not width:
        raise ImageUnreadable(f"An image of {image.shape[1]} x {image.shape[0]} pixels is too narrow to be segmented.")
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(PillowImage.fromarray(image).resize((width, height), PillowImage.Resampling.BILINEAR))


def to_square_points(points: NDArray[np.float32], size: ImageSize) -> NDArray[np.float32]:
    """Points (..., 2), xy, in pixels of the original image, as pixels of the square."""
    height, width = resized(size)
    return (points.astype(np.float64) * (width / size.width, height / size.height)).astype(np.float32)
