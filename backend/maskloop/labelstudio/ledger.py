"""Who gets the prediction of which task, and that nobody gets it twice.

A batch is answered within Label Studio's patience; what isn't ready then is delivered through its API. Each task has
an entry in Redis with one state, changed only by the scripts of ``ledger_scripts``:

    waiting -> ready -> answered                (inline, by the request that waits for it)
                     -> delivering -> delivered (by a courier, once no request waits for it any more)

A request that waits holds a lease until its deadline: a courier leaves the task alone so long. If the server dies, the
lease ends by itself. Label Studio needs a while to store an answer, and whoever asks again meanwhile might make it
store two. Such a task is reserved for a courier, who looks into Label Studio first; without couriers, it is refused.

Each project has two sorted sets of entries, ``waiting`` by the time at which they were last asked for, and ``due``, the
ready ones, by the time from which a courier may take them. Scores and all times are seconds since the epoch, on the
callers' clocks.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from redis import Redis
from redis.client import Pipeline

from maskloop.dispatch.queues import reaching_redis
from maskloop.labelstudio.ledger_scripts import CLAIM, CLOSE, ENLIST, FINISH, TAKE

Json = dict[str, Any]
Key = tuple[str, int]
"""Of an entry: its id, and the project."""
PREFIX = "maskloop:batch:"
PROJECTS = f"{PREFIX}projects"
MARGIN = 1.0
"""Seconds after a lease until couriers may take the task."""
SETTLE = 2.0
SETTLE_EACH = 0.1
"""Seconds that Label Studio may need to store an answer, and for each prediction in it."""
GRASP = 120.0
"""Seconds after which another courier takes over a delivery."""
SUBMITTING = 10.0
"""Seconds that a request may take from asking for a prediction to submitting the job that makes it."""
KEEP_READY = 7 * 24 * 3600
"""Seconds that a prediction is kept for delivery, and an entry without one for its job to end."""
RECENT = 20
"""Failures that are kept to be looked at."""
KEEP_DONE = 3600
"""Seconds that an entry is kept in case that Label Studio asks again."""


class Verdict(StrEnum):
    """What becomes of a task that was asked for.

    WAITING: its prediction has to be made, and waited for. READY: it is there to be claimed. LATER: it has to be made,
    and a courier brings it. ELSEWHERE: Label Studio is getting it, or just got it, by another way.
    """

    WAITING = "waiting"
    READY = "ready"
    LATER = "later"
    ELSEWHERE = "elsewhere"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A prediction that is asked for. ``replaces``: Label Studio has one that tells of a failure; a courier alone can
    take it away."""

    id: str
    project: int
    task: int
    version: str
    replaces: bool = False

    @property
    def key(self) -> Key:
        return self.id, self.project


@dataclass(frozen=True, slots=True)
class Delivery:
    """A prediction that a courier has taken: it alone may deliver it. ``failed``: it tells why there is none."""

    id: str
    project: int
    task: int
    version: str
    failed: bool
    prediction: Json


@dataclass(frozen=True, slots=True)
class Waiting:
    """A task whose prediction is being made."""

    id: str
    project: int
    task: int
    version: str


@dataclass(frozen=True, slots=True)
class Tally:
    """Tasks of one project. waiting, ready: now, ready ones being on their way to Label Studio; the others: so far."""

    waiting: int = 0
    ready: int = 0
    answered: int = 0
    delivered: int = 0
    failed: int = 0


