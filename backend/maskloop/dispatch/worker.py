"""A worker: one process, one queue, one set of handlers, built once. Where the service does jobs side by side, the
process has a thread for each, which is a worker to RQ.

RQ's SimpleWorker, because a fork after torch has used its threads can hang, with three changes. A thread renews the
leases of the worker and of its job each second, so that another worker takes over within seconds of a kill. The same
thread does RQ's maintenance, also while a job runs. And what RQ asks Redis for between two jobs without any use for it
here is left out, because a click waits for it.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache, partial
from math import ceil
from typing import Any

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import RedisError
from rq import Queue, Retry, SimpleWorker
from rq.exceptions import StopRequested
from rq.job import Job
from rq.timeouts import BaseDeathPenalty, UnixSignalDeathPenalty
from rq.utils import now, utcformat, utcparse
from rq.worker import WorkerStatus

from maskloop.dispatch.context import JobContext, OutOfTime
from maskloop.dispatch.executor import Executor, Service, unexpected
from maskloop.dispatch.jobs import pack_error
from maskloop.dispatch.maintenance import Maintenance, worker_name
from maskloop.dispatch.queues import JobQueue, QueueName, Serializer, check, unavailable
from maskloop.errors import MaskloopError

LEASE = 5
"""Seconds after its last sign of life at which a worker counts as dead and its job is given to another."""
BEAT = 1.0
"""Seconds between signs of life."""
FAILURE_TTL = 60
RECONNECT_PAUSE = 1.0
LOOK = 0.05
"""Seconds between looks at whether a process's threads have ended."""
TWICE = 1.0
"""Seconds within which a second signal is the first one again: a terminal's, and a supervisor's."""
RESTART = 60.0
"""Seconds that a restart of Redis may take before a finished job's result is given up."""

log = logging.getLogger("maskloop.worker")


def run_worker(redis: Redis, queue: QueueName, build: Callable[[], Service]) -> None:
    """Does the jobs of ``queue`` until SIGTERM or SIGINT; a running job is finished first. For a process's main thread.

    build: makes the handlers, e.g. loads the model. Called once, after the worker has announced itself, so that jobs
        wait for it meanwhile. Its error is told to those who submit jobs, and ends the worker.

    A lost Redis is waited for. Raises QueueUnavailable if Redis is too old or not there at the start.
    """
    check(redis)
    logging.getLogger("rq.worker").setLevel(logging.WARNING)
    stop = _Stop()
    helpers: list[threading.Thread] = []

    @cache
    def prepared() -> Executor:
        service = build()
        for number in range(1, service.at_once):
            own = redis, queue, cache(partial(Executor, service)), stop
            helpers.append(threading.Thread(target=_serve, args=own, name=f"worker {number}", daemon=True))
            helpers[-1].start()
        return Executor(service)

    with suppress(StopRequested):
        _serve(redis, queue, prepared, stop)
    while any(helper.is_alive() for helper in helpers) and not stop.hurried:
        time.sleep(LOOK)


def _serve(redis: Redis, queue: QueueName, prepare: Callable[[], Executor], stop: _Stop) -> None:
    """Is one worker after the other: each is a new one once Redis is back."""
    while not stop.asked:
        try:
            _Worker(JobQueue(queue, redis), prepare, stop).work()
        except RedisError as error:
            log.warning("%s", unavailable(error))
        if not stop.asked:
            time.sleep(RECONNECT_PAUSE)


class _Stop:
    """SIGTERM and SIGINT, for a process that is one worker after another: each is a new one once Redis is back."""

    def __init__(self) -> None:
        self.asked = self.hurried = False
        self._since = 0.0
        self._worker: _Worker | None = None

    def reach(self, worker: _Worker) -> None:
        """Of a process's workers the one in its main thread; the others look at ``asked``."""
        self._worker = worker
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, *_: object) -> None:
        """Asks nothing of Redis, which may be away. Asked again later, it stops in the middle of a job."""
        if self.asked:
            if time.monotonic() - self._since < TWICE:
                return
            self.hurried = True
            raise SystemExit
        self.asked, self._since = True, time.monotonic()
        assert self._worker
        if self._worker.get_state() != WorkerStatus.BUSY:
            raise StopRequested


class _Job(Job):
    """A job whose function is one of its worker's handlers, not something to import."""

    run: Callable[[_Job], bytes | Retry]

    def prepare_for_execution(self, worker_name: str, pipeline: Pipeline) -> None:
        super().prepare_for_execution(worker_name, pipeline)
        pipeline.persist(self.key)

    def perform(self) -> bytes | Retry:
        self._result = self.run(self)
        return self._result

    def heartbeat(self, *_args: Any, **_options: Any) -> None:
        """The lease of a running job is its entry among the started jobs."""


class _Alarm(UnixSignalDeathPenalty):
    """Interrupts the job when its time is over."""

    def handle_death_penalty(self, *_: object) -> None:
        raise OutOfTime(self._timeout)

    def cancel_death_penalty(self) -> None:
        with suppress(OutOfTime):  # it is done anyway
            super().cancel_death_penalty()  # type: ignore[no-untyped-call]


class _NoAlarm(BaseDeathPenalty):
    """In a thread without signals a job goes on, beside others. An exception raised there from outside would strike
    anywhere, also between the taking of a lock and what gives it back."""

    def setup_death_penalty(self) -> None: ...

    def cancel_death_penalty(self) -> None: ...


