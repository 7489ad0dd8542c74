"""COCO's JSON for instances: https://cocodataset.org/#format-data. Masks are its compressed run lengths.

``score`` is added to each annotation; COCO's own tools ignore it there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from maskloop import __version__
from maskloop.annotate.values import Annotated, Segment


def document(photos: Iterable[Annotated], classes: Sequence[str]) -> Iterator[str]:
    """The JSON in pieces; ``photos`` is iterated twice. Categories are ``classes``, ids from 1."""
    ids = {label: number for number, label in enumerate(classes, 1)}
    yield '{"info": ' + json.dumps({"description": f"maskloop {__version__}"})
    yield ', "categories": ' + json.dumps([{"id": number, "name": label} for label, number in ids.items()])
    yield ', "images": ['
    yield from _joined(_image(number, photo) for number, photo in enumerate(photos, 1))
    yield '], "annotations": ['
    yield from _joined(_annotations(photos, ids))
    yield "]}\n"


def _image(number: int, photo: Annotated) -> dict[str, Any]:
    return {"id": number, "file_name": photo.source.name, "height": photo.size.height, "width": photo.size.width}


def _annotations(photos: Iterable[Annotated], ids: dict[str, int]) -> Iterator[dict[str, Any]]:
    number = 0
    for image, photo in enumerate(photos, 1):
        for segment in photo.segments:
            number += 1
            yield {"id": number, "image_id": image, "category_id": ids[segment.label], **_shape(photo, segment)}


def _shape(photo: Annotated, segment: Segment) -> dict[str, Any]:
    return {
        "segmentation": {"size": [photo.size.height, photo.size.width], "counts": segment.counts},
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
