"""A detector's boxes find their photos, whatever the detector called them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from maskloop.annotate.detections import Detection, parse
from maskloop.annotate.values import AnnotateError

BOX = [1, 2, 3, 4]


def dataset(*files: str) -> bytes:
    return json.dumps(
        {
            "images": [{"id": number, "file_name": name, "width": 9} for number, name in enumerate(files)],
            "annotations": [
                {"id": number, "image_id": number, "category_id": 7, "bbox": BOX} for number in range(len(files))
            ],
            "categories": [{"id": 9, "name": "dog"}, {"id": 7, "name": "cat"}],
        }
    ).encode()


def results(*images: int | str, category: int = 1) -> bytes:
    return json.dumps(
        [{"image_id": image, "category_id": category, "bbox": BOX, "score": 0.5} for image in images]
    ).encode()


def test_a_data_set_brings_its_own_classes_in_the_order_of_their_ids() -> None:
    found = parse(dataset("a.jpg"))
    assert found.labels == ("cat", "dog")
    assert found["a.jpg"] == (Detection((1, 2, 3, 4), "cat", None),)


def test_the_numbers_of_a_data_set_are_known() -> None:
    ids = parse(dataset("a.jpg", "b.jpg")).ids
    assert (ids.categories, ids.most) == ({"cat": 7, "dog": 9}, 1)
    assert [ids.image(photo) for photo in ("x/b.jpg", "a.jpg", "c.jpg")] == [1, 0, None]


def test_crowds_are_no_objects_and_a_box_without_area_refuses_no_other() -> None:
    """Detectors make the latter, and COCO has one."""
    document = json.loads(dataset("a.jpg", "b.jpg", "c.jpg"))
    document["annotations"][1] |= {"iscrowd": 1}
    document["annotations"][2] |= {"bbox": [50, 60, 1.03, 0.0]}
    found = parse(json.dumps(document).encode())
    assert [len(found[name]) for name in ("a.jpg", "b.jpg", "c.jpg")] == [1, 0, 1]


def test_a_list_of_results_takes_its_classes_from_outside() -> None:
    found = parse(results("a.jpg", category=2), ["dog", "cat"])
    assert found["a.jpg"] == (Detection((1, 2, 3, 4), "cat", 0.5),)
    with pytest.raises(AnnotateError, match="category 3, and there are 2 classes"):
        parse(results("a.jpg", category=3), ["dog", "cat"])


@pytest.mark.parametrize(
    ("named", "photo"),
    [
        ("a.jpg", "a.jpg"),
        ("a.jpg", "train/a.jpg"),
        ("train/a.jpg", "a.jpg"),
        ("a", "train/a.jpg"),
        (9, "000000000009.jpg"),
        (0, "000.png"),
    ],
)
def test_a_photo_is_found_by_name_end_of_path_stem_or_number(named: int | str, photo: str) -> None:
    found = parse(results(named), ["cat"])
    name = found.name_of(photo)
    assert name == str(named)
    assert len(found[name]) == 1


@pytest.mark.parametrize(("named", "photo"), [("xa.jpg", "a.jpg"), ("x/a.jpg", "y/a.jpg"), (9, "90.jpg")])
def test_another_photo_is_not(named: int | str, photo: str) -> None:
    assert parse(results(named), ["cat"]).name_of(photo) is None


def test_a_photo_that_two_names_fit_is_not_guessed() -> None:
    with pytest.raises(AnnotateError, match=r"x/a\.jpg, y/a\.jpg"):
        parse(dataset("x/a.jpg", "y/a.jpg")).name_of("a.jpg")
    assert parse(dataset("x/a.jpg", "y/a.jpg")).name_of("y/a.jpg") == "y/a.jpg"


def test_classes_that_contradict_the_file_are_named() -> None:
    with pytest.raises(AnnotateError, match="not among yours: cat"):
        parse(dataset("a.jpg"), ["dog", "horse"])
    assert parse(dataset("a.jpg"), ["horse", "dog", "cat"]).labels == ("horse", "dog", "cat")


def bad(**changes: Any) -> bytes:
    return json.dumps([{"image_id": 1, "category_id": 1, "bbox": BOX, **changes}]).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"{}",
        b"[1]",
        b"\xff",
        bad(bbox=[1, 2, 3]),
        bad(bbox=[1, 2, -1, 4]),
        bad(image_id=None),
        bad(score="x"),
    ],
)
def test_anything_else_is_refused(content: bytes) -> None:
    with pytest.raises(AnnotateError, match="can't be understood"):
        parse(content, ["cat"])


def test_a_box_of_a_photo_or_class_that_the_file_does_not_list() -> None:
    document = json.loads(dataset("a.jpg"))
    document["annotations"][0]["image_id"] = 5
    with pytest.raises(AnnotateError, match="image 5"):
        parse(json.dumps(document).encode())