class Ledger:
    """Thread-safe. Every method raises QueueUnavailable when Redis can't be reached. Those that take many entries make
    one round trip for all."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._enlist, self._finish, self._claim, self._take, self._close = map(
            redis.register_script, (ENLIST, FINISH, CLAIM, TAKE, CLOSE)
        )

    def enlist(self, wanted: Iterable[Wanted], *, lease: float, delivers: bool = True) -> list[Verdict]:
        """Wants predictions until ``lease``. ``delivers``: there is a courier."""
        with self._round_trip() as pipe:
            for one in wanted:
                about: list[Any] = [one.id, one.project, one.task, one.version]
                terms = [time.time(), lease, MARGIN, KEEP_READY, int(delivers), int(one.replaces)]
                self._enlist(keys=[*self._keys(one.key), PROJECTS], args=[*about, *terms], client=pipe)
            verdicts = pipe.execute()
        return [Verdict(verdict.decode()) for verdict in verdicts]

    def finish(self, entry: Key, prediction: Json, *, failed: bool = False) -> bool:
        """Makes a waiting task's prediction ready. False if it was: the second time changes nothing."""
        args: list[Any] = [entry[0], time.time(), pack(prediction), int(failed), MARGIN]
        with reaching_redis():
            return bool(self._finish(keys=self._keys(entry), args=args))

    def claim(self, entries: Iterable[Key], batch: int) -> list[tuple[Json, int] | None]:
        """Each prediction and its size in bytes, to be answered by the caller, in a batch of so many, and by nobody
        else; None if it isn't ready, or somebody else has it."""
        settled = time.time() + SETTLE + SETTLE_EACH * batch
        with self._round_trip() as pipe:
            for entry in entries:
                self._claim(keys=self._keys(entry), args=[entry[0], settled, KEEP_DONE], client=pipe)
            claimed = pipe.execute()
        texts = [packed and zlib.decompress(packed) for packed in claimed]
        return [(json.loads(text), len(text)) if text else None for text in texts]

    def know(self, entries: Iterable[Key]) -> list[bool]:
        """Which of them are there: a Redis that lost its data knows none."""
        with self._round_trip() as pipe:
            for entry in entries:
                pipe.exists(self._keys(entry)[0])
            return [bool(found) for found in pipe.execute()]

    def take(self) -> Delivery | None:
        """One prediction that is due for delivery, if there is any. Given to another courier after ``GRASP``."""
        with reaching_redis():
            taken = self._take(keys=[PROJECTS], args=[PREFIX, time.time(), GRASP])
        if not taken:
            return None
        entry, project, task, version, failed, packed = taken
        return Delivery(
            entry.decode(),
            int(project),
            int(task),
            version.decode(),
            failed == b"1",
            json.loads(zlib.decompress(packed)),
        )

    def delivered(self, delivery: Delivery) -> None:
        self._end([(delivery.id, delivery.project)], "delivered", time.time() + SETTLE)

    def postpone(self, delivery: Delivery, seconds: float) -> None:
        self._end([(delivery.id, delivery.project)], "postponed", time.time() + seconds)

    def drop(self, *entries: Key) -> None:
        """Nobody wants them any more, or they can't be made now: the next request begins anew."""
        self._end(entries, "dropped", 0)

    def count_waiting(self) -> int:
        """Tasks of all projects whose predictions are being made."""
        return sum(tally.waiting for tally in self.tallies().values())

    def oldest_waiting(self, count: int) -> Iterator[Waiting]:
        """Up to ``count`` tasks of each project, those first that were asked for longest ago; all of them have a job,
        or never get one."""
        with reaching_redis():
            for project in self._projects():
                waiting = f"{PREFIX}waiting:{project}"
                names: Any = self._redis.zrangebyscore(waiting, "-inf", time.time() - SUBMITTING, 0, count)
                for name in names:
                    fields: Any = self._redis.hmget(f"{PREFIX}entry:{name.decode()}", "task", "version")
                    task, version = fields
                    if task is None:
                        self._redis.zrem(waiting, name)
                    else:
                        yield Waiting(name.decode(), project, int(task), version.decode())

    def tallies(self) -> dict[int, Tally]:
        """By project."""
        kept = time.time() - KEEP_READY
        with self._round_trip() as pipe:
            projects = self._projects()
            for project in projects:
                pipe.zcount(f"{PREFIX}waiting:{project}", kept, "+inf")
                pipe.zcount(f"{PREFIX}due:{project}", kept, "+inf")
                pipe.hmget(f"{PREFIX}stats:{project}", "answered", "delivered", "failed")
            told = iter(pipe.execute())
        return {
            project: Tally(waiting, ready, *(int(count or 0) for count in counts))
            for project, waiting, ready, counts in zip(projects, told, told, told, strict=True)
        }

    def _projects(self) -> list[int]:
        return sorted(int(project) for project in self._redis.smembers(PROJECTS))

    def note_failure(self, project: int, task: int | None, reason: str) -> None:
        note = {"project": project, "task": task, "reason": reason, "at": round(time.time())}
        with reaching_redis(), self._redis.pipeline() as pipe:
            pipe.lpush(f"{PREFIX}failures", json.dumps(note))
            pipe.ltrim(f"{PREFIX}failures", 0, RECENT - 1)
            pipe.execute()

    def failures(self) -> list[Json]:
        """The most recent failures, the last one first: project, task, reason, at."""
        with reaching_redis():
            notes: Any = self._redis.lrange(f"{PREFIX}failures", 0, RECENT - 1)
        return [dict(json.loads(note)) for note in notes]

    def _end(self, entries: Iterable[Key], outcome: str, at: float) -> None:
        with self._round_trip() as pipe:
            for entry in entries:
                self._close(keys=self._keys(entry), args=[entry[0], outcome, at, KEEP_DONE], client=pipe)
            pipe.execute()

    @contextmanager
    def _round_trip(self) -> Iterator[Pipeline]:
        with reaching_redis(), self._redis.pipeline(transaction=False) as pipe:
            yield pipe

    @staticmethod
    def _keys(entry: Key) -> list[str]:
        name, project = entry
        return [f"{PREFIX}entry:{name}", *(f"{PREFIX}{name}:{project}" for name in ("due", "waiting", "stats"))]


def pack(prediction: Json) -> bytes:
    """Run-length codes written in decimal shrink to a tenth."""
    return zlib.compress(json.dumps(prediction, separators=(",", ":")).encode(), 1)
