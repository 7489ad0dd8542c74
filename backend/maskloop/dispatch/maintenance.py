"""Gives the jobs of dead workers to living ones."""

from __future__ import annotations

import logging
import socket
import time
from typing import Any
from uuid import uuid4

from redis import Redis
from redis.exceptions import RedisError
from rq.registry import clean_registries
from rq.worker_registration import clean_worker_registry

from maskloop.dispatch.queues import JobQueue, QueueName

ORPHANED = 2.0
"""Seconds that a job may lie between the queue and its worker before that worker counts as dead."""


log = logging.getLogger("maskloop.worker")


def worker_name(queue: str, pid: int) -> str:
    """Unique, and says where the process runs."""
    return f"{queue}-{socket.gethostname()}-{pid}-{uuid4().hex[:6]}"


def process_of(name: str) -> str:
    """What the names of one process's workers have in common."""
    return name.rpartition("-")[0]


def declare_dead(redis: Redis, pid: int) -> None:
    """For whoever saw this machine's worker process ``pid`` end: the next round need not wait for its lease."""
    place = f"-{socket.gethostname()}-{pid}-".encode()
    try:
        for queue in (JobQueue(name, redis) for name in QueueName):
            workers: Any = redis.smembers(queue.workers_key)
            for worker in workers:
                if place in worker:
                    redis.delete(worker)
            registry = queue.started_job_registry
            leases: Any = redis.zrange(registry.key, 0, -1)
            for lease in leases:
                holder: Any = redis.hget(f"rq:execution:{lease.decode()}", "worker_name")
                if holder and place in holder:
                    redis.zadd(registry.key, {lease: 0}, xx=True)
    except RedisError as error:
        log.warning("Redis is away, so the jobs of pid %d wait for its lease to end: %s", pid, error)


class Maintenance:
    """Of one queue; every worker of the queue runs a round each ``interval`` seconds, and one of them does it."""

    def __init__(self, queue: JobQueue, interval: float) -> None:
        self._queue = queue
        self._interval = interval
        self._between: dict[str, float] = {}

    def round(self) -> None:
        """Jobs whose lease ran out are tried again or end as failed; dead workers leave the lists.

        The lock expires by itself: one who is killed while holding it keeps nobody from the next round.
        """
        lock = f"maskloop:maintenance:{self._queue.name}"
        if self._queue.connection.set(lock, 1, nx=True, px=int(self._interval * 900)):
            clean_registries(self._queue)
            clean_worker_registry(self._queue)
            self._rescue()

    def _rescue(self) -> None:
        """Jobs whose worker died after taking and before starting them go back to the front of the queue."""
        queue, between = self._queue, self._queue.intermediate_queue
        now = time.monotonic()
        self._between = {job_id: self._between.get(job_id, now) for job_id in between.get_job_ids()}
        for job_id in [job_id for job_id, since in self._between.items() if now - since > ORPHANED]:
            over = queue.fetch_job(job_id) is None or job_id in queue.started_job_registry
            with queue.connection.pipeline() as pipe:
                pipe.lrem(between.key, 1, job_id)
                if not over:
                    pipe.lpush(queue.key, job_id)
                pipe.execute()
