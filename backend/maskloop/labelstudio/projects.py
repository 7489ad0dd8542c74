"""What ``/setup`` said of a project and ``/predict`` doesn't repeat."""

from __future__ import annotations

import json
from typing import Any

from redis import Redis

from maskloop.dispatch.queues import reaching_redis

Json = dict[str, Any]
KEY = "maskloop:extra-params"
KNOWN = "maskloop:projects"
ADVICE = "maskloop:advice"


class Projects:
    """In Redis, for all server processes. Every method raises QueueUnavailable when it can't be reached."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def remember(self, project: int, extra_params: Json | None) -> None:
        with reaching_redis():
            self._redis.sadd(KNOWN, str(project))
            if extra_params is None:
                self._redis.hdel(KEY, str(project))
            else:
                self._redis.hset(KEY, str(project), json.dumps(extra_params))

    def all(self) -> list[int]:
        """Those that were set up."""
        with reaching_redis():
            known: Any = self._redis.smembers(KNOWN)
        return sorted(int(project) for project in known)

    def forget(self, project: int) -> None:
        """Until it is set up again."""
        with reaching_redis():
            self._redis.srem(KNOWN, str(project))
            self._redis.hdel(ADVICE, str(project))

    def advise(self, project: int, advice: str) -> bool:
        """What is wrong with its labeling configuration, if anything; whether that is new."""
        with reaching_redis():
            if advice:
                return bool(self._redis.hset(ADVICE, str(project), advice))
            self._redis.hdel(ADVICE, str(project))
            return False

    def advice(self) -> dict[str, str]:
        """By project."""
        with reaching_redis():
            given: Any = self._redis.hgetall(ADVICE)
        return {project.decode(): advice.decode() for project, advice in given.items()}

    def extra_params(self, project: int) -> Json | None:
        """What the user wrote into the backend's settings in Label Studio."""
        with reaching_redis():
            kept: Any = self._redis.hget(KEY, str(project))
        return dict(json.loads(kept)) if kept else None
