"""Workers share the server's data directory, wherever they run: an id lies in it, and is told in Redis."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from redis import Redis

from maskloop.dispatch.queues import reaching_redis
from maskloop.errors import QueueUnavailable
from maskloop.files import replacing

KEY = "maskloop:data-directory"
FILE = "id"


def tell(redis: Redis, data_dir: Path) -> None:
    """By the server. Raises QueueUnavailable if Redis can't be reached."""
    file = data_dir / FILE
    if not file.exists():
        with replacing(file) as new:
            new.write(uuid4().hex.encode())
    with reaching_redis():
        redis.set(KEY, file.read_text())


def check(redis: Redis, data_dir: Path) -> None:
    """By a worker. Raises QueueUnavailable if a server told of another directory, or Redis can't be reached."""
    file = data_dir / FILE
    with reaching_redis():
        told = redis.get(KEY)
    if told is not None and (not file.exists() or file.read_text().encode() != told):
        raise QueueUnavailable(
            f"This worker's data directory, {data_dir}, is not the server's.",
            "Share the server's with this machine, over a network file system, and name it with MASKLOOP_DATA_DIR "
            "(--data-dir).",
        )
