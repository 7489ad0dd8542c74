"""What is said of a Redis that can't be used tells what to do."""

import socket
from collections.abc import Iterator

import pytest
from redis import Redis

from maskloop.dispatch.dispatcher import Dispatcher
from maskloop.dispatch.queues import QueueName, check, connect, is_full, reaching_redis
from maskloop.errors import QueueUnavailable


def trouble(url: str) -> str:
    with pytest.raises(QueueUnavailable) as raised, reaching_redis():
        connect(url).ping()
    return str(raised.value)


@pytest.mark.parametrize("given", ["", "?password=wrong"])
def test_a_password_that_is_missing_or_wrong_is_asked_for(redis: Redis, redis_server: str, given: str) -> None:
    redis.config_set("requirepass", "secret")
    try:
        assert "redis://:PASSWORD@host" in trouble(redis_server + given)
        assert connect(redis_server + "?password=secret").ping()
    finally:
        redis.config_set("requirepass", "")


@pytest.fixture
def limited(redis: Redis) -> Iterator[Redis]:
    """A Redis with a limit of its memory."""
    redis.config_set("maxmemory", 1)
    yield redis
    redis.config_set("maxmemory", 0)
    redis.config_set("maxmemory-policy", "noeviction")


def test_a_full_one_is_said_to_be(limited: Redis, dispatcher: Dispatcher) -> None:
    with pytest.raises(QueueUnavailable, match="Redis is full"):
        dispatcher.submit("click", {}, queue=QueueName.INTERACTIVE, deadline=5)
    with pytest.raises(QueueUnavailable, match="Redis is full"), reaching_redis():
        limited.set("a", "b")
    assert is_full(limited)


@pytest.mark.parametrize(
    ("policy", "free", "told"), [("noeviction", 0.005, True), ("noeviction", 0.1, False), ("volatile-lru", 0, False)]
)
def test_one_that_is_about_to_refuse_is_full(limited: Redis, policy: str, free: float, told: bool) -> None:
    limited.config_set("maxmemory-policy", policy)
    limited.config_set("maxmemory", int(limited.info("memory")["used_memory"] * (1 + free)))
    assert is_full(limited) is told


@pytest.mark.parametrize(("policy", "told"), [("noeviction", ""), ("volatile-lru", "Set it to noeviction")])
def test_one_that_drops_what_it_is_to_keep_is_warned_of(
    limited: Redis, caplog: pytest.LogCaptureFixture, policy: str, told: str
) -> None:
    limited.config_set("maxmemory", "1gb")
    limited.config_set("maxmemory-policy", policy)
    check(limited)
    assert told in caplog.text
    assert bool(told) == bool(caplog.text)


def test_a_server_that_says_nothing_may_be_one_without_tls() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert "a Redis without TLS" in trouble(f"rediss://127.0.0.1:{silent.getsockname()[1]}")
