"""Feedback is kept: every event once, whatever happens, and what it says of the model's masks."""

import itertools
import json
import random
import re
import sqlite3
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from maskloop.errors import BadRequest
from maskloop.geometry.label_studio_rle import encode
from maskloop.learning import database, state
from maskloop.learning.calibration import Calibration
from maskloop.learning.database import default_file
from maskloop.learning.events import ReviewGiven
from maskloop.learning.spool import FeedbackUnavailable, Spool
from maskloop.learning.store import FeedbackStore, MadePrediction
from maskloop.learning.tables import (
    Annotation,
    AuditLine,
    Decision,
    Event,
    Outcome,
    Prediction,
    Project,
    RegionVerdict,
    Task,
    Verdict,
)

Json = dict[str, Any]
Webhook = Callable[[str], Json]
CAPTURES = Path(__file__).parent / "captures"
START = datetime(2026, 11, 21, 8, tzinfo=UTC)
PROJECT = {
    "id": 7,
    "title": "Pets",
    "label_config": "<View/>",
    "parsed_label_config": {
        "box": {"type": "RectangleLabels", "to_name": ["image"], "inputs": [{"value": "image"}], "labels": ["Dog"]}
    },
}


def box(region: str, x: float = 10, *, label: str = "Dog", **more: Any) -> Json:
    value = {"x": x, "y": 10, "width": 20, "height": 20, "rotation": 0, "rectanglelabels": [label]}
    shape = {"id": region, "type": "rectanglelabels", "from_name": "box", "to_name": "image", "value": value}
    return shape | {"original_width": 100, "original_height": 50, "image_rotation": 0} | more


def brush(region: str, rle: list[int] | None = None, *, label: str = "Dog", width: int = 11, **more: Any) -> Json:
    """A mask whose code ends with a byte that holds nothing."""
    mask = np.zeros((50, 100), bool)
    mask[5:9, :width] = True
    value = {"format": "rle", "rle": rle or encode(mask), "brushlabels": [label]}
    return box(region) | {"type": "brushlabels", "value": value} | more


def annotation(
    *regions: Json, id: int = 1, task: int = 5, minute: int = 0, action: str = "CREATED", **more: Any
) -> Json:
    found = {"id": id, "task": task, "project": 7, "result": list(regions), "completed_by": 3, "lead_time": 4.5}
    found |= {"updated_at": (START + timedelta(minutes=minute)).isoformat(), "was_cancelled": False} | more
    seen = {"id": task, "project": 7, "data": {"image": "/data/upload/7/a.jpg"}}
    return {"action": f"ANNOTATION_{action}", "annotation": found, "task": seen, "project": PROJECT}


