"""Everything that serves is killed at random while webhooks come: none is lost, and none counts twice."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from sqlalchemy import select

from maskloop.learning.events import read
from maskloop.learning.store import FeedbackStore
from maskloop.learning.tables import Annotation, Event, Outcome

EVENTS, SENDERS = 240, 4
VICTIMS = ("redis-server", "worker", "housekeeping", "server")


def event(number: int) -> bytes:
    """Somebody saved annotation ``number``."""
    annotation = {"id": number, "task": number, "project": 7, "result": [], "updated_at": "2026-11-21T00:00:00Z"}
    task = {"id": number, "project": 7, "data": {"image": f"{number}.jpg"}}
    body = {"action": "ANNOTATION_CREATED", "annotation": annotation, "task": task, "project": {"id": 7}}
    return json.dumps(body).encode()


class Sender:
    """Sends to the server that runs now, each event until one answers that it was kept."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.sent = 0
        self._client = httpx.Client(timeout=60)
        self._lock = threading.Lock()

    def __call__(self, number: int) -> None:
        pause = threading.Event()
        while True:
            with suppress(httpx.TransportError):
                if self._client.post(f"{self.url}/webhook", content=event(number)).status_code == 201:
                    break
            pause.wait(0.05)
        with self._lock:
            self.sent += 1


@pytest.mark.weights
def test_webhooks_survive_kills_of_the_server_a_worker_and_redis(
    maskloop_serve: Callable[..., Any], official_weights: Path, tmp_path: Path, until: Callable[..., None]
) -> None:
    serving = maskloop_serve(batch_workers="0")
    send, chance, killed = Sender(serving.url), random.Random(3), 0
    with ThreadPoolExecutor(SENDERS) as pool:
        answers = pool.map(send, range(EVENTS))
        for number, victim in enumerate(VICTIMS * 2):
            goal = int((number + chance.random()) * EVENTS / (2 * len(VICTIMS) + 1))
            until(lambda goal=goal: send.sent >= goal, timeout=120)
            if victim == "server":
                serving.process.kill()
                serving.process.wait()
                serving = maskloop_serve(wait=False, batch_workers="0")
                send.url = serving.url
            else:
                killed += kill(serving.process, victim)
        assert len(list(answers)) == EVENTS
    assert killed >= 4
    store = FeedbackStore.open(tmp_path / "data")
    until(lambda: store.process_pending().waiting == 0, timeout=60)
    with store.session() as session:
        events = session.scalars(select(Event)).all()
        assert session.query(Annotation).count() == EVENTS
    assert sorted(read(zlib.decompress(one.payload))["annotation"]["id"] for one in events) == list(range(EVENTS))
    assert {one.outcome for one in events} == {Outcome.APPLIED}


def kill(server: Any, victim: str) -> bool:
    """One of the server's children; False if it is just being started anew."""
    for child in psutil.Process(server.pid).children():
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            if victim in (child.name(), *child.cmdline()):
                os.kill(child.pid, signal.SIGKILL)
                return True
    return False
