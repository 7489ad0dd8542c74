"""Masks as polygons and back. A polygon is float32 (N, 2): x, y in pixels, pixel (0, 0) covering 0 to 1, not closed.

One polygon has one outline, so:

- Parts of a mask that don't hang together (by sides or corners) become a polygon each.
- A hole is cut open: the outline goes there and back along the shortest way, and around the hole. The seam has no
  area, so the polygon covers what the mask covers, by the even-odd rule and by the nonzero rule. Holes of less than
  ``min_hole`` pixels are closed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from heapq import heappop, heappush
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from maskloop.geometry import boxes

Polygon = NDArray[np.float32]


def outlines(
    mask: NDArray[np.bool_], tolerance: float = 0.0, *, min_part: float = 0.0, min_hole: float = 0.0
) -> list[Polygon]:
    """The polygons of a mask (H, W), the largest part first.

    tolerance: pixels by which a polygon may leave the mask's exact outline; points that it makes superfluous are
        dropped (Douglas and Peucker, 1973). At 0 the outline runs along the pixels' sides and covers them exactly.
    min_part, min_hole: pixels below which a part is left out, and a hole closed. The largest part is never left out.
    """
    parts = sorted(_rings(mask), key=lambda rings: -_area(rings[0]))
    return [
        _cut_open([_simplified(ring, tolerance) for ring in (outer, *(h for h in holes if _area(h) >= min_hole))])
        for rank, (outer, *holes) in enumerate(parts)
        if rank == 0 or _area(outer) - sum(map(_area, holes)) >= min_part
    ]


def fill(polygons: Sequence[NDArray[np.floating]], height: int, width: int) -> NDArray[np.bool_]:
    """The mask (height, width) of the pixels whose centre lies in a polygon, by the even-odd rule in each of them."""
    mask = np.zeros((height, width), bool)
    for polygon in polygons:
        points = np.asarray(polygon, np.float64).reshape(-1, 2)
        left, top = np.clip(np.floor(points.min(axis=0)), 0, (width, height)).astype(int)
        right, bottom = np.clip(np.ceil(points.max(axis=0)), 0, (width, height)).astype(int)
        mask[top:bottom, left:right] |= _fill_one(points - (left, top), bottom - top, right - left)
    return mask


def _rings(mask: NDArray[np.bool_]) -> Iterator[list[NDArray[np.int32]]]:
    """For each part of the mask its outline and then those of its holes, along the pixels' sides.

    OpenCV's contours run through the centres of the outermost pixels. On an image of twice the size, those of the
    left half of a pixel have even coordinates and of the right half odd ones: halved and rounded up, they are the
    pixel's sides. Where a contour cuts an inner corner, both its ends round to that corner.
    """
    left, top, right, bottom = boxes.of_mask(mask)
    if right == left:
        return
    crop = np.ascontiguousarray(mask[top:bottom, left:right]).view(np.uint8)
    double = cv2.resize(crop, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    contours, family = cv2.findContours(double, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    rings = [np.asarray((contour[:, 0] + 1) // 2 + (left, top), np.int32) for contour in contours]
    for index, (_, _, child, parent) in enumerate(family[0]):
        if parent == -1:
            part = [_corners(rings[index])]
            while child != -1:
                part.append(_corners(rings[child]))
                child = family[0][child][0]
            yield part


def _corners(ring: NDArray[np.int32]) -> NDArray[np.int32]:
    """The points of a ring of unit steps at which it turns."""
    path = ring[(ring != np.roll(ring, 1, axis=0)).any(axis=1)]
    turns: NDArray[np.bool_] = (np.roll(path, -1, axis=0) - path != path - np.roll(path, 1, axis=0)).any(axis=1)
    corners: NDArray[np.int32] = path[turns]
    return corners


def _area(ring: NDArray[np.int32]) -> float:
    x, y = ring[:, 0].astype(np.int64), ring[:, 1].astype(np.int64)
    return abs(int(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def _simplified(ring: NDArray[np.int32], tolerance: float) -> Polygon:
    """The ring within the tolerance, or within less where nothing of it would be left."""
    while tolerance > 0.1:
        simple = np.asarray(cv2.approxPolyDP(ring, tolerance, closed=True)[:, 0], np.int32)
        if len(simple) > 2 and _area(simple):
            return simple.astype(np.float32)
        tolerance /= 2
    return ring.astype(np.float32)


class _Way(NamedTuple):
    """The shortest way from one ring to another: the edges it leaves and reaches, by their first points, and where."""

    length: float
    leaves: int
    start: NDArray[np.float64]
    reaches: int
    end: NDArray[np.float64]


def _cut_open(rings: Sequence[Polygon]) -> Polygon:
    """One outline around a part: its outer ring with detours around the holes.

    The seams are a shortest spanning tree (Prim, 1957) of the rings, so they cross neither rings nor one another. A way
    is as long as the gap between the rings' bounding boxes at least, and measured only where that is the next shortest.
    """
    if len(rings) == 1:
        return rings[0]
    seams: dict[int, list[tuple[_Way, int]]] = {index: [] for index in range(len(rings))}
    low, high = (np.array([side(ring, axis=0) for ring in rings], np.float64) for side in (np.min, np.max))
    waiting = set(range(1, len(rings)))
    ways: list[tuple[float, int, int, _Way | None]] = []

    def join(ring: int) -> None:
        gaps = (np.maximum(np.maximum(low - high[ring], low[ring] - high), 0) ** 2).sum(axis=1)
        for hole in waiting:
            heappush(ways, (float(gaps[hole]), hole, ring, None))

    join(0)
    while waiting:
        _, hole, ring, way = heappop(ways)
        if hole in waiting and way is None:
            way = _way(rings[ring], rings[hole])
            heappush(ways, (way.length, hole, ring, way))
        elif hole in waiting and way is not None:
            waiting.remove(hole)
            seams[ring].append((way, hole))
            join(hole)
    return np.asarray(list(_walk(rings, seams, 0)), np.float32)


def _walk(
    rings: Sequence[Polygon], seams: Mapping[int, list[tuple[_Way, int]]], ring: int, arrival: _Way | None = None
) -> Iterator[NDArray[np.floating]]:
    """The points around a ring, there and back along each seam that leaves it; from where ``arrival`` reaches it."""
    points = rings[ring]
    stops: list[tuple[int, NDArray[np.float64], tuple[_Way, int] | None]] = [
        (way.leaves, way.start, (way, hole)) for way, hole in seams[ring]
    ]
    if arrival:
        stops.append((arrival.reaches, arrival.end, None))
    stops.sort(key=lambda stop: (stop[0], float(np.hypot(*(stop[1] - points[stop[0]])))))
    path: list[tuple[NDArray[np.floating], tuple[_Way, int] | None]] = []
    begin = 0
    for index, point in enumerate(points):
        path.append((point, None))
        for _, place, detour in (stop for stop in stops if stop[0] == index):
            begin = begin if detour else len(path)
            path.append((place, detour))
    for point, seam in path[begin:] + path[:begin]:
        yield point
        if seam:
            way, hole = seam
            yield from _walk(rings, seams, hole, way)
            yield point
    if arrival:
        yield arrival.end


def _way(first: Polygon, second: Polygon) -> _Way:
    """The shortest way between two rings. It begins or ends in a corner of one of them."""
    there, back = _from_corners(first, second), _from_corners(second, first)
    if there.length <= back.length:
        return there
    return _Way(back.length, back.reaches, back.end, back.leaves, back.start)


def _from_corners(corners: Polygon, ring: Polygon) -> _Way:
    """The shortest way from a corner of one ring to any point of another."""
    begins = ring.astype(np.float64)
    edges = np.roll(begins, -1, axis=0) - begins
    offsets = corners[:, None].astype(np.float64) - begins
    squares = np.maximum((edges**2).sum(axis=1), 1e-12)
    along = np.clip((offsets * edges).sum(axis=2) / squares, 0, 1)
    lengths = ((offsets - along[..., None] * edges) ** 2).sum(axis=2)
    corner, edge = np.unravel_index(int(lengths.argmin()), lengths.shape)
    end = begins[edge] + along[corner, edge] * edges[edge]
    return _Way(float(lengths[corner, edge]), int(corner), corners[corner].astype(np.float64), int(edge), end)


def _fill_one(polygon: NDArray[np.float64], height: int, width: int) -> NDArray[np.bool_]:
    """Each row between the first and second, third and fourth, ... edge that crosses its middle."""
    ends = np.roll(polygon, -1, axis=0)
    low, high = np.minimum(polygon[:, 1], ends[:, 1]), np.maximum(polygon[:, 1], ends[:, 1])
    first = np.clip(np.ceil(low - 0.5), 0, height).astype(np.int64)
    counts = np.clip(np.ceil(high - 0.5), 0, height).astype(np.int64) - first
    edge = np.repeat(np.arange(len(polygon)), counts)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    (x0, y0), (x1, y1) = polygon[edge].T, ends[edge].T
    crossing = x0 + (row + 0.5 - y0) * (x1 - x0) / (y1 - y0)
    column = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)
    turns = np.sort(row * (width + 1) + column).reshape(-1, 2)
    begin, end = turns[turns[:, 0] != turns[:, 1]].T
    step = np.zeros(height * (width + 1), np.int8)
    step[begin] += 1
    step[end] -= 1
    inside: NDArray[np.bool_] = np.cumsum(step, dtype=np.int8).view(bool).reshape(height, width + 1)[:, :width]
    return inside