class _Worker(SimpleWorker):
    job_class = _Job
    queue_class: type[Queue] = JobQueue
    log_result_lifespan = False
    max_connection_wait_time = RECONNECT_PAUSE

    def __init__(self, queue: JobQueue, prepare: Callable[[], Executor], stop: _Stop) -> None:
        self._stop = stop
        self._in_main_thread = threading.current_thread() is threading.main_thread()
        self.death_penalty_class = _Alarm if self._in_main_thread else _NoAlarm
        super().__init__(
            [queue],
            name=worker_name(queue.name, os.getpid()),
            connection=queue.connection,
            serializer=Serializer,
            log_job_description=False,
        )
        self._queue = queue
        self._prepare = prepare
        self._executor: Executor | None = None
        self._ended = threading.Event()
        self._maintenance = Maintenance(queue, BEAT)

    @property
    def _stop_requested(self) -> bool:
        """Looked at by RQ before each job."""
        return self._stop.asked

    @_stop_requested.setter
    def _stop_requested(self, _: bool) -> None:
        """RQ's own signal handlers, not in use, would set it."""

    def _install_signal_handlers(self) -> None:
        if self._in_main_thread:
            self._stop.reach(self)

    def bootstrap(self, *_args: Any, **_options: Any) -> None:
        self.register_birth()
        self.set_state("starting")
        threading.Thread(target=self._live, name="heartbeat", daemon=True).start()
        try:
            self._executor = self._prepare()
        except Exception as error:
            known = error if isinstance(error, MaskloopError) else unexpected(error, "-")
            self.connection.set(self._queue.failure_key, json.dumps(pack_error(known)), ex=FAILURE_TTL)
            self.teardown()
            raise
        utcparse(utcformat(now()))  # what that imports and compiles, the first job would wait for
        self.connection.delete(self._queue.failure_key)
        self._renew()  # whoever sees it ready sees its report too
        log.info("worker=%s ready", self.name)

    def teardown(self) -> None:
        self._ended.set()
        super().teardown()  # type: ignore[no-untyped-call]

    def perform_job(self, job: Job, queue: Queue) -> bool:
        assert isinstance(job, _Job)
        job.run = self._run
        _, due = job.args
        job.timeout = (job.timeout or -1) if due is None else max(1, ceil(due - time.time()))
        return super().perform_job(job, queue)

    def handle_job_success(self, *args: Any, **options: Any) -> None:
        self._outlast_restart(partial(super().handle_job_success, *args, **options))

    def handle_job_retry(self, *args: Any, **options: Any) -> None:
        self._outlast_restart(partial(super().handle_job_retry, *args, **options))

    def _outlast_restart(self, tell: Callable[[], None]) -> None:
        """How a job ended is worth waiting for a Redis that is being restarted, unless the worker has to stop."""
        end = time.monotonic() + RESTART
        while True:
            try:
                tell()
                return
            except RedisError as error:
                if self._stop.asked or time.monotonic() > end:
                    raise
                log.warning("Redis is away, so a result waits: %s", error)
                time.sleep(RECONNECT_PAUSE)

    def _run(self, job: _Job) -> bytes | Retry:
        payload, due = job.args
        assert self._executor
        context = JobContext(self.connection, job.id, due, lambda: self._stop.asked)
        waited = (datetime.now(UTC) - job.enqueued_at).total_seconds() if job.enqueued_at else 0.0
        return self._executor(job.func_name or "", payload, context, waited)

    # Signs of life

    def register_birth(self) -> None:
        super().register_birth()  # type: ignore[no-untyped-call]
        self.connection.expire(self.key, LEASE)

    def heartbeat(self, *_args: Any, **_options: Any) -> None:
        """The thread does this."""

    def get_heartbeat_ttl(self, _job: Job) -> int:
        return LEASE

    def _live(self) -> None:
        while not self._ended.wait(BEAT):
            try:
                self._renew()
                self._maintenance.round()
            except RedisError as error:
                log.debug("No heartbeat: %s", error)

    def _renew(self) -> None:
        execution = self.execution
        with self.connection.pipeline(transaction=False) as pipe:
            pipe.expire(self.key, LEASE)
            if self._executor:
                pipe.hset(self.key, "report", json.dumps(self._executor.report()))
            if execution:
                pipe.expire(execution.key, LEASE)
                self._queue.started_job_registry.add_execution(execution, pipe, ttl=LEASE, xx=True)
            known, *_ = pipe.execute()
        if not known and not self._ended.is_set():
            self.connection.delete(self.key)
            self.register_birth()

    @property
    def dequeue_timeout(self) -> int:
        """Seconds that one wait for a job takes: less than a command may block."""
        return 1

    @property
    def should_run_maintenance_tasks(self) -> bool:
        """Looked at by RQ before each wait for a job; no signal ends that in a thread."""
        if self._stop.asked:
            raise StopRequested
        return False

    def set_state(self, state: str, pipeline: Pipeline | None = None) -> None:
        """Between its look at whether to stop and this, RQ still calls a worker busy that has done its job."""
        super().set_state(state, pipeline)
        if state == WorkerStatus.IDLE and self._stop.asked:
            raise StopRequested

    # What RQ asks of Redis and this project doesn't use

    def check_for_suspension(self, _burst: bool) -> None: ...

    def subscribe(self) -> None: ...

    def execute_job(self, job: Job, queue: Queue) -> None:
        self.prepare_execution(job)
        self.perform_job(job, queue)
