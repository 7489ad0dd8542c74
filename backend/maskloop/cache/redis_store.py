"""The tier in a Redis, shared by the workers of several machines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import redis
from redis.exceptions import LockError, RedisError

from maskloop.cache.store import PATIENCE, Trouble, Value, digest

PAUSE = 5.0
KEPT = 7 * 24 * 3600
"""A value that nobody has asked for in this time is dropped, seconds."""
HELD = 60.0
"""The lock of a process that died is free after this time at the latest, seconds."""

# KEYS: the value; the order of use (sorted set); the sizes (hash); the total; the clock. ARGV: see below.
# One script is one step to everybody else, so the account always fits the values.
GET = """
local value = redis.call('GET', KEYS[1])
if value then
  redis.call('ZADD', KEYS[2], redis.call('INCR', KEYS[5]), ARGV[1])
  redis.call('EXPIRE', KEYS[1], ARGV[2])
end
return value
"""
PUT = """
local name, kept, prefix, limit, value = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
redis.call('SET', KEYS[1], value, 'EX', kept)
local before = tonumber(redis.call('HGET', KEYS[3], name) or 0)
redis.call('HSET', KEYS[3], name, #value)
redis.call('ZADD', KEYS[2], redis.call('INCR', KEYS[5]), name)
local total = redis.call('INCRBY', KEYS[4], #value - before)
while total > limit do
  local oldest = redis.call('ZPOPMIN', KEYS[2])[1]
  if not oldest then break end
  redis.call('DEL', prefix .. oldest)
  total = redis.call('DECRBY', KEYS[4], redis.call('HGET', KEYS[3], oldest) or 0)
  redis.call('HDEL', KEYS[3], oldest)
end
"""


class RedisStore:
    """A :class:`~maskloop.cache.store.Store` in the Redis behind ``client``, which must return bytes
    (``decode_responses=False``) and should have a ``socket_timeout`` of a second or so. All keys begin with
    ``prefix``; a store of other values needs another one.

    The Redis of the job queue will do where its memory allows ``max_bytes`` more. One that writes an append-only
    file (the private one does) would write every value to disk: use the directory there.
    """

    def __init__(self, client: redis.Redis, max_bytes: int, prefix: str = "maskloop:cache:1") -> None:
        self._client = client
        self._max_bytes = max_bytes
        self._prefix = f"{{{prefix}}}:"  # braces keep all keys in one slot of a Redis cluster
        self._account = [f"{self._prefix}{part}" for part in ("used", "sizes", "total", "clock")]
        self._get: Any = client.register_script(GET)
        self._put: Any = client.register_script(PUT)
        self._trouble = Trouble("The cache in Redis", PAUSE)

    def get(self, key: str) -> Value | None:
        if self._trouble.lasts:
            return None
        name = digest(key).hex()
        try:
            value = self._get(keys=[self._prefix + name, *self._account], args=[name, KEPT])
        except RedisError as error:
            self._trouble.note(error)
            return None
        return value if isinstance(value, bytes) else None

    def put(self, key: str, value: Value) -> None:
        if len(value) > self._max_bytes or self._trouble.lasts:
            return
        name = digest(key).hex()
        try:
            self._put(
                keys=[self._prefix + name, *self._account], args=[name, KEPT, self._prefix, self._max_bytes, value]
            )
        except RedisError as error:
            self._trouble.note(error)

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        lock = self._client.lock(
            f"{self._prefix}lock:{digest(key).hex()}", timeout=HELD, sleep=0.005, blocking_timeout=PATIENCE
        )
        held = False
        if not self._trouble.lasts:
            try:
                held = lock.acquire()
            except RedisError as error:
                self._trouble.note(error)
        try:
            yield
        finally:
            if held:
                with suppress(LockError, RedisError):  # it has run out, and may be somebody else's by now
                    lock.release()