def deleted(*ids: int) -> Json:
    return {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": id} for id in ids], "project": PROJECT}


def made(*regions: Json, task: int = 5, prompts: list[Json] | None = None, score: float = 0.8) -> MadePrediction:
    return MadePrediction(task, 7, "v1", score, regions, prompts)


def record(store: FeedbackStore, *found: Json) -> None:
    for event in found:
        store.record_event(event)
    store.process_pending()


def verdicts(store: FeedbackStore) -> dict[str, Verdict]:
    with store.session() as session:
        return {row.region_id: Verdict(row.verdict) for row in session.scalars(select(RegionVerdict))}


def only(store: FeedbackStore) -> RegionVerdict:
    with store.session() as session:
        return session.scalars(select(RegionVerdict)).one()


def count(store: FeedbackStore, table: type) -> int:
    with store.session() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def outcomes(store: FeedbackStore) -> list[tuple[str | None, str]]:
    with store.session() as session:
        return [(event.outcome, event.reason) for event in session.scalars(select(Event).order_by(Event.id))]


def test_every_webhook_of_label_studio_is_understood(store: FeedbackStore, webhook: Webhook) -> None:
    record(store, *(webhook(path.stem.removeprefix("webhook_")) for path in sorted(CAPTURES.glob("webhook_*.json"))))
    assert {outcome for outcome, _ in outcomes(store)} == {Outcome.APPLIED}
    with store.session() as session:
        assert session.get(Annotation, 1).deleted
        assert session.get(Annotation, 7).skipped
        assert session.get(Task, 11).data == {"image": "http://127.0.0.1:1/x.jpg"}
        assert session.get(Project, 1).controls["brush"]["labels"] == ["Dog", "Cat"]


def test_label_studios_origin_says_what_became_of_a_prediction(store: FeedbackStore, webhook: Webhook) -> None:
    record(store, webhook("annotation_created_from_prediction"), webhook("annotation_created_prediction_changed"))
    with store.session() as session:
        rows = {(row.task_id, row.region_id): row for row in session.scalars(select(RegionVerdict))}
    assert {key: row.verdict for key, row in rows.items()} == {
        (1230, "b1230"): "accepted",
        (1230, "stubR1"): "accepted",
        (1228, "b1228"): "edited",
        (1228, "stubR1"): "accepted",
    }
    assert rows[1230, "stubR1"].label == "Cat"
    assert {row.reviewer_id for row in rows.values()} == {"1"}


def test_a_verdict_names_the_prediction_and_its_version(store: FeedbackStore) -> None:
    store.record_predictions([made(box("a"), box("b", 40), box("c", 70, score=0.6))])
    record(store, annotation(box("a", origin="prediction"), box("b", 50, origin="prediction-changed"), box("d", 0)))
    assert verdicts(store) == {"a": Verdict.ACCEPTED, "b": Verdict.EDITED, "d": Verdict.ADDED}
    with store.session() as session:
        edited = session.scalars(select(RegionVerdict).where(RegionVerdict.region_id == "b")).one()
    assert (edited.model_version, edited.score, edited.label, edited.predicted_label) == ("v1", 0.8, "Dog", "Dog")
    assert edited.iou == pytest.approx(1 / 3, abs=0.02)
    assert edited.at == START


def test_what_an_annotator_removed_from_the_prediction_was_rejected(store: FeedbackStore) -> None:
    task = {"id": 5, "project": 7, "data": {}, "annotations": [], "predictions": []}
    result = [box("a"), box("c", 70, score=0.6)]
    task["predictions"] = [{"id": 90, "model_version": "v1", "score": 0.8, "result": result}]
    store.record_task(PROJECT, task, START)
    record(store, annotation(box("a", origin="prediction"), parent_prediction=90))
    assert verdicts(store) == {"a": Verdict.ACCEPTED, "c": Verdict.REJECTED}
    with store.session() as session:
        rejected = session.scalars(select(RegionVerdict).where(RegionVerdict.region_id == "c")).one()
    assert (rejected.score, rejected.model_version, rejected.label) == (0.6, "v1", None)


def test_a_prediction_whose_number_only_label_studio_knows_is_found_by_its_regions(store: FeedbackStore) -> None:
    store.record_predictions([made(box("old"))])
    store.record_predictions([made(box("a"), box("c", 70))])
    record(store, annotation(box("a", origin="prediction"), parent_prediction=90))
    assert verdicts(store) == {"a": Verdict.ACCEPTED, "c": Verdict.REJECTED}


def test_all_regions_of_a_prediction_may_be_rejected(store: FeedbackStore) -> None:
    store.record_predictions([made(box("a"), box("c", 70))])
    record(store, annotation(parent_prediction=90))
    assert verdicts(store) == {"a": Verdict.REJECTED, "c": Verdict.REJECTED}


def test_a_prediction_that_came_later_was_not_rejected(store: FeedbackStore) -> None:
    store.record_predictions([made(box("a"), box("c", 70))])
    record(store, annotation(parent_prediction=90))
    store.record_predictions([MadePrediction(5, 7, "v2", 0.8, [box("b"), box("d", 70)])])
    record(store, annotation(parent_prediction=90, minute=1, action="UPDATED"))
    assert verdicts(store) == {"a": Verdict.REJECTED, "c": Verdict.REJECTED}


def test_what_the_model_said_counts_where_people_saw_a_chance(store: FeedbackStore) -> None:
    store.record_predictions([made(box("a", score=0.3, predicted_iou=0.9))])
    record(store, annotation(box("a", origin="prediction")))
    with store.session() as session:
        assert session.scalars(select(RegionVerdict.score)).one() == 0.9


def test_without_an_origin_the_regions_are_compared(store: FeedbackStore) -> None:
    store.record_predictions([made(box("a"), box("b"))])
    record(store, annotation(box("a"), box("b", 20)))
    assert verdicts(store) == {"a": Verdict.ACCEPTED, "b": Verdict.EDITED}


def test_a_mask_that_the_editor_wrote_in_other_bytes_was_not_edited(store: FeedbackStore) -> None:
    """It ends with the bits of the last run; maskloop, like the SDK, with at least one bit more."""
    store.record_predictions([made(brush("a"), brush("b"), brush("c", width=90), prompts=[{"id": "p"}])])
    shorter = brush("a")["value"]["rle"][:-1]
    finals = brush("a", shorter), brush("b", shorter, label="Cat"), brush("c", width=89)
    record(store, annotation(*(final | {"origin": "manual"} for final in finals)))
    assert verdicts(store) == {"a": Verdict.ACCEPTED, "b": Verdict.EDITED, "c": Verdict.EDITED}
    with store.session() as session:
        overlaps = session.scalars(select(RegionVerdict.iou).order_by(RegionVerdict.region_id)).all()
    assert overlaps == [None, 1.0, pytest.approx(89 / 90)]


@pytest.mark.parametrize("origin", ["prediction", "prediction-changed", "manual"])
@pytest.mark.parametrize("rle", [None, [0, 0, 78, 32]], ids=["whole", "damaged"])
def test_a_mask_that_was_only_named_was_accepted(store: FeedbackStore, origin: str, rle: list[int] | None) -> None:
    """The editor calls it changed. It isn't decoded for that, which takes long in a large image."""
    named = brush("a", rle, origin=origin)
    unnamed = named | {"value": named["value"] | {"brushlabels": []}}
    store.record_predictions([made(unnamed)])
    record(store, annotation(named))
    found = only(store)
    assert (found.verdict, found.iou, found.predicted_label, found.label) == ("accepted", None, None, "Dog")


def test_a_label_in_a_result_of_its_own_is_the_regions(store: FeedbackStore) -> None:
    """As ``<Labels>`` with ``<Brush>`` has it."""

    def named(region: str, label: str) -> list[Json]:
        shape = brush(region)
        del shape["value"]["brushlabels"]
        own = {"type": "labels", "from_name": "names", "value": shape["value"] | {"labels": [label]}}
        return [shape | {"type": "brush"}, shape | own]

    store.record_predictions([made(*named("a", "Dog"), *named("b", "Dog"))])
    record(store, annotation(*named("a", "Dog"), *named("b", "Cat")))
    with store.session() as session:
        rows = session.scalars(select(RegionVerdict).order_by(RegionVerdict.region_id)).all()
    assert [(row.verdict, row.predicted_label, row.label) for row in rows] == [
        ("accepted", "Dog", "Dog"),
        ("edited", "Dog", "Cat"),
    ]


def test_clicks_are_judged_by_the_last_mask_they_gave(store: FeedbackStore) -> None:
    first, second, other = {"id": "p1"}, {"id": "p2"}, {"id": "q1"}
    store.record_predictions([made(box("a"), prompts=[first])])
    store.record_predictions([made(box("b"), prompts=[first, second])])
    store.record_predictions([made(box("x"), prompts=[other])])
    record(store, annotation(box("b", origin="prediction")))
    assert verdicts(store) == {"b": Verdict.ACCEPTED, "x": Verdict.REJECTED}
    with store.session() as session:
        accepted = session.scalars(select(RegionVerdict).where(RegionVerdict.region_id == "b")).one()
        assert session.get(Prediction, accepted.prediction_id).prompts == [first, second]


def test_a_mask_that_another_annotator_kept_was_not_rejected(store: FeedbackStore) -> None:
    store.record_predictions([made(box("a"), prompts=[{"id": "p"}])])
    record(store, annotation(id=1), annotation(box("a", origin="prediction"), id=2))
    assert verdicts(store) == {"a": Verdict.ACCEPTED}


def test_repeated_events_change_nothing(store: FeedbackStore) -> None:
    found = [annotation(box("a")), annotation(box("a", 30), minute=1, action="UPDATED"), deleted(2)]
    record(store, *found)
    before = (outcomes(store), verdicts(store), count(store, AuditLine))
    record(store, *found, *(json.loads(json.dumps(event, indent=1)) for event in reversed(found)))
    store.record_event(json.dumps(found[0], indent=4).encode())
    record(store)
    assert (outcomes(store), verdicts(store), count(store, AuditLine)) == before


def test_the_order_of_events_changes_nothing(tmp_path: Path) -> None:
    found = [
        annotation(box("a")),
        annotation(box("a", 30), box("b"), minute=1, action="UPDATED"),
        annotation(box("a", 50), minute=2, action="UPDATED"),
        annotation(box("z"), id=2),
        deleted(2),
    ]
    states = set()
    for number, order in enumerate(random.Random(0).sample(list(itertools.permutations(found)), 12)):
        store = FeedbackStore.open(tmp_path / str(number))
        for event in order:
            record(store, event)
        with store.session() as session:
            kept = session.get(Annotation, 1)
            states.add((json.dumps(kept.result), kept.updated_at, tuple(verdicts(store).items())))
            assert session.get(Annotation, 2).deleted
    assert len(states) == 1
    assert '"x": 50' in states.pop()[0]


def test_a_skipped_task_has_no_verdicts(store: FeedbackStore) -> None:
    store.record_predictions([made(box("a"))])
    record(store, annotation(box("a"), was_cancelled=True))
    assert verdicts(store) == {}
    assert store.tasks_to_review(7) == []


def test_what_another_database_holds_is_taken_over_once(store: FeedbackStore, tmp_path: Path) -> None:
    """As if it had come here, when it did."""
    before = FeedbackStore.open(tmp_path / "before")
    before.record_predictions([made(box("a"))])
    record(before, annotation(box("a", origin="prediction")), {"action": "PROJECT_UPDATED"}, annotation(id=1 << 63))
    record(store, annotation(id=2, task=6), {"action": "PROJECT_UPDATED"})
    file = default_file(tmp_path / "before")
    assert [store.take_over(file) for _ in range(2)] == [3, 0]
    assert store.process_pending().applied == 3
    assert verdicts(store) == verdicts(before) == {"a": Verdict.ACCEPTED}
    with store.session() as here, before.session() as there:
        assert here.get_one(Annotation, 1).heard_at == there.get_one(Annotation, 1).heard_at
        assert here.get(Annotation, 2)
    with pytest.raises(BadRequest, match="the database in use"):
        before.take_over(file)
    (tmp_path / "notes").write_text("These are notes. " * 99)
    with pytest.raises(FeedbackUnavailable, match="not a database"):
        store.take_over(tmp_path / "notes")


def test_what_is_taken_over_stays_as_it_is(store: FeedbackStore, tmp_path: Path) -> None:
    """Made by an older maskloop, or another program's."""
    of_before, others = tmp_path / "50% of it.db", tmp_path / "label_studio.sqlite3"
    engine = database.connect(f"sqlite:///{of_before}")
    database.migrate(engine, "0001")
    engine.dispose()
    with closing(sqlite3.connect(others)) as connection:
        connection.execute("CREATE TABLE task (id INTEGER PRIMARY KEY)")
    before = [file.read_bytes() for file in (of_before, others)]
    assert store.take_over(of_before) == 0
    with pytest.raises(BadRequest, match=r"label_studio\.sqlite3 is no feedback database"):
        store.take_over(others)
    assert [file.read_bytes() for file in (of_before, others)] == before


def test_secrets_in_a_webhook_are_not_kept(tmp_path: Path, webhook: Webhook) -> None:
    event = webhook("start_training")
    event["project"] |= {"token": "s3cr3t-t0ken", "task_data_password": "hunter-22"}
    store = FeedbackStore.open(tmp_path)
    record(store, event)
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    with store.session() as session:
        payload = session.scalars(select(Event)).one().payload
    assert b"START_TRAINING" in zlib.decompress(payload)
    for secret in (b"s3cr3t-t0ken", b"hunter-22"):
        assert secret not in kept
        assert secret not in zlib.decompress(payload)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (b"{", "isn't JSON"),
        (b"[1]", "is a JSON object, not list"),
        (b"{}", "has no action"),
        ({"action": "ANNOTATION_CREATED"}, "holds no task"),
        (annotation() | {"annotation": {"id": "one"}}, "id: Input should be a valid integer"),
        (annotation(id=1 << 70), "id: Input should be less than"),
        (b'{"action": "\\ud800\\u0000", "project": {}}', "id: Field required"),
        (annotation(box("a", label="\ud800")), "(?i)surrogate|control"),
    ],
)
def test_what_is_wrong_with_an_event_is_recorded_and_the_next_one_goes_on(
    store: FeedbackStore, event: Any, reason: str
) -> None:
    store.record_event(event)
    record(store, annotation(box("a"), id=2))
    (refused, applied) = outcomes(store)
    assert refused[0] == Outcome.REFUSED
    assert re.search(reason, refused[1])
    assert applied == (Outcome.APPLIED, "")


