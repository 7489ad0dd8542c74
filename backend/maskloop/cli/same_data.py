"""Who uses a Redis, server or worker, shares one data directory: an id lies in it, and is held in Redis as a lease."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from math import inf
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from redis import Redis

from maskloop.background import repeat, running
from maskloop.dispatch.queues import reaching_redis
from maskloop.errors import QueueUnavailable
from maskloop.files import locked, replacing
from maskloop.labelstudio.troubles import Troubles

KEY = "maskloop:data"
FILE = "id"
LEASE = 10.0
"""Seconds for which the id is held after the end of the last who held it."""
RENEWAL = 2.0
LOOK = 0.1
"""Seconds between looks at whether another's lease ends."""

HOLD = """
local held = redis.call('GET', KEYS[1])
if held and held:sub(1, #ARGV[1]) ~= ARGV[1] then
    return {held:sub(#ARGV[1] + 2), redis.call('PTTL', KEYS[1])}
end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2], 'PX', ARGV[3])
"""
"""The id decides; what is said of its holder is told to others."""

log = logging.getLogger("maskloop.redis")


class Other(NamedTuple):
    """Who holds another id, and for how many seconds yet."""

    name: str
    left: float


@contextmanager
def sharing(redis: Redis, data_dir: Path) -> Iterator[None]:
    """Holds the directory's id in the block, as others with the same directory may. Raises QueueUnavailable if another
    one's is held, or Redis can't be reached."""
    id_ = identity(data_dir)
    script = redis.register_script(HOLD)
    myself = f"{socket.gethostname()}, {data_dir.absolute()}"

    def hold() -> Other | None:
        with reaching_redis():
            found = script(keys=[KEY], args=[id_, myself, int(LEASE * 1000)])
        return Other(found[0].decode(errors="replace"), found[1] / 1000) if found else None

    def take() -> None:
        """Waits for the end of a lease that nobody renews: who held it has ended."""
        left = inf
        while other := hold():
            if other.left > left:
                raise _refused(other, data_dir)
            if left == inf:
                log.info("This Redis is another maskloop's (%s): waiting whether that has ended.", other.name)
            left = other.left
            time.sleep(LOOK)

    def renew() -> None:
        with Troubles(redis).noting(f"data directory {id_}"):
            if other := hold():
                raise _refused(other, data_dir)

    take()
    with running([partial(repeat, renew, lambda: RENEWAL)]):
        yield


def _refused(other: Other, data_dir: Path) -> QueueUnavailable:
    return QueueUnavailable(
        f"Another maskloop uses this Redis, with another data directory ({other.name}) than {data_dir}.",
        "Share that one with this machine, over a network file system, and name it with MASKLOOP_DATA_DIR "
        "(--data-dir); or name another database of Redis, e.g. redis://host/1.",
    )


def identity(data_dir: Path) -> str:
    """The directory's id, made if it has none. Raises StorageError."""
    file = data_dir / FILE
    with locked(data_dir / f".{FILE}.lock"):
        if not file.exists():
            with replacing(file) as new:
                new.write(uuid4().hex.encode())
        return file.read_text()
