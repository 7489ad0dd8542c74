"""Reviewed photos as the network sees them: an embedding, and for each object its mask and where people may point."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskloop.learning.clicks import STRIDE, Places, places
from maskloop.sam.preprocess import SQUARE, padded, resized, shrunk_or_grown, to_frame
from maskloop.sam.values import IMAGE_SIDE, LOGITS_SIDE, Embedding, Image, ImageSize

FULL = 255


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """One object that a person outlined, as the network would have to give it.

    coverage: zlib-compressed uint8 (256, 256), FULL where the object fills a pixel of the logits.
    """

    coverage: bytes
    places: Places

    def mask(self) -> NDArray[np.float32]:
        """float32 (256, 256), between 0 and 1."""
        pixels = np.frombuffer(zlib.decompress(self.coverage), np.uint8).reshape(LOGITS_SIDE, LOGITS_SIDE)
        return (pixels / FULL).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One view of a photo and its objects.

    embedding: as the encoder sees it before training. pixels: uint8 (1024, 1024, 3), see ``squared``; None if the
    encoder doesn't learn.
    """

    embedding: Embedding
    targets: tuple[Target, ...]
    pixels: Image | None = None

    def features(self) -> Tensor:
        """float32 (4096, 256)."""
        return torch.from_numpy(self.embedding.features.astype(np.float32)).flatten(1).T.contiguous()

    def square(self) -> Tensor:
        """float32 (1, 1024, 1024, 3): the encoder's input. Raises ValueError if the pixels weren't kept."""
        if self.pixels is None:
            raise ValueError("an encoder learns from pixels")
        height, width = resized(self.embedding.size)
        return torch.from_numpy(to_frame(self.pixels[:height, :width], SQUARE))[None]

    def inside(self) -> Tensor:
        """float32 (256, 256): the share of each pixel of the logits that lies in the image."""
        height, width = resized(self.embedding.size)
        square = np.zeros((IMAGE_SIDE, IMAGE_SIDE), np.float32)
        square[:height, :width] = 1
        return torch.from_numpy(shrink(square))


class Seen(NamedTuple):
    """A view as the network sees it: see ``Sample``."""

    embedding: Embedding
    pixels: Image | None = None


def prepare(seen: Seen, masks: Sequence[NDArray[np.bool_]], seed: int) -> Sample:
    """A view whose objects are ``masks`` (height, width); those that fill half of no pixel of the logits there are left
    out: they would teach that there is nothing."""
    chance, size = np.random.default_rng(seed), seen.embedding.size
    covered = ((mask, coverage(mask, size)) for mask in masks)
    targets = (
        Target(zlib.compress(pixels.tobytes(), 1), places(mask, chance))
        for mask, pixels in covered
        if pixels.max() > FULL / 2
    )
    return Sample(seen.embedding, tuple(targets), seen.pixels)


def squared(image: Image) -> Image:
    """The image with its longest side 1024, in a square of that side."""
    return padded(shrunk_or_grown(image), SQUARE)


def coverage(mask: NDArray[np.bool_], size: ImageSize) -> NDArray[np.uint8]:
    """(256, 256), see ``Target``."""
    height, width = resized(size)
    square = np.zeros((IMAGE_SIDE, IMAGE_SIDE), np.float32)
    square[:height, :width] = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.rint(shrink(square) * FULL).astype(np.uint8)


def shrink(square: NDArray[np.float32]) -> NDArray[np.float32]:
    """(1024, 1024) to means of 4 x 4 pixels, (256, 256)."""
    return np.asarray(square.reshape(LOGITS_SIDE, STRIDE, LOGITS_SIDE, STRIDE).mean((1, 3)), np.float32)
