"""The contract's routes."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from maskloop.dispatch.jobs import Replaced
from maskloop.errors import (
    Abandoned,
    BadLabelConfig,
    BadRequest,
    DeadlineExceeded,
    ImageRefused,
    ImageUnavailable,
    MaskloopError,
    QueueFull,
    QueueUnavailable,
    WeightsError,
)
from maskloop.learning.spool import FeedbackUnavailable
from maskloop.server import answers

CLICK = {"tasks": [{"id": 1, "data": {"image": "/data/upload/1/a.jpg"}}], "params": {"context": {"result": []}}}


def test_bodies_go_to_the_backend_and_its_answers_back(client: httpx.Client, backend: Any) -> None:
    backend.answer = {"results": [{"result": [], "score": 0.5, "model_version": "v"}]}
    assert client.post("/predict", json=CLICK).json() == backend.answer
    assert client.post("/setup", json={"schema": "<View/>"}).json() == backend.answer
    assert client.get("/versions").json() == backend.answer
    assert client.post("/webhook", content=b'{"action": "ANNOTATION_CREATED"}').json() == backend.answer
    assert [route for route, _ in backend.asked] == ["predict", "setup", "versions", "webhook"]
    assert backend.asked[0][1] == CLICK
    assert backend.asked[3][1] == {"payload": b'{"action": "ANNOTATION_CREATED"}'}


def test_a_review_is_posted_and_what_needs_one_is_listed(client: httpx.Client, backend: Any) -> None:
    backend.answer = {"tasks": []}
    review = {"task_id": 5, "reviewer_id": "ann", "decision": "approved"}
    assert client.post("/reviews", json=review).status_code == 201
    assert client.get("/reviews/tasks", params={"project": 7, "limit": 2}).json() == {"tasks": []}
    assert backend.asked == [("review", review), ("tasks_to_review", {"project": "7", "limit": "2"})]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadRequest("a"), 400),
        (BadLabelConfig("a"), 422),
        (ImageRefused("a"), 422),
        (ImageUnavailable("a"), 502),
        (QueueUnavailable("a"), 503),
        (WeightsError("a"), 503),
        (FeedbackUnavailable("a"), 503),
        (DeadlineExceeded("a"), 504),
        (Replaced("a"), 409),
        (MaskloopError("a"), 500),
    ],
)
def test_an_error_says_whose_it_is_and_what_to_do(
    client: httpx.Client, backend: Any, error: MaskloopError, status: int
) -> None:
    error.hint = "Do that."
    backend.answer = error
    answer = client.post("/predict", json=CLICK)
    assert answer.status_code == status
    assert answer.json() == {"error": "a Do that.", "message": "a", "hint": "Do that.", "code": error.code}


def test_a_full_queue_says_when_to_come_again(client: httpx.Client, backend: Any) -> None:
    backend.answer = QueueFull("Too much to do.", retry_after=7.0)
    answer = client.post("/predict", json=CLICK)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "7")


def test_a_fault_keeps_its_details_in_the_log(client: httpx.Client, backend: Any) -> None:
    backend.answer = ZeroDivisionError("secret")
    answer = client.post("/predict", json=CLICK)
    assert answer.status_code == 500
    assert "ZeroDivisionError" in answer.json()["error"]
    assert "secret" not in answer.text


@pytest.mark.parametrize("route", ["/predict", "/setup"])
@pytest.mark.parametrize("body", [b"", b"{", b"not json", b'{"a": NaN}', b"\xff\xfe"])
def test_malformed_json_is_told_apart(client: httpx.Client, backend: Any, route: str, body: bytes) -> None:
    answer = client.post(route, content=body)
    assert answer.status_code == 400
    assert "not JSON" in answer.json()["error"]
    assert backend.asked == []


def test_half_a_character_in_a_task_is_no_reason_to_refuse_them_all(client: httpx.Client, backend: Any) -> None:
    assert (
        client.post("/predict", content=rb'{"tasks": [{"data": {"\ud83d": "\ud83d\ude00 \ude00"}}]}').status_code == 200
    )
    ((_, body),) = backend.asked
    assert body == {"tasks": [{"data": {"\ufffd": "\U0001f600 \ufffd"}}]}


@pytest.mark.parametrize("body", ["[]", "1", '"text"', "null"])
def test_json_that_is_no_object_is_told_apart(client: httpx.Client, body: str) -> None:
    answer = client.post("/predict", content=body)
    assert answer.status_code == 400
    assert "JSON object" in answer.json()["error"]


@pytest.mark.parametrize("route", ["/setup", "/predict", "/webhook", "/reviews"])
@pytest.mark.parametrize("origin", ["https://example.org", "http://{here}", "null", "http://[", ""])
def test_web_pages_have_no_access(client: httpx.Client, backend: Any, route: str, origin: str) -> None:
    """Not even one that seems to be from here: its server's name may lead here by now."""
    headers = {"Origin": origin.format(here=client.base_url.netloc.decode())}
    answer = client.post(route, content=b'{"task_id": 1}', headers=headers)
    assert answer.status_code == 403
    assert "Web pages" in answer.json()["error"]
    assert backend.asked == []


