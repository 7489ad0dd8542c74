"""A worker that gives back what it gets: what Redis and RQ alone take. ``python -m maskloop.bench.queue REDIS_URL``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from maskloop.bench.rows import timed
from maskloop.dispatch.dispatcher import Dispatcher
from maskloop.dispatch.executor import Service
from maskloop.dispatch.private_redis import PrivateRedis
from maskloop.dispatch.queues import QueueName, connect
from maskloop.dispatch.worker import run_worker

KIND = "echo"
START_LIMIT = 60.0
"""Seconds that a job waits for the worker to start."""


@contextmanager
def echoes(directory: Path) -> Iterator[Callable[[object], float]]:
    """Something that sends a JSON value to a worker and tells the milliseconds until it is back."""
    with PrivateRedis(directory) as redis:
        dispatcher = Dispatcher(connect(redis.url), {})

        def there_and_back(value: object) -> float:
            def send() -> None:
                ticket = dispatcher.submit(
                    KIND, value, queue=QueueName.INTERACTIVE, deadline=START_LIMIT, patience=START_LIMIT
                )
                dispatcher.wait(ticket)

            return timed(send)

        worker = subprocess.Popen([sys.executable, "-m", __name__, redis.url])  # noqa: S603
        try:
            yield there_and_back
        finally:
            worker.terminate()
            worker.wait(30)


if __name__ == "__main__":
    run_worker(connect(sys.argv[1]), QueueName.INTERACTIVE, lambda: Service({KIND: lambda value, _: value}))
