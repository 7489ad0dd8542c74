"""The Redis tier, with a real Redis."""

from __future__ import annotations

import logging
import threading

import pytest
from redis import Redis

from maskloop.cache.redis_store import KEPT, RedisStore

ROOM = 100_000


def test_another_machine_finds_what_one_has_put(redis: Redis, redis_server: str) -> None:
    RedisStore(redis, ROOM).put("a", b"value")
    with Redis.from_url(redis_server) as other:
        assert RedisStore(other, ROOM).get("a") == b"value"


def test_the_account_fits_the_values_whatever_is_put(redis: Redis) -> None:
    stores = [RedisStore(redis, ROOM) for _ in range(3)]

    def work(store: RedisStore, salt: int) -> None:
        for turn in range(100):
            store.put(f"k{(turn * salt) % 23}", bytes(1000 * (turn % 12)))

    threads = [threading.Thread(target=work, args=(store, salt)) for salt, store in enumerate(stores, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    values = [
        key for key in redis.scan_iter("*") if redis.type(key) == b"string" and not key.endswith((b"total", b"clock"))
    ]
    total = sum(redis.strlen(key) for key in values)
    assert total == int(redis.get("{maskloop:cache:1}:total"))
    assert 0 < total <= ROOM
    assert len(values) == redis.zcard("{maskloop:cache:1}:used") == redis.hlen("{maskloop:cache:1}:sizes")


def test_stores_with_other_prefixes_are_apart(redis: Redis) -> None:
    one, other = RedisStore(redis, ROOM, "one"), RedisStore(redis, ROOM, "other")
    one.put("a", b"value")
    assert other.get("a") is None


def test_values_that_redis_dropped_by_itself_are_misses(redis: Redis) -> None:
    store = RedisStore(redis, ROOM)
    store.put("a", bytes(50_000))
    redis.delete(*[key for key in redis.scan_iter("*") if redis.type(key) == b"string" and redis.strlen(key) == 50_000])
    assert store.get("a") is None
    for number in range(10):
        store.put(f"k{number}", bytes(20_000))
    assert store.get("k9") is not None


def test_a_redis_that_is_gone_is_no_cache_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    store = RedisStore(Redis(host="127.0.0.1", port=1, socket_timeout=1), ROOM)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            store.put("a", b"value")
            assert store.get("a") is None
            with store.lock("a"):
                pass
    [record] = caplog.records
    assert "going on without it" in record.getMessage()


def test_what_nobody_asks_for_is_dropped_in_time(redis: Redis) -> None:
    store = RedisStore(redis, ROOM)
    store.put("a", b"value")
    [key] = [key for key in redis.scan_iter("*") if redis.ttl(key) > 0]
    assert KEPT - 60 < redis.ttl(key) <= KEPT
    redis.expire(key, 60)
    store.get("a")
    assert redis.ttl(key) > 60


def test_a_lock_that_ran_out_is_nobodys_to_let_go(redis: Redis) -> None:
    store = RedisStore(redis, ROOM)
    with store.lock("a"):
        assert redis.delete(*redis.scan_iter("*lock*")) == 1
