"""Which objects classes are learned from, and what becomes of them: in the store, in a job, in answers."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskloop.errors import BadRequest, ImageUnavailable
from maskloop.geometry.label_studio_rle import encode
from maskloop.learning import naming
from maskloop.learning.approved import count_labels
from maskloop.learning.classifiers import Classifiers, of_project
from maskloop.learning.dataset import ReviewedPhoto, from_coco, ground_truth
from maskloop.learning.examples import classify_with, from_reviews, learn, newest
from maskloop.learning.naming import Namer
from maskloop.learning.orders import RETRY
from maskloop.learning.spool import FeedbackUnavailable
from maskloop.learning.store import FeedbackStore
from maskloop.sam.values import LOOKS_LENGTH

Json = dict[str, Any]
NAMES = ["Cat", "Dog", "Fox"]
PROJECT = {
    "id": 7,
    "parsed_label_config": {
        "brush": {"type": "BrushLabels", "inputs": [{"value": "photo"}], "labels": NAMES},
        "box": {"type": "RectangleLabels", "inputs": [{"value": "photo"}], "labels": NAMES},
    },
}


def drawn(left: int) -> np.ndarray:
    mask = np.zeros((30, 40), bool)
    mask[5:20, left : left + 10] = True
    return mask


def brush(region: str, left: int, label: str) -> Json:
    """An object whose class says where it is: that is what ``describe`` sees."""
    value = {"format": "rle", "rle": encode(drawn(left)), "brushlabels": [label] if label else []}
    shape = {"id": region, "type": "brushlabels", "from_name": "brush", "to_name": "image", "value": value}
    return shape | {"original_width": 40, "original_height": 30}


def rectangle(region: str, label: str) -> Json:
    value = {"x": 10, "y": 10, "width": 20, "height": 20, "rectanglelabels": [label]}
    return brush(region, 0, "") | {"type": "rectanglelabels", "from_name": "box", "value": value}


def annotate(store: FeedbackStore, task: int, *regions: Json) -> None:
    found = {"id": task, "task": task, "project": 7, "result": list(regions), "completed_by": 1}
    event = {"annotation": found | {"updated_at": datetime(2026, 11, 21, tzinfo=UTC).isoformat()}, "project": PROJECT}
    seen = {"id": task, "project": 7, "data": {"photo": f"/data/upload/7/{task}.png"}}
    store.record_event(event | {"action": "ANNOTATION_CREATED", "task": seen})
    store.process_pending()


def load(_reference: str) -> np.ndarray:
    return np.zeros((30, 40, 3), np.uint8)


def describe(_image: np.ndarray, masks: Any) -> np.ndarray:
    """How far left an object is, in each feature, with its own sign."""
    signs = np.where(np.arange(LOOKS_LENGTH) % 2, 1.0, -1.0)
    return np.stack([signs * float(np.flatnonzero(mask.any(axis=0))[0]) + 1e-3 for mask in masks]).astype(np.float32)


@pytest.fixture
def store(sqlite_store: FeedbackStore) -> FeedbackStore:
    return sqlite_store


def test_reviewed_objects_with_a_label_are_examples(store: FeedbackStore) -> None:
    annotate(store, 1, brush("a", 3, "Cat"), brush("b", 20, "Dog"), brush("c", 25, ""))
    (photo,) = from_reviews(store, 7, load)
    assert [example.label for example in photo.objects] == ["Cat", "Dog"]
    assert np.array_equal(photo.objects[1].mask, drawn(20))
    assert photo.read().shape == (30, 40, 3)


def test_a_label_may_stand_in_a_result_of_its_own(store: FeedbackStore) -> None:
    shape = brush("a", 3, "")
    annotate(store, 1, shape, shape | {"type": "labels", "value": shape["value"] | {"labels": ["Cat"]}})
    (photo,) = from_reviews(store, 7, load)
    assert [example.label for example in photo.objects] == ["Cat"]
    assert count_labels(store, 7) == {"Cat": 1}


def test_a_rectangle_is_an_example_of_a_label_that_nothing_outlined_has(store: FeedbackStore) -> None:
    annotate(store, 1, brush("a", 3, "Cat"), rectangle("b", "Cat"), rectangle("d", "Dog"))
    annotate(store, 2, rectangle("c", "Dog"))
    labels = [[example.label for example in photo.objects] for photo in from_reviews(store, 7, load)]
    assert labels == [["Cat", "Dog"], ["Dog"]]
    assert count_labels(store, 7) == {"Cat": 1, "Dog": 2}


def test_of_a_class_with_many_examples_the_last_photos_ones_are_taken() -> None:
    cat, *others = (ground_truth(drawn(1), label) for label in ("Cat", *"0123"))
    photos = [ReviewedPhoto(other.label, lambda: load(""), (cat, other)) for other in others]
    kept = newest(photos, 2)
    assert [[example.label for example in photo.objects] for photo in kept] == [
        ["0"],
        ["1"],
        ["Cat", "2"],
        ["Cat", "3"],
    ]


def named(label: str, left: int, read: Any = lambda: load("")) -> ReviewedPhoto:
    return ReviewedPhoto(f"{label} {left}", read, (ground_truth(drawn(left), label),))


def test_what_can_not_be_read_is_left_out() -> None:
    def gone() -> np.ndarray:
        raise ImageUnavailable("It is gone.")

    cats, dogs = [named("Cat", left) for left in (0, 1, 2)], [named("Dog", left) for left in (20, 21, 22)]
    classes = learn([*cats, named("Fox", 9, gone), *dogs], describe)
    assert classes.names == ("Cat", "Dog")
    assert classes.examples == 6
    with pytest.raises(BadRequest, match="no examples"):
        learn([named("Fox", 9, gone)], describe)


def test_an_empty_mask_has_no_class() -> None:
    cats, dogs = [named("Cat", left) for left in range(5)], [named("Dog", left) for left in range(20, 25)]
    classify = classify_with(learn([*cats, *dogs], describe), describe)
    assert classify(load(""), [drawn(2), np.zeros((30, 40), bool), drawn(22)]) == ["Cat", None, "Dog"]
    assert classify(load(""), []) == []


def test_objects_of_a_coco_file_are_examples_of_their_categories(tmp_path: Path) -> None:
    import json

    from PIL import Image

    Image.fromarray(load("")).save(tmp_path / "a.png")
    square = [5, 5, 25, 5, 25, 25, 5, 25]
    shapes = [
        {"id": n, "image_id": 1, "category_id": n, "bbox": [5, 5, 20, 20], "segmentation": [square]} for n in (1, 2)
    ]
    document = {
        "images": [{"id": 1, "file_name": "a.png", "height": 30, "width": 40}],
        "annotations": shapes,
        "categories": [{"id": 1, "name": "Cat"}, {"id": 2, "name": "Dog"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(document))
    (photo,) = from_coco(tmp_path, tmp_path / "a.json")
    assert [example.label for example in photo.objects] == ["Cat", "Dog"]
    (photo,) = from_coco(tmp_path, tmp_path / "a.json", ["Dog"])
    assert [example.label for example in photo.objects] == ["Dog"]
    with pytest.raises(BadRequest, match=r"no object of category Fox\. It has: Cat, Dog\."):
        from_coco(tmp_path, tmp_path / "a.json", ["Fox"])
    (tmp_path / "b.json").write_text(json.dumps(document | {"categories": []}))
    (photo,) = from_coco(tmp_path, tmp_path / "b.json")
    assert [example.label for example in photo.objects] == ["1", "2"]


class TestJob:
    """A project's classes are learned by themselves, when enough is new."""

    @pytest.fixture
    def classifiers(self, tmp_path: Path) -> Classifiers:
        return Classifiers(tmp_path / "models")

    @pytest.fixture
    def namer(self, store: FeedbackStore, classifiers: Classifiers) -> Namer:
        return Namer(store, classifiers, load, describe)

    def test_once_there_are_enough_examples_of_two_classes(
        self, store: FeedbackStore, namer: Namer, classifiers: Classifiers
    ) -> None:
        for task in range(1, 6):
            annotate(store, task, brush(f"c{task}", task, "Cat"))
        assert namer({"project": 7}) == {"classes": []}
        assert classifiers.find(of_project(7)) is None
        for task in range(6, 11):
            annotate(store, task, brush(f"d{task}", 14 + task, "Dog"))
        assert namer({"project": 7}) == {"classes": ["Cat", "Dog"]}
        classify = classify_with(classifiers.get(of_project(7)), describe)
        assert classify(load(""), [drawn(4), drawn(23)]) == ["Cat", "Dog"]

    def test_again_when_there_are_a_fifth_more_or_another_class(
        self, store: FeedbackStore, namer: Namer, classifiers: Classifiers
    ) -> None:
        for task in range(1, 6):
            annotate(store, task, brush(f"c{task}", task, "Cat"), brush(f"d{task}", 14 + task, "Dog"))
        assert namer({"project": 7})["classes"]
        assert not namer({"project": 7})["classes"]
        annotate(store, 6, brush("e", 3, "Cat"))
        assert not namer({"project": 7})["classes"]
        annotate(store, 7, brush("f", 3, "Cat"))
        assert namer({"project": 7})["classes"] == ["Cat", "Dog"]
        assert classifiers.get(of_project(7)).examples == 12
        annotate(store, 8, *(brush(f"f{left}", left, "Fox") for left in (28, 29, 30)))
        assert namer({"project": 7})["classes"] == ["Cat", "Dog", "Fox"]

    @pytest.mark.parametrize("readable", [0, 7])
    def test_what_can_not_be_read_is_not_tried_after_each_review(
        self, store: FeedbackStore, classifiers: Classifiers, readable: int
    ) -> None:
        """Of ten photos; neither if there are classes without the others, nor if there are none."""
        tried: list[str] = []

        def partly(reference: str) -> np.ndarray:
            tried.append(reference)
            if int(Path(reference).stem) > readable:
                raise ImageUnavailable("It is gone.")
            return load(reference)

        namer = Namer(store, classifiers, partly, describe)
        for task in range(1, 11):
            annotate(store, task, brush("a", task, "Cat") if task % 2 else brush("b", 14 + task, "Dog"))
        namer({"project": 7})
        assert (classifiers.find(of_project(7)) is not None) == bool(readable)
        assert len(tried) == 10
        annotate(store, 11, brush("c", 3, "Cat"))
        namer({"project": 7})
        assert len(tried) == 10
        last = classifiers.last_attempt(of_project(7))
        assert last is not None
        classifiers.note(of_project(7), last.model_copy(update={"at": last.at - 2 * RETRY}))
        namer({"project": 7})
        assert len(tried) == 21

    def test_what_is_not_about_the_examples_is_tried_again_at_once(
        self, store: FeedbackStore, namer: Namer, classifiers: Classifiers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise FeedbackUnavailable("The database is down.")

        for task in range(1, 6):
            annotate(store, task, brush(f"c{task}", task, "Cat"), brush(f"d{task}", 14 + task, "Dog"))
        with monkeypatch.context() as broken:
            broken.setattr(naming, "from_reviews", fail)
            with pytest.raises(FeedbackUnavailable):
                namer({"project": 7})
        assert classifiers.last_attempt(of_project(7)) is None
        assert namer({"project": 7}) == {"classes": ["Cat", "Dog"]}

    def test_nothing_is_read_before_it_is_due(
        self, store: FeedbackStore, namer: Namer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def read(*_: object) -> None:
            raise AssertionError("masks were decoded")

        annotate(store, 1, brush("c", 3, "Cat"), brush("d", 20, "Dog"))
        monkeypatch.setattr(naming, "from_reviews", read)
        assert namer({"project": 7}) == {"classes": []}
