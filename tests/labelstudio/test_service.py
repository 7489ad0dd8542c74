"""The backend, with a real Redis and real workers."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import select

from labelstudio.discs import EVERYTHING, HEIGHT, MISSING, WIDTH, box, disc, point, task
from labelstudio.serving import Serving
from maskloop.dispatch.dispatcher import Dispatcher
from maskloop.dispatch.queues import QueueName
from maskloop.errors import BadLabelConfig, BadRequest, ImageUnavailable, QueueUnavailable
from maskloop.geometry import label_studio_rle, masks
from maskloop.labelstudio import service
from maskloop.labelstudio.ahead import Visits
from maskloop.labelstudio.connect import connect_backend
from maskloop.labelstudio.service import LARGE, Backend, Patience
from maskloop.learning.registry import ModelVersion
from maskloop.learning.spool import FeedbackUnavailable
from maskloop.learning.store import FeedbackStore, MadePrediction
from maskloop.learning.tables import Annotation, Event, Outcome
from maskloop.learning.versions import registry_of
from maskloop.sam.network import MobileSam
from maskloop.settings import Settings

MESSAGES = '<Text name="notice" value=""/><TextArea name="why" toName="notice" maskloop_messages="true"/><Image'
NESTED = "[" * 400 + "]" * 400
TELLING = EVERYTHING.replace("<Image", MESSAGES)


class Notes:
    """Keeps what it is told; ``full`` makes it refuse."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.predictions: list[MadePrediction] = []
        self.noted = threading.Event()
        self.full = False

    def record_event(self, payload: bytes) -> None:
        if self.full:
            raise FeedbackUnavailable("The disk is full.")
        self.events.append(json.loads(payload))

    def waiting(self) -> int:
        return len(self.events)

    def record_predictions(self, predictions: Any) -> None:
        if not self.full:
            self.predictions += predictions
        self.noted.set()
        if self.full:
            raise FeedbackUnavailable("The disk is full.")


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def backend(dispatcher: Dispatcher, redis: Redis, notes: Notes) -> Iterator[Backend]:
    patience = Patience(click=20, batch=20)
    made = Backend(dispatcher, redis, Serving(), patience=patience, delivers=True, feedback=notes)
    yield made
    made.close()


@pytest.fixture
def clicks(start_discs: Callable[..., Any]) -> None:
    """A worker answers clicks."""
    start_discs(queue=QueueName.INTERACTIVE)


def setup(config: str = EVERYTHING, extra: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"project": "7.1795", "schema": config, "hostname": "h", "access_token": "t", "extra_params": extra}


def request(*prompts: dict[str, Any], config: str = EVERYTHING, **more: Any) -> dict[str, Any]:
    params = {"login": None, "password": None, "context": {"result": list(prompts)}}
    return {"tasks": [task(**more)], "project": "7.1795", "label_config": config, "params": params}


def batch(*tasks: dict[str, Any], config: str = EVERYTHING) -> dict[str, Any]:
    return {"tasks": list(tasks), "project": "7.1795", "label_config": config, "params": {"context": None}}


def controls(results: dict[str, Any]) -> list[str]:
    return [region["from_name"] for region in results["results"][0]["result"]]


def test_setup_versions_and_predictions_agree_on_the_version(backend: Backend, clicks: None) -> None:
    (prediction,) = backend.predict(request(point(25, 50)))["results"]
    assert backend.setup(setup()) == {"model_version": prediction["model_version"]}
    assert backend.versions() == {"versions": [prediction["model_version"]]}


def test_clicks_on_a_task_may_be_answered_by_a_challenger(
    dispatcher: Dispatcher, redis: Redis, clicks: None, notes: Notes
) -> None:
    serving = Serving(challenged={3: "challenger"})
    backend = Backend(dispatcher, redis, serving, patience=Patience(click=20, batch=20), delivers=True, feedback=notes)
    answers = [backend.predict(request(point(25, 50), number=number))["results"][0] for number in (3, 4)]
    assert [answer["model_version"] for answer in answers] == ["challenger", "model-1"]
    assert backend.versions() == {"versions": ["model-1"]}
    backend.close()


