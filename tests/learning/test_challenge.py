"""A challenger answers the clicks of some tasks, and what people do with its masks says whether it is better."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sqlalchemy import select

from maskloop.cli import models
from maskloop.errors import BadRequest
from maskloop.learning import challenge
from maskloop.learning.calibration import UNKNOWN, Calibration, Chances
from maskloop.learning.challenge import FEWEST, Side, compare, side, verdict
from maskloop.learning.registry import OFFICIAL, Judgement, ModelVersion, Registry, UnknownVersion
from maskloop.learning.service import Challenge
from maskloop.learning.store import FeedbackStore, MadePrediction
from maskloop.learning.tables import AuditLine
from maskloop.learning.versions import Versions, version_of
from maskloop.sam.network import MobileSam

Review = Callable[..., None]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    official = tmp_path / "mobile_sam.pt"
    official.write_bytes(b"official")
    torch.manual_seed(0)
    found = Registry(tmp_path / "models", lambda: official)
    found.add(ModelVersion(name="new"), MobileSam())
    return found


def box(region: str, width: float = 20, **more: Any) -> dict[str, Any]:
    value = {"x": 10, "y": 10, "width": width, "height": 50, "rectanglelabels": ["Dog"]}
    shape = {"id": region, "type": "rectanglelabels", "from_name": "box", "to_name": "image", "value": value}
    return shape | {"original_width": 100, "original_height": 80, "score": 0.9} | more


@pytest.fixture
def review(sqlite_store: FeedbackStore) -> Review:
    """``review(task, version, *kept)``: somebody clicked for boxes 20 % wide, each a mask of its own, and left them
    so wide. clicks: 0 if they came by themselves."""

    def judge(task: int, version: str, *kept: float, clicks: int = 1) -> None:
        shown = [box(f"{task}-{number}", score=0.9 - 0.1 * number) for number in range(len(kept))]
        for count in range(1, clicks):
            earlier = [{"id": f"p{task}-{number}"} for number in range(count)]
            sqlite_store.record_predictions([MadePrediction(task, 7, version, 0.8, [box(f"{task}, {count}")], earlier)])
        prompts = [{"id": f"p{task}-{number}"} for number in range(clicks)] or None
        sqlite_store.record_predictions([MadePrediction(task, 7, version, 0.9, shown, prompts)])
        result = [
            box(region["id"], width, origin="prediction" if width == 20 else "prediction-changed")
            for region, width in zip(shown, kept, strict=True)
            if width
        ]
        annotation = {"id": task, "task": task, "project": 7, "result": result, "updated_at": "2026-11-21T00:00:00Z"}
        event = {"annotation": annotation, "task": {"id": task, "project": 7, "data": {}}, "project": {"id": 7}}
        sqlite_store.record_event({"action": "ANNOTATION_CREATED", **event})
        sqlite_store.process_pending()

    return judge


def of(share: float, name: str = "new", against: str = OFFICIAL) -> Challenge:
    return Challenge(name=name, against=against, share=share)


def test_a_share_of_the_tasks_is_taken_and_always_the_same() -> None:
    challenge = of(0.2)
    taken = [task for task in range(10_000) if challenge.takes(task)]
    assert len(taken) == pytest.approx(2000, rel=0.1)
    assert taken == [task for task in range(10_000) if of(0.2).takes(task)]
    assert set(taken) < {task for task in range(10_000) if of(0.5).takes(task)}


def test_a_challenge_goes_on_until_it_is_ended_or_decided(registry: Registry) -> None:
    for end in (registry.end_challenge, lambda: registry.promote("new"), registry.rollback):
        served = registry.in_service()
        registry.start_challenge(of(0.2, "new" if served == OFFICIAL else OFFICIAL, served))
        assert registry.challenge() is not None
        end()
        assert registry.challenge() is None


def test_a_challenge_is_of_one_version_wherever_that_answers(registry: Registry) -> None:
    registry.start_challenge(of(0.5))
    registry.promote("new", project=8)
    versions, taken = Versions(registry), next(task for task in range(100) if of(0.5).takes(task))
    assert versions.for_click(7, taken) == "new"
    assert versions.in_service(7) == version_of(OFFICIAL)
    registry.start_challenge(of(0.5, OFFICIAL, "new"))
    tasks = range(100)
    assert {versions.for_click(7, task) for task in tasks} == {version_of(OFFICIAL)}
    assert {versions.for_click(8, task) for task in tasks} == {version_of(OFFICIAL), "new"}
    registry.rollback(project=8)
    assert registry.challenge() is None


def test_what_scores_are_worth_is_asked_by_the_name_that_predictions_carry(registry: Registry) -> None:
    of_reviews = Chances(automatic=Calibration(kind="logistic", chances=(0.0, 0.5)))
    registry.record_chances(OFFICIAL, of_reviews, project=7)
    versions = Versions(registry)
    assert versions.chances(version_of(OFFICIAL), 7) == of_reviews
    assert versions.chances("new", 7) == versions.chances(version_of(OFFICIAL), 8) == UNKNOWN
    assert versions.chances("../another's", 7) is None


def test_who_ends_a_challenge_is_in_the_audit(
    registry: Registry, sqlite_store: FeedbackStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MASKLOOP_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(models, "registry_of", lambda _: registry)
    monkeypatch.setattr(models, "open_store", lambda _: sqlite_store)
    registry.start_challenge(of(0.2))
    for _ in range(2):  # the second ends nothing
        models.challenge_command(end=True)
    sqlite_store.process_pending()
    with sqlite_store.session() as session:
        line = session.scalars(select(AuditLine)).one()
    assert (line.action, line.subject, line.details) == ("end challenge", "new", {"share": 0.2})


def test_both_sides_are_called_as_in_the_registry(
    registry: Registry,
    sqlite_store: FeedbackStore,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Not as in predictions, where the official weights have their own version's name."""
    monkeypatch.setenv("MASKLOOP_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(models, "registry_of", lambda _: registry)
    monkeypatch.setattr(models, "open_store", lambda _: sqlite_store)
    registry.start_challenge(of(0.2))
    models.compare_command()
    shown = capsys.readouterr().out
    assert OFFICIAL in shown
    assert version_of(OFFICIAL) not in shown


def test_what_is_known_of_a_version_is_one_document(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(models, "registry_of", lambda _: registry)
    registry.record_judgement("new", Judgement(passed=True, reason="Better.", against=OFFICIAL))
    for name, said in (("new", "Better."), (OFFICIAL, None)):
        models.show_command(name)
        known = json.loads(capsys.readouterr().out)
        assert (known["name"], known["judgement"] and known["judgement"]["reason"]) == (name, said)


def test_what_can_not_challenge_is_refused(registry: Registry) -> None:
    with pytest.raises(BadRequest, match="in service"):
        registry.start_challenge(of(0.2, OFFICIAL))
    with pytest.raises(UnknownVersion):
        registry.start_challenge(of(0.2, "none"))
    assert registry.challenge() is None


def test_what_people_keep_of_clicked_masks_is_told_by_task(sqlite_store: FeedbackStore, review: Review) -> None:
    start = datetime.now(UTC)
    review(1, "new", 20)
    review(2, "new", 10, 20)
    review(3, "new", 20, clicks=0)
    review(4, "old", 20)
    review(5, "new", 0, clicks=7)
    review(6, "new", 20, clicks=3)
    found = side(sqlite_store, "new", start, lambda project, task: True)
    assert (found.version, found.masks, found.accepted) == ("new", 5, pytest.approx(3 / 5))
    assert found.kept.tolist() == pytest.approx([1, 0.75, 0, 1], abs=0.01)
    assert found.prompts.tolist() == [1, 0.5, 3]


@pytest.mark.parametrize(
    ("widths", "accepted", "kept"),
    [((20, 20, 20), 1, 1.0), ((20, 0, 0), 1, 1.0), ((20, 10, 0), 0, 0.5), ((10, 5, 0), 0, 0.375), ((0, 0, 0), 0, 0.0)],
)
def test_a_clicks_mask_counts_once_however_many_regions_show_it(
    store: FeedbackStore, widths: tuple[float, ...], accepted: float, kept: float
) -> None:
    """As where scores are fitted; here three controls show it, and those that somebody deleted are 0 wide."""
    start = datetime.now(UTC)
    shown = [box(region) for region in "abc"]
    store.record_predictions([MadePrediction(1, 7, "new", 0.9, shown, [{"id": "p"}])])
    left = [box(region, width) for region, width in zip("abc", widths, strict=True) if width]
    annotation = {"id": 1, "task": 1, "project": 7, "result": left, "updated_at": "2026-11-21T00:00:00Z"}
    event = {"annotation": annotation, "task": {"id": 1, "project": 7, "data": {}}, "project": {"id": 7}}
    store.record_event({"action": "ANNOTATION_CREATED", **event})
    store.process_pending()
    found = side(store, "new", start, lambda project, task: True)
    assert (found.masks, found.accepted, found.kept.tolist()) == (1, accepted, pytest.approx([kept], abs=0.01))


def test_only_what_a_challenge_had_answered_tells_of_it(sqlite_store: FeedbackStore, review: Review) -> None:
    review(1, "new", 20)
    start = datetime.now(UTC)
    review(2, "new", 10)
    review(3, "new", 20)
    found = side(sqlite_store, "new", start, lambda project, task: (project, task) == (7, 2))
    assert found.kept.tolist() == pytest.approx([0.5], abs=0.01)


def test_a_difference_beyond_chance_is_said_and_no_other() -> None:
    chance = np.random.default_rng(0)

    def of(mean: float, tasks: int = 200, clicks: float = 2) -> Side:
        kept = np.clip(chance.normal(mean, 0.2, tasks), 0, 1)
        return Side("v", tasks, 0.5, kept, chance.poisson(clicks - 1, tasks) + 1.0)

    def said(challenger: Side, served: Side) -> str:
        return verdict(compare(challenger, served), [challenger, served])

    assert "keep more, beyond chance: promote it" in said(of(0.7), of(0.5))
    assert "click less, beyond chance: promote it" in said(of(0.6, clicks=1), of(0.6, clicks=5))
    assert "keep more and click less, beyond chance: promote it" in said(of(0.7, clicks=1), of(0.5))
    assert "keep less, beyond chance: end the challenge" in said(of(0.5), of(0.7))
    assert "click more, beyond chance: end the challenge" in said(of(0.6, clicks=3), of(0.6))
    assert "keep more and click more, beyond chance: you choose" in said(of(0.7, clicks=3), of(0.5))
    assert "No difference" in said(of(0.6), of(0.6))
    assert "Too early" in said(of(0.9, FEWEST - 1), of(0.1))


def test_who_looks_again_and_again_is_not_told_of_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(challenge, "ROUNDS", 200)
    told = 0
    for seed in range(40):
        chance = np.random.default_rng(seed)
        first, second = (chance.choice([0.0, 0.8, 1.0], 400, p=[0.1, 0.3, 0.6]) for _ in range(2))
        looks = [challenge.difference(first[:tasks], second[: 4 * tasks]) for tasks in range(FEWEST, 100, 5)]
        told += any(look is not None and (look.low > 0 or look.high < 0) for look in looks)
    assert told <= 2
