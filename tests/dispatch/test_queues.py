"""What is said of a Redis that can't be used tells what to do."""

import socket

import pytest
from redis import Redis

from maskloop.dispatch.queues import connect, reaching_redis
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


def test_a_server_that_says_nothing_may_be_one_without_tls() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert "a Redis without TLS" in trouble(f"rediss://127.0.0.1:{silent.getsockname()[1]}")
