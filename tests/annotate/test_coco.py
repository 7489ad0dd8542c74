"""The COCO output is what COCO's own tools read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO

from maskloop.annotate import coco
from maskloop.annotate.values import Annotated, Segment
from maskloop.geometry import masks
from maskloop.sam.values import ImageSize, Mask

MakePhoto = Callable[..., Annotated]


def test_pycocotools_finds_every_photo_and_mask(tmp_path: Path, make_photo: MakePhoto) -> None:
    photos = [
        make_photo("b.jpg", (1, 2, 31, 22), (0, 0, 60, 40), label="dog"),
        make_photo("empty.jpg"),
        make_photo("sub/naïve\n☃.jpg", (50, 30, 60, 40), label="cat"),
    ]
    (tmp_path / "out.json").write_text("".join(coco.document(photos, ["cat", "dog"])))
    read = COCO(str(tmp_path / "out.json"))

    assert [read.imgs[number]["file_name"] for number in sorted(read.imgs)] == [photo.source.name for photo in photos]
    [first, second, third] = read.loadAnns(sorted(read.anns))
    expected = np.zeros((40, 60), np.uint8)
    expected[2:22, 1:31] = 1
    assert (read.annToMask(first) == expected).all()
    assert (first["bbox"], first["area"], first["score"], first["iscrowd"]) == ([1, 2, 30, 20], 600, 0.9, 0)
    assert read.annToMask(second).all()
    assert read.imgs[third["image_id"]]["file_name"] == "sub/naïve\n☃.jpg"
    assert read.cats[first["category_id"]]["name"] == "dog"
    assert read.cats[third["category_id"]]["name"] == "cat"
    assert sorted(read.cats) == [1, 2]


def test_masks_are_polygons_for_tools_that_read_those_alone(tmp_path: Path, make_photo: MakePhoto) -> None:
    pixels = np.zeros((40, 60), bool)
    pixels[5:30, 5:30] = True
    pixels[10:20, 10:20] = False
    pixels[2:8, 40:50] = True
    photo = make_photo("a.jpg")
    photo = replace(photo, size=ImageSize(40, 60), segments=(Segment.of(Mask(pixels, 0.9), "cat"),))
    (tmp_path / "out.json").write_text("".join(coco.document([photo], ["cat"], shape="polygons", tolerance=0)))
    read = COCO(str(tmp_path / "out.json"))
    (annotation,) = read.anns.values()
    assert len(annotation["segmentation"]) == 2, "a polygon for each part"
    assert annotation["area"] == pixels.sum()
    assert masks.iou(read.annToMask(annotation).astype(bool), pixels) > 0.9, "pycocotools takes half a pixel more"


def test_numbers_that_a_data_set_has_already_stay(make_photo: MakePhoto) -> None:
    photos = [make_photo(name, (1, 2, 31, 22), label=label) for name, label in (("b.jpg", "dog"), ("a.jpg", "new"))]
    ids = coco.Ids({"dog": 18, "cat": 17}, {"b.jpg": 139}.get, 500)
    document = json.loads("".join(coco.document(photos, ["cat", "dog", "new"], ids)))
    assert [(one["id"], one["name"]) for one in document["categories"]] == [(17, "cat"), (18, "dog"), (19, "new")]
    assert [(one["id"], one["file_name"]) for one in document["images"]] == [(139, "b.jpg"), (501, "a.jpg")]
    assert [(one["image_id"], one["category_id"]) for one in document["annotations"]] == [(139, 18), (501, 19)]


def test_no_photo_at_all_is_still_a_document() -> None:
    document = json.loads("".join(coco.document([], ["cat"])))
    assert document["images"] == document["annotations"] == []


def test_no_score_is_more_than_one(make_photo: MakePhoto) -> None:
    """The network's own may be."""
    photo = make_photo("a.jpg", (1, 2, 31, 22))
    photo = replace(photo, segments=tuple(replace(segment, score=1.02) for segment in photo.segments))
    [annotation] = json.loads("".join(coco.document([photo], ["object"])))["annotations"]
    assert annotation["score"] == 1