def test_a_webhooks_sender_cannot_pass_for_maskloop(store: FeedbackStore) -> None:
    review = ReviewGiven(task_id=5, reviewer_id="eve", decision=Decision.APPROVED, timestamp=START)
    record(store, {"action": "REVIEW_GIVEN", "review": review.model_dump(mode="json")})
    assert outcomes(store) == [(Outcome.IGNORED, "")]


@pytest.mark.parametrize(
    ("region", "problem"),
    [
        (box("a", label="Cat"), "no label 'Cat'"),
        (box("a", from_name="gone"), "no control 'gone'"),
        (box("a", original_width=None), "image size is None x 50"),
        (box("a") | {"value": {"x": 1}}, "malformed"),
        (
            box("a") | {"type": "brushlabels", "value": {"format": "rle", "rle": [0, 0, 0, 16, 1, 2]}},
            "has 4 pixels and its image 100 x 50",
        ),
    ],
)
def test_a_region_that_cannot_be_learned_from_says_why(store: FeedbackStore, region: Json, problem: str) -> None:
    record(store, annotation(region))
    assert problem in only(store).problem


def test_any_label_may_stand_in_a_task_whose_labels_do(store: FeedbackStore) -> None:
    controls = {name: one | {"dynamic_labels": True} for name, one in PROJECT["parsed_label_config"].items()}
    record(store, annotation(box("a", label="Cat")) | {"project": PROJECT | {"parsed_label_config": controls}})
    assert only(store).problem == ""


