"""Submits jobs and waits for their results."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterable
from math import ceil, inf
from threading import Event
from typing import Any, Literal
from uuid import uuid4

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from rq import Retry
from rq.job import Job, JobStatus
from rq.results import Result

from maskloop.dispatch.jobs import (
    Cancelled,
    Json,
    Replaced,
    Ticket,
    WorkerLost,
    cancel_key,
    pack_error,
    unpack,
    unpack_error,
)
from maskloop.dispatch.queues import JobQueue, Limits, QueueName, Serializer, reaching_redis, unavailable
from maskloop.errors import DeadlineExceeded, MaskloopError, QueueFull, QueueUnavailable

RESULT_TTL = 60
"""Seconds that a result is kept for a slow reader."""
LASTING_RESULT_TTL = 24 * 3600
"""The same for a job without a deadline."""
LOOK = 1.0
"""Seconds between looks at whether anybody is left to do the job, while waiting for it."""
PATIENCE = 15
"""Looks in a row that find nobody before waiting ends: workers may be replaced by new ones that take a while."""
RECONNECT_PAUSE = 0.1
REPLACEMENT_PAUSE = 0.05
RETRIES = 1
"""Times that a job is tried again after its worker died."""

OnSameKey = Literal["replace", "join"]

SUBMIT = """
-- KEYS: the job's hash, queue, workers of the queue, failure of the queue, newest job of the key
-- ARGV: job id, seconds to live or -1, most that may wait or -1, "replace", "join" or "", outcome of a replaced job,
--       seconds to keep that outcome, "LPUSH" to go before all that wait or "RPUSH" behind, then the fields and
--       values of the job's hash
local job, queue, workers, failure, latest = unpack(KEYS)
local id, ttl, most, on_same_key = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]

if redis.call('EXISTS', job) == 1 then return {'queued', id} end
redis.call('SADD', 'rq:queues', queue)  -- before all else: a Redis that is full says so, though it has no workers then

local alive = false
for _, worker in ipairs(redis.call('SMEMBERS', workers)) do
  alive = alive or redis.call('EXISTS', worker) == 1
end
if not alive then return {'no_worker', redis.call('GET', failure) or ''} end

local earlier = on_same_key ~= '' and redis.call('GET', latest)
if earlier and on_same_key == 'join' then
  local status = redis.call('HGET', 'rq:job:' .. earlier, 'status')
  if status == 'queued' or status == 'started' then return {'queued', earlier} end
end
if earlier and on_same_key == 'replace' and redis.call('LREM', queue, 1, earlier) == 1 then
  redis.call('XADD', 'rq:results:' .. earlier, '*', 'type', 1, 'return_value', ARGV[5])
  redis.call('EXPIRE', 'rq:results:' .. earlier, ARGV[6])
  redis.call('DEL', 'rq:job:' .. earlier)
end

local waiting = redis.call('LLEN', queue)
if most >= 0 and waiting >= most then return {'full', tostring(waiting)} end

