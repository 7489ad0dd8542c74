"""What a running job can ask and tell."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from math import inf

from redis import Redis
from redis.exceptions import RedisError

from maskloop.dispatch.jobs import Cancelled, cancel_key
from maskloop.errors import DeadlineExceeded

LOOK = 0.5
"""Seconds for which an answer to "cancelled?" holds, so that asking in a tight loop is cheap."""
STEP = 0.1
"""Seconds between looks at whether the worker has to stop."""


class Interrupted(Exception):
    """Raised by a handler that was told to stop and can go on later: its job goes back to the queue."""


class OutOfTime(BaseException):
    """Raised in a handler that runs for longer than it may, wherever it is: no ``except Exception`` there is to take it
    for a fault of what it was at."""


class JobContext:
    """Handed to a handler with the payload. A short job may ignore it; a long one calls :meth:`check` often."""

    def __init__(self, redis: Redis, job_id: str, deadline: float | None, stopping: Callable[[], bool]) -> None:
        self.job_id = job_id
        self.deadline = deadline
        self.told = ""
        """How far the job is, as its handler told last."""
        self._redis = redis
        self._stopping = stopping
        self._cancelled = False
        self._looked = -inf

    def remaining(self) -> float:
        """Seconds to the deadline; infinite without one, negative after it."""
        return inf if self.deadline is None else self.deadline - time.time()

    def progress(self, message: str) -> None:
        """Tells how far the job is: the worker's report has it while the job runs."""
        self.told = message

    def pause(self, seconds: float) -> None:
        """Waits, but not past the deadline, nor once the worker has to stop."""
        end = time.monotonic() + min(seconds, self.remaining())
        while time.monotonic() < end and not self._stopping():
            time.sleep(STEP)

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
