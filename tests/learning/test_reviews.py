"""What a project's reviews say: masks to learn from, and how far its scores can be trusted."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine

from maskloop.errors import BadRequest
from maskloop.geometry.label_studio_rle import encode
from maskloop.learning.approved import count_labels, count_reviewed
from maskloop.learning.dataset import describe, split
from maskloop.learning.events import ReviewGiven
from maskloop.learning.reviews import from_reviews
from maskloop.learning.store import FeedbackStore
from maskloop.learning.tables import Decision

Json = dict[str, Any]
PROJECT = {
    "id": 7,
    "parsed_label_config": {
        "brush": {"type": "BrushLabels", "inputs": [{"value": "photo"}], "labels": ["Dog"]},
        "box": {"type": "RectangleLabels", "inputs": [{"value": "photo"}], "labels": ["Dog"]},
        "elsewhere": {"type": "BrushLabels", "inputs": [{"value": "mask"}], "labels": ["Dog"]},
    },
}
NOW = datetime(2026, 11, 21, tzinfo=UTC)


def drawn(left: int, width: int = 40, height: int = 30) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[5:20, left : left + 10] = True
    return mask


def brush(region: str, left: int, **more: Any) -> Json:
    mask = drawn(left, more.get("original_width", 40))
    value = {"format": "rle", "rle": encode(mask), "brushlabels": ["Dog"]}
    shape = {"id": region, "type": "brushlabels", "from_name": "brush", "to_name": "image", "value": value}
    return shape | {"original_width": 40, "original_height": 30} | more


def rectangle(region: str) -> Json:
    value = {"x": 10, "y": 10, "width": 20, "height": 20, "rectanglelabels": ["Dog"]}
    return brush(region, 0) | {"type": "rectanglelabels", "from_name": "box", "value": value}


def annotate(store: FeedbackStore, task: int, *regions: Json, id: int | None = None, **more: Any) -> None:
    found = {"id": id or task, "task": task, "project": 7, "result": list(regions), "completed_by": 1}
    event = {"annotation": found | {"updated_at": NOW.isoformat()} | more, "project": PROJECT}
    seen = {"id": task, "project": 7, "data": {"photo": f"/data/upload/7/{task}.png"}}
    store.record_event(event | {"action": "ANNOTATION_CREATED", "task": seen})
    store.process_pending()


def load(_reference: str) -> np.ndarray:
    return np.zeros((30, 40, 3), np.uint8)


def test_other_projects_verdicts_are_not_read(
    sqlite_store: FeedbackStore, scans: Callable[[Engine], AbstractContextManager[list[str]]]
) -> None:
    for task in range(1, 4):
        annotate(sqlite_store, task, brush("a", 3), brush("b", 20))
    with sqlite_store.session() as session:
        engine = session.get_bind().engine
    with scans(engine) as found:
        assert len(from_reviews(sqlite_store, 7, load)[0]) == 3
        assert sum(count_reviewed(sqlite_store, 7).values()) == 6
        assert sum(count_reviewed(sqlite_store, 7, NOW).values()) == 6
        assert count_labels(sqlite_store, 7) == {"Dog": 6}
    assert "SCAN region_verdicts" not in found
    assert "SCAN annotations" not in found


def test_approved_masks_come_back_with_their_image(store: FeedbackStore) -> None:
    annotate(store, 1, brush("a", 3), brush("b", 20))
    asked: list[str] = []
    photos, problems = from_reviews(store, 7, lambda reference: asked.append(reference) or load(reference))
    (photo,) = photos
    assert photo.name == "task 1"
    assert [(one.mask == drawn(left)).all() for one, left in zip(photo.objects, (3, 20), strict=True)] == [True, True]
    assert not asked
    photo.read()
    assert asked == ["/data/upload/7/1.png"]
    assert problems == {}


def test_the_newest_annotation_of_a_task_counts(store: FeedbackStore) -> None:
    annotate(store, 1, brush("a", 3), id=1)
    annotate(store, 1, brush("b", 20), id=2, updated_at="2026-11-22T00:00:00Z")
    (photo,) = from_reviews(store, 7, load)[0]
    assert (photo.objects[0].mask == drawn(20)).all()
    assert count_reviewed(store, 7) == {1: 1}


def test_the_ground_truth_of_a_task_counts_before_newer_annotations(store: FeedbackStore) -> None:
    annotate(store, 1, brush("a", 3), id=1, ground_truth=True)
    annotate(store, 1, brush("b", 20), id=2, updated_at="2026-11-22T00:00:00Z")
    (photo,) = from_reviews(store, 7, load)[0]
    assert (photo.objects[0].mask == drawn(3)).all()
    annotate(store, 1, brush("a", 3), id=1, ground_truth=False, updated_at="2026-11-21T12:00:00Z")
    (photo,) = from_reviews(store, 7, load)[0]
    assert (photo.objects[0].mask == drawn(20)).all()


def test_what_nobody_stands_behind_is_not_learned(store: FeedbackStore) -> None:
    annotate(store, 1, brush("a", 3))
    annotate(store, 2, rectangle("r"))
    annotate(store, 3, brush("a", 3), was_cancelled=True)
    annotate(store, 4, brush("a", 3, from_name="gone"))
    store.record_review(ReviewGiven(task_id=1, reviewer_id="ann", decision=Decision.REJECTED, timestamp=NOW))
    store.process_pending()
    assert from_reviews(store, 7, load) == ([], {})
    store.record_review(
        ReviewGiven(task_id=1, reviewer_id="bob", decision=Decision.APPROVED, timestamp=datetime.now(UTC))
    )
    store.process_pending()
    assert [photo.name for photo in from_reviews(store, 7, load)[0]] == ["task 1"]


def test_what_can_be_learned_from_is_counted(store: FeedbackStore) -> None:
    annotate(store, 1, brush("a", 3), brush("b", 20), rectangle("r"))
    annotate(store, 2, rectangle("r"), brush("c", 3, from_name="gone"))
    annotate(store, 3, brush("a", 3), lead_time=None, parent_prediction=9)
    heard = datetime.now(UTC)
    annotate(store, 4, brush("a", 3))
    annotate(store, 5, brush("a", 3), was_cancelled=True)
    assert count_reviewed(store, 7) == {1: 2, 3: 1, 4: 1}
    assert count_reviewed(store, 7, heard) == {4: 1}
    assert count_labels(store, 7) == {"Dog": 5}
    store.record_review(ReviewGiven(task_id=1, reviewer_id="ann", decision=Decision.FLAGGED, timestamp=NOW))
    store.process_pending()
    assert count_reviewed(store, 7) == {3: 1, 4: 1}


def test_what_lies_on_no_image_of_its_task_does_not_count(store: FeedbackStore) -> None:
    annotate(store, 1, brush("a", 3, from_name="elsewhere"), brush("b", 20))
    assert count_reviewed(store, 7) == {1: 1}


def test_an_image_of_another_size_says_so_when_it_is_read(store: FeedbackStore) -> None:
    annotate(store, 1, brush("a", 3, original_width=50))
    (photo,) = from_reviews(store, 7, load)[0]
    with pytest.raises(BadRequest, match="has 40 x 30 pixels, but its masks have 50 x 30"):
        photo.read()


def test_a_damaged_mask_is_a_recorded_problem(store: FeedbackStore) -> None:
    damaged = brush("a", 3)
    damaged["value"]["rle"] = damaged["value"]["rle"][:12]
    annotate(store, 1, damaged, brush("b", 20))
    photos, problems = from_reviews(store, 7, load)
    assert len(photos[0].objects) == 1
    assert "damaged" in problems["task 1, region a"]


def test_an_unknown_project_says_what_to_do(store: FeedbackStore) -> None:
    with pytest.raises(BadRequest, match="maskloop sync"):
        from_reviews(store, 8, load)


def test_what_is_held_out_is_so_for_good(store: FeedbackStore, tmp_path: Path) -> None:
    for task in range(1, 31):
        annotate(store, task, brush("a", task % 30))
    photos, _ = from_reviews(store, 7, load)
    learn, keep = split(photos)
    assert 2 <= len(keep) <= 10
    assert {photo.name for photo in split(photos[::2])[1]} == {photo.name for photo in keep} & {
        photo.name for photo in photos[::2]
    }
    assert describe("reviews", learn).fingerprint == describe("reviews", learn[::-1]).fingerprint
    assert describe("reviews", learn).fingerprint != describe("reviews", learn[1:]).fingerprint


def test_who_skips_a_task_takes_nobodys_annotation_back(sqlite_store: FeedbackStore) -> None:
    annotate(sqlite_store, 1, brush("a", 3), id=1)
    annotate(sqlite_store, 1, id=2, was_cancelled=True, updated_at="2026-11-22T00:00:00Z")
    assert count_reviewed(sqlite_store, 7) == {1: 1}
