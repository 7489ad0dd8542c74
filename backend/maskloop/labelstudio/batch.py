"""Predictions of many tasks: answered as far as they are ready in time, the rest delivered later by a courier.

Label Studio sends all selected tasks in one request, waits 100 s, and wants one answer for each task in their order. An
empty list in a task's place stores nothing for it and keeps the count right.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from threading import Event
from typing import Any
from uuid import uuid4

from maskloop.dispatch.context import JobContext
from maskloop.dispatch.dispatcher import Dispatcher
from maskloop.dispatch.jobs import Cancelled, Ticket
from maskloop.dispatch.queues import QueueName
from maskloop.errors import Abandoned, DeadlineExceeded, MaskloopError, QueueUnavailable
from maskloop.inference import Segmenter
from maskloop.labelstudio.failures import failed_prediction, failed_prefix
from maskloop.labelstudio.handlers import pre_annotate
from maskloop.labelstudio.ledger import Key, Ledger, Verdict, Wanted
from maskloop.sam.protocols import Classify

Json = dict[str, Any]
KIND = "task"
NOBODY = 0
"""The project of tasks that aren't stored in Label Studio."""
HOW_TO_DELIVER = "Set MASKLOOP_LABEL_STUDIO_URL and MASKLOOP_LABEL_STUDIO_API_KEY, then retrieve again."
OPENING = 2.0
COLLECTING = 5.0
"""Seconds at the end of a request's time, or a tenth of it, in which what is ready is collected."""
CHUNK = 50
"""Tasks that Redis is asked of at once."""
RUN_LIMIT = 3600
"""Seconds that one task may take: far more than large ones do, so that nothing in one holds a worker for good."""
MOST_INLINE = 64 << 20
"""Bytes of predictions in one answer, about; Label Studio holds it all in memory."""

log = logging.getLogger("maskloop.batch")


@dataclass
class _Asked:
    """One task of a request. ``stored``: the versions it has predictions of. ``ticket`` is None if there is nothing
    to wait for."""

    payload: Json
    wanted: Wanted
    stored: Set[str] = frozenset()
    ticket: Ticket | None = None
    answer: Json | None = field(default=None, repr=False)


class Batches:
    """Answers batches. ``delivers``: whether a courier brings what is late; otherwise that counts as failed."""

    def __init__(self, dispatcher: Dispatcher, ledger: Ledger, *, deadline: float, delivers: bool) -> None:
        self._dispatcher = dispatcher
        self._ledger = ledger
        self._deadline = deadline
        self._delivers = delivers

    def predict(
        self, payloads: Sequence[Json], stored: Sequence[Set[str]] | None = None, stop: Event | None = None
    ) -> list[Json | list[Json]]:
        """A prediction for each payload (see :func:`~maskloop.labelstudio.handlers.payload_of`), in their order, or
        an empty list where Label Studio gets it later, or just got it. ``stored``: the versions of the predictions
        that each task has in Label Studio. Where one tells of a failure, a courier puts the new one in its place.

        Raises QueueUnavailable or QueueFull if not even one task can be taken on; Abandoned soon after ``stop`` is
        set: the predictions are left to a courier, or to the next request.
        """
        stop = stop or Event()
        patience = self._patience(len(payloads))
        lease = time.time() + patience
        known = stored or [frozenset[str]()] * len(payloads)
        asked = [self._asked(payload, versions) for payload, versions in zip(payloads, known, strict=True)]
        self._submit(asked, lease, stop)
        self._wait(asked, lease - min(COLLECTING, patience / 10), stop)
        if stop.is_set():
            self._drop([one for one in asked if one.wanted.project == NOBODY])
            raise Abandoned("Who asked hung up, or maskloop has to stop.", "What it has begun goes on, and isn't lost.")
        self._collect(asked, lease, stop)
        self._leave([one for one in asked if one.answer is None and one.ticket is not None])
        return [[] if one.answer is None or one.answer["model_version"] in one.stored else one.answer for one in asked]

    def _patience(self, tasks: int) -> float:
        """Seconds to wait. One task alone is what Label Studio asks for when somebody opens it, and the page stays
        blank meanwhile: it isn't waited for behind others if it can be delivered later."""
        behind_others = tasks == 1 and self._delivers and self._ledger.count_waiting() > 0
        return min(self._deadline, OPENING) if behind_others else self._deadline

    def _asked(self, payload: Json, stored: Set[str]) -> _Asked:
        project, task = payload["project"], payload["task"]["id"]
        version = payload["version"]
        if project is None or task is None:
            return _Asked(payload, Wanted(uuid4().hex, NOBODY, task or 0, version))
        replaces = any(known.startswith(failed_prefix(version)) for known in stored)
        return _Asked(payload, Wanted(identity(payload), project, task, version, replaces), stored)

    def _submit(self, asked: Sequence[_Asked], lease: float, stop: Event) -> None:
        for start in range(0, len(asked), CHUNK):
            if stop.is_set():
                return
            chunk = asked[start : start + CHUNK]
            verdicts = self._ledger.enlist([one.wanted for one in chunk], lease=lease, delivers=self._delivers)
            made = [pair for pair in zip(chunk, verdicts, strict=True) if pair[1] in (Verdict.WAITING, Verdict.LATER)]
            jobs = [(one.wanted.id, _job(one)) for one, _ in made]
            outcomes = self._dispatcher.submit_all(KIND, jobs, queue=QueueName.BATCH, run_limit=RUN_LIMIT)
            refused, error = [], None
            for (one, verdict), outcome in zip(made, outcomes, strict=True):
                if isinstance(outcome, MaskloopError):
                    refused.append(one)
                    error = outcome
                elif verdict is Verdict.WAITING:
                    one.ticket = outcome
            if error:
                self._ledger.drop(*[one.wanted.key for one in refused])
                if len(refused) == len(chunk) and start == 0:
                    raise error
                fail([*refused, *asked[start + CHUNK :]], error)
                return

    def _wait(self, asked: Sequence[_Asked], end: float, stop: Event) -> None:
        for one in asked:
            left = end - time.time()
            if left <= 0:
                return
            if one.ticket is None:
                continue
            try:
                self._dispatcher.wait(one.ticket, timeout=left, stop=stop)
            except TimeoutError:
                return
            except MaskloopError as error:
                settle_failure(self._ledger, one.wanted.key, one.payload, error)
                if isinstance(error, QueueUnavailable):
                    return

    def _collect(self, asked: Sequence[_Asked], lease: float, stop: Event) -> None:
        """Claims what is ready, at last what became so of another request's work."""
        room = MOST_INLINE
        for chunk in chunks([one for one in asked if one.answer is None]):
            if stop.is_set() or room <= 0 or time.time() > lease:
                return
            claimed = self._ledger.claim([one.wanted.key for one in chunk], len(asked))
            for one, found in zip(chunk, claimed, strict=True):
                if found:
                    one.answer, size = found
                    room -= size

    def _leave(self, late: Sequence[_Asked]) -> None:
        """What happens to tasks that nobody waits for any more."""
        left = [one for one in late if one.wanted.project == NOBODY or not self._delivers]
        self._drop(left)
        fail(
            left,
            DeadlineExceeded(
                f"Not ready within {self._deadline:g} s, and later it can't be delivered.", HOW_TO_DELIVER
            ),
        )
        promised = [one for one in late if one.answer is None]
        known = self._ledger.know([one.wanted.key for one in promised])
        lost = [one for one, is_known in zip(promised, known, strict=True) if not is_known]
        fail(lost, QueueUnavailable("Redis lost the task.", "Retrieve again; see that Redis keeps its data."))
        if count := sum(known):
            log.info("project=%d %d tasks will be delivered when they are ready", promised[0].wanted.project, count)

    def _drop(self, asked: Sequence[_Asked]) -> None:
        for chunk in chunks([one for one in asked if one.ticket]):
            self._dispatcher.cancel(*[one.ticket for one in chunk if one.ticket])
            self._ledger.drop(*[one.wanted.key for one in chunk])


