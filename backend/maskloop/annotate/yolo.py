"""YOLO's folders, as Ultralytics reads them: https://docs.ultralytics.com/datasets/segment/#ultralytics-yolo-format

``train.txt`` lists the photos, and ``images/a.jpg`` has ``labels/a.txt``: one line an object, the class's number and
then either a box (centre x, y, width, height) or a polygon (x, y, ...), all as parts of the photo's width and height.
There is no place for scores. One object is one polygon: holes and islands hang on seams without width.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Literal

import numpy as np

from maskloop.annotate.values import Annotated, Segment
from maskloop.geometry import polygons
from maskloop.sam.values import ImageSize

Shape = Literal["boxes", "polygons"]
IMAGES, LABELS, LISTED = "images", "labels", "train.txt"
UNLISTED = re.compile(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029\ud800-\udfff]")
"""What a line of UTF-8 can't hold."""
KNOWN_AS = {".jfif": ".jpg", ".jpe": ".jpg", ".apng": ".png", ".dib": ".bmp"} | dict.fromkeys(
    (".j2k", ".j2c", ".jpc", ".jpf", ".jpx"), ".jp2"
)
"""Suffixes whose photos Ultralytics leaves out without a word, and others for the same content that it takes."""


def files(photos: Iterable[Annotated], *, theirs: bool = False) -> Iterator[tuple[Annotated, str, str]]:
    """Each photo with its name below ``images/`` and that of its label file below ``labels/``.

    They are the photo's own but where YOLO would mistake it: ``a.jpg`` and ``a.png`` would share a label file, a
    folder named ``images`` would be taken for the outer one, ``./`` for the list's folder, a line break for the
    name's end; and ``.jfif`` for no photo. theirs: photos are there already, with the suffixes that they have.
    """
    taken: set[str] = set()
    for photo in photos:
        path = PurePosixPath(UNLISTED.sub("_", photo.source.name))
        folder = PurePosixPath(
            *(f"{part}_" if part == IMAGES or part.endswith(".") else part for part in path.parent.parts)
        )
        stem, number = str(folder / path.stem), 1
        while stem.lower() in taken:
            number += 1
            stem = str(folder / f"{path.stem}-{number}")
        taken.add(stem.lower())
        suffix = path.suffix if theirs else KNOWN_AS.get(path.suffix.lower(), path.suffix)
        yield photo, stem + suffix, stem + ".txt"


def labels(photo: Annotated, classes: Mapping[str, int], shape: Shape, tolerance: float = 1.0) -> str:
    """The label file of one photo. tolerance: how far a polygon may leave the mask's outline, pixels."""
    lines = (_line(segment, photo.size, classes[segment.label], shape, tolerance) for segment in photo.segments)
    return "".join(f"{line}\n" for line in lines)


def listed(image: str) -> str:
    """The line of the list for a name below ``images/``: ``./`` is the list's own folder."""
    return f"./{IMAGES}/{image}\n"


def data_yaml(classes: Sequence[str]) -> str:
    """What names the list of photos and the classes. JSON's strings are YAML's too, so any name can be a class."""
    names = "".join(f"  {number}: {json.dumps(label)}\n" for number, label in enumerate(classes))
    note = "# Split the photos before training: val should hold others than train.\n"
    return f"{note}train: {LISTED}\nval: {LISTED}\nnames:\n{names}"


def _line(segment: Segment, size: ImageSize, number: int, shape: Shape, tolerance: float) -> str:
    if shape == "boxes":
        x, y, width, height = segment.box
        points = np.array([x + width / 2, y + height / 2, width, height])
    else:
        points = joined(polygons.outlines(segment.pixels(size), tolerance)).ravel()
    parts = points / np.tile([size.width, size.height], len(points) // 2)
    return " ".join([str(number), *(f"{part:.6g}" for part in parts)])


def joined(rings: Sequence[polygons.Polygon]) -> polygons.Polygon:
    """One ring (N, 2) around all that ``rings`` surround: each is entered from its nearest corner, and left by it."""
    whole = rings[0]
    for ring in rings[1:]:
        distances = ((whole[:, None] - ring[None]) ** 2).sum(axis=2)
        here, there = np.unravel_index(int(distances.argmin()), distances.shape)
        around = np.roll(ring, -int(there), axis=0)
        whole = np.concatenate([whole[: here + 1], around, around[:1], whole[here:]])
    return whole
