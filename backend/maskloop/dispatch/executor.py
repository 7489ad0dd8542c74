"""Runs jobs with the handlers of a service."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rq import Retry

from maskloop.dispatch.context import Interrupted, JobContext, OutOfTime
from maskloop.dispatch.jobs import Json, pack_error, pack_value
from maskloop.dispatch.queues import Serializer
from maskloop.errors import BadRequest, DeadlineExceeded, MaskloopError, Unavailable

log = logging.getLogger("maskloop.worker")

Handler = Callable[[Json, JobContext], Json]
RETRY_PAUSE = 5.0
"""Seconds before a job is tried again for which something was away."""


@dataclass(frozen=True)
class Service:
    """What a worker offers: a handler for each kind of job, and facts about itself to publish each second.

    is_fatal: of an error after which this process can do no job any more.
    at_once: jobs that a process does side by side. The handlers are called by as many threads.
    """

    handlers: Mapping[str, Handler]
    report: Callable[[], dict[str, Json]] = dict
    is_fatal: Callable[[Exception], bool] = lambda _: False
    at_once: int = 1


@dataclass
class Tally:
    """Jobs that one worker did of one kind."""

    done: int = 0
    failed: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    """Seconds in the queue."""


@dataclass
class Executor:
    """Runs jobs with the service's handlers; turns whatever happens into an outcome in JSON. A job that met an
    Unavailable has none: it is tried again."""

    service: Service
    tallies: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    running: JobContext | None = None
    """Of the job that runs now."""

    def __call__(self, kind: str, payload: Json, context: JobContext, waited: float = 0.0) -> bytes | Retry:
        begin = time.perf_counter()
        self.running = context
        try:
            outcome = Serializer.dumps(pack_value(self._handle(kind, payload, context)))
            verdict = "ok"
        except Interrupted:
            log.info("job=%s kind=%s outcome=interrupted", context.job_id, kind)
            return Retry(max=sys.maxsize)
        except Unavailable as error:
            log.warning("job=%s kind=%s is tried again: %s", context.job_id, kind, error)
            context.progress(f"Waits. {error}")
            context.pause(RETRY_PAUSE)
            return Retry(max=sys.maxsize)
        except MaskloopError as error:
            outcome = Serializer.dumps(pack_error(error))
            verdict = error.code
            log.warning("job=%s kind=%s %s", context.job_id, kind, error)
        except Exception as error:
            log.exception("job=%s kind=%s failed", context.job_id, kind)
            if self.service.is_fatal(error):
                os._exit(1)  # at once, as if killed: the job goes to another worker
            outcome = Serializer.dumps(pack_error(unexpected(error, context.job_id)))
            verdict = "internal"
        finally:
            self.running = None
        seconds = time.perf_counter() - begin
        tally = self.tallies[kind]
        tally.done += verdict == "ok"
        tally.failed += verdict != "ok"
        tally.seconds += seconds
        tally.waited += waited
        log.info(
            "job=%s kind=%s outcome=%s ms=%.1f waited_ms=%.1f",
            context.job_id,
            kind,
            verdict,
            seconds * 1000,
            waited * 1000,
        )
        return outcome

    def _handle(self, kind: str, payload: Json, context: JobContext) -> Json:
        if context.remaining() < 0:
            raise DeadlineExceeded("The job waited past its deadline.", "Start more workers if this lasts.")
        if kind not in self.service.handlers:
            raise BadRequest(f"This worker has no handler for {kind!r} jobs.", "Run the same version everywhere.")
        try:
            return self.service.handlers[kind](payload, context)
        except OutOfTime as over:
            if context.deadline is not None:
                raise DeadlineExceeded("The job ran past its deadline and was interrupted.") from over
            raise DeadlineExceeded(
                f"The job took longer than {over} s and was interrupted.",
                "A smaller image, fewer pages, points or tiles take less time.",
            ) from over

    def report(self) -> dict[str, Json]:
        jobs = {kind: vars(tally) for kind, tally in list(self.tallies.items())}
        running = self.running
        return {**self.service.report(), "jobs": jobs, "doing": running.told if running else ""}


def unexpected(error: Exception, job_id: str) -> MaskloopError:
    """What a caller is told of a fault in the code: no detail that only the log should hold."""
    return MaskloopError(f"The worker failed with {type(error).__name__}.", f"Its log has the details of job {job_id}.")
