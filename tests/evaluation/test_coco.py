import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from pycocotools import mask as coco_mask

from maskloop.errors import BadRequest, ImageUnavailable, ImageUnreadable
from maskloop.evaluation.coco import load

Write = Callable[..., tuple[Path, Path]]
TOO_LONG = coco_mask.encode(np.ones((200, 200), np.uint8, order="F"))["counts"].decode()


def test_objects_are_those_of_100_pixels_that_are_no_crowd(write_dataset: Write) -> None:
    (photo,) = load(*write_dataset())
    assert [target.area for target in photo.objects] == [40 * 40, 60 * 30]
    assert photo.objects[0].mask[8:48, 10:50].all()
    assert photo.objects[0].box.tolist() == [10, 8, 50, 48]
    assert photo.objects[1].mask.sum() == photo.objects[1].mask[60:90, 60:120].sum() == 1800
    assert [target.area for target in photo.others] == [9 * 9, 96 * 128]


def test_a_photo_is_read_as_rgb(write_dataset: Write) -> None:
    (photo,) = load(*write_dataset())
    assert photo.read().shape == (96, 128, 3)
    assert (photo.read() == 90).all()


def store_turned(path: Path, orientation: int, height: int, width: int) -> None:
    """A PNG of that size, white at the left edge of what is stored."""
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    stored = np.zeros((height, width, 3), np.uint8)
    stored[:, :10] = 255
    PillowImage.fromarray(stored).save(path, exif=exif)


@pytest.mark.parametrize(
    ("orientation", "stored", "white"),
    [(6, (128, 96), np.s_[:10]), (3, (96, 128), np.s_[:, -10:]), (2, (96, 128), np.s_[:, -10:])],
)
def test_a_photo_is_read_upright(
    write_dataset: Write, orientation: int, stored: tuple[int, int], white: tuple[slice, ...]
) -> None:
    images, annotations = write_dataset()
    store_turned(images / "a.png", orientation, *stored)
    (photo,) = load(images, annotations)
    upright = photo.read()
    assert upright.shape == (96, 128, 3)
    assert upright[white].all()
    assert np.count_nonzero(upright) == np.count_nonzero(upright[white])


def test_a_photo_of_which_only_the_stored_pixels_have_the_annotated_size_is_read_as_stored(
    write_dataset: Write,
) -> None:
    images, annotations = write_dataset()
    store_turned(images / "a.png", 6, 96, 128)
    (photo,) = load(images, annotations)
    assert photo.read()[:, :10].all()


def test_a_photo_of_another_size_than_annotated_is_refused(write_dataset: Write) -> None:
    images, annotations = write_dataset()
    PillowImage.new("RGB", (100, 50)).save(images / "a.png")
    with pytest.raises(BadRequest, match=r"100 x 50 pixels.*128 x 96"):
        load(images, annotations)[0].read()


def test_a_corrupt_photo_is_named(write_dataset: Write) -> None:
    images, annotations = write_dataset()
    (images / "a.png").write_bytes(b"no image")
    with pytest.raises(ImageUnreadable, match=r"a\.png"):
        load(images, annotations)[0].read()


def test_photos_that_the_folder_lacks_are_named_and_left_out(
    write_dataset: Write, caplog: pytest.LogCaptureFixture
) -> None:
    def add_one(document: dict) -> None:
        document["images"].insert(0, {"id": 8, "file_name": "gone.png", "height": 5, "width": 5})

    photos = load(*write_dataset(add_one), limit=1)
    assert "1 annotated photos are not in" in caplog.text
    assert "left out: gone.png" in caplog.text
    assert [photo.path.name for photo in photos] == ["a.png"]


def test_without_any_photo_there_is_an_error(write_dataset: Write, tmp_path: Path) -> None:
    images, annotations = write_dataset()
    (images / "a.png").unlink()
    with pytest.raises(ImageUnavailable, match=r"None of the 1 photos .*a\.png"):
        load(images, annotations)
    with pytest.raises(ImageUnavailable, match="not a folder"):
        load(tmp_path / "nowhere", annotations)


def test_without_any_object_there_is_an_error(write_dataset: Write) -> None:
    with pytest.raises(BadRequest, match="no object of at least 100 pixels"):
        load(*write_dataset(lambda document: document["annotations"].clear()))


@pytest.mark.parametrize("segmentation", [[], None, [[1, 1, 9, 9]], [[]]])
def test_an_object_without_an_outline_is_told_and_left_out(
    write_dataset: Write, caplog: pytest.LogCaptureFixture, segmentation: object
) -> None:
    def spoil(document: dict) -> None:
        document["annotations"][0]["segmentation"] = segmentation

    (photo,) = load(*write_dataset(spoil))
    assert [target.area for target in photo.objects] == [60 * 30]
    assert "1 annotated objects have no outline and are left out." in caplog.text


def test_a_polygon_without_an_inside_is_no_part_of_an_outline(write_dataset: Write) -> None:
    (photo,) = load(
        *write_dataset(lambda document: document["annotations"][0]["segmentation"].insert(0, [0, 0, 90, 90]))
    )
    assert photo.objects[0].area == 40 * 40


def test_boxes_alone_are_an_error_that_says_so(write_dataset: Write) -> None:
    def spoil(document: dict) -> None:
        for annotation in document["annotations"]:
            annotation["segmentation"] = []

    with pytest.raises(BadRequest, match="4 annotated objects have no outline"):
        load(*write_dataset(spoil))


def test_the_objects_of_some_categories_can_be_asked_for_by_name(write_dataset: Write) -> None:
    def name(document: dict) -> None:
        document["categories"].append({"id": 2, "name": "wide"})
        document["annotations"][1]["category_id"] = 2

    (photo,) = load(*write_dataset(name), categories=["wide"])
    assert [target.label for target in photo.objects] == ["wide"]


def test_a_category_of_which_there_is_no_object_is_refused(write_dataset: Write) -> None:
    with pytest.raises(BadRequest, match="no object of category narrow"):
        load(*write_dataset(), categories=["narrow"])


def test_of_a_category_that_the_file_does_not_list_the_number_is_the_name(write_dataset: Write) -> None:
    (photo,) = load(*write_dataset(lambda document: document["categories"].clear()), categories=["1"])
    assert {target.label for target in photo.objects} == {"1"}


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        ("polygon", "segmentation"),
        ({"size": [96, 128], "counts": [5, 99999]}, "can't be decoded"),
        ({"size": [96, 128], "counts": TOO_LONG}, "can't be decoded"),
        ({"size": [10, 10], "counts": [50, 50]}, "10 x 10 pixels on a photo of 128 x 96"),
    ],
)
def test_a_bad_segmentation_is_refused(write_dataset: Write, segmentation: object, reason: str) -> None:
    def spoil(document: dict) -> None:
        document["annotations"][0]["segmentation"] = segmentation

    with pytest.raises(BadRequest, match=reason):
        load(*write_dataset(spoil))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"images": []}', json.dumps({"images": [{"id": 1}]})])
def test_what_is_not_coco_is_refused(write_dataset: Write, text: str) -> None:
    images, annotations = write_dataset()
    annotations.write_text(text)
    with pytest.raises(BadRequest, match="not COCO's instances JSON"):
        load(images, annotations)


def test_a_file_that_is_not_there_is_named(write_dataset: Write, tmp_path: Path) -> None:
    images, _ = write_dataset()
    with pytest.raises(BadRequest, match=r"none\.json can't be read: No such file"):
        load(images, tmp_path / "none.json")
