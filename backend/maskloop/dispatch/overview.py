"""What goes on in the queues: for ``/health``, ``/metrics`` and the commands."""

from __future__ import annotations

import json
from dataclasses import dataclass

from redis import Redis

from maskloop.dispatch.jobs import Json, unpack_error
from maskloop.dispatch.maintenance import process_of
from maskloop.dispatch.queues import JobQueue, QueueName, reaching_redis
from maskloop.errors import MaskloopError

READY = "idle", "busy"
"""States of a worker that can do jobs."""


@dataclass(frozen=True, slots=True)
class WorkerState:
    """A living worker. ``state`` is starting, idle or busy; ``report`` is what it tells of itself (``Service``)."""

    name: str
    state: str
    report: dict[str, Json]


@dataclass(frozen=True, slots=True)
class QueueState:
    """``failure`` is the error that kept the last worker from starting, if that happened of late."""

    waiting: int
    running: int
    workers: tuple[WorkerState, ...]
    failure: MaskloopError | None

    def processes(self, *states: str) -> int:
        """Of which a worker is in one of these states."""
        return len({process_of(worker.name) for worker in self.workers if worker.state in states})


def overview(redis: Redis) -> dict[QueueName, QueueState]:
    """Every queue's state, in two round trips. Raises QueueUnavailable."""
    queues = [JobQueue(name, redis) for name in QueueName]
    with reaching_redis(), redis.pipeline(transaction=False) as pipe:
        for queue in queues:
            pipe.llen(queue.key)
            pipe.zcard(queue.started_job_registry.key)
            pipe.smembers(queue.workers_key)
            pipe.get(queue.failure_key)
        answers = pipe.execute()
        rows = [answers[start : start + 4] for start in range(0, len(answers), 4)]
        members = [sorted(keys) for _, _, keys, _ in rows]
        for key in (key for keys in members for key in keys):
            pipe.hmget(key, "birth", "state", "report")
        facts = iter(pipe.execute())
    workers = [tuple(_workers(keys, [next(facts) for _ in keys])) for keys in members]
    return {
        QueueName(queue.name): QueueState(waiting, running, states, _failure(failure))
        for queue, (waiting, running, _, failure), states in zip(queues, rows, workers, strict=True)
    }


def _failure(packed: bytes | None) -> MaskloopError | None:
    return unpack_error(json.loads(packed)) if packed else None


def _workers(keys: list[bytes], facts: list[list[bytes | None]]) -> list[WorkerState]:
    return [
        WorkerState(_name(key), (state or b"starting").decode(), json.loads(report or b"{}"))
        for key, (birth, state, report) in zip(keys, facts, strict=True)
        if birth
    ]


def _name(key: bytes) -> str:
    return key.decode().removeprefix("rq:worker:")
