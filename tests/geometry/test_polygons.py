from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco

from maskloop.geometry import masks, polygons

small = arrays(bool, st.tuples(st.integers(1, 14), st.integers(1, 14)))


def blobs(seed: int, height: int = 90, width: int = 120, size: float = 6) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(height, width)).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), size) > 0


def disc(x: float, y: float, radius: float, height: int = 200, width: int = 300) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width] + 0.5
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def signed_area(polygon: np.ndarray) -> float:
    x, y = polygon.astype(float).T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


@given(small)
@settings(deadline=None)
def test_without_tolerance_polygons_cover_the_pixels_of_the_mask_exactly(mask: np.ndarray) -> None:
    found = polygons.outlines(mask)
    assert (polygons.fill(found, *mask.shape) == mask).all()
    assert sum(abs(signed_area(polygon)) for polygon in found) == pytest.approx(mask.sum(), abs=1e-3)


@given(small)
@settings(deadline=None)
def test_each_part_of_a_mask_is_a_polygon_of_its_own_and_the_largest_comes_first(mask: np.ndarray) -> None:
    found = polygons.outlines(mask)
    count, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    assert len(found) == count - 1
    covered = [polygons.fill([polygon], *mask.shape) for polygon in found]
    assert sorted(cover.sum() for cover in covered) == sorted(np.bincount(parts[mask])[1:].tolist())
    for cover in covered:
        assert len(np.unique(parts[cover])) == 1


@pytest.mark.parametrize("tolerance", [0.8, 1.5, 4.0])
@pytest.mark.parametrize("seed", range(4))
def test_no_corner_of_the_mask_is_farther_from_the_polygon_than_the_tolerance(seed: int, tolerance: float) -> None:
    mask = masks.largest_component(blobs(seed))
    mask = ~masks.largest_component(~mask)  # no holes
    (exact,), (simple,) = polygons.outlines(mask), polygons.outlines(mask, tolerance)
    ring = simple.reshape(-1, 1, 2)
    assert max(abs(cv2.pointPolygonTest(ring, (float(x), float(y)), True)) for x, y in exact) <= tolerance + 1e-3
    assert len(simple) < len(exact)


def test_a_round_object_takes_few_points() -> None:
    mask = disc(150, 100, 80)
    (outline,) = polygons.outlines(mask, 1.5)
    assert len(outline) < 30
    assert masks.iou(polygons.fill([outline], *mask.shape), mask) > 0.985


@given(small, st.floats(0.2, 5))
@settings(deadline=None)
def test_every_polygon_has_an_area(mask: np.ndarray, tolerance: float) -> None:
    for polygon in polygons.outlines(mask, tolerance):
        assert len(polygon) >= 3
        assert len(np.unique(polygon, axis=0)) >= 3


def test_a_thin_line_keeps_its_length() -> None:
    mask = np.zeros((20, 90), bool)
    mask[10, 5:85] = True
    (line,) = polygons.outlines(mask, 3.0)
    assert np.ptp(line[:, 0]) >= 77


def test_holes_stay_open_for_either_rule_of_filling() -> None:
    mask = disc(150, 100, 90) & ~disc(120, 90, 30) & ~disc(190, 110, 20) & ~disc(150, 150, 8)
    (outline,) = polygons.outlines(mask, 1.0)
    assert masks.iou(polygons.fill([outline], *mask.shape), mask) > 0.98  # even-odd
    # What is inside by the nonzero rule is counted by the signed area: a hole turned the same way would add to it.
    assert abs(signed_area(outline)) == pytest.approx(mask.sum(), rel=0.02)
    (rle,) = coco.frPyObjects([outline.ravel().tolist()], *mask.shape)
    assert masks.iou(coco.decode(rle).astype(bool), mask) > 0.98


def test_seams_to_holes_cross_nothing() -> None:
    for seed in range(6):
        mask = masks.largest_component(blobs(seed, size=3))
        (outline,) = polygons.outlines(mask, 1.0)
        assert masks.iou(polygons.fill([outline], *mask.shape), mask) > 0.9


def test_ways_between_holes_that_lie_apart_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are 5151 ways between the rings of a net of 10 x 10 holes."""
    measured: list[float] = []

    def measure(first: polygons.Polygon, second: polygons.Polygon, way: Any = polygons._way) -> Any:
        measured.append(0)
        return way(first, second)

    monkeypatch.setattr(polygons, "_way", measure)
    mask = np.ones((200, 200), bool)
    for row, column in np.ndindex(10, 10):
        mask[20 * row + 5 : 20 * row + 15, 20 * column + 5 : 20 * column + 15] = False
    (outline,) = polygons.outlines(mask)
    assert (polygons.fill([outline], 200, 200) == mask).all()
    assert len(measured) < 500


def test_small_holes_are_closed_and_small_parts_left_out() -> None:
    mask = disc(100, 100, 60) & ~disc(100, 100, 3) & ~disc(130, 100, 10) | disc(250, 100, 3) | disc(250, 50, 12)
    mask |= disc(20, 20, 6) & ~disc(20, 20, 5)
    kept = polygons.outlines(mask, min_part=50, min_hole=50)
    assert len(kept) == 2
    filled = polygons.fill(kept, *mask.shape)
    assert filled[100, 100]
    assert not filled[100, 130]
    assert filled[50, 250]
    assert not filled[100, 250]
    assert not filled[:30, :30].any(), "a thin ring is a small part"


def test_the_largest_part_is_kept_however_small() -> None:
    mask = np.zeros((9, 9), bool)
    mask[4, 4] = mask[7, 7] = True
    assert len(polygons.outlines(mask, min_part=50)) == 1
    assert polygons.outlines(np.zeros((9, 9), bool), min_part=50) == []


def test_a_polygon_that_leaves_the_image_is_cut_at_its_border() -> None:
    square = np.array([[-5, -5], [3, -5], [3, 3], [-5, 3]], float)
    filled = polygons.fill([square, square + 100], 6, 8)
    assert filled.sum() == 9
    assert filled[:3, :3].all()


@given(
    arrays(float, st.tuples(st.integers(3, 8), st.just(2)), elements=st.floats(-4, 24, allow_nan=False)),
)
def test_filling_takes_the_pixels_whose_centre_is_inside(polygon: np.ndarray) -> None:
    filled = polygons.fill([polygon], 16, 20)
    ends = np.roll(polygon, -1, axis=0)
    for y, x in ((0, 0), (7, 9), (15, 19), (3, 12)):
        crossed = (polygon[:, 1] <= y + 0.5) != (ends[:, 1] <= y + 0.5)
        start, end = polygon[crossed], ends[crossed]
        at = start[:, 0] + (y + 0.5 - start[:, 1]) * (end[:, 0] - start[:, 0]) / (end[:, 1] - start[:, 1])
        if np.abs(at - x - 0.5).min(initial=1) > 1e-6:
            assert filled[y, x] == bool((at < x + 0.5).sum() % 2)
