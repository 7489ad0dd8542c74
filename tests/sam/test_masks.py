"""Logits become masks at the image's own size, as the official code makes them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from maskloop.sam.masks import best, stability_score, upscale, upscale_logits
from maskloop.sam.preprocess import resized
from maskloop.sam.values import ImageSize, MaskLogits

SIZES = [ImageSize(480, 640), ImageSize(640, 480), ImageSize(1024, 1024), ImageSize(1500, 2223), ImageSize(37, 2000)]


@pytest.fixture
def logits() -> NDArray[np.float32]:
    """Smooth, as the decoder's are."""
    noise = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    return F.interpolate(noise, (256, 256), mode="bicubic")[0, 0].numpy() * 10


@pytest.mark.parametrize("size", SIZES)
def test_upscaling_is_bilinear_in_two_steps(logits: NDArray[np.float32], size: ImageSize) -> None:
    height, width = resized(size)
    square = F.interpolate(torch.from_numpy(logits)[None, None], (1024, 1024), mode="bilinear", align_corners=False)
    cut = square[..., :height, :width]
    expected = F.interpolate(cut, tuple(size), mode="bilinear", align_corners=False)[0, 0].numpy()
    assert np.abs(upscale_logits(logits, size) - expected).max() < 1e-3
    assert upscale(logits, size).dtype == np.bool_
    assert (upscale(logits, size) != (expected > 0)).mean() <= 1e-4


def test_the_best_candidate_is_the_one_of_the_highest_score(logits: NDArray[np.float32]) -> None:
    candidates = np.stack([logits, -logits, logits + 5])
    mask = best(MaskLogits(candidates, np.array([0.2, 0.9, 0.5], np.float32), SIZES[0]))
    assert mask.score == pytest.approx(0.9)
    assert np.array_equal(mask.pixels, upscale(-logits, SIZES[0]))


def test_stability_is_the_iou_of_a_stricter_and_a_laxer_mask() -> None:
    steep = np.where(np.arange(100) < 30, 5.0, -5.0)[None, :].repeat(10, 0).astype(np.float32)
    gentle = np.linspace(5, -5, 100, dtype=np.float32)[None, :].repeat(10, 0)
    empty = np.full_like(steep, -9)
    scores = stability_score(np.stack([steep, gentle, empty]), offset=1)
    assert scores.tolist() == pytest.approx([1, 40 / 60, 0], abs=0.01)
