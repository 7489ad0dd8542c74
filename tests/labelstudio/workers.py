"""Worker processes whose segmenter finds discs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from redis import Redis

from maskloop.dispatch.maintenance import declare_dead
from maskloop.dispatch.overview import overview
from maskloop.dispatch.queues import QueueName
from maskloop.dispatch.supervisor import Child, Supervisor

WORKER = Path(__file__).parent / "disc_worker.py"


@pytest.fixture
def start_discs(redis: Redis, redis_server: str, until: Callable[..., None]) -> Iterator[Callable[..., Supervisor]]:
    """Starts a worker, by default for batches, and lets it pre-annotate ``go`` images."""
    with ExitStack() as stack:

        def start(go: int = 0, queue: QueueName = QueueName.BATCH) -> Supervisor:
            if go:
                redis.lpush("go", *["1"] * go)
            environment = {"PYTHONPATH": os.pathsep.join([str(WORKER.parents[1]), *sys.path])}
            child = Child(queue.value, [sys.executable, str(WORKER), redis_server, queue.value], environment)
            supervisor = Supervisor([child], grace=1, on_death=lambda pid: declare_dead(redis, pid))
            stack.enter_context(supervisor)
            until(lambda: overview(redis)[queue].workers)
            return supervisor

        yield start
