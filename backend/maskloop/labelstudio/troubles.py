"""What doesn't work in the background, and why, in Redis: for ``/health``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import Redis

from maskloop.dispatch.queues import reaching_redis
from maskloop.errors import MaskloopError

KEY = "maskloop:troubles"


class Troubles:
    """By what they are about. Every method raises QueueUnavailable when Redis can't be reached."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def note(self, about: str, reason: str) -> None:
        """An empty reason: it works."""
        with reaching_redis():
            if reason:
                self._redis.hset(KEY, about, reason)
            else:
                self._redis.hdel(KEY, about)

    def forget(self) -> None:
        """All of them: those that last are met again."""
        with reaching_redis():
            self._redis.delete(KEY)

    @contextmanager
    def noting(self, about: str) -> Iterator[None]:
        """Notes what the block raises, which is raised again as a group, or that it works."""
        try:
            yield
        except* Exception as errors:
            self.note(about, " ".join(sorted({_told(error) for error in errors.exceptions})))
            raise
        else:
            self.note(about, "")

    def all(self) -> dict[str, str]:
        with reaching_redis():
            noted: Any = self._redis.hgetall(KEY)
        return {about.decode(): reason.decode() for about, reason in noted.items()}


def _told(error: Exception) -> str:
    if isinstance(error, MaskloopError):
        return str(error)
    return f"Something failed in the background with {type(error).__name__}. The log has its details."