redis.call('HSET', job, unpack(ARGV, 8))
redis.call(ARGV[7], queue, id)
local week = 7 * 24 * 3600
if on_same_key ~= '' then redis.call('SET', latest, id, 'EX', ttl > 0 and ttl or week) end
if ttl > 0 then redis.call('EXPIRE', job, ttl) end
return {'queued', id}
"""

WITHDRAW = """
-- KEYS: queue, the job's hash.  ARGV: job id.  Takes the job out of the queue if it still waits there.
local waited = redis.call('LREM', KEYS[1], 1, ARGV[1])
if waited == 1 then redis.call('DEL', KEYS[2]) end
return waited
"""


class Dispatcher:
    """One for a process; thread-safe. Every method raises QueueUnavailable when Redis can't be reached."""

    def __init__(self, redis: Redis, limits: Limits) -> None:
        self._redis = redis
        self._limits = limits
        self._queues = {name: JobQueue(name, redis) for name in QueueName}
        self._submit = redis.register_script(SUBMIT)
        self._withdraw = redis.register_script(WITHDRAW)

    def submit(
        self,
        kind: str,
        payload: Json,
        *,
        queue: QueueName,
        deadline: float | None,
        key: str | None = None,
        on_same_key: OnSameKey = "replace",
        first: bool = False,
        patience: float = 0.0,
    ) -> Ticket:
        """Puts a job at the end of ``queue``, or before all that wait there if ``first``.

        deadline: seconds from now after which nobody wants the result: the job isn't begun any more, and is
            interrupted if it runs, unless its worker does several side by side. None: it may take as long as it takes.
        key: of several jobs with the same key, ``replace`` keeps the newest: one that still waits ends with
            Replaced, one that runs goes on. ``join`` keeps the first: while it waits or runs, its ticket is returned
            and nothing is added.
        patience: seconds to wait for a worker where none lives: it may be on its way to be replaced.

        Raises QueueFull; QueueUnavailable when no worker listens to ``queue`` by then, or the error that keeps it from
        starting.
        """
        end = time.monotonic() + patience
        due = None if deadline is None else time.time() + deadline
        keys, args = self._request(kind, payload, queue, due, key, on_same_key, first)
        with reaching_redis():
            verdict, detail = self._submit(keys, args)
            while verdict == b"no_worker" and not detail and time.monotonic() < end:
                time.sleep(REPLACEMENT_PAUSE)
                verdict, detail = self._submit(keys, args)
        outcome = _taken_on(queue, due, verdict, detail)
        if isinstance(outcome, MaskloopError):
            raise outcome
        return outcome

    def submit_all(
        self, kind: str, payloads: Iterable[tuple[str, Json]], *, queue: QueueName, run_limit: int | None = None
    ) -> list[Ticket | MaskloopError]:
        """Many jobs without a deadline, each with its key, to ``join``, in one round trip. In the place of one that
        isn't taken on stands what ``submit`` would raise. ``run_limit``: seconds from its start after which a job is
        interrupted, and fails with DeadlineExceeded."""
        with reaching_redis(), self._redis.pipeline(transaction=False) as pipe:
            for key, payload in payloads:
                request = self._request(kind, payload, queue, None, key, "join", first=False, run_limit=run_limit)
                self._submit(*request, client=pipe)
            return [_taken_on(queue, None, *reply) for reply in pipe.execute()]

    def _request(
        self,
        kind: str,
        payload: Json,
        queue: QueueName,
        due: float | None,
        key: str | None,
        on_same_key: OnSameKey,
        first: bool,
        run_limit: int | None = None,
    ) -> tuple[list[Any], list[Any]]:
        """The script's keys and arguments."""
        target = self._queues[queue]
        job = _job(kind, payload, target, due, run_limit)
        keys = [job.key, target.key, target.workers_key, target.failure_key, target.latest_key(key or "")]
        args = [
            job.id,
            -1 if due is None else max(1, ceil(due - time.time())),
            self._limits.get(queue, -1),
            on_same_key if key else "",
            REPLACED,
            RESULT_TTL,
            "LPUSH" if first else "RPUSH",
            *_fields(job),
        ]
        return keys, args

    def wait(self, ticket: Ticket, *, timeout: float | None = None, stop: Event | None = None) -> Json:
        """Blocks until the job has ended; returns its result or raises its error.

        Raises DeadlineExceeded at the ticket's deadline, the builtin TimeoutError after ``timeout`` seconds or soon
        after ``stop`` is set if that is sooner, and QueueUnavailable if the job is lost or nobody is left to do it. A
        restart of Redis or of workers is waited out.
        """
        end = inf if timeout is None else time.monotonic() + timeout
        key, seen = _results_key(ticket.id), "0-0"
        hopeless = 0
        trouble: RedisError | None = None
        while (left := min(ticket.remaining(), end - time.monotonic())) > 0 and not (stop and stop.is_set()):
            try:
                reply: Any = self._redis.xread({key: seen}, block=ceil(min(left, LOOK) * 1000))
                for entry, fields in (entry for _, entries in reply for entry in entries):
                    seen = entry.decode()
                    result = Result.restore(ticket.id, seen, fields, self._redis, Serializer)
                    if result.type is not Result.Type.RETRIED:
                        return _open(result)
                trouble = None
                hopeless = 0 if reply or self._has_hope(ticket) else hopeless + 1
                if hopeless == PATIENCE:
                    break
            except (RedisConnectionError, RedisTimeoutError) as error:
                trouble = error
                time.sleep(min(RECONNECT_PAUSE, left))
            except RedisError as error:
                raise unavailable(error) from error
        if trouble:
            raise unavailable(trouble) from trouble
        if ticket.remaining() > 0 and hopeless < PATIENCE:
            raise TimeoutError
        with reaching_redis():
            self._take_out(ticket, self._redis)
            if not self._has_worker(ticket.queue):
                raise _no_worker(ticket.queue, self._redis.get(self._queues[ticket.queue].failure_key))
        if ticket.remaining() > 0:
            raise QueueUnavailable("Redis has lost the job.", "Ask again; see that Redis keeps its data.")
        raise DeadlineExceeded(
            f"No {ticket.queue} worker had an answer in time.", "Try again; if it lasts, start more workers."
        )

    def cancel(self, *tickets: Ticket) -> None:
        """Jobs that wait end with Cancelled at once; those that run are told so (see ``JobContext.check``)."""
        with reaching_redis(), self._redis.pipeline(transaction=False) as pipe:
            for ticket in tickets:
                pipe.set(cancel_key(ticket.id), 1, ex=LASTING_RESULT_TTL)
            pipe.execute()
            for ticket in tickets:
                self._take_out(ticket, pipe)
            for ticket, waited in zip(tickets, pipe.execute(), strict=True):
                if waited:
                    pipe.xadd(_results_key(ticket.id), {"type": 1, "return_value": CANCELLED})
                    pipe.expire(_results_key(ticket.id), RESULT_TTL)
            pipe.execute()

    def lost(self, key: str, queue: QueueName) -> MaskloopError | None:
        """Why the newest job with this key gives no result any more; None while it may."""
        with reaching_redis():
            newest: Any = self._redis.get(self._queues[queue].latest_key(key))
            job_id = (newest or b"").decode()
            last: Any = self._redis.xrevrange(_results_key(job_id), count=1)
            exists = self._redis.exists(Job.key_for(job_id))
            results = [
                Result.restore(job_id, entry.decode(), fields, self._redis, Serializer) for entry, fields in last
            ]
        ended = [result for result in results if result.type is not Result.Type.RETRIED]
        if exists and not ended:
            return None
        try:
            for result in ended:
                _open(result)
        except MaskloopError as error:
            return error
        return QueueUnavailable("Its job is lost: maskloop was killed as it began, or Redis lost it.", "Ask again.")

    def _take_out(self, ticket: Ticket, client: Redis) -> None:
        keys = [self._queues[ticket.queue].key, Job.key_for(ticket.id)]
        self._withdraw(keys=keys, args=[ticket.id], client=client)

    def _has_hope(self, ticket: Ticket) -> bool:
        """Whether the job still exists and a worker of its queue lives."""
        return bool(self._redis.exists(Job.key_for(ticket.id))) and self._has_worker(ticket.queue)

    def _has_worker(self, queue: QueueName) -> bool:
        workers: Any = self._redis.smembers(self._queues[queue].workers_key)
        return bool(workers) and bool(self._redis.exists(*workers))


