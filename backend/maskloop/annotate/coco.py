"""COCO's JSON for instances: https://cocodataset.org/#format-data. Masks are its compressed run lengths, or polygons.

``score`` is added to each annotation; COCO's own tools ignore it there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any, Literal, NamedTuple

from maskloop import __version__
from maskloop.annotate.values import Annotated, Segment
from maskloop.geometry import polygons

Shape = Literal["rle", "polygons"]


class Ids(NamedTuple):
    """Numbers that a data set has already. categories: by class. image: of a photo's name, None if it has none there.
    most: no image has a larger one."""

    categories: Mapping[str, int] = {}
    image: Callable[[str], int | None] = lambda _: None
    most: int = 0


NO_IDS = Ids()


def document(
    photos: Iterable[Annotated],
    classes: Sequence[str],
    ids: Ids = NO_IDS,
    shape: Shape = "rle",
    tolerance: float = 1.0,
) -> Iterator[str]:
    """The JSON in pieces; ``photos`` is iterated twice. Categories are ``classes``; what ``ids`` doesn't number counts
    on from there, else from 1. tolerance: how far a polygon may leave the mask's outline, pixels."""
    categories = _numbered(classes, ids.categories)
    yield '{"info": ' + json.dumps({"description": f"maskloop {__version__}"})
    yield ', "categories": ' + json.dumps([{"id": number, "name": label} for label, number in categories.items()])
    yield ', "images": ['
    yield from _joined(_image(number, photo) for number, photo in _with_ids(photos, ids))
    yield '], "annotations": ['
    yield from _joined(_annotations(_with_ids(photos, ids), categories, shape, tolerance))
    yield "]}\n"


def _numbered(classes: Sequence[str], known: Mapping[str, int]) -> dict[str, int]:
    fresh = count(max(known.values(), default=0) + 1)
    return {label: known[label] if label in known else next(fresh) for label in classes}


def _with_ids(photos: Iterable[Annotated], ids: Ids) -> Iterator[tuple[int, Annotated]]:
    """Each time the same; no two photos get one number."""
    fresh, taken = count(ids.most + 1), set[int]()
    for photo in photos:
        known = ids.image(photo.source.name)
        number = next(fresh) if known is None or known in taken else known
        taken.add(number)
        yield number, photo


def _image(number: int, photo: Annotated) -> dict[str, Any]:
    return {"id": number, "file_name": photo.source.name, "height": photo.size.height, "width": photo.size.width}


def _annotations(
    photos: Iterable[tuple[int, Annotated]], categories: Mapping[str, int], shape: Shape, tolerance: float
) -> Iterator[dict[str, Any]]:
    numbers = count(1)
    for image, photo in photos:
        for segment in photo.segments:
            ids = {"id": next(numbers), "image_id": image, "category_id": categories[segment.label]}
            yield ids | _shape(photo, segment, shape, tolerance)


def _shape(photo: Annotated, segment: Segment, shape: Shape, tolerance: float) -> dict[str, Any]:
    if shape == "rle":
        mask: Any = {"size": [photo.size.height, photo.size.width], "counts": segment.counts}
    else:
        rings = polygons.outlines(segment.pixels(photo.size), tolerance)
        mask = [[round(float(side), 2) for side in ring.ravel()] for ring in rings]
    return {
        "segmentation": mask,
        "bbox": list(segment.box),
        "area": segment.area,
        "iscrowd": 0,
        "score": round(min(segment.score, 1.0), 4),
    }


def _joined(entries: Iterable[dict[str, Any]]) -> Iterator[str]:
    comma = "\n"
    for entry in entries:
        yield comma + json.dumps(entry)
        comma = ",\n"
