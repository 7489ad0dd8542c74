"""Predictions of many tasks: answered as far as they are ready in time, the rest delivered later by a courier.

Label Studio sends all selected tasks in one request, waits 100 s, and wants one answer for each task in their order. An
empty list in a task's place stores nothing for it and keeps the count right.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from maskloop.dispatch.context import JobContext
from maskloop.dispatch.dispatcher import Dispatcher
from maskloop.dispatch.jobs import Cancelled, Ticket
from maskloop.dispatch.queues import QueueName
from maskloop.errors import Abandoned, DeadlineExceeded, MaskloopError, QueueFull, QueueUnavailable
from maskloop.inference import Segmenter
from maskloop.labelstudio.failures import failed_prediction, failed_prefix
from maskloop.labelstudio.handlers import pre_annotate
from maskloop.labelstudio.ledger import Ledger, Verdict
from maskloop.sam.automatic import AutomaticSettings

if TYPE_CHECKING:
    from maskloop.learning.examples import Classify

Json = dict[str, Any]
KIND = "task"
NOBODY = 0
"""The project of tasks that aren't stored in Label Studio."""
HOW_TO_DELIVER = "Set MASKLOOP_LABEL_STUDIO_URL and MASKLOOP_LABEL_STUDIO_API_KEY, then retrieve again."
OPENING = 2.0
MOST_INLINE = 64 << 20
"""Bytes of predictions in one answer, about; Label Studio holds it all in memory."""

log = logging.getLogger("maskloop.batch")


@dataclass
class _Asked:
    """One task of a request. ``stored``: the versions it has predictions of. ``ticket`` is None if there is nothing
    to wait for."""

    payload: Json
    entry: str
    project: int
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
        end = time.time() + self._patience(len(payloads))
        known = stored or [frozenset[str]()] * len(payloads)
        asked = [self._asked(payload, versions) for payload, versions in zip(payloads, known, strict=True)]
        self._submit(asked, end, stop)
        self._wait(asked, end, stop)
        if stop.is_set():
            self._drop([one for one in asked if one.project == NOBODY])
            raise Abandoned("Who asked hung up, or maskloop has to stop.", "What it has begun goes on, and isn't lost.")
        self._collect(asked, stop)
        self._leave([one for one in asked if one.answer is None and one.ticket is not None])
        return [[] if one.answer is None or one.answer["model_version"] in one.stored else one.answer for one in asked]

    def _patience(self, tasks: int) -> float:
        """Seconds to wait. One task alone is what Label Studio asks for when somebody opens it, and the page stays
        blank meanwhile: it isn't waited for behind others if it can be delivered later."""
        behind_others = tasks == 1 and self._delivers and self._ledger.count_waiting() > 0
        return min(self._deadline, OPENING) if behind_others else self._deadline

    def _asked(self, payload: Json, stored: Set[str]) -> _Asked:
        project, task = payload["project"], payload["task"]["id"]
        if project is None or task is None:
            return _Asked(payload, uuid4().hex, NOBODY)
        return _Asked(payload, identity(payload), project, stored)

    def _submit(self, asked: Sequence[_Asked], end: float, stop: Event) -> None:
        for number, one in enumerate(asked):
            if stop.is_set():
                return
            task, version = one.payload["task"]["id"] or 0, one.payload["version"]
            failed_before = any(stored.startswith(failed_prefix(version)) for stored in one.stored)
            verdict = self._ledger.enlist(
                one.entry,
                project=one.project,
                task=task,
                version=version,
                lease=end,
                delivers=self._delivers,
                replaces=failed_before,
            )
            if verdict in (Verdict.READY, Verdict.ELSEWHERE):
                continue
            job = {"entry": one.entry, "project": one.project, "work": one.payload}
            try:
                ticket = self._dispatcher.submit(
                    KIND, job, queue=QueueName.BATCH, deadline=None, key=one.entry, on_same_key="join"
                )
            except (QueueFull, QueueUnavailable) as error:
                self._ledger.drop(one.entry, one.project)
                if number == 0:
                    raise
                fail(asked[number:], error)
                return
            one.ticket = ticket if verdict is Verdict.WAITING else None

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
                settle_failure(self._ledger, one.entry, one.project, one.payload, error)
                if isinstance(error, QueueUnavailable):
                    return

    def _collect(self, asked: Sequence[_Asked], stop: Event) -> None:
        """Claims what is ready, at last what became so of another request's work."""
        room = MOST_INLINE
        for one in asked:
            if stop.is_set():
                return
            if one.answer is None and room > 0 and (claimed := self._ledger.claim(one.entry, one.project, len(asked))):
                one.answer, size = claimed
                room -= size

    def _leave(self, late: Sequence[_Asked]) -> None:
        """What happens to tasks that nobody waits for any more."""
        left = [one for one in late if one.project == NOBODY or not self._delivers]
        self._drop(left)
        fail(
            left,
            DeadlineExceeded(
                f"Not ready within {self._deadline:g} s, and later it can't be delivered.", HOW_TO_DELIVER
            ),
        )
        if len(late) > len(left):
            log.info("project=%d %d tasks will be delivered when they are ready", late[0].project, len(late))

    def _drop(self, asked: Sequence[_Asked]) -> None:
        for one in asked:
            if one.ticket:
                self._dispatcher.cancel(one.ticket)
                self._ledger.drop(one.entry, one.project)


def fail(asked: Sequence[_Asked], error: MaskloopError) -> None:
    """Answers these tasks with the error."""
    for one in asked:
        one.answer = failed_prediction(error, one.payload["version"], one.payload["label_config"])
    if asked:
        log.error("project=%d %d tasks failed: %s", asked[0].project, len(asked), error)


def identity(payload: Json) -> str:
    """The same for the same task, version, configuration and options; safe in a key."""
    return hashlib.sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest()[:32]


def settle_failure(ledger: Ledger, entry: str, project: int, payload: Json, error: MaskloopError) -> None:
    """Makes the error the task's prediction, unless somebody made another; a job taken back leaves nothing."""
    if isinstance(error, Cancelled):
        ledger.drop(entry, project)
        return
    failed = failed_prediction(error, payload["version"], payload["label_config"])
    if ledger.finish(entry, project, failed, failed=True):
        ledger.note_failure(project, payload["task"]["id"], str(error))
        log.warning("project=%d task=%s failed: %s", project, payload["task"]["id"], error)


def handler(
    segmenter: Segmenter,
    ledger: Ledger,
    automatic: AutomaticSettings | None = None,
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
        entry, project, payload = job["entry"], int(job["project"]), job["work"]
        try:
            made = score(pre_annotate(segmenter, payload, automatic, classify))
        except MaskloopError as error:
            settle_failure(ledger, entry, project, payload, error)
        else:
            if ledger.finish(entry, project, made):
                note(payload, made)

    return run