def test_tasks_annotated_in_bulk_still_need_a_human(store: FeedbackStore) -> None:
    one = annotation(box("a"))
    record(store, one | {"action": "ANNOTATIONS_CREATED", "annotation": [one["annotation"]], "task": [one["task"]]})
    assert [task.task_id for task in store.tasks_to_review(7)] == [5]
    record(store, annotation(box("a"), id=2))
    assert store.tasks_to_review(7) == []


def test_a_prediction_made_at_another_size_cannot_be_compared(store: FeedbackStore) -> None:
    store.record_predictions([made(box("a", original_width=200))])
    record(store, annotation(box("a", 30, origin="prediction-changed")))
    assert only(store).verdict == Verdict.EDITED
    assert only(store).iou is None
    assert "200 x 50" in only(store).problem


def test_an_annotation_of_5000_regions_is_kept_whole(store: FeedbackStore) -> None:
    record(store, annotation(*(box(f"r{number}", number % 80) for number in range(5000))))
    assert count(store, RegionVerdict) == 5000


def test_while_the_database_is_down_events_wait(tmp_path: Path, url: str) -> None:
    down = FeedbackStore.open(tmp_path, "postgresql://nobody@127.0.0.1:1/none")
    down.record_event(annotation(box("a")))
    with pytest.raises(FeedbackUnavailable, match="Events wait on disk"):
        down.process_pending()
    up = FeedbackStore.open(tmp_path, url)
    assert up.process_pending().recorded == 1
    assert up.process_pending().waiting == 0
    assert verdicts(up) == {"a": Verdict.ADDED}