def fail(asked: Sequence[_Asked], error: MaskloopError) -> None:
    """Answers these tasks with the error."""
    for one in asked:
        one.answer = failed_prediction(error, one.payload["version"], one.payload["label_config"])
    if asked:
        log.error("project=%d %d tasks failed: %s", asked[0].wanted.project, len(asked), error)


def _job(one: _Asked) -> Json:
    """What a batch worker is given."""
    return {"entry": one.wanted.id, "project": one.wanted.project, "work": one.payload}


def chunks(asked: Sequence[_Asked]) -> Iterator[Sequence[_Asked]]:
    """As many as Redis is asked of at once."""
    return (asked[start : start + CHUNK] for start in range(0, len(asked), CHUNK))


def identity(payload: Json) -> str:
    """The same for the same task, version, configuration and options; safe in a key."""
    return hashlib.sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest()[:32]


def settle_failure(ledger: Ledger, entry: Key, payload: Json, error: MaskloopError) -> None:
    """Makes the error the task's prediction, unless somebody made another; a job taken back leaves nothing."""
    if isinstance(error, Cancelled):
        ledger.drop(entry)
        return
    project = entry[1]
    failed = failed_prediction(error, payload["version"], payload["label_config"])
    if ledger.finish(entry, failed, failed=True):
        ledger.note_failure(project, payload["task"]["id"], str(error))
        log.warning("project=%d task=%s failed: %s", project, payload["task"]["id"], error)


def handler(
    segmenter: Segmenter,
    ledger: Ledger,
    *,
    classify: Classify | None = None,
    score: Callable[[Json], Json] = lambda made: made,
    note: Callable[[Json, Json], None] = lambda _payload, _made: None,
) -> Callable[[Any, JobContext], None]:
    """What a batch worker does with jobs of ``KIND``: the prediction goes to the ledger, not through the queue.

    classify: names masks that have no label. score: what becomes of a prediction's scores. note: is told of a payload
    and what people will see of it.
    """

    def run(job: Any, context: JobContext) -> None:
        context.check()
        entry, payload = (job["entry"], int(job["project"])), job["work"]
        try:
            made = score(pre_annotate(segmenter, payload, classify))
        except MaskloopError as error:
            settle_failure(ledger, entry, payload, error)
        else:
            if ledger.finish(entry, made):
                note(payload, made)

    return run
