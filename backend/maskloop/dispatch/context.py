"""What a running job can ask and tell."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from math import inf

from redis import Redis
from redis.exceptions import RedisError

from maskloop.dispatch.jobs import Cancelled, Progress, cancel_key, progress_key
from maskloop.errors import DeadlineExceeded

PROGRESS_TTL = 24 * 3600
LOOK = 0.5
"""Seconds for which an answer to "cancelled?" holds, so that asking in a tight loop is cheap."""


class Interrupted(Exception):
    """Raised by a handler that was told to stop and can go on later: its job goes back to the queue."""


class JobContext:
    """Handed to a handler with the payload. A short job may ignore it; a long one calls :meth:`check` often."""

    def __init__(self, redis: Redis, job_id: str, deadline: float | None, stopping: Callable[[], bool]) -> None:
        self.job_id = job_id
        self.deadline = deadline
        self._redis = redis
        self._stopping = stopping
        self._cancelled = False
        self._looked = -inf

    def remaining(self) -> float:
        """Seconds to the deadline; infinite without one, negative after it."""
        return inf if self.deadline is None else self.deadline - time.time()

    def progress(self, fraction: float, message: str = "") -> None:
        """Tells how far the job is, from 0 to 1. Without Redis it isn't told, and the job goes on."""
        with suppress(RedisError):
            self._redis.set(progress_key(self.job_id), json.dumps(asdict(Progress(fraction, message))), ex=PROGRESS_TTL)

    def check(self) -> None:
        """Raises Cancelled or DeadlineExceeded if the job is no longer wanted, or Interrupted if the worker has to
        stop: save what is done before letting that pass."""
        if self._stopping():
            raise Interrupted
        if self.remaining() < 0:
            raise DeadlineExceeded("The job ran past its deadline.")
        if time.monotonic() - self._looked > LOOK:
            with suppress(RedisError):
                self._cancelled = bool(self._redis.exists(cancel_key(self.job_id)))
            self._looked = time.monotonic()
        if self._cancelled:
            raise Cancelled("The job was cancelled.")