def test_a_process_killed_between_any_two_steps_loses_and_doubles_nothing(store: FeedbackStore, tmp_path: Path) -> None:
    store.record_event(annotation(box("a")))
    (waiting,) = store._spool.waiting()
    payload = waiting.read()
    store.migrate()
    store._drain()
    waiting.path.write_bytes(payload)  # killed after the commit, before the file was removed
    again = FeedbackStore(store._engine, store._spool)
    assert again.process_pending().waiting == 0
    assert count(again, Event) == 1
    assert verdicts(again) == {"a": Verdict.ADDED}


def test_many_processes_may_record_and_process_at_once(store: FeedbackStore) -> None:
    found = [annotation(box(f"r{number}"), id=number, task=number) for number in range(40)]

    def work(part: int) -> None:
        own = FeedbackStore(store._engine, store._spool)
        for event in found[part::4] * 2:
            own.record_event(event)
            own.process_pending()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    store.process_pending()
    assert outcomes(store) == [(Outcome.APPLIED, "")] * 40
    assert len(verdicts(store)) == 40


def test_a_reviewers_word_is_kept_with_an_audit_line(store: FeedbackStore) -> None:
    review = ReviewGiven(task_id=5, reviewer_id="ann", decision=Decision.FLAGGED, comment="two dogs", timestamp=START)
    record(store, annotation(box("a")))
    store.record_review(review)
    store.record_review(review)
    store.process_pending()
    with store.session() as session:
        actions = session.scalars(select(AuditLine.action).order_by(AuditLine.id)).all()
        [said] = session.scalars(select(AuditLine).order_by(AuditLine.id.desc())).first().details["reviews"]
    assert (said["reviewer_id"], said["decision"], said["task_id"]) == ("ann", "flagged", 5)
    assert actions == ["ANNOTATION_CREATED", "REVIEW_GIVEN"]


