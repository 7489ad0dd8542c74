"""Where jobs are done: in this process, in processes of this machine, or by the workers of a cluster."""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from hashlib import sha256
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from maskloop.annotate.work import KIND, Job
from maskloop.dispatch.dispatcher import Dispatcher
from maskloop.dispatch.jobs import Ticket, WorkerLost
from maskloop.dispatch.queues import QueueName
from maskloop.engines.runtime import gpu_is_lost
from maskloop.errors import MaskloopError, QueueFull
from maskloop.settings import Settings

Answer = list[dict[str, Any]]
Do = Callable[[dict[str, Any]], Answer]
"""Takes a job in JSON; an :class:`~maskloop.annotate.work.Worker` is one."""
MakeWorker = Callable[[Settings], Do]
Deaths = (BrokenExecutor, WorkerLost)
"""Raised by a job whose process ended before it did."""


class Pool(Protocol):
    @property
    def slots(self) -> int:
        """Jobs worth having under way at once."""
        ...

    def submit(self, job: Job) -> Future[Answer]:
        """The future raises one of ``Deaths``, or a MaskloopError that would keep every job from being done."""
        ...

    def close(self) -> None:
        """Gives up the jobs under way; those that are not begun never are."""
        ...


class InProcess:
    """One job at a time, in a thread of this process, which goes on to the end of its job when the pool is closed."""

    slots = 1

    def __init__(self, make: MakeWorker, settings: Settings) -> None:
        self._make, self._settings = make, settings
        self._executor = ThreadPoolExecutor(self.slots)

    def submit(self, job: Job) -> Future[Answer]:
        return self._executor.submit(_do, self._make, self._settings, job.to_json())

    def close(self) -> None:
        self._executor.shutdown(cancel_futures=True)


class Processes:
    """Processes of this machine, each with a worker of its own, made once. ``make`` is a module's function."""

    def __init__(self, make: MakeWorker, settings: Settings, count: int) -> None:
        self.slots = count + 1
        self._count = count
        self._make, self._settings = make, settings
        self._lifeline, self._end = multiprocessing.Pipe(duplex=False)
        self._executor = self._start()

    def submit(self, job: Job) -> Future[Answer]:
        try:
            return self._executor.submit(_do, self._make, self._settings, job.to_json())
        except BrokenExecutor:
            self._executor.shutdown()
            self._executor = self._start()
            return self._executor.submit(_do, self._make, self._settings, job.to_json())

    def close(self) -> None:
        self._end.close()
        self._executor.shutdown(cancel_futures=True)
        self._lifeline.close()

    def _start(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(self._count, multiprocessing.get_context("spawn"), _live_by, (self._lifeline,))


class Cluster:
    """The batch workers of ``maskloop worker``, which must reach the photos under the same paths or URLs."""

    def __init__(self, dispatcher: Dispatcher, slots: int) -> None:
        self.slots = slots
        self._dispatcher = dispatcher
        self._executor = ThreadPoolExecutor(slots)
        self._closing = threading.Event()
        self._tickets: set[Ticket] = set()

    def submit(self, job: Job) -> Future[Answer]:
        return self._executor.submit(self._do, job.to_json())

    def close(self) -> None:
        self._closing.set()
        for ticket in self._tickets.copy():
            self._dispatcher.cancel(ticket)
        self._executor.shutdown(cancel_futures=True)

    def _do(self, payload: dict[str, Any]) -> Answer:
        """A job that an earlier run, killed since, left in the queue or under way is joined, not done again."""
        ticket = self._enqueue(payload)
        self._tickets.add(ticket)
        try:
            answer: Answer = self._dispatcher.wait(ticket, stop=self._closing)
            return answer
        finally:
            self._tickets.discard(ticket)

    def _enqueue(self, payload: dict[str, Any]) -> Ticket:
        key = sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest()
        while True:
            try:
                return self._dispatcher.submit(
                    KIND, payload, queue=QueueName.BATCH, deadline=None, key=f"{KIND}:{key}", on_same_key="join"
                )
            except QueueFull as full:
                if self._closing.wait(full.retry_after):
                    raise


@functools.cache
def _worker(make: MakeWorker, settings: Settings) -> Do:
    return make(settings)


def _do(make: MakeWorker, settings: Settings, payload: dict[str, Any]) -> Answer:
    try:
        return _worker(make, settings)(payload)
    except RuntimeError as error:
        if gpu_is_lost(error):
            raise MaskloopError(f"The GPU is lost: {error}", "Start again; what is done is kept.") from error
        raise


def _live_by(lifeline: Connection) -> None:
    """Ctrl-C is for the parent. Once that closes its end of the lifeline, or dies, this process ends, job or no job."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def follow() -> None:
        wait([lifeline])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
