"""A server around a backend that says what it was asked."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from maskloop.dispatch.overview import QueueState, WorkerState
from maskloop.dispatch.queues import QueueName
from maskloop.server.app import create_app
from maskloop.server.auth import Guard
from maskloop.server.health import Overview
from maskloop.server.webhooks import Webhooks

Json = dict[str, Any]


class Scripted:
    """Answers what it is told to, or raises it."""

    def __init__(self) -> None:
        self.answer: Json | Exception = {}
        self.asked: list[tuple[str, Json]] = []

    def setup(self, body: Json) -> Json:
        return self._answer("setup", body)

    def predict(self, body: Json, _stop: threading.Event | None = None) -> Json:
        return self._answer("predict", body)

    def webhook(self, payload: bytes) -> Json:
        return self._answer("webhook", {"payload": payload})

    def versions(self) -> Json:
        return self._answer("versions", {})

    def review(self, body: Json) -> Json:
        return self._answer("review", body)

    def tasks_to_review(self, query: Mapping[str, str]) -> Json:
        return self._answer("tasks_to_review", dict(query))

    def batches(self) -> Json:
        return {"delivers": True, "projects": {}, "events": 5}

    def _answer(self, route: str, body: Json) -> Json:
        self.asked.append((route, body))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def all_well() -> Overview:
    report = {
        "engine": "openvino-cpu-bf16",
        "engine_note": "",
        "jobs": {"click": {"done": 3, "failed": 1, "seconds": 0.2, "waited": 0.01}},
        "doing": "",
    }
    learning = {"doing": "Training p7-1: step 3 of 90, loss 0.500."}
    busy = WorkerState("interactive-here-1-a", "busy", report)
    starting = WorkerState("batch-here-2-b", "starting", {})
    training = WorkerState("train-here-3-c", "busy", learning)
    return {
        QueueName.INTERACTIVE: QueueState(2, 1, (busy,), None),
        QueueName.BATCH: QueueState(0, 0, (starting,), None),
        QueueName.TRAIN: QueueState(0, 1, (training,), None),
    }


@pytest.fixture
def backend() -> Scripted:
    return Scripted()


@pytest.fixture
def serve(backend: Scripted, until: Callable[..., None]) -> Iterator[Callable[..., httpx.Client]]:
    """Starts the server; ``serve(user=..., password=..., overview=...)`` gives a client of it."""
    with ExitStack() as stack:

        def start(
            user: str = "",
            password: str = "",
            overview: Callable[[], Overview] = all_well,
            webhooks: Webhooks | None = None,
            leaving: threading.Event | None = None,
        ) -> httpx.Client:
            app = create_app(
                backend, overview, Guard(user, password), lambda: {7: "p7-1", None: "mobile_sam-1"}, webhooks, leaving
            )
            url = stack.enter_context(running(app, until))
            return stack.enter_context(httpx.Client(base_url=url, limits=httpx.Limits(max_connections=None)))

        yield start


@contextmanager
def running(app: FastAPI, until: Callable[..., None]) -> Iterator[str]:
    """The address at which a real server serves ``app``."""
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    until(lambda: server.started)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def client(serve: Callable[..., httpx.Client]) -> httpx.Client:
    return serve()