def test_the_least_certain_task_comes_first(store: FeedbackStore) -> None:
    tasks = [{"id": number, "project": 7, "data": {}} for number in range(1, 8)]
    record(store, {"action": "TASKS_CREATED", "tasks": tasks, "project": PROJECT})
    scores = {1: 0.9, 2: 0.3, 3: 0.6, 4: 0.1, 6: 0.5, 7: 0.95}
    store.record_predictions([made(box(f"r{task}"), task=task, score=score) for task, score in scores.items()])
    for task, decision in {6: Decision.APPROVED, 7: Decision.FLAGGED}.items():
        store.record_review(ReviewGiven(task_id=task, reviewer_id="ann", decision=decision, timestamp=START))
    record(store, annotation(box("a"), task=4))
    assert [(task.task_id, task.score) for task in store.tasks_to_review(7)] == [
        (5, None),
        (2, 0.3),
        (3, 0.6),
        (1, 0.9),
        (7, 0.95),
    ]
    assert [task.task_id for task in store.tasks_to_review(7, threshold=0.5)] == [5, 2, 7]
    assert [task.task_id for task in store.tasks_to_review(7, limit=2)] == [5, 2]
    assert store.tasks_to_review(8) == []


def test_all_tasks_are_listed_by_what_their_scores_are_worth_now(store: FeedbackStore) -> None:
    """Not by what they were worth when the predictions were made."""
    tasks = [{"id": number, "project": 7, "data": {}} for number in range(1, 5)]
    record(store, {"action": "TASKS_CREATED", "tasks": tasks, "project": PROJECT})
    before, since = made(box("a", score=0.9), box("b", score=0.8), task=1, score=0.85), {"predicted_iou": 0.95}
    store.record_predictions([before, made(box("c", score=0.4, **since), task=2, score=0.4)])
    store.record_predictions([MadePrediction(3, 7, "another's", 0.6, [box("d", score=0.1)])])
    store.record_predictions([made(task=4, score=0.0)])
    store.process_pending()
    half = Calibration(kind="logistic", chances=(0.0, 0.5))

    def listed(threshold: float | None = None) -> list[tuple[int, float | None]]:
        found = store.tasks_to_review(7, threshold=threshold, worth={"v1": half}.get)
        return [(task.task_id, task.score) for task in found]

    assert listed() == [(4, 0.0), (1, 0.425), (2, 0.475), (3, 0.6)]
    assert listed(0.475) == [(4, 0.0), (1, 0.425)]


