"""What scores are worth is told by what people did, in each project, and again as they go on."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskloop.learning.acceptance import Judgement, count_judged, follow_verdicts, judged_masks, of_judgements
from maskloop.learning.calibration import FEWEST, Calibration, Chances
from maskloop.learning.registry import OFFICIAL, Registry
from maskloop.learning.store import FeedbackStore, MadePrediction
from maskloop.learning.versions import registry_of
from maskloop.settings import Settings

PROJECT = {"id": 7}
VERSION = "mobile_sam-1"


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return registry_of(Settings(data_dir=tmp_path))


def box(region: str, width: float = 20, **more: Any) -> dict[str, Any]:
    value = {"x": 10, "y": 10, "width": width, "height": 50, "rectanglelabels": ["Dog"]}
    shape = {"id": region, "type": "rectanglelabels", "from_name": "box", "to_name": "image", "value": value}
    return shape | {"original_width": 100, "original_height": 80} | more


def review(store: FeedbackStore, task: int, score: float, accepted: bool, *, prompted: bool = True) -> None:
    prompts = [{"id": f"p{task}"}] if prompted else None
    region = f"r{task}"
    store.record_predictions([MadePrediction(task, 7, VERSION, score, [box(region, score=score)], prompts)])
    result = [box(region, 20 if accepted else 30)]
    found = {"id": task, "task": task, "project": 7, "result": result, "updated_at": "2026-11-21T00:00:00Z"}
    seen = {"id": task, "project": 7, "data": {}}
    store.record_event({"action": "ANNOTATION_CREATED", "annotation": found, "task": seen, "project": PROJECT})


def test_masks_that_nobody_looked_at_tell_nothing(sqlite_store: FeedbackStore) -> None:
    store = sqlite_store
    review(store, 1, 0.7, accepted=True)
    review(store, 2, 0.9, accepted=False, prompted=False)
    store.record_predictions([MadePrediction(3, 7, VERSION, 0.5, [box("r3")])])
    bulk = {"id": 3, "task": 3, "project": 7, "result": [box("r3")], "updated_at": "2026-11-21T00:00:00Z"}
    seen = {"id": 3, "project": 7, "data": {}}
    store.record_event({"action": "ANNOTATIONS_CREATED", "annotation": [bulk], "task": [seen], "project": PROJECT})
    store.process_pending()
    found = [(one.score, one.accepted, one.prompts, one.task_id, one.version) for one in judged_masks(store, 7)]
    assert found == [(0.7, True, 1, 1, VERSION), (0.9, False, None, 2, VERSION)]
    assert count_judged(store, 7, VERSION) == {(True, True): 1, (False, False): 1}
    assert judged_masks(store, 7, "another") == []


@pytest.mark.parametrize(
    ("widths", "prompted", "accepted"),
    [
        ((20, 20, 20), True, [True]),
        ((20, 0, 0), True, [True]),
        ((20, 30, 0), True, [False]),
        ((0, 0, 0), True, [False]),
        ((20, 20, 0), False, [True, True, False]),
    ],
)
def test_a_clicks_mask_counts_once_however_many_regions_show_it(
    store: FeedbackStore, widths: tuple[int, ...], prompted: bool, accepted: list[bool]
) -> None:
    """Of three regions, each was kept, edited or, 0 wide, deleted."""
    regions = [box(region) for region in "abc"]
    store.record_predictions([MadePrediction(1, 7, VERSION, 0.7, regions, [{"id": "p"}] if prompted else None)])
    kept = [box(region, width) for region, width in zip("abc", widths, strict=True) if width]
    found = {"id": 1, "task": 1, "project": 7, "result": kept, "updated_at": "2026-11-21T00:00:00Z"}
    found |= {} if prompted else {"parent_prediction": 4}
    seen = {"id": 1, "project": 7, "data": {}}
    store.record_event({"action": "ANNOTATION_CREATED", "annotation": found, "task": seen, "project": PROJECT})
    store.process_pending()
    assert [one.accepted for one in judged_masks(store, 7)] == accepted
    assert count_judged(store, 7, VERSION) == Counter((prompted, one) for one in accepted)


@pytest.mark.parametrize("prompted", [True, False])
def test_a_mask_whose_label_alone_was_corrected_was_accepted(store: FeedbackStore, prompted: bool) -> None:
    store.record_predictions([MadePrediction(1, 7, VERSION, 0.7, [box("a")], [{"id": "p"}] if prompted else None)])
    renamed = box("a")
    renamed["value"] |= {"rectanglelabels": ["Cat"]}
    found = {"id": 1, "task": 1, "project": 7, "result": [renamed], "updated_at": "2026-11-21T00:00:00Z"}
    seen = {"id": 1, "project": 7, "data": {}}
    store.record_event({"action": "ANNOTATION_CREATED", "annotation": found, "task": seen, "project": PROJECT})
    store.process_pending()
    assert [(one.accepted, one.kept) for one in judged_masks(store, 7)] == [(True, 1.0)]
    assert count_judged(store, 7, VERSION) == {(prompted, True): 1}


def test_what_an_answer_was_asked_with_is_divided_among_its_masks(store: FeedbackStore) -> None:
    """Each rectangle means an object; here one was drawn on a mask that was found already."""
    regions = [box("a", score=0.9), box("b", score=0.8)]
    store.record_predictions([MadePrediction(1, 7, VERSION, 0.8, regions, [{"id": f"p{n}"} for n in range(3)])])
    found = {"id": 1, "task": 1, "project": 7, "result": regions, "updated_at": "2026-11-21T00:00:00Z"}
    seen = {"id": 1, "project": 7, "data": {}}
    store.record_event({"action": "ANNOTATION_CREATED", "annotation": found, "task": seen, "project": PROJECT})
    store.process_pending()
    assert [(one.prompts, one.at) for one in judged_masks(store, 7)] == [(1.5, datetime(2026, 11, 21, tzinfo=UTC))] * 2


def test_clicked_and_automatic_masks_are_told_apart() -> None:
    chance = np.random.default_rng(0)
    judged = [Judgement(0.95, bool(chance.random() < 0.9), True) for _ in range(200)]
    judged += [Judgement(0.95, bool(chance.random() < 0.2), False) for _ in range(200)]
    chances = of_judgements(judged)
    assert chances.prompted(0.95) == pytest.approx(0.9, abs=0.1)
    assert chances.automatic(0.95) == pytest.approx(0.2, abs=0.1)


def test_a_projects_scores_follow_its_verdicts(sqlite_store: FeedbackStore, registry: Registry) -> None:
    def follow() -> bool:
        sqlite_store.process_pending()
        return follow_verdicts(sqlite_store, registry, OFFICIAL, VERSION, 7)

    def review_all(tasks: range) -> None:
        for task in tasks:
            review(sqlite_store, task, 0.95, accepted=task % 4 == 0)

    review_all(range(1, FEWEST))
    assert not follow()
    review_all(range(FEWEST, 41))
    assert follow()
    assert registry.chances(OFFICIAL, 7).prompted(0.95) == pytest.approx(0.25, abs=0.1)
    assert registry.chances(OFFICIAL, 8) == registry.chances(OFFICIAL) == Chances()
    review_all(range(41, 45))
    assert not follow(), "four more tell little"
    review_all(range(45, 61))
    assert follow()


@pytest.mark.parametrize(
    ("masks", "accepted"), [(120, 20), (40, 20), (40, 10)], ids=["counted by region", "judged otherwise", "as now"]
)
def test_scores_fitted_to_what_isnt_held_any_more_are_fitted_again(
    sqlite_store: FeedbackStore, registry: Registry, masks: int, accepted: int
) -> None:
    """As by an earlier version's rules."""
    for task in range(1, 41):
        review(sqlite_store, task, 0.95, accepted=task % 4 == 0)
    sqlite_store.process_pending()
    then = of_judgements([Judgement(0.95, one < accepted, True) for one in range(masks)])
    registry.record_chances(OFFICIAL, then, 7)
    assert follow_verdicts(sqlite_store, registry, OFFICIAL, VERSION, 7) == ((masks, accepted) != (40, 10))
    assert registry.chances(OFFICIAL, 7).prompted(0.95) == pytest.approx(0.25, abs=0.1)
    assert not follow_verdicts(sqlite_store, registry, OFFICIAL, VERSION, 7)


def test_scores_that_an_earlier_version_fitted_are_fitted_again(
    sqlite_store: FeedbackStore, registry: Registry
) -> None:
    """It didn't write how many masks had been accepted."""
    for task in range(1, 41):
        review(sqlite_store, task, 0.95, accepted=task % 4 == 0)
    sqlite_store.process_pending()
    registry.record_chances(OFFICIAL, Chances(prompted=Calibration(kind="logistic", judged=40)), 7)
    assert follow_verdicts(sqlite_store, registry, OFFICIAL, VERSION, 7)
