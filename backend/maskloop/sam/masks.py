"""From the decoder's logits to masks of the original image."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from maskloop.sam.preprocess import resized
from maskloop.sam.values import IMAGE_SIDE, ImageSize, Mask, MaskLogits

THRESHOLD = 0.0
"""Logits above it are on the object."""


def upscale_logits(logits: NDArray[np.float32], size: ImageSize) -> NDArray[np.float32]:
    """Logits (256, 256) as logits of the original image, (H, W): to the square, without its padding, to the image.

    Both steps are bilinear without antialiasing, as in the official ``postprocess_masks``.
    """
    height, width = resized(size)
    square = cv2.resize(logits, (IMAGE_SIDE, IMAGE_SIDE), interpolation=cv2.INTER_LINEAR)[:height, :width]
    if (height, width) == size:
        return square  # type: ignore[return-value]
    return cv2.resize(square, (size.width, size.height), interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]


def upscale(logits: NDArray[np.float32], size: ImageSize) -> NDArray[np.bool_]:
    """Logits (256, 256) as a mask of the original image, bool (H, W)."""
    return upscale_logits(logits, size) > THRESHOLD


def best(answer: MaskLogits) -> Mask:
    """The candidate with the highest predicted score, at the original image's size."""
    index = int(answer.scores.argmax())
    return Mask(upscale(answer.logits[index], answer.size), float(answer.scores[index]))


def stability_score(logits: NDArray[np.float32], offset: float) -> NDArray[np.float32]:
    """How little masks change with the threshold: the IoU of those at the threshold + and - ``offset``.

    logits: (..., H, W) of any size; gives (...,). A mask that is empty at both has score 0.
    """
    inner = np.count_nonzero(logits > THRESHOLD + offset, axis=(-2, -1))
    outer = np.count_nonzero(logits > THRESHOLD - offset, axis=(-2, -1))
    return np.asarray(inner / np.maximum(outer, 1), np.float32)
