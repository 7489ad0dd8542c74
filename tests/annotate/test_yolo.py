"""The YOLO output says what the masks say, in folders that Ultralytics reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays

from maskloop.annotate import yolo
from maskloop.annotate.formats import Photos, Yolo
from maskloop.annotate.output import open_output
from maskloop.annotate.values import Annotated, Segment, Source
from maskloop.geometry import masks, polygons
from maskloop.sam.values import ImageSize, Mask

MakePhoto = Callable[..., Annotated]
CLASSES = {"cat": 0, "dog": 1}


def photo_of(pixels: np.ndarray) -> Annotated:
    return Annotated(Source("/a.jpg", "a.jpg"), ImageSize(*pixels.shape), (Segment.of(Mask(pixels, 0.9), "dog"),))


def drawn(line: str, height: int, width: int) -> np.ndarray:
    """The polygon of one line, by the even-odd rule, as Ultralytics fills it."""
    points = np.array(line.split()[1:], float).reshape(-1, 2) * [width, height]
    return polygons.fill([points], height, width)


def test_a_box_is_its_class_centre_and_size_as_parts_of_the_photo(make_photo: MakePhoto) -> None:
    photo = make_photo("a.jpg", (15, 10, 45, 20), label="dog")
    assert yolo.labels(photo, CLASSES, "boxes") == "1 0.5 0.375 0.5 0.25\n"


def test_each_object_is_one_line_and_a_photo_without_objects_an_empty_file(make_photo: MakePhoto) -> None:
    photo = make_photo("a.jpg", (0, 0, 10, 10), (20, 20, 30, 30), label="cat")
    assert yolo.labels(photo, CLASSES, "polygons").count("\n") == 2
    assert yolo.labels(make_photo("a.jpg"), CLASSES, "polygons") == ""


def test_islands_and_holes_of_an_object_stay_in_its_one_polygon() -> None:
    pixels = np.zeros((100, 120), bool)
    pixels[10:60, 10:60] = True
    pixels[20:40, 20:40] = False
    pixels[70:90, 80:110] = True
    pixels[5:15, 100:110] = True
    [line] = yolo.labels(photo_of(pixels), CLASSES, "polygons", 0).splitlines()
    assert (drawn(line, 100, 120) == pixels).all()


@settings(max_examples=60)
@given(arrays.arrays(bool, (12, 17)).filter(np.any))
def test_any_mask_comes_back(pixels: np.ndarray) -> None:
    [line] = yolo.labels(photo_of(pixels), CLASSES, "polygons", 0).splitlines()
    assert (drawn(line, 12, 17) == pixels).all()


def test_a_tolerance_drops_points_and_keeps_the_shape() -> None:
    y, x = np.mgrid[:200, :200]
    disc = (x - 100) ** 2 + (y - 100) ** 2 < 80**2
    [exact] = yolo.labels(photo_of(disc), CLASSES, "polygons", 0).splitlines()
    [short] = yolo.labels(photo_of(disc), CLASSES, "polygons", 1).splitlines()
    assert len(short) < len(exact) / 3
    assert masks.iou(drawn(short, 200, 200), disc) > 0.98


@pytest.mark.parametrize(
    ("names", "images", "labels"),
    [
        (["a.jpg", "sub/a.jpg"], ["a.jpg", "sub/a.jpg"], ["a.txt", "sub/a.txt"]),
        (["a.jpg", "a.png", "A.JPG"], ["a.jpg", "a-2.png", "A-3.JPG"], ["a.txt", "a-2.txt", "A-3.txt"]),
        (["a-2.jpg", "a.jpg", "a.png"], ["a-2.jpg", "a.jpg", "a-3.png"], ["a-2.txt", "a.txt", "a-3.txt"]),
        (["images/x/images/b.jpg"], ["images_/x/images_/b.jpg"], ["images_/x/images_/b.txt"]),
        (["b.c.jpg", " ☃\n.jpg", " ☃_.jpg"], ["b.c.jpg", " ☃_.jpg", " ☃_-2.jpg"], ["b.c.txt", " ☃_.txt", " ☃_-2.txt"]),
        (["1./b.jpg", "\udcff.jpg"], ["1._/b.jpg", "_.jpg"], ["1._/b.txt", "_.txt"]),
        (["a.JFIF", "b.j2k"], ["a.jpg", "b.jp2"], ["a.txt", "b.txt"]),
    ],
)
def test_every_photo_has_a_label_file_of_its_own(
    make_photo: MakePhoto, names: list[str], images: list[str], labels: list[str]
) -> None:
    photos = [make_photo(name) for name in names]
    assert list(yolo.files(photos)) == list(zip(photos, images, labels, strict=True))


def test_a_photo_that_stays_where_it_is_keeps_its_suffix(make_photo: MakePhoto) -> None:
    assert [image for _, image, _ in yolo.files([make_photo("a.jfif")], theirs=True)] == ["a.jfif"]


def train_photos(folder: Path) -> list[Path]:
    """As Ultralytics reads the list that ``data.yaml`` names."""
    listing = folder / yaml.safe_load((folder / "data.yaml").read_text())["train"]
    lines = listing.read_text(encoding="utf-8").strip().splitlines()
    return [Path(line.replace("./", f"{listing.parent}/")) for line in lines if line.startswith("./")]


@pytest.mark.parametrize("place", ["{}", "file://{}"])
def test_training_takes_the_photos_of_the_last_run_alone(make_photo: MakePhoto, tmp_path: Path, place: str) -> None:
    output = open_output(place.format(tmp_path / "out"))
    for names in (["a.jpg", "1./b\nc.jpg"], ["1./b\nc.jpg"]):
        photos = [replace(make_photo(), source=Source(str(tmp_path / "photo"), name)) for name in names]
        (tmp_path / "photo").write_bytes(b"content")
        Yolo(["object"]).write(output, photos)
        found = train_photos(tmp_path / "out")
        assert [path.read_bytes() for path in found] == [b"content"] * len(names)
    assert [path.name for path in found] == ["b_c.jpg"]


@pytest.mark.parametrize(("place", "photos"), [("{}", "copy"), ("file://{}", "auto")])
def test_a_copied_photo_is_the_one_that_its_labels_are_of(
    make_photo: MakePhoto, tmp_path: Path, place: str, photos: Photos
) -> None:
    source = Source(str(tmp_path / "photo.jpg"), "a.jpg")
    output = open_output(place.format(tmp_path / "out"))
    for content in (b"yesterday's", b"today's"):
        Path(source.reference).write_bytes(content)
        Yolo(["object"], photos=photos).write(output, [replace(make_photo(), source=source)])
        assert (tmp_path / "out" / "images" / "a.jpg").read_bytes() == content


@pytest.mark.parametrize("label", ["cat", "naïve ☃: #1 'x' \"y\"", "no", "1", "a\nb"])
def test_any_name_can_be_a_class(label: str) -> None:
    assert yaml.safe_load(yolo.data_yaml(["x", label])) == {
        "train": "train.txt",
        "val": "train.txt",
        "names": {0: "x", 1: label},
    }