def test_synchronising_finds_what_happened_while_nobody_listened(store: FeedbackStore) -> None:
    record(store, annotation(box("a"), id=1), annotation(box("b"), id=2))
    found = {"id": 2, "result": [box("b", 60)], "completed_by": {"id": 8}, "updated_at": "2026-11-21T09:00:00Z"}
    task = {"id": 5, "project": 7, "data": {"image": "x"}, "annotations": [found], "predictions": []}
    for _ in range(2):
        store.record_task(PROJECT, task, datetime.now(UTC))
        store.process_pending()
    assert verdicts(store) == {"b": Verdict.ADDED}
    assert only(store).reviewer_id == "8"


def test_what_label_studio_made_of_predictions_in_bulk_is_known_when_it_is_synchronised(store: FeedbackStore) -> None:
    bulk = {"id": 1, "result": [box("a")], "parent_prediction": 9, "lead_time": None, "updated_at": START.isoformat()}
    looked = bulk | {"id": 2, "lead_time": 3.5}
    task = {"id": 5, "project": 7, "data": {}, "annotations": [bulk, looked], "predictions": []}
    store.record_task(PROJECT, task, START)
    store.process_pending()
    with store.session() as session:
        found = {one.id: one.converted for one in session.scalars(select(Annotation))}
    assert found == {1: True, 2: False}


def test_projects_with_new_verdicts_are_told_whoever_brought_them_in(store: FeedbackStore) -> None:
    record(store, annotation(box("a")))
    seen, projects = store.judged_since(None)
    assert projects == {7}
    assert store.judged_since(seen) == (seen, frozenset())
    record(store, annotation(box("b"), id=2))
    later, projects = store.judged_since(seen)
    assert projects == {7}
    assert store.judged_since(later)[1] == frozenset()


def test_a_task_deleted_before_we_heard_of_it_stays_deleted(store: FeedbackStore) -> None:
    tasks = [{"id": 5, "project": 7, "data": {}}]
    record(store, {"action": "TASKS_DELETED", "tasks": [{"id": 5}]})
    record(store, {"action": "TASKS_CREATED", "tasks": tasks, "project": PROJECT})
    assert store.tasks_to_review(7) == []


