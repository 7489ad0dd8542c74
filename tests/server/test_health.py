"""What ``/health`` tells, and that it never waits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import httpx

from maskloop.dispatch.overview import QueueState
from maskloop.dispatch.queues import QueueName
from maskloop.errors import QueueUnavailable, WeightsError
from maskloop.server.health import Look, Overview, health

Serve = Callable[..., httpx.Client]


def test_health_tells_the_model_the_engine_workers_and_queues(client: httpx.Client) -> None:
    assert client.get("/health").json() == {
        "status": "UP",
        "model_version": "mobile_sam-1",
        "engine": "openvino-cpu-bf16",
        "engine_note": None,
        "redis": "UP",
        "workers": {
            "interactive": {"ready": 1, "busy": 1, "starting": 0},
            "batch": {"ready": 0, "busy": 0, "starting": 1},
            "train": {"ready": 0, "busy": 0, "starting": 0},
        },
        "queues": {
            "interactive": {"waiting": 2, "running": 1},
            "batch": {"waiting": 0, "running": 0},
            "train": {"waiting": 0, "running": 0},
        },
        "problems": [],
    }


def test_without_redis_the_server_is_up_and_says_what_is_wrong(serve: Serve) -> None:
    def away() -> Overview:
        raise QueueUnavailable("Redis can't be used.", "Start it.")

    answer = serve(overview=away).get("/health")
    assert answer.status_code == 200
    assert answer.json()["redis"] == "DOWN"
    assert answer.json()["problems"] == ["Redis can't be used. Start it."]


def test_what_keeps_a_worker_from_starting_is_told() -> None:
    failed = QueueState(0, 0, (), WeightsError("The weights are missing.", "Run `maskloop weights fetch`."))
    assert health(Look({QueueName.INTERACTIVE: failed}), "v")["problems"] == [
        "interactive: The weights are missing. Run `maskloop weights fetch`."
    ]
    none = QueueState(0, 0, (), None)
    assert "no worker is running" in health(Look({QueueName.INTERACTIVE: none}), "v")["problems"][0]


def test_a_redis_that_hangs_does_not_keep_health_waiting(serve: Serve) -> None:
    looks = iter([{}])
    gate = threading.Event()

    def hang() -> Overview:
        for look in looks:
            return look
        gate.wait(10)
        return {}

    client = serve(overview=hang)
    assert client.get("/health").status_code == 200
    assert health(Look(at=-1e9), "v")["problems"] == ["Redis doesn't answer."]
    gate.set()


def test_a_person_gets_a_page(client: httpx.Client, backend: Any) -> None:
    backend.version = "<script>"
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "openvino-cpu-bf16" in page.text
    assert "<script>" not in page.text
    assert "&lt;script&gt;" in page.text
