"""What an object looks like, in numbers from which its class can be learned.

The encoder's last features are made for outlines and know little of what things are. Its third stage, shown the object
large, knows more, and most where it sees it both in its surroundings and alone. On COCO photos, with ten examples of
each of nine classes, a linear classifier is right on 66 % of the masks of other photos so, and on 44 % by the mean of
the image's own embedding over the mask; as a mean over classes on 53 % and 31 %.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from maskloop.geometry import boxes
from maskloop.sam.encoder import ImageEncoder, channels_first, channels_last
from maskloop.sam.layers import fold
from maskloop.sam.preprocess import MEAN, NORMALISED
from maskloop.sam.values import LOOKS_LENGTH, Image

SIDE = 224
"""Of the square that shows an object; at this size the third stage's windows are the whole square."""
MARGIN = 1.2
"""Side of the square, in sides of the object's box."""
BLOCKS = (3, 5)
"""Of the third stage, whose outputs are pooled, for the object in its surroundings and for the object alone."""
AT_ONCE = 16
"""Squares that go through the network together."""
AROUND = MEAN.astype(np.uint8)
"""Colour beside the image, and beside an object that is shown alone."""

Looks = NDArray[np.float32]
"""(N, LOOKS_LENGTH): for each block two parts."""


class Describer:
    """Tells how objects look. Takes the encoder over, which can't be trained then. Not thread-safe."""

    def __init__(self, encoder: ImageEncoder) -> None:
        fold(encoder)
        self._encoder = encoder

    def __call__(self, image: Image, masks: Sequence[NDArray[np.bool_]]) -> Looks:
        """Of each mask, bool (height, width) of the image and not empty, means over its pixels."""
        found = np.zeros((len(masks), LOOKS_LENGTH), np.float32)
        for start in range(0, len(masks), AT_ONCE // 2):
            some = [close_up(image, mask) for mask in masks[start : start + AT_ONCE // 2]]
            found[start : start + len(some)] = self._described(*map(np.stack, zip(*some, strict=True)))
        return found

    @torch.inference_mode()
    def _described(self, squares: NDArray[np.uint8], covers: NDArray[np.float32]) -> Looks:
        alone = AROUND + (squares - AROUND.astype(np.float32)) * covers[..., None]
        views = np.concatenate([squares, alone.round().astype(np.uint8)])
        pixels = torch.from_numpy(np.stack([cv2.LUT(view, NORMALISED) for view in views]))
        cover = torch.from_numpy(np.concatenate([covers, covers]))[:, None]
        parts = [part.chunk(2) for part in (_mean(block, cover) for block in self._blocks(pixels))]
        return torch.cat([half for part in parts for half in part], dim=1).numpy()

    def _blocks(self, pixels: Tensor) -> list[Tensor]:
        encoder, found = self._encoder, []
        features = channels_last(encoder.layers[:2](encoder.patch_embed(channels_first(pixels))))
        for number, block in enumerate(encoder.layers[2].blocks):  # type: ignore[arg-type]
            features = block(features)
            if number in BLOCKS:
                found.append(channels_first(features))
        return found


def close_up(image: Image, mask: NDArray[np.bool_]) -> tuple[Image, NDArray[np.float32]]:
    """The object in the middle of a square, uint8 (SIDE, SIDE, 3), and how far it covers each pixel, from 0 to 1."""
    x0, y0, x1, y1 = boxes.of_mask(mask)
    side = int(np.ceil(max(x1 - x0, y1 - y0) * MARGIN))
    rows, down = _span((y0 + y1 - side) // 2, side, mask.shape[0])
    columns, across = _span((x0 + x1 - side) // 2, side, mask.shape[1])
    size = across.stop - across.start, down.stop - down.start
    smaller = side > SIDE
    square, cover = np.full((SIDE, SIDE, 3), AROUND, np.uint8), np.zeros((SIDE, SIDE), np.float32)
    shown = cv2.resize(image[rows, columns], size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    covered = np.multiply(mask[rows, columns], 255, dtype=np.uint8)
    covered = cv2.resize(covered, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    square[down, across], cover[down, across] = shown, covered / 255
    return square, cover


def _span(start: int, side: int, length: int) -> tuple[slice, slice]:
    """Along one axis of ``length`` pixels: what the square shows of the image, and where in the square that goes."""
    inside = slice(max(start, 0), min(start + side, length))
    shown = max(1, round((inside.stop - inside.start) * SIDE / side))
    place = min(round((inside.start - start) * SIDE / side), SIDE - shown)
    return inside, slice(place, place + shown)


def _mean(features: Tensor, cover: Tensor) -> Tensor:
    """(N, C, H, W) over what is covered, (N, C)."""
    weights = F.adaptive_avg_pool2d(cover, features.shape[-1]) + 1e-5
    return (features * weights).sum((2, 3)) / weights.sum((2, 3))