def test_a_project_is_answered_by_its_own_version(
    dispatcher: Dispatcher, redis: Redis, clicks: None, notes: Notes
) -> None:
    serving = Serving(projects={7: "taught"})
    backend = Backend(dispatcher, redis, serving, patience=Patience(click=20, batch=20), delivers=True, feedback=notes)
    (prediction,) = backend.predict(request(point(25, 50)))["results"]
    assert prediction["model_version"] == backend.setup(setup())["model_version"] == "taught"
    assert backend.setup(setup() | {"project": "8.1795"}) == {"model_version": "model-1"}
    assert backend.versions() == {"versions": ["taught", "model-1"]}
    backend.close()


def test_a_promotion_is_known_at_once_to_every_backend(redis_server: str, tmp_path: Path) -> None:
    settings = Settings(redis_url=redis_server, data_dir=tmp_path)
    registry, backend = registry_of(settings), connect_backend(settings)
    before = backend.version(7)
    registry.add(ModelVersion(name="taught"), MobileSam())
    registry.promote("taught", project=7)
    assert (backend.version(7), backend.version(8)) == ("taught", before)
    backend.close()


def test_setup_refuses_a_configuration_that_it_could_never_fill(backend: Backend) -> None:
    with pytest.raises(BadLabelConfig):
        backend.setup(setup("<View/>"))
    with pytest.raises(BadRequest, match="extra params"):
        backend.setup(setup(extra={"max_regions": -1}))
    with pytest.raises(BadRequest, match="schema"):
        backend.setup({"project": "7.1"})


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (lambda backend: backend.setup(setup() | {"project": "9" * 5000}), "project: "),
        (lambda backend: backend.setup(setup() | {"extra_params": f'{{"a": {NESTED}}}'}), "extra_params"),
        (lambda backend: backend.predict(batch({"id": 1 << 63, "data": {}})), "tasks.0.id: "),
        (lambda backend: backend.predict(request(point(1, 1) | {"score": json.loads(NESTED)})), "Nested too deeply"),
        (lambda backend: backend.tasks_to_review({"project": "9" * 23}), "project: "),
        (lambda backend: backend.review({"task_id": 10**30, "reviewer_id": "a", "decision": "approved"}), "task_id: "),
    ],
)
def test_what_no_database_and_no_queue_takes_is_refused(
    backend: Backend, asked: Callable[[Backend], object], told: str
) -> None:
    with pytest.raises(BadRequest, match=told):
        asked(backend)


