"""Images are encoded before they are clicked: those of the tasks that people are likely to open next.

The server notes where people are (:class:`Visits`); :class:`Ahead` asks Label Studio what comes next there, in the
order in which the project hands out its tasks, and puts small jobs before the batches' ones. Nobody waits for them:
they are few, run in batch workers, which leave the processor to clicks, and lapse when people have moved on.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from redis import Redis

from maskloop.dispatch.context import JobContext
from maskloop.dispatch.dispatcher import Dispatcher
from maskloop.dispatch.queues import QueueName, reaching_redis
from maskloop.errors import MaskloopError, QueueFull, QueueUnavailable
from maskloop.inference import Segmenter
from maskloop.labelstudio.api import LabelStudioApi
from maskloop.labelstudio.handlers import payload_of, prefetch
from maskloop.labelstudio.options import Options
from maskloop.labelstudio.wire import Task

Json = dict[str, Any]
KIND = "encode"
KEY = "maskloop:visits"
MOST = 64
"""Visits that may wait; older ones are of no use any more."""
LAPSE = 60.0
"""Seconds after which an image that nobody encoded yet is left alone."""
PAUSE = 1
"""Seconds that one wait for a visit takes: less than a command to Redis may block."""
STAY = 30.0
"""Seconds for which a visit of the same place tells nothing new."""
GIVE_WAY = 0.5
"""Seconds left to the very click that told of the visit."""
UNIFORM = "Uniform sampling"
UNCERTAINTY = "Uncertainty sampling"

log = logging.getLogger("maskloop.ahead")


class Visit(NamedTuple):
    """Somebody works in a project, on a task if that is known."""

    project: int
    task: int | None


class Visits:
    """In Redis, from the servers to whoever looks ahead. Every method raises QueueUnavailable when it is away."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def note(self, visit: Visit) -> None:
        with reaching_redis(), self._redis.pipeline(transaction=False) as pipe:
            pipe.lpush(KEY, json.dumps(visit))
            pipe.ltrim(KEY, 0, MOST - 1)
            pipe.execute()

    def next(self, timeout: int = PAUSE) -> Visit | None:
        """The earliest that nobody took, waited for up to ``timeout`` seconds."""
        with reaching_redis():
            taken: Any = self._redis.brpop([KEY], timeout=timeout)
        return Visit(*json.loads(taken[1])) if taken else None


class Ahead:
    """count: of tasks after the one that is visited. version: of the model in service in a project."""

    def __init__(
        self, visits: Visits, dispatcher: Dispatcher, api: LabelStudioApi, *, version: Callable[[int], str], count: int
    ) -> None:
        self._visits = visits
        self._dispatcher = dispatcher
        self._api = api
        self._version = version
        self._count = count
        self._seen: dict[int, tuple[int | None, float]] = {}

    def run(self, stop: threading.Event) -> None:
        """Until ``stop`` is set. What isn't encoded ahead is encoded when it is clicked, so errors are only logged."""
        while not stop.is_set():
            try:
                visit = self._visits.next()
                if visit and self._is_news(visit) and not stop.wait(GIVE_WAY):
                    self.encode_after(visit)
            except QueueUnavailable as error:
                log.info("Nothing is encoded ahead now: %s", error)
                stop.wait(PAUSE)
            except MaskloopError as error:
                log.info("Nothing is encoded ahead there: %s", error)

    def encode_after(self, visit: Visit) -> int:
        """Submits the images that come next; returns of how many tasks."""
        project = self._api.project(visit.project)
        tasks = list(self._following(visit, str(project["sampling"])))
        for task in reversed(tasks):  # each goes before those that wait
            payload = payload_of(
                visit.project,
                Task(id=task["id"], data=task["data"]),
                project["label_config"],
                Options(),
                self._version(visit.project),
            )
            try:
                self._dispatcher.submit(
                    KIND,
                    payload,
                    queue=QueueName.BATCH,
                    deadline=LAPSE,
                    key=f"{KIND}:{task['id']}",
                    on_same_key="join",
                    first=True,
                )
            except QueueFull:
                return 0
        log.debug("project=%d %d tasks to encode ahead", visit.project, len(tasks))
        return len(tasks)

    def _is_news(self, visit: Visit) -> bool:
        task, until = self._seen.get(visit.project, (None, 0.0))
        now = time.monotonic()
        if now < until and visit.task in (task, None):
            return False
        self._seen[visit.project] = visit.task, now + STAY
        return True

    def _following(self, visit: Visit, sampling: str) -> Iterator[Json]:
        """The next tasks without annotations. Random order can't be known: then only what is left, if that is few."""
        if sampling == UNIFORM:
            left = self._api.open_tasks(visit.project, count=self._count + 1)
            return iter(left if len(left) <= self._count else [])
        if sampling == UNCERTAINTY:
            return iter(self._api.open_tasks(visit.project, count=self._count, ordering="tasks:predictions_score"))
        return islice(self._in_sequence(visit), self._count)

    def _in_sequence(self, visit: Visit) -> Iterator[Json]:
        following = self._api.open_tasks(visit.project, count=self._count, after=visit.task)
        yield from following
        if visit.task is not None:
            skipped = self._api.open_tasks(visit.project, count=self._count)
            yield from (task for task in skipped if task["id"] < visit.task)


def handler(segmenter: Callable[[str], Segmenter]) -> Callable[[Any, JobContext], None]:
    """What a batch worker does with jobs of ``KIND``. ``segmenter``: of a version."""

    def run(payload: Any, context: JobContext) -> None:
        context.check()
        prefetch(segmenter(payload["version"]), payload)

    return run
