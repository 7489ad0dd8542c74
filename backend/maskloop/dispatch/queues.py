"""The queues, and the one way to reach the Redis that holds them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

import orjson
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, OutOfMemoryError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry
from rq import Queue
from rq.utils import get_version
from rq.worker_registration import WORKERS_BY_QUEUE_KEY

from maskloop.errors import QueueUnavailable

CONNECT_TIMEOUT, ANSWER_TIMEOUT = 2.0, 3.0
"""Seconds until a Redis that doesn't answer counts as away. No command blocks longer (RQ's workers set their own)."""
MAX_CONNECTIONS = 4096
"""Each caller that waits holds one connection."""
OLDEST_REDIS = (6, 2, 0)
"""The first with BLMOVE: with it, a worker killed between taking and starting a job doesn't lose it."""

FULL = 0.99
"""Of the memory that Redis may take."""

log = logging.getLogger("maskloop.redis")


class QueueName(StrEnum):
    """One queue for each kind of worker: a click never waits behind a batch or a training."""

    INTERACTIVE = "interactive"
    BATCH = "batch"
    TRAIN = "train"


Limits = Mapping[QueueName, int]
"""Jobs that may wait in each queue; one more is turned away. A queue that isn't named has no bound."""


def connect(url: str) -> Redis:
    """A client for ``url`` (redis://, rediss:// or unix://). Connects on first use; safe among threads.

    One immediate retry, because a connection from the pool may be from before a restart of Redis.
    """
    client: Redis = Redis.from_url(
        url,
        socket_timeout=ANSWER_TIMEOUT,
        socket_connect_timeout=CONNECT_TIMEOUT,
        retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        max_connections=MAX_CONNECTIONS,
    )
    return client


def check(redis: Redis) -> None:
    """Raises QueueUnavailable if Redis can't be reached or is too old; warns if it may drop what it is to keep. It has
    work to do until then: refusing it would take that from people too."""
    with reaching_redis():
        version, memory = get_version(redis), dict[str, Any](redis.info("memory"))
    if version < OLDEST_REDIS:
        raise QueueUnavailable("Redis is older than 6.2.", "Upgrade it, or use the private one.")
    if memory["maxmemory"] and memory["maxmemory_policy"] != "noeviction":
        log.warning(
            "Once its memory is full, Redis drops predictions and jobs that wait (maxmemory-policy %s). Set it to "
            "noeviction.",
            memory["maxmemory_policy"],
        )


def is_full(redis: Redis) -> bool:
    """Whether Redis refuses what it is to keep, or soon will: it counts a command before it does it, and so refuses
    some with memory left. Raises QueueUnavailable."""
    with reaching_redis():
        memory = dict[str, Any](redis.info("memory"))
    bounded = memory["maxmemory"] and memory["maxmemory_policy"] == "noeviction"
    return bool(bounded and memory["used_memory"] > FULL * memory["maxmemory"])


@contextmanager
def reaching_redis() -> Iterator[None]:
    """Turns Redis' own errors into a QueueUnavailable that says what to do."""
    try:
        yield
    except RedisError as error:
        raise unavailable(error) from error


def unavailable(error: RedisError) -> QueueUnavailable:
    if isinstance(error, AuthenticationError):
        return QueueUnavailable(
            "Redis wants a password, or another one.",
            "Name it in --redis-url (MASKLOOP_REDIS_URL): redis://:PASSWORD@host, or redis://USER:PASSWORD@host.",
        )
    if "OOM command" in str(error) or isinstance(error, OutOfMemoryError):  # a script's is of no class of its own
        return full()
    hint = "Start Redis, or check --redis-url (MASKLOOP_REDIS_URL)."
    if isinstance(error, RedisTimeoutError):
        hint += " With rediss:// in place of redis://, a Redis without TLS doesn't answer either."
    return QueueUnavailable(f"Redis can't be used: {str(error).rstrip('.')}.", hint)


def full() -> QueueUnavailable:
    return QueueUnavailable("Redis is full.", "Give it more memory (maxmemory).")


class Serializer:
    """JSON in UTF-8, for RQ. Bytes are taken to be JSON already."""

    @staticmethod
    def dumps(value: Any) -> bytes:
        return value if isinstance(value, bytes) else orjson.dumps(value)

    @staticmethod
    def loads(data: bytes) -> Any:
        return orjson.loads(data)


class JobQueue(Queue):
    """RQ's queue with JSON for arguments and results, and no dependent jobs: looking for them costs a round trip."""

    def __init__(self, name: str, connection: Redis, **options: Any) -> None:
        options["serializer"] = Serializer
        super().__init__(name, connection=connection, **options)

    def enqueue_dependents(self, *_args: Any, **_options: Any) -> None: ...

    @property
    def workers_key(self) -> str:
        """The set of the keys of the workers that registered for this queue; a dead worker's key is gone."""
        return WORKERS_BY_QUEUE_KEY % self.name

    @property
    def failure_key(self) -> str:
        """The packed error that kept the last worker of this queue from starting; expires."""
        return f"maskloop:failure:{self.name}"

    def latest_key(self, key: str) -> str:
        """Holds the id of the newest job that was submitted with ``key``."""
        return f"maskloop:latest:{self.name}:{key}"