def test_a_click_is_answered_though_its_visit_can_not_be_noted(
    backend: Backend, clicks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise QueueUnavailable("Redis is full.")

    monkeypatch.setattr(Visits, "note", full)
    assert controls(backend.predict(request(point(25, 50))))


def test_a_click_gets_its_mask_and_what_was_shown_is_noted(backend: Backend, clicks: None, notes: Notes) -> None:
    (prediction,) = backend.predict(request(point(25, 50)))["results"]
    (brush,) = [region for region in prediction["result"] if region["type"] == "brushlabels"]
    mask = label_studio_rle.decode(brush["value"]["rle"], HEIGHT, WIDTH)
    assert masks.iou(mask, disc(100, 150)) > 0.95
    assert notes.noted.wait(10)
    (noted,) = notes.predictions
    assert (noted.task_id, noted.project_id, noted.model_version, noted.score) == (1, 7, "model-1", 0.9)
    assert [prompt["from_name"] for prompt in noted.prompts or ()] == ["point"]


def test_only_the_prompts_of_a_click_are_noted(backend: Backend, clicks: None, notes: Notes) -> None:
    by_hand = point(75, 50, positive=None, id="by hand")
    backend.predict(request(by_hand, point(25, 50, id="smart")))
    assert notes.noted.wait(10)
    assert [prompt["id"] for prompt in notes.predictions[0].prompts or ()] == ["smart"]


def test_what_a_click_could_not_pick_yet_is_proposed_in_the_background(
    backend: Backend, start_discs: Callable[..., Any], redis: Redis, until: Callable[..., None]
) -> None:
    start_discs(queue=QueueName.INTERACTIVE)
    start_discs(go=1)
    picking = EVERYTHING.replace('name="point"', 'name="point" maskloop_pick="true"')
    (made,) = backend.predict(request(point(25, 50), config=picking))["results"]
    assert made.keys() == {"result", "score", "model_version"}
    until(lambda: redis.llen("began") == 1)
    backend.predict(request(point(25, 50)))
    assert redis.llen("began") == 1


def test_a_full_disk_costs_no_click(backend: Backend, clicks: None, notes: Notes) -> None:
    notes.full = True
    assert controls(backend.predict(request(point(25, 50)))) == ["brush", "box", "outline"]
    assert notes.noted.wait(10)
    assert controls(backend.predict(request(point(25, 50)))) == ["brush", "box", "outline"]


def test_extra_params_of_setup_hold_for_the_projects_predictions(backend: Backend, clicks: None) -> None:
    backend.setup({**setup(), "extra_params": '{"outputs": ["rectangle"]}'})
    assert controls(backend.predict(request(point(25, 50)))) == ["box"]
    other = {**request(point(25, 50)), "project": "8.1"}
    assert controls(backend.predict(other)) == ["brush", "box", "outline"]
    backend.setup(setup())
    assert controls(backend.predict(request(point(25, 50)))) == ["brush", "box", "outline"]


def test_extra_params_may_be_what_was_typed_into_label_studios_form(backend: Backend) -> None:
    for typed in ('{"outputs": ["rectangle"]}', " ", ""):
        backend.setup({**setup(), "extra_params": typed})
    for wrong in ('{"outputs": ', '["rectangle"]', '{"max_regions": -1}'):
        with pytest.raises(BadRequest, match=r"extra.params"):
            backend.setup({**setup(), "extra_params": wrong})


def test_what_is_wrong_with_a_click_is_raised(backend: Backend, clicks: None) -> None:
    for wrong, error, told in (
        (request(point(125, 50)), BadRequest, "outside the image"),
        (request(point(25, 50, label="Fox")), BadRequest, "'Fox' isn't in"),
        (request(point(25, 50), config="<View/>"), BadLabelConfig, "no image"),
        (request(point(25, 50), image=MISSING), ImageUnavailable, "404"),
        ({**request(point(25, 50)), "tasks": [task(1), task(2)]}, BadRequest, "one task, not 2"),
    ):
        with pytest.raises(error, match=told):
            backend.predict(wrong)


@pytest.fixture
def nobody_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker is waited for as if it were being replaced."""
    monkeypatch.setattr(service, "REPLACEMENT", 0.1)


def test_without_a_worker_a_click_says_so(backend: Backend, nobody_comes: None) -> None:
    with pytest.raises(QueueUnavailable, match="No interactive worker"):
        backend.predict(request(point(25, 50)))


def test_where_there_is_a_control_for_messages_the_annotator_reads_what_is_wrong(
    backend: Backend, clicks: None
) -> None:
    (told,) = backend.predict(request(point(25, 50), config=TELLING, image=MISSING))["results"]
    (region,) = told["result"]
    assert (region["type"], region["from_name"], region["to_name"]) == ("textarea", "why", "notice")
    (text,) = region["value"]["text"]
    assert "404" in text
    assert "Look for it." in text


def test_and_it_is_empty_again_once_a_click_succeeds_or_is_taken_back(backend: Backend, clicks: None) -> None:
    (made,) = backend.predict(request(point(25, 50), config=TELLING))["results"]
    assert [region["from_name"] for region in made["result"]] == ["brush", "box", "outline", "why"]
    assert made["result"][-1]["value"] == {"text": []}
    (none,) = backend.predict(request(config=TELLING))["results"]
    assert [region["value"] for region in none["result"]] == [{"text": []}]


def test_messages_on_an_image_are_not_used_and_the_status_says_what_to_write(
    backend: Backend, nobody_comes: None, caplog: pytest.LogCaptureFixture
) -> None:
    config = TELLING.replace('toName="notice"', 'toName="image"')
    with pytest.raises(QueueUnavailable):
        backend.predict(request(point(25, 50), config=config))
    for _ in range(2):
        backend.setup(setup(config))
    advice = backend.batches()["advice"]["7"]
    assert 'toName="notice"' in advice
    assert caplog.text.count(advice) == 1
    backend.setup(setup(TELLING))
    assert backend.batches()["advice"] == {}


def test_prompts_that_were_taken_back_need_no_worker(backend: Backend) -> None:
    (prediction,) = backend.predict(request())["results"]
    assert prediction["result"] == []


def test_two_people_click_on_two_images_and_get_their_own(backend: Backend, clicks: None) -> None:
    wrong: list[int] = []

    def annotate(number: int, x: float) -> None:
        for _ in range(25):
            (made,) = backend.predict(request(point(x, 50), number=number))["results"]
            (rectangle,) = [region for region in made["result"] if region["from_name"] == "box"]
            middle = rectangle["value"]["x"] + rectangle["value"]["width"] / 2
            wrong.extend([number] if abs(middle - x) > 1 else [])

    people = [threading.Thread(target=annotate, args=(number, 20 * number)) for number in (1, 2, 3, 4)]
    for person in people:
        person.start()
    for person in people:
        person.join()
    assert wrong == []


def test_a_batch_has_one_answer_a_task_in_their_order(backend: Backend, start_discs: Callable[..., Any]) -> None:
    start_discs(go=3)
    other = {"id": 3, "data": {**task()["data"], "other": json.loads(NESTED)}}
    results = backend.predict(batch(task(2), task(1, MISSING), other))["results"]
    assert [result["model_version"] == "model-1" for result in results] == [True, False, True]
    assert backend.batches()["projects"]["7"]["answered"] == 3
    assert [failure["task"] for failure in backend.batches()["failures"]] == [1]


def test_the_official_servers_empty_context_is_a_batch(backend: Backend, start_discs: Callable[..., Any]) -> None:
    start_discs(go=1)
    body = {**batch(task(1)), "params": {"context": {}}}
    assert len(backend.predict(body)["results"][0]["result"]) == 9


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ([], "body"),
        ({}, "tasks"),
        ({"tasks": []}, "tasks"),
        ({"tasks": "all"}, "tasks"),
        ({"tasks": [{"id": 1}]}, "data"),
        ({"tasks": [task()], "label_config": 5}, "label_config"),
        ({"tasks": [task()], "params": {"context": {"result": [{"type": "x"}]}}}, "from_name"),
        ({"tasks": [task()], "params": []}, "params"),
    ],
)
def test_a_request_that_is_malformed_is_told_where(backend: Backend, body: object, told: str) -> None:
    with pytest.raises(BadRequest, match=told):
        backend.predict(body)


def test_a_batch_for_a_project_without_a_configuration_is_refused(backend: Backend) -> None:
    with pytest.raises(BadLabelConfig, match="no labeling configuration"):
        backend.predict({"tasks": [task()], "label_config": None, "params": None})


def test_an_event_is_kept_before_it_is_answered(backend: Backend, notes: Notes) -> None:
    assert backend.webhook(b'{"action": "ANNOTATION_CREATED", "project": {"id": 3}, "more": 1}') == {}
    with pytest.raises(QueueUnavailable):  # there is no worker that trains
        backend.fit("START_TRAINING", {"project": {"id": 3}})
    assert [event["action"] for event in notes.events] == ["ANNOTATION_CREATED", "START_TRAINING"]
    notes.full = True
    with pytest.raises(FeedbackUnavailable):
        backend.webhook(b'{"action": "ANNOTATION_CREATED"}')


@pytest.fixture
def reviewing(dispatcher: Dispatcher, redis: Redis, tmp_path: Path) -> Iterator[tuple[Backend, FeedbackStore]]:
    """A backend with a real store."""
    store = FeedbackStore.open(tmp_path)
    made = Backend(
        dispatcher, redis, Serving("v"), patience=Patience(click=20, batch=20), delivers=True, feedback=store
    )
    yield made, store
    made.close()


def test_a_task_that_a_reviewer_refused_needs_a_human_again(reviewing: tuple[Backend, FeedbackStore]) -> None:
    backend, store = reviewing
    seen = [{"id": number, "project": 7, "data": {}} for number in (1, 2, 3)]
    backend.webhook(json.dumps({"action": "TASKS_CREATED", "project": {"id": 7}, "tasks": seen}).encode())
    store.record_predictions([MadePrediction(1, 7, "v", 0.8, [{"score": 0.8}]), MadePrediction(2, 7, "v", 0.4, [])])
    review = {"task_id": 3, "reviewer_id": 12, "decision": "approved", "timestamp": "2026-11-21T10:00:00Z"}
    backend.review(review)
    assert backend.batches()["events"] == 3
    store.process_pending()
    assert backend.batches()["events"] == 0
    assert [one["task_id"] for one in backend.tasks_to_review({"project": "7"})["tasks"]] == [2, 1]
    backend.review(review | {"decision": "flagged", "comment": "two dogs", "timestamp": "2026-11-21T10:01:00Z"})
    store.process_pending()
    listed = backend.tasks_to_review({"project": "7", "threshold": "0.5"})["tasks"]
    assert [(one["task_id"], one["score"], one["decision"]) for one in listed] == [(3, None, "flagged"), (2, 0.4, None)]


def test_a_review_without_a_time_is_of_now(reviewing: tuple[Backend, FeedbackStore]) -> None:
    kept = reviewing[0].review({"task_id": 3, "reviewer_id": "ann", "decision": "rejected"})
    assert abs(datetime.fromisoformat(kept["timestamp"]) - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    "wrong", [{"decision": "maybe"}, {"task_id": "x"}, {"reviewer_id": ""}, {"timestamp": "yesterday"}]
)
def test_what_is_no_review_is_refused(reviewing: tuple[Backend, FeedbackStore], wrong: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match=next(iter(wrong))):
        reviewing[0].review({"task_id": 3, "reviewer_id": "ann", "decision": "rejected"} | wrong)


@pytest.mark.parametrize("query", [{}, {"project": "x"}, {"project": "7", "limit": "0"}])
def test_what_needs_a_human_is_asked_of_a_project(
    reviewing: tuple[Backend, FeedbackStore], query: dict[str, str]
) -> None:
    with pytest.raises(BadRequest):
        reviewing[0].tasks_to_review(query)


def test_feedback_that_cannot_be_counted_hides_nothing_else(
    reviewing: tuple[Backend, FeedbackStore], tmp_path: Path
) -> None:
    backend, _ = reviewing
    (tmp_path / "spool").write_text("")
    seen = backend.batches()
    assert "spool can't be read" in seen["troubles"]["feedback"]
    assert (seen["delivers"], seen["events"]) == (True, None)


def test_a_full_redis_is_told_once_whether_workers_live_or_not(backend: Backend, redis: Redis) -> None:
    redis.config_set("maxmemory", 1)
    try:
        assert backend.batches()["troubles"] == {"redis": "Redis is full. Give it more memory (maxmemory)."}
    finally:
        redis.config_set("maxmemory", 0)


def test_a_large_event_is_kept_unread(reviewing: tuple[Backend, FeedbackStore]) -> None:
    backend, store = reviewing
    masks = [{"id": "a", "type": "brushlabels", "value": {"rle": [1] * LARGE}}]
    event = {"action": "ANNOTATION_CREATED", "annotation": {"id": 1, "task": 2, "project": 7, "result": masks}}
    event["task"] = {"id": 2, "project": 7, "data": {}}
    backend.webhook(json.dumps(event).encode())
    backend.webhook(b"{" * (LARGE + 1))
    assert store.process_pending().recorded == 2
    with store.session() as session:
        assert session.get(Annotation, 1)
        assert len(session.scalars(select(Event).where(Event.outcome == Outcome.REFUSED)).all()) == 1


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"{}", b'{"action": 3}', b"[" * 100_000])
def test_what_is_no_event_is_refused(backend: Backend, notes: Notes, payload: bytes) -> None:
    with pytest.raises(BadRequest):
        backend.webhook(payload)
    assert notes.events == []


def test_a_rectangle_is_answered_too(backend: Backend, clicks: None) -> None:
    assert controls(backend.predict(request(box(25, 25, 50, 50, label="Bird")))) == ["smartbox"]


def test_a_mask_that_no_control_could_hold_is_not_made(backend: Backend) -> None:
    """There is no worker either."""
    backend.setup(setup(extra={"outputs": ["gone"]}))
    with pytest.raises(BadLabelConfig, match="No control on the image 'image' that was asked for"):
        backend.predict(request(point(25, 50)))