@pytest.mark.parametrize("route", ["/predict", "/webhook"])
def test_a_body_that_would_fill_the_memory_is_refused(
    client: httpx.Client, backend: Any, route: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(answers, "LARGEST", 1 << 20)
    body = b'{"a": "%s"}' % (b"a" * (1 << 20))
    answer = client.post(route, content=body)
    assert answer.status_code == 413
    assert "larger than 1 MiB" in answer.json()["error"]
    assert f"{route}: The body is larger" in caplog.text
    assert backend.asked == []
    assert client.post(route, content=body.replace(b"aaaaaaaaaaaaaaaaaaaa", b"", 1)).is_success


@pytest.mark.parametrize("context", ["text", 1, [1], {"result": 1}])
def test_odd_parameters_reach_the_backend_which_judges_them(client: httpx.Client, backend: Any, context: Any) -> None:
    assert client.post("/predict", json={"params": {"context": context}}).status_code == 200
    assert client.post("/predict", json={"params": context, "tasks": context}).status_code == 200
    assert len(backend.asked) == 2


def test_an_unknown_address_is_answered_in_json(client: httpx.Client) -> None:
    assert client.get("/nowhere").json() == {"error": "Not Found"}
    assert client.get("/predict").status_code == 405


def test_clicks_that_wait_hold_up_nobody(client: httpx.Client, backend: Any) -> None:
    """32 of them: health, setup and webhooks are answered meanwhile, and other clicks too."""
    waiting, gate = threading.Barrier(33), threading.Event()

    def block(body: dict[str, Any]) -> dict[str, Any]:
        waiting.wait(10)
        gate.wait(10)
        return {"results": [body["number"]]}

    backend.predict = block
    with ThreadPoolExecutor(32) as pool:
        answers = [pool.submit(client.post, "/predict", json={**CLICK, "number": number}) for number in range(32)]
        waiting.wait(10)
        assert client.get("/health").status_code == 200
        assert client.post("/setup", json={}).status_code == 200
        assert client.post("/webhook", json={"action": "ANNOTATION_UPDATED"}).status_code == 201
        gate.set()
        assert [answer.result().json()["results"] for answer in answers] == [[number] for number in range(32)]


def test_waiting_batches_do_not_hold_up_a_click(client: httpx.Client, backend: Any) -> None:
    gate = threading.Event()

    def block(body: dict[str, Any], _stop: threading.Event | None = None) -> dict[str, Any]:
        if not body["params"]["context"]:
            gate.wait(10)
        return {"results": []}

    backend.predict = block
    with ThreadPoolExecutor(40) as pool:
        batches = [pool.submit(client.post, "/predict", json={"params": {"context": None}}) for _ in range(40)]
        assert client.post("/predict", json=CLICK).status_code == 200
        assert not all(batch.done() for batch in batches)
        gate.set()
        assert {batch.result().status_code for batch in batches} == {200}


def test_a_batch_whose_caller_hung_up_is_told_so(client: httpx.Client, backend: Any) -> None:
    told = threading.Event()

    def wait(_: Any, stop: threading.Event) -> dict[str, Any]:
        if stop.wait(20):
            told.set()
        return {}

    backend.predict = wait
    with pytest.raises(httpx.ReadTimeout):
        client.post("/predict", json={}, timeout=0.5)
    assert told.wait(10)


def test_a_server_that_has_to_stop_ends_its_batches_and_answers_its_clicks(
    serve: Callable[..., httpx.Client], backend: Any
) -> None:
    leaving, waiting = threading.Event(), threading.Barrier(3)

    def wait(_: Any, stop: threading.Event | None = None) -> dict[str, Any]:
        waiting.wait(10)
        leaving.set()
        if stop and stop.wait(20):
            raise Abandoned("Stopped.")
        return {"results": []}

    backend.predict = wait
    client = serve(leaving=leaving)
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(client.post, "/predict", json=body, timeout=30) for body in ({}, CLICK)]
        waiting.wait(10)
        assert [answer.result().status_code for answer in answers] == [503, 200]


def test_each_request_is_one_line_in_the_log(
    client: httpx.Client, backend: Any, caplog: pytest.LogCaptureFixture, until: Callable[..., None]
) -> None:
    def logged() -> list[str]:
        return [record.message for record in caplog.records if record.name == "maskloop.access"]

    backend.answer = {"results": []}
    with caplog.at_level(logging.INFO, "maskloop.access"):
        client.post("/predict", json=CLICK)
        client.get("/health")
        client.get("/nowhere")
        until(lambda: len(logged()) >= 2)  # a line is written after its answer
    predict, nowhere = logged()
    assert predict.startswith("POST /predict status=200 ms=")
    assert predict.endswith("kind=click tasks=1")
    assert nowhere.startswith("GET unknown status=404")


def test_no_secret_is_logged(
    serve: Callable[..., httpx.Client], caplog: pytest.LogCaptureFixture, until: Callable[..., None]
) -> None:
    def ours() -> list[logging.LogRecord]:
        return [record for record in caplog.records if record.name.startswith("maskloop")]

    client = serve("maskloop", "pa55word")
    body = {**CLICK, "access_token": "t0ken", "params": {"login": "l0gin", "password": "pr0ject"}}
    with caplog.at_level(logging.DEBUG):
        client.post("/predict?token=t0ken", json=body, auth=("maskloop", "pa55word"))
        client.post("/predict", json=body, auth=("maskloop", "pa55word-wrong"))
        client.post("/setup", json=body, auth=("maskloop", "pa55word"))
        client.post("/webhook", json=body, headers={"X-Maskloop-Token": "t0ken"})
        until(lambda: sum(record.name == "maskloop.access" for record in ours()) == 4)
    for secret in ("pa55word", "t0ken", "l0gin", "pr0ject"):
        assert not any(secret in json.dumps([record.message, str(record.args)]) for record in ours())
