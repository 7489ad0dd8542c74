"""What objects look like, in numbers."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from maskloop.sam.appearance import AROUND, AT_ONCE, SIDE, Describer, close_up
from maskloop.sam.network import MobileSam, load_model
from maskloop.sam.values import LOOKS_LENGTH, Image


@pytest.fixture(scope="module")
def describer() -> Describer:
    torch.manual_seed(0)
    return Describer(MobileSam().requires_grad_(False).eval().image_encoder)


def noise(height: int = 60, width: int = 80) -> Image:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def box(top: int, left: int, bottom: int, right: int, height: int = 60, width: int = 80) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[top:bottom, left:right] = True
    return mask


def test_a_close_up_has_the_object_in_its_middle() -> None:
    shown, cover = close_up(noise(), box(20, 30, 40, 50))
    assert shown.shape == (SIDE, SIDE, 3)
    margin = round(SIDE * 2 / 24)
    assert cover[margin + 6 : -margin - 6, margin + 6 : -margin - 6].min() == 1
    assert cover[: margin - 6].max() == 0


@pytest.mark.parametrize("place", [(0, 0, 60, 80), (0, 0, 1, 1), (40, 60, 60, 80), (0, 70, 60, 80)])
def test_an_object_at_the_edge_has_nothing_beside_it(place: tuple[int, int, int, int]) -> None:
    shown, cover = close_up(noise(), box(*place))
    assert shown.shape[:2] == cover.shape == (SIDE, SIDE)
    assert cover.max() == 1
    assert (shown == AROUND).all(axis=2).any()


def test_a_close_up_of_a_strip_takes_no_more_than_the_strip() -> None:
    """A square around it would have a hundred times as many pixels."""
    strip, mask = np.zeros((40, 8000, 3), np.uint8), np.ones((40, 8000), bool)
    tracemalloc.start()
    try:
        shown, cover = close_up(strip, mask)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 4 * strip.nbytes
    assert cover.sum() == pytest.approx(SIDE / 1.2, abs=2)
    assert ((shown == 0).all(axis=2) == (cover == 1)).all()


def test_each_object_is_described_by_itself_however_many_there_are(describer: Describer) -> None:
    masks = [box(row, 5, row + 9, 30) for row in range(AT_ONCE)]
    together = describer(noise(), masks)
    assert together.shape == (AT_ONCE, LOOKS_LENGTH)
    np.testing.assert_allclose(together[-1:], describer(noise(), masks[-1:]), atol=1e-4)
    assert describer(noise(), []).shape == (0, LOOKS_LENGTH)
    assert not np.allclose(together[0], together[-1], atol=1e-3)


@pytest.mark.weights
def test_an_object_looks_more_like_itself_elsewhere_than_like_another(
    photo: Callable[[str], Image], official_weights: Path
) -> None:
    describer = Describer(load_model(official_weights).image_encoder)
    cat, coffee = photo("chelsea.png"), photo("coffee.png")
    face = box(40, 90, 240, 330, *cat.shape[:2])
    mirrored, cup = face[:, ::-1], box(20, 170, 290, 410, *coffee.shape[:2])
    (one,), (again,) = describer(cat, [face]), describer(np.ascontiguousarray(cat[:, ::-1]), [mirrored])
    (other,) = describer(coffee, [cup])
    assert np.linalg.norm(one - again) < 0.7 * np.linalg.norm(one - other)
