"""The COCO output is what COCO's own tools read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO

from maskloop.annotate import coco
from maskloop.annotate.values import Annotated

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


def test_no_photo_at_all_is_still_a_document() -> None:
    document = json.loads("".join(coco.document([], ["cat"])))
    assert document["images"] == document["annotations"] == []


def test_no_score_is_more_than_one(make_photo: MakePhoto) -> None:
    """The network's own may be."""
    photo = make_photo("a.jpg", (1, 2, 31, 22))
    photo = replace(photo, segments=tuple(replace(segment, score=1.02) for segment in photo.segments))
    [annotation] = json.loads("".join(coco.document([photo], ["object"])))["annotations"]
    assert annotation["score"] == 1