def test_of_clicks_in_vain_the_last_answer_was_rejected(sqlite_store: FeedbackStore) -> None:
    first, second = {"id": "p1"}, {"id": "p2"}
    sqlite_store.record_predictions([made(box("a"), prompts=[first], score=0.9)])
    sqlite_store.record_predictions([made(box("b"), prompts=[first, second], score=0.4)])
    record(sqlite_store, annotation())
    found = only(sqlite_store)
    assert (found.region_id, found.verdict, found.score) == ("b", Verdict.REJECTED, 0.4)


def test_an_annotation_does_not_reject_what_was_clicked_after_it(sqlite_store: FeedbackStore) -> None:
    record(sqlite_store, annotation())
    sqlite_store.record_predictions([made(box("a"), prompts=[{"id": "p"}])])
    sqlite_store.process_pending()
    assert verdicts(sqlite_store) == {}


def test_a_prediction_whose_number_is_known_comes_before_one_that_has_the_same_regions(
    sqlite_store: FeedbackStore,
) -> None:
    seen = {"id": 90, "model_version": "v1", "score": 0.8, "result": [box("a"), box("c", 70)]}
    task = {"id": 5, "project": 7, "data": {}, "annotations": [], "predictions": [seen]}
    sqlite_store.record_task(PROJECT, task, START)
    sqlite_store.record_predictions([made(box("a"), box("d", 50))])
    record(sqlite_store, annotation(box("a", origin="prediction"), parent_prediction=90))
    assert verdicts(sqlite_store) == {"a": Verdict.ACCEPTED, "c": Verdict.REJECTED}


@pytest.mark.parametrize("fault", [sqlite3.OperationalError("database or disk is full"), None])
def test_an_event_that_the_database_did_not_take_is_tried_again(
    sqlite_store: FeedbackStore, monkeypatch: pytest.MonkeyPatch, fault: Exception | None
) -> None:
    """Unlike one that there is something wrong with."""
    apply, error = state.apply, OperationalError("INSERT", {}, fault) if fault else ValueError("wrong")

    def fail_once(*_: Any) -> Any:
        monkeypatch.setattr(state, "apply", apply)
        raise error

    monkeypatch.setattr(state, "apply", fail_once)
    with pytest.raises(FeedbackUnavailable, match="disk is full") if fault else nullcontext():
        record(sqlite_store, annotation(box("a")))
    sqlite_store.process_pending()
    assert outcomes(sqlite_store) == [(Outcome.APPLIED, "")] if fault else [(Outcome.REFUSED, "ValueError: wrong")]


def test_the_same_words_of_others_are_another_event(sqlite_store: FeedbackStore) -> None:
    """Who sends a review as a webhook can't keep a reviewer from giving it."""
    review = ReviewGiven(task_id=5, reviewer_id="ann", decision=Decision.APPROVED, timestamp=START)
    record(sqlite_store, {"action": "REVIEW_GIVEN", "review": review.model_dump(mode="json")})
    sqlite_store.record_review(review)
    sqlite_store.process_pending()
    assert outcomes(sqlite_store) == [(Outcome.IGNORED, ""), (Outcome.APPLIED, "")]


def test_what_was_heard_earlier_and_recorded_later_is_no_news(sqlite_store: FeedbackStore, tmp_path: Path) -> None:
    elsewhere = FeedbackStore(sqlite_store._engine, Spool(tmp_path / "elsewhere"))
    for store, state_of in ((elsewhere, "old"), (sqlite_store, "new")):
        tasks = [{"id": 5, "project": 7, "data": {"image": state_of}}]
        store.record_event({"action": "TASKS_CREATED", "tasks": tasks, "project": PROJECT | {"title": state_of}})
    sqlite_store.process_pending()
    elsewhere.process_pending()
    with sqlite_store.session() as session:
        assert session.get(Project, 7).title == "new"
        assert session.get(Task, 5).data == {"image": "new"}
