"""The report tells what the reviews say, in one page that needs nothing else."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine

from maskloop.errors import ImageUnavailable
from maskloop.learning.acceptance import JudgedMask
from maskloop.learning.registry import OFFICIAL, ModelVersion, TrainingData
from maskloop.learning.report import NO_LABEL, Report, _reliability, gather
from maskloop.learning.report_page import compare, render
from maskloop.learning.store import FeedbackStore, MadePrediction
from maskloop.learning.versions import registry_of, version_of
from maskloop.sam.network import MobileSam
from maskloop.settings import Settings

Json = dict[str, Any]
PROJECT = {
    "id": 7,
    "title": "Pets <b>",
    "parsed_label_config": {"box": {"inputs": [{"value": "photo"}], "labels": ["Dog", "Cat"]}},
}


def box(region: str, x: float, *labels: str, **more: Any) -> Json:
    value = {"x": x, "y": 10, "width": 20, "height": 50, "rectanglelabels": list(labels)}
    shape = {"id": region, "type": "rectanglelabels", "from_name": "box", "to_name": "image", "value": value}
    return shape | {"original_width": 100, "original_height": 80} | more


@pytest.fixture
def report(sqlite_store: FeedbackStore, tmp_path: Path) -> Report:
    """A dog kept, a dog moved, a dog that was a cat, a cat added, one named that had no label; one click that took two
    prompts."""
    store = sqlite_store
    clicks = [{"id": "p1"}, {"id": "p2"}]
    store.record_predictions(
        [
            MadePrediction(1, 7, "v1", 0.9, [box("a", 10, "Dog")]),
            MadePrediction(2, 7, "v1", 0.6, [box("b", 10, "Dog")], clicks),
            MadePrediction(3, 7, "v1", 0.5, [box("c", 10, "Dog"), box("e", 60)]),
        ]
    )
    finals = {
        1: [box("a", 10, "Dog", origin="prediction"), box("d", 60, "Cat")],
        2: [box("b", 20, "Dog", origin="prediction-changed")],
        3: [box("c", 10, "Cat", origin="prediction-changed"), box("e", 60, "Cat", origin="prediction-changed")],
    }
    for task, result in finals.items():
        found = {"id": task, "task": task, "project": 7, "result": result, "lead_time": 10.0 * task}
        found["updated_at"] = datetime(2026, 11, 20 + task, tzinfo=UTC).isoformat()
        seen = {"id": task, "project": 7, "data": {"photo": f"{task}.png"}}
        store.record_event({"action": "ANNOTATION_CREATED", "annotation": found, "task": seen, "project": PROJECT})
    store.process_pending()
    return gather(store, registry_of(Settings(data_dir=tmp_path)), 7)


def test_verdicts_by_version(report: Report) -> None:
    assert report.verdicts == {"accepted": 2, "edited": 2, "added": 1}
    (v1,) = (one for one in report.versions if one.version == "v1")
    assert v1.acceptance == pytest.approx(3 / 4), "where the label alone was wrong, the mask wasn't"
    assert v1.kept == pytest.approx((1 + 1 / 3 + 1 + 1) / 4)


def test_only_a_projects_own_versions_have_seen_its_masks(sqlite_store: FeedbackStore, tmp_path: Path) -> None:
    registry, model = registry_of(Settings(data_dir=tmp_path)), MobileSam()
    for name, source in {"own": "project 7", "others": "project 8", "coco": "instances.json"}.items():
        data = TrainingData(source=source, fingerprint="x", photos=2, objects=5)
        registry.add(ModelVersion(name=name, data=data), model)
    sqlite_store.record_predictions([MadePrediction(1, 7, version_of(OFFICIAL), 0.9, [box("a", 10, "Dog")])])
    found = {"id": 1, "task": 1, "project": 7, "result": [box("a", 10, "Dog")]}
    event = {"annotation": found, "task": {"id": 1, "project": 7, "data": {}}, "project": PROJECT}
    sqlite_store.record_event({"action": "ANNOTATION_CREATED", **event})
    sqlite_store.process_pending()
    for served, learned in {"own": 5, "coco": 0}.items():
        registry.promote(served)
        report = gather(sqlite_store, registry, 7)
        assert report.learned == learned
        assert [one.version for one in report.versions] == list(dict.fromkeys([OFFICIAL, "own", served]))


def test_masks_are_counted_where_people_judge_masks(sqlite_store: FeedbackStore, tmp_path: Path) -> None:
    """Not the regions that show one."""
    regions = [box(f"r{number}", 10 * number, "Dog") for number in range(8)]
    sqlite_store.record_predictions([MadePrediction(1, 7, "v1", 0.9, regions, [{"id": "p"}])])
    found = {"id": 1, "task": 1, "project": 7, "result": [box("r0", 5, "Dog"), *regions[1:]]}
    event = {"annotation": found, "task": {"id": 1, "project": 7, "data": {}}, "project": PROJECT}
    sqlite_store.record_event({"action": "ANNOTATION_CREATED", **event})
    sqlite_store.process_pending()
    report = gather(sqlite_store, registry_of(Settings(data_dir=tmp_path)), 7)
    (v1,) = (one for one in report.versions if one.version == "v1")
    assert report.verdicts == {"accepted": 7, "edited": 1}
    assert (v1.masks, v1.acceptance, [(day.acceptance, day.prompts) for day in report.days]) == (1, 0, [(0, 1)])


def test_what_scores_are_worth_is_told_by_kind() -> None:
    """And no error of few masks: chances that are right would show one too."""
    at = datetime(2026, 11, 21, tzinfo=UTC)

    def masks(tasks: int, prompted: bool, accepted: int) -> list[JudgedMask]:
        """Ten of each task."""
        return [
            JudgedMask(0.9, number % 10 < accepted, prompted, 1, 1, "v", 7, number // 10, at)
            for number in range(10 * tasks)
        ]

    clicked, automatic = _reliability([*masks(20, False, 2), *masks(40, True, 9)])
    assert (clicked.prompted, automatic.prompted) == (True, False)
    assert (clicked.error, automatic.error) == (pytest.approx(0), pytest.approx(0.7))
    assert automatic.calibrated == pytest.approx(0, abs=0.02)
    assert [count for *_, count in automatic.bins] == [20] * 10
    (few,) = _reliability(masks(9, True, 9))
    assert (few.error, [count for *_, count in few.bins]) == (None, [23, 23, 22, 22])


def test_labels_are_counted_where_they_were_and_where_they_went(report: Report) -> None:
    assert report.confusion == {("Dog", "Dog"): 2, ("Dog", "Cat"): 1, (NO_LABEL, "Cat"): 2}
    dog, cat = sorted(report.classes, key=lambda one: one.label)[::-1]
    assert (dog.precision, dog.recall, dog.f1) == (pytest.approx(2 / 3), 1.0, pytest.approx(0.8))
    assert (cat.precision, cat.recall, cat.f1) == (None, 0.0, 0.0)


def test_what_people_spent_by_day(report: Report) -> None:
    assert [day.seconds for day in report.days] == [5.0, 20.0, 15.0]
    assert [day.prompts for day in report.days] == [None, 2.0, None]
    assert [day.acceptance for day in report.days] == [1.0, 0.0, 1.0]


def test_other_projects_are_not_read(
    report: Report,
    sqlite_store: FeedbackStore,
    tmp_path: Path,
    scans: Callable[[Engine], AbstractContextManager[list[str]]],
) -> None:
    with sqlite_store.session() as session:
        engine = session.get_bind().engine
    with scans(engine) as found:
        assert gather(sqlite_store, registry_of(Settings(data_dir=tmp_path)), 7) == report
    assert not {"SCAN annotations", "SCAN predictions", "SCAN region_verdicts"}.intersection(found)


def test_only_masks_that_were_changed_are_worst_cases(report: Report) -> None:
    assert [(case.task_id, round(case.iou, 2)) for case in report.worst] == [(2, 0.33)]
    assert report.worst[0].image == "2.png"


@pytest.mark.parametrize("gone", [False, True])
def test_the_page_needs_nothing_from_elsewhere(report: Report, gone: bool) -> None:
    def load(reference: str) -> np.ndarray:
        if gone:
            raise ImageUnavailable(f"{reference} is gone.")
        return np.full((80, 100, 3), 200, np.uint8)

    page = render(report, load)
    assert page.count("data:image/jpeg;base64,") == (not gone)
    assert ("No picture: 2.png is gone." in page) == gone
    assert "Pets &lt;b&gt;" in page
    assert not re.findall('(?:src|href)="(?!data:)', page)
    assert "<script" not in page


def test_what_nobody_looked_at_is_not_counted_and_what_is_gone_not_shown(
    report: Report, sqlite_store: FeedbackStore, tmp_path: Path
) -> None:
    sqlite_store.record_predictions([MadePrediction(4, 7, "v1", 0.9, [box("e", 10, "Dog")])])
    bulk = {"id": 4, "task": 4, "project": 7, "result": [box("e", 10, "Dog")], "parent_prediction": 9}
    renamed = PROJECT | {"parsed_label_config": {"frame": {"inputs": [{"value": "photo"}], "labels": ["Dog", "Cat"]}}}
    task = {"id": 4, "project": 7, "data": {"photo": "4.png"}}
    sqlite_store.record_event({"action": "ANNOTATIONS_CREATED", "annotation": bulk, "task": task, "project": renamed})
    sqlite_store.process_pending()
    found = gather(sqlite_store, registry_of(Settings(data_dir=tmp_path)), 7)
    assert found.verdicts == report.verdicts
    assert found.worst == ()


def test_a_project_without_reviews_has_a_page_too(sqlite_store: FeedbackStore, tmp_path: Path) -> None:
    page = render(
        gather(sqlite_store, registry_of(Settings(data_dir=tmp_path)), 8), lambda _: np.zeros((1, 1, 3), np.uint8)
    )
    assert "Nothing was reviewed yet" in page


def test_a_picture_shows_where_the_masks_differ() -> None:
    before, after = np.zeros((60, 60), bool), np.zeros((60, 60), bool)
    before[20:40, 10:30] = True
    after[20:40, 20:40] = True
    picture = compare(np.full((60, 60, 3), 128, np.uint8), before, after).astype(int)
    reddish, greenish = (picture[..., 0] - picture[..., 1]) > 50, (picture[..., 1] - picture[..., 0]) > 50
    assert reddish.sum() == greenish.sum() == 200
