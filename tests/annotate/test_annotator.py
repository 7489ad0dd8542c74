"""The three lines of Python that the README shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image as Pillow
from pycocotools.coco import COCO

from maskloop.annotate import Annotator, save_coco, save_label_studio, save_yolo
from maskloop.annotate.detections import parse
from maskloop.annotate.label_studio import Addresses
from maskloop.sam.automatic import AutomaticSettings
from maskloop.sam.values import Image
from maskloop.settings import Settings

from .stub_app import make_worker

FEW = AutomaticSettings(points_per_side=2)


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path in paths:
        Pillow.new("RGB", (200, 100)).save(path)
    return paths


def test_paths_in_files_out(tmp_path: Path, photos: list[Path]) -> None:
    with Annotator(automatic=FEW, make_worker=make_worker) as annotator:
        annotated = annotator.annotate(photos)
        again = annotator.annotate(photos[:1])
    assert [photo.source.reference for photo in annotated] == list(map(str, photos))
    assert annotated.photos[:1] == again.photos
    save_coco(annotated, tmp_path / "out" / "coco.json")
    assert len(COCO(str(tmp_path / "out" / "coco.json")).anns) == 12
    save_yolo(annotated, tmp_path / "yolo")
    assert len(list((tmp_path / "yolo" / "labels").rglob("*.txt"))) == 3
    save_label_studio(annotated, tmp_path / "ls.json", Addresses(local_files_root=tmp_path))
    assert (tmp_path / "ls.json").exists()


def test_what_is_skipped_is_told(tmp_path: Path, photos: list[Path]) -> None:
    photos[1].write_text("no image")
    with Annotator(automatic=FEW, make_worker=make_worker) as annotator:
        annotated = annotator.annotate(tmp_path)
    assert [photo.source.name for photo in annotated] == ["0.png", "2.png"]
    assert [skipped.reference for skipped in annotated.skipped] == [str(photos[1])]


def test_boxes_prompt_the_masks(photos: list[Path]) -> None:
    boxes = parse(b'[{"image_id": 0, "category_id": 1, "bbox": [20, 10, 40, 40]}]', ["cat"])
    with Annotator(detections=boxes, make_worker=make_worker) as annotator:
        annotated = annotator.annotate(photos)
    assert [[segment.label for segment in photo.segments] for photo in annotated] == [["cat"], [], []]


@pytest.mark.weights
def test_a_real_photo_gives_real_objects(tmp_path: Path, photo: Callable[[str], Image], official_weights: Path) -> None:
    """coffee.png: a cup of coffee on a saucer."""
    Pillow.fromarray(photo("coffee.png")).save(tmp_path / "coffee.png")
    settings = Settings(engine="torch-cpu", data_dir=tmp_path)
    with Annotator(automatic=AutomaticSettings(points_per_side=8), settings=settings) as annotator:
        [annotated] = annotator.annotate([tmp_path / "coffee.png"])
    cup = (220, 290)
    on_cup = [segment for segment in annotated.segments if segment.pixels(annotated.size)[cup]]
    assert len(annotated.segments) >= 3
    assert any(5_000 < segment.area < 60_000 for segment in on_cup)
