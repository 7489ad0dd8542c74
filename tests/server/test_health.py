"""What ``/health`` tells, and that it never waits."""

from __future__ import annotations

import threading
from collections.abc import Callable

import httpx

from maskloop.dispatch.overview import QueueState, WorkerState
from maskloop.dispatch.queues import QueueName
from maskloop.errors import QueueUnavailable, WeightsError
from maskloop.server.health import Look, Overview, health
from maskloop.server.page import page

Serve = Callable[..., httpx.Client]


def all_well() -> Overview:
    idle = WorkerState("interactive-here-1-a", "idle", {"engine": "openvino-cpu-bf16"})
    return {QueueName.INTERACTIVE: QueueState(0, 0, (idle,), None), QueueName.BATCH: QueueState(0, 0, (), None)}


def test_health_tells_the_model_the_engine_workers_and_queues(client: httpx.Client) -> None:
    assert client.get("/health").json() == {
        "status": "UP",
        "model_version": "mobile_sam-1",
        "project_versions": {"7": "p7-1"},
        "engine": "openvino-cpu-bf16",
        "engine_note": None,
        "redis": "UP",
        "workers": {
            "interactive": {"ready": 1, "busy": 1, "starting": 0},
            "batch": {"ready": 0, "busy": 0, "starting": 1},
            "train": {"ready": 1, "busy": 1, "starting": 0},
        },
        "queues": {
            "interactive": {"waiting": 2, "running": 1},
            "batch": {"waiting": 0, "running": 0},
            "train": {"waiting": 0, "running": 1},
        },
        "batches": {"delivers": True, "projects": {}, "events": 5},
        "doing": ["Training p7-1: step 3 of 90, loss 0.500."],
        "problems": [],
    }


def test_without_redis_it_is_down_and_says_why(serve: Serve) -> None:
    def away() -> Overview:
        raise QueueUnavailable("Redis can't be used.", "Start it.")

    answer = serve(overview=away).get("/health")
    assert answer.status_code == 503
    assert answer.json()["status"] == "DOWN"
    assert answer.json()["redis"] == "DOWN"
    assert answer.json()["problems"] == ["Redis can't be used. Start it."]


def test_one_look_that_fails_unforeseen_is_told_and_not_the_last(serve: Serve, until: Callable[..., None]) -> None:
    failures = [KeyError("a"), KeyError("b")]

    def odd() -> Overview:
        if failures:
            raise failures.pop()
        return all_well()

    client = serve(overview=odd)
    assert "KeyError. The log has" in client.get("/health").json()["problems"][0]
    until(lambda: client.get("/health").json()["status"] == "UP")


def test_what_keeps_a_worker_from_starting_is_told() -> None:
    failed = QueueState(0, 0, (), WeightsError("The weights are missing.", "Run `maskloop weights fetch`."))
    assert health(Look({QueueName.INTERACTIVE: failed}), {None: "v"})["problems"] == [
        "interactive: The weights are missing. Run `maskloop weights fetch`."
    ]


def test_without_a_worker_for_clicks_and_batches_it_is_down() -> None:
    """Label Studio would say "retrieved" of predictions that never come."""
    none = QueueState(0, 0, (), None)
    one = QueueState(0, 0, (WorkerState("batch-1", "starting", {}),), None)
    nobody = health(Look({QueueName.INTERACTIVE: none, QueueName.BATCH: none}), {None: "v"})
    assert nobody["status"] == "DOWN"
    assert nobody["problems"] == ["interactive: no worker is running, so clicks are not answered."]
    assert health(Look({QueueName.INTERACTIVE: none, QueueName.BATCH: one}), {None: "v"})["status"] == "UP"


def test_threads_of_one_process_count_as_one_worker() -> None:
    names = ["interactive-here-1-a", "interactive-here-1-b", "interactive-here-2-c"]
    threads = tuple(WorkerState(name, state, {}) for name, state in zip(names, ("idle", "busy", "idle"), strict=True))
    queues = {QueueName.INTERACTIVE: QueueState(0, 1, threads, None)}
    assert health(Look(queues), {None: "v"})["workers"]["interactive"] == {"ready": 2, "busy": 1, "starting": 0}


def test_a_redis_that_hangs_does_not_keep_health_waiting(serve: Serve, until: Callable[..., None]) -> None:
    looks = [all_well()]
    gate = threading.Event()

    def hang() -> Overview:
        if looks:
            return looks.pop()
        gate.wait(30)
        return {}

    client = serve(overview=hang)
    assert client.get("/health").json()["redis"] == "UP"
    until(lambda: client.get("/health").json()["problems"] == ["Redis doesn't answer."])
    assert client.get("/health").json()["status"] == "DOWN"
    gate.set()


def test_what_keeps_predictions_from_being_delivered_is_a_problem() -> None:
    look = Look(all_well(), {"troubles": {"delivery": "Label Studio answers 401."}})
    assert health(look, {None: "v"})["problems"] == ["Label Studio answers 401."]


def test_what_keeps_feedback_from_being_recorded_is_a_problem_and_what_waits_is_counted() -> None:
    down = "The feedback database can't be used: refused. Events wait on disk until it can."
    seen = health(Look(all_well(), {"troubles": {"feedback": down}, "events": 12}), {None: "v"})
    assert seen["problems"] == [down]
    assert "<th>Feedback</th><td>12 events wait to be recorded</td>" in page(seen)


def test_what_is_wrong_with_a_projects_configuration_is_a_problem() -> None:
    look = Look(all_well(), {"advice": {"7": "Hang it on a <Text>."}})
    assert health(look, {None: "v"})["problems"] == ["Project 7: Hang it on a <Text>."]


def test_the_page_tells_how_far_batches_are_and_what_failed_last() -> None:
    batches = {
        "projects": {"7": {"waiting": 300, "ready": 90, "answered": 0, "delivered": 2, "failed": 41}},
        "failures": [
            {"project": 7, "task": None, "reason": "Training: The disk is full.", "at": 3.0},
            {"project": 7, "task": None, "reason": "Training: There is no reviewed mask.", "at": 2.0},
            {"project": 7, "task": 5, "reason": "There is no image at <host> (404).", "at": 1.0},
        ],
    }
    told = page(health(Look(all_well(), batches), {None: "v"}))
    assert "Predictions, project 7" in told
    assert "300 waiting, 90 ready, 0 answered, 2 delivered, 41 failed" in told
    assert "Project 7, task 5" in told
    assert "There is no image at &lt;host&gt; (404)." in told
    assert "<th>Project 7</th><td>Training: The disk is full.</td>" in told
    assert "<th>Project 7</th><td>Training: There is no reviewed mask.</td>" in told
    assert "failures" not in page(health(Look(all_well()), {None: "v"}))


def test_the_page_tells_how_far_a_long_job_is() -> None:
    training = WorkerState("train-here-3-c", "busy", {"doing": "Encoding image 3 of 90."})
    look = Look({QueueName.TRAIN: QueueState(0, 1, (training,), None)})
    assert "<th>At work</th><td>Encoding image 3 of 90.</td>" in page(health(look, {None: "v"}))
    assert "At work" not in page(health(Look(all_well()), {None: "v"}))


def test_a_person_gets_a_page(serve: Serve) -> None:
    def odd() -> Overview:
        return {**all_well(), QueueName.TRAIN: QueueState(0, 0, (), WeightsError("<script>"))}

    answer = serve(overview=odd).get("/")
    assert answer.headers["content-type"].startswith("text/html")
    assert "openvino-cpu-bf16" in answer.text
    assert "<script>" not in answer.text
    assert "&lt;script&gt;" in answer.text
