"""What tests of several rooms share."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import skimage
from hypothesis import settings as hypothesis_settings
from PIL import Image as PillowImage
from redis import Redis

from maskloop.dispatch.dispatcher import Dispatcher
from maskloop.dispatch.maintenance import declare_dead
from maskloop.dispatch.overview import overview
from maskloop.dispatch.private_redis import PrivateRedis
from maskloop.dispatch.queues import QueueName, connect
from maskloop.dispatch.supervisor import Child, Supervisor
from maskloop.sam.values import Image
from maskloop.settings import Settings
from maskloop.weights import verified_path

hypothesis_settings.register_profile("maskloop", deadline=None)  # a busy machine is no failure
hypothesis_settings.load_profile("maskloop")

WORKER = Path(__file__).parent / "dispatch" / "worker_process.py"


@pytest.fixture(scope="session")
def official_weights() -> Path:
    """The verified official weights; the test wants the mark `weights`."""
    return verified_path(Settings().weights_dir)


@pytest.fixture(scope="session")
def photo() -> Callable[[str], Image]:
    """A photo that scikit-image carries, by its file's name; uint8 (H, W, 3)."""
    return lambda name: np.asarray(PillowImage.open(Path(skimage.__file__).parent / "data" / name).convert("RGB"))


def wait_until(holds: Callable[[], object], timeout: float = 20.0) -> None:
    end = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < end, "It didn't come true in time."
        time.sleep(0.01)


@pytest.fixture(scope="session")
def until() -> Callable[..., None]:
    """``until(holds, timeout=20.0)`` returns as soon as ``holds()`` does."""
    return wait_until


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real Redis."""
    with PrivateRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture
def redis(redis_server: str) -> Iterator[Redis]:
    """An empty, real Redis; a blocking command of this client may take its time."""
    client: Redis = Redis.from_url(redis_server, socket_timeout=None)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def dispatcher(redis: Redis, redis_server: str) -> Dispatcher:
    return Dispatcher(connect(redis_server), {QueueName.INTERACTIVE: 8})


@pytest.fixture
def start_workers(redis: Redis, redis_server: str) -> Iterator[Callable[..., Supervisor]]:
    """Starts ``count`` supervised worker processes, by default one for clicks, and waits until they are there."""
    with ExitStack() as stack:

        def start(
            count: int = 1, queue: QueueName = QueueName.INTERACTIVE, build: str = "quick", *, wait: bool = True
        ) -> Supervisor:
            command = [sys.executable, str(WORKER), redis_server, queue, build]
            children = [Child(f"{queue}-{number}", command) for number in range(count)]
            supervisor = stack.enter_context(
                Supervisor(children, grace=5, on_death=lambda pid: declare_dead(redis, pid))
            )
            if wait:
                wait_until(lambda: sum(worker.state == "idle" for worker in overview(redis)[queue].workers) >= count)
            return supervisor

        yield start
