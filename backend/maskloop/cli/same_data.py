"""Who uses a Redis, server or worker, shares one data directory: an id lies in it, and is held in Redis as a lease."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from uuid import uuid4

from redis import Redis
from redis.exceptions import RedisError

from maskloop.background import repeat, running
from maskloop.dispatch.queues import reaching_redis
from maskloop.errors import QueueUnavailable
from maskloop.files import locked, replacing

KEY = "maskloop:data"
FILE = "id"
LEASE = 10
"""Seconds for which the id is held after the death of the last who held it."""
RENEWAL = 2.0

HOLD = """
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1
"""


@contextmanager
def sharing(redis: Redis, data_dir: Path) -> Iterator[None]:
    """Holds the directory's id in the block, as others with the same directory may. Raises QueueUnavailable if another
    one's is held, or Redis can't be reached."""
    id_ = identity(data_dir)
    script = redis.register_script(HOLD)

    def hold() -> None:
        with reaching_redis():
            if not script(keys=[KEY], args=[id_, LEASE]):
                raise QueueUnavailable(
                    f"Another maskloop uses this Redis, with another data directory than {data_dir}.",
                    "Share that one with this machine, over a network file system, and name it with MASKLOOP_DATA_DIR "
                    "(--data-dir); or name another database of Redis, e.g. redis://host/1.",
                )

    hold()
    try:
        with running([partial(repeat, hold, lambda: RENEWAL)]):
            yield
    finally:
        with suppress(RedisError):  # the lease ends by itself; others who hold it do so again
            if redis.get(KEY) == id_.encode():
                redis.delete(KEY)


def identity(data_dir: Path) -> str:
    """The directory's id, made if it has none. Raises StorageError."""
    file = data_dir / FILE
    with locked(data_dir / f".{FILE}.lock"):
        if not file.exists():
            with replacing(file) as new:
                new.write(uuid4().hex.encode())
        return file.read_text()