def _job(kind: str, payload: Json, queue: JobQueue, due: float | None, run_limit: int | None) -> Job:
    """RQ's job, whose function name is our kind."""
    job = Job.create(
        kind,
        args=[payload, due],
        id=uuid4().hex,
        connection=queue.connection,
        serializer=Serializer,
        origin=queue.name,
        description=kind,
        status=JobStatus.QUEUED,
        timeout=run_limit,
        result_ttl=LASTING_RESULT_TTL if due is None else RESULT_TTL,
        failure_ttl=LASTING_RESULT_TTL,
        retry=Retry(RETRIES, enqueue_at_front=True),
    )
    job.enqueued_at = job.created_at
    return job


def _taken_on(queue: QueueName, due: float | None, verdict: bytes, detail: bytes) -> Ticket | MaskloopError:
    """What the script's answer means."""
    if verdict == b"full":
        return QueueFull(
            f"{detail.decode()} jobs wait in the {queue} queue already.", "Try again soon, or start more workers."
        )
    return _no_worker(queue, detail) if verdict == b"no_worker" else Ticket(detail.decode(), queue, due)


def _results_key(job_id: str) -> str:
    """The stream to which RQ adds a job's result."""
    return f"rq:results:{job_id}"


def _fields(job: Job) -> list[Any]:
    """The job's hash as one flat list of fields and values."""
    return [item for field in job.to_dict().items() for item in field]


def _open(result: Result) -> Json:
    if result.type is Result.Type.SUCCESSFUL:
        assert result.return_value
        return unpack(result.return_value)
    raise WorkerLost(
        "The worker died while doing this, twice.", "Its log says why; an image too large for its memory is likely."
    )


def _no_worker(queue: QueueName, failure: Any) -> MaskloopError:
    if failure:
        return unpack_error(json.loads(failure))
    return QueueUnavailable(f"No {queue} worker is running.", f"Start one: `maskloop worker --queue {queue}`.")


def _stored(outcome: dict[str, Json]) -> str:
    """An outcome as RQ keeps it in a result."""
    return base64.b64encode(Serializer.dumps(outcome)).decode()


REPLACED = _stored(pack_error(Replaced("A newer click took the place of this one.")))
CANCELLED = _stored(pack_error(Cancelled("The job was cancelled.")))
